//! Rows bound to ids: what the log holds, what a memtable is made of, what a block is written from.

use crate::model::{Column, FieldId, MeasurementId, SeriesId};

/// Rows of one measurement, columnar: all vectors have one entry per row, each column spans all
/// rows. In arrival order until somebody sorts them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The measurement.
    pub measurement: MeasurementId,
    /// Each row's series.
    pub series: Vec<SeriesId>,
    /// Each row's time, ns UTC.
    pub timestamps: Vec<i64>,
    /// The fields, ascending by id, each once.
    pub columns: Vec<(FieldId, Column)>,
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Anonymous memory the rows hold, in bytes.
    pub fn size_bytes(&self) -> usize {
        let columns: usize = self
            .columns
            .iter()
            .map(|(_, column)| column.values.size_bytes() + self.len() / 8)
            .sum();
        self.series.capacity() * 8 + self.timestamps.capacity() * 8 + columns
    }
}

/// A series with its canonical key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesEntry {
    /// The series.
    pub id: SeriesId,
    /// Its canonical key: see [`crate::model::CanonicalKey`].
    pub key: Box<[u8]>,
}
