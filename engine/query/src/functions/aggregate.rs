//! Aggregates and selectors: many points of one window to one, or to few.

mod totals;
mod windows;

use std::cmp::Ordering;

use silverback_storage::model::{FieldType, FieldValue, Sum};

pub use crate::functions::aggregate::totals::Totals;
use crate::functions::arithmetic::integer;
use crate::functions::chosen::Chosen;
use crate::functions::kept::Kept;
use crate::functions::{Point, as_float};

/// A function of the points of one window.
#[derive(Clone, Debug, PartialEq)]
pub enum Aggregate {
    /// How many.
    Count,
    /// Their sum; integers stay integers and wrap.
    Sum,
    /// Their mean, a float.
    Mean,
    /// The smallest; the earliest of equal ones.
    Min,
    /// The largest; the earliest of equal ones.
    Max,
    /// The earliest; the largest of those at one time.
    First,
    /// The latest; the largest of those at one time.
    Last,
    /// Largest less smallest; keeps the type.
    Spread,
    /// Standard deviation of a sample; of one point none.
    Stddev,
    /// The middle, or the mean of the two in the middle; a float.
    Median,
    /// The most frequent; of equally frequent ones the earliest first seen.
    Mode,
    /// The point at rank `floor(count * percent / 100 + 0.5) - 1`, or none.
    Percentile(f64),
    /// Each value once, as they come.
    Distinct,
    /// How many different values.
    CountDistinct,
    /// The largest few, in order of time.
    Top {
        /// How many.
        count: usize,
        /// Only the best point for each combination of these companions counts.
        by: Vec<usize>,
    },
    /// The smallest few, in order of time.
    Bottom {
        /// As for `Top`.
        count: usize,
        /// As for `Top`.
        by: Vec<usize>,
    },
    /// A few at random, in order of time.
    Sample(usize),
}

impl Aggregate {
    /// The function's name.
    pub fn name(&self) -> &'static str {
        match self {
            Aggregate::Count | Aggregate::CountDistinct => "count",
            Aggregate::Sum => "sum",
            Aggregate::Mean => "mean",
            Aggregate::Min => "min",
            Aggregate::Max => "max",
            Aggregate::First => "first",
            Aggregate::Last => "last",
            Aggregate::Spread => "spread",
            Aggregate::Stddev => "stddev",
            Aggregate::Median => "median",
            Aggregate::Mode => "mode",
            Aggregate::Percentile(_) => "percentile",
            Aggregate::Distinct => "distinct",
            Aggregate::Top { .. } => "top",
            Aggregate::Bottom { .. } => "bottom",
            Aggregate::Sample(_) => "sample",
        }
    }

    /// Whether what it gives is one of the points, with its time and companions.
    pub fn is_selector(&self) -> bool {
        match self {
            Aggregate::Min
            | Aggregate::Max
            | Aggregate::First
            | Aggregate::Last
            | Aggregate::Percentile(_)
            | Aggregate::Top { .. }
            | Aggregate::Bottom { .. }
            | Aggregate::Sample(_) => true,
            Aggregate::Count
            | Aggregate::CountDistinct
            | Aggregate::Sum
            | Aggregate::Mean
            | Aggregate::Spread
            | Aggregate::Stddev
            | Aggregate::Median
            | Aggregate::Mode
            | Aggregate::Distinct => false,
        }
    }

    /// Whether its points keep their own times inside a window.
    pub fn keeps_times(&self) -> bool {
        matches!(
            self,
            Aggregate::Top { .. } | Aggregate::Bottom { .. } | Aggregate::Sample(_)
        )
    }

    /// Whether aggregates of its points, known apart, hold all it needs.
    pub fn is_partial(&self) -> bool {
        self.wanted().is_some()
    }

    /// Whether it takes values of this type.
    pub fn takes(&self, field_type: FieldType) -> bool {
        let number = matches!(
            field_type,
            FieldType::Float | FieldType::Integer | FieldType::Unsigned
        );
        match self {
            Aggregate::Count
            | Aggregate::CountDistinct
            | Aggregate::Distinct
            | Aggregate::First
            | Aggregate::Last
            | Aggregate::Mode
            | Aggregate::Sample(_) => true,
            Aggregate::Min | Aggregate::Max => number || field_type == FieldType::Boolean,
            Aggregate::Sum
            | Aggregate::Mean
            | Aggregate::Spread
            | Aggregate::Stddev
            | Aggregate::Median
            | Aggregate::Percentile(_)
            | Aggregate::Top { .. }
            | Aggregate::Bottom { .. } => number,
        }
    }

    /// The type of what it gives for values of type `input`.
    pub fn output_type(&self, input: FieldType) -> FieldType {
        match self {
            Aggregate::Count | Aggregate::CountDistinct => FieldType::Integer,
            Aggregate::Mean | Aggregate::Median | Aggregate::Stddev => FieldType::Float,
            Aggregate::Sum
            | Aggregate::Min
            | Aggregate::Max
            | Aggregate::First
            | Aggregate::Last
            | Aggregate::Spread
            | Aggregate::Mode
            | Aggregate::Percentile(_)
            | Aggregate::Distinct
            | Aggregate::Top { .. }
            | Aggregate::Bottom { .. }
            | Aggregate::Sample(_) => input,
        }
    }

    /// The state before the first point of a window.
    pub fn start(&self) -> Accumulator {
        match self {
            Aggregate::Min | Aggregate::Max | Aggregate::First | Aggregate::Last => {
                Accumulator::Selected(None)
            }
            Aggregate::Count | Aggregate::Sum | Aggregate::Mean | Aggregate::Spread => {
                Accumulator::Totals(None)
            }
            Aggregate::Stddev => Accumulator::Deviation(Deviation::default()),
            Aggregate::Median
            | Aggregate::Mode
            | Aggregate::Percentile(_)
            | Aggregate::Distinct
            | Aggregate::CountDistinct => Accumulator::Kept(Kept::default()),
            Aggregate::Top { .. } | Aggregate::Bottom { .. } | Aggregate::Sample(_) => {
                Accumulator::Chosen(Chosen::default())
            }
        }
    }
}

/// What is known of the points of a window so far.
#[derive(Clone, Debug)]
pub enum Accumulator {
    /// The point that would be selected.
    Selected(Option<Point>),
    /// Count, sum and extremes.
    Totals(Option<Box<Totals>>),
    /// Running mean and squares.
    Deviation(Deviation),
    /// All points.
    Kept(Kept),
    /// The best few.
    Chosen(Chosen),
}

impl Accumulator {
    /// Whether a point that stands in `row` may change the result: if not, it need not be pushed.
    pub fn wants(
        &self,
        function: &Aggregate,
        (timestamp, value): (i64, &FieldValue),
        row: &[Option<FieldValue>],
    ) -> bool {
        match self {
            Accumulator::Selected(Some(best)) => prefers(function, (timestamp, value), best),
            Accumulator::Chosen(chosen) => chosen.wants(function, (timestamp, value), row),
            Accumulator::Selected(None)
            | Accumulator::Totals(_)
            | Accumulator::Deviation(_)
            | Accumulator::Kept(_) => true,
        }
    }

    /// Takes one more point.
    pub fn push(&mut self, function: &Aggregate, point: Point) {
        match self {
            Accumulator::Selected(best) => {
                if best
                    .as_ref()
                    .is_none_or(|best| prefers(function, (point.timestamp, &point.value), best))
                {
                    *best = Some(point);
                }
            }
            Accumulator::Totals(totals) => totals.get_or_insert_default().push(&point),
            Accumulator::Deviation(deviation) => {
                if let Some(value) = as_float(&point.value) {
                    deviation.push(point.timestamp, value);
                }
            }
            Accumulator::Kept(kept) => kept.push(function, point),
            Accumulator::Chosen(chosen) => chosen.push(function, point),
        }
    }

    /// What the window gives: one point, few in order of time, or none. A standard deviation of
    /// one point is a NaN, shown as null.
    pub fn finish(self, function: &Aggregate) -> Vec<Point> {
        match self {
            Accumulator::Selected(best) => best.into_iter().collect(),
            Accumulator::Totals(totals) => totals
                .and_then(|totals| totals.finish(function))
                .into_iter()
                .collect(),
            Accumulator::Deviation(deviation) => deviation.finish().into_iter().collect(),
            Accumulator::Kept(kept) => kept.finish(function),
            Accumulator::Chosen(chosen) => chosen.finish(function),
        }
    }

    /// Memory it holds beyond its own size, in bytes, about.
    pub fn size_bytes(&self) -> usize {
        match self {
            Accumulator::Selected(_) | Accumulator::Deviation(_) => 0,
            Accumulator::Totals(_) => size_of::<Totals>(),
            Accumulator::Kept(kept) => kept.size_bytes(),
            Accumulator::Chosen(chosen) => chosen.size_bytes(),
        }
    }
}

/// Whether a selector would rather have the time and value `new` than those it has.
fn prefers(function: &Aggregate, new: (i64, &FieldValue), old: &Point) -> bool {
    let (timestamp, value) = new;
    let by_value = compare(value, &old.value);
    let by_time = timestamp.cmp(&old.timestamp);
    match function {
        Aggregate::Min => by_value.then(by_time).is_lt(),
        Aggregate::Max if nan(value) || nan(&old.value) => nan(&old.value) && !nan(value),
        Aggregate::Max => by_value.reverse().then(by_time).is_lt(),
        Aggregate::First => by_time.then(by_value.reverse()).is_lt(),
        Aggregate::Last
        | Aggregate::Count
        | Aggregate::Sum
        | Aggregate::Mean
        | Aggregate::Spread
        | Aggregate::Stddev
        | Aggregate::Median
        | Aggregate::Mode
        | Aggregate::Percentile(_)
        | Aggregate::Distinct
        | Aggregate::CountDistinct
        | Aggregate::Top { .. }
        | Aggregate::Bottom { .. }
        | Aggregate::Sample(_) => by_time.reverse().then(by_value.reverse()).is_lt(),
    }
}

/// A total order of values of one type. A NaN stands above all numbers, so that it is a minimum
/// only where there is nothing else.
pub fn compare(left: &FieldValue, right: &FieldValue) -> Ordering {
    match (left, right) {
        (FieldValue::Integer(left), FieldValue::Integer(right)) => left.cmp(right),
        (FieldValue::Unsigned(left), FieldValue::Unsigned(right)) => left.cmp(right),
        (FieldValue::Boolean(left), FieldValue::Boolean(right)) => left.cmp(right),
        (FieldValue::String(left), FieldValue::String(right)) => left.cmp(right),
        _ => {
            let (left, right) = (as_float(left), as_float(right));
            match left.partial_cmp(&right) {
                Some(order) => order,
                None => is_nan(left).cmp(&is_nan(right)),
            }
        }
    }
}

fn is_nan(value: Option<f64>) -> bool {
    value.is_some_and(f64::is_nan)
}

fn nan(value: &FieldValue) -> bool {
    matches!(value, FieldValue::Float(value) if value.is_nan())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of integers wraps, as InfluxDB's does"
)]
fn sum_value(sum: Sum, field_type: FieldType) -> Option<FieldValue> {
    match sum {
        Sum::Float(sum) => Some(FieldValue::Float(sum.value())),
        Sum::Integer(sum) if field_type == FieldType::Unsigned => {
            Some(FieldValue::Unsigned(sum as u64))
        }
        Sum::Integer(sum) => Some(FieldValue::Integer(sum as i64)),
        Sum::None => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mean is a float, and as near as one can be"
)]
fn mean_value(sum: Sum, count: u64) -> Option<FieldValue> {
    let sum = match sum {
        Sum::Float(sum) => sum.value(),
        Sum::Integer(sum) => sum as f64,
        Sum::None => return None,
    };
    Some(FieldValue::Float(sum / count as f64))
}

/// `larger - smaller` in their own type.
fn difference(larger: &FieldValue, smaller: &FieldValue) -> Option<FieldValue> {
    match (larger, smaller) {
        (FieldValue::Float(a), FieldValue::Float(b)) => Some(FieldValue::Float(a - b)),
        (FieldValue::Integer(a), FieldValue::Integer(b)) => {
            Some(FieldValue::Integer(a.wrapping_sub(*b)))
        }
        (FieldValue::Unsigned(a), FieldValue::Unsigned(b)) => {
            Some(FieldValue::Unsigned(a.wrapping_sub(*b)))
        }
        (FieldValue::Integer(a), FieldValue::Unsigned(b)) => {
            Some(integer(i128::from(*a) - i128::from(*b)))
        }
        _ => None,
    }
}

/// Mean and sum of squared differences from it, as values come.
///
/// # Source
/// Welford 1962, "Note on a method for calculating corrected sums of squares and products".
#[derive(Clone, Copy, Debug, Default)]
pub struct Deviation {
    count: u64,
    mean: f64,
    squares: f64,
    first: i64,
}

impl Deviation {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of points is far below 2^53"
    )]
    fn push(&mut self, timestamp: i64, value: f64) {
        if self.count == 0 {
            self.first = timestamp;
        }
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of points is far below 2^53"
    )]
    fn finish(self) -> Option<Point> {
        let value = match self.count {
            0 => return None,
            1 => f64::NAN,
            count => (self.squares / (count - 1) as f64).sqrt(),
        };
        Some(Point::new(self.first, FieldValue::Float(value)))
    }
}

#[cfg(test)]
mod tests;
