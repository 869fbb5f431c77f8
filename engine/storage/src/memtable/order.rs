//! The order of rows by series and time. Knows nothing of fields.
//!
//! Rows of one series and time keep the order they came in: whoever picks the newest takes the last.

use crate::model::SeriesId;

/// Row numbers in order of (series, time); rows of one series and time in the order they came.
///
/// Cost: where series, time and row number fit 64 bits together (nearly always: times are mostly
/// whole seconds or milliseconds) a sort of integers, else of triples. Input made of ascending
/// stretches, such as sorted runs end to end, is merged rather than sorted.
///
/// # Panics
/// If there are 2^32 rows or more.
pub(super) fn order(series: &[SeriesId], timestamps: &[i64]) -> Vec<u32> {
    assert_eq!(series.len(), timestamps.len(), "one time per row");
    let count = u32::try_from(series.len()).expect("a run has fewer than 2^32 rows");
    let Some(packing) = Packing::of(series, timestamps, count) else {
        return order_wide(series, timestamps, count);
    };
    let mut keys: Vec<u64> = match packing.unit {
        Unit::Second => packing.keys::<1_000_000_000>(series, timestamps),
        Unit::Millisecond => packing.keys::<1_000_000>(series, timestamps),
        Unit::Nanosecond => packing.keys::<1>(series, timestamps),
    };
    sort(&mut keys);
    let mask = mask(packing.index_bits);
    keys.iter()
        .map(|key| u32::try_from(key & mask).expect("the mask leaves a row number"))
        .collect()
}

#[expect(
    clippy::stable_sort_primitive,
    reason = "the stable sort finds the ascending stretches that sorted runs end to end are"
)]
fn sort(keys: &mut [u64]) {
    keys.sort();
}

/// As [`order`] without packing: for spans of time and series that do not fit one word.
fn order_wide(series: &[SeriesId], timestamps: &[i64], count: u32) -> Vec<u32> {
    let mut keys: Vec<(SeriesId, i64, u32)> = series
        .iter()
        .zip(timestamps)
        .zip(0..count)
        .map(|((series, time), row)| (*series, *time, row))
        .collect();
    keys.sort();
    keys.into_iter().map(|(_, _, row)| row).collect()
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
        let packing = |unit, time_bits| Packing {
            series_min,
            time_min,
            unit,
            time_bits,
            index_bits,
        };
        if bits(time_span) <= left {
            return Some(packing(Unit::Nanosecond, bits(time_span)));
        }
        if bits(time_span / 1_000_000) > left || !whole::<1_000_000>(timestamps, time_min) {
            return None;
        }
        if bits(time_span / 1_000_000) <= left {
            return Some(packing(Unit::Millisecond, bits(time_span / 1_000_000)));
        }
        let seconds = bits(time_span / 1_000_000_000);
        let fits = seconds <= left && whole::<1_000_000_000>(timestamps, time_min);
        fits.then(|| packing(Unit::Second, seconds))
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
        let mut expected: Vec<u32> = (0..u32::try_from(rows.len()).unwrap()).collect();
        expected.sort_by_key(|row| rows[*row as usize]);
        assert_eq!(order(&series, &times), expected);
        let strict = rows.windows(2).all(|pair| pair[0] < pair[1]);
        assert_eq!(ascends(&series, &times), strict);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_stable_sort(
            rows in prop::collection::vec((1_u64..5, -3_i64..4), 0..200),
            unit in prop::sample::select(vec![1_i64, 1_000_000, 1_000_000_000, 1 << 60]),
            spread in prop::sample::select(vec![1_u64, 1 << 20, 1 << 60]),
        ) {
            let rows: Vec<_> = rows.iter().map(|(s, t)| (s * spread, t * unit)).collect();
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
