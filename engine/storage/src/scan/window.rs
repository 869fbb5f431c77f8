//! Aggregates per window of time, of many series, one after another.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::memtable::Slice;
use crate::model::{
    AggregateRequest, Column, FieldType, Presence, SeriesWindows, TimeRange, WindowPartial,
};
use crate::scan::Check;
use crate::scan::check_intact;
use crate::scan::merge::{Merge, Step};
use crate::scan::partial::{extend, partial};
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
            if !windows.is_empty() {
                return Ok(Some(SeriesWindows {
                    index: self.next - 1,
                    windows,
                }));
            }
        }
        check_intact(&self.stores)?;
        Ok(None)
    }

    fn windows(&self, mut merge: Merge<'snapshot>) -> Result<Vec<(u32, Partials)>> {
        let edges = &self.request.edges;
        let range = self.request.scan.range;
        let wanted = |first, last| {
            range.contains(first) && range.contains(last) && last < edges[window(edges, first) + 1]
        };
        let mut windows: Vec<(u32, Partials)> = Vec::new();
        loop {
            (self.check)()?;
            match merge.step(wanted)? {
                None => return Ok(windows),
                Some(Step::Summary(first, partials)) => {
                    add(&mut windows, window(edges, first), partials);
                }
                Some(Step::Rows(timestamps, columns)) => {
                    add_rows(&mut windows, edges, &timestamps, &columns);
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

/// The window that `time` lies in; it lies in one.
fn window(edges: &[i64], time: i64) -> usize {
    edges.partition_point(|edge| *edge <= time) - 1
}

/// Adds rows, ascending in time and each in a window, behind what `windows` has.
fn add_rows(
    windows: &mut Vec<(u32, Partials)>,
    edges: &[i64],
    timestamps: &[i64],
    columns: &[Column],
) {
    let mut start = 0;
    // Where the next value of each column stands among its dense ones.
    let mut dense = vec![0; columns.len()];
    while let Some(time) = timestamps.get(start) {
        let at = window(edges, *time);
        let behind = edges[at + 1];
        let end = start + timestamps[start..].partition_point(|time| *time < behind);
        let rows = start..end;
        let partials = columns.iter().zip(&mut dense).map(|(column, dense)| {
            let count = match &column.presence {
                Presence::All => rows.len(),
                Presence::Some(bits) => rows.clone().filter(|row| bits.get(*row)).count(),
            };
            let slice = Slice {
                column: Some(column),
                rows: rows.clone(),
                dense: *dense..*dense + count,
            };
            *dense += count;
            partial(&timestamps[rows.clone()], &slice)
        });
        let partials: Vec<Option<WindowPartial>> = partials.collect();
        add(windows, at, partials);
        start = end;
    }
}

/// Adds the aggregates of a span that lies in window `at`, behind all that was added before.
fn add(windows: &mut Vec<(u32, Partials)>, at: usize, partials: Partials) {
    if partials.iter().all(Option::is_none) {
        return;
    }
    let at = u32::try_from(at).expect("a request has fewer than 2^32 windows");
    match windows.last_mut() {
        Some((last, own)) if *last == at => {
            for (own, later) in own.iter_mut().zip(partials) {
                match (own, later) {
                    (Some(own), Some(later)) => extend(own, later),
                    (own @ None, later) => *own = later,
                    (Some(_), None) => {}
                }
            }
        }
        Some(_) | None => windows.push((at, partials)),
    }
}
