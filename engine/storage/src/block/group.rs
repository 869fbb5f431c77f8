//! Rows of one measurement on their way into a block, gathered until they fill a group. Copies
//! columns end to end; knows no encoding and no file.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::format::block::{GROUP_ROWS_MAX, STATS_ROWS_MIN};
use crate::model::{Bitmap, Column, FieldId, Presence, Rows, Values};

/// Bytes of strings in one column from which on a group is full, whatever its rows.
const STRING_BYTES_MAX: usize = 4 << 20;

/// Where a series ends, a group of this many rows ends too: whoever reads one long series then decodes
/// no rows of others.
const ROWS_ENOUGH: usize = GROUP_ROWS_MAX / 2;
/// The same where the group began with the rest of a series.
const REST_ROWS_ENOUGH: usize = STATS_ROWS_MIN;

/// Rows gathered so far, in the order of the block.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) timestamps: Vec<i64>,
    /// The fields that any row had so far; each column spans all rows, and may have no value.
    pub(super) columns: BTreeMap<FieldId, Column>,
    /// Where each series' rows start.
    pub(super) starts: Vec<usize>,
    /// Whether the first row goes on with the series of the group before.
    pub(super) begins_within: bool,
}

impl Group {
    /// How many rows still fit.
    pub(super) fn room(&self) -> usize {
        let full = self.columns.values().any(|column| match &column.values {
            Values::String(strings) => strings.bytes.len() >= STRING_BYTES_MAX,
            Values::Float(_) | Values::Integer(_) | Values::Unsigned(_) | Values::Boolean(_) => {
                false
            }
        });
        if full {
            0
        } else {
            GROUP_ROWS_MAX - self.timestamps.len()
        }
    }

    /// Whether the group may end here, where a series does.
    pub(super) fn suits_an_end(&self) -> bool {
        let rows = self.timestamps.len();
        rows >= ROWS_ENOUGH
            || self.starts.len() == 1 && self.begins_within && rows >= REST_ROWS_ENOUGH
    }

    /// The group without its rows; its memory is used again.
    pub(super) fn cleared(mut self) -> Group {
        self.timestamps.clear();
        self.starts.clear();
        for column in self.columns.values_mut() {
            column.presence = Presence::All;
            match &mut column.values {
                Values::Float(values) => values.clear(),
                Values::Integer(values) => values.clear(),
                Values::Unsigned(values) => values.clear(),
                Values::Boolean(values) => values.clear(),
                Values::String(strings) => {
                    strings.ends.clear();
                    strings.bytes.clear();
                }
            }
        }
        self
    }

    /// What its rows take in memory, about, bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let rows = self.timestamps.len() * size_of::<i64>();
        let columns = self.columns.values().map(|column| match &column.values {
            Values::Float(values) => size_of_val(&values[..]),
            Values::Integer(values) => size_of_val(&values[..]),
            Values::Unsigned(values) => size_of_val(&values[..]),
            Values::Boolean(values) => size_of_val(&values[..]),
            Values::String(strings) => strings.bytes.len() + size_of_val(&strings.ends[..]),
        });
        rows + columns.sum::<usize>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// The rows of each series.
    pub(super) fn slices(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.starts.iter().skip(1).copied();
        let ends = ends.chain([self.timestamps.len()]);
        self.starts
            .iter()
            .copied()
            .zip(ends)
            .map(|(start, end)| start..end)
    }

    /// Appends `range` of `rows`.
    ///
    /// # Panics
    /// If a field has another type than before.
    pub(super) fn append(&mut self, rows: &Rows, range: Range<usize>) {
        let before = self.timestamps.len();
        self.timestamps
            .extend_from_slice(&rows.timestamps[range.clone()]);
        let after = self.timestamps.len();
        for (field, source) in &rows.columns {
            let target = self.columns.entry(*field).or_insert_with(|| Column {
                values: Values::new(source.values.field_type()),
                presence: absent(before),
            });
            append_column(target, source, range.clone(), before);
        }
        for column in self.columns.values_mut() {
            pad(column, after);
        }
    }
}

/// No value in any of `rows` rows.
fn absent(rows: usize) -> Presence {
    if rows == 0 {
        Presence::All
    } else {
        Presence::Some(Bitmap::filled(rows, false))
    }
}

/// Appends `range` of the rows of `source` to `target`, which spans `before` rows.
fn append_column(target: &mut Column, source: &Column, range: Range<usize>, before: usize) {
    match &source.presence {
        Presence::All => {
            target.values.append(&source.values, range.clone());
            if let Presence::Some(bits) = &mut target.presence {
                range.for_each(|_| bits.push(true));
            }
        }
        Presence::Some(present) => {
            let dense = present.rank(range.start)..present.rank(range.end);
            target.values.append(&source.values, dense.clone());
            match &mut target.presence {
                Presence::All if dense.len() == range.len() => {}
                Presence::All => {
                    let mut bits = Bitmap::filled(before, true);
                    range.for_each(|row| bits.push(present.get(row)));
                    target.presence = Presence::Some(bits);
                }
                Presence::Some(bits) => range.for_each(|row| bits.push(present.get(row))),
            }
        }
    }
}

/// Gives `column` `rows` rows, those it lacks having no value.
fn pad(column: &mut Column, rows: usize) {
    match &mut column.presence {
        Presence::All if column.values.len() == rows => {}
        Presence::All => {
            let mut bits = Bitmap::filled(column.values.len(), true);
            (bits.len()..rows).for_each(|_| bits.push(false));
            column.presence = Presence::Some(bits);
        }
        Presence::Some(bits) => (bits.len()..rows).for_each(|_| bits.push(false)),
    }
}
