//! Aggregates of decoded values, and of two spans that follow one another: see
//! [`WindowPartial`] for what each means.

use crate::memtable::Slice;
use crate::model::{Extreme, FieldValue, FloatSum, Sum, Values, WindowPartial};

/// Sums of floats are kept in this many lanes, so that one addition need not wait for another.
const LANES: usize = 4;

/// The aggregates of the values of `slice`, whose rows have these `timestamps`, ascending; `None`
/// where there is no value.
pub(crate) fn partial(timestamps: &[i64], slice: &Slice<'_>) -> Option<WindowPartial> {
    let values = &slice.column?.values;
    let dense = slice.dense.clone();
    let last = dense.len().checked_sub(1)?;
    let (sum, extremes) = match values {
        Values::Float(values) => {
            let values = &values[dense.clone()];
            (Sum::Float(float_sum(values)), Some(float_extremes(values)))
        }
        Values::Integer(values) => {
            let values = &values[dense.clone()];
            let sum = values.iter().map(|value| i128::from(*value)).sum();
            (Sum::Integer(sum), Some(extremes(values)))
        }
        Values::Unsigned(values) => {
            let values = &values[dense.clone()];
            let sum = values.iter().map(|value| i128::from(*value)).sum();
            (Sum::Integer(sum), Some(extremes(values)))
        }
        Values::Boolean(values) => (Sum::None, Some(extremes(&values[dense.clone()]))),
        Values::String(_) => (Sum::None, None),
    };
    let extreme = |index: usize| Extreme {
        value: values.get(dense.start + index),
        timestamp: timestamps[slice.row_of(index)],
    };
    Some(WindowPartial {
        count: dense.len() as u64,
        sum,
        min: extremes.map(|(min, _)| extreme(min)),
        max: extremes.map(|(_, max)| extreme(max)),
        first: extreme(0),
        last: extreme(last),
    })
}

/// Adds to `own` the aggregates of a later span of the same field.
pub(super) fn extend(own: &mut WindowPartial, later: WindowPartial) {
    own.count += later.count;
    own.sum = match (own.sum, later.sum) {
        (Sum::Float(one), Sum::Float(other)) => Sum::Float(one.merge(other)),
        (Sum::Integer(one), Sum::Integer(other)) => Sum::Integer(one + other),
        (Sum::None, Sum::None) => Sum::None,
        (Sum::Float(_) | Sum::Integer(_) | Sum::None, _) => {
            unreachable!("a field has one type")
        }
    };
    own.last = later.last;
    replace(&mut own.min, later.min, |one, other| below(other, one));
    replace(&mut own.max, later.max, below);
}

/// Puts `later` in the place of `own` where it is strictly better, or `own` is a NaN.
fn replace(
    own: &mut Option<Extreme>,
    later: Option<Extreme>,
    better: impl Fn(&FieldValue, &FieldValue) -> bool,
) {
    if let (Some(old), Some(new)) = (&*own, &later)
        && (better(&old.value, &new.value) || is_nan(&old.value) && !is_nan(&new.value))
    {
        *own = later;
    }
}

fn is_nan(value: &FieldValue) -> bool {
    matches!(value, FieldValue::Float(value) if value.is_nan())
}

/// Whether `one` lies below `other`, both of one type.
fn below(one: &FieldValue, other: &FieldValue) -> bool {
    match (one, other) {
        (FieldValue::Float(one), FieldValue::Float(other)) => one < other,
        (FieldValue::Integer(one), FieldValue::Integer(other)) => one < other,
        (FieldValue::Unsigned(one), FieldValue::Unsigned(other)) => one < other,
        (FieldValue::Boolean(one), FieldValue::Boolean(other)) => one < other,
        (one, other) => unreachable!("{one:?} and {other:?} have no order"),
    }
}

/// Where the smallest and the largest value stand, the earliest of equal ones; of one at least.
fn extremes<T: Copy + Ord>(values: &[T]) -> (usize, usize) {
    let (mut min, mut max) = (values[0], values[0]);
    for value in values {
        min = min.min(*value);
        max = max.max(*value);
    }
    let find = |wanted| values.iter().position(|value| *value == wanted);
    (find(min).unwrap_or(0), find(max).unwrap_or(0))
}

/// As [`extremes`]; a NaN is none unless all are. Equal by comparison: 0.0 is -0.0.
#[expect(
    clippy::float_cmp,
    reason = "the value looked for is one of those compared"
)]
fn float_extremes(values: &[f64]) -> (usize, usize) {
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        // A comparison with a NaN is false: it changes nothing.
        min = if *value < min { *value } else { min };
        max = if *value > max { *value } else { max };
    }
    // Where all are NaN nothing is found and the earliest stands for both.
    let find = |wanted| values.iter().position(|value| *value == wanted);
    (find(min).unwrap_or(0), find(max).unwrap_or(0))
}

/// The sum of `values`, compensated: lanes of high parts, and all that rounding left.
///
/// # Source
/// Knuth, "The Art of Computer Programming" 2, 4.2.2: the rest of a sum of two, exact.
fn float_sum(values: &[f64]) -> FloatSum {
    let mut high = [0.0_f64; LANES];
    let mut low = [0.0_f64; LANES];
    let steps = values.chunks_exact(LANES);
    let rest = steps.remainder();
    for step in steps {
        for lane in 0..LANES {
            let (sum, left) = two_sum(high[lane], step[lane]);
            high[lane] = sum;
            low[lane] += left;
        }
    }
    let mut total = FloatSum::default();
    for (high, low) in high.into_iter().zip(low) {
        // Once a lane has left the finite numbers its rest means nothing.
        let low = if high.is_finite() { low } else { 0.0 };
        total = total.merge(FloatSum { high, low });
    }
    rest.iter().fold(total, |total, value| total.plus(*value))
}

#[inline]
fn two_sum(one: f64, other: f64) -> (f64, f64) {
    let sum = one + other;
    let part = sum - one;
    (sum, (one - (sum - part)) + (other - part))
}
