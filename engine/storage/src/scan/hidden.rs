//! A store seen through the deletes: pieces without the rows that are hidden. Where no delete
//! touches a series, its pieces are the store's own.

use crate::error::Result;
use crate::memtable::pick_rows;
use crate::model::{FieldWindows, Hides, SeriesId, TimeRange, covers, meets, visible};
use crate::scan::entries::Entries;
use crate::scan::piece::{Decoded, Piece, Pieces, Store};

/// A run or a block of which deletes hide something.
#[derive(Debug)]
pub(super) struct HiddenStore<'snapshot> {
    pub(super) inner: Box<dyn Store<'snapshot> + 'snapshot>,
    pub(super) hides: Hides,
    pub(super) field_count: usize,
}

impl<'snapshot> Store<'snapshot> for HiddenStore<'snapshot> {
    fn open(
        &self,
        (number, series): (usize, SeriesId),
        range: TimeRange,
        descending: bool,
        into: &mut dyn FnMut(Box<dyn Pieces + 'snapshot>),
    ) -> Result<()> {
        let ranges = self.hides.ranges(series);
        if covers(&ranges, range.start, range.end - 1) {
            return Ok(());
        }
        let series = (number, series);
        if ranges.is_empty() {
            return self.inner.open(series, range, descending, into);
        }
        self.inner.open(series, range, descending, &mut |inner| {
            into(Box::new(HiddenPieces {
                inner,
                ranges: ranges.clone(),
                field_count: self.field_count,
            }));
        })
    }

    fn values(&self, series: &[SeriesId], in_one_window: &dyn Fn(TimeRange) -> bool) -> u64 {
        self.inner.values(series, in_one_window)
    }

    fn check_intact(&self) -> Result<()> {
        self.inner.check_intact()
    }
}

/// Pieces of one series.
#[derive(Debug)]
struct HiddenPieces<'snapshot> {
    inner: Box<dyn Pieces + 'snapshot>,
    /// What is hidden: spans that ascend and do not meet.
    ranges: Vec<TimeRange>,
    field_count: usize,
}

impl HiddenPieces<'_> {
    /// Whether some of the next piece's rows may be hidden.
    fn hides_some(&self) -> bool {
        let span = self.inner.span();
        span.is_some_and(|(first, last)| meets(&self.ranges, first, last))
    }
}

impl Pieces for HiddenPieces<'_> {
    fn span(&self) -> Option<(i64, i64)> {
        self.inner.span()
    }

    fn next_piece(&mut self, alone: bool) -> Result<Piece> {
        if let Some((first, last)) = self.inner.span()
            && covers(&self.ranges, first, last)
        {
            // Nothing of it is seen: it need not be decoded.
            self.inner.skip_piece();
            return Ok(Piece::Decoded(Decoded::default()));
        }
        let piece = self.inner.next_piece(alone)?;
        let Some(rows) = visible(&self.ranges, piece.timestamps()) else {
            return Ok(piece);
        };
        let all = 0..piece.timestamps().len();
        let column = |field: usize| {
            let column = piece.slice(field, all.clone()).to_column()?;
            let column = pick_rows(&column, &rows);
            (!column.values.is_empty()).then_some(column)
        };
        let times = piece.timestamps();
        Ok(Piece::Decoded(Decoded {
            columns: (0..self.field_count).map(column).collect(),
            timestamps: rows.iter().map(|row| times[*row as usize]).collect(),
        }))
    }

    fn summary(&mut self, into: &mut [FieldWindows]) -> Result<bool> {
        // The statistics count rows that are not seen.
        if self.hides_some() {
            return Ok(false);
        }
        self.inner.summary(into)
    }

    fn add_rows(&mut self, entries: &mut Entries<'_>) -> Result<Option<usize>> {
        if self.hides_some() {
            return Ok(None);
        }
        self.inner.add_rows(entries)
    }

    fn skip_piece(&mut self) {
        self.inner.skip_piece();
    }
}
