//! Retention policies: made, changed and dropped durably, and what is past its time.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

#[path = "support/small.rs"]
mod small;
mod support;

use std::sync::Arc;
use std::time::Duration;

use silverback_storage::db::{Db, RejectReason, Share, Submitted, WaitReason, WriteOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::error::{ErrorKind, Result};
use silverback_storage::model::{
    AggregateRequest, AggregateSet, Batch, PolicyChange, PolicyInfo, PolicySpec, ScanRequest,
    SeriesId, TagPredicate, TimeRange,
};
use silverback_storage::scan;

use small::{float, open_with, values};
use support::{Keys, Row, batch, open, row, write};

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;
/// When the tests begin: on a boundary of days.
const NOW_NS: i64 = 20_000 * DAY_NS;

fn spec(name: &str, duration_ns: i64, partition_ns: i64) -> PolicySpec {
    PolicySpec {
        name: Some(name.into()),
        duration_ns: Some(duration_ns),
        partition_ns: Some(partition_ns),
        replication: Some(1),
    }
}

fn change(duration_ns: i64) -> PolicyChange {
    PolicyChange {
        duration_ns: Some(duration_ns),
        ..PolicyChange::default()
    }
}

fn point(time: i64) -> Row {
    row("m", &[("host", "a")], time, &[("f", float(1.0))])
}

fn submit(db: &Db, policy: Option<&str>, rows: &[Row]) -> Result<Submitted> {
    let (text, rows) = batch(db.hasher(), rows);
    let batch = Batch { text: &text, rows };
    db.write("db", policy, batch, &Keys, WriteOptions::default())
}

fn put(db: &Db, policy: &str, times: &[i64]) {
    let rows: Vec<Row> = times.iter().map(|time| point(*time)).collect();
    let submitted = submit(db, Some(policy), &rows).unwrap();
    assert_eq!(submitted.rejected, []);
    submitted.ticket.wait().unwrap();
}

fn times(db: &Db) -> Vec<i64> {
    let mut times: Vec<i64> = values(db, "f").into_iter().map(|(time, _)| time).collect();
    times.sort_unstable();
    times
}

fn policies(db: &Db) -> Vec<PolicyInfo> {
    db.snapshot("db").unwrap().catalog().policies().to_vec()
}

fn default_of(db: &Db) -> Option<Box<str>> {
    let found = policies(db).into_iter().find(|one| one.is_default);
    found.map(|one| one.name)
}

#[test]
fn policies_are_made_changed_and_dropped_durably() {
    let env = SimEnv::new(1);
    env.set_now(NOW_NS);
    let db = open_with(&env, "db");
    db.create_policy("db", &spec("week", 7 * DAY_NS, 0), false)
        .unwrap();
    put(&db, "week", &[NOW_NS]);
    put(&db, "autogen", &[NOW_NS - 1]);
    db.alter_policy("db", "week", &change(8 * DAY_NS)).unwrap();
    db.create_policy("db", &spec("hour", HOUR_NS, 0), true)
        .unwrap();
    let before = policies(&db);
    assert_eq!(before.len(), 3);
    assert_eq!(default_of(&db).as_deref(), Some("hour"));
    assert_eq!(before[2].duration_ns, 8 * DAY_NS);
    let (db, env) = reopened(db, &env);
    assert_eq!(policies(&db), before);
    assert_eq!(times(&db), [NOW_NS - 1, NOW_NS]);
    db.flush().unwrap();
    db.drop_policy("db", "week").unwrap();
    db.drop_policy("db", "week").unwrap();
    db.drop_policy("nope", "week").unwrap();
    assert_eq!(times(&db), [NOW_NS - 1]);
    assert_eq!(db.stats().blocks, 1);
    let (db, _) = reopened(db, &env);
    assert_eq!(policies(&db).len(), 2);
    // One of the same name starts anew.
    db.create_policy("db", &spec("week", 7 * DAY_NS, 0), false)
        .unwrap();
    assert_eq!(times(&db), [NOW_NS - 1]);
    assert!(policies(&db)[2].id > before[2].id);
}

/// The store after its process was killed.
fn reopened(db: Db, env: &SimEnv) -> (Db, SimEnv) {
    let after = env.after_kill();
    after.set_now(env_now(env));
    drop(db);
    (open(&after).unwrap(), after)
}

fn env_now(env: &SimEnv) -> i64 {
    silverback_storage::env::Env::now_ns(env)
}

#[test]
fn rows_of_a_policy_that_was_dropped_before_a_flush_do_not_come_back() {
    let env = SimEnv::new(1);
    env.set_now(NOW_NS);
    let db = open_with(&env, "db");
    db.create_policy("db", &spec("p", 0, 0), false).unwrap();
    put(&db, "p", &[1, 2]);
    write(&db, "db", &[point(3)]).unwrap();
    let snapshot = db.snapshot("db").unwrap();
    db.drop_policy("db", "p").unwrap();
    assert_eq!(snapshot.catalog().policies().len(), 2);
    db.create_policy("db", &spec("p", 0, 0), false).unwrap();
    assert_eq!(times(&db), [3]);
    let (db, _) = reopened(db, &env);
    assert_eq!(times(&db), [3]);
    db.flush().unwrap();
    assert_eq!(times(&db), [3]);
    assert_eq!(db.stats().blocks, 1);
}

#[test]
fn what_cannot_be_is_refused_in_the_words_of_influxdb() {
    let db = open_with(&SimEnv::new(1), "db");
    let text = |outcome: Result<()>| {
        let error = outcome.unwrap_err();
        (error.kind(), error.to_string())
    };
    let week = spec("week", 7 * DAY_NS, 0);
    db.create_policy("db", &week, false).unwrap();
    db.create_policy("db", &week, false).unwrap();
    let (kind, message) = text(db.create_policy("db", &week, true));
    assert_eq!(kind, ErrorKind::Conflict);
    assert_eq!(
        message,
        "retention policy conflicts with an existing policy"
    );
    let (kind, message) = text(db.create_policy("db", &spec("week", DAY_NS, 0), false));
    assert_eq!(kind, ErrorKind::Conflict);
    assert_eq!(message, "retention policy already exists");
    let (kind, message) = text(db.create_policy("db", &spec("a/b", DAY_NS, 0), false));
    assert_eq!((kind, &*message), (ErrorKind::Invalid, "invalid name"));
    let (kind, message) = text(db.alter_policy("db", "no", &change(DAY_NS)));
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(message, "retention policy not found: no");
    let (kind, _) = text(db.create_policy("nope", &week, false));
    assert_eq!(kind, ErrorKind::NotFound);
}

#[test]
fn the_default_policy_stays_by_name_when_it_is_dropped() {
    let env = SimEnv::new(1);
    let db = open_with(&env, "db");
    db.drop_policy("db", "autogen").unwrap();
    for round in 0..2 {
        let db = open(&env.after_kill()).unwrap();
        let error = submit(&db, None, &[point(1)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "retention policy not found: autogen",
            "round {round}"
        );
        db.flush().unwrap();
    }
    db.create_policy("db", &spec("autogen", 0, 0), false)
        .unwrap();
    assert_eq!(default_of(&db).as_deref(), Some("autogen"));
    submit(&db, None, &[point(1)])
        .unwrap()
        .ticket
        .wait()
        .unwrap();
    assert_eq!(times(&db), [1]);
}

#[test]
fn rows_older_than_the_policy_keeps_are_rejected_and_the_others_stored() {
    let env = SimEnv::new(1);
    env.set_now(NOW_NS);
    let db = open_with(&env, "db");
    db.create_policy("db", &spec("day", DAY_NS, 0), true)
        .unwrap();
    let first = NOW_NS - DAY_NS;
    let rows = [
        point(first - 1),
        point(first),
        row("other", &[], 7, &[("f", float(2.0))]),
        point(NOW_NS + DAY_NS),
    ];
    let submitted = submit(&db, None, &rows).unwrap();
    let lines: Vec<u32> = submitted.rejected.iter().map(|one| one.line).collect();
    assert_eq!((submitted.rows, lines), (2, vec![1, 3]));
    assert_eq!(submitted.rejected[0].reason, RejectReason::BeyondRetention);
    assert_eq!(
        submitted.rejected[0].reason.to_string(),
        "points beyond retention policy"
    );
    submitted.ticket.wait().unwrap();
    assert_eq!(times(&db), [first, NOW_NS + DAY_NS]);
    // A change acts at once.
    db.alter_policy("db", "day", &change(2 * DAY_NS)).unwrap();
    put(&db, "day", &[first - 1]);
    db.alter_policy("db", "day", &change(HOUR_NS)).unwrap();
    let submitted = submit(&db, None, &[point(first)]).unwrap();
    assert_eq!((submitted.rows, submitted.rejected.len()), (0, 1));
    submitted.ticket.wait().unwrap();
}

/// How many values one window over all of time counts.
fn count(db: &Db) -> u64 {
    let snapshot = db.snapshot("db").unwrap();
    let policy = snapshot.catalog().policies()[0].id;
    let info = snapshot.catalog().measurement(b"m").unwrap();
    let series = snapshot.series(info.id, &TagPredicate::All, Some(policy), TimeRange::ALL);
    let series: Arc<[SeriesId]> = series.unwrap().iter().map(|(id, _)| *id).collect();
    let scan = ScanRequest {
        policy,
        measurement: info.id,
        series,
        fields: vec![info.fields[0].id],
        range: TimeRange::ALL,
        descending: false,
        filter: None,
    };
    let request = AggregateRequest {
        scan,
        wanted: vec![AggregateSet::COUNT],
        edges: [TimeRange::ALL.start, TimeRange::ALL.end].into(),
    };
    let mut windows = scan::aggregates(&snapshot, request, Arc::new(|| Ok(()))).unwrap();
    let mut count = 0;
    while let Some(series) = windows.next_windows().unwrap() {
        let entries = 0..series.windows.len();
        count += entries.map(|at| series.columns[0].count(at)).sum::<u64>();
    }
    count
}

/// A store whose only policy keeps a day in partitions of an hour, with `hours` of rows before now,
/// one every 20 seconds, in one block.
fn store_with(env: &SimEnv, hours: i64) -> Db {
    env.set_now(NOW_NS);
    let db = open(env).unwrap();
    db.create_database("db", &spec("day", DAY_NS, HOUR_NS))
        .unwrap();
    let step = HOUR_NS / 180;
    let times: Vec<i64> = (1..=hours * 180).map(|at| NOW_NS - at * step).collect();
    put(&db, "day", &times);
    db.flush().unwrap();
    db
}

fn advance(env: &SimEnv, hours: u64) {
    env.advance(Duration::from_secs(hours * 3600));
}

/// Lets the background steps run, each several times.
fn run_steps(env: &SimEnv) {
    env.run_steps(64);
}

#[test]
fn a_partition_goes_when_its_last_point_is_past_its_time() {
    let env = SimEnv::new(1);
    let db = store_with(&env, 10);
    let reader = db.snapshot("db").unwrap();
    // 17 hours on, the oldest 3 of 10 hours are past their time; one more second changes nothing.
    advance(&env, 17);
    run_steps(&env);
    let kept = times(&db);
    assert_eq!(kept.len(), 7 * 180);
    assert_eq!(kept[0], NOW_NS - 7 * HOUR_NS);
    // Chunks have statistics: they must not tell of what is gone.
    assert_eq!(count(&db), 7 * 180);
    assert_eq!(reader.blocks(policies(&db)[0].id)[0].meta().row_count, 1800);
    env.advance(Duration::from_secs(1));
    run_steps(&env);
    assert_eq!(times(&db), kept);
    // Durable, and merged blocks do not bring it back.
    let (db, _) = reopened(db, &env);
    assert_eq!((times(&db), count(&db)), (kept.clone(), 7 * 180));
    db.compact().unwrap();
    assert_eq!((times(&db), count(&db)), (kept, 7 * 180));
    assert_eq!(db.stats().blocks, 7);
    assert_eq!(db.stats().problems, []);
}

#[test]
fn whole_blocks_go_with_their_files() {
    let env = SimEnv::new(1);
    let db = store_with(&env, 10);
    db.compact().unwrap();
    assert_eq!(db.stats().blocks, 10);
    advance(&env, 18);
    run_steps(&env);
    assert_eq!((db.stats().blocks, times(&db).len()), (6, 6 * 180));
    let files = env.paths();
    let blocks = files.iter().filter(|path| path.starts_with("blocks"));
    assert_eq!(blocks.count(), 6);
    assert_eq!(db.stats().retention_blocks, 4);
}

#[test]
fn a_pass_that_would_drop_most_waits_an_hour() {
    waits_an_hour(true);
}

/// What is merged into partitions late must not go sooner for it.
#[test]
fn a_pass_that_would_cut_most_of_a_block_waits_an_hour() {
    waits_an_hour(false);
}

fn waits_an_hour(is_merged: bool) {
    let env = SimEnv::new(1);
    let db = store_with(&env, 10);
    if is_merged {
        db.compact().unwrap();
    }
    advance(&env, 20);
    run_steps(&env);
    let waits = db.retention_waits();
    assert_eq!(waits.len(), 1);
    assert_eq!(&*waits[0].database, "db");
    let most = Share {
        dropped: 6,
        all: 10,
    };
    assert_eq!(waits[0].reason, WaitReason::MostPartitions(most));
    assert_eq!(times(&db).len(), 1800);
    env.advance(waits[0].left.saturating_sub(Duration::from_secs(1)));
    run_steps(&env);
    assert_eq!(times(&db).len(), 1800);
    env.advance(Duration::from_secs(1));
    run_steps(&env);
    // The seventh hour is past its time by now.
    assert_eq!(times(&db).len(), 540);
    assert_eq!(db.retention_waits(), []);
}

#[test]
fn a_clock_that_jumps_drops_nothing_until_it_is_confirmed() {
    let env = SimEnv::new(1);
    let db = store_with(&env, 10);
    db.compact().unwrap();
    run_steps(&env);
    // Two of ten partitions are past their time, by a clock that jumped.
    env.set_now(NOW_NS + 16 * HOUR_NS);
    run_steps(&env);
    assert_eq!(times(&db).len(), 1440, "less than a day is no jump");
    env.set_now(NOW_NS + 50 * HOUR_NS);
    run_steps(&env);
    assert_eq!(times(&db).len(), 1440);
    let waits = db.retention_waits();
    assert!(matches!(waits[0].reason, WaitReason::ClockJump(_)));
    // It is set right: nothing waits, nothing is lost.
    env.set_now(NOW_NS + 16 * HOUR_NS);
    run_steps(&env);
    assert_eq!((db.retention_waits(), times(&db).len()), (vec![], 1440));
    env.set_now(NOW_NS + 50 * HOUR_NS);
    run_steps(&env);
    assert_eq!(db.retention_waits().len(), 1);
    assert_eq!(db.confirm_retention().unwrap(), 8);
    assert_eq!((db.retention_waits(), times(&db).len()), (vec![], 0));
}

#[test]
fn a_shorter_time_acts_at_once_and_a_narrower_partition_cuts_blocks_that_are_there() {
    let env = SimEnv::new(1);
    let db = store_with(&env, 10);
    db.alter_policy("db", "day", &change(6 * HOUR_NS)).unwrap();
    assert_eq!(times(&db).len(), 6 * 180);
    let wide = PolicyChange {
        partition_ns: Some(4 * HOUR_NS),
        ..PolicyChange::default()
    };
    db.alter_policy("db", "day", &wide).unwrap();
    db.compact().unwrap();
    assert_eq!(db.stats().blocks, 2);
    let narrow = PolicyChange {
        partition_ns: Some(HOUR_NS),
        ..PolicyChange::default()
    };
    db.alter_policy("db", "day", &narrow).unwrap();
    advance(&env, 4);
    run_steps(&env);
    // Four of the six partitions that the blocks span.
    assert_eq!(db.confirm_retention().unwrap(), 2);
    assert_eq!((times(&db).len(), count(&db)), (2 * 180, 2 * 180));
}
