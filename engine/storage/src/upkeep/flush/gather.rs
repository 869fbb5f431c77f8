//! Ranges of rows, put end to end: column by column, a copy of each range's values.

use std::iter;
use std::ops::Range;

use crate::model::{Bitmap, Column, Presence, Rows, SeriesId, Strings, Values};

/// Rows that ranges are taken from.
#[derive(Debug)]
pub(super) struct Gather<'rows> {
    rows: &'rows Rows,
    /// For each column with holes: how many values stand before each word of its bitmap.
    ranks: Vec<Vec<u32>>,
}

impl<'rows> Gather<'rows> {
    pub(super) fn new(rows: &'rows Rows) -> Gather<'rows> {
        let ranks = rows.columns.iter().map(|(_, column)| ranks(column));
        Gather {
            rows,
            ranks: ranks.collect(),
        }
    }

    /// The rows of `ranges`, in their order, those of each range under the series beside it. Cost: a
    /// copy.
    pub(super) fn rows(&self, ranges: &[Range<usize>], series: &[SeriesId]) -> Rows {
        let columns = self.rows.columns.iter().zip(&self.ranks);
        let each = ranges.iter().zip(series);
        let series = each.flat_map(|(range, series)| iter::repeat_n(*series, range.len()));
        Rows {
            measurement: self.rows.measurement,
            series: series.collect(),
            timestamps: copy(&self.rows.timestamps, ranges),
            columns: columns
                .map(|((field, column), ranks)| (*field, gather(column, ranks, ranges)))
                .collect(),
        }
    }
}

fn ranks(column: &Column) -> Vec<u32> {
    let Presence::Some(bits) = &column.presence else {
        return Vec::new();
    };
    let mut before = 0;
    let words = bits.words().iter().map(|word| {
        let rank = before;
        before += word.count_ones();
        rank
    });
    words.collect()
}

fn gather(column: &Column, ranks: &[u32], ranges: &[Range<usize>]) -> Column {
    let Presence::Some(bits) = &column.presence else {
        return Column {
            values: pick(&column.values, ranges),
            presence: Presence::All,
        };
    };
    let rank = |row: usize| match bits.words().get(row / 64) {
        Some(word) => {
            let below = word & ((1 << (row % 64)) - 1);
            ranks[row / 64] as usize + below.count_ones() as usize
        }
        None => column.values.len(),
    };
    let dense: Vec<Range<usize>> = ranges
        .iter()
        .map(|range| rank(range.start)..rank(range.end))
        .collect();
    let mut present = Bitmap::default();
    for row in ranges.iter().cloned().flatten() {
        present.push(bits.get(row));
    }
    Column {
        values: pick(&column.values, &dense),
        presence: Presence::Some(present),
    }
}

fn pick(values: &Values, ranges: &[Range<usize>]) -> Values {
    match values {
        Values::Float(values) => Values::Float(copy(values, ranges)),
        Values::Integer(values) => Values::Integer(copy(values, ranges)),
        Values::Unsigned(values) => Values::Unsigned(copy(values, ranges)),
        Values::Boolean(values) => Values::Boolean(copy(values, ranges)),
        Values::String(values) => {
            let mut picked = Strings::default();
            for index in ranges.iter().cloned().flatten() {
                picked.push(values.get(index));
            }
            Values::String(picked)
        }
    }
}

fn copy<T: Copy>(values: &[T], ranges: &[Range<usize>]) -> Vec<T> {
    let mut copied = Vec::with_capacity(ranges.iter().map(Range::len).sum());
    for range in ranges {
        copied.extend_from_slice(&values[range.clone()]);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FieldId, MeasurementId};

    #[test]
    fn ranges_take_their_values_along_whatever_has_holes() {
        let count = 300_usize;
        let mut bits = Bitmap::default();
        let mut strings = Strings::default();
        for row in 0..count {
            bits.push(row % 3 != 1);
            if row % 3 != 1 {
                strings.push(format!("value {row}").as_bytes());
            }
        }
        let ids = 1..=count as u64;
        let rows = Rows {
            measurement: MeasurementId(1),
            series: ids.clone().map(SeriesId).collect(),
            timestamps: (0..300).collect(),
            columns: vec![
                (
                    FieldId(1),
                    Column {
                        values: Values::Unsigned(ids.collect()),
                        presence: Presence::All,
                    },
                ),
                (
                    FieldId(2),
                    Column {
                        values: Values::String(strings),
                        presence: Presence::Some(bits),
                    },
                ),
            ],
        };
        let ranges = [250..300, 0..1, 64..128, 10..10, 1..2];
        let series: Vec<SeriesId> = (7..12).map(SeriesId).collect();
        let gathered = Gather::new(&rows).rows(&ranges, &series);
        let order: Vec<usize> = ranges.iter().cloned().flatten().collect();
        assert_eq!(gathered.len(), order.len());
        for (at, row) in order.into_iter().enumerate() {
            let range = ranges.iter().position(|range| range.contains(&row));
            assert_eq!(gathered.series[at], series[range.unwrap()]);
            assert_eq!(gathered.timestamps[at], rows.timestamps[row]);
            for column in 0..2 {
                let (have, want) = (&gathered.columns[column].1, &rows.columns[column].1);
                assert_eq!(have.get(at), want.get(row), "row {row} column {column}");
            }
        }
    }
}
