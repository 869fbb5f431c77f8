//! Sets of ids of series, as a log has them.

use roaring::RoaringTreemap;

use crate::model::SeriesId;

/// Some ids. Mostly they lie close together, as they were given: half a byte for each, and as a tree those that
/// do not.
#[derive(Debug)]
pub(super) struct IdSet {
    first: u64,
    /// One bit for each id from `first` on.
    bits: Vec<u64>,
    far: RoaringTreemap,
    inserted: usize,
}

/// Words of the bits that there may be however few ids are.
const WORDS_MIN: usize = 1024;
/// Ids that a word of the bits is worth.
const IDS_PER_WORD: usize = 16;

impl IdSet {
    /// An empty set of ids from `first` on, mostly.
    pub(super) fn from(first: SeriesId) -> IdSet {
        IdSet {
            first: first.0,
            bits: Vec::new(),
            far: RoaringTreemap::new(),
            inserted: 0,
        }
    }

    /// The id it is to begin with.
    pub(super) fn first(&self) -> SeriesId {
        SeriesId(self.first)
    }

    fn place(&self, id: SeriesId) -> Option<(usize, u64)> {
        let offset = id.0.checked_sub(self.first)?;
        let word = usize::try_from(offset / 64).ok()?;
        Some((word, 1 << (offset % 64)))
    }

    pub(super) fn insert(&mut self, id: SeriesId) {
        self.inserted += 1;
        let words_max = WORDS_MIN + self.inserted / IDS_PER_WORD;
        match self.place(id).filter(|(word, _)| *word < words_max) {
            Some((word, bit)) => {
                if word >= self.bits.len() {
                    self.bits.resize(word + 1, 0);
                }
                self.bits[word] |= bit;
            }
            None => drop(self.far.insert(id.0)),
        }
    }

    pub(super) fn has(&self, id: SeriesId) -> bool {
        let word = |(word, bit)| Some(self.bits.get(word)? & bit != 0);
        self.place(id).and_then(word) == Some(true) || self.far.contains(id.0)
    }

    /// Whether `other` has all ids that this has.
    pub(super) fn is_within(&self, other: &IdSet) -> bool {
        let of_word = |(word, bits): (usize, &u64)| {
            let (start, bits) = (self.first + 64 * word as u64, *bits);
            let set = (0..64).filter(move |bit| bits >> bit & 1 == 1);
            set.map(move |bit| start + bit)
        };
        let near = self.bits.iter().enumerate().flat_map(of_word);
        near.chain(&self.far).all(|id| other.has(SeriesId(id)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ids() -> impl Strategy<Value = Vec<u64>> {
        let id = prop_oneof![1..100_u64, 900..1200_u64, 60_000..70_000_u64, any::<u64>()];
        prop::collection::vec(id, 0..200)
    }

    fn set(first: u64, ids: &[u64]) -> IdSet {
        let mut set = IdSet::from(SeriesId(first));
        for id in ids {
            set.insert(SeriesId(*id));
        }
        set
    }

    proptest! {
        #[test]
        fn a_set_has_what_was_inserted(one in ids(), other in ids(), firsts in (0..1000_u64, 0..100_000_u64)) {
            let (expected, others): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
            let (own, another) = (set(firsts.0, &one), set(firsts.1, &other));
            for id in one.iter().chain(&other) {
                prop_assert_eq!(own.has(SeriesId(*id)), expected.contains(id));
            }
            prop_assert_eq!(own.is_within(&another), expected.is_subset(&others));
            let both: Vec<u64> = one.iter().chain(&other).copied().collect();
            prop_assert!(own.is_within(&set(firsts.1, &both)));
        }
    }
}
