//! What can be done to a store, as values. A list of numbers stands for a list of operations, so that
//! tests draw, shrink and print numbers, and the fuzzer makes its own.

use silverback_storage::env::sim::Random;
use silverback_storage::model::{FieldValue, TimeRange};

use crate::deletes::Choice;
use crate::names::Change;
use crate::support::{Row, row};

pub(crate) const DATABASES: [&str; 2] = ["db", "other"];
pub(crate) const MEASUREMENTS: [&str; 3] = ["cpu", "mem", "disk"];

/// A week: far enough for another partition, ns.
const WEEK_NS: i64 = 604_800_000_000_000;
/// By how much a wall clock is set wrong, hours.
const CLOCK_ERRORS_H: [i64; 6] = [1, -1, 30, -30, 960, -960];

/// One thing done to a store.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(&'static str),
    Write(&'static str, Vec<Row>),
    /// Points of the policy that ages.
    WriteAging(Vec<Aging>),
    Flush,
    Compact,
    /// Background steps run, an hour later.
    Steps(usize),
    DropMeasurement(&'static str, &'static str),
    DropDatabase(&'static str),
    Delete(&'static str, Choice),
    /// The measurement of that name is changed, or refused to be.
    Alter(&'static str, &'static str, Change),
    /// Both clocks go on by so many quarters of an hour.
    Advance(u64),
    /// The wall clock alone is moved by so many hours.
    SetClock(i64),
    /// What is past its time is dropped, whatever would wait.
    Retention,
    /// The policy that ages keeps so many hours from now on.
    AlterPolicy(i64),
    /// It is dropped, and made anew.
    DropPolicy,
    /// To another machine, where it is restored and compared.
    Backup,
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

/// A point of the policy that ages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aging {
    pub(crate) host: &'static str,
    /// How many quarters of an hour old it is when it is written.
    pub(crate) age: i64,
    pub(crate) value: i64,
}

/// Draws what operations are made of.
#[derive(Clone, Debug)]
pub(crate) struct Draw(Random);

impl Draw {
    pub(crate) fn new(seed: u64) -> Draw {
        Draw(Random(seed))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.below(end as u64)).unwrap()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

impl Op {
    /// The operation that `number` stands for.
    pub(crate) fn from_number(number: u64) -> Op {
        let mut draw = Draw::new(number);
        let database = draw.one_of(&DATABASES);
        match draw.below(48) {
            0..12 => {
                let count = 1 + draw.below(29);
                Op::Write(database, (0..count).map(|_| any_row(&mut draw)).collect())
            }
            12..18 => {
                let count = 1 + draw.below(11);
                Op::WriteAging((0..count).map(|_| any_aging(&mut draw)).collect())
            }
            18..22 => Op::Flush,
            22..24 => Op::Compact,
            24 => Op::Steps(1 + draw.below(5)),
            25 => Op::DropMeasurement(database, draw.one_of(&MEASUREMENTS)),
            26 => Op::DropDatabase(database),
            27..32 => Op::Delete(database, any_choice(&mut draw)),
            32..36 => {
                let measurement = draw.one_of(&crate::names::MEASUREMENTS);
                Op::Alter(database, measurement, Change::any(&mut draw))
            }
            36..38 => Op::Advance(draw.below(12) as u64),
            38 => Op::SetClock(draw.one_of(&CLOCK_ERRORS_H)),
            39..41 => Op::Retention,
            41 => Op::AlterPolicy(draw.one_of(&[1, 2, 3, 4, 5])),
            42 => Op::DropPolicy,
            43 => Op::Backup,
            44 => Op::Close,
            45 => Op::Kill,
            _ => Op::Crash(draw.below(64)),
        }
    }
}

fn any_aging(draw: &mut Draw) -> Aging {
    Aging {
        host: draw.one_of(&["h0", "h1", "h2"]),
        age: i64::try_from(draw.below(24)).unwrap() - 4,
        value: draw.bits().cast_signed(),
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
