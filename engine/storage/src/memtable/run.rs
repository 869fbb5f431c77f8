//! A run: rows of one measurement that were written in consecutive sequences, never changed.
//!
//! A run as it was written, or as a log had it, is in arrival order and may hold one series and time twice, the
//! later row winning field by field; a sorted run ascends by (series, time) and holds each once. A run that waits for a flush and
//! that nobody is expected to read is narrow: it keeps whole numbers in fewer bytes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::budget::{Budget, Charge, Class};
use crate::memtable::gather::{RowSource, arrange};
use crate::memtable::narrow::NarrowColumn;
use crate::memtable::order::ascends;
use crate::memtable::slice::{Slice, pick_rows};
use crate::model::{
    Bitmap, Column, FieldId, FieldType, MeasurementId, Presence, Rows, Sequence, SeriesId,
};

/// Immutable rows of one measurement and what is known of them at a glance.
#[derive(Debug)]
pub struct Run {
    /// The rows, but for the columns in `narrow`.
    rows: Rows,
    /// Columns in few bytes, ascending by field; none of a sorted copy.
    narrow: Vec<(FieldId, NarrowColumn)>,
    sequences: (Sequence, Sequence),
    is_sorted: bool,
    times: (i64, i64),
    series: (SeriesId, SeriesId),
    size_bytes: usize,
    /// Its memory in the budget of its store.
    charge: Option<Charge>,
    /// What the first reader made of an unsorted run.
    sorted: OnceLock<Arc<Run>>,
    /// For each column with holes, how many values stand before each [`RANK_ROWS`] rows; made for
    /// the first reader, so that finding a series' values is a look at a few words.
    ranks: OnceLock<Vec<Vec<u32>>>,
}

/// Rows between two known ranks.
const RANK_ROWS: usize = 512;

impl Run {
    /// The run of `rows` as they were written under `sequence`. Costs a look at each row's series
    /// and time; the rows are neither sorted nor copied.
    ///
    /// # Panics
    /// If there are no rows.
    pub fn new(rows: Rows, sequence: Sequence) -> Run {
        Run::spanning(rows, (sequence, sequence), None)
    }

    /// The same of rows of several sequences, from the first to the last of them; counted in `budget` as long as it
    /// lives, and so is what is made of it.
    ///
    /// # Panics
    /// As [`Run::new`].
    pub fn charged(rows: Rows, sequences: (Sequence, Sequence), budget: &Arc<Budget>) -> Run {
        let charge = Some((budget, Class::Memtable));
        Run::spanning(rows, sequences, charge)
    }

    fn spanning(
        rows: Rows,
        sequences: (Sequence, Sequence),
        charge: Option<(&Arc<Budget>, Class)>,
    ) -> Run {
        assert!(!rows.is_empty(), "a run has rows");
        assert_eq!(rows.series.len(), rows.len(), "each row has a series");
        let times = bounds(&rows.timestamps);
        let series = bounds(&rows.series);
        let size_bytes = rows.size_bytes() + size_of::<Run>();
        Run {
            charge: charge.map(|(budget, class)| budget.charge(class, size_bytes)),
            is_sorted: ascends(&rows.series, &rows.timestamps),
            times,
            series,
            size_bytes,
            rows,
            narrow: Vec::new(),
            sequences,
            sorted: OnceLock::new(),
            ranks: OnceLock::new(),
        }
    }

    /// One sorted run of all rows of `runs`, oldest first: of each series, field and time the
    /// newest value. Values are copied bit by bit. Memory: that of the result and of one column.
    ///
    /// # Panics
    /// If there is no run, if they are of several measurements, or hold 2^32 rows or more.
    pub fn merge(runs: &[Arc<Run>]) -> Run {
        let (first, last) = match runs {
            [] => unreachable!("a merge has runs"),
            [first, .., last] => (first, last),
            [only] => (only, only),
        };
        let same = |run: &Arc<Run>| run.rows.measurement == first.rows.measurement;
        assert!(runs.iter().all(same), "runs of one measurement are merged");
        let parts: Vec<&Run> = runs.iter().map(|run| &**run).collect();
        let sequences = (first.sequences.0, last.sequences.1);
        let charge = first.budget().map(|budget| (budget, Class::Memtable));
        let run = Run::spanning(arrange(&parts), sequences, charge);
        debug_assert!(run.is_sorted, "a merge sorts");
        run
    }

    /// The run with its whole numbers in as few bytes as they take, where nobody else holds it.
    pub(super) fn narrowed(run: Arc<Run>) -> Arc<Run> {
        let mut run = match Arc::try_unwrap(run) {
            Ok(run) => run,
            Err(shared) => return shared,
        };
        let columns = std::mem::take(&mut run.rows.columns);
        for (field, column) in columns {
            match NarrowColumn::of(column) {
                Ok(column) => run.narrow.push((field, column)),
                Err(column) => run.rows.columns.push((field, column)),
            }
        }
        let narrow = run.narrow.iter();
        let narrow = narrow.map(|(_, column)| column.size_bytes() + run.rows.len() / 8);
        run.size_bytes = run.rows.size_bytes() + narrow.sum::<usize>() + size_of::<Run>();
        // The old charge lives until the new one is there.
        let charge = run
            .budget()
            .map(|budget| budget.charge(Class::Memtable, run.size_bytes));
        run.charge = charge;
        Arc::new(run)
    }

    /// The run without the rows for which `gone` holds: `None` where none is left, itself where all
    /// are. Cost: a look at each row, and a copy of those that stay where some go.
    ///
    /// # Panics
    /// If there are 2^32 rows or more.
    pub fn without(
        self: &Arc<Run>,
        mut gone: impl FnMut(SeriesId, i64) -> bool,
    ) -> Option<Arc<Run>> {
        let rows = &self.rows;
        let places = (0_u32..).zip(rows.series.iter().zip(&rows.timestamps));
        let kept = places.filter(|(_, (series, time))| !gone(**series, **time));
        let kept: Vec<u32> = kept.map(|(row, _)| row).collect();
        if kept.len() == rows.len() {
            return Some(Arc::clone(self));
        }
        if kept.is_empty() {
            return None;
        }
        Some(Arc::new(self.picked(&kept, |_| true)))
    }

    /// The run without the fields for which `keeps` does not hold, and without the rows that have no
    /// value then: `None` where none is left, itself where all is kept. Cost: as [`Run::without`].
    ///
    /// # Panics
    /// As [`Run::without`].
    pub fn with_fields(self: &Arc<Run>, keeps: impl Fn(FieldId) -> bool) -> Option<Arc<Run>> {
        if self.fields().all(&keeps) {
            return Some(Arc::clone(self));
        }
        let own = self.fields().filter(|field| keeps(*field));
        let own: Vec<&Presence> = own
            .filter_map(|field| self.held(field).presence())
            .collect();
        let has_value = |row: usize| {
            own.iter().any(|presence| match presence {
                Presence::All => true,
                Presence::Some(bits) => bits.get(row),
            })
        };
        let rows = (0_u32..).zip(0..self.rows.len());
        let kept: Vec<u32> = rows
            .filter(|(_, row)| has_value(*row))
            .map(|(row, _)| row)
            .collect();
        (!kept.is_empty()).then(|| Arc::new(self.picked(&kept, keeps)))
    }

    /// Some rows and fields of the run.
    fn picked(&self, kept: &[u32], keeps: impl Fn(FieldId) -> bool) -> Run {
        let rows = &self.rows;
        let column = |field| {
            let column = pick_rows(&*RowSource::column(self, field)?, kept);
            (!column.values.is_empty()).then_some((field, column))
        };
        let fields = self.fields().filter(|field| keeps(*field));
        let rows = Rows {
            measurement: rows.measurement,
            series: kept.iter().map(|row| rows.series[*row as usize]).collect(),
            timestamps: kept
                .iter()
                .map(|row| rows.timestamps[*row as usize])
                .collect(),
            columns: fields.filter_map(column).collect(),
        };
        let charge = self.budget().map(|budget| (budget, Class::Upkeep));
        Run::spanning(rows, self.sequences, charge)
    }

    /// The run with its rows sorted and in full width: itself where they are. Else the copy that the first
    /// caller made, which lives as long as the run: a run is either merged soon or read seldom.
    pub fn sorted(self: &Arc<Run>) -> Arc<Run> {
        if self.is_sorted && self.narrow.is_empty() {
            return Arc::clone(self);
        }
        let charge = self.budget().map(|budget| (budget, Class::Memtable));
        let sorted = || {
            let rows = if self.is_sorted {
                self.rows().into_owned()
            } else {
                arrange(&[&**self])
            };
            Arc::new(Run::spanning(rows, self.sequences, charge))
        };
        Arc::clone(self.sorted.get_or_init(sorted))
    }

    /// Whether a sorted copy has been made.
    #[cfg(test)]
    pub(crate) fn has_sorted_copy(&self) -> bool {
        self.sorted.get().is_some()
    }

    fn budget(&self) -> Option<&Arc<Budget>> {
        self.charge.as_ref().map(Charge::budget)
    }

    /// The rows. Cost: a copy where the run is narrow.
    pub fn rows(&self) -> Cow<'_, Rows> {
        if self.narrow.is_empty() {
            return Cow::Borrowed(&self.rows);
        }
        let column = |field| Some((field, RowSource::column(self, field)?.into_owned()));
        Cow::Owned(Rows {
            measurement: self.rows.measurement,
            series: self.rows.series.clone(),
            timestamps: self.rows.timestamps.clone(),
            columns: self.fields().filter_map(column).collect(),
        })
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Each row's series.
    pub fn series_of_rows(&self) -> &[SeriesId] {
        &self.rows.series
    }

    /// Each row's time, ns UTC.
    pub fn timestamps(&self) -> &[i64] {
        &self.rows.timestamps
    }

    /// The fields, ascending.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> {
        let (mut wide, mut narrow) = (
            self.rows.columns.iter().map(|(field, _)| *field).peekable(),
            self.narrow.iter().map(|(field, _)| *field).peekable(),
        );
        std::iter::from_fn(move || match (wide.peek(), narrow.peek()) {
            (Some(one), Some(other)) if one > other => narrow.next(),
            (None, _) => narrow.next(),
            (Some(_), _) => wide.next(),
        })
    }

    /// How a field's column is held.
    pub(crate) fn held(&self, field: FieldId) -> Held<'_> {
        if let Some(column) = find(&self.rows.columns, field) {
            return Held::Wide(column);
        }
        find(&self.narrow, field).map_or(Held::Absent, Held::Narrow)
    }

    /// The measurement of all rows.
    pub fn measurement(&self) -> MeasurementId {
        self.rows.measurement
    }

    /// The first and the last sequence the rows were written under.
    pub fn sequences(&self) -> (Sequence, Sequence) {
        self.sequences
    }

    /// Whether rows ascend strictly by (series, time).
    pub fn is_sorted(&self) -> bool {
        self.is_sorted
    }

    /// The earliest and the latest time of any row, ns UTC.
    pub fn times(&self) -> (i64, i64) {
        self.times
    }

    /// The lowest and the highest series of any row.
    pub fn series(&self) -> (SeriesId, SeriesId) {
        self.series
    }

    /// Anonymous memory the run holds, in bytes; without a sorted copy.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Which rows are of `series`. Cost: a binary search.
    ///
    /// # Panics
    /// If the run is not sorted.
    pub fn rows_of(&self, series: SeriesId) -> Range<usize> {
        assert!(
            self.is_sorted,
            "rows of a series stand together once sorted"
        );
        if series < self.series.0 || series > self.series.1 {
            return 0..0;
        }
        let start = self.rows.series.partition_point(|one| *one < series);
        self.rows_from(start, series)
    }

    /// The same for who has found other series at row `near`: costs little where these are not far.
    ///
    /// # Panics
    /// As [`Run::rows_of`].
    pub(crate) fn rows_near(&self, series: SeriesId, near: usize) -> Range<usize> {
        let is_before = self.rows.series.get(near).is_some_and(|one| *one <= series);
        if !is_before || !self.is_sorted || series > self.series.1 {
            return self.rows_of(series);
        }
        let start = near + gallop(&self.rows.series[near..], |one| *one < series);
        self.rows_from(start, series)
    }

    /// The rows of `series`, which begin at `start` if there are some.
    fn rows_from(&self, start: usize, series: SeriesId) -> Range<usize> {
        let behind = &self.rows.series[start..];
        start..start + gallop(behind, |one| *one == series)
    }
}

/// A field's column in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held<'run> {
    Absent,
    Wide(&'run Column),
    Narrow(&'run NarrowColumn),
}

impl<'run> Held<'run> {
    /// Which rows have a value; `None` where none has.
    pub(crate) fn presence(self) -> Option<&'run Presence> {
        match self {
            Held::Absent => None,
            Held::Wide(column) => Some(&column.presence),
            Held::Narrow(column) => Some(&column.presence),
        }
    }

    /// The type of its values.
    pub(crate) fn field_type(self) -> Option<FieldType> {
        match self {
            Held::Absent => None,
            Held::Wide(column) => Some(column.values.field_type()),
            Held::Narrow(column) => Some(column.field_type()),
        }
    }
}

impl RowSource for Run {
    fn measurement(&self) -> MeasurementId {
        self.rows.measurement
    }

    fn series(&self) -> &[SeriesId] {
        &self.rows.series
    }

    fn timestamps(&self) -> &[i64] {
        &self.rows.timestamps
    }

    fn fields(&self) -> Vec<FieldId> {
        self.fields().collect()
    }

    fn column(&self, field: FieldId) -> Option<Cow<'_, Column>> {
        match self.held(field) {
            Held::Absent => None,
            Held::Wide(column) => Some(Cow::Borrowed(column)),
            Held::Narrow(column) => Some(Cow::Owned(column.widened())),
        }
    }
}

fn find<T>(columns: &[(FieldId, T)], field: FieldId) -> Option<&T> {
    let at = columns.binary_search_by_key(&field, |(id, _)| *id).ok()?;
    Some(&columns[at].1)
}

impl Run {
    /// The `rows` of column number `column` of [`Rows::columns`], of a run that is not narrow.
    pub(crate) fn slice(&self, column: usize, rows: Range<usize>) -> Slice<'_> {
        debug_assert!(self.narrow.is_empty(), "a reader reads a sorted run");
        let (_, whole) = &self.rows.columns[column];
        let Presence::Some(bits) = &whole.presence else {
            return Slice::of(Some(whole), rows);
        };
        let ranks = &self.ranks.get_or_init(|| self.all_ranks())[column];
        let rank = |row: usize| {
            let known = row / RANK_ROWS;
            let words = &bits.words()[known * RANK_ROWS / 64..];
            ranks[known] as usize + ones(words, row % RANK_ROWS)
        };
        Slice {
            column: Some(whole),
            dense: rank(rows.start)..rank(rows.end),
            rows,
        }
    }

    fn all_ranks(&self) -> Vec<Vec<u32>> {
        let ranks = |bits: &Bitmap| {
            let mut ranks = vec![0_u32];
            for words in bits.words().chunks(RANK_ROWS / 64) {
                let ones: u32 = words.iter().map(|word| word.count_ones()).sum();
                ranks.push(ranks[ranks.len() - 1] + ones);
            }
            ranks
        };
        self.rows
            .columns
            .iter()
            .map(|(_, column)| match &column.presence {
                Presence::All => Vec::new(),
                Presence::Some(bits) => ranks(bits),
            })
            .collect()
    }
}

/// How many of the first `count` bits are set.
fn ones(words: &[u64], count: usize) -> usize {
    let whole: u32 = words[..count / 64]
        .iter()
        .map(|word| word.count_ones())
        .sum();
    let rest = match count % 64 {
        0 => 0,
        rest => (words[count / 64] & ((1 << rest) - 1)).count_ones(),
    };
    (whole + rest) as usize
}

/// How many of the first of `sorted` satisfy `holds`, which none behind them does. Cost: logarithm
/// of the answer, not of the length.
fn gallop<T>(sorted: &[T], holds: impl Fn(&T) -> bool) -> usize {
    let mut step = 1;
    while step < sorted.len() && holds(&sorted[step]) {
        step *= 2;
    }
    let end = sorted.len().min(step + 1);
    sorted[..end].partition_point(holds)
}

fn bounds<T: Copy + Ord>(values: &[T]) -> (T, T) {
    values[1..]
        .iter()
        .fold((values[0], values[0]), |(low, high), value| {
            (low.min(*value), high.max(*value))
        })
}
