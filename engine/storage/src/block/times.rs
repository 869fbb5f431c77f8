//! The times of consecutive rows of one series: one after another, or as an even step that they follow.

use std::ops::Range;

/// Times of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Times {
    /// Each a step behind the one before.
    Even {
        /// The first, ns UTC.
        first: i64,
        /// From each to the next, ns.
        step: i64,
        /// How many there are.
        count: usize,
    },
    /// One after another.
    Each(Vec<i64>),
}

impl Times {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Times::Even { count, .. } => *count,
            Times::Each(times) => times.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time `row`.
    ///
    /// # Panics
    /// If there are not that many, where they stand one after another.
    #[inline]
    pub fn get(&self, row: usize) -> i64 {
        match self {
            Times::Even { first, step, .. } => {
                first.wrapping_add(step.wrapping_mul(row.cast_signed() as i64))
            }
            Times::Each(times) => times[row],
        }
    }

    /// Whether each is later than the one before, and all are times.
    pub(super) fn ascend(&self) -> bool {
        match self {
            Times::Even { count: 0 | 1, .. } => true,
            Times::Even { first, step, count } => {
                let last = i128::from(*first) + i128::from(*step) * (*count as i128 - 1);
                *step > 0 && i64::try_from(last).is_ok()
            }
            Times::Each(times) => times.is_sorted_by(|a, b| a < b),
        }
    }

    /// How many from row `from` on lie below `end`, where they ascend. Costs a division, or the logarithm of what
    /// it gives.
    pub fn count_below(&self, from: usize, end: i64) -> usize {
        match self {
            Times::Even { step, count, .. } => {
                let next = self.get(from);
                if from >= *count || next >= end {
                    return 0;
                }
                let steps = (end.abs_diff(next) - 1) / step.unsigned_abs().max(1);
                let below =
                    usize::try_from(steps).map_or(usize::MAX, |steps| steps.saturating_add(1));
                below.min(count - from)
            }
            Times::Each(times) => {
                let times = times.get(from..).unwrap_or(&[]);
                let mut step = 1;
                while times.get(step).is_some_and(|time| *time < end) {
                    step *= 2;
                }
                let (low, high) = (step / 2, times.len().min(step));
                low + times[low..high].partition_point(|time| *time < end)
            }
        }
    }

    /// Leaves out all but `rows`.
    ///
    /// # Panics
    /// If there are not that many.
    pub(super) fn keep(&mut self, rows: Range<usize>) {
        assert!(rows.end <= self.len(), "{rows:?} of {}", self.len());
        let start = if rows.is_empty() {
            0
        } else {
            self.get(rows.start)
        };
        match self {
            Times::Even { first, count, .. } => {
                *first = start;
                *count = rows.len();
            }
            Times::Each(times) => {
                times.truncate(rows.end);
                times.drain(..rows.start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_even_step_means_the_times_that_it_makes(
            first in prop_oneof![-50..50_i64, Just(i64::MIN), Just(i64::MAX - 9)],
            step in prop_oneof![1..9_i64, Just(i64::MAX), -2..1_i64],
            count in 0..6_usize,
            from in 0..7_usize,
            end in prop_oneof![-60..120_i64, Just(i64::MAX), Just(i64::MIN)],
        ) {
            let even = Times::Even { first, step, count };
            let time = |row: usize| i128::from(first) + i128::from(step) * row as i128;
            let each: Option<Vec<i64>> = (0..count).map(|row| i64::try_from(time(row)).ok()).collect();
            let each = each.map(Times::Each);
            prop_assert_eq!(even.ascend(), each.as_ref().is_some_and(Times::ascend));
            let Some(each) = each.filter(Times::ascend) else { return Ok(()) };
            prop_assert_eq!((even.len(), even.is_empty()), (each.len(), count == 0));
            for row in 0..count {
                prop_assert_eq!(even.get(row), each.get(row));
            }
            let below = (from..count).filter(|row| each.get(*row) < end).count();
            prop_assert_eq!(even.count_below(from, end), below);
            prop_assert_eq!(each.count_below(from, end), below);
            let rows = from.min(count)..count;
            let (mut one, mut other) = (even, each);
            one.keep(rows.clone());
            other.keep(rows.clone());
            prop_assert_eq!((one.len(), other.len()), (rows.len(), rows.len()));
            prop_assert!((0..rows.len()).all(|row| one.get(row) == other.get(row)));
        }
    }
}
