//! What is known of the pieces of a file that many threads read: two bits each.

#[cfg(test)]
mod models;

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of a word.
const BITS: usize = 64;

/// One bit per piece whose checksum was found right, and one where it was found wrong, which holds
/// for ever: of a disk that reads well and badly by turns nothing is believed.
#[derive(Debug)]
pub(super) struct Pieces {
    right: Box<[AtomicU64]>,
    wrong: Box<[AtomicU64]>,
    wrong_count: AtomicU64,
}

impl Pieces {
    /// Nothing is known of `count` pieces.
    pub(super) fn new(count: usize) -> Pieces {
        let bits = || {
            let words = count.div_ceil(BITS);
            (0..words).map(|_| AtomicU64::new(0)).collect()
        };
        Pieces {
            right: bits(),
            wrong: bits(),
            wrong_count: AtomicU64::new(0),
        }
    }

    /// Whether the piece was found right and never wrong.
    pub(super) fn is_right(&self, piece: usize) -> bool {
        let (word, mask) = place(piece);
        // Both: one thread may find it right while another finds it wrong.
        self.right[word].load(Relaxed) & !self.wrong[word].load(Relaxed) & mask != 0
    }

    /// Notes what a check of the piece gave; whether it is right as far as all checks say.
    pub(super) fn note(&self, piece: usize, fits: bool) -> bool {
        let (word, mask) = place(piece);
        if fits {
            self.right[word].fetch_or(mask, Relaxed);
            return self.wrong[word].load(Relaxed) & mask == 0;
        }
        if self.wrong[word].fetch_or(mask, Relaxed) & mask == 0 {
            self.wrong_count.fetch_add(1, Relaxed);
        }
        false
    }

    /// How many pieces were found wrong.
    pub(super) fn wrong_count(&self) -> u64 {
        self.wrong_count.load(Relaxed)
    }
}

/// The word of a piece's bit, and the bit.
fn place(piece: usize) -> (usize, u64) {
    (piece / BITS, 1 << (piece % BITS))
}
