//! Writers that ask for less than the disk: whatever a crash leaves is a beginning of what was
//! written, and holds everything that was acknowledged as durable.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

mod support;

use silverback_storage::db::{Db, Durability, WriteOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::env::sim::{Failure, Fault, OpKind};
use silverback_storage::error::Result;
use silverback_storage::model::{Batch, FieldValue, PolicySpec};

use support::{Keys, batch, open, read, row, write};

/// Disks per crash point.
const IMAGES_PER_POINT: usize = 40;

/// Writes the row of time `number` and waits as long as `durability` asks.
fn put(db: &Db, number: i64, durability: Durability) -> Result<Durability> {
    let host = format!("h{}", number % 5);
    let fields = [("f", FieldValue::Integer(number))];
    let rows = [row("cpu", &[("host", &host)], number, &fields)];
    let (text, rows) = batch(db.hasher(), &rows);
    let batch = Batch { text: &text, rows };
    let submitted = db.write("db", None, batch, &Keys, WriteOptions { durability })?;
    submitted.ticket.wait()
}

/// The times found, ascending.
fn times(db: &Db) -> Vec<i64> {
    let mut times: Vec<i64> = read(db).unwrap().keys().map(|cell| cell.3).collect();
    times.sort_unstable();
    times
}

/// How far a run came.
#[derive(Debug, Default)]
struct Progress {
    attempted: i64,
    /// The last row that is durable for certain, with all before it.
    durable: i64,
    /// The last one that survives a kill.
    written: i64,
}

/// Rows of all three kinds, with everything between them that moves the log and the blocks.
fn script(env: &SimEnv) -> Progress {
    let mut progress = Progress::default();
    let Ok(mut db) = open(env) else {
        return progress;
    };
    if db.create_database("db", &PolicySpec::default()).is_err() {
        return progress;
    }
    for number in 1..=60 {
        let asked = match number % 7 {
            0 => Durability::Disk,
            2 | 5 => Durability::Memory,
            _ => Durability::Buffered,
        };
        progress.attempted = number;
        let Ok(given) = put(&db, number, asked) else {
            break;
        };
        if given == Durability::Disk {
            progress.durable = number;
        }
        if given != Durability::Memory {
            progress.written = number;
        }
        match number {
            11 | 25 if db.flush().is_ok() => progress.durable = number,
            30 => drop(env.run_steps(6)),
            40 if db.compact().is_ok() => progress.durable = number,
            50 => {
                drop(db);
                let Ok(again) = open(env) else {
                    return progress;
                };
                db = again;
            }
            _ => {}
        }
    }
    progress
}

#[test]
fn a_crash_takes_an_end_of_what_was_not_durable_and_never_a_middle() {
    let whole = SimEnv::new(21);
    let all = script(&whole);
    assert_eq!((all.attempted, all.durable), (60, 56));
    let (mut images, mut shorter) = (0, 0);
    for stop in 0..=whole.op_count() {
        let env = SimEnv::new(21);
        env.stop_before(stop);
        let progress = script(&env);
        for image in env.crash_images(IMAGES_PER_POINT) {
            images += 1;
            let case = format!("stop {stop}: {}", image.choice);
            let db = open(&image.env).unwrap_or_else(|error| panic!("{case}: {error}"));
            let found = times(&db);
            let last = found.last().copied().unwrap_or(0);
            assert!(found.iter().copied().eq(1..=last), "{case}: {found:?}");
            let bounds = progress.durable..=progress.attempted;
            assert!(bounds.contains(&last), "{case}: {last}, {progress:?}");
            assert_eq!(db.stats().problems, [], "{case}");
            shorter += u64::from(last < progress.written);
        }
    }
    println!("{images} images, {shorter} without rows that were only written");
    assert!(images >= 2000, "{images} images");
    assert!(shorter > 100, "{shorter} images lost an end");
}

#[test]
fn a_kill_takes_nothing_that_was_written() {
    let whole = SimEnv::new(22);
    script(&whole);
    for stop in 0..=whole.op_count() {
        let env = SimEnv::new(22);
        env.stop_before(stop);
        let progress = script(&env);
        let Ok(db) = open(&env.after_kill()) else {
            assert_eq!(progress.written, 0, "stop {stop}");
            continue;
        };
        if db.databases().is_empty() {
            assert_eq!(progress.attempted, 0, "stop {stop}");
            continue;
        }
        let found = times(&db);
        let last = found.last().copied().unwrap_or(0);
        assert!(found.iter().copied().eq(1..=last), "stop {stop}: {found:?}");
        assert!(
            last >= progress.written,
            "stop {stop}: {last}, {progress:?}"
        );
    }
}

#[test]
fn the_answer_says_what_was_given_and_not_what_was_asked() {
    let db = open(&SimEnv::new(23)).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    assert_eq!(put(&db, 1, Durability::Memory).unwrap(), Durability::Memory);
    assert!(times(&db).is_empty(), "its group is not written yet");
    db.lead();
    assert_eq!(times(&db), [1]);
    assert_eq!(
        put(&db, 2, Durability::Buffered).unwrap(),
        Durability::Buffered
    );
    let rows = [row("cpu", &[], 3, &[("f", FieldValue::Integer(3))])];
    let (text, rows) = batch(db.hasher(), &rows);
    let batch = Batch { text: &text, rows };
    let options = WriteOptions {
        durability: Durability::Buffered,
    };
    let shared = db.write("db", None, batch, &Keys, options).unwrap();
    // In the same group, whose sync serves both.
    assert_eq!(put(&db, 4, Durability::Disk).unwrap(), Durability::Disk);
    assert_eq!(shared.ticket.wait().unwrap(), Durability::Disk);
}

#[test]
fn a_flush_saves_what_was_acknowledged_where_the_log_cannot_be_synced() {
    let env = SimEnv::new(24);
    let db = open(&env).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    let first = row(
        "cpu",
        &[("host", "h1")],
        1,
        &[("f", FieldValue::Integer(1))],
    );
    write(&db, "db", &[first]).unwrap();
    put(&db, 2, Durability::Buffered).unwrap();
    env.inject(Fault {
        kind: Some(OpKind::SyncData),
        after: 0,
        failure: Failure::Io,
        sticky: false,
    });
    db.flush().unwrap();
    put(&db, 3, Durability::Disk).unwrap();
    for image in env.crash_images(200) {
        let db = open(&image.env).unwrap();
        assert_eq!(times(&db), [1, 2, 3], "{}", image.choice);
        assert_eq!(db.stats().problems, [], "{}", image.choice);
        put(&db, 4, Durability::Disk).unwrap();
        drop(db);
        let db = open(&image.env.after_kill()).unwrap();
        assert_eq!(times(&db), [1, 2, 3, 4], "{}", image.choice);
    }
}

#[test]
fn rows_acknowledged_from_the_queue_and_refused_by_the_disk_are_counted() {
    let env = SimEnv::new(25);
    let db = open(&env).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    env.set_capacity(Some(100));
    assert_eq!(put(&db, 1, Durability::Memory).unwrap(), Durability::Memory);
    db.lead();
    let log = db.stats().log;
    assert_eq!((log.refused, log.refused_acknowledged), (1, 1));
    assert!(times(&db).is_empty());
}
