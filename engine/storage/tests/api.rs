//! The face of the store: what callers meet, and in which words.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

#[path = "api/names.rs"]
mod names;
#[path = "support/small.rs"]
mod small;
#[path = "api/sums.rs"]
mod sums;
mod support;
#[path = "api/waiting.rs"]
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use silverback_storage::db::{Db, DbOptions, Submitted, WriteOptions};
use silverback_storage::env::Env;
use silverback_storage::env::{RealEnv, RealOptions, SimEnv};
use silverback_storage::error::{ErrorKind, Result};
use silverback_storage::model::{Batch, FieldValue, PolicySpec};

use small::{float, open_with, values};
use support::{Contents, Keys, Row, batch, open, options, read, read_database, row, write};

fn submit(db: &Db, rows: &[Row]) -> Submitted {
    let (text, rows) = batch(db.hasher(), rows);
    let batch = Batch { text: &text, rows };
    db.write("db", None, batch, &Keys, WriteOptions::default())
        .unwrap()
}

#[test]
fn what_does_not_exist_is_named_in_the_words_of_influxdb() {
    let db = open_with(&SimEnv::new(1), "db");
    let one = [row("cpu", &[], 1, &[("f", float(1.0))])];
    let error = write(&db, "nope", &one).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "database not found: \"nope\"");
    let (text, rows) = batch(db.hasher(), &one);
    let batch = Batch { text: &text, rows };
    let error = db
        .write("db", Some("rp"), batch, &Keys, WriteOptions::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "retention policy not found: rp");
    assert!(db.snapshot("nope").is_none());
    assert_eq!(
        db.drop_measurement("nope", b"cpu").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    db.drop_measurement("db", b"cpu").unwrap();
    db.drop_database("nope").unwrap();
}

#[test]
fn a_database_is_made_once_and_as_asked_or_refused() {
    let db = open_with(&SimEnv::new(1), "db");
    db.create_database("db", &PolicySpec::default()).unwrap();
    let weekly = PolicySpec {
        name: Some("weekly".into()),
        duration_ns: Some(604_800_000_000_000),
        ..PolicySpec::default()
    };
    let error = db.create_database("db", &weekly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        error.to_string(),
        "retention policy conflicts with an existing policy"
    );
    db.create_database("other", &weekly).unwrap();
    db.create_database("other", &weekly).unwrap();
    for bad in ["", "..", "a/b", "a\nb"] {
        let error = db.create_database(bad, &PolicySpec::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad:?}");
    }
    assert_eq!(db.databases(), ["db".into(), "other".into()]);
    let snapshot = db.snapshot("other").unwrap();
    let [policy] = snapshot.catalog().policies() else {
        panic!("one policy");
    };
    assert_eq!((&*policy.name, policy.is_default), ("weekly", true));
    assert_eq!(policy.partition_ns, 86_400_000_000_000);
    let snapshot = db.snapshot("db").unwrap();
    let autogen = &snapshot.catalog().policies()[0];
    assert_eq!((&*autogen.name, autogen.duration_ns), ("autogen", 0));
    // A day at most, unless stated; clients are told what InfluxDB would have.
    assert_eq!(autogen.partition_ns, 86_400_000_000_000);
    assert_eq!(autogen.shard_ns, 604_800_000_000_000);
}

#[test]
fn rows_of_another_type_are_rejected_whole_and_the_others_are_stored() {
    let db = open_with(&SimEnv::new(1), "db");
    let submitted = submit(
        &db,
        &[
            row("cpu", &[("host", "a")], 1, &[("f", float(1.0))]),
            row(
                "cpu",
                &[("host", "a")],
                2,
                &[("f", FieldValue::Integer(2)), ("g", float(2.0))],
            ),
            row("cpu", &[("host", "a")], 3, &[("g", float(3.0))]),
        ],
    );
    assert_eq!(submitted.rows, 2);
    let [rejected] = &submitted.rejected[..] else {
        panic!("one row is rejected: {:?}", submitted.rejected);
    };
    assert_eq!(rejected.line, 2);
    assert_eq!(
        rejected.reason.to_string(),
        "field type conflict: input field \"f\" on measurement \"cpu\" is type integer, already \
         exists as type float"
    );
    submitted.ticket.wait().unwrap();
    assert_eq!(values(&db, "f"), [(1, float(1.0))]);
    assert_eq!(values(&db, "g"), [(3, float(3.0))]);
    // The same once the field is known from an earlier write, and after a restart.
    for round in 0..2 {
        let submitted = submit(
            &db,
            &[row("cpu", &[], 9, &[("f", FieldValue::Boolean(true))])],
        );
        assert_eq!(
            (submitted.rows, submitted.rejected.len()),
            (0, 1),
            "round {round}"
        );
        submitted.ticket.wait().unwrap();
        db.flush().unwrap();
    }
}

#[test]
fn the_first_line_of_a_batch_gives_a_new_field_its_type() {
    let db = open_with(&SimEnv::new(1), "db");
    // The integer column comes first in the batch, the float stands on the earlier line.
    let rows = [
        row("cpu", &[], 1, &[("a", float(1.0))]),
        row("cpu", &[], 2, &[("x", float(2.0))]),
        row("cpu", &[], 3, &[("x", FieldValue::Integer(3))]),
    ];
    let (text, mut rows) = batch(db.hasher(), &rows);
    rows[0].fields.reverse();
    let batch = Batch { text: &text, rows };
    let submitted = db
        .write("db", None, batch, &Keys, WriteOptions::default())
        .unwrap();
    assert_eq!(submitted.rejected.len(), 1);
    assert_eq!(submitted.rejected[0].line, 3);
    submitted.ticket.wait().unwrap();
    assert_eq!(values(&db, "x"), [(2, float(2.0))]);
}

#[test]
fn a_bad_key_rejects_its_row_and_leaves_no_trace() {
    let db = open_with(&SimEnv::new(1), "db");
    let mut rows = vec![row("cpu", &[("host", "a")], 1, &[("f", float(1.0))])];
    // Its parser takes this for a tag without a value.
    rows.push(row("cpu", &[], 2, &[("f", float(2.0))]));
    let (mut text, mut rows) = batch(db.hasher(), &rows);
    let bad = b"cpu,broken";
    rows[0].keys[1].offset = u32::try_from(text.len()).unwrap();
    rows[0].keys[1].len = u32::try_from(bad.len()).unwrap();
    rows[0].keys[1].hash = db.hasher().hash(bad);
    text.extend_from_slice(bad);
    let long = format!("cpu,host={}", "x".repeat(70_000));
    let mut third = rows[0].clone();
    third.timestamps = vec![3];
    third.lines = vec![3];
    third.keys.truncate(1);
    third.keys[0].offset = u32::try_from(text.len()).unwrap();
    third.keys[0].len = u32::try_from(long.len()).unwrap();
    third.keys[0].hash = db.hasher().hash(long.as_bytes());
    third.fields[0] =
        silverback_storage::model::FieldColumn::absent(b"f", float(0.0).field_type(), 0);
    third.fields[0].push(0, &float(3.0));
    text.extend_from_slice(long.as_bytes());
    rows.push(third);
    let batch = Batch { text: &text, rows };
    let submitted = db
        .write("db", None, batch, &Keys, WriteOptions::default())
        .unwrap();
    let reasons: Vec<String> = submitted
        .rejected
        .iter()
        .map(|row| row.reason.to_string())
        .collect();
    assert_eq!(reasons[0], "missing tag value in broken");
    assert!(
        reasons[1].starts_with("max key length exceeded: 70014 > 65535"),
        "{reasons:?}"
    );
    assert_eq!((submitted.rows, submitted.rejected[0].line), (1, 2));
    submitted.ticket.wait().unwrap();
    assert_eq!(values(&db, "f"), [(1, float(1.0))]);
    assert_eq!(db.stats().series, 1);
}

#[test]
fn one_series_is_one_however_its_key_is_written() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    // The helper writes the tags of every second row in another order.
    for round in 0..3 {
        let rows: Vec<Row> = (0..6)
            .map(|time| {
                let tags = [("dc", "x"), ("host", "a"), ("rack", "1")];
                row("cpu", &tags, round * 10 + time, &[("f", float(0.5))])
            })
            .collect();
        write(&db, "db", &rows).unwrap();
        assert_eq!(db.stats().series, 1);
        db.flush().unwrap();
    }
    db.close().unwrap();
    drop(db);
    let db = open(&env).unwrap();
    write(
        &db,
        "db",
        &[row(
            "cpu",
            &[("dc", "x"), ("host", "a"), ("rack", "1")],
            99,
            &[("f", float(1.0))],
        )],
    )
    .unwrap();
    assert_eq!(
        db.stats().series,
        1,
        "the registry knows it after a restart"
    );
    assert_eq!(values(&db, "f").len(), 19);
}

#[test]
fn a_snapshot_stays_as_it_is_while_everything_goes_on() {
    let db = open_with(&SimEnv::new(1), "db");
    write(
        &db,
        "db",
        &[row("cpu", &[("host", "a")], 1, &[("f", float(1.0))])],
    )
    .unwrap();
    let before = read(&db).unwrap();
    let snapshot = db.snapshot("db").unwrap();
    let info = Arc::clone(snapshot.catalog().measurement(b"cpu").unwrap());
    let policy = snapshot.catalog().policies()[0].id;
    // Pins what the memtable holds now.
    assert_eq!(snapshot.runs(policy, info.id).len(), 1);
    write(
        &db,
        "db",
        &[row("cpu", &[("host", "b")], 2, &[("f", float(2.0))])],
    )
    .unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    db.drop_database("db").unwrap();
    assert_eq!(snapshot.runs(policy, info.id).len(), 1);
    assert!(snapshot.blocks(policy).is_empty());
    assert_eq!(before.len(), 1);
}

#[test]
fn a_second_owner_is_refused_and_the_first_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let open_real = || -> Result<Db> {
        let env = RealEnv::new(folder.path(), RealOptions { mmap: true });
        Db::open(Arc::new(env), DbOptions::default())
    };
    let db = open_real().unwrap();
    let error = open_real().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
    drop(db);
    open_real().unwrap();
}

#[test]
fn the_step_flushes_by_age_and_by_memory_and_a_writer_flushes_for_itself_beyond() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &[row("cpu", &[], 1, &[("f", float(1.0))])]).unwrap();
    env.run_steps(20);
    assert_eq!(db.stats().blocks, 0);
    env.advance(Duration::from_secs(3600));
    env.run_steps(20);
    assert_eq!((db.stats().blocks, db.stats().memtable_rows), (1, 0));
    db.close().unwrap();
    drop(db);
    let small = DbOptions {
        memtable_bytes: 4_000,
        memtable_bytes_max: 8_000,
        ..options()
    };
    let db = Db::open(Arc::new(env.clone()), small).unwrap();
    let some = |start: i64| -> Vec<Row> {
        (start..start + 50)
            .map(|time| row("cpu", &[], time, &[("f", float(2.0))]))
            .collect()
    };
    let mut largest = 0;
    for start in 0..40 {
        write(&db, "db", &some(start * 50)).unwrap();
        largest = largest.max(db.stats().memtable_bytes);
    }
    assert!(largest < 12_000, "{largest} bytes");
    assert!(db.stats().flushes > 3);
    env.run_steps(20);
    assert!(db.stats().memtable_bytes < 4_000);
    assert_eq!(values(&db, "f").len(), 2000);
    assert_eq!(db.stats().registry_files, 1, "a series is told of once");
}

#[test]
fn a_drop_does_not_wait_for_an_end_of_writes_and_leaves_none_behind() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let one = |time| [row("cpu", &[], time, &[("f", float(1.0))])];
    // Nobody waits on these with a thread.
    let tickets: Vec<_> = (0..5).map(|time| submit(&db, &one(time)).ticket).collect();
    assert!(db.needs_leader());
    db.drop_measurement("db", b"nothing").unwrap();
    assert!(!db.needs_leader());
    assert_eq!(values(&db, "f").len(), 5);
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let late = submit(&db, &one(9)).ticket;
    env.run_steps(20);
    assert_eq!(values(&db, "f").len(), 6, "a step leads where nobody does");
    late.wait().unwrap();
}

#[test]
fn a_closed_store_refuses_writes_and_answers_reads() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    let one = [row("cpu", &[], 1, &[("f", float(1.0))])];
    write(&db, "db", &one).unwrap();
    db.close().unwrap();
    assert_eq!(
        write(&db, "db", &one).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(read(&db).unwrap().len(), 1);
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Closed);
    drop(db);
    let before = env.after_kill();
    let db = open(&before).unwrap();
    assert_eq!(read(&db).unwrap().len(), 1);
    assert_eq!(db.stats().memtable_rows, 0, "nothing was left to replay");
}

/// Writes 150 times 40 rows, and says after each how many are acknowledged.
fn write_rounds(db: &Db, writer: usize, acknowledged: &AtomicI64) {
    for round in 0..150 {
        let rows: Vec<Row> = (0..40)
            .map(|index| {
                let host = format!("w{writer}-{}", (index + round) % 50);
                let time = round * 40 + index;
                row(
                    "cpu",
                    &[("host", &host)],
                    time,
                    &[("f", FieldValue::Integer(time))],
                )
            })
            .collect();
        write(db, "db", &rows).unwrap();
        acknowledged.store((round + 1) * 40, Ordering::Release);
    }
}

fn drop_and_flush(db: &Db, done: &AtomicBool) {
    let mut round = 0;
    while !done.load(Ordering::Acquire) {
        round += 1;
        let number = round.to_string();
        let rows = [row("scratch", &[("n", &number)], 1, &[("f", float(1.0))])];
        write(db, "db", &rows).unwrap();
        db.drop_measurement("db", b"scratch").unwrap();
        db.flush().unwrap();
    }
}

#[test]
fn threads_write_flush_merge_drop_and_read_at_once_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let env = RealEnv::new(folder.path(), RealOptions { mmap: true });
    let small = DbOptions {
        memtable_bytes: 200_000,
        memtable_bytes_max: 2_000_000,
        step_interval: Duration::from_millis(5),
        ..DbOptions::default()
    };
    let db = Db::open(Arc::new(env), small).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    let done = AtomicBool::new(false);
    let acknowledged = [const { AtomicI64::new(0) }; 3];
    std::thread::scope(|scope| {
        let (db, done) = (&db, &done);
        let writers: Vec<_> = (0..)
            .zip(&acknowledged)
            .map(|(writer, count)| scope.spawn(move || write_rounds(db, writer, count)))
            .collect();
        scope.spawn(|| drop_and_flush(db, done));
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let counts = acknowledged.iter().map(|one| one.load(Ordering::Acquire));
                let least: i64 = counts.sum();
                let mut found = Contents::new();
                read_database(db, "db", &mut found).unwrap();
                let cpu = found.keys().filter(|cell| cell.1 == "cpu").count();
                assert!(i64::try_from(cpu).unwrap() >= least, "{cpu} of {least}");
            }
        });
        let outcomes: Vec<_> = writers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Release);
        for outcome in outcomes {
            outcome.unwrap();
        }
    });
    db.compact().unwrap();
    assert_eq!(db.stats().problems, []);
    let check = |db: &Db| {
        let found = read(db).unwrap();
        assert_eq!(found.len(), 3 * 150 * 40);
        assert!(
            found
                .iter()
                .all(|(cell, value)| *value == FieldValue::Integer(cell.3))
        );
    };
    check(&db);
    drop(db);
    let env = RealEnv::new(folder.path(), RealOptions { mmap: true });
    check(&Db::open(Arc::new(env), small).unwrap());
}

/// Two writers that met a new measurement at once both logged its definition, and the flush after
/// the replay gave the manifest the same name twice.
#[test]
fn names_that_the_log_defines_twice_are_flushed_once() {
    let env = SimEnv::new(12);
    let db = open_with(&env, "db");
    let first = submit(&db, &[row("cpu", &[("h", "a")], 1, &[("f", float(1.0))])]);
    let second = submit(&db, &[row("cpu", &[("h", "b")], 2, &[("f", float(2.0))])]);
    first.ticket.wait().unwrap();
    second.ticket.wait().unwrap();
    drop(db);
    env.power_off();
    let db = open(&env.after_kill()).unwrap();
    db.flush().unwrap();
    assert_eq!(values(&db, "f"), [(1, float(1.0)), (2, float(2.0))]);
}

#[test]
fn a_clean_stop_gives_the_logs_space_back_and_the_next_open_goes_on() {
    let env = SimEnv::new(13);
    for round in 1..=3 {
        let db = open_with(&env, "db");
        write(&db, "db", &[row("cpu", &[], round, &[("f", float(1.0))])]).unwrap();
        db.close().unwrap();
        drop(db);
        assert_eq!(
            Env::list(&env, "wal".as_ref()).unwrap(),
            [],
            "round {round}"
        );
    }
    let db = open(&env).unwrap();
    assert_eq!(values(&db, "f").len(), 3);
    assert_eq!(db.stats().problem_count, 0);
}
