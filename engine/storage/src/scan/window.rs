//! Aggregates per window of time, of many series, one after another.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::model::{AggregateRequest, Column, FieldType, FieldWindows, TimeRange, WindowBatch};
use crate::scan::Check;
use crate::scan::check_intact;
use crate::scan::merge::{Merge, Step};
use crate::scan::partial::push_spans;
use crate::scan::piece::Store;
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
    spans: Vec<(u32, Range<usize>)>,
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
            spans: Vec::new(),
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
        let columns = wanted.map(|(field_type, wanted)| FieldWindows::new(*field_type, *wanted));
        let mut batch = WindowBatch {
            columns: columns.collect(),
            ..WindowBatch::default()
        };
        let mut rows = 0;
        while let Some(series) = self.request.scan.series[..self.end].get(self.next) {
            let merge = Merge::open(
                &self.stores,
                (self.next, *series),
                (range, false),
                &self.types,
            )?;
            let start = batch.windows.len();
            rows += self.windows(merge, (&mut batch, start))?;
            if batch.windows.len() > start {
                batch.series.push((self.next, start));
            }
            self.next += 1;
            if batch.windows.len() >= ENTRIES_WANTED || rows >= ROWS_WANTED {
                return Ok(Some(batch));
            }
        }
        check_intact(&self.stores)?;
        Ok((!batch.series.is_empty()).then_some(batch))
    }

    /// Adds the windows of the next series, whose entries begin at `start`. Gives the number of rows
    /// that were decoded for them.
    fn windows(
        &mut self,
        mut merge: Merge<'snapshot>,
        (batch, start): (&mut WindowBatch, usize),
    ) -> Result<usize> {
        let edges = &*self.request.edges;
        let range = self.request.scan.range;
        let hint = Cell::new(0);
        let within = |first, last| {
            let inside = range.contains(first) && range.contains(last);
            inside && last < edges[window(edges, first, &hint) + 1]
        };
        let mut rows = 0;
        loop {
            (self.check)()?;
            // Only an entry of this series may be added to.
            let is_first = |batch: &WindowBatch| batch.windows.len() == start;
            match merge.step(within, &mut batch.columns)? {
                None => return Ok(rows),
                Some(Step::Summary(first)) => {
                    let at = number(window(edges, first, &hint));
                    let goes_on = !is_first(batch) && batch.windows.last() == Some(&at);
                    settle(batch, at, goes_on);
                }
                Some(Step::Rows(timestamps, columns)) => {
                    rows += timestamps.len();
                    spans(edges, &timestamps, (&hint, &mut self.spans));
                    let first = self.spans.first().map(|(at, _)| at);
                    let goes_on = !is_first(batch) && batch.windows.last() == first;
                    add_rows(batch, (&self.spans, goes_on), &timestamps, &columns);
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

/// The window that `time` lies in; it lies in one. `hint`: the one that was found last.
fn window(edges: &[i64], time: i64, hint: &Cell<usize>) -> usize {
    let is_in = |at: usize| edges[at] <= time && edges.get(at + 1).is_some_and(|end| time < *end);
    let last = hint.get();
    let at = match [last, last + 1].into_iter().find(|at| is_in(*at)) {
        Some(at) => at,
        None => edges.partition_point(|edge| *edge <= time) - 1,
    };
    hint.set(at);
    at
}

/// Cuts rows of these times, ascending and each in a window, where windows end.
fn spans(
    edges: &[i64],
    timestamps: &[i64],
    (hint, spans): (&Cell<usize>, &mut Vec<(u32, Range<usize>)>),
) {
    spans.clear();
    let mut start = 0;
    while let Some(time) = timestamps.get(start) {
        let at = window(edges, *time, hint);
        let rest = &timestamps[start..];
        let count = count_below(rest, edges[at + 1]);
        spans.push((number(at), start..start + count));
        start += count;
    }
}

/// How many of `times`, ascending, lie below `end`: looked for from the start on, in steps that
/// double.
fn count_below(times: &[i64], end: i64) -> usize {
    let mut step = 1;
    while times.get(step).is_some_and(|time| *time < end) {
        step *= 2;
    }
    let (low, high) = (step / 2, times.len().min(step));
    low + times[low..high].partition_point(|time| *time < end)
}

fn number(window: usize) -> u32 {
    u32::try_from(window).expect("a request has fewer than 2^32 windows")
}

/// Adds rows, cut by windows, behind what `batch` has. `goes_on`: the first of these windows is the last
/// that it has.
fn add_rows(
    batch: &mut WindowBatch,
    (spans, goes_on): (&[(u32, Range<usize>)], bool),
    timestamps: &[i64],
    columns: &[Column],
) {
    let rows: Vec<Range<usize>> = spans.iter().map(|(_, rows)| rows.clone()).collect();
    for (own, column) in batch.columns.iter_mut().zip(columns) {
        // What goes on in the window before is one entry with it.
        let first = usize::from(goes_on);
        push_spans(own, (timestamps, column), &rows[..first]);
        if goes_on {
            own.fold_last();
        }
        push_spans(own, (timestamps, column), &rows[first..]);
    }
    let new = spans.iter().skip(usize::from(goes_on));
    batch.windows.extend(new.map(|(at, _)| at));
}

/// Takes in the entries that have been appended for window `at`. `goes_on`: that is the last window
/// there is.
fn settle(batch: &mut WindowBatch, at: u32, goes_on: bool) {
    let last = batch.windows.len();
    if batch.columns.iter().all(|column| column.count(last) == 0) {
        batch.columns.iter_mut().for_each(FieldWindows::pop);
    } else if goes_on {
        batch.columns.iter_mut().for_each(FieldWindows::fold_last);
    } else {
        batch.windows.push(at);
    }
}
