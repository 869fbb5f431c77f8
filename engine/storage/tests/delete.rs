//! Deletes from memory to blocks: what they hide, until when, and where they end.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

#[path = "support/deletes.rs"]
mod deletes;
#[path = "support/small.rs"]
mod small;
mod support;

#[path = "delete/churn.rs"]
mod churn;

use std::sync::Arc;
use std::time::Duration;

use silverback_storage::budget::Class;
use silverback_storage::db::{Db, DbOptions, TOMBSTONES_MAX};
use silverback_storage::env::SimEnv;
use silverback_storage::error::ErrorKind;
use silverback_storage::model::{
    AggregateRequest, AggregateSet, FieldValue, ScanRequest, SeriesRequest, Sum, TagPredicate,
    TimeRange,
};
use silverback_storage::scan;

use deletes::{Choice, delete, series};
use small::{float, open_with, values};
use support::{Row, open, options, read, row, write};

/// Rows of measurement `m` and one host, a value each that is its time.
fn rows(host: &str, times: impl Iterator<Item = i32>) -> Vec<Row> {
    times
        .map(|time| {
            let value = [("f", float(f64::from(time)))];
            row("m", &[("host", host)], time.into(), &value)
        })
        .collect()
}

fn choice(host: Option<&str>, (start, end): (i64, i64)) -> Choice {
    Choice {
        measurements: vec!["m".into()],
        host: host.map(str::to_owned),
        range: TimeRange { start, end },
    }
}

fn times(db: &Db) -> Vec<i64> {
    values(db, "f").into_iter().map(|(time, _)| time).collect()
}

/// Count and sum of all values of `f` by aggregation: over one window, and over some that cut what is stored, which
/// must not differ.
fn count_and_sum(db: &Db) -> (u64, f64) {
    let (count, sum) = added(db, &[-10_000, 1_000_000]);
    let cut = added(db, &[-10_000, 7, 250, 251, 600, 1_000_000]);
    assert!(cut.0 == count && (cut.1 - sum).abs() < 1e-6, "{cut:?}");
    (count, sum)
}

fn added(db: &Db, edges: &[i64]) -> (u64, f64) {
    let snapshot = db.snapshot("db").unwrap();
    let measurement = snapshot.catalog().measurement(b"m").unwrap();
    let all = snapshot.series(measurement.id, &TagPredicate::All, None, TimeRange::ALL);
    let request = AggregateRequest {
        scan: ScanRequest {
            policy: snapshot.catalog().policies()[0].id,
            measurement: measurement.id,
            series: all.unwrap().iter().map(|(id, _)| *id).collect(),
            fields: vec![measurement.field(b"f").unwrap().id],
            range: TimeRange::ALL,
            descending: false,
            filter: None,
        },
        wanted: vec![AggregateSet::SUM],
        edges: edges.into(),
    };
    let mut cursor = scan::aggregates(&snapshot, request, Arc::new(|| Ok(()))).unwrap();
    let (mut count, mut sum) = (0, 0.0);
    while let Some(series) = cursor.next_windows().unwrap() {
        let column = &series.columns[0];
        for at in 0..series.windows.len() {
            count += column.count(at);
            if let Some(Sum::Float(own)) = column.sum(at) {
                sum += own.value();
            }
        }
    }
    (count, sum)
}

#[test]
fn a_delete_hides_what_was_written_before_it_and_nothing_after() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &rows("a", 0..10)).unwrap();
    db.flush().unwrap();
    write(&db, "db", &rows("a", 10..20)).unwrap();
    let held = db.snapshot("db").unwrap();
    let cut = choice(None, (5, 15));
    delete(&db, "db", &cut).unwrap();
    assert!(read(&db).unwrap().keys().all(|cell| !cut.means(cell)));
    let left: Vec<i64> = (0..5).chain(15..20).collect();
    assert_eq!(times(&db), left);
    assert!(held.tombstones().is_empty());
    // Written again, with a value of the same time: seen, and the older ones are not.
    write(&db, "db", &rows("a", 7..8)).unwrap();
    let again: Vec<i64> = (0..5).chain(7..8).chain(15..20).collect();
    assert_eq!(times(&db), again);
    drop(db);
    let db = open(&env.after_kill()).unwrap();
    assert_eq!(times(&db), again, "replayed");
    db.flush().unwrap();
    assert_eq!(times(&db), again, "flushed");
    db.compact().unwrap();
    assert_eq!(times(&db), again, "merged");
    let stats = db.stats();
    assert_eq!((stats.tombstones, stats.block_rows), (0, 11));
}

#[test]
fn small_runs_on_both_sides_of_a_delete_are_not_merged() {
    let db = open_with(&SimEnv::new(1), "db");
    for round in 0..40 {
        write(&db, "db", &rows("a", std::iter::once(round))).unwrap();
        if round == 20 {
            delete(&db, "db", &choice(None, (0, 100))).unwrap();
        }
    }
    assert_eq!(times(&db), (21..40).collect::<Vec<i64>>());
}

#[test]
fn statistics_do_not_answer_where_a_delete_touches() {
    let db = open_with(&SimEnv::new(1), "db");
    for host in ["a", "b"] {
        write(&db, "db", &rows(host, 0..1000)).unwrap();
    }
    db.flush().unwrap();
    assert_eq!(count_and_sum(&db), (2000, 999_000.0));
    delete(&db, "db", &choice(Some("a"), (10, 1000))).unwrap();
    let expected = (1010, 499_500.0 + 45.0);
    assert_eq!(count_and_sum(&db), expected);
    db.compact().unwrap();
    assert_eq!(count_and_sum(&db), expected);
}

/// A chunk of its own is added up where it is decoded, in windows that cut it.
#[test]
fn where_a_delete_touches_a_chunk_that_no_series_shares_it_is_not_added_up_in_place() {
    let db = open_with(&SimEnv::new(1), "db");
    write(&db, "db", &rows("a", 0..1000)).unwrap();
    db.flush().unwrap();
    assert_eq!(count_and_sum(&db), (1000, 499_500.0));
    delete(&db, "db", &choice(Some("a"), (300, 1000))).unwrap();
    assert_eq!(count_and_sum(&db), (300, 44_850.0));
}

#[test]
fn a_series_without_a_row_is_listed_no_more_and_an_empty_measurement_goes() {
    let db = open_with(&SimEnv::new(1), "db");
    write(&db, "db", &rows("a", 0..300)).unwrap();
    write(&db, "db", &rows("b", 0..3)).unwrap();
    for is_flushed in [false, true] {
        if is_flushed {
            db.flush().unwrap();
        }
        delete(&db, "db", &choice(Some("a"), (0, 299))).unwrap();
        assert_eq!(series(&db, "db").unwrap().len(), 2);
        delete(&db, "db", &choice(Some("a"), (299, 300))).unwrap();
        let left = series(&db, "db").unwrap();
        assert_eq!(left.len(), 1);
        assert!(left.iter().all(|(_, tags)| tags["host"] == "b"));
        write(&db, "db", &rows("a", 0..300)).unwrap();
    }
    delete(&db, "db", &choice(None, (0, 300))).unwrap();
    let snapshot = db.snapshot("db").unwrap();
    assert_eq!(snapshot.catalog().measurement(b"m"), None);
    // Its fields' types went with it.
    let text = FieldValue::String(b"x"[..].into());
    write(
        &db,
        "db",
        &[row("m", &[("host", "a")], 1, &[("f", text.clone())])],
    )
    .unwrap();
    assert_eq!(values(&db, "f"), [(1, text)]);
}

#[test]
fn deletes_wait_for_compaction_up_to_a_limit_that_names_it() {
    let db = open_with(&SimEnv::new(1), "db");
    write(&db, "db", &rows("a", 0..2000)).unwrap();
    db.flush().unwrap();
    for time in 0..i64::try_from(TOMBSTONES_MAX).unwrap() {
        delete(&db, "db", &choice(Some("a"), (time, time + 1))).unwrap();
    }
    let last = choice(Some("a"), (1500, 1501));
    let error = delete(&db, "db", &last).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("compact"), "{error}");
    assert_eq!(times(&db), (1000..2000).collect::<Vec<i64>>());
    db.compact().unwrap();
    assert_eq!((db.stats().tombstones, db.stats().block_rows), (0, 1000));
    delete(&db, "db", &last).unwrap();
    assert_eq!(times(&db).len(), 999);
}

#[test]
fn the_background_step_takes_many_deletes_away_by_itself() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &rows("a", 0..200)).unwrap();
    db.flush().unwrap();
    for time in 0..100 {
        delete(&db, "db", &choice(Some("a"), (time, time + 1))).unwrap();
    }
    assert_eq!(db.stats().tombstones, 100);
    env.advance(Duration::from_secs(2));
    env.run_steps(40);
    assert_eq!((db.stats().tombstones, db.stats().block_rows), (0, 100));
    assert_eq!(times(&db), (100..200).collect::<Vec<i64>>());
}

#[test]
fn a_delete_of_what_lies_elsewhere_is_forgotten_without_a_rewrite() {
    let db = open_with(&SimEnv::new(1), "db");
    write(&db, "db", &rows("a", 0..20)).unwrap();
    db.compact().unwrap();
    let before = db.stats().compaction.merges;
    write(&db, "db", &rows("b", 30..40)).unwrap();
    delete(&db, "db", &choice(Some("b"), (0, 35))).unwrap();
    db.flush().unwrap();
    // The flush took the rows away; the older block has none of the series.
    assert_eq!(db.stats().tombstones, 1);
    db.compact().unwrap();
    let stats = db.stats();
    assert_eq!((stats.tombstones, stats.block_rows), (0, 25));
    // The new block is finished and merged with the other: no more than that.
    assert!(
        stats.compaction.merges - before <= 2,
        "{}",
        stats.compaction.merges
    );
}

#[test]
fn a_replay_that_flushes_on_its_way_hides_the_same() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    for round in 0..30 {
        let first = round * 100;
        write(&db, "db", &rows("a", first..first + 100)).unwrap();
        let start = i64::from(first);
        delete(&db, "db", &choice(None, (start, start + 99))).unwrap();
    }
    let expected: Vec<i64> = (0..30).map(|round| round * 100 + 99).collect();
    assert_eq!(times(&db), expected);
    drop(db);
    let env = env.after_kill();
    let small = DbOptions {
        memtable_bytes: 10_000,
        ..options()
    };
    for _ in 0..2 {
        // The log is replayed again over what the first replay has flushed.
        let db = Db::open(Arc::new(env.clone()), small).unwrap();
        assert!(db.stats().flushes > 1);
        assert_eq!(times(&db), expected);
        drop(db);
    }
    let db = Db::open(Arc::new(env.after_kill()), small).unwrap();
    db.compact().unwrap();
    assert_eq!(times(&db), expected);
    assert_eq!(db.stats().tombstones, 0);
    assert_eq!(read(&db).unwrap().len(), 30);
}

#[test]
fn a_tag_that_only_deleted_series_had_is_had_by_none() {
    let has = |db: &Db, key: &str| {
        let snapshot = db.snapshot("db").unwrap();
        let measurement = snapshot.catalog().measurement(b"m").unwrap().id;
        let lacks = TagPredicate::Equal {
            key: key.as_bytes().into(),
            value: Box::default(),
        };
        let request = SeriesRequest {
            measurement,
            predicate: &TagPredicate::Not(Box::new(lacks)),
            policy: None,
            range: TimeRange::ALL,
        };
        snapshot.has_series(request).unwrap()
    };
    for is_flushed in [false, true] {
        let db = open_with(&SimEnv::new(1), "db");
        let tagged = [("host", "a"), ("u", "x")];
        let all = [1, 2].map(|time| row("m", &tagged, time, &[("f", float(0.5))]));
        write(&db, "db", &all).unwrap();
        write(&db, "db", &rows("b", 0..5)).unwrap();
        if is_flushed {
            db.flush().unwrap();
        }
        assert!(has(&db, "u") && has(&db, "host") && !has(&db, "nobody"));
        delete(&db, "db", &choice(Some("a"), (0, 2))).unwrap();
        assert!(has(&db, "u"), "a row is left");
        delete(&db, "db", &choice(Some("a"), (0, 3))).unwrap();
        assert!(!has(&db, "u") && has(&db, "host"), "flushed {is_flushed}");
        db.compact().unwrap();
        assert!(!has(&db, "u") && has(&db, "host"));
    }
}

#[test]
fn what_deletes_take_in_memory_is_counted_until_they_are_forgotten() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    write(&db, "db", &rows("a", 0..5)).unwrap();
    write(&db, "db", &rows("b", 0..5)).unwrap();
    let counted = || {
        env.advance(Duration::from_secs(1));
        env.run_steps(16);
        db.budget().usage().class(Class::Deletes)
    };
    assert_eq!(counted(), 0);
    delete(&db, "db", &choice(Some("a"), (0, 2))).unwrap();
    let one = counted();
    assert!(one > 0);
    delete(&db, "db", &choice(Some("b"), (0, 2))).unwrap();
    assert!(counted() > one);
    db.compact().unwrap();
    assert_eq!(counted(), 0);
}
