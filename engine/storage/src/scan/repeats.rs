//! Aggregates of values that stand in rows of equal ones: each such run is looked at once, however long it is.

use std::ops::Range;

use crate::block::Times;
use crate::codec::Repeat;
use crate::model::{FieldType, FieldWindows, FloatSum, Selected};
use crate::scan::numbers::Number;

/// Appends to `windows`, of which no more is asked for, how many rows each of `spans` has: each has a value.
pub(super) fn push_counts(windows: &mut FieldWindows, spans: &[Range<usize>]) {
    for span in spans {
        windows.push_count(span.len() as u64);
    }
}

/// Appends to `windows` an entry for each of `spans`, which are ranges of rows that ascend, have these times, and of
/// which each has a value: what `repeats` say, from row 0 on.
pub(super) fn push_repeats(
    windows: &mut FieldWindows,
    (times, repeats): (&Times, &[Repeat]),
    spans: &[Range<usize>],
) {
    // The run that the next span begins in, and its first row.
    let (mut at, mut start) = (0, 0);
    let mut own = Vec::new();
    for span in spans {
        own.clear();
        while let Some(repeat) = repeats.get(at) {
            let end = start + repeat.count;
            let rows = start.max(span.start)..end.min(span.end);
            if !rows.is_empty() {
                own.push((repeat.word, rows));
            }
            if end > span.end {
                break;
            }
            (at, start) = (at + 1, end);
        }
        push_span(windows, times, &own);
    }
}

/// Appends the entry of some words, and the rows that each of them stands in.
fn push_span(windows: &mut FieldWindows, times: &Times, words: &[(u64, Range<usize>)]) {
    let count: usize = words.iter().map(|(_, rows)| rows.len()).sum();
    windows.push_count(count as u64);
    match windows.field_type() {
        FieldType::Float => {
            if let Some(sums) = windows.float_sums() {
                let each = words
                    .iter()
                    .map(|(word, rows)| product(f64::from_bits(*word), rows.len()));
                sums.push(each.fold(FloatSum::default(), FloatSum::merge));
            }
            push_points(windows, times, words, f64::from_bits);
        }
        FieldType::Integer => {
            push_integer_sum(windows, words, |word| i128::from(word.cast_signed()));
            push_points(windows, times, words, u64::cast_signed);
        }
        FieldType::Unsigned => {
            push_integer_sum(windows, words, i128::from);
            push_points(windows, times, words, |word| word);
        }
        FieldType::Boolean | FieldType::String => unreachable!("runs are of numbers"),
    }
}

fn push_integer_sum(
    windows: &mut FieldWindows,
    words: &[(u64, Range<usize>)],
    value: impl Fn(u64) -> i128,
) {
    if let Some(sums) = windows.integer_sums() {
        let each = words
            .iter()
            .map(|(word, rows)| value(*word) * rows.len() as i128);
        sums.push(each.sum());
    }
}

/// `value` added up `count` times: the exact product in two parts, where it is finite.
///
/// # Source
/// Knuth, "The Art of Computer Programming" 2, 4.2.2, with the rounding error by a fused multiplication.
#[expect(
    clippy::cast_precision_loss,
    reason = "a column has at most 2^20 values"
)]
fn product(value: f64, count: usize) -> FloatSum {
    let count = count as f64;
    let high = value * count;
    let low = if high.is_finite() {
        value.mul_add(count, -high)
    } else {
        0.0
    };
    FloatSum { high, low }
}

/// Appends what is asked for of words, one at least.
fn push_points<T: Number>(
    windows: &mut FieldWindows,
    times: &Times,
    words: &[(u64, Range<usize>)],
    value: impl Fn(u64) -> T,
) {
    let mut values: Vec<T> = Vec::new();
    for selected in Selected::ALL {
        if !windows.keeps(selected) {
            continue;
        }
        let is_extreme = matches!(selected, Selected::Min | Selected::Max);
        if is_extreme && values.is_empty() {
            values.extend(words.iter().map(|(word, _)| value(*word)));
        }
        // The earliest of equal runs is the one whose first row is the earliest of equal values.
        let place = match selected {
            Selected::Min => T::least(&values),
            Selected::Max => T::largest(&values),
            Selected::First => 0,
            Selected::Last => words.len() - 1,
        };
        let (word, rows) = &words[place];
        let row = if selected == Selected::Last {
            rows.end - 1
        } else {
            rows.start
        };
        windows.push_word(selected, times.get(row), *word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "what is scaled is whole")]
    fn a_product_is_exact_in_two_parts() {
        // 0.1 is 3602879701896397 * 2^-55.
        let (value, count) = (0.1, 7);
        let FloatSum { high, low } = product(value, count);
        let scaled = |value: f64| (value * f64::from(1 << 30) * f64::from(1 << 30)) as i128;
        assert_eq!(scaled(high) + scaled(low), 7 * 3_602_879_701_896_397 * 32);
        assert!(low != 0.0);
        let bits = |sum: FloatSum| sum.value().to_bits();
        let sum = (0..count).fold(FloatSum::default(), |sum, _| sum.plus(value));
        assert_eq!(bits(sum), bits(product(value, count)));
        for odd in [f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
            assert_eq!(bits(product(odd, 2)), (odd * 2.0).to_bits());
        }
        assert!(product(f64::NAN, 2).value().is_nan());
    }
}
