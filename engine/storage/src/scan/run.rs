//! A memtable's run as a place that holds rows: they are read where they stand.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::memtable::{Run, Slice};
use crate::model::{FieldId, FieldWindows, ScanRequest, SeriesId, TimeRange};
use crate::scan::piece::{Piece, Pieces, RunFields, Store};

/// A sorted run with the fields of one request in mind.
#[derive(Debug)]
pub(super) struct RunStore(pub(super) Arc<RunFields>);

impl RunStore {
    /// The store of `run`, sorted, or `None` where it has nothing that `request` asks for.
    pub(super) fn new(run: &Arc<Run>, request: &ScanRequest) -> Option<RunStore> {
        let (first, last) = run.times();
        if !request.range.overlaps(first, last) {
            return None;
        }
        if !run.fields().any(|field| request.fields.contains(&field)) {
            return None;
        }
        let run = run.sorted();
        let own: Vec<FieldId> = run.fields().collect();
        let column = |field| own.binary_search(field).ok();
        let columns: Vec<Option<usize>> = request.fields.iter().map(column).collect();
        Some(RunStore(Arc::new(RunFields { run, columns })))
    }

    pub(super) fn run(&self) -> &Run {
        &self.0.run
    }

    /// Those of `rows`, all of one series, whose times lie in `range`.
    pub(super) fn within(&self, rows: Range<usize>, range: TimeRange) -> Range<usize> {
        let times = &self.0.run.timestamps()[rows.clone()];
        let start = times.partition_point(|time| *time < range.start);
        let end = times.partition_point(|time| *time < range.end);
        rows.start + start..rows.start + end.max(start)
    }

    /// The `rows` of requested field number `field`.
    pub(super) fn slice(&self, field: usize, rows: Range<usize>) -> Slice<'_> {
        self.0.slice(field, rows)
    }
}

impl<'snapshot> Store<'snapshot> for RunStore {
    fn open(
        &self,
        (_, series): (usize, SeriesId),
        range: TimeRange,
        _descending: bool,
        into: &mut dyn FnMut(Box<dyn Pieces + 'snapshot>),
    ) -> Result<()> {
        let rows = self.within(self.0.run.rows_of(series), range);
        if !rows.is_empty() {
            let piece = Piece::Run(Arc::clone(&self.0), rows);
            into(Box::new(RunPieces(Some(piece))));
        }
        Ok(())
    }

    fn values(&self, series: &[SeriesId], _in_one_window: &dyn Fn(TimeRange) -> bool) -> u64 {
        /// So many series are looked up; of more it is said that they have all rows.
        const LOOKED_UP_MAX: usize = 64;
        let run = &self.0.run;
        let rows: usize = if series.len() <= LOOKED_UP_MAX {
            series.iter().map(|one| run.rows_of(*one).len()).sum()
        } else {
            run.row_count()
        };
        (rows * self.0.columns.iter().flatten().count()) as u64
    }
}

/// All of a run's rows of one series, as one piece.
#[derive(Debug)]
struct RunPieces(Option<Piece>);

impl Pieces for RunPieces {
    fn span(&self) -> Option<(i64, i64)> {
        let times = self.0.as_ref()?.timestamps();
        Some((*times.first()?, *times.last()?))
    }

    fn next_piece(&mut self, _alone: bool) -> Result<Piece> {
        Ok(self.0.take().expect("asked only where there is a piece"))
    }

    fn summary(&mut self, _into: &mut [FieldWindows]) -> Result<bool> {
        Ok(false)
    }

    fn skip_piece(&mut self) {
        self.0 = None;
    }
}
