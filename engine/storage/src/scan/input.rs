//! One store's rows of one series as the merge sees them: what is open, and how far it is known.
//!
//! Times are compared as keys that ascend in the order of the scan, so that both directions are
//! one code.

use std::ops::Range;

use crate::error::Result;
use crate::scan::entries::Entries;
use crate::scan::piece::{Piece, Pieces};

/// A store's rows of one series, in the order of the scan.
#[derive(Debug)]
pub(super) struct Input<'snapshot> {
    pieces: Box<dyn Pieces + 'snapshot>,
    /// The open piece and which of its rows are left.
    open: Option<(Piece, Range<usize>)>,
    descending: bool,
}

impl<'snapshot> Input<'snapshot> {
    pub(super) fn new(pieces: Box<dyn Pieces + 'snapshot>, descending: bool) -> Self {
        Input {
            pieces,
            open: None,
            descending,
        }
    }

    /// A key that no row left lies below; `None` where no row is left.
    pub(super) fn edge(&self) -> Option<i64> {
        if self.left() > 0 {
            return Some(self.key(0));
        }
        let (first, last) = self.pieces.span()?;
        Some(self.key_of(if self.descending { last } else { first }))
    }

    /// How many rows of the open piece are left.
    pub(super) fn left(&self) -> usize {
        self.open.as_ref().map_or(0, |(_, rows)| rows.len())
    }

    /// Opens the next piece; no rows may be left of the last. `alone`: whether a piece with this highest
    /// key meets no other store's.
    ///
    /// # Errors
    /// As [`Pieces::next_piece`].
    pub(super) fn open(&mut self, alone: impl FnOnce(i64) -> bool) -> Result<()> {
        debug_assert!(self.left() == 0, "a piece is read to its end");
        let last = self
            .pieces
            .span()
            .map(|(first, last)| self.key_of(if self.descending { first } else { last }));
        let piece = self.pieces.next_piece(last.is_some_and(alone))?;
        let rows = 0..piece.timestamps().len();
        self.open = Some((piece, rows));
        Ok(())
    }

    /// Adds the next piece to `entries`, if it lies before `others` and can be added without making rows of it.
    /// Gives how many rows were read for that.
    ///
    /// # Errors
    /// As [`Pieces::summary`].
    pub(super) fn add_piece(
        &mut self,
        others: i64,
        entries: &mut Entries<'_>,
    ) -> Result<Option<usize>> {
        let Some((first, last)) = self.pieces.span() else {
            return Ok(None);
        };
        if self.descending || self.left() > 0 || last >= others {
            return Ok(None);
        }
        let pieces = &mut self.pieces;
        let rows = if entries.holds_in_one(first, last)
            && entries.add_entry(first, |columns| pieces.summary(columns))?
        {
            Some(0)
        } else {
            pieces.add_rows(entries)?
        };
        if rows.is_some() {
            self.pieces.skip_piece();
        }
        Ok(rows)
    }

    /// How many of the rows left in the open piece have a key that `holds`, which no later does.
    pub(super) fn count(&self, holds: impl Fn(i64) -> bool) -> usize {
        let (mut low, mut high) = (0, self.left());
        while low < high {
            let middle = low.midpoint(high);
            if holds(self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The highest key up to which the next `quota` rows are known at least, `i64::MAX` where
    /// those left are fewer and the last.
    pub(super) fn known_to(&self, quota: usize) -> i64 {
        let left = self.left();
        if left > quota {
            return self.key(quota - 1);
        }
        match (self.pieces.span(), left) {
            (None, _) => i64::MAX,
            // Nothing may come before the edge of a piece that is not open yet.
            (Some(_), 0) => self.edge().map_or(i64::MAX, |edge| edge - 1),
            (Some(_), left) => self.key(left - 1),
        }
    }

    /// Takes the next `count` rows: which they are of [`Input::piece`].
    pub(super) fn take(&mut self, count: usize) -> Range<usize> {
        let Some((_, rows)) = &mut self.open else {
            return 0..0;
        };
        if self.descending {
            let end = rows.end;
            rows.end -= count;
            rows.end..end
        } else {
            let start = rows.start;
            rows.start += count;
            start..rows.start
        }
    }

    /// The open piece, as long as [`Input::close`] is not called.
    pub(super) fn piece(&self) -> Option<&Piece> {
        self.open.as_ref().map(|(piece, _)| piece)
    }

    /// Lets go of a piece of which no rows are left.
    pub(super) fn close(&mut self) -> Option<Piece> {
        let (piece, _) = self.open.take_if(|(_, rows)| rows.start == rows.end)?;
        Some(piece)
    }

    fn key(&self, row: usize) -> i64 {
        let (piece, rows) = self.open.as_ref().expect("a row of an open piece");
        let row = if self.descending {
            rows.end - 1 - row
        } else {
            rows.start + row
        };
        self.key_of(piece.timestamps()[row])
    }

    fn key_of(&self, time: i64) -> i64 {
        if self.descending { !time } else { time }
    }
}
