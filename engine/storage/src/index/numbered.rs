//! Numbers of things that are found by a hash of their text, in a [`Table`](super::table::Table).

use std::hash::{BuildHasher, Hasher};

use crate::index::table::Entry;

/// A number under 32 bits of a hash. Nothing: 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered(u64);

impl Numbered {
    pub(super) fn new(hash: u64, number: u32) -> Numbered {
        Numbered((hash & PLACE_MASK) | (u64::from(number) + 1))
    }

    /// Where the numbers with this hash stand.
    pub(super) fn place_of(hash: u64) -> u64 {
        hash & PLACE_MASK
    }

    pub(super) fn number(self) -> u32 {
        let number = (self.0 & !PLACE_MASK) - 1;
        u32::try_from(number).expect("it has 32 bits")
    }
}

const PLACE_MASK: u64 = !0 << 32;

impl Entry for Numbered {
    const EMPTY: Numbered = Numbered(0);

    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn place(&self) -> u64 {
        self.0 & PLACE_MASK
    }

    fn is_before(&self, other: &Numbered) -> bool {
        self.0 < other.0
    }
}

/// The hash of a text, the same in every process.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
