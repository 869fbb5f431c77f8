//! A hash table whose keys are hashes already: slots of 32 bytes, open addressing, nothing is ever
//! taken out singly.

use crate::model::{KeyHash, KeyRef, MeasurementId, SeriesId};

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its series.
    pub series: SeriesId,
    /// The series' measurement.
    pub measurement: MeasurementId,
}

impl Known {
    /// Not known.
    pub const NONE: Known = Known {
        series: SeriesId(0),
        measurement: MeasurementId(0),
    };

    /// Whether this stands for a series.
    pub fn is_some(self) -> bool {
        self.series.0 != 0
    }
}

/// Lookups under way at once: enough to cover a cache miss, few enough to stay in the first level.
const LOOKUPS_AT_ONCE: usize = 16;

/// Series by hash.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// A power of two of them, or none; at most three quarters taken. Empty: series 0.
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    known: Known,
}

const EMPTY: Slot = Slot {
    hash: [0; 2],
    known: Known::NONE,
};
const _: () = assert!(size_of::<Slot>() == 32);

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (KeyHash, Known)> {
        let taken = self.slots.iter().filter(|slot| slot.known.is_some());
        taken.map(|slot| {
            let [low, high] = slot.hash;
            let hash = u128::from(high) << 64 | u128::from(low);
            (KeyHash(hash), slot.known)
        })
    }

    pub(super) fn find(&self, hash: KeyHash) -> Option<Known> {
        if self.slots.is_empty() {
            return None;
        }
        let words = words(hash);
        let known = self.probe(words, self.home(words));
        known.is_some().then_some(known)
    }

    /// Appends what each key means; returns how many are not known. The first slots of several keys
    /// are loaded before any is compared, so that their cache misses overlap.
    pub(super) fn find_all(&self, keys: &[KeyRef], found: &mut Vec<Known>) -> usize {
        if self.slots.is_empty() {
            found.resize(found.len() + keys.len(), Known::NONE);
            return keys.len();
        }
        let mut missing = 0;
        found.reserve(keys.len());
        for keys in keys.chunks(LOOKUPS_AT_ONCE) {
            let mut first = [EMPTY; LOOKUPS_AT_ONCE];
            for (slot, key) in first.iter_mut().zip(keys) {
                *slot = self.slots[self.home(words(key.hash))];
            }
            for (slot, key) in first.iter().zip(keys) {
                let words = words(key.hash);
                let known = if slot.hash == words && slot.known.is_some() {
                    slot.known
                } else {
                    self.probe(words, self.home(words))
                };
                missing += usize::from(!known.is_some());
                found.push(known);
            }
        }
        missing
    }

    /// Puts a series in, if its hash is not there.
    pub(super) fn insert(&mut self, hash: KeyHash, known: Known) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let words = words(hash);
        let mask = self.slots.len() - 1;
        let mut index = self.home(words);
        loop {
            let slot = &mut self.slots[index];
            if !slot.known.is_some() {
                *slot = Slot { hash: words, known };
                self.len += 1;
                return;
            }
            if slot.hash == words {
                return;
            }
            index = (index + 1) & mask;
        }
    }

    fn home(&self, words: [u64; 2]) -> usize {
        usize::try_from(words[0]).expect("the engine runs on 64 bits") & (self.slots.len() - 1)
    }

    fn probe(&self, words: [u64; 2], mut index: usize) -> Known {
        let mask = self.slots.len() - 1;
        loop {
            let slot = &self.slots[index];
            if !slot.known.is_some() || slot.hash == words {
                return slot.known;
            }
            index = (index + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let bigger = vec![EMPTY; (self.slots.len() * 2).max(64)];
        let old = std::mem::replace(&mut self.slots, bigger);
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| slot.known.is_some()) {
            let mut index = self.home(slot.hash);
            while self.slots[index].known.is_some() {
                index = (index + 1) & mask;
            }
            self.slots[index] = slot;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of the hash are meant"
)]
fn words(hash: KeyHash) -> [u64; 2] {
    [hash.0 as u64, (hash.0 >> 64) as u64]
}
