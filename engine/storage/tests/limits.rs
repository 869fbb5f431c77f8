//! What passes a limit is refused line by line, with the limit's name and the way out; lines beside
//! it are stored, and nothing of what was refused stays.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use silverback_storage::budget::{Class, Pressure};
use silverback_storage::db::{Alter, Db, DbOptions, Delete, Limits, WriteOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::error::{ErrorKind, Result};
use silverback_storage::model::{Batch, FieldValue, PolicySpec, TagPredicate, TimeRange};

use support::{Keys, Row, batch, options, read, row};

fn open_with(env: &SimEnv, limits: Limits) -> Db {
    let options = DbOptions {
        limits,
        ..options()
    };
    let db = Db::open(Arc::new(env.clone()), options).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    db
}

/// Writes rows; the lines that were refused, and why.
fn write(db: &Db, rows: &[Row]) -> Result<Vec<(u32, String)>> {
    let (text, rows) = batch(db.hasher(), rows);
    let batch = Batch { text: &text, rows };
    let submitted = db.write("db", None, batch, &Keys, WriteOptions::default())?;
    submitted.ticket.wait()?;
    let rejected = submitted.rejected.iter();
    Ok(rejected
        .map(|row| (row.line, row.reason.to_string()))
        .collect())
}

fn float() -> [(&'static str, FieldValue); 1] {
    [("f", FieldValue::Float(1.0))]
}

fn of_series(tags: &[(&str, &str)], time: i64) -> Row {
    row("cpu", tags, time, &float())
}

#[test]
fn a_series_too_many_is_refused_by_the_name_of_its_tag_and_others_are_stored() {
    let env = SimEnv::new(1);
    let limits = Limits {
        series_max: 3,
        ..Limits::default()
    };
    let db = open_with(&env, limits);
    let ids = ["1", "2", "3", "4", "5"].map(|id| of_series(&[("host", "a"), ("id", id)], 1));
    let refused = write(&db, &ids).unwrap();
    let lines: Vec<u32> = refused.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [4, 5]);
    assert!(
        refused[0]
            .1
            .starts_with("max-series-per-database limit exceeded: (3), series_max; tag key \"id\""),
        "{refused:?}"
    );
    assert_eq!(read(&db).unwrap().len(), 3);
    // Known series go on, by the short way and after a restart by the long one; names of what was
    // refused are not there.
    let known = of_series(&[("host", "a"), ("id", "2")], 2);
    assert_eq!(write(&db, &[known]).unwrap(), []);
    let new = row("mem", &[("new", "x")], 1, &float());
    assert_eq!(write(&db, std::slice::from_ref(&new)).unwrap().len(), 1);
    let snapshot = db.snapshot("db").unwrap();
    assert_eq!(snapshot.catalog().measurements().len(), 1);
    drop((snapshot, db));
    let db = open_with(&env, limits);
    let known = of_series(&[("host", "a"), ("id", "3")], 3);
    assert_eq!(write(&db, &[known, new]).unwrap().len(), 1);
    assert_eq!(read(&db).unwrap().len(), 5);
    drop(db);
    // A higher limit is the way out.
    let db = support::open(&env).unwrap();
    support::write(&db, "db", &[of_series(&[("host", "new")], 4)]).unwrap();
}

/// What makes room is a delete or a drop, wherever the rows are: nobody has to know of a flush, too.
#[test]
fn where_series_are_refused_those_whose_rows_are_gone_make_room() {
    type Step = fn(&Db);
    let rows_are: [(&str, Step); 3] = [
        ("in memory", |_| ()),
        ("in a block", |db| db.flush().unwrap()),
        ("in the final form", |db| db.compact().unwrap()),
    ];
    let they_go: [(&str, Step); 2] = [
        ("dropped", |db| db.drop_measurement("db", b"cpu").unwrap()),
        ("deleted", |db| {
            let delete = Delete {
                policy: None,
                measurements: vec![(b"cpu", TagPredicate::All)],
                range: TimeRange::ALL,
            };
            db.delete("db", &delete).unwrap();
        }),
    ];
    for (place, put) in rows_are {
        for (way, go) in they_go {
            let env = SimEnv::new(1);
            let limits = Limits {
                series_max: 4,
                ..Limits::default()
            };
            let db = open_with(&env, limits);
            let ids = ["1", "2", "3", "4"].map(|id| of_series(&[("id", id)], 1));
            assert_eq!(write(&db, &ids).unwrap(), []);
            put(&db);
            let new = [row("mem", &[("new", "x")], 1, &float())];
            let is_refused = |db: &Db| write(db, &new).unwrap().len() == 1;
            // Nothing is gone: it is looked, and nothing found.
            assert!(is_refused(&db), "{place}, {way}");
            let steps = || {
                env.advance(Duration::from_secs(1));
                env.run_steps(16);
            };
            steps();
            assert!(is_refused(&db), "{place}, {way}");
            go(&db);
            assert!(is_refused(&db), "{place}, {way}");
            steps();
            assert!(!is_refused(&db), "{place}, {way}");
            assert_eq!(read(&db).unwrap().len(), 1, "{place}, {way}");
        }
    }
}

#[test]
fn new_series_of_a_minute_are_bounded_where_that_is_asked() {
    let env = SimEnv::new(2);
    let limits = Limits {
        new_series_per_minute_max: 2,
        ..Limits::default()
    };
    let db = open_with(&env, limits);
    let some = |from: i64| -> Vec<Row> {
        let one = |id: i64| of_series(&[("id", &id.to_string())], 1);
        (from..from + 3).map(one).collect()
    };
    let refused = write(&db, &some(0)).unwrap();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].1.contains("new_series_per_minute_max"));
    env.advance(Duration::from_secs(59));
    assert_eq!(write(&db, &some(10)).unwrap().len(), 3);
    env.advance(Duration::from_secs(2));
    assert_eq!(write(&db, &some(10)).unwrap().len(), 1);
}

#[test]
fn names_values_and_fields_are_bounded_row_by_row() {
    let limits = Limits {
        tags_max: 2,
        name_bytes_max: 8,
        tag_value_bytes_max: 4,
        string_bytes_max: 5,
        fields_max: 3,
        ..Limits::default()
    };
    let db = open_with(&SimEnv::new(3), limits);
    let text = |text: &str| FieldValue::String(text.as_bytes().into());
    let rows = [
        of_series(&[("a", "1"), ("b", "2"), ("c", "3")], 1),
        row("measurement", &[], 1, &float()),
        of_series(&[("a", "value")], 1),
        row("cpu", &[], 1, &[("field_of_cpu", FieldValue::Float(1.0))]),
        row("cpu", &[], 2, &[("s", text("12345"))]),
        row("cpu", &[], 3, &[("s", text("123456"))]),
        row("cpu", &[], 4, &float()),
    ];
    let refused = write(&db, &rows).unwrap();
    let lines: Vec<u32> = refused.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 6]);
    for ((_, why), name) in refused.iter().zip([
        "tags_max",
        "name_bytes_max",
        "tag_value_bytes_max",
        "name_bytes_max",
        "string_bytes_max",
    ]) {
        assert!(why.contains(name), "{why}");
    }
    // A new name of what is there is a new name.
    for alter in [
        Alter::Rename(b"measurement"),
        Alter::RenameField {
            from: b"f",
            to: b"a_longer_name",
        },
    ] {
        let error = db.alter_measurement("db", b"cpu", alter).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.message().contains("name_bytes_max"), "{error}");
    }
    // Strings of known series and fields as well.
    let again = [
        row("cpu", &[], 5, &[("s", text("1234567"))]),
        row("cpu", &[], 6, &[("s", text("1"))]),
    ];
    assert_eq!(write(&db, &again).unwrap().len(), 1);
    let more = row(
        "cpu",
        &[],
        7,
        &[("g", FieldValue::Float(1.0)), ("h", FieldValue::Float(1.0))],
    );
    let refused = write(&db, &[more]).unwrap();
    assert!(refused[0].1.contains("fields_max"), "{refused:?}");
    let times: Vec<i64> = read(&db).unwrap().keys().map(|cell| cell.3).collect();
    assert_eq!(times, [2, 4, 6]);
}

#[test]
fn a_write_over_all_of_time_is_refused_whole() {
    let limits = Limits {
        partitions_max: 10,
        ..Limits::default()
    };
    let db = open_with(&SimEnv::new(4), limits);
    let day = 86_400_000_000_000;
    let spread = |count: i64, width: i64| -> Vec<Row> {
        (0..count).map(|at| of_series(&[], at * width)).collect()
    };
    let error = write(&db, &spread(11, day)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.message().contains("partitions_max"), "{error}");
    assert!(read(&db).unwrap().is_empty());
    // Far apart, but few.
    assert_eq!(write(&db, &spread(10, 700 * day)).unwrap(), []);
    assert_eq!(write(&db, &spread(60, day / 6)).unwrap(), []);
}

#[test]
fn databases_are_bounded() {
    let limits = Limits {
        databases_max: 2,
        ..Limits::default()
    };
    let db = open_with(&SimEnv::new(5), limits);
    let make = |name| db.create_database(name, &PolicySpec::default());
    make("two").unwrap();
    make("two").unwrap();
    let error = make("three").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.message().contains("databases_max"), "{error}");
    db.drop_database("two").unwrap();
    make("three").unwrap();
}

#[test]
fn new_series_wait_where_those_in_memory_take_their_part_and_known_ones_go_on() {
    let env = SimEnv::new(5);
    let db = open_with(&env, Limits::default());
    let of = |id: i64, time| of_series(&[("host", "a"), ("id", &id.to_string())], time);
    let known: Vec<Row> = (0..40).map(|id| of(id, 1)).collect();
    assert_eq!(write(&db, &known).unwrap(), []);
    db.budget()
        .state(Class::Index, db.budget().limit_bytes() / 2);
    let refused = write(&db, &[of(1000, 1)]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    let words = refused.to_string();
    assert!(words.contains("tag key \"id\" has grown most"), "{words}");
    assert!(words.contains("of memory_budget"), "{words}");
    assert_eq!(write(&db, &[of(7, 2)]).unwrap(), []);
    // A flush counts anew what is there.
    db.flush().unwrap();
    assert_eq!(write(&db, &[of(1000, 1)]).unwrap(), []);
    assert_eq!(read(&db).unwrap().len(), 42);
}

#[test]
fn the_oldest_query_answers_for_the_rows_that_its_snapshots_pin() {
    let env = SimEnv::new(6);
    let options = DbOptions {
        memory_budget_bytes: 256 << 20,
        ..options()
    };
    let db = Db::open(Arc::new(env.clone()), options).unwrap();
    db.create_database("db", &PolicySpec::default()).unwrap();
    let query = || {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let share = db.budget().enter_query(move || stop.store(true, Relaxed));
        (share, stopped)
    };
    let (oldest, younger) = (query(), query());
    // The oldest one reads so slowly that it sees every flush, and lets go of nothing.
    let mut pinned = Vec::new();
    let text = FieldValue::String(vec![b'x'; 1 << 20].into());
    for time in 0..240 {
        assert_eq!(
            write(&db, &[row("cpu", &[], time, &[("s", text.clone())])]).unwrap(),
            []
        );
        if time % 16 == 15 {
            pinned.push(db.snapshot("db"));
            db.flush().unwrap();
            env.advance(Duration::from_secs(1));
            env.run_steps(16);
        }
        if oldest.1.load(Relaxed) {
            break;
        }
    }
    assert!(oldest.1.load(Relaxed), "{:?}", db.budget().usage());
    assert!(!younger.1.load(Relaxed));
    assert_eq!(db.budget().counters().queries_stopped, 1);
    assert!(db.budget().usage().pinned > 128 << 20);
    // It ends, and what it held is given back: no write was refused meanwhile, and none is now.
    drop((oldest, pinned));
    env.advance(Duration::from_secs(1));
    env.run_steps(16);
    assert_eq!(db.budget().usage().pinned, 0);
    assert_eq!(db.budget().counters().writes_refused, 0);
    assert_eq!(db.budget().pressure(), Pressure::Calm);
}

#[test]
fn a_store_that_is_killed_again_and_again_does_not_gather_an_endless_log() {
    let env = SimEnv::new(1);
    let open = || {
        let options = DbOptions {
            log_bytes: 10_000,
            ..options()
        };
        Db::open(Arc::new(env.clone()), options).unwrap()
    };
    let db = open();
    db.create_database("db", &PolicySpec::default()).unwrap();
    let mut next = 0;
    let mut write_some = |db: &Db| {
        let id = |id: i64| of_series(&[("id", &id.to_string())], id);
        let rows: Vec<Row> = (next..next + 300).map(id).collect();
        next += 300;
        assert_eq!(write(db, &rows).unwrap(), []);
        env.run_steps(50);
        db.stats().flushes
    };
    assert_eq!(write_some(&db), 0, "some 4000 bytes");
    drop(db);
    let db = open();
    assert_eq!(write_some(&db), 0);
    drop(db);
    let db = open();
    assert_eq!(write_some(&db), 1, "what was replayed counts");
    assert_eq!(write_some(&db), 1, "and only until the flush");
    drop(db);
    assert_eq!(open().stats().memtable_rows, 300);
}

#[test]
fn what_series_take_is_known_from_the_moment_of_opening() {
    let env = SimEnv::new(1);
    let db = open_with(&env, Limits::default());
    let id = |id: u64| of_series(&[("id", &id.to_string())], 1);
    assert_eq!(
        write(&db, &(0..500).map(id).collect::<Vec<Row>>()).unwrap(),
        []
    );
    drop(db);
    // How many rows wait before they are flushed goes by it: no step has run yet.
    let db = open_with(&env, Limits::default());
    let used = db.budget().usage().class(Class::Index);
    assert!(used > 500 * 24, "{used}");
}

/// A start has better to do: whoever waited for it asks at once.
#[test]
fn rows_that_the_log_left_are_not_flushed_at_once_but_as_more_come() {
    let env = SimEnv::new(1);
    let open = || {
        let options = DbOptions {
            memtable_bytes: 512 << 20,
            memtable_bytes_max: 512 << 20,
            memory_budget_bytes: 8 << 30,
            ..options()
        };
        Db::open(Arc::new(env.clone()), options).unwrap()
    };
    let text = "x".repeat(60_000);
    let fill = |db: &Db, mib: i64, from: i64| {
        let rows: Vec<Row> = (0..mib << 20)
            .step_by(text.len())
            .map(|at| {
                row(
                    "cpu",
                    &[],
                    from + at,
                    &[("f", FieldValue::String(text.as_bytes().into()))],
                )
            })
            .collect();
        for rows in rows.chunks(100) {
            assert_eq!(write(db, rows).unwrap(), []);
        }
    };
    let flushes = |db: &Db| {
        env.advance(Duration::from_secs(1));
        env.run_steps(16);
        db.stats().flushes
    };
    let db = open();
    db.create_database("db", &PolicySpec::default()).unwrap();
    // It would be flushed if a step ran.
    fill(&db, 60, 0);
    drop(db);
    let db = open();
    assert_eq!(db.stats().memtable_bytes >> 20, 60);
    assert_eq!(flushes(&db), 0);
    fill(&db, 12, 1 << 40);
    assert_eq!(flushes(&db), 1);
    fill(&db, 50, 1 << 41);
    assert_eq!(flushes(&db), 2);
}
