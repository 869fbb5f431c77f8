//! Backups: what is in them, what a crash leaves of them, and what a restore refuses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use silverback_storage::db::{CheckOptions, Db, DbOptions};
use silverback_storage::env::{Env, RealEnv, RealOptions, SimEnv};
use silverback_storage::error::{Error, ErrorKind, Result};
use silverback_storage::model::PolicySpec;
use silverback_storage::upkeep::backup::{BackupReport, RestoreReport, restore};

use crate::small::{float, open_with};
use crate::support::{Contents, Row, open, read, row, write};

/// Disks that a crash leaves, per place.
const IMAGES: usize = 8;

fn rows(start: i64, count: i64) -> Vec<Row> {
    let one = |time: i64| {
        let host = format!("h{}", time % 5);
        row("cpu", &[("host", &host)], time, &[("f", float(0.5))])
    };
    (start..start + count).map(one).collect()
}

fn shared(env: &SimEnv) -> Arc<dyn Env> {
    Arc::new(env.clone())
}

fn back_up(db: &Db, target: &SimEnv) -> Result<BackupReport> {
    db.backup(&shared(target), &mut |_| Ok(()))
}

fn restore_sim(backup: &SimEnv, target: &SimEnv) -> Result<RestoreReport> {
    restore(backup, &shared(target), &mut |_| Ok(()))
}

/// What a backup holds, by restoring it.
fn contents(backup: &SimEnv) -> Result<Contents> {
    let target = SimEnv::new(9);
    restore_sim(backup, &target)?;
    read(&open(&target)?)
}

/// What a deep check says of a backup.
fn is_well(backup: &SimEnv) -> bool {
    let options = CheckOptions { deep: true };
    let report = Db::check_with(&shared(backup), options, &mut |_, _| {});
    report.is_ok_and(|report| report.problems.is_empty() && report.values > 0)
}

/// A store with a backup of its first rows, and more rows since: what was backed up, and all.
fn store() -> (Db, SimEnv, Contents, Contents) {
    let db = open_with(&SimEnv::new(1), "db");
    write(&db, "db", &rows(0, 300)).unwrap();
    let backup = SimEnv::new(2);
    let first = back_up(&db, &backup).unwrap();
    assert_eq!((first.number, first.new_files), (1, 2));
    let old = read(&db).unwrap();
    write(&db, "db", &rows(1000, 300)).unwrap();
    let new = read(&db).unwrap();
    (db, backup, old, new)
}

#[test]
fn a_backup_has_all_that_was_acknowledged_and_a_second_one_adds_what_is_new() {
    let (db, backup, old, new) = store();
    assert_eq!(contents(&backup).unwrap(), old);
    let second = back_up(&db, &backup).unwrap();
    assert_eq!((second.number, second.new_files, second.files), (2, 1, 4));
    assert_eq!(contents(&backup).unwrap(), new);
    db.compact().unwrap();
    let third = back_up(&db, &backup).unwrap();
    assert_eq!((third.new_files, third.files), (1, 3));
    assert_eq!(contents(&backup).unwrap(), new);
    let paths = backup.paths().len();
    assert_eq!(paths, 5, "what no list names is gone: {:?}", backup.paths());
    // A restored store goes on, with ids of its own, and is backed up elsewhere.
    let target = SimEnv::new(5);
    restore_sim(&backup, &target).unwrap();
    let restored = open(&target).unwrap();
    assert_eq!(restored.stats().problems, []);
    write(&restored, "db", &rows(5000, 10)).unwrap();
    let other = SimEnv::new(6);
    back_up(&restored, &other).unwrap();
    assert_eq!(contents(&other).unwrap().len(), new.len() + 10);
}

#[test]
fn whatever_stops_a_backup_the_last_complete_one_stays_valid() {
    let (db, backup, old, new) = store();
    let whole = backup.after_kill();
    back_up(&db, &whole).unwrap();
    let (mut images, mut finished) = (0, 0);
    for stop in 0..whole.op_count() {
        let target = backup.after_kill();
        target.stop_before(stop);
        let done = back_up(&db, &target).is_ok();
        for image in target.crash_images(IMAGES) {
            images += 1;
            let case = format!("stop {stop}, image {}: {}", image.number, image.choice);
            let found = contents(&image.env).unwrap_or_else(|error| panic!("{case}: {error}"));
            // Behind the last step there is only tidying.
            assert!(found == new || found == old && !done, "{case}");
            finished += usize::from(found == new);
            back_up(&db, &image.env).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(contents(&image.env).unwrap(), new, "{case}");
        }
    }
    assert!(
        images > 100 && finished > 0,
        "{images} images, {finished} finished"
    );
}

#[test]
fn the_first_backup_is_valid_only_when_it_is_complete() {
    let (db, _, _, new) = store();
    let whole = SimEnv::new(3);
    back_up(&db, &whole).unwrap();
    let mut refused = 0;
    for stop in 0..whole.op_count() {
        let target = SimEnv::new(3);
        target.stop_before(stop);
        back_up(&db, &target).ok();
        for image in target.crash_images(IMAGES) {
            match contents(&image.env) {
                Ok(found) => assert_eq!(found, new, "stop {stop}: {}", image.choice),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn what_was_restored_in_part_does_not_open_as_if_it_were_all() {
    let (_, backup, old, _) = store();
    let whole = SimEnv::new(4);
    restore_sim(&backup, &whole).unwrap();
    let (mut refused, mut complete) = (0, 0);
    for stop in 0..whole.op_count() {
        let target = SimEnv::new(4);
        target.stop_before(stop);
        restore_sim(&backup, &target).unwrap_err();
        for image in target.crash_images(IMAGES) {
            match open(&image.env) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    refused += 1;
                }
                Ok(db) => {
                    let found = read(&db).unwrap();
                    assert!(
                        found == old || found.is_empty(),
                        "stop {stop}: {}",
                        image.choice
                    );
                    complete += usize::from(found == old);
                }
            }
        }
    }
    assert!(
        refused > 20 && complete > 0,
        "{refused} refused, {complete} complete"
    );
}

#[test]
fn every_file_of_a_backup_that_is_damaged_missing_or_another_is_refused() {
    let (_, backup, ..) = store();
    assert!(is_well(&backup));
    let mut cases = 0;
    for path in backup.paths() {
        if path == Path::new("LOCK") {
            continue;
        }
        let bytes = backup.peek(&path).unwrap();
        let refused = |change: &dyn Fn(&SimEnv)| {
            let own = backup.after_kill();
            change(&own);
            let error = contents(&own).unwrap_err();
            let kinds = [ErrorKind::Corrupt, ErrorKind::NotFound, ErrorKind::Conflict];
            assert!(kinds.contains(&error.kind()), "{}: {error}", path.display());
            assert!(!is_well(&own), "{}: a check finds it", path.display());
        };
        for at in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            refused(&|own| own.poke(&path, &damaged));
            refused(&|own| own.poke(&path, &bytes[..at]));
            cases += 2;
        }
        refused(&|own| own.snatch(&path).unwrap());
    }
    assert!(cases > 100, "{cases}");
}

/// Two stores of one identity whose files differ in their values alone, as a copy of a directory that went on by
/// itself leaves them.
fn twins() -> [(Db, SimEnv); 2] {
    [0.5, 0.25].map(|value| {
        let env = SimEnv::new(1);
        let db = open_with(&env, "db");
        let mut rows = rows(0, 300);
        for row in &mut rows {
            row.fields = vec![("f".into(), float(value))];
        }
        write(&db, "db", &rows).unwrap();
        db.flush().unwrap();
        (db, env)
    })
}

#[test]
fn a_sound_file_of_another_history_is_not_taken_for_the_one_of_the_list() {
    let [(db, _), (_, twin)] = twins();
    let backup = SimEnv::new(2);
    back_up(&db, &backup).unwrap();
    let old = contents(&backup).unwrap();
    let paths = backup.paths();
    let path = paths
        .iter()
        .find(|path| path.starts_with("blocks"))
        .unwrap();
    let (own, other) = (backup.peek(path).unwrap(), twin.peek(path).unwrap());
    assert_eq!(own.len(), other.len());
    assert_ne!(own, other);
    backup.poke(path, &other);
    assert!(!is_well(&backup));
    let error = contents(&backup).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.place().unwrap().file, *path, "{error}");
    // The store has the right one still.
    back_up(&db, &backup).unwrap();
    assert_eq!(contents(&backup).unwrap(), old);
}

#[test]
fn a_store_that_went_its_own_way_does_not_replace_the_backup_of_its_twin() {
    let [(db, _), (twin, _)] = twins();
    let backup = SimEnv::new(2);
    back_up(&db, &backup).unwrap();
    let old = contents(&backup).unwrap();
    let error = back_up(&twin, &backup).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(contents(&backup).unwrap(), old);
    // What a backup that was stopped has left counts for nothing.
    let other = SimEnv::new(3);
    backup.paths().iter().for_each(|path| {
        if path.starts_with("blocks") || path.starts_with("registry") {
            other.poke(path, &backup.peek(path).unwrap());
        }
    });
    back_up(&twin, &other).unwrap();
    assert_eq!(contents(&other).unwrap(), read(&twin).unwrap());
}

#[test]
fn a_damaged_store_does_not_replace_a_good_backup() {
    let (db, backup, old, _) = store();
    drop(db);
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &rows(0, 300)).unwrap();
    let own = SimEnv::new(2);
    back_up(&db, &own).unwrap();
    assert_eq!(contents(&own).unwrap(), old);
    write(&db, "db", &rows(2000, 300)).unwrap();
    let before = env.paths();
    db.flush().unwrap();
    let new: Vec<PathBuf> = env.paths();
    let path = new
        .iter()
        .find(|path| path.starts_with("blocks") && !before.contains(path));
    let mut bytes = env.peek(path.unwrap()).unwrap();
    bytes[100] ^= 1;
    env.poke(path.unwrap(), &bytes);
    let error = back_up(&db, &own).unwrap_err();
    assert_eq!(error.place().unwrap().file, *path.unwrap(), "{error}");
    assert_eq!(contents(&own).unwrap(), old);
    drop(backup);
}

#[test]
fn a_file_that_is_damaged_inside_stays_as_its_backup_has_it_and_a_lost_one_is_named() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &rows(0, 300)).unwrap();
    let backup = SimEnv::new(2);
    back_up(&db, &backup).unwrap();
    let paths = env.paths();
    let block = paths
        .iter()
        .find(|path| path.starts_with("blocks"))
        .unwrap();
    let bytes = env.peek(block).unwrap();
    write(&db, "db", &rows(1000, 300)).unwrap();
    let all = read(&db).unwrap();
    let mut damaged = bytes.clone();
    damaged[100] ^= 1;
    env.poke(block, &damaged);
    // Its checksums say that it is the same file.
    assert_eq!(back_up(&db, &backup).unwrap().new_files, 1);
    assert_eq!(contents(&backup).unwrap(), all);
    // A bad one does not take the place of another bad one.
    let (own, mut worse) = (backup.peek(block).unwrap(), bytes.clone());
    worse[200] ^= 1;
    backup.poke(block, &worse);
    let error = back_up(&db, &backup).unwrap_err();
    assert_eq!(error.place().unwrap().file, *block, "{error}");
    assert_eq!(backup.peek(block).unwrap(), worse);
    backup.poke(block, &own);
    // What cannot be told from another file's is not taken for it.
    for change in [Some(&bytes[..bytes.len() - 1]), None] {
        match change {
            Some(cut) => env.poke(block, cut),
            None => env.snatch(block).unwrap(),
        }
        let error = back_up(&db, &backup).unwrap_err();
        assert_eq!(error.place().unwrap().file, *block, "{error}");
        assert_eq!(contents(&backup).unwrap(), all);
    }
}

#[test]
fn places_that_hold_something_else_are_refused() {
    let (db, backup, old, _) = store();
    let other = open_with(&SimEnv::new(7), "db");
    let kind = |outcome: Result<BackupReport>| outcome.unwrap_err().kind();
    assert_eq!(kind(back_up(&other, &backup)), ErrorKind::Conflict);
    let foreign = SimEnv::new(8);
    foreign.poke("notes.txt", b"mine");
    assert_eq!(kind(back_up(&db, &foreign)), ErrorKind::Invalid);
    let data = SimEnv::new(8);
    drop(open_with(&data, "db"));
    assert_eq!(kind(back_up(&db, &data)), ErrorKind::Invalid);
    let error = restore_sim(&backup, &data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = restore_sim(&SimEnv::new(8), &SimEnv::new(9)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let lock = backup.lock(Path::new("LOCK")).unwrap();
    assert_eq!(kind(back_up(&db, &backup)), ErrorKind::Conflict);
    assert_eq!(contents(&backup).unwrap_err().kind(), ErrorKind::Conflict);
    drop(lock);
    let stopped = Error::new(ErrorKind::Closed, "enough");
    let outcome = db.backup(&shared(&backup), &mut |_| Err(stopped.duplicate()));
    assert_eq!(kind(outcome), ErrorKind::Closed);
    assert_eq!(contents(&backup).unwrap(), old);
}

#[test]
fn on_one_file_system_files_are_linked_and_links_in_a_backup_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let env = |name: &str| RealEnv::new(folder.path().join(name), RealOptions { mmap: false });
    let db = Db::open(Arc::new(env("data")), DbOptions::default()).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    write(&db, "db", &rows(0, 300)).unwrap();
    let target: Arc<dyn Env> = Arc::new(env("backup"));
    let report = db.backup(&target, &mut |_| Ok(())).unwrap();
    assert_eq!((report.new_files, report.linked_files), (2, 2));
    // The store goes on, and takes its own names away: the backup keeps the files.
    db.drop_database("db").unwrap();
    let restored = |name: &str| {
        let target: Arc<dyn Env> = Arc::new(env(name));
        restore(&env("backup"), &target, &mut |_| Ok(()))?;
        read(&Db::open(target, DbOptions::default())?)
    };
    assert_eq!(restored("restored").unwrap().len(), 300);
    let block = std::fs::read_dir(folder.path().join("backup/blocks")).unwrap();
    let block = block.last().unwrap().unwrap().path();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&block, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &block).unwrap();
    assert!(restored("linked").is_err());
    std::fs::remove_file(&block).unwrap();
    std::fs::rename(&elsewhere, &block).unwrap();
    let blocks = folder.path().join("backup/blocks");
    let moved = folder.path().join("moved");
    std::fs::rename(&blocks, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &blocks).unwrap();
    assert!(restored("folder").is_err());
}

#[test]
fn files_that_a_backup_needs_stay_until_it_is_done() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    for start in [0, 1000, 2000] {
        write(&db, "db", &rows(start, 300)).unwrap();
        db.flush().unwrap();
    }
    let expected = read(&db).unwrap();
    let backup = SimEnv::new(2);
    let mut compacted = false;
    let report = db.backup(&shared(&backup), &mut |_| {
        if !compacted {
            compacted = true;
            db.compact().unwrap();
            db.drop_database("db").unwrap();
        }
        Ok(())
    });
    assert_eq!(report.unwrap().files, 5);
    assert_eq!(contents(&backup).unwrap(), expected);
    let left = env
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("blocks"));
    assert_eq!(left.count(), 0, "they are gone now");
}
