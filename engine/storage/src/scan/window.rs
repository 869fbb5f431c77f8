//! Aggregates per window of time, of many series, one after another.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::block::Times;
use crate::error::Result;
use crate::model::{AggregateRequest, FieldType, FieldWindows, TimeRange, WindowBatch};
use crate::scan::Check;
use crate::scan::check_intact;
use crate::scan::entries::{self, Cuts, Entries};
use crate::scan::merge::{Merge, Step};
use crate::scan::piece::{Store, Together};
use crate::scan::shared::Cursor;

/// A batch ends with the series that gives it so many entries, or for which so many rows have been
/// decoded: it is small, and who takes batches can stop in between.
const ENTRIES_WANTED: usize = 1024;
const ROWS_WANTED: usize = 256 * 1024;

/// The windows of an aggregation: see [`crate::scan::aggregates`].
pub struct WindowCursor<'snapshot> {
    request: AggregateRequest,
    types: Arc<[FieldType]>,
    /// Oldest first.
    stores: Vec<Box<dyn Store<'snapshot> + 'snapshot>>,
    check: Check,
    /// Number of the next series to be read.
    next: usize,
    /// Behind the last to be read.
    end: usize,
    /// Room for where windows cut the rows of a piece.
    cuts: Cuts,
}

impl<'snapshot> WindowCursor<'snapshot> {
    /// The cursor of `request`, whose range lies within its edges.
    pub(super) fn new(
        request: AggregateRequest,
        types: Arc<[FieldType]>,
        stores: Vec<Box<dyn Store<'snapshot> + 'snapshot>>,
        check: Check,
    ) -> Self {
        let end = request.scan.series.len();
        WindowCursor {
            request,
            types,
            stores,
            check,
            next: 0,
            end,
            cuts: Cuts::default(),
        }
    }

    /// The windows of the next series that have any row in range, or `None` when all have been
    /// given. After an error there is no next.
    ///
    /// # Errors
    /// As [`crate::scan::RowCursor::next_rows`].
    pub fn next_windows(&mut self) -> Result<Option<WindowBatch>> {
        let range = self.request.scan.range;
        if range.is_empty() {
            return Ok(None);
        }
        let wanted = self.types.iter().zip(&self.request.wanted);
        // As many as there are at most, or as make it a batch.
        let windows = self.request.edges.len().saturating_sub(1);
        let room = (self.end.saturating_sub(self.next)).saturating_mul(windows);
        let columns = wanted.map(|(field_type, wanted)| {
            let mut column = FieldWindows::new(*field_type, *wanted);
            column.reserve(room.min(ENTRIES_WANTED));
            column
        });
        let mut batch = WindowBatch {
            columns: columns.collect(),
            ..WindowBatch::default()
        };
        let mut rows = 0;
        let windows = (&*self.request.edges, range);
        while let Some(series) = self.request.scan.series[..self.end].get(self.next) {
            if let Some(together) = self.together() {
                (self.check)()?;
                rows += together.rows.timestamps.len();
                self.next = together.numbers.end;
                entries::add_together(&mut batch, windows, &mut self.cuts, together);
            } else {
                let merge = Merge::open(
                    &self.stores,
                    (self.next, *series),
                    (range, false),
                    &self.types,
                )?;
                let start = batch.windows.len();
                let entries = Entries::new(&mut batch, windows, &mut self.cuts);
                rows += Self::add(&self.check, merge, entries)?;
                if batch.windows.len() > start {
                    batch.series.push((self.next, start));
                }
                self.next += 1;
            }
            if batch.windows.len() >= ENTRIES_WANTED || rows >= ROWS_WANTED {
                return Ok(Some(batch));
            }
        }
        check_intact(&self.stores)?;
        Ok((!batch.series.is_empty()).then_some(batch))
    }

    /// The rows of the next series, where one store alone has all of them at hand.
    fn together(&self) -> Option<Together> {
        match &*self.stores {
            [only] => only.together(self.next),
            [] | [_, _, ..] => None,
        }
    }

    /// Adds what `merge` has to the entries of its series. Gives the number of rows that were decoded for them.
    fn add(check: &Check, mut merge: Merge<'snapshot>, mut entries: Entries<'_>) -> Result<usize> {
        let mut rows = 0;
        loop {
            check()?;
            match merge.step(Some(&mut entries))? {
                None => return Ok(rows),
                Some(Step::Added(decoded)) => rows += decoded,
                Some(Step::Rows(timestamps, columns)) => {
                    rows += timestamps.len();
                    entries.add_rows(&Times::Each(timestamps), &columns);
                }
            }
        }
    }
}

impl Cursor for WindowCursor<'_> {
    type Item = WindowBatch;

    fn seek(&mut self, series: Range<usize>) {
        self.next = series.start;
        self.end = series.end;
        for store in &mut self.stores {
            store.seek(series.clone());
        }
    }

    fn next_item(&mut self) -> Result<Option<WindowBatch>> {
        self.next_windows()
    }

    fn values(&self) -> u64 {
        let edges = &*self.request.edges;
        let in_one_window = |range: TimeRange| {
            let place = |time| edges.partition_point(|edge| *edge <= time);
            place(range.start) == place(range.end - 1)
        };
        let series = &self.request.scan.series;
        let stores = self.stores.iter();
        stores
            .map(|store| store.values(series, &in_one_window))
            .sum()
    }

    fn bytes(item: &WindowBatch) -> usize {
        let column = |column: &FieldWindows| {
            column.len() * column.entry_bytes() + column.string_bytes(0..column.len())
        };
        item.columns.iter().map(column).sum::<usize>() + 4 * item.windows.len()
    }
}

impl fmt::Debug for WindowCursor<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (next, all) = (self.next, self.request.scan.series.len());
        write!(out, "WindowCursor at series {next} of {all}")
    }
}

/// The part of `range` that lies within any window.
pub(super) fn within(range: TimeRange, edges: &[i64]) -> TimeRange {
    match edges {
        [start, .., end] => range.intersect(TimeRange {
            start: *start,
            end: *end,
        }),
        [] | [_] => TimeRange { start: 0, end: 0 },
    }
}
