//! Rows as columns: what a scan read goes to its writer as it is, no row made of it in between.

use silverback_storage::model::{Bitmap, Column, FieldValueRef, Presence, Values};

use crate::result::Cell;

/// Rows of one series of the answer.
#[derive(Debug)]
pub struct RowBatch<'b> {
    /// Rows of one stored series each.
    pub pieces: &'b [BatchPiece<'b>],
    /// The rows in the order of the answer, all of them: a piece, and a row of it.
    pub order: &'b [(u32, u32)],
}

/// Rows of one stored series.
#[derive(Debug)]
pub struct BatchPiece<'b> {
    /// The rows' times, ns UTC.
    pub timestamps: &'b [i64],
    /// One for each column of the answer but the time.
    pub columns: Vec<BatchColumn<'b>>,
}

/// One column over the rows of a piece.
#[derive(Debug)]
pub enum BatchColumn<'b> {
    /// The same in all rows.
    Constant(BatchValue<'b>),
    /// A value in each row.
    Full(&'b Values),
    /// A value in some rows: for each row where it stands.
    Sparse(&'b Values, Vec<u32>),
}

/// One cell of a batch.
#[derive(Clone, Copy, Debug)]
pub enum BatchValue<'b> {
    /// No value.
    Null,
    /// As it is.
    Cell(&'b Cell),
    /// A float.
    Float(f64),
    /// A signed integer.
    Integer(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// True or false.
    Boolean(bool),
    /// Bytes.
    String(&'b [u8]),
}

impl<'b> BatchColumn<'b> {
    /// The column `column`.
    pub fn of(column: &'b Column) -> BatchColumn<'b> {
        match &column.presence {
            Presence::All => BatchColumn::Full(&column.values),
            Presence::Some(bits) => BatchColumn::Sparse(&column.values, bits.places()),
        }
    }

    /// The value in row `row`.
    #[inline]
    pub fn value(&self, row: usize) -> BatchValue<'_> {
        match self {
            BatchColumn::Constant(value) => *value,
            BatchColumn::Full(values) => value(values, row),
            BatchColumn::Sparse(values, places) => match places[row] {
                Bitmap::ABSENT => BatchValue::Null,
                place => value(values, place as usize),
            },
        }
    }
}

#[inline]
fn value(values: &Values, at: usize) -> BatchValue<'_> {
    match values {
        Values::Float(values) => BatchValue::Float(values[at]),
        Values::Integer(values) => BatchValue::Integer(values[at]),
        Values::Unsigned(values) => BatchValue::Unsigned(values[at]),
        Values::Boolean(values) => BatchValue::Boolean(values[at]),
        Values::String(values) => BatchValue::String(values.get(at)),
    }
}

impl<'b> From<FieldValueRef<'b>> for BatchValue<'b> {
    fn from(value: FieldValueRef<'b>) -> BatchValue<'b> {
        match value {
            FieldValueRef::Float(value) => BatchValue::Float(value),
            FieldValueRef::Integer(value) => BatchValue::Integer(value),
            FieldValueRef::Unsigned(value) => BatchValue::Unsigned(value),
            FieldValueRef::Boolean(value) => BatchValue::Boolean(value),
            FieldValueRef::String(value) => BatchValue::String(value),
        }
    }
}

impl BatchValue<'_> {
    /// Writes the value over `cell`.
    fn put(self, cell: &mut Cell) {
        match (self, cell) {
            (BatchValue::String(bytes), Cell::String(own)) if own.len() == bytes.len() => {
                own.copy_from_slice(bytes);
            }
            (BatchValue::Cell(Cell::String(bytes)), Cell::String(own)) => own.clone_from(bytes),
            (value, cell) => {
                *cell = match value {
                    BatchValue::Null => Cell::Null,
                    BatchValue::Cell(cell) => cell.clone(),
                    BatchValue::Float(value) => Cell::Float(value),
                    BatchValue::Integer(value) => Cell::Integer(value),
                    BatchValue::Unsigned(value) => Cell::Unsigned(value),
                    BatchValue::Boolean(value) => Cell::Boolean(value),
                    BatchValue::String(bytes) => Cell::String(bytes.into()),
                }
            }
        }
    }
}

impl RowBatch<'_> {
    /// Calls `row` with the cells of each row.
    ///
    /// # Errors
    /// Those of `row`, which ends it.
    pub fn each_row<E>(&self, mut row: impl FnMut(&[Cell]) -> Result<(), E>) -> Result<(), E> {
        let mut cells = Vec::new();
        for (piece, at) in self.order {
            let (piece, at) = (&self.pieces[*piece as usize], *at as usize);
            cells.resize(1 + piece.columns.len(), Cell::Null);
            cells[0] = Cell::Time(piece.timestamps[at]);
            for (cell, column) in cells[1..].iter_mut().zip(&piece.columns) {
                column.value(at).put(cell);
            }
            row(&cells)?;
        }
        Ok(())
    }
}
