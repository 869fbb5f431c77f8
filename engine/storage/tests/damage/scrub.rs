//! Online verification, and the space that is kept back for a full disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use silverback_storage::db::{Db, DbOptions, Delete, WalOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::error::ErrorKind;
use silverback_storage::model::{PolicySpec, TagPredicate, TimeRange};

use crate::small::{float, open_with, values};
use crate::support::{Row, open, options, row, write};

fn rows(start: i64, count: i64) -> Vec<Row> {
    let one = |time: i64| {
        let host = format!("h{}", time % 50);
        row("cpu", &[("host", &host)], time, &[("f", float(0.25))])
    };
    (start..start + count).map(one).collect()
}

fn first(env: &SimEnv, folder: &str) -> PathBuf {
    let paths = env.paths().into_iter();
    let mut own = paths.filter(|path| path.starts_with(folder));
    own.next().unwrap()
}

/// Changes a file as a disk does, in its middle or in its last bytes.
fn rot(env: &SimEnv, path: &Path, at_end: bool) {
    let mut bytes = env.peek(path).unwrap();
    let at = if at_end {
        bytes.len() - 20
    } else {
        bytes.len() / 2
    };
    bytes[at] ^= 4;
    env.poke(path, &bytes);
}

fn store(env: &SimEnv) -> Db {
    let db = open_with(env, "db");
    write(&db, "db", &rows(0, 3000)).unwrap();
    db.flush().unwrap();
    db
}

#[test]
fn a_scrubber_finds_what_nobody_reads_and_rests_between_its_passes() {
    for folder in ["blocks", "registry"] {
        for at_end in [false, true] {
            let env = SimEnv::new(1);
            let db = store(&env);
            let pass = || {
                for _ in 0..100 {
                    env.advance(Duration::from_secs(1));
                    env.run_steps(8);
                }
            };
            pass();
            let scrub = db.stats().scrub;
            assert_eq!(
                (scrub.passes, db.stats().problem_count),
                (1, 0),
                "{scrub:?}"
            );
            assert!(scrub.bytes > 0 && scrub.pass_done_bytes <= scrub.pass_bytes);
            assert!(scrub.last_pass_ns > 0);
            let path = first(&env, folder);
            rot(&env, &path, at_end);
            pass();
            assert_eq!(db.stats().scrub.passes, 1, "it rests");
            env.advance(Duration::from_secs(8 * 24 * 3600));
            pass();
            let stats = db.stats();
            assert_eq!(
                (stats.scrub.passes, stats.problem_count),
                (2, 1),
                "{folder} {at_end}"
            );
            assert_eq!(stats.problems[0].file.as_deref(), Some(&*path));
        }
    }
}

/// A store whose log has several segments, and nothing of it in blocks.
fn logged(env: &SimEnv) -> Db {
    let db = Db::open(Arc::new(env.clone()), small_segments()).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    for start in 0..1500 {
        write(&db, "db", &rows(start * 10, 10)).unwrap();
    }
    db
}

fn small_segments() -> DbOptions {
    DbOptions {
        wal: WalOptions {
            // More than is kept back.
            segment_bytes: 256 << 10,
            ..WalOptions::default()
        },
        ..options()
    }
}

#[test]
fn a_scrubber_finds_damage_of_the_log_and_saves_what_the_log_held() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 4] = [
        ("rotten", |bytes| bytes[100_000] ^= 4),
        ("without a header", |bytes| bytes[3] ^= 4),
        ("cut", |bytes| bytes.truncate(100_000)),
        ("zeros", |bytes| bytes[4096..].fill(0)),
    ];
    for (what, change) in changes {
        for is_asked in [true, false] {
            let env = SimEnv::new(1);
            let db = logged(&env);
            let all = values(&db, "f");
            let path = first(&env, "wal");
            let segments = env
                .paths()
                .iter()
                .filter(|path| path.starts_with("wal"))
                .count();
            assert!(segments > 2, "{segments} segments");
            assert_eq!(db.verify().unwrap().problems, []);
            let mut bytes = env.peek(&path).unwrap();
            change(&mut bytes);
            env.poke(&path, &bytes);
            if is_asked {
                let report = db.verify().unwrap();
                assert_eq!(report.problems[0].file.as_deref(), Some(&*path), "{what}");
            } else {
                for _ in 0..100 {
                    env.advance(Duration::from_secs(1));
                    env.run_steps(8);
                }
            }
            let problems = db.stats().problems;
            let found = problems
                .iter()
                .any(|one| one.file.as_deref() == Some(&*path));
            assert!(found, "{what}: {problems:?}");
            assert_eq!(db.verify().unwrap().problems, [], "{what}: it is gone");
            assert_eq!(db.stats().problem_count, problems.len() as u64, "told once");
            drop(db);
            let env = env.after_kill();
            let db = Db::open(Arc::new(env), small_segments()).unwrap();
            assert_eq!(db.stats().problems, [], "{what}");
            assert!(values(&db, "f") == all, "{what}: nothing is lost");
        }
    }
}

#[test]
fn a_scrubber_finds_damage_of_the_manifest_and_writes_it_anew() {
    let manifest = |env: &SimEnv| first(env, "manifest");
    let places: [fn(&SimEnv) -> PathBuf; 2] = [manifest, |_| PathBuf::from("CURRENT")];
    for place in places {
        for is_asked in [true, false] {
            let env = SimEnv::new(1);
            let db = store(&env);
            assert_eq!(db.verify().unwrap().problems, []);
            let path = place(&env);
            rot(&env, &path, false);
            if is_asked {
                assert_eq!(db.verify().unwrap().problems.len(), 1);
            } else {
                for _ in 0..100 {
                    env.advance(Duration::from_secs(1));
                    env.run_steps(8);
                }
            }
            let stats = db.stats();
            assert_eq!(stats.problem_count, 1, "{path:?}");
            assert_eq!(stats.problems[0].file.as_deref(), Some(&*path));
            assert_eq!(db.verify().unwrap().problems, [], "it was mended");
            drop(db);
            let db = open(&env.after_kill()).unwrap();
            assert_eq!(values(&db, "f").len(), 3000);
        }
    }
}

#[test]
fn edits_that_a_disk_lost_of_the_manifest_are_noticed() {
    let env = SimEnv::new(1);
    let db = store(&env);
    let path = first(&env, "manifest");
    let mut bytes = env.peek(&path).unwrap();
    // What is left is a manifest that is right in itself.
    bytes.truncate(bytes.len() - 512);
    env.poke(&path, &bytes);
    assert_eq!(db.verify().unwrap().problems.len(), 1);
    drop(db);
    assert_eq!(values(&open(&env.after_kill()).unwrap(), "f").len(), 3000);
}

#[test]
fn a_verification_that_is_asked_for_reads_all_of_it_at_once() {
    let env = SimEnv::new(1);
    let db = store(&env);
    let report = db.verify().unwrap();
    assert_eq!((report.files, report.problems.len()), (3, 0));
    let sizes = ["blocks", "registry", "manifest"].map(|folder| {
        let path = first(&env, folder);
        env.peek(path).unwrap().len() as u64
    });
    assert_eq!(report.bytes, sizes.iter().sum::<u64>());
    let path = first(&env, "blocks");
    rot(&env, &path, false);
    let report = db.verify().unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].file.as_deref(), Some(&*path));
    assert_eq!(db.stats().problem_count, 1, "it is remembered");
}

fn used(env: &SimEnv) -> u64 {
    let sizes = env.paths().into_iter();
    sizes.map(|path| env.peek(path).unwrap().len() as u64).sum()
}

#[test]
fn what_is_kept_back_lets_a_drop_make_room_on_a_full_disk() {
    let env = SimEnv::new(1);
    let db = store(&env);
    let step = || {
        env.advance(Duration::from_secs(20));
        env.run_steps(40);
    };
    step();
    assert_eq!(db.stats().reserve_bytes, 64 << 10);
    let reserve = || env.peek("RESERVE").map(|bytes| bytes.len());
    assert_eq!(reserve().unwrap(), 64 << 10);
    env.set_capacity(Some(used(&env)));
    let mut time = 10_000;
    while write(&db, "db", &rows(time, 100)).is_ok() {
        time += 100;
    }
    assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::NoSpace);
    env.set_capacity(Some(used(&env)));
    db.drop_database("db").unwrap();
    assert!(reserve().is_err(), "it was given");
    assert_eq!(db.stats().reserve_bytes, 0);
    db.flush().unwrap();
    env.set_capacity(None);
    step();
    assert_eq!(reserve().unwrap(), 64 << 10, "it is made again");
    // A crash leaves it, and whoever opens the directory next takes it over.
    drop(db);
    let db = open(&env.after_kill()).unwrap();
    assert_eq!(db.stats().reserve_bytes, 64 << 10);
    drop(db);
    let env = env.after_kill();
    let db = open(&env).unwrap();
    db.close().unwrap();
    assert!(env.peek("RESERVE").is_err(), "a clean stop gives it back");
    drop(db);
    assert_eq!(values(&open_with(&env, "new"), "f"), []);
}

#[test]
fn a_delete_on_a_full_disk_is_written_out_of_what_is_kept_back() {
    let env = SimEnv::new(1);
    let db = Db::open(Arc::new(env.clone()), small_segments()).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    write(&db, "db", &rows(0, 3000)).unwrap();
    db.flush().unwrap();
    env.advance(Duration::from_secs(20));
    env.run_steps(40);
    assert_eq!(db.stats().reserve_bytes, 64 << 10);
    env.set_capacity(Some(used(&env)));
    let mut time = 10_000;
    for count in [100, 1] {
        while write(&db, "db", &rows(time, count)).is_ok() {
            time += count;
        }
    }
    let all = values(&db, "f").len();
    let host = |name: &str| Delete {
        policy: None,
        measurements: vec![(
            b"cpu",
            TagPredicate::Equal {
                key: b"host"[..].into(),
                value: name.as_bytes().into(),
            },
        )],
        range: TimeRange::ALL,
    };
    db.delete("db", &host("h7")).unwrap();
    assert_eq!(db.stats().reserve_bytes, 0, "it was given");
    let left = values(&db, "f").len();
    assert!(left < all - 50, "{left} of {all}");
    // More go into the same segment, and writes are refused as before.
    db.delete("db", &host("h8")).unwrap();
    let refused = write(&db, "db", &rows(time, 100)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    let refuses = || {
        let problems = db.stats().problems.into_iter();
        let mut told = problems.map(|problem| problem.message);
        told.any(|message| message.starts_with("writes are refused"))
    };
    db.delete("db", &host("h9")).unwrap();
    assert!(
        refuses(),
        "that a delete went through says nothing of writes"
    );
    let left = values(&db, "f");
    drop(db);
    let env = env.after_kill();
    env.set_capacity(None);
    let db = Db::open(Arc::new(env.clone()), small_segments()).unwrap();
    assert_eq!(
        values(&db, "f"),
        left,
        "deletes are durable, and their segment is one"
    );
    assert_eq!(db.stats().problems, []);
}
