//! The values of one tag key: each once, with the series that have it.

use std::hash::{BuildHasher, Hasher};

use roaring::RoaringBitmap;

use crate::index::live::arena::{Arena, Steps};
use crate::index::table::{Entry, Table};

/// The values of a tag key by number, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Values {
    text: Arena,
    /// Where each begins in `text`.
    starts: Steps<u32>,
    /// Who has each: a slot, or [`MANY`] and a place in `many`.
    postings: Steps<u32>,
    many: Vec<RoaringBitmap>,
    by_text: Table<Numbered>,
}

/// Of a posting: several series have the value.
const MANY: u32 = SLOTS_MAX;
/// Slots there can be.
pub(super) const SLOTS_MAX: u32 = 1 << 31;

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

impl Values {
    /// Notes that the series of `slot` has `value`; the number of the value.
    pub(super) fn add(&mut self, value: &[u8], slot: u32) -> u32 {
        let hash = hash(value);
        let Some(number) = self.find_hashed(hash, value) else {
            let number = u32::try_from(self.starts.len()).expect("no more values than series");
            self.starts.push(self.text.push(value));
            self.postings.push(slot);
            self.by_text.insert(Numbered::new(hash, number));
            return number;
        };
        self.post(number, slot);
        number
    }

    fn post(&mut self, number: u32, slot: u32) {
        let posting = self.postings.get(number as usize);
        if posting & MANY == 0 {
            let place = u32::try_from(self.many.len()).expect("no more values than series");
            self.many.push([posting, slot].into_iter().collect());
            self.postings.set(number as usize, MANY | place);
        } else {
            append(&mut self.many[(posting & !MANY) as usize], slot);
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn get(&self, number: u32) -> &[u8] {
        self.text.get(self.starts.get(number as usize))
    }

    pub(super) fn find(&self, value: &[u8]) -> Option<u32> {
        self.find_hashed(hash(value), value)
    }

    fn find_hashed(&self, hash: u64, value: &[u8]) -> Option<u32> {
        let same = |entry: &Numbered| self.get(entry.number()) == value;
        let found = self.by_text.find(Numbered::place_of(hash), same);
        found.map(|entry| entry.number())
    }

    /// Adds those who have value `number` to `slots`.
    pub(super) fn add_to(&self, number: u32, slots: &mut RoaringBitmap) {
        let posting = self.postings.get(number as usize);
        if posting & MANY == 0 {
            slots.insert(posting);
        } else {
            *slots |= &self.many[(posting & !MANY) as usize];
        }
    }

    /// Whether any of `slots` has value `number`.
    pub(super) fn is_in(&self, number: u32, slots: &RoaringBitmap) -> bool {
        let posting = self.postings.get(number as usize);
        if posting & MANY == 0 {
            slots.contains(posting)
        } else {
            !self.many[(posting & !MANY) as usize].is_disjoint(slots)
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        let many: usize = self
            .many
            .iter()
            .map(|slots| slots.serialized_size() + size_of::<RoaringBitmap>())
            .sum();
        self.text.size_bytes()
            + self.starts.size_bytes()
            + self.postings.size_bytes()
            + self.by_text.size_bytes()
            + many
    }
}

/// Adds a slot to `slots`: mostly it is the highest of them.
pub(super) fn append(slots: &mut RoaringBitmap, slot: u32) {
    if slots.try_push(slot).is_err() {
        slots.insert(slot);
    }
}

pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
