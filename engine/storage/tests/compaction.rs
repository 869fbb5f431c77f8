//! Compaction of a whole store: what the background step does by itself, how long a history it copes
//! with, and what one damaged block keeps it from.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

#[path = "support/small.rs"]
mod small;
mod support;

use std::time::Duration;

use silverback_storage::db::{Alter, Db};
use silverback_storage::env::SimEnv;
use silverback_storage::error::ErrorKind;
use silverback_storage::model::{FieldValue, PolicySpec};

use small::{float, open_with, values};
use support::{Row, open, read, row, write};

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;
/// When the tests begin: on a boundary of days.
const NOW_NS: i64 = 20_000 * DAY_NS;

/// One row for each time, its value its time in hours.
fn rows(times: impl Iterator<Item = i64>) -> Vec<Row> {
    let value = |time: i64| float(f64::from(i32::try_from(time / HOUR_NS).unwrap()));
    times
        .map(|time| row("m", &[("host", "a")], time, &[("f", value(time))]))
        .collect()
}

fn put(db: &Db, times: impl Iterator<Item = i64>) {
    write(db, "db", &rows(times)).unwrap();
    db.flush().unwrap();
}

fn check(db: &Db, mut times: Vec<i64>) {
    times.sort_unstable();
    let expected: Vec<_> = rows(times.into_iter())
        .into_iter()
        .map(|row| (row.time, row.fields[0].1.clone()))
        .collect();
    assert!(values(db, "f") == expected, "{} rows", expected.len());
}

#[test]
fn a_partition_that_is_over_is_finished_by_itself_and_late_rows_are_folded_in() {
    let env = SimEnv::new(1);
    env.set_now(NOW_NS);
    let db = open_with(&env, "db");
    let day = |day: i64| (0..480).map(move |at| NOW_NS + day * DAY_NS + at * 180_000_000_000);
    for part in 0..4 {
        put(&db, day(0).skip(part).step_by(4));
    }
    put(&db, day(1));
    env.run_steps(100);
    assert_eq!(
        db.stats().compaction.merges,
        0,
        "there is little and it is new"
    );
    env.advance(Duration::from_secs(19 * 60));
    env.run_steps(100);
    assert_eq!((db.stats().compaction.merges, db.stats().blocks), (0, 5));
    env.advance(Duration::from_secs(2 * 60));
    env.run_steps(100);
    // None of the days is over: they are only split.
    assert_eq!((db.stats().compaction.merges, db.stats().blocks), (1, 2));
    env.advance(Duration::from_secs(49 * 3600 + 60));
    env.run_steps(100);
    assert_eq!((db.stats().compaction.merges, db.stats().blocks), (3, 2));
    let finished = db.stats();
    db.compact().unwrap();
    assert_eq!(db.stats().compaction.merges, 3, "nothing is left to do");
    // A row that came late stays beside it; more of them do not.
    put(&db, [NOW_NS + 1].into_iter());
    env.advance(Duration::from_secs(21 * 60));
    env.run_steps(100);
    env.advance(Duration::from_secs(21 * 60));
    env.run_steps(100);
    assert_eq!(db.stats().blocks, 3);
    put(&db, (2..12).map(|at| NOW_NS + at));
    for _ in 0..3 {
        env.advance(Duration::from_secs(21 * 60));
        env.run_steps(100);
    }
    let stats = db.stats();
    assert_eq!(stats.blocks, 2);
    assert!(stats.block_bytes > finished.block_bytes);
    assert_eq!(stats.compaction.debt_bytes, 0);
    assert_eq!(stats.compaction.job_rows, 0);
    check(
        &db,
        day(0)
            .chain(day(1))
            .chain((1..12).map(|at| NOW_NS + at))
            .collect(),
    );
}

#[test]
fn three_years_in_any_order_take_few_files_at_any_time() {
    let days = 3 * 365;
    let env = SimEnv::new(1);
    env.set_now(NOW_NS + (days + 10) * DAY_NS);
    let db = open_with(&env, "db");
    // Every hour once, in an order that jumps all over.
    let hours = days * 24;
    let mut most = 0;
    for batch in 0..73 {
        let own = (0..hours / 73).map(|at| NOW_NS + (at * 73 + batch) * 7919 % hours * HOUR_NS);
        put(&db, own);
        env.run_steps(30);
        most = most.max(db.stats().blocks);
    }
    assert!(
        most <= 24,
        "{most} blocks: few rows of many days stay together"
    );
    db.compact().unwrap();
    assert_eq!(db.stats().blocks, u64::try_from(days).unwrap());
    check(
        &db,
        (0..hours).map(|hour| NOW_NS + hour * HOUR_NS).collect(),
    );
    let read = db.stats().compaction;
    // What is merged again and again is bounded by what a row may be merged at all.
    assert!(
        read.rows < 30 * u64::try_from(hours).unwrap(),
        "{} rows",
        read.rows
    );
}

#[test]
fn a_damaged_block_keeps_its_own_partition_only() {
    let env = SimEnv::new(1);
    env.set_now(NOW_NS + 100 * DAY_NS);
    let db = open_with(&env, "db");
    let day = |day: i64| (0..24).map(move |at| NOW_NS + day * DAY_NS + at * HOUR_NS);
    put(&db, day(0).chain(day(1)));
    db.compact().unwrap();
    assert_eq!(db.stats().blocks, 2);
    let blocks = || -> Vec<_> {
        let all = env.paths().into_iter();
        all.filter(|path| path.starts_with("blocks")).collect()
    };
    let damaged = blocks()[0].clone();
    let mut bytes = env.peek(&damaged).unwrap();
    bytes[70] ^= 1;
    env.poke(&damaged, &bytes);
    // Rows for both days and a new one, in many blocks.
    for minute in 1..=9 {
        let both = day(0).chain(day(1)).chain(day(2));
        put(&db, both.map(|time| time + minute * 60_000_000_000));
        env.run_steps(30);
    }
    env.advance(Duration::from_secs(21 * 60));
    for _ in 0..3 {
        env.run_steps(100);
        env.advance(Duration::from_secs(21 * 60));
    }
    let stats = db.stats();
    let left: Vec<_> = blocks();
    assert!(left.contains(&damaged), "it is left as it is");
    assert_eq!(stats.damaged_blocks, 1);
    assert!(
        stats
            .problems
            .iter()
            .any(|problem| problem.file.as_ref() == Some(&damaged)),
        "{:?}",
        stats.problems
    );
    // Of the day of the damaged block that and one more, of the others one each.
    assert_eq!(stats.blocks, 4);
    let error = db.compact().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.place().unwrap().file, damaged);
    assert_eq!(db.stats().blocks, 4);
}

/// Values that take space.
fn long(time: i64) -> FieldValue {
    FieldValue::String(
        format!("{:064x}", time.wrapping_mul(0x1e37_79b9_7f4a_7c15))
            .into_bytes()
            .into(),
    )
}

#[test]
fn what_was_dropped_leaves_the_disk_by_itself_and_nothing_is_written_twice_for_it() {
    let env = SimEnv::new(1);
    let db = open(&env).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    let rows = |name: &str| -> Vec<Row> {
        let one = |time| row(name, &[], time, &[("f", float(0.5)), ("long", long(time))]);
        (0..5000).map(one).collect()
    };
    for name in ["kept", "gone"] {
        write(&db, "db", &rows(name)).unwrap();
        db.flush().unwrap();
    }
    db.compact().unwrap();
    let wait = || {
        for _ in 0..100 {
            env.advance(Duration::from_secs(1));
            env.run_steps(8);
        }
        let stats = db.stats();
        (stats.block_bytes, stats.compaction.merges)
    };
    let (whole, merges) = wait();
    db.drop_measurement("db", b"gone").unwrap();
    let (half, once) = wait();
    assert!(half < whole * 2 / 3, "{half} of {whole}");
    assert_eq!(once, merges + 1);
    db.alter_measurement("db", b"kept", Alter::DropField(b"long"))
        .unwrap();
    let (left, twice) = wait();
    assert!(left < half / 4, "{left} of {half}");
    assert_eq!(twice, merges + 2);
    assert_eq!(wait(), (left, twice), "that is all");
    // Written before the drop, flushed after it; and the new one of the name is another.
    write(&db, "db", &rows("kept")).unwrap();
    db.flush().unwrap();
    assert!(wait().0 > left * 2);
    assert_eq!(read(&db).unwrap().len(), 10_000);
    assert_eq!(db.stats().problems, []);
}
