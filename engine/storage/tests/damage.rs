//! Damaged files, full disks, failed syncs: what is told, what is served, and what comes back.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helpers may stop the test, and say what did not run"
)]

#[path = "damage/backup.rs"]
mod backup;
#[path = "damage/files.rs"]
mod files;
#[path = "damage/mapped.rs"]
mod mapped;
#[path = "damage/mounted.rs"]
mod mounted;
#[path = "damage/scrub.rs"]
mod scrub;
#[path = "support/small.rs"]
mod small;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use silverback_storage::db::{CheckOptions, CheckReport, Db, DbOptions, Durability, WriteOptions};
use silverback_storage::env::sim::{Failure, Fault, OpKind};
use silverback_storage::env::{Env, SimEnv};
use silverback_storage::error::{ErrorKind, Result};
use silverback_storage::model::{Batch, PolicySpec, TimeRange};

use small::{float, open_with, values};
use support::{Contents, Keys, Row, batch, open, options, read, read_database, row, write};

fn check(env: &SimEnv) -> Result<CheckReport> {
    let env: Arc<dyn Env> = Arc::new(env.clone());
    Db::check_with(&env, CheckOptions { deep: true }, &mut |_, _| {})
}

#[test]
fn a_damaged_block_fails_those_who_need_it_and_no_one_else() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    db.create_database("whole", &PolicySpec::default()).unwrap();
    let old: Vec<Row> = (0..500)
        .map(|time| row("cpu", &[], time, &[("f", float(0.25))]))
        .collect();
    write(&db, "db", &old).unwrap();
    db.flush().unwrap();
    let files = |env: &SimEnv| -> Vec<_> {
        let blocks = env
            .paths()
            .into_iter()
            .filter(|path| path.starts_with("blocks"));
        blocks.collect()
    };
    let path = files(&env)[0].clone();
    write(&db, "db", &[row("cpu", &[], 5000, &[("f", float(5.0))])]).unwrap();
    write(&db, "whole", &old).unwrap();
    db.close().unwrap();
    drop(db);
    let bytes = env.peek(&path).unwrap();
    // In the contents, in the trailer, cut, empty, and gone.
    let mut flipped = bytes.clone();
    flipped[200] ^= 1;
    let mut trailer = bytes.clone();
    let end = trailer.len();
    trailer[end - 20] ^= 1;
    let cut = bytes[..bytes.len() / 2].to_vec();
    for damaged in [
        Some(flipped),
        Some(trailer),
        Some(cut),
        Some(Vec::new()),
        None,
    ] {
        let env = env.after_kill();
        match &damaged {
            Some(bytes) => env.poke(&path, bytes),
            None => env.snatch(&path).unwrap(),
        }
        let report = check(&env).unwrap();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        assert_eq!(report.problems[0].file.as_deref(), Some(&*path));
        let db = open(&env).unwrap();
        let mut contents = Contents::new();
        let error = read_database(&db, "db", &mut contents).unwrap_err();
        assert_eq!(error.place().unwrap().file, path, "{error}");
        contents.clear();
        read_database(&db, "whole", &mut contents).unwrap();
        assert_eq!(contents.len(), 500);
        // What lies in other blocks and in memory is served.
        write(&db, "db", &[row("cpu", &[], 6000, &[("f", float(6.0))])]).unwrap();
        let snapshot = db.snapshot("db").unwrap();
        let late = TimeRange {
            start: 1000,
            end: 9000,
        };
        assert!(snapshot.check_blocks(None, late).is_ok());
        db.flush().unwrap();
        db.compact().ok();
        assert!(
            env.paths().contains(&path) == damaged.is_some(),
            "it is not removed"
        );
        given_up(&env, db, (&path, damaged.is_some()));
    }
}

/// Somebody gives the block up: what is left is answered, nothing is a problem any more, and its file is kept aside.
fn given_up(env: &SimEnv, db: Db, (path, is_there): (&Path, bool)) {
    let error = db
        .discard_damaged_block(Path::new("blocks/nope"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let sound = env
        .paths()
        .into_iter()
        .find(|own| own.starts_with("blocks") && own != path);
    let error = db.discard_damaged_block(&sound.unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let discarded = db.discard_damaged_block(path).unwrap();
    assert_eq!(
        (&*discarded.database, discarded.meta.row_count),
        ("db", 500)
    );
    assert_eq!(discarded.file.is_some(), is_there);
    if let Some(file) = &discarded.file {
        assert!(file.starts_with("quarantine") && env.paths().contains(file));
    }
    let told = db.stats();
    assert_eq!((told.problems, told.damaged_blocks), (Vec::new(), 0));
    let times = |db: &Db| {
        let mut contents = Contents::new();
        read_database(db, "db", &mut contents).unwrap();
        contents.keys().map(|cell| cell.3).collect::<Vec<_>>()
    };
    assert_eq!(times(&db), [5000, 6000]);
    assert_eq!(
        db.discard_damaged_block(path).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    drop(db);
    let env = env.after_kill();
    let db = open(&env).unwrap();
    assert_eq!(
        (times(&db), db.stats().problems),
        (vec![5000, 6000], Vec::new())
    );
    drop(db);
    assert_eq!(check(&env).unwrap().problems, []);
}

/// Damage of the very last write cannot be told from what a crash leaves unfinished: that something was cut is told.
#[test]
fn what_is_cut_off_the_log_is_told() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &[row("cpu", &[], 1, &[("f", float(1.0))])]).unwrap();
    write(&db, "db", &[row("cpu", &[], 2, &[("f", float(2.0))])]).unwrap();
    assert_eq!(db.stats().torn, None);
    drop(db);
    let killed = env.after_kill();
    let mut logs = killed
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("wal"));
    let path = logs.next_back().unwrap();
    let mut bytes = killed.peek(&path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    killed.poke(&path, &bytes);
    let db = open(&killed).unwrap();
    assert_eq!(read(&db).unwrap().len(), 1);
    let stats = db.stats();
    assert_eq!(stats.problems, []);
    let torn = stats.torn.unwrap();
    assert_eq!(torn.file, path);
    assert!(torn.bytes > 0 && torn.bytes < 512);
    assert!(
        torn.offset + torn.bytes == last as u64 + 1,
        "{} bytes",
        torn.bytes
    );
}

#[test]
fn a_definition_lost_to_damage_in_the_log_takes_only_its_own_rows_along() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let value = &[("f", float(1.0))];
    write(&db, "db", &[row("cpu", &[("host", "a")], 1, value)]).unwrap();
    write(&db, "db", &[row("mem", &[("rack", "lost")], 2, value)]).unwrap();
    write(&db, "db", &[row("cpu", &[("dc", "lost")], 3, value)]).unwrap();
    write(&db, "db", &[row("disk", &[("zone", "z")], 4, value)]).unwrap();
    drop(db);
    let env = env.after_kill();
    let path = env
        .paths()
        .into_iter()
        .find(|path| path.starts_with("wal"))
        .unwrap();
    let mut bytes = env.peek(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(b"lost"))
        .collect();
    assert_eq!(places.len(), 2);
    for at in places {
        bytes[at] ^= 1;
    }
    env.poke(&path, &bytes);
    let times = |db: &Db| -> Vec<(String, i64)> {
        let cells = read(db).unwrap().into_keys();
        let mut times: Vec<_> = cells.map(|cell| (cell.1, cell.3)).collect();
        times.sort();
        times
    };
    let mut db = open(&env).unwrap();
    assert!(db.stats().problem_count >= 2, "{:?}", db.stats().problems);
    let mut expected = vec![("cpu".to_owned(), 1), ("disk".to_owned(), 4)];
    assert_eq!(times(&db), expected);
    // New names and series get ids of their own, not those of what was lost.
    for (time, name) in (10..).zip(["net", "mem", "cpu"]) {
        let tags = [("rack", "new"), ("dc", "new"), ("fresh", "new")];
        write(&db, "db", &[row(name, &tags, time, value)]).unwrap();
        expected.push((name.to_owned(), time));
        expected.sort();
        assert_eq!(times(&db), expected);
        drop(db);
        db = open(&env.after_kill()).unwrap();
        assert_eq!(times(&db), expected);
        drop(db);
        db = open(&env).unwrap();
    }
    db.flush().unwrap();
    assert_eq!(times(&db), expected);
    drop(db);
    let db = open(&env).unwrap();
    assert_eq!(times(&db), expected);
    assert_eq!(
        db.stats().problems,
        [],
        "what was damaged is gone with the log"
    );
}

#[test]
fn a_damaged_registry_is_rebuilt_from_the_blocks_and_no_series_gets_a_second_id() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let some = |time: i64| -> Vec<Row> {
        (0..1500)
            .map(|host| {
                let host = format!("h{host}");
                row("cpu", &[("host", &host)], time, &[("f", float(1.0))])
            })
            .collect()
    };
    write(&db, "db", &some(1)).unwrap();
    db.close().unwrap();
    drop(db);
    let path = env
        .paths()
        .into_iter()
        .find(|path| path.starts_with("registry"));
    let path = path.unwrap();
    let bytes = env.peek(&path).unwrap();
    // In the entries, found when it is touched; in the trailer, found at open; and gone.
    for damage in [Some(20_000), Some(bytes.len() - 20), None] {
        let env = env.after_kill();
        match damage {
            Some(at) => {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                env.poke(&path, &damaged);
            }
            None => env.snatch(&path).unwrap(),
        }
        let db = open(&env).unwrap();
        if let Err(error) = write(&db, "db", &some(2)) {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            write(&db, "db", &some(2)).unwrap();
        }
        let stats = db.stats();
        assert_eq!(stats.series, 1500);
        assert_eq!(
            stats.problems[0].file.as_deref(),
            Some(&*path),
            "{damage:?}"
        );
        db.flush().unwrap();
        assert_eq!(read(&db).unwrap().len(), 3000);
        drop(db);
        let db = open(&env).unwrap();
        write(&db, "db", &some(3)).unwrap();
        assert_eq!(db.stats().series, 1500);
        assert_eq!(db.stats().problems, [], "it is whole again");
    }
}

#[test]
fn check_names_a_flipped_byte_in_every_kind_of_file() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(
        &db,
        "db",
        &[row("cpu", &[("host", "a")], 1, &[("f", float(1.0))])],
    )
    .unwrap();
    db.flush().unwrap();
    write(
        &db,
        "db",
        &[row("cpu", &[("host", "b")], 2, &[("f", float(2.0))])],
    )
    .unwrap();
    write(
        &db,
        "db",
        &[row("cpu", &[("host", "c")], 3, &[("f", float(3.0))])],
    )
    .unwrap();
    let before = env.op_count();
    let report = check(&env).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!((report.block_rows, report.log_records), (1, 4));
    assert_eq!(env.op_count(), before, "nothing is changed");
    let env = env.after_kill();
    let mut kinds = std::collections::BTreeSet::new();
    for path in env.paths() {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let bytes = env.peek(&path).unwrap();
        if folder == Path::new("") && path != Path::new("CURRENT") || bytes.is_empty() {
            continue;
        }
        kinds.insert(folder);
        let mut damaged = bytes.clone();
        damaged[70.min(bytes.len() - 1)] ^= 1;
        env.poke(&path, &damaged);
        match check(&env) {
            Ok(report) => assert!(!report.problems.is_empty(), "{}", path.display()),
            Err(error) => assert_eq!(error.place().unwrap().file, path),
        }
        env.poke(&path, &bytes);
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers_by_itself() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &[row("cpu", &[], 1, &[("f", float(1.0))])]).unwrap();
    let used: usize = env
        .paths()
        .iter()
        .map(|path| env.peek(path).unwrap().len())
        .sum();
    env.set_capacity(Some(used as u64));
    let mut refused = 0;
    for time in 2..200 {
        let one = [row("cpu", &[("host", "a")], time, &[("f", float(2.0))])];
        if let Err(error) = write(&db, "db", &one) {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            refused += 1;
        }
        env.run_steps(2);
    }
    assert!(refused > 0);
    assert!(db.flush().is_err());
    let problems = || -> Vec<String> {
        let problems = db.stats().problems.into_iter();
        problems.map(|problem| problem.message).collect()
    };
    let told = problems();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("flush: "), "{told:?}");
    assert!(told[1].starts_with("writes are refused: "), "{told:?}");
    let stored = values(&db, "f").len();
    assert_eq!(stored, 199 - refused);
    let wait = || {
        for _ in 0..20 {
            env.advance(Duration::from_secs(1));
            env.run_steps(6);
        }
    };
    wait();
    assert_eq!(problems().len(), 2, "it stays full");
    env.set_capacity(None);
    wait();
    assert_eq!(problems(), [""; 0], "nobody has written");
    write(
        &db,
        "db",
        &[row("cpu", &[("host", "a")], 500, &[("f", float(3.0))])],
    )
    .unwrap();
    db.flush().unwrap();
    assert_eq!(problems(), [""; 0], "it has passed");
    assert_eq!(values(&db, "f").len(), stored + 1);
    drop(db);
    let db = open(&env.after_kill()).unwrap();
    assert_eq!(values(&db, "f").len(), stored + 1);
}

#[test]
fn a_process_that_can_open_no_more_refuses_sets_nothing_aside_and_goes_on_by_itself() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let one = |time| [row("cpu", &[("host", "a")], time, &[("f", float(2.0))])];
    write(&db, "db", &one(1)).unwrap();
    db.flush().unwrap();
    let exhaust = |kind| {
        env.inject(Fault {
            kind: Some(kind),
            after: 0,
            failure: Failure::Descriptors,
            sticky: true,
        });
    };
    let mut time = 1;
    for kind in [OpKind::Create, OpKind::Open, OpKind::SyncDir, OpKind::List] {
        exhaust(kind);
        // Some go into the segment that is open; it is full after a few.
        for _ in 0..100 {
            time += 1;
            if let Err(error) = write(&db, "db", &one(time)) {
                assert_eq!(error.kind(), ErrorKind::Busy, "{kind:?}: {error}");
            }
        }
        if kind != OpKind::List {
            assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Busy, "{kind:?}");
            assert!(db.stats().problem_count > 0, "{kind:?}");
        }
        db.compact().ok();
        env.heal();
        time += 1;
        write(&db, "db", &one(time)).unwrap();
        db.compact().unwrap();
        let stats = db.stats();
        assert_eq!(
            (stats.problems, stats.damaged_blocks),
            (vec![], 0),
            "{kind:?}"
        );
    }
    let expected = values(&db, "f");
    drop(db);
    for kind in [OpKind::Open, OpKind::List] {
        exhaust(kind);
        assert_eq!(open(&env).unwrap_err().kind(), ErrorKind::Busy, "{kind:?}");
        env.heal();
    }
    let db = open(&env).unwrap();
    assert_eq!(values(&db, "f"), expected);
    assert_eq!(db.stats().problems, []);
}

#[test]
fn what_a_refused_write_defined_is_there_for_the_writes_that_rely_on_it() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let one = |host: &str, time| [row("cpu", &[("host", host)], time, &[("f", float(2.0))])];
    env.inject(Fault {
        kind: Some(OpKind::Write),
        after: 0,
        failure: Failure::Full,
        sticky: false,
    });
    // Measurement, field and series are made by a write that the log refuses.
    assert_eq!(
        write(&db, "db", &one("a", 1)).unwrap_err().kind(),
        ErrorKind::NoSpace
    );
    write(&db, "db", &one("b", 2)).unwrap();
    write(&db, "db", &one("a", 3)).unwrap();
    let expected = [(3, float(2.0)), (2, float(2.0))];
    assert_eq!(values(&db, "f"), expected);
    drop(db);
    let db = open(&env.after_kill()).unwrap();
    assert_eq!(values(&db, "f"), expected);
    assert_eq!(db.stats().problems, []);
}

#[test]
fn definitions_that_wait_for_a_full_disk_are_bounded() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let some = |batch: i64| -> Vec<Row> {
        (0..20_000)
            .map(|host| {
                let host = format!("h{batch}-{host}");
                row("cpu", &[("host", &host)], batch, &[("f", float(2.0))])
            })
            .collect()
    };
    env.set_capacity(Some(100_000));
    for batch in 0..8 {
        let error = write(&db, "db", &some(batch)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
    }
    assert!(db.stats().series <= 80_000, "{}", db.stats().series);
    env.set_capacity(None);
    write(&db, "db", &some(9)).unwrap();
    assert_eq!(values(&db, "f").len(), 20_000);
}

#[test]
fn rows_acknowledged_before_they_are_durable_are_synced_by_the_step() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let (text, rows) = batch(db.hasher(), &[row("cpu", &[], 1, &[("f", float(2.0))])]);
    let batch = Batch { text: &text, rows };
    let options = WriteOptions {
        durability: Durability::Buffered,
    };
    let submitted = db.write("db", None, batch, &Keys, options).unwrap();
    submitted.ticket.wait().unwrap();
    assert_eq!(values(&db, "f").len(), 1);
    let lost = || {
        let images = env.crash_images(20);
        let mut lost = images.filter(|image| {
            let db = open(&image.env).unwrap();
            values(&db, "f").is_empty()
        });
        lost.next().is_some()
    };
    assert!(lost());
    env.run_steps(20);
    assert!(!lost());
}

#[test]
fn data_without_a_manifest_is_named_and_left_alone() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &[row("cpu", &[], 1, &[("f", float(2.0))])]).unwrap();
    db.flush().unwrap();
    drop(db);
    let env = env.after_kill();
    env.snatch("CURRENT").unwrap();
    let before = (env.paths(), env.op_count());
    let error = open(&env).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("CURRENT"), "{error}");
    assert!(check(&env).is_err());
    assert_eq!((env.paths(), env.op_count()), before);
}

#[test]
fn a_failed_sync_refuses_until_the_step_has_flushed_and_a_second_one_is_final() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &[row("cpu", &[], 1, &[("f", float(1.0))])]).unwrap();
    let fail_sync = || {
        env.inject(Fault {
            kind: Some(OpKind::SyncData),
            after: 0,
            failure: Failure::Io,
            sticky: false,
        });
    };
    let one = |time| [row("cpu", &[("host", "new")], time, &[("g", float(2.0))])];
    fail_sync();
    assert_eq!(write(&db, "db", &one(2)).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(write(&db, "db", &one(3)).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(read(&db).unwrap().len(), 1, "what was refused is not seen");
    env.run_steps(20);
    // The series and the field were defined by a write that was refused.
    write(&db, "db", &one(4)).unwrap();
    assert_eq!(values(&db, "g"), [(4, float(2.0))]);
    fail_sync();
    assert_eq!(write(&db, "db", &one(5)).unwrap_err().kind(), ErrorKind::Io);
    env.advance(Duration::from_secs(60));
    env.run_steps(20);
    assert_eq!(
        write(&db, "db", &one(6)).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(read(&db).unwrap().len(), 2, "reads go on");
    drop(db);
    let db = open(&env.after_kill()).unwrap();
    let found = values(&db, "g");
    assert!(found.contains(&(4, float(2.0))) && !found.iter().any(|(time, _)| *time == 6));
}

#[test]
fn a_long_log_is_replayed_in_bounded_memory_and_again_after_a_crash_in_the_middle() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let mut expected = 0;
    for start in 0..40 {
        let rows: Vec<Row> = (0..50)
            .map(|index| {
                let host = format!("h{}", index % 7);
                row(
                    "cpu",
                    &[("host", &host)],
                    start * 30 + index,
                    &[("f", float(2.0))],
                )
            })
            .collect();
        write(&db, "db", &rows).unwrap();
        expected = read(&db).unwrap().len();
    }
    drop(db);
    let small = DbOptions {
        memtable_bytes: 4_000,
        memtable_bytes_max: 8_000,
        ..options()
    };
    let crashed = env.after_kill();
    crashed.stop_before(100);
    let stopped = Db::open(Arc::new(crashed.clone()), small);
    assert!(stopped.is_err(), "the open takes more than a hundred steps");
    drop(stopped);
    let env = crashed.crash_images(1).next().unwrap().env;
    let db = Db::open(Arc::new(env.clone()), small).unwrap();
    assert!(db.stats().flushes > 3);
    assert!(db.stats().memtable_bytes < 8_000);
    assert_eq!(read(&db).unwrap().len(), expected);
    db.compact().unwrap();
    assert_eq!(read(&db).unwrap().len(), expected);
    assert_eq!(db.stats().problems, []);
}
