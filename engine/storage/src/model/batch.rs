//! What a writer hands in: rows by measurement, each measurement's fields as columns.

use crate::model::{Column, FieldType, FieldValue, KeyHash, Presence, SeriesKey, Values};

/// Where a row's key text lies in the batch's `text`, and its hash.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef {
    /// Byte offset of the key in [`Batch::text`].
    pub offset: u32,
    /// Length of the key in bytes.
    pub len: u32,
    /// [`crate::model::KeyHasher::hash`] of those bytes.
    pub hash: KeyHash,
}

/// One field of a measurement's rows.
#[derive(Clone, Debug)]
pub struct FieldColumn {
    /// The field's name, unescaped.
    pub name: Box<[u8]>,
    /// Its values, over all rows of the measurement in this batch.
    pub column: Column,
}

/// The rows of one measurement and field type signature, in the order they came.
///
/// All vectors but `fields` have one entry per row; every column spans all rows. Two rows of one
/// series and time are legal: the later wins, field by field.
#[derive(Clone, Debug)]
pub struct MeasurementRows {
    /// The measurement's name, unescaped, never empty.
    pub measurement: Box<[u8]>,
    /// The rows' series, as text that a [`KeyParser`] understands.
    pub keys: Vec<KeyRef>,
    /// The rows' times, ns UTC, each within `TIMESTAMP_MIN..=TIMESTAMP_MAX`.
    pub timestamps: Vec<i64>,
    /// Where each row stood in the request, from 1: what a rejection names.
    pub lines: Vec<u32>,
    /// The fields; no name twice with one type.
    pub fields: Vec<FieldColumn>,
}

/// A write: columnar, not yet bound to ids. Each row's series is known by text and hash, so that a
/// row of a known series costs one lookup and its key is never parsed.
#[derive(Clone, Debug)]
pub struct Batch<'text> {
    /// What every [`KeyRef`] points into.
    pub text: &'text [u8],
    /// The rows. One measurement may stand here more than once.
    pub rows: Vec<MeasurementRows>,
}

impl Batch<'_> {
    /// How many rows there are in all.
    pub fn row_count(&self) -> usize {
        self.rows.iter().map(|rows| rows.timestamps.len()).sum()
    }
}

/// Why a key text is none, in the words its protocol uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub String);

/// Reads a series key from the text of a protocol. Storage calls it once per new series.
pub trait KeyParser {
    /// The series that `text` means.
    ///
    /// # Errors
    /// If the text is no key: the row is rejected with these words.
    fn parse(&self, text: &[u8]) -> Result<SeriesKey, KeyError>;
}

impl FieldColumn {
    /// A column of `field_type` that has no value in its first `rows` rows.
    pub fn absent(name: &[u8], field_type: FieldType, rows: usize) -> FieldColumn {
        let presence = if rows == 0 {
            Presence::All
        } else {
            Presence::Some(crate::model::Bitmap::filled(rows, false))
        };
        FieldColumn {
            name: name.into(),
            column: Column {
                values: Values::new(field_type),
                presence,
            },
        }
    }

    /// Appends `value` for row `row`, the rows between the last and this one having none.
    ///
    /// # Panics
    /// If the value is of another type, or a row at or behind `row` has been appended.
    pub fn push(&mut self, row: usize, value: &FieldValue) {
        let have = match &self.column.presence {
            Presence::All => self.column.values.len(),
            Presence::Some(bits) => bits.len(),
        };
        assert!(have <= row, "rows come in order");
        if have < row {
            self.pad(row);
        }
        if let Presence::Some(bits) = &mut self.column.presence {
            bits.push(true);
        }
        self.column.values.push(value);
    }

    /// Gives the column `rows` rows, those it lacks having no value.
    pub fn pad(&mut self, rows: usize) {
        if let Presence::All = self.column.presence {
            let have = self.column.values.len();
            if have >= rows {
                return;
            }
            self.column.presence = Presence::Some(crate::model::Bitmap::filled(have, true));
        }
        if let Presence::Some(bits) = &mut self.column.presence {
            while bits.len() < rows {
                bits.push(false);
            }
        }
    }
}
