//! Where each row goes when rows are sorted by series and time. Knows nothing of fields.

use crate::model::SeriesId;

/// Digits of a radix sort, in bits: counters of 2,048 digits stay in a core's first cache.
const DIGIT_BITS: u32 = 11;

/// Below this many rows the sort by comparison is faster.
const RADIX_ROWS_MIN: usize = 256;

/// Where rows go when they are sorted by (series, time), those of one series and time to one place.
#[derive(Debug)]
pub(super) struct Places {
    /// For each row, its place.
    pub(super) of_rows: Vec<u32>,
    /// How many places there are.
    pub(super) count: usize,
}

impl Places {
    /// The places of rows of these series and times.
    ///
    /// Cost: where series, time and row number fit 64 bits together (nearly always: times are
    /// mostly whole seconds or milliseconds) a radix sort of integers, else a sort of triples.
    ///
    /// # Panics
    /// If there are 2^32 rows or more.
    pub(super) fn of(series: &[SeriesId], timestamps: &[i64]) -> Places {
        assert_eq!(series.len(), timestamps.len(), "one time per row");
        let count = u32::try_from(series.len()).expect("a run has fewer than 2^32 rows");
        let Some(packing) = Packing::of(series, timestamps, count) else {
            return Places::wide(series, timestamps, count);
        };
        let mut keys: Vec<u64> = match packing.unit {
            Unit::Second => packing.keys::<1_000_000_000>(series, timestamps),
            Unit::Millisecond => packing.keys::<1_000_000>(series, timestamps),
            Unit::Nanosecond => packing.keys::<1>(series, timestamps),
        };
        if keys.len() < RADIX_ROWS_MIN {
            keys.sort_unstable();
        } else {
            let width = packing.series_bits + packing.time_bits;
            keys = radix_sort(keys, packing.index_bits, width);
        }
        let mask = mask(packing.index_bits);
        let row = |key: u64| u32::try_from(key & mask).expect("the mask leaves a row number");
        Places::of_sorted(keys.iter().map(|key| (key & !mask, row(*key))))
    }

    /// As [`Places::of`] without packing: for spans of time and series that do not fit one word.
    fn wide(series: &[SeriesId], timestamps: &[i64], count: u32) -> Places {
        let keys = series.iter().zip(timestamps);
        let mut keys: Vec<_> = keys.zip(0..count).collect();
        keys.sort_unstable();
        Places::of_sorted(keys.into_iter())
    }

    /// The places of rows that come in order of their keys.
    fn of_sorted<K: Copy + PartialEq>(rows: impl ExactSizeIterator<Item = (K, u32)>) -> Places {
        let mut of_rows = vec![0; rows.len()];
        let mut next = 0;
        let mut last = None;
        for (key, row) in rows {
            next += u32::from(last != Some(key));
            last = Some(key);
            of_rows[row as usize] = next - 1;
        }
        Places {
            of_rows,
            count: next as usize,
        }
    }
}

/// `keys` sorted by the `width` bits from bit `low` on, equal ones as they came: the lowest digit
/// first. A digit that all keys share costs nothing.
fn radix_sort(mut keys: Vec<u64>, low: u32, width: u32) -> Vec<u64> {
    let digits: usize = 1 << DIGIT_BITS;
    let passes: Vec<u32> = (low..low + width).step_by(DIGIT_BITS as usize).collect();
    let digit = |key: u64, shift: u32| usize::try_from(key >> shift & mask(DIGIT_BITS));
    let digit = |key, shift| digit(key, shift).expect("a digit is short");
    let mut starts = vec![0_u32; digits * passes.len()];
    for key in &keys {
        for (starts, shift) in starts.chunks_exact_mut(digits).zip(&passes) {
            starts[digit(*key, *shift)] += 1;
        }
    }
    let count = u32::try_from(keys.len()).expect("fewer than 2^32 rows");
    let mut sorted = vec![0_u64; keys.len()];
    for (starts, shift) in starts.chunks_exact_mut(digits).zip(&passes) {
        if starts[digit(keys[0], *shift)] == count {
            continue;
        }
        let mut next = 0;
        for start in starts.iter_mut() {
            let own = *start;
            *start = next;
            next += own;
        }
        for key in &keys {
            let start = &mut starts[digit(*key, *shift)];
            sorted[*start as usize] = *key;
            *start += 1;
        }
        std::mem::swap(&mut keys, &mut sorted);
    }
    keys
}

/// Whether rows ascend strictly by (series, time): sorted, and no two of one series and time.
pub(super) fn ascends(series: &[SeriesId], timestamps: &[i64]) -> bool {
    let later = series.iter().zip(timestamps).skip(1);
    series
        .iter()
        .zip(timestamps)
        .zip(later)
        .all(|(one, next)| one < next)
}

#[derive(Clone, Copy)]
enum Unit {
    Second,
    Millisecond,
    Nanosecond,
}

/// How a row's series, time and number share one word: series highest, number lowest.
struct Packing {
    series_min: u64,
    time_min: i64,
    unit: Unit,
    series_bits: u32,
    time_bits: u32,
    index_bits: u32,
}

impl Packing {
    /// The packing of these rows, or `None` where 64 bits do not hold it.
    fn of(series: &[SeriesId], timestamps: &[i64], count: u32) -> Option<Packing> {
        let series_min = series.iter().min()?.0;
        let series_bits = bits(series.iter().max()?.0 - series_min);
        let time_min = *timestamps.iter().min()?;
        let time_span = offset(*timestamps.iter().max()?, time_min);
        let index_bits = bits(u64::from(count));
        let left = 64_u32.checked_sub(series_bits + index_bits)?;
        // The coarsest unit that loses nothing: fewer bits are fewer passes of the sort.
        let (unit, span) = if whole::<1_000_000_000>(timestamps, time_min) {
            (Unit::Second, time_span / 1_000_000_000)
        } else if whole::<1_000_000>(timestamps, time_min) {
            (Unit::Millisecond, time_span / 1_000_000)
        } else {
            (Unit::Nanosecond, time_span)
        };
        (bits(span) <= left).then_some(Packing {
            series_min,
            time_min,
            unit,
            series_bits,
            time_bits: bits(span),
            index_bits,
        })
    }

    fn keys<const UNIT: u64>(&self, series: &[SeriesId], timestamps: &[i64]) -> Vec<u64> {
        let shift = self.time_bits + self.index_bits;
        series
            .iter()
            .zip(timestamps)
            .zip(0_u64..)
            .map(|((series, time), row)| {
                // A shift by all 64 bits only happens where there is one series: its offset is 0.
                let high = (series.0 - self.series_min).checked_shl(shift).unwrap_or(0);
                let time = offset(*time, self.time_min) / UNIT;
                high | time.checked_shl(self.index_bits).unwrap_or(0) | row
            })
            .collect()
    }
}

/// Whether all times are whole multiples of `UNIT` behind `time_min`.
fn whole<const UNIT: u64>(timestamps: &[i64], time_min: i64) -> bool {
    timestamps
        .iter()
        .all(|time| offset(*time, time_min).is_multiple_of(UNIT))
}

/// How far `time` lies behind `time_min`, which is not later.
fn offset(time: i64, time_min: i64) -> u64 {
    time.wrapping_sub(time_min).cast_unsigned()
}

fn bits(value: u64) -> u32 {
    64 - value.leading_zeros()
}

fn mask(bits: u32) -> u64 {
    1_u64.checked_shl(bits).map_or(u64::MAX, |above| above - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TIMESTAMP_MAX, TIMESTAMP_MIN};
    use proptest::prelude::*;

    fn check(rows: &[(u64, i64)]) {
        let series: Vec<SeriesId> = rows.iter().map(|(series, _)| SeriesId(*series)).collect();
        let times: Vec<i64> = rows.iter().map(|(_, time)| *time).collect();
        let mut distinct = rows.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let places = Places::of(&series, &times);
        assert_eq!(places.count, distinct.len());
        for (row, place) in rows.iter().zip(&places.of_rows) {
            assert_eq!(distinct[*place as usize], *row);
        }
        let strict = rows.windows(2).all(|pair| pair[0] < pair[1]);
        assert_eq!(ascends(&series, &times), strict);
    }

    proptest! {
        #[test]
        fn a_row_goes_where_a_sort_without_doubles_has_it(
            rows in prop::collection::vec((1_u64..5, -3_i64..40), 0..400),
            unit in prop::sample::select(vec![1_i64, 1_000_000, 1_000_000_000, 1 << 60]),
            spread in prop::sample::select(vec![1_u64, 1 << 20, 1 << 60]),
        ) {
            let rows: Vec<_> = rows.iter().map(|(s, t)| (s.wrapping_mul(spread), t.wrapping_mul(unit))).collect();
            check(&rows);
        }
    }

    #[test]
    fn the_ends_of_time_and_ids_are_ordered() {
        check(&[
            (u64::MAX, TIMESTAMP_MAX),
            (1, TIMESTAMP_MAX),
            (1, TIMESTAMP_MIN),
        ]);
        check(&[(9, TIMESTAMP_MAX), (9, 0), (9, TIMESTAMP_MIN)]);
        check(&[(7, 7), (7, 7), (7, 7)]);
        check(&[]);
    }
}
