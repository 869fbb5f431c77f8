//! Where the aggregates of one series go: entries of a batch, one for each window that it has rows in.

use std::cell::Cell;
use std::ops::Range;

use crate::block::{ChunkColumn, Times};
use crate::error::Result;
use crate::model::{AggregateSet, Column, FieldWindows, TimeRange, WindowBatch};
use crate::scan::partial::push_spans;
use crate::scan::piece::Together;
use crate::scan::repeats::{push_counts, push_repeats};

/// Where windows cut rows: their numbers, and the rows of each.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    windows: Vec<u32>,
    rows: Vec<Range<usize>>,
}

/// The entries of one series, at the end of a batch.
#[derive(Debug)]
pub(super) struct Entries<'batch> {
    batch: &'batch mut WindowBatch,
    /// The first of the series: only what stands from here on may be added to.
    start: usize,
    /// Window edges, and the times that count; they lie within the edges.
    edges: &'batch [i64],
    range: TimeRange,
    /// The window that was found last.
    last: Cell<usize>,
    cuts: &'batch mut Cuts,
    /// Whether the first of the cuts' windows is the last that there is.
    goes_on: bool,
}

impl<'batch> Entries<'batch> {
    /// Those of a series that has none yet. `cuts` is room.
    pub(super) fn new(
        batch: &'batch mut WindowBatch,
        (edges, range): (&'batch [i64], TimeRange),
        cuts: &'batch mut Cuts,
    ) -> Entries<'batch> {
        Entries {
            start: batch.windows.len(),
            batch,
            edges,
            range,
            last: Cell::new(0),
            cuts,
            goes_on: false,
        }
    }

    /// Whether times from `first` to `last` count and lie in one window.
    pub(super) fn holds_in_one(&self, first: i64, last: i64) -> bool {
        let inside = self.range.contains(first) && self.range.contains(last);
        inside && last < self.edges[self.window(first) + 1]
    }

    /// What of field number `field` is asked for.
    pub(super) fn wanted(&self, field: usize) -> AggregateSet {
        self.batch.columns[field].wanted()
    }

    /// Adds what `push` appends of a piece that begins at `first` and lies in one window: an entry to each column,
    /// or nothing, where it gives false.
    ///
    /// # Errors
    /// As `push` does.
    pub(super) fn add_entry(
        &mut self,
        first: i64,
        push: impl FnOnce(&mut [FieldWindows]) -> Result<bool>,
    ) -> Result<bool> {
        if !push(&mut self.batch.columns)? {
            return Ok(false);
        }
        let window = number_of(self.window(first));
        let columns = &mut self.batch.columns;
        let last = self.batch.windows.len();
        if columns.iter().all(|column| column.count(last) == 0) {
            columns.iter_mut().for_each(FieldWindows::pop);
        } else if last > self.start && self.batch.windows.last() == Some(&window) {
            columns.iter_mut().for_each(FieldWindows::fold_last);
        } else {
            self.batch.windows.push(window);
        }
        Ok(true)
    }

    /// Adds rows of these times, each with a value in a column at least.
    pub(super) fn add_rows(&mut self, times: &Times, columns: &[Column]) {
        self.begin(times);
        for (field, column) in columns.iter().enumerate() {
            self.push(field, times, &ChunkColumn::Values(column));
        }
        self.end();
    }

    /// Begins to add rows of these times, ascending, all of which count. The column of each field is to be pushed
    /// then.
    pub(super) fn begin(&mut self, times: &Times) {
        self.cuts.windows.clear();
        self.cuts.rows.clear();
        let mut row = 0;
        while row < times.len() {
            let window = self.window(times.get(row));
            let count = times.count_below(row, self.edges[window + 1]);
            self.cuts.windows.push(number_of(window));
            self.cuts.rows.push(row..row + count);
            row += count;
        }
        let known = &self.batch.windows[self.start..];
        self.goes_on = !known.is_empty() && known.last() == self.cuts.windows.first();
    }

    /// Adds the values of field number `field` in the rows that were begun with.
    pub(super) fn push(&mut self, field: usize, times: &Times, column: &ChunkColumn<'_>) {
        let own = &mut self.batch.columns[field];
        // What goes on in the window before is one entry with it.
        let first = usize::from(self.goes_on);
        push_column(own, (times, column), &self.cuts.rows[..first]);
        if self.goes_on {
            own.fold_last();
        }
        push_column(own, (times, column), &self.cuts.rows[first..]);
    }

    /// All fields have been pushed.
    pub(super) fn end(&mut self) {
        let new = &self.cuts.windows[usize::from(self.goes_on)..];
        self.batch.windows.extend_from_slice(new);
    }

    /// The window that `time` lies in; it lies in one.
    fn window(&self, time: i64) -> usize {
        let edges = self.edges;
        let is_in =
            |at: usize| edges[at] <= time && edges.get(at + 1).is_some_and(|end| time < *end);
        let last = self.last.get();
        let at = match [last, last + 1].into_iter().find(|at| is_in(*at)) {
            Some(at) => at,
            None => edges.partition_point(|edge| *edge <= time) - 1,
        };
        self.last.set(at);
        at
    }
}

/// Adds rows of several series to a batch: all of them lie in `range`, and it within the windows' edges.
pub(super) fn add_together(
    batch: &mut WindowBatch,
    windows: (&[i64], TimeRange),
    cuts: &mut Cuts,
    together: Together,
) {
    let start = batch.windows.len();
    let mut series = std::mem::take(&mut batch.series);
    let entries = Entries::new(batch, windows, cuts);
    entries.cuts.windows.clear();
    entries.cuts.rows.clear();
    for (number, rows) in together.series {
        series.push((number, start + entries.cuts.windows.len()));
        let mut row = rows.start;
        while row < rows.end {
            let times = &together.rows.timestamps[row..rows.end];
            let window = entries.window(times[0]);
            let end = entries.edges[window + 1];
            let count = times.iter().take_while(|time| **time < end).count();
            entries.cuts.windows.push(number_of(window));
            entries.cuts.rows.push(row..row + count);
            row += count;
        }
    }
    let times = Times::Each(together.rows.timestamps);
    for (own, column) in entries.batch.columns.iter_mut().zip(&together.rows.columns) {
        let column = column
            .as_ref()
            .map_or(ChunkColumn::Absent, ChunkColumn::Values);
        push_column(own, (&times, &column), &entries.cuts.rows);
    }
    batch.windows.extend_from_slice(&cuts.windows);
    batch.series = series;
}

/// Appends an entry for each of `spans`, ranges of rows of these times.
fn push_column(
    windows: &mut FieldWindows,
    (times, column): (&Times, &ChunkColumn<'_>),
    spans: &[Range<usize>],
) {
    match column {
        ChunkColumn::Absent => spans.iter().for_each(|_| windows.push_absent()),
        ChunkColumn::Counted => push_counts(windows, spans),
        ChunkColumn::Repeats(repeats) => push_repeats(windows, (times, repeats), spans),
        ChunkColumn::Values(column) => push_spans(windows, (times, column), spans),
    }
}

fn number_of(window: usize) -> u32 {
    u32::try_from(window).expect("a request has fewer than 2^32 windows")
}
