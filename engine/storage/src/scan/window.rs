//! Aggregates per window of time, of many series, one after another.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::model::{AggregateRequest, Column, FieldType, FieldWindows, SeriesWindows, TimeRange};
use crate::scan::Check;
use crate::scan::check_intact;
use crate::scan::merge::{Merge, Step};
use crate::scan::partial::push_spans;
use crate::scan::piece::{Partials, Store};

/// The windows of an aggregation: see [`crate::scan::aggregates`].
pub struct WindowCursor<'snapshot> {
    request: AggregateRequest,
    types: Arc<[FieldType]>,
    /// Oldest first.
    stores: Vec<Box<dyn Store<'snapshot> + 'snapshot>>,
    check: Check,
    /// Number of the next series to be read.
    next: usize,
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
        WindowCursor {
            request,
            types,
            stores,
            check,
            next: 0,
            spans: Vec::new(),
        }
    }

    /// The windows of the next series that has any row in range, or `None` when all have been
    /// given. After an error there is no next.
    ///
    /// # Errors
    /// As [`crate::scan::RowCursor::next_rows`].
    pub fn next_windows(&mut self) -> Result<Option<SeriesWindows>> {
        let range = self.request.scan.range;
        if range.is_empty() {
            return Ok(None);
        }
        while let Some(series) = self.request.scan.series.get(self.next) {
            let merge = Merge::open(&self.stores, *series, (range, false), &self.types)?;
            let windows = self.windows(merge)?;
            self.next += 1;
            if !windows.windows.is_empty() {
                return Ok(Some(windows));
            }
        }
        check_intact(&self.stores)?;
        Ok(None)
    }

    /// The windows of the next series.
    fn windows(&mut self, mut merge: Merge<'snapshot>) -> Result<SeriesWindows> {
        let wanted = self.types.iter().zip(&self.request.wanted);
        let columns = wanted.map(|(field_type, wanted)| FieldWindows::new(*field_type, *wanted));
        let mut series = SeriesWindows {
            index: self.next,
            windows: Vec::new(),
            columns: columns.collect(),
        };
        let edges = &*self.request.edges;
        let range = self.request.scan.range;
        let hint = Cell::new(0);
        let within = |first, last| {
            let inside = range.contains(first) && range.contains(last);
            inside && last < edges[window(edges, first, &hint) + 1]
        };
        loop {
            (self.check)()?;
            match merge.step(within)? {
                None => return Ok(series),
                Some(Step::Summary(first, partials)) => {
                    add(&mut series, window(edges, first, &hint), &partials);
                }
                Some(Step::Rows(timestamps, columns)) => {
                    spans(edges, &timestamps, (&hint, &mut self.spans));
                    add_rows(&mut series, &self.spans, &timestamps, &columns);
                }
            }
        }
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

/// Adds rows, cut by windows, behind what `series` has.
fn add_rows(
    series: &mut SeriesWindows,
    spans: &[(u32, Range<usize>)],
    timestamps: &[i64],
    columns: &[Column],
) {
    let goes_on = spans.first().map(|(at, _)| at) == series.windows.last();
    let rows: Vec<Range<usize>> = spans.iter().map(|(_, rows)| rows.clone()).collect();
    for (own, column) in series.columns.iter_mut().zip(columns) {
        // What goes on in the window before is one entry with it.
        let first = rows.len().min(usize::from(goes_on));
        push_spans(own, (timestamps, column), &rows[..first]);
        if goes_on {
            own.fold_last();
        }
        push_spans(own, (timestamps, column), &rows[first..]);
    }
    let new = spans.iter().skip(usize::from(goes_on));
    series.windows.extend(new.map(|(at, _)| at));
}

/// Adds the aggregates of a span that lies in window `at`, behind all that was added before.
fn add(series: &mut SeriesWindows, at: usize, partials: &Partials) {
    if partials.iter().all(Option::is_none) {
        return;
    }
    for (own, partial) in series.columns.iter_mut().zip(partials) {
        match partial {
            Some(partial) => own.push(partial),
            None => own.push_absent(),
        }
    }
    if series.windows.last() == Some(&number(at)) {
        series.columns.iter_mut().for_each(FieldWindows::fold_last);
    } else {
        series.windows.push(number(at));
    }
}
