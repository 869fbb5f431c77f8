//! What the merge asks of a place that holds rows.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::memtable::{Run, Slice, pick_rows};
use crate::model::{Column, FieldWindows, SeriesId, TimeRange};
use crate::scan::entries::Entries;

/// A run or a block, with the fields of one request in mind.
pub(super) trait Store<'snapshot>: fmt::Debug + Send {
    /// Gives the rows of `series`, which has this number in the request, in `range`, to `into`, oldest
    /// first, where there are some. Pieces are read of one series at a time.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the directory of a block cannot be read.
    fn open(
        &self,
        series: (usize, SeriesId),
        range: TimeRange,
        descending: bool,
        into: &mut dyn FnMut(Box<dyn Pieces + 'snapshot>),
    ) -> Result<()>;

    /// The rows of some series of the request from number `first` on at once, where that takes less than one
    /// series after another; there are some behind it.
    fn together(&self, _first: usize) -> Option<Together> {
        None
    }

    /// Only series with these numbers are asked for until the next call, mostly in this order.
    fn seek(&mut self, _series: Range<usize>) {}

    /// What all rows of `series` cost, in values that are decoded, about. Where statistics answer, as all rows
    /// of the store lie in one window, that is what it takes to find them.
    fn values(&self, series: &[SeriesId], in_one_window: &dyn Fn(TimeRange) -> bool) -> u64;

    /// Whether all that was read so far was what is stored. Asked at the end of the scan.
    ///
    /// # Errors
    /// `Corrupt` where a file was cut, or its disk failed, under its reader; `Io`.
    fn check_intact(&self) -> Result<()> {
        Ok(())
    }
}

/// All rows of some series, one series behind another, each row with a value at least.
#[derive(Debug)]
pub(super) struct Together {
    /// Which series of the request.
    pub(super) numbers: Range<usize>,
    /// Those of them that have rows, ascending, and which.
    pub(super) series: Vec<(usize, Range<usize>)>,
    /// Times ascend within each series.
    pub(super) rows: Decoded,
}

/// One series' rows in one store: pieces that do not overlap, in the order of the scan.
pub(super) trait Pieces: fmt::Debug + Send {
    /// The first and the last time that a row of the next piece may have; `None` behind the last
    /// piece. The tighter, the less is decoded.
    fn span(&self) -> Option<(i64, i64)>;

    /// The next piece; only asked where there is one. It may turn out empty. Where no other store has rows
    /// between its first and its last, it is `alone`: rows that the request's filter does not choose may
    /// be left out.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the values cannot be read.
    fn next_piece(&mut self, alone: bool) -> Result<Piece>;

    /// Appends the aggregates of all rows of the next piece, an entry to each column, where they are
    /// known without decoding it and its span is exact; else appends nothing and says so.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the statistics cannot be read.
    fn summary(&mut self, into: &mut [FieldWindows]) -> Result<bool>;

    /// Adds the rows of the next piece to `entries`, where that takes less than making rows of it: says how many
    /// there are; else adds nothing. Only asked where no other store has rows between its first and its last.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the values cannot be read; what was added then means nothing.
    fn add_rows(&mut self, _entries: &mut Entries<'_>) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Passes over the next piece; only called where there is one.
    fn skip_piece(&mut self);
}

/// Rows of one series, ascending in time whichever way the scan goes.
#[derive(Debug)]
pub(super) enum Piece {
    /// Rows of a sorted run, in place.
    Run(Arc<RunFields>, Range<usize>),
    /// Rows that were decoded.
    Decoded(Decoded),
}

/// A sorted run and where it has the requested fields.
#[derive(Debug)]
pub(super) struct RunFields {
    pub(super) run: Arc<Run>,
    /// For each requested field, the number of its column.
    pub(super) columns: Vec<Option<usize>>,
}

impl RunFields {
    /// The `rows` of the run, of requested field number `field`.
    pub(super) fn slice(&self, field: usize, rows: Range<usize>) -> Slice<'_> {
        match self.columns[field] {
            Some(column) => self.run.slice(column, rows),
            None => Slice::of(None, rows),
        }
    }
}

/// Rows by column: of each requested field, `None` where it has no value in any of them.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) timestamps: Vec<i64>,
    pub(super) columns: Vec<Option<Column>>,
}

impl Decoded {
    /// Some of the rows, ascending.
    pub(super) fn pick(&self, rows: &[u32]) -> Decoded {
        let column = |column: &Option<Column>| {
            let column = pick_rows(column.as_ref()?, rows);
            (!column.values.is_empty()).then_some(column)
        };
        Decoded {
            timestamps: (rows.iter())
                .map(|row| self.timestamps[*row as usize])
                .collect(),
            columns: self.columns.iter().map(column).collect(),
        }
    }
}

impl Piece {
    /// The rows' times, ascending.
    pub(super) fn timestamps(&self) -> &[i64] {
        match self {
            Piece::Run(fields, rows) => &fields.run.timestamps()[rows.clone()],
            Piece::Decoded(decoded) => &decoded.timestamps,
        }
    }

    /// The `rows` of requested field number `field`.
    pub(super) fn slice(&self, field: usize, rows: Range<usize>) -> Slice<'_> {
        match self {
            Piece::Run(fields, all) => {
                fields.slice(field, all.start + rows.start..all.start + rows.end)
            }
            Piece::Decoded(decoded) => Slice::of(decoded.columns[field].as_ref(), rows),
        }
    }
}
