//! Aggregates of decoded values, and of two spans that follow one another: see
//! [`WindowPartial`] for what each means.

#![expect(
    unsafe_code,
    reason = "one call of a function compiled for a newer processor"
)]

use crate::memtable::Slice;
use crate::model::{Extreme, FieldValue, FloatSum, Sum, Values, WindowPartial};

/// Sums of floats are kept in this many lanes, so that one addition need not wait for another.
const LANES: usize = 4;

/// So many magnitudes of at most so many bits stay within 63.
const SUM_PART: usize = 4096;
const SUM_BITS: u32 = 50;
/// Values that are compared before it is asked whether one was it.
const FIND_STEP: usize = 32;

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
            let (sum, extremes) = integers(&values[dense.clone()]);
            (Sum::Integer(sum), Some(extremes))
        }
        Values::Unsigned(values) => {
            let values = &values[dense.clone()];
            (Sum::Integer(integer_sum(values)), Some(extremes(values)))
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

/// Sum and places of the extremes.
fn integers(values: &[i64]) -> (i128, (usize, usize)) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions that the function is compiled to.
        return unsafe { integers_avx2(values) };
    }
    (integer_sum(values), extremes(values))
}

/// The same, four values at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn integers_avx2(values: &[i64]) -> (i128, (usize, usize)) {
    (integer_sum(values), extremes(values))
}

/// The exact sum. Words of 64 bits are added where no sum of so many can leave them.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is to be compiled once for each processor"
)]
fn integer_sum<T: Copy + Into<i128> + TryInto<i64>>(values: &[T]) -> i128 {
    let mut total = 0_i128;
    for part in values.chunks(SUM_PART) {
        let mut sum = 0_i64;
        // The bits of all magnitudes, of which the highest tells how wide the widest is.
        let mut widest = 0_i64;
        for value in part {
            let value = (*value).try_into().unwrap_or(i64::MAX);
            sum = sum.wrapping_add(value);
            widest |= value ^ (value >> 63);
        }
        total += if widest >> SUM_BITS == 0 {
            i128::from(sum)
        } else {
            part.iter().map(|value| (*value).into()).sum()
        };
    }
    total
}

/// Where the smallest and the largest value stand, the earliest of equal ones; of one at least.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is to be compiled once for each processor"
)]
fn extremes<T: Copy + Ord>(values: &[T]) -> (usize, usize) {
    let (mut min, mut max) = (values[0], values[0]);
    for value in values {
        min = min.min(*value);
        max = max.max(*value);
    }
    (first_of(values, min), first_of(values, max))
}

/// Where the first value that equals `wanted` stands; there is one. Looked for in steps, each without
/// a branch.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is to be compiled once for each processor"
)]
fn first_of<T: Copy + PartialEq>(values: &[T], wanted: T) -> usize {
    let is = |value: &T| *value == wanted;
    let steps = values.chunks(FIND_STEP);
    let has = |step: &[T]| step.iter().fold(false, |has, value| has | is(value));
    let start = steps.take_while(|step| !has(step)).count() * FIND_STEP;
    let rest = values.get(start..).unwrap_or(&[]);
    start + rest.iter().position(is).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_integers_are_exact_and_the_earliest_extreme_counts() {
        let wide = [
            i64::MAX,
            1,
            i64::MAX,
            i64::MIN,
            i64::MIN,
            1 << 49,
            -(1 << 50),
        ];
        for len in [1, 3, 7, 31, 32, 33, 100, 5000, 9000] {
            for narrow in [false, true] {
                let value = |at: usize| {
                    let wide = wide[at * 5 % wide.len()];
                    if narrow { wide >> 14 } else { wide }
                };
                let values: Vec<i64> = (0..len).map(value).collect();
                let expected: i128 = values.iter().map(|value| i128::from(*value)).sum();
                let (min, max) = (values.iter().min(), values.iter().max());
                let place = |wanted: Option<&i64>| {
                    values
                        .iter()
                        .position(|value| Some(value) == wanted)
                        .unwrap()
                };
                let (sum, extremes) = integers(&values);
                assert_eq!((sum, extremes), (expected, (place(min), place(max))));
                let unsigned: Vec<u64> = values.iter().map(|value| value.cast_unsigned()).collect();
                let expected: i128 = unsigned.iter().map(|value| i128::from(*value)).sum();
                assert_eq!(integer_sum(&unsigned), expected);
            }
        }
    }
}
