//! Sums and extremes of decoded values, each on its own: who asks for one does not pay for others.

#![expect(
    unsafe_code,
    reason = "calls of functions compiled for a newer processor"
)]

use crate::model::FloatSum;

/// Sums of floats are kept in this many lanes, so that one addition need not wait for another.
const LANES: usize = 4;

/// So many magnitudes of at most so many bits stay within 63.
const SUM_PART: usize = 4096;
const SUM_BITS: u32 = 50;

/// Values that are compared before it is asked whether one was it.
const FIND_STEP: usize = 32;

/// Fewer values than this are not worth the call of a function for a newer processor.
const WIDE_MIN: usize = 16;

/// Values that have an order. Extremes are given by their place among `values`, of which there is one
/// at least; of equal ones it is the earliest.
pub(super) trait Number: Copy {
    /// Where the smallest value stands. A NaN is none unless all are.
    fn least(values: &[Self]) -> usize;

    /// Where the largest value stands. A NaN is none unless all are.
    fn largest(values: &[Self]) -> usize;

    /// The value's bits.
    fn word(self) -> u64;
}

impl Number for i64 {
    fn least(values: &[i64]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if is_wide(values) {
            // SAFETY: the processor has the instructions that the function is compiled to.
            return unsafe { least_avx2(values) };
        }
        least(values)
    }

    fn largest(values: &[i64]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if is_wide(values) {
            // SAFETY: as above.
            return unsafe { largest_avx2(values) };
        }
        largest(values)
    }

    fn word(self) -> u64 {
        self.cast_unsigned()
    }
}

impl Number for u64 {
    fn least(values: &[u64]) -> usize {
        least(values)
    }

    fn largest(values: &[u64]) -> usize {
        largest(values)
    }

    fn word(self) -> u64 {
        self
    }
}

impl Number for bool {
    fn least(values: &[bool]) -> usize {
        least(values)
    }

    fn largest(values: &[bool]) -> usize {
        largest(values)
    }

    fn word(self) -> u64 {
        u64::from(self)
    }
}

impl Number for f64 {
    fn least(values: &[f64]) -> usize {
        // A comparison with a NaN is false: it changes nothing.
        let less = |least: f64, value: &f64| if *value < least { *value } else { least };
        float_place(values, values.iter().fold(f64::INFINITY, less))
    }

    fn largest(values: &[f64]) -> usize {
        let more = |most: f64, value: &f64| if *value > most { *value } else { most };
        float_place(values, values.iter().fold(f64::NEG_INFINITY, more))
    }

    fn word(self) -> u64 {
        self.to_bits()
    }
}

/// Where the first value that equals `wanted` stands, by comparison: 0.0 is -0.0. Where all are NaN
/// nothing is found and the earliest is given.
#[expect(
    clippy::float_cmp,
    reason = "the value looked for is one of those compared"
)]
fn float_place(values: &[f64], wanted: f64) -> usize {
    let found = values.iter().position(|value| *value == wanted);
    found.unwrap_or(0)
}

/// Whether a function for a newer processor is there and worth its call.
#[cfg(target_arch = "x86_64")]
fn is_wide(values: &[i64]) -> bool {
    values.len() >= WIDE_MIN && std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn least_avx2(values: &[i64]) -> usize {
    least(values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn largest_avx2(values: &[i64]) -> usize {
    largest(values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(values: &[i64]) -> i128 {
    exact_sum(values)
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is to be compiled once for each processor"
)]
fn least<T: Copy + Ord>(values: &[T]) -> usize {
    let least = |least: T, value: &T| least.min(*value);
    first_of(values, values.iter().fold(values[0], least))
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is to be compiled once for each processor"
)]
fn largest<T: Copy + Ord>(values: &[T]) -> usize {
    let largest = |largest: T, value: &T| largest.max(*value);
    first_of(values, values.iter().fold(values[0], largest))
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

/// The exact sum.
pub(super) fn integer_sum(values: &[i64]) -> i128 {
    #[cfg(target_arch = "x86_64")]
    if is_wide(values) {
        // SAFETY: the processor has the instructions that the function is compiled to.
        return unsafe { sum_avx2(values) };
    }
    exact_sum(values)
}

/// The exact sum.
pub(super) fn unsigned_sum(values: &[u64]) -> i128 {
    exact_sum(values)
}

/// The exact sum. Words of 64 bits are added where no sum of so many can leave them.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is to be compiled once for each processor"
)]
fn exact_sum<T: Copy + Into<i128> + TryInto<i64>>(values: &[T]) -> i128 {
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

/// The sum of `values`, compensated: lanes of high parts, and all that rounding left.
///
/// # Source
/// Knuth, "The Art of Computer Programming" 2, 4.2.2: the rest of a sum of two, exact.
pub(super) fn float_sum(values: &[f64]) -> FloatSum {
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
                assert_eq!(integer_sum(&values), expected);
                let extremes = (i64::least(&values), i64::largest(&values));
                assert_eq!(extremes, (place(min), place(max)));
                let unsigned: Vec<u64> = values.iter().map(|value| value.cast_unsigned()).collect();
                let expected: i128 = unsigned.iter().map(|value| i128::from(*value)).sum();
                assert_eq!(unsigned_sum(&unsigned), expected);
            }
        }
    }
}
