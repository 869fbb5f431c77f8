//! Several runs read as one, where each has a few rows of each of many series: the rows of many series are put in
//! order together, as to merge each series by itself costs many times what its rows do.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::memtable::{Fold, Run, Slice};
use crate::model::{FieldId, Rows, ScanRequest, Sequence, SeriesId, TimeRange};
use crate::scan::merge::kept;
use crate::scan::piece::{Decoded, Pieces, RunFields, Store, Together};
use crate::scan::run::RunStore;

/// Fewer series than this are merged one by one.
const SERIES_MIN: usize = 64;
/// Series of a request that are looked up to know how many rows they have.
const SAMPLED: usize = 16;
/// Rows of a series in a run up to which they are few.
const FEW_ROWS: usize = 32;
/// Series of the first batch after a seek; each has twice as many as the one before it, as a scan may end early.
const FIRST_SERIES: usize = 64;
/// A batch ends with the series that brings it to so many rows: some columns of them stay in a core's cache.
pub(super) const BATCH_ROWS: usize = 8192;
/// The same in bytes, about, where rows are long.
const BATCH_BYTES: usize = 8 << 20;
/// A series with more rows than this in all runs is merged by itself: a batch stays small.
pub(super) const SERIES_ROWS_MAX: usize = 4096;

/// Runs, oldest first, none of which deletes touch.
#[derive(Debug)]
pub(super) struct RunsStore {
    runs: Vec<RunStore>,
    /// Of each run, where the rows of the series that was found last begin: the next are mostly near.
    found: Vec<Cell<usize>>,
    series: Arc<[SeriesId]>,
    fields: Vec<FieldId>,
    range: TimeRange,
    /// A batch ends with so many rows.
    rows_max: usize,
    /// Behind the last series that is asked for next.
    end: usize,
    batch: RefCell<Batch>,
    /// A series that is merged by itself, as was found.
    long: Cell<Option<usize>>,
}

/// The rows of some series of the request.
#[derive(Debug, Default)]
struct Batch {
    /// Which series.
    numbers: Range<usize>,
    rows: Option<RunStore>,
}

/// Series, and the rows that they have in each run.
struct Gathered {
    numbers: Range<usize>,
    spans: Vec<Vec<Range<usize>>>,
}

/// Rows in the order of series and time.
struct Sorted {
    series: Vec<SeriesId>,
    rows: Decoded,
}

impl Sorted {
    /// Leaves out rows without any value.
    fn leave_out_empty(&mut self) {
        if let Some(rows) = kept(self.series.len(), &self.rows.columns, false) {
            self.series = rows.iter().map(|row| self.series[*row as usize]).collect();
            self.rows = self.rows.pick(&rows);
        }
    }
}

/// Whether `run` has so few rows of each series of `request` that it is to be read with others.
pub(super) fn has_few(run: &RunStore, request: &ScanRequest) -> bool {
    let series = &request.series;
    if series.len() < SERIES_MIN {
        return false;
    }
    let sample = series.iter().step_by(series.len() / SAMPLED);
    // A long one among them is merged by itself all the same.
    let is_long = |one: &&SeriesId| run.run().rows_of(**one).len() > FEW_ROWS;
    sample.filter(is_long).count() <= SAMPLED / 8
}

impl RunsStore {
    pub(super) fn new(runs: Vec<RunStore>, request: &ScanRequest) -> RunsStore {
        let row_bytes = |run: &RunStore| run.run().size_bytes() / run.run().row_count();
        let row_bytes = runs.iter().map(row_bytes).max().unwrap_or(0);
        RunsStore {
            rows_max: (BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS),
            found: vec![Cell::new(0); runs.len()],
            runs,
            series: Arc::clone(&request.series),
            fields: request.fields.clone(),
            range: request.range,
            end: request.series.len(),
            batch: RefCell::default(),
            long: Cell::new(None),
        }
    }

    /// How many series the batch from number `first` on is to have at most.
    fn next_count(&self, first: usize) -> usize {
        let before = &self.batch.borrow().numbers;
        if before.end == first && !before.is_empty() {
            (2 * before.len()).min(BATCH_ROWS)
        } else {
            FIRST_SERIES
        }
    }

    /// Where the rows of the series from number `first` on are, of `count` series at most.
    fn gather(&self, first: usize, count: usize) -> Gathered {
        let mut spans: Vec<Vec<Range<usize>>> = vec![Vec::new(); self.runs.len()];
        let (mut end, mut rows) = (first, 0);
        let last = self.end.min(first.saturating_add(count));
        let wanted = &self.series[first..last];
        let (lowest, highest) = (wanted.iter().min(), wanted.iter().max());
        let may_have = |run: &RunStore| {
            let (low, high) = run.run().series();
            highest >= Some(&low) && lowest <= Some(&high)
        };
        // Where series came one after another, most runs have none of these.
        let runs: Vec<usize> = (0..self.runs.len())
            .filter(|run| may_have(&self.runs[*run]))
            .collect();
        let mut found: Vec<Range<usize>> = Vec::with_capacity(runs.len());
        while end < last && rows < self.rows_max {
            let series = self.series[end];
            found.clear();
            for run in &runs {
                let (run, found_at) = (&self.runs[*run], &self.found[*run]);
                let rows = run.run().rows_near(series, found_at.get());
                if !rows.is_empty() {
                    found_at.set(rows.start);
                }
                found.push(run.within(rows, self.range));
            }
            let own: usize = found.iter().map(Range::len).sum();
            if own > SERIES_ROWS_MAX {
                self.long.set(Some(end));
                break;
            }
            for (run, rows) in runs.iter().zip(&found) {
                let spans = &mut spans[*run];
                match spans.last_mut() {
                    Some(span) if span.end == rows.start => span.end = rows.end,
                    Some(_) | None if rows.is_empty() => {}
                    Some(_) | None => spans.push(rows.clone()),
                }
            }
            rows += own;
            end += 1;
        }
        Gathered {
            numbers: first..end,
            spans,
        }
    }

    /// The rows of these spans of each run, in order.
    fn arrange(&self, spans: &[Vec<Range<usize>>]) -> Sorted {
        let spans = || {
            let runs = self.runs.iter().zip(spans);
            runs.flat_map(|(run, spans)| spans.iter().map(move |span| (run, span.clone())))
        };
        let mut series: Vec<SeriesId> = Vec::new();
        let mut timestamps: Vec<i64> = Vec::new();
        for (run, span) in spans() {
            series.extend_from_slice(&run.run().series_of_rows()[span.clone()]);
            timestamps.extend_from_slice(&run.run().timestamps()[span]);
        }
        // What stands in one place is in order.
        let is_one = spans().nth(1).is_none();
        let fold = (!is_one).then(|| Fold::new(&series, &timestamps));
        let column = |place| {
            let slices = spans().map(|(run, span)| run.slice(place, span));
            let slices: Vec<Slice<'_>> = slices.collect();
            match &fold {
                Some(fold) => fold.column(&slices),
                None => slices.first()?.to_column(),
            }
        };
        let columns = (0..self.fields.len()).map(column).collect();
        let (series, timestamps) = match &fold {
            Some(fold) => (fold.all(&series), fold.all(&timestamps)),
            None => (series, timestamps),
        };
        Sorted {
            series,
            rows: Decoded {
                timestamps,
                columns,
            },
        }
    }

    /// The same as a run of their own.
    fn store_of(&self, sorted: Sorted) -> RunStore {
        let (mut columns, mut places) = (Vec::new(), Vec::new());
        for (field, column) in self.fields.iter().zip(sorted.rows.columns) {
            places.push(column.as_ref().map(|_| columns.len()));
            columns.extend(column.map(|column| (*field, column)));
        }
        let rows = Rows {
            measurement: self.runs[0].run().measurement(),
            series: sorted.series,
            timestamps: sorted.rows.timestamps,
            columns,
        };
        RunStore(Arc::new(RunFields {
            run: Arc::new(Run::new(rows, Sequence(0))),
            columns: places,
        }))
    }
}

impl<'snapshot> Store<'snapshot> for RunsStore {
    fn open(
        &self,
        (number, series): (usize, SeriesId),
        range: TimeRange,
        descending: bool,
        into: &mut dyn FnMut(Box<dyn Pieces + 'snapshot>),
    ) -> Result<()> {
        if self.long.get() != Some(number) && !self.batch.borrow().numbers.contains(&number) {
            let Gathered { numbers, spans } = self.gather(number, self.next_count(number));
            let is_empty = spans.iter().all(Vec::is_empty);
            let rows = (!is_empty).then(|| self.store_of(self.arrange(&spans)));
            *self.batch.borrow_mut() = Batch { numbers, rows };
        }
        let batch = self.batch.borrow();
        if batch.numbers.contains(&number) {
            return match &batch.rows {
                Some(rows) => rows.open((number, series), range, descending, into),
                None => Ok(()),
            };
        }
        let mut runs = self.runs.iter();
        runs.try_for_each(|run| run.open((number, series), range, descending, into))
    }

    fn together(&self, first: usize) -> Option<Together> {
        if self.long.get() == Some(first) {
            return None;
        }
        let count = self.next_count(first);
        let wanted = &self.series[first..self.end.min(first.saturating_add(count))];
        if !wanted.is_sorted() {
            return None;
        }
        let Gathered { numbers, spans } = self.gather(first, count);
        if numbers.is_empty() {
            return None;
        }
        *self.batch.borrow_mut() = Batch {
            numbers: numbers.clone(),
            rows: None,
        };
        let mut sorted = self.arrange(&spans);
        sorted.leave_out_empty();
        let mut row = 0;
        let rows_of = |number: usize| {
            let own = &sorted.series[row..];
            let count = (own.iter())
                .take_while(|series| **series == self.series[number])
                .count();
            row += count;
            (number, row - count..row)
        };
        let series = numbers.clone().map(rows_of);
        Some(Together {
            series: series.filter(|(_, rows)| !rows.is_empty()).collect(),
            numbers,
            rows: sorted.rows,
        })
    }

    fn seek(&mut self, series: Range<usize>) {
        self.end = series.end;
        *self.batch.get_mut() = Batch::default();
    }

    fn values(&self, series: &[SeriesId], in_one_window: &dyn Fn(TimeRange) -> bool) -> u64 {
        let runs = self.runs.iter();
        runs.map(|run| run.values(series, in_one_window)).sum()
    }
}
