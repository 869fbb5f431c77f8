//! What can be done to a store, as values; a store to do it to, beside the model of what it may
//! hold. A list of numbers stands for a list of operations, so that tests draw, shrink and print
//! numbers, and the fuzzer makes its own.

use std::sync::Arc;
use std::time::Duration;

use silverback_storage::db::{Db, DbOptions};
use silverback_storage::env::SimEnv;
use silverback_storage::error::{Error, ErrorKind, Result};
use silverback_storage::model::{FieldValue, PolicySpec, TimeRange};

use crate::deletes::{Choice, delete};
use crate::history::Model;
use crate::support::{Cell, Row, row, write};

pub(crate) const DATABASES: [&str; 2] = ["db", "other"];
pub(crate) const MEASUREMENTS: [&str; 3] = ["cpu", "mem", "disk"];

/// A week: far enough for another partition, ns.
const WEEK_NS: i64 = 604_800_000_000_000;
/// Disks among which a crash chooses.
const CRASH_IMAGES: usize = 16;

/// One thing done to a store.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(&'static str),
    Write(&'static str, Vec<Row>),
    Flush,
    Compact,
    /// Background steps run, an hour later.
    Steps(usize),
    DropMeasurement(&'static str, &'static str),
    DropDatabase(&'static str),
    Delete(&'static str, Choice),
    /// A clean stop, and a start.
    Close,
    /// The process ends without a word, and starts again on a copy of the machine.
    Kill,
    /// The same on the machine itself.
    Reopen,
    /// Power fails; the number chooses among the disks that may be left.
    Crash(usize),
    /// The disk has so many bytes left, or is without bound.
    Space(Option<u64>),
}

/// A small generator of repeatable numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let drawn = self.bits() % u64::try_from(end).unwrap();
        usize::try_from(drawn).unwrap()
    }

    fn one_of(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }
}

impl Op {
    /// The operation that `number` stands for.
    pub(crate) fn from_number(number: u64) -> Op {
        let mut draw = Draw(number);
        let database = draw.one_of(&DATABASES);
        match draw.below(30) {
            0..12 => {
                let count = 1 + draw.below(29);
                Op::Write(database, (0..count).map(|_| any_row(&mut draw)).collect())
            }
            12..16 => Op::Flush,
            16..18 => Op::Compact,
            18 => Op::Steps(1 + draw.below(5)),
            19 => Op::DropMeasurement(database, draw.one_of(&MEASUREMENTS)),
            20 => Op::DropDatabase(database),
            21 => Op::Close,
            22 => Op::Kill,
            25.. => Op::Delete(database, any_choice(&mut draw)),
            _ => Op::Crash(draw.below(64)),
        }
    }
}

/// Few rows, all of a series, all of some measurements, or everything in a span of time.
fn any_choice(draw: &mut Draw) -> Choice {
    let time = |draw: &mut Draw| i64::try_from(draw.below(26)).unwrap() - 6;
    let (start, end) = match draw.below(6) {
        0 | 1 => (TimeRange::ALL.start, TimeRange::ALL.end),
        2 => (TimeRange::ALL.start, time(draw) % 5 * WEEK_NS),
        _ => {
            let start = time(draw);
            (start, start + time(draw) % 12)
        }
    };
    let measurements = match draw.below(5) {
        0 => MEASUREMENTS.map(str::to_owned).to_vec(),
        _ => vec![draw.one_of(&MEASUREMENTS).to_owned()],
    };
    Choice {
        measurements,
        host: (draw.below(10) < 7).then(|| draw.one_of(&["h0", "h1", "h2", "h3"]).to_owned()),
        range: TimeRange { start, end },
    }
}

/// A value of one of the five types, any bits.
fn any_value(kind: usize, draw: &mut Draw) -> FieldValue {
    match kind {
        0 => FieldValue::Float(f64::from_bits(draw.bits())),
        1 => FieldValue::Integer(draw.bits().cast_signed()),
        2 => FieldValue::Unsigned(draw.bits()),
        3 => FieldValue::Boolean(draw.below(2) == 0),
        _ => {
            let letters = (0..draw.below(6)).map(|_| b"abc"[draw.below(3)]);
            FieldValue::String(letters.collect::<Vec<u8>>().into())
        }
    }
}

/// A row of few series and times, so that they meet; some times lie in far partitions. Each field
/// has one type.
pub(crate) fn any_row(draw: &mut Draw) -> Row {
    let measurement = draw.one_of(&MEASUREMENTS);
    let host = ["h0", "h1", "h2", "h3"][draw.below(4)];
    let dc = ["d0", "d1", "d2"][draw.below(3)];
    let mut tags = vec![("host", host)];
    if dc != "d0" {
        tags.push(("dc", dc));
    }
    let time = match draw.below(5) {
        0 => i64::try_from(draw.below(5)).unwrap() * WEEK_NS,
        _ => i64::try_from(draw.below(25)).unwrap() - 5,
    };
    let mut row = row(measurement, &tags, time, &[]);
    let fields = 1 + draw.below(31);
    for kind in (0..5).filter(|kind| fields >> kind & 1 == 1) {
        row.fields.push((format!("f{kind}"), any_value(kind, draw)));
    }
    row
}

/// The store of a machine.
pub(crate) fn open_with(env: &SimEnv, options: DbOptions) -> Result<Db> {
    Db::open(Arc::new(env.clone()), options)
}

/// A store, what it may hold, and how often anything failed so far.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) db: Option<Db>,
    pub(crate) env: SimEnv,
    pub(crate) model: Model,
    pub(crate) failures: usize,
    /// The last failure, in words.
    pub(crate) failure: Option<String>,
    options: DbOptions,
}

impl World {
    pub(crate) fn new(env: &SimEnv, options: DbOptions) -> World {
        let mut world = World {
            db: None,
            env: env.clone(),
            model: Model::default(),
            failures: 0,
            failure: None,
            options,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        match open_with(&self.env, self.options) {
            Ok(db) => self.db = Some(db),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &Error) {
        self.failures += 1;
        self.failure = Some(error.to_string());
    }

    fn attempt(&mut self, what: impl FnOnce(&Db) -> Result<()>) -> Result<()> {
        let outcome = match &self.db {
            Some(db) => what(db),
            None => Err(Error::new(ErrorKind::Closed, "it did not open")),
        };
        if let Err(error) = &outcome {
            self.failed(error);
        }
        outcome
    }

    fn create(&mut self, database: &str) {
        self.attempt(|db| db.create_database(database, &PolicySpec::default()))
            .ok();
    }

    pub(crate) fn write(&mut self, database: &str, rows: &[Row]) {
        let outcome = self.attempt(|db| write(db, database, rows));
        self.model.write(database, rows, &outcome);
    }

    /// Puts the process on another machine.
    fn move_to(&mut self, env: SimEnv) {
        self.env.power_off();
        self.db = None;
        self.env = env;
        self.open();
    }

    /// Does it, and notes in the model how it ended.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(database) => self.create(database),
            Op::Write(database, rows) => self.write(database, rows),
            Op::Flush => drop(self.attempt(Db::flush)),
            Op::Compact => drop(self.attempt(Db::compact)),
            Op::Steps(count) => {
                self.env.advance(Duration::from_secs(3601));
                self.env.run_steps(*count);
            }
            Op::DropMeasurement(database, measurement) => {
                let outcome =
                    self.attempt(|db| db.drop_measurement(database, measurement.as_bytes()));
                self.model.drop_where(
                    |cell| cell.0 == *database && cell.1 == *measurement,
                    &outcome,
                );
            }
            Op::DropDatabase(database) => {
                let outcome = self.attempt(|db| db.drop_database(database));
                self.model.drop_where(|cell| cell.0 == *database, &outcome);
                self.create(database);
            }
            Op::Delete(database, choice) => {
                let outcome = self.attempt(|db| delete(db, database, choice));
                let gone = |cell: &Cell| cell.0 == *database && choice.means(cell);
                self.model.drop_where(gone, &outcome);
            }
            Op::Close => {
                self.attempt(Db::close).ok();
                self.db = None;
                self.open();
            }
            Op::Kill => self.move_to(self.env.after_kill()),
            Op::Reopen => {
                self.db = None;
                self.open();
            }
            Op::Crash(choice) => {
                let mut images = self.env.crash_images(CRASH_IMAGES);
                let number = choice % images.len();
                let image = images.nth(number).unwrap();
                self.move_to(image.env);
            }
            Op::Space(bytes) => {
                let used = |env: &SimEnv| {
                    let paths = env.paths();
                    let sizes = paths
                        .iter()
                        .map(|path| env.peek(path).unwrap().len() as u64);
                    sizes.sum::<u64>()
                };
                let capacity = bytes.map(|bytes| bytes + used(&self.env));
                self.env.set_capacity(capacity);
            }
        }
    }
}
