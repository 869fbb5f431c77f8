//! The simulated machine is switched off before every operation of a scripted run: whatever disk a
//! crash may leave then opens, holds every acknowledged value bit by bit and none that was never
//! attempted, and takes writes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers may stop the test"
)]

#[path = "support/deletes.rs"]
mod deletes;
#[path = "support/history.rs"]
mod history;
mod support;

use std::collections::BTreeSet;

use silverback_storage::db::{Alter, Db};
use silverback_storage::env::SimEnv;
use silverback_storage::env::sim::{Failure, Fault};
use silverback_storage::error::{ErrorKind, Result};
use silverback_storage::model::{FieldValue, PolicySpec, TimeRange};

use deletes::{Choice, delete, series};
use history::Model;
use support::{Row, open, read, row, write};

/// Disks per crash point.
const IMAGES_PER_POINT: usize = 60;

/// A store, the model of what it may hold, and whether anything failed so far.
struct Run {
    db: Option<Db>,
    env: SimEnv,
    model: Model,
    failures: usize,
}

impl Run {
    fn new(env: &SimEnv) -> Run {
        Run {
            db: open(env).ok(),
            env: env.clone(),
            model: Model::default(),
            failures: 0,
        }
    }

    fn attempt(&mut self, what: impl FnOnce(&Db) -> Result<()>) -> Result<()> {
        let outcome = match &self.db {
            Some(db) => what(db),
            None => Err(silverback_storage::Error::new(
                ErrorKind::Closed,
                "it did not open",
            )),
        };
        self.failures += usize::from(outcome.is_err());
        outcome
    }

    fn create(&mut self, database: &str) {
        self.attempt(|db| db.create_database(database, &PolicySpec::default()))
            .ok();
    }

    fn write(&mut self, database: &str, rows: &[Row]) {
        let outcome = self.attempt(|db| write(db, database, rows));
        self.model.write(database, rows, &outcome);
    }

    fn flush(&mut self) {
        self.attempt(Db::flush).ok();
    }

    fn compact(&mut self) {
        self.attempt(Db::compact).ok();
    }

    fn drop_measurement(&mut self, database: &str, measurement: &str) {
        let outcome = self.attempt(|db| db.drop_measurement(database, measurement.as_bytes()));
        self.model
            .drop_where(|cell| cell.0 == database && cell.1 == measurement, &outcome);
    }

    fn delete(&mut self, measurement: &str, host: Option<&str>, times: (i64, i64)) {
        let choice = Choice {
            measurements: vec![measurement.to_owned()],
            host: host.map(str::to_owned),
            range: TimeRange {
                start: times.0,
                end: times.1,
            },
        };
        let outcome = self.attempt(|db| delete(db, "db", &choice));
        let gone = |cell: &support::Cell| cell.0 == "db" && choice.means(cell);
        self.model.drop_where(gone, &outcome);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let outcome = self.attempt(|db| {
            let alter = Alter::Rename(to.as_bytes());
            db.alter_measurement("db", from.as_bytes(), alter)
        });
        self.model.rename("db", (from, to), &outcome);
    }

    fn drop_database(&mut self, database: &str) {
        let outcome = self.attempt(|db| db.drop_database(database));
        self.model.drop_where(|cell| cell.0 == database, &outcome);
    }

    fn reopen(&mut self, cleanly: bool) {
        if let Some(db) = self.db.take() {
            if cleanly {
                self.failures += usize::from(db.close().is_err());
            }
            drop(db);
            self.db = open(&self.env).ok();
            self.failures += usize::from(self.db.is_none());
        }
    }
}

fn value(seed: i64) -> FieldValue {
    match seed % 5 {
        0 => FieldValue::Float(f64::from_bits(0x7ff8_0000_0000_0000 | seed.cast_unsigned())),
        1 => FieldValue::Integer(i64::MIN + seed),
        2 => FieldValue::Unsigned(u64::MAX - seed.cast_unsigned()),
        3 => FieldValue::Boolean(seed % 2 == 0),
        _ => FieldValue::String(format!("text {seed}").into_bytes().into()),
    }
}

/// Some rows of some series; each field has one type.
fn rows(measurement: &str, seed: i64, count: i64) -> Vec<Row> {
    let one = |index: i64| {
        let host = format!("h{}", (seed + index) % 4);
        let fields: Vec<(String, FieldValue)> = (0..5)
            .filter(|kind| (seed + index + kind) % 3 != 0)
            .map(|kind| (format!("f{kind}"), value((seed + index) * 5 + kind)))
            .collect();
        let mut row = row(
            measurement,
            &[("host", &host), ("dc", "x")],
            seed * 7 + index,
            &[],
        );
        row.fields = fields;
        row
    };
    (0..count).map(one).collect()
}

/// Ingest, flush, drop, close and open again: every kind of change of the disk that there is.
fn script(run: &mut Run) {
    run.create("db");
    run.write("db", &rows("cpu", 1, 6));
    run.write("db", &rows("mem", 2, 3));
    run.flush();
    run.write("db", &rows("cpu", 1, 4));
    run.delete("cpu", Some("h2"), (0, 100));
    run.write("db", &rows("cpu", 20, 5));
    run.create("other");
    run.write("other", &rows("cpu", 3, 3));
    run.drop_measurement("db", "mem");
    run.write("db", &rows("mem", 4, 2));
    run.rename("mem", "ram");
    run.write("db", &rows("mem", 5, 2));
    run.flush();
    run.reopen(true);
    run.write("db", &rows("disk", 5, 5));
    run.write("db", &rows("cpu", 20, 2));
    run.drop_database("other");
    run.create("other");
    run.write("other", &rows("net", 6, 2));
    run.reopen(false);
    run.write("db", &rows("cpu", 1, 3));
    run.delete("cpu", None, (8, 142));
    run.write("db", &rows("cpu", 20, 3));
    run.flush();
    run.delete("disk", None, (0, 1000));
    run.write("db", &rows("cpu", 2, 30));
    run.flush();
    run.write("db", &rows("cpu", 9, 30));
    run.delete("cpu", Some("h1"), (0, 30));
    run.compact();
    run.write("db", &rows("cpu", 10, 3));
    run.delete("cpu", Some("h3"), (0, 1000));
    run.reopen(true);
    run.write("other", &rows("net", 6, 4));
}

/// Opens a disk, compares it with the model, and writes to it. How many steps that took.
fn check(env: &SimEnv, model: &Model, case: &str) -> u64 {
    let db = open(env).unwrap_or_else(|error| panic!("{case}: {error}"));
    let found = read(&db).unwrap_or_else(|error| panic!("{case}: {error}"));
    if let Some(fault) = model.fault(&found) {
        panic!("{case}: {fault}");
    }
    let shown: BTreeSet<_> = found
        .keys()
        .filter(|cell| cell.0 == "db")
        .map(|cell| (cell.1.clone(), cell.2.clone()))
        .collect();
    if db.snapshot("db").is_some() {
        assert_eq!(series(&db, "db").unwrap(), shown, "{case}: series");
    }
    let stats = db.stats();
    assert_eq!(stats.problems, [], "{case}");
    let files = |folder: &str| {
        let paths = env.paths();
        paths.iter().filter(|path| path.starts_with(folder)).count() as u64
    };
    assert_eq!(files("blocks"), stats.blocks, "{case}: an orphan stays");
    assert_eq!(files("registry"), stats.registry_files, "{case}");
    let steps = env.op_count();
    let mut model = model.clone();
    model.settle(&found);
    db.create_database("db", &PolicySpec::default()).unwrap();
    let more = rows("cpu", 77, 3);
    let outcome = write(&db, "db", &more);
    assert!(outcome.is_ok(), "{case}: {outcome:?}");
    model.write("db", &more, &outcome);
    db.flush().unwrap();
    let found = read(&db).unwrap();
    assert_eq!(model.fault(&found), None, "{case}, after a write");
    steps
}

#[test]
fn every_disk_that_a_crash_may_leave_holds_what_was_acknowledged_and_nothing_else() {
    let whole = SimEnv::new(11);
    let mut run = Run::new(&whole);
    script(&mut run);
    assert_eq!(run.failures, 0);
    assert!(run.model.certain_count() > 100);
    drop(run);
    let (mut images, mut twice) = (0_u64, 0_u64);
    for stop in 0..=whole.op_count() {
        let env = SimEnv::new(11);
        env.stop_before(stop);
        let mut run = Run::new(&env);
        script(&mut run);
        let model = run.model.clone();
        drop(run);
        for image in env.crash_images(IMAGES_PER_POINT) {
            images += 1;
            let case = format!("stop {stop} image {}: {}", image.number, image.choice);
            // Kept apart, for a crash while it is opened.
            let pristine = image.env.after_kill();
            let steps = check(&image.env, &model, &case);
            if images % 50 == 0 {
                twice += crash_again(&pristine, &model, (steps, &case));
            }
        }
    }
    println!(
        "{images} images of {} crash points, {twice} of crashes in recovery",
        whole.op_count()
    );
    assert!(images >= 5000, "{images} images");
    assert!(twice >= 100, "{twice} images of crashes in recovery");
}

/// Crashes at each step of opening a disk and opens what that leaves.
fn crash_again(disk: &SimEnv, model: &Model, (steps, case): (u64, &str)) -> u64 {
    let mut images = 0;
    for stop in 0..steps {
        let env = disk.after_kill();
        env.stop_before(stop);
        drop(open(&env));
        for image in env.crash_images(4) {
            images += 1;
            let case = format!("{case}; again at {stop}: {}", image.choice);
            check(&image.env, model, &case);
        }
    }
    images
}

#[test]
fn no_failing_call_loses_what_was_acknowledged_or_stops_the_store_for_good() {
    let whole = SimEnv::new(12);
    let mut run = Run::new(&whole);
    script(&mut run);
    drop(run);
    let mut cases = 0;
    for after in 0..whole.op_count() {
        for (failure, sticky) in [
            (Failure::Io, false),
            (Failure::Io, true),
            (Failure::Full, false),
            (Failure::Full, true),
        ] {
            cases += 1;
            let case = format!("call {after}, {failure:?}, sticky {sticky}");
            let env = SimEnv::new(12);
            env.inject(Fault {
                kind: None,
                after,
                failure,
                sticky,
            });
            let mut run = Run::new(&env);
            script(&mut run);
            env.heal();
            if let Some(db) = &run.db {
                let found = read(db).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(run.model.fault(&found), None, "{case}, still open");
                if failure == Failure::Full {
                    // Space is back: the store goes on by itself.
                    db.create_database("db", &PolicySpec::default())
                        .unwrap_or_else(|error| panic!("{case}: {error}"));
                    run.write("db", &rows("cpu", 500, 3));
                }
            }
            drop(run.db.take());
            check(&env.after_kill(), &run.model, &case);
        }
    }
    assert!(cases > 500, "{cases} cases");
}
