//! Where each series' rows stand in the runs of a memtable, in the order of keys, and the batches
//! that are made of them.

use std::ops::Range;
use std::sync::Arc;

use super::Keys;
use super::gather::Gather;
use crate::error::Result;
use crate::memtable::{Run, arrange};
use crate::model::{Rows, SeriesEntry, SeriesId};

/// Rows in a batch, where one series has no more: a few columns of them stay in a core's cache.
const BATCH_ROWS: usize = 8192;

/// Rows of one series that stand together in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    pub(super) run: u32,
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Piece {
    pub(super) fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// The rows of one measurement, by series.
pub(super) struct Pieces<'runs> {
    runs: &'runs [Arc<Run>],
    known: KnownSeries,
    /// The places among the known series of those that have a key, in the order of keys.
    order: Vec<u32>,
    /// Where each of them, in that order, begins in `in_order`; at the end, where the last one ends.
    starts: Vec<usize>,
    /// Ordered as they are to be read: by key, then oldest first.
    in_order: Vec<Piece>,
    rows_without_key: u64,
}

impl<'runs> Pieces<'runs> {
    /// The pieces of `runs`, oldest first. Rows whose series has no key are left out. Cost: three looks
    /// at each row's series, whether the runs are sorted or not.
    ///
    /// # Panics
    /// If a run has 2^32 rows or more.
    pub(super) fn new(runs: &'runs [Arc<Run>], keys: &dyn Keys) -> Pieces<'runs> {
        let known = KnownSeries::of(runs);
        let order = keys.key_order(&known.ids);
        let mut ranks = vec![None; known.ids.len()];
        for (rank, place) in (0_usize..).zip(&order) {
            ranks[*place as usize] = Some(rank);
        }
        let mut starts = vec![0_usize; order.len() + 1];
        let mut rows_without_key = 0;
        for run in runs {
            known.each_piece(run, &mut |place, rows| match ranks[place] {
                Some(rank) => starts[rank + 1] += 1,
                None => rows_without_key += rows.len() as u64,
            });
        }
        let mut count = 0;
        for start in &mut starts {
            count += *start;
            *start = count;
        }
        let mut pieces = vec![Piece::default(); count];
        let mut next = starts.clone();
        for (number, run) in (0..).zip(runs) {
            known.each_piece(run, &mut |place, rows| {
                if let Some(rank) = ranks[place] {
                    let row = |row| u32::try_from(row).expect("a run has fewer than 2^32 rows");
                    pieces[next[rank]] = Piece {
                        run: number,
                        start: row(rows.start),
                        len: row(rows.len()),
                    };
                    next[rank] += 1;
                }
            });
        }
        Pieces {
            runs,
            known,
            order,
            starts,
            in_order: pieces,
            rows_without_key,
        }
    }

    pub(super) fn rows_without_key(&self) -> u64 {
        self.rows_without_key
    }

    /// Gives all rows in the order of keys and times, one per series and time, a batch of whole
    /// series at a time, each with the keys of its series.
    ///
    /// # Errors
    /// What `take` says.
    pub(super) fn each_batch(
        &self,
        keys: &dyn Keys,
        take: &mut dyn FnMut(&Rows, &[SeriesEntry]) -> Result<()>,
    ) -> Result<()> {
        let gather = Gather::new(self.runs);
        let mut first = 0;
        while first < self.order.len() {
            let end = self.batch_end(first);
            let series = (first..end).flat_map(|rank| {
                let id = SeriesId(rank as u64);
                let pieces = &self.in_order[self.starts[rank]..self.starts[rank + 1]];
                pieces.iter().map(move |piece| (id, piece.len as usize))
            });
            let pieces = &self.in_order[self.starts[first]..self.starts[end]];
            // Sorted by ranks, as they are known by ids only once they stand in their order.
            let mut rows = arrange(gather.rows(pieces, series));
            let ids: Vec<SeriesId> = self.order[first..end]
                .iter()
                .map(|place| self.known.ids[*place as usize])
                .collect();
            for series in &mut rows.series {
                let rank = usize::try_from(series.0).expect("ranks lie in memory");
                *series = ids[rank - first];
            }
            take(&rows, &keys.entries(&ids))?;
            first = end;
        }
        Ok(())
    }

    /// Behind which series a batch ends that begins with the one of rank `first`.
    fn batch_end(&self, first: usize) -> usize {
        let mut rows = 0;
        let full = (first..self.order.len()).find(|rank| {
            let pieces = &self.in_order[self.starts[*rank]..self.starts[rank + 1]];
            rows += pieces.iter().map(|piece| piece.len as usize).sum::<usize>();
            rows >= BATCH_ROWS
        });
        full.map_or(self.order.len(), |rank| rank + 1)
    }
}

/// All series of some runs, and how they are found.
struct KnownSeries {
    /// Ascending.
    ids: Vec<SeriesId>,
    /// Where ids lie close together: of each from the first on its place in `ids`.
    places: Option<Vec<u32>>,
}

impl KnownSeries {
    fn of(runs: &[Arc<Run>]) -> KnownSeries {
        let first = runs.iter().map(|run| run.series().0.0).min();
        let last = runs.iter().map(|run| run.series().1.0).max();
        let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
        let rows: usize = runs.iter().map(|run| run.row_count()).sum();
        let span = usize::try_from(last - first).unwrap_or(usize::MAX);
        if span < rows.max(1024) {
            return KnownSeries::close(runs, first, span + 1);
        }
        let mut ids: Vec<SeriesId> = Vec::new();
        for run in runs {
            let slices = run.series_of_rows().chunk_by(|one, other| one == other);
            ids.extend(slices.map(|slice| slice[0]));
        }
        ids.sort_unstable();
        ids.dedup();
        ids.shrink_to_fit();
        KnownSeries { ids, places: None }
    }

    fn close(runs: &[Arc<Run>], first: u64, span: usize) -> KnownSeries {
        let mut places = vec![0_u32; span];
        for id in runs.iter().flat_map(|run| run.series_of_rows()) {
            places[offset(*id, first)] = 1;
        }
        let mut ids = Vec::new();
        for (id, place) in (first..).zip(&mut places) {
            if *place == 1 {
                *place = u32::try_from(ids.len()).expect("fewer series than rows in memory");
                ids.push(SeriesId(id));
            }
        }
        KnownSeries {
            ids,
            places: Some(places),
        }
    }

    /// Gives the place of the series and the rows of each piece of `run`.
    fn each_piece(&self, run: &Run, give: &mut dyn FnMut(usize, Range<usize>)) {
        let Some(first) = self.ids.first() else {
            return;
        };
        let (mut start, mut next) = (0, 0);
        for slice in run.series_of_rows().chunk_by(|one, other| one == other) {
            let place = match &self.places {
                Some(places) => places[offset(slice[0], first.0)] as usize,
                None => find(&self.ids, slice[0], next),
            };
            next = place + 1;
            give(place, start..start + slice.len());
            start += slice.len();
        }
    }
}

fn offset(id: SeriesId, first: u64) -> usize {
    usize::try_from(id.0 - first).expect("the span lies in memory")
}

/// The place of `id` in `series`; mostly it is `guess`.
fn find(series: &[SeriesId], id: SeriesId, guess: usize) -> usize {
    if series.get(guess) == Some(&id) {
        return guess;
    }
    series.binary_search(&id).expect("all series were gathered")
}
