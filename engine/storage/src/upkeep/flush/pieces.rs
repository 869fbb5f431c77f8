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

/// Rows of one series that stand together in a run. Ordered as they are to be read: by key, then
/// oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    /// The place of the series' key among all keys.
    rank: u32,
    run: u32,
    start: u32,
    len: u32,
}

/// The rows of one measurement, by series.
pub(super) struct Pieces<'runs> {
    runs: &'runs [Arc<Run>],
    /// All series, ascending.
    series: Vec<SeriesId>,
    /// The places in `series` of those that have a key, in the order of keys.
    order: Vec<u32>,
    in_order: Vec<Piece>,
    rows_without_key: u64,
}

impl<'runs> Pieces<'runs> {
    /// The pieces of `runs`, oldest first. Rows whose series has no key are left out.
    ///
    /// # Panics
    /// If a run has 2^32 rows or more.
    pub(super) fn new(runs: &'runs [Arc<Run>], keys: &dyn Keys) -> Pieces<'runs> {
        let mut series: Vec<SeriesId> = Vec::new();
        for run in runs {
            let slices = run.rows().series.chunk_by(|one, other| one == other);
            series.extend(slices.map(|slice| slice[0]));
        }
        series.sort_unstable();
        series.dedup();
        series.shrink_to_fit();
        let order = keys.key_order(&series);
        let mut ranks = vec![None; series.len()];
        for (rank, place) in (0_u32..).zip(&order) {
            ranks[*place as usize] = Some(rank);
        }
        let (mut pieces, mut rows_without_key) = (Vec::new(), 0);
        for (run, rows) in (0..).zip(runs.iter().map(|run| run.rows())) {
            let (mut start, mut next) = (0, 0);
            for slice in rows.series.chunk_by(|one, other| one == other) {
                let place = find(&series, slice[0], next);
                next = place + 1;
                let len = u32::try_from(slice.len()).expect("a run has fewer than 2^32 rows");
                match ranks[place] {
                    Some(rank) => pieces.push(Piece {
                        rank,
                        run,
                        start,
                        len,
                    }),
                    None => rows_without_key += u64::from(len),
                }
                start += len;
            }
        }
        pieces.sort_unstable();
        Pieces {
            runs,
            series,
            order,
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
        let gathers: Vec<Gather<'_>> = self
            .runs
            .iter()
            .map(|run| Gather::new(run.rows()))
            .collect();
        let mut rest = &self.in_order[..];
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(batch_len(rest));
            rest = behind;
            let (first, last) = (batch[0].rank, batch[batch.len() - 1].rank);
            let mut rows = rows_of(batch, &gathers);
            for series in &mut rows.series {
                let rank = usize::try_from(series.0).expect("ranks lie in memory");
                *series = self.series[self.order[rank] as usize];
            }
            let places = &self.order[first as usize..=last as usize];
            let series = places.iter().map(|place| self.series[*place as usize]);
            take(&rows, &keys.entries(&series.collect::<Vec<SeriesId>>()))?;
        }
        Ok(())
    }
}

/// The rows of `batch`, sorted and each series and time once, under ranks in place of ids.
fn rows_of(batch: &[Piece], gathers: &[Gather<'_>]) -> Rows {
    let mut by_run: Vec<Piece> = batch.to_vec();
    // Stable: of one run, pieces stay as they are read.
    by_run.sort_by_key(|piece| piece.run);
    let parts: Vec<Rows> = by_run
        .chunk_by(|one, other| one.run == other.run)
        .map(|pieces| {
            let range = |piece: &Piece| {
                let start = piece.start as usize;
                start..start + piece.len as usize
            };
            let ranges: Vec<Range<usize>> = pieces.iter().map(range).collect();
            let ranks = pieces.iter().map(|piece| SeriesId(piece.rank.into()));
            let ranks: Vec<SeriesId> = ranks.collect();
            gathers[pieces[0].run as usize].rows(&ranges, &ranks)
        })
        .collect();
    arrange(parts)
}

/// How many of the first of `pieces` make a batch.
fn batch_len(pieces: &[Piece]) -> usize {
    let (mut rows, mut len) = (0, 0);
    for series in pieces.chunk_by(|one, other| one.rank == other.rank) {
        len += series.len();
        rows += series.iter().map(|piece| piece.len as usize).sum::<usize>();
        if rows >= BATCH_ROWS {
            break;
        }
    }
    len
}

/// The place of `id` in `series`; mostly it is `guess`.
fn find(series: &[SeriesId], id: SeriesId, guess: usize) -> usize {
    if series.get(guess) == Some(&id) {
        return guess;
    }
    series.binary_search(&id).expect("all series were gathered")
}
