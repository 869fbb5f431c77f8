//! Random lists of operations on the simulated machine against a naive map: whatever is written,
//! flushed, merged, dropped, crashed and opened again, a scan shows what the map holds, bit by bit.
//! What is past its time may be there or not, until a pass of retention has dropped it for good.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

#[path = "support/deletes.rs"]
mod deletes;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use silverback_storage::db::{Alter, Db, WriteOptions};
use silverback_storage::env::{Env, SimEnv};
use silverback_storage::error::ErrorKind;
use silverback_storage::model::{
    Batch, FieldValue, PolicyChange, PolicyInfo, PolicySpec, TimeRange,
};

use deletes::{Choice, delete, series};
use support::{Cell, Contents, Keys, Row, batch, open, read, row, write};

const DATABASES: [&str; 2] = ["db", "other"];
const MEASUREMENTS: [&str; 3] = ["cpu", "mem", "disk"];

/// The policy of the first database whose points age, and the measurement that only it has.
const SHORT: &str = "short";
const AGING: &str = "aging";
const HOUR_NS: i64 = 3_600_000_000_000;

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<Row>),
    /// Points of the policy that ages: which series, how many quarters of an hour old, what value.
    WriteShort(Vec<(u8, i64, i64)>),
    /// Both clocks move on by so many quarters of an hour.
    Advance(u64),
    /// What is past its time is dropped, whatever would wait.
    Retention,
    /// The policy that ages keeps so many hours from now on.
    AlterPolicy(i64),
    DropPolicy,
    Flush,
    Compact,
    /// Background steps run, an hour later.
    Steps(usize),
    DropMeasurement(usize, usize),
    DropDatabase(usize),
    Delete(usize, Choice),
    Alter(usize, usize, Change),
    Close,
    Kill,
    /// Power fails; the number chooses among the disks that may be left.
    Crash(usize),
}

/// A change of a measurement, by numbers of names.
#[derive(Clone, Copy, Debug)]
enum Change {
    Rename(usize),
    RenameTag(usize, usize),
    /// A field of one type, from one of its two names to the other.
    RenameField(usize, bool),
    DropField(usize, bool),
}

/// Names that measurements may have; those written come first.
const MEASUREMENT_NAMES: [&str; 5] = ["cpu", "mem", "disk", "x", "y"];
const TAG_NAMES: [&str; 4] = ["host", "dc", "a", "z"];

/// One of the two names of a field of a type.
fn field_name(kind: usize, is_first: bool) -> String {
    format!("{}{kind}", if is_first { "f" } else { "g" })
}

fn any_change() -> impl Strategy<Value = Change> {
    let kind = 0..5_usize;
    prop_oneof![
        (0..MEASUREMENT_NAMES.len()).prop_map(Change::Rename),
        (0..TAG_NAMES.len(), 0..TAG_NAMES.len()).prop_map(|(from, to)| Change::RenameTag(from, to)),
        (kind.clone(), any::<bool>()).prop_map(|(kind, first)| Change::RenameField(kind, first)),
        (kind, any::<bool>()).prop_map(|(kind, first)| Change::DropField(kind, first)),
    ]
}

fn value(kind: usize) -> BoxedStrategy<FieldValue> {
    match kind {
        0 => any::<u64>()
            .prop_map(|bits| FieldValue::Float(f64::from_bits(bits)))
            .boxed(),
        1 => any::<i64>().prop_map(FieldValue::Integer).boxed(),
        2 => any::<u64>().prop_map(FieldValue::Unsigned).boxed(),
        3 => any::<bool>().prop_map(FieldValue::Boolean).boxed(),
        _ => "[a-c]{0,5}"
            .prop_map(|text| FieldValue::String(text.into_bytes().into()))
            .boxed(),
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let field = (0..5_usize).prop_flat_map(|kind| (Just(format!("f{kind}")), value(kind)));
    let fields = prop::collection::vec(field, 1..4).prop_map(|list| {
        let unique: BTreeMap<String, FieldValue> = list.into_iter().collect();
        unique.into_iter().collect::<Vec<_>>()
    });
    // Few series and times, so that they meet; some times in far partitions.
    let time = prop_oneof![
        4 => -5..20_i64,
        1 => (0..5_i64).prop_map(|week| week * 604_800_000_000_000),
    ];
    (0..MEASUREMENTS.len(), 0..4_u8, 0..3_u8, time, fields).prop_map(
        |(measurement, host, dc, time, fields)| {
            let host = format!("h{host}");
            let dc = format!("d{dc}");
            let mut tags = vec![("host", host.as_str())];
            if dc != "d0" {
                tags.push(("dc", dc.as_str()));
            }
            let mut row = row(MEASUREMENTS[measurement], &tags, time, &[]);
            row.fields = fields;
            row
        },
    )
}

/// Few rows, all of a series, all of some measurements, or everything in a span of time.
fn any_choice() -> impl Strategy<Value = Choice> {
    let measurements = prop_oneof![
        4 => (0..MEASUREMENTS.len()).prop_map(|one| vec![MEASUREMENTS[one].to_owned()]),
        1 => Just(MEASUREMENTS.map(str::to_owned).to_vec()),
    ];
    let host = prop::option::weighted(0.7, (0..4_u8).prop_map(|host| format!("h{host}")));
    let range = prop_oneof![
        2 => Just(TimeRange::ALL),
        3 => (-6..20_i64, 0..12_i64).prop_map(|(start, len)| TimeRange {
            start,
            end: start + len,
        }),
        1 => (0..5_i64).prop_map(|week| TimeRange {
            start: TimeRange::ALL.start,
            end: week * 604_800_000_000_000,
        }),
    ];
    (measurements, host, range).prop_map(|(measurements, host, range)| Choice {
        measurements,
        host,
        range,
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    let database = 0..DATABASES.len();
    prop_oneof![
        12 => (database.clone(), prop::collection::vec(any_row(), 1..30))
            .prop_map(|(database, rows)| Op::Write(database, rows)),
        4 => Just(Op::Flush),
        2 => Just(Op::Compact),
        1 => (1..6_usize).prop_map(Op::Steps),
        1 => (database.clone(), 0..MEASUREMENTS.len())
            .prop_map(|(database, measurement)| Op::DropMeasurement(database, measurement)),
        5 => (database.clone(), any_choice())
            .prop_map(|(database, choice)| Op::Delete(database, choice)),
        4 => (database.clone(), 0..MEASUREMENT_NAMES.len(), any_change())
            .prop_map(|(database, measurement, change)| Op::Alter(database, measurement, change)),
        1 => database.prop_map(Op::DropDatabase),
        6 => prop::collection::vec((0..3_u8, -4..20_i64, any::<i64>()), 1..12)
            .prop_map(Op::WriteShort),
        2 => (0..12_u64).prop_map(Op::Advance),
        2 => Just(Op::Retention),
        1 => (1..6_i64).prop_map(Op::AlterPolicy),
        1 => Just(Op::DropPolicy),
        1 => Just(Op::Close),
        1 => Just(Op::Kill),
        2 => (0..64_usize).prop_map(Op::Crash),
    ]
}

/// The store, and what it must show.
struct World {
    env: SimEnv,
    db: Option<Db>,
    expected: Contents,
    /// A field was dropped: a series may be listed that has no other.
    has_bare_series: bool,
    /// Of them, those that were past their time at some moment since they were written.
    fading: BTreeSet<Cell>,
}

impl World {
    fn new() -> World {
        let env = SimEnv::new(5);
        let mut world = World {
            env: env.clone(),
            db: None,
            expected: Contents::new(),
            has_bare_series: false,
            fading: BTreeSet::new(),
        };
        world.open(env);
        world
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn open(&mut self, env: SimEnv) {
        self.db = None;
        env.set_now(self.env.now_ns());
        self.db = Some(open(&env).unwrap());
        self.env = env;
        for database in DATABASES {
            self.create(database);
        }
    }

    fn create(&self, database: &str) {
        self.db()
            .create_database(database, &PolicySpec::default())
            .unwrap();
        if database == DATABASES[0] && self.short().is_none() {
            let short = PolicySpec {
                name: Some(SHORT.into()),
                duration_ns: Some(3 * HOUR_NS),
                partition_ns: Some(HOUR_NS),
                replication: None,
            };
            self.db().create_policy(database, &short, false).unwrap();
        }
    }

    fn short(&self) -> Option<PolicyInfo> {
        let snapshot = self.db().snapshot(DATABASES[0])?;
        snapshot.catalog().policy(Some(SHORT)).cloned()
    }

    /// Whether a cell is past its time.
    fn is_past(&self, cell: &Cell) -> bool {
        let short = self.short().unwrap();
        let cutoff = short.cutoff(self.env.now_ns()).unwrap();
        cell.1 == AGING && cell.3 < cutoff
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(database, rows) => self.write(DATABASES[*database], rows),
            Op::Flush => self.db().flush().unwrap(),
            Op::Compact => self.db().compact().unwrap(),
            Op::Steps(count) => {
                self.env.advance(Duration::from_secs(3601));
                self.env.run_steps(*count);
            }
            Op::DropMeasurement(database, measurement) => {
                let (database, measurement) = (DATABASES[*database], MEASUREMENTS[*measurement]);
                self.db()
                    .drop_measurement(database, measurement.as_bytes())
                    .unwrap();
                let kept = |cell: &Cell| cell.0 != database || cell.1 != measurement;
                self.expected.retain(|cell, _| kept(cell));
            }
            Op::DropDatabase(database) => {
                let database = DATABASES[*database];
                self.db().drop_database(database).unwrap();
                self.expected.retain(|cell, _| cell.0 != database);
                self.create(database);
            }
            Op::Delete(database, choice) => {
                let database = DATABASES[*database];
                delete(self.db(), database, choice).unwrap();
                self.expected
                    .retain(|cell, _| cell.0 != database || !choice.means(cell));
            }
            Op::Alter(database, measurement, change) => {
                self.alter(
                    DATABASES[*database],
                    MEASUREMENT_NAMES[*measurement],
                    *change,
                );
            }
            Op::WriteShort(points) => self.write_short(points),
            Op::Advance(quarters) => self.env.advance(Duration::from_secs(900 * quarters)),
            Op::Retention => self.retention(),
            Op::AlterPolicy(hours) => {
                let change = PolicyChange {
                    duration_ns: Some(hours * HOUR_NS),
                    ..PolicyChange::default()
                };
                // Past one time or the other: either may have been looked at.
                self.fade();
                self.db()
                    .alter_policy(DATABASES[0], SHORT, &change)
                    .unwrap();
            }
            Op::DropPolicy => {
                self.db().drop_policy(DATABASES[0], SHORT).unwrap();
                self.expected.retain(|cell, _| cell.1 != AGING);
                self.create(DATABASES[0]);
            }
            Op::Close => {
                self.db().close().unwrap();
                self.open(self.env.clone());
            }
            Op::Kill => {
                let env = self.env.after_kill();
                self.env.power_off();
                self.open(env);
            }
            Op::Crash(choice) => {
                let images: Vec<_> = self.env.crash_images(16).collect();
                let env = images[choice % images.len()].env.clone();
                self.env.power_off();
                self.open(env);
            }
        }
    }

    fn write(&mut self, database: &str, rows: &[Row]) {
        write(self.db(), database, rows).unwrap();
        for row in rows {
            for (field, value) in &row.fields {
                let cell = (
                    database.to_owned(),
                    row.measurement.clone(),
                    row.tags.clone(),
                    row.time,
                    field.clone(),
                );
                self.expected.insert(cell, value.clone());
            }
        }
    }

    /// Changes a measurement if the names allow it, and expects to be refused if they do not.
    fn alter(&mut self, database: &str, measurement: &str, change: Change) {
        let snapshot = self.db().snapshot(database).unwrap();
        let info = snapshot.catalog().measurement(measurement.as_bytes());
        let (from, to) = match change {
            Change::Rename(to) => (measurement.to_owned(), MEASUREMENT_NAMES[to].to_owned()),
            Change::RenameTag(from, to) => (TAG_NAMES[from].into(), TAG_NAMES[to].into()),
            Change::RenameField(kind, first) => (field_name(kind, first), field_name(kind, !first)),
            Change::DropField(kind, first) => (field_name(kind, first), String::new()),
        };
        let has = |name: &str| {
            info.is_some_and(|info| match change {
                Change::Rename(_) => false,
                Change::RenameTag(..) => info.tag_key_id(name.as_bytes()).is_some(),
                Change::RenameField(..) | Change::DropField(..) => {
                    info.field(name.as_bytes()).is_some()
                }
            })
        };
        let is_rename = matches!(change, Change::Rename(_));
        let expected = if info.is_none() || !is_rename && !has(&from) {
            Some(ErrorKind::NotFound)
        } else if has(&to) || is_rename && snapshot.catalog().measurement(to.as_bytes()).is_some() {
            Some(ErrorKind::Conflict)
        } else {
            None
        };
        let alter = match change {
            Change::Rename(_) => Alter::Rename(to.as_bytes()),
            Change::RenameTag(..) => Alter::RenameTag {
                from: from.as_bytes(),
                to: to.as_bytes(),
            },
            Change::RenameField(..) => Alter::RenameField {
                from: from.as_bytes(),
                to: to.as_bytes(),
            },
            Change::DropField(..) => Alter::DropField(from.as_bytes()),
        };
        let outcome = self
            .db()
            .alter_measurement(database, measurement.as_bytes(), alter);
        assert_eq!(
            outcome.err().map(|error| error.kind()),
            expected,
            "{alter:?}"
        );
        if expected.is_some() {
            return;
        }
        self.has_bare_series |= matches!(change, Change::DropField(..));
        let cells = std::mem::take(&mut self.expected).into_iter();
        self.expected = cells
            .filter_map(|(mut cell, value)| {
                if cell.0 == database && cell.1 == measurement {
                    match change {
                        Change::Rename(_) => cell.1.clone_from(&to),
                        Change::RenameTag(..) => {
                            if let Some(value) = cell.2.remove(&from) {
                                cell.2.insert(to.clone(), value);
                            }
                        }
                        Change::RenameField(..) if cell.4 == from => cell.4.clone_from(&to),
                        Change::DropField(..) if cell.4 == from => return None,
                        Change::RenameField(..) | Change::DropField(..) => {}
                    }
                }
                Some((cell, value))
            })
            .collect();
    }

    fn write_short(&mut self, points: &[(u8, i64, i64)]) {
        let (now, short) = (self.env.now_ns(), self.short().unwrap());
        let rows: Vec<Row> = points
            .iter()
            .map(|(host, age, value)| {
                let time = now - age * HOUR_NS / 4;
                let fields = [("f1", FieldValue::Integer(*value))];
                row(AGING, &[("host", &format!("h{host}"))], time, &fields)
            })
            .collect();
        let (text, measurements) = batch(self.db().hasher(), &rows);
        let batch = Batch {
            text: &text,
            rows: measurements,
        };
        let options = WriteOptions::default();
        let submitted = self
            .db()
            .write(DATABASES[0], Some(SHORT), batch, &Keys, options);
        let submitted = submitted.unwrap();
        let (kept, late): (Vec<Row>, Vec<Row>) = rows
            .into_iter()
            .partition(|row| row.time >= now - short.duration_ns);
        assert_eq!(submitted.rejected.len(), late.len());
        submitted.ticket.wait().unwrap();
        for row in kept {
            let (field, value) = row.fields[0].clone();
            let cell = (DATABASES[0].into(), AGING.into(), row.tags, row.time, field);
            self.fading.remove(&cell);
            self.expected.insert(cell, value);
        }
    }

    /// Flushes and drops all that is past its time.
    fn retention(&mut self) {
        self.db().flush().unwrap();
        // The first lets what has to wait begin to, the second ends that.
        for _ in 0..2 {
            self.db().confirm_retention().unwrap();
        }
        let cells = self.expected.keys();
        let past: Vec<Cell> = cells.filter(|cell| self.is_past(cell)).cloned().collect();
        for cell in past {
            self.expected.remove(&cell);
        }
    }

    /// Notes what is past its time by now.
    fn fade(&mut self) {
        let cells = self.expected.keys();
        let past: Vec<Cell> = cells.filter(|cell| self.is_past(cell)).cloned().collect();
        self.fading.extend(past);
        self.fading.retain(|cell| self.expected.contains_key(cell));
    }

    fn check(&mut self) {
        self.fade();
        let found = read(self.db()).unwrap();
        for (cell, value) in &self.expected {
            let own = found.get(cell);
            let gone = own.is_none() && self.fading.contains(cell);
            assert!(gone || own == Some(value), "{cell:?} is {own:?}");
        }
        let stranger = found.keys().find(|cell| !self.expected.contains_key(*cell));
        assert_eq!(stranger, None, "what was never written is found");
        for database in DATABASES {
            // Of what ages a series may be listed longer than it has points.
            let own = self.expected.keys();
            let own = own.filter(|cell| cell.0 == database && cell.1 != AGING);
            let expected: BTreeSet<_> = own.map(|cell| (cell.1.clone(), cell.2.clone())).collect();
            let mut listed = series(self.db(), database).unwrap();
            listed.retain(|(measurement, _)| measurement != AGING);
            assert!(listed.is_superset(&expected));
            assert!(self.has_bare_series || listed == expected, "{listed:?}");
        }
        assert_eq!(self.db().stats().problems, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn a_store_shows_what_a_map_holds(ops in prop::collection::vec(any_op(), 1..40)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
    }
}
