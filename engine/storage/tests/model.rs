//! Random lists of operations on the simulated machine against a naive map: whatever is written,
//! flushed, merged, dropped, crashed and opened again, a scan shows what the map holds, bit by bit.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

#[path = "support/deletes.rs"]
mod deletes;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use silverback_storage::db::Db;
use silverback_storage::env::SimEnv;
use silverback_storage::model::{FieldValue, PolicySpec, TimeRange};

use deletes::{Choice, delete, series};
use support::{Cell, Contents, Row, open, read, row, write};

const DATABASES: [&str; 2] = ["db", "other"];
const MEASUREMENTS: [&str; 3] = ["cpu", "mem", "disk"];

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<Row>),
    Flush,
    Compact,
    /// Background steps run, an hour later.
    Steps(usize),
    DropMeasurement(usize, usize),
    DropDatabase(usize),
    Delete(usize, Choice),
    Close,
    Kill,
    /// Power fails; the number chooses among the disks that may be left.
    Crash(usize),
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
        1 => database.prop_map(Op::DropDatabase),
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
}

impl World {
    fn new() -> World {
        let env = SimEnv::new(5);
        let mut world = World {
            env: env.clone(),
            db: None,
            expected: Contents::new(),
        };
        world.open(env);
        world
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn open(&mut self, env: SimEnv) {
        self.db = None;
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

    fn check(&self) {
        let found = read(self.db()).unwrap();
        for (cell, value) in &self.expected {
            assert_eq!(found.get(cell), Some(value), "{cell:?}");
        }
        let stranger = found.keys().find(|cell| !self.expected.contains_key(*cell));
        assert_eq!(stranger, None, "what was never written is found");
        for database in DATABASES {
            let own = self.expected.keys().filter(|cell| cell.0 == database);
            let expected = own.map(|cell| (cell.1.clone(), cell.2.clone())).collect();
            assert_eq!(series(self.db(), database).unwrap(), expected);
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
