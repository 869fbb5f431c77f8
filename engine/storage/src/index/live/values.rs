//! The values of one tag key: each once, with the series that have it.

use roaring::RoaringBitmap;

use crate::index::live::arena::{Arena, Steps};
use crate::index::numbered::{Numbered, hash};
use crate::index::table::Table;

/// The values of a tag key by number, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Values {
    text: Arena,
    /// Where each begins in `text`.
    starts: Steps<u32>,
    /// Who has each: a slot, or [`MANY`] and a place in `many`.
    postings: Steps<u32>,
    many: Vec<Slots>,
    /// The memory of those in `many`, near enough.
    many_bytes: usize,
    by_text: Table<Numbered>,
    /// The number of the value that came last.
    last: u32,
}

/// The slots of several series, which come ascending. A few are a list; more are a bitmap; and since to find
/// a place there for each alone costs as much as for many, the newest of very many wait for one another.
#[derive(Debug, Default)]
struct Slots {
    settled: RoaringBitmap,
    newest: Vec<u32>,
}

/// As many are a list at most: beyond, a bitmap is smaller.
const LISTED_MAX: usize = 8;
/// As many slots stand in the bitmap before any waits again: a buffer would be larger than they are.
const SETTLED_MIN: u64 = 512;
/// As many wait at most.
const NEWEST_MAX: usize = 32;
/// What a slot takes in a bitmap of few, and what each 2^16 of them take that have any.
const SLOT_BYTES: usize = 2;
const CONTAINER_BYTES: usize = 8;

impl Slots {
    /// Adds a slot, which lies behind all others. By how many bytes they are larger or smaller then: counted
    /// here, as to ask a million of them for their sizes takes longer than to add to them.
    fn push(&mut self, slot: u32) -> isize {
        // How many there are in a bitmap is not asked for each slot: it is a sum.
        if self.newest.is_empty() && (1..SETTLED_MIN).contains(&self.settled.len()) {
            let last = self.settled.max();
            self.settled.insert(slot);
            let opens = last.is_none_or(|last| last >> u16::BITS != slot >> u16::BITS);
            let more = SLOT_BYTES + if opens { CONTAINER_BYTES } else { 0 };
            return more.cast_signed();
        }
        let room = self.newest.capacity();
        self.newest.push(slot);
        let is_list = self.settled.is_empty();
        let waiting = if is_list { LISTED_MAX } else { NEWEST_MAX };
        let mut more = 0;
        if self.newest.len() == waiting {
            let before = self.settled.serialized_size();
            self.settle();
            more = self.settled.serialized_size().cast_signed() - before.cast_signed();
        }
        let grown = self.newest.capacity().cast_signed() - room.cast_signed();
        more + grown * size_of::<u32>().cast_signed()
    }

    fn settle(&mut self) {
        match (self.newest.first(), self.newest.last()) {
            (Some(first), Some(last)) if (last - first) as usize == self.newest.len() - 1 => {
                self.settled.insert_range(*first..=*last);
            }
            _ => {
                let added = self.settled.append(self.newest.iter().copied());
                assert!(added.is_ok(), "slots come ascending");
            }
        }
        if self.settled.len() < SETTLED_MIN {
            self.newest = Vec::new();
        } else {
            self.newest.clear();
        }
    }

    fn add_to(&self, slots: &mut RoaringBitmap) {
        *slots |= &self.settled;
        slots.extend(&self.newest);
    }

    fn meets(&self, slots: &RoaringBitmap) -> bool {
        !self.settled.is_disjoint(slots) || self.newest.iter().any(|slot| slots.contains(*slot))
    }

    fn size_bytes(&self) -> usize {
        self.settled.serialized_size()
            + self.newest.capacity() * size_of::<u32>()
            + size_of::<Slots>()
    }
}

/// Of a posting: several series have the value.
const MANY: u32 = SLOTS_MAX;
/// Slots there can be.
pub(super) const SLOTS_MAX: u32 = 1 << 31;

impl Values {
    /// Notes that the series of `slot` has `value`; the number of the value.
    pub(super) fn add(&mut self, value: &[u8], slot: u32) -> u32 {
        // Of many tags a series has what the one before it has.
        let last = self.last;
        if (last as usize) < self.len() && self.get(last) == value {
            self.post(last, slot);
            return last;
        }
        let hash = hash(value);
        let Some(number) = self.find_hashed(hash, value) else {
            let number = u32::try_from(self.starts.len()).expect("no more values than series");
            self.starts.push(self.text.push(value));
            self.postings.push(slot);
            self.by_text.insert(Numbered::new(hash, number));
            self.last = number;
            return number;
        };
        self.last = number;
        self.post(number, slot);
        number
    }

    fn post(&mut self, number: u32, slot: u32) {
        let posting = self.postings.get(number as usize);
        if posting & MANY == 0 {
            let place = u32::try_from(self.many.len()).expect("no more values than series");
            let slots = Slots {
                settled: RoaringBitmap::new(),
                newest: vec![posting, slot],
            };
            self.many_bytes += slots.size_bytes();
            self.many.push(slots);
            self.postings.set(number as usize, MANY | place);
        } else {
            let more = self.many[(posting & !MANY) as usize].push(slot);
            self.many_bytes = self.many_bytes.saturating_add_signed(more);
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
            self.many[(posting & !MANY) as usize].add_to(slots);
        }
    }

    /// Whether any of `slots` has value `number`.
    pub(super) fn is_in(&self, number: u32, slots: &RoaringBitmap) -> bool {
        let posting = self.postings.get(number as usize);
        if posting & MANY == 0 {
            slots.contains(posting)
        } else {
            self.many[(posting & !MANY) as usize].meets(slots)
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.text.size_bytes()
            + self.starts.size_bytes()
            + self.postings.size_bytes()
            + self.by_text.size_bytes()
            + self.many_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_wait_are_seen_like_others() {
        let mut slots = Slots::default();
        let mut size = slots.size_bytes();
        let mut expected = RoaringBitmap::new();
        for slot in (0..200_000).filter(|slot| slot % 3 != 1) {
            size = size.saturating_add_signed(slots.push(slot));
            assert_eq!(size, slots.size_bytes());
            expected.insert(slot);
            let one: RoaringBitmap = [slot].into_iter().collect();
            assert!(slots.meets(&one));
            if slot % 997 == 0 {
                let mut all = RoaringBitmap::new();
                slots.add_to(&mut all);
                assert_eq!(all, expected);
            }
        }
        assert!(!slots.meets(&[1, 4, 200_001].into_iter().collect()));
    }
}
