//! The values of one tag key: each once, with the series that have it.

use roaring::RoaringBitmap;

use crate::index::live::arena::{Arena, Steps};
use crate::index::numbered::{Numbered, hash};
use crate::index::table::{Entry, LOOKUPS_AT_ONCE, Table};

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
    last: Option<u32>,
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
        // Not as a range, where they are one: it would stay a list of ranges, of one slot each in the end.
        let added = self.settled.append(self.newest.iter().copied());
        assert!(added.is_ok(), "slots come ascending");
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
    /// Notes that series, in slots from `slot` on, have `values`, and puts the numbers of these into
    /// `numbers`. The first places where each is looked for are loaded before any is compared, so that
    /// their cache misses overlap.
    pub(super) fn add_all(&mut self, values: &[&[u8]], slot: u32, numbers: &mut [u32]) {
        assert_eq!(values.len(), numbers.len(), "each value gets a number");
        let chunks = values
            .chunks(LOOKUPS_AT_ONCE)
            .zip(numbers.chunks_mut(LOOKUPS_AT_ONCE));
        for ((values, numbers), slot) in chunks.zip((slot..).step_by(LOOKUPS_AT_ONCE)) {
            self.add_some(values, slot, numbers);
        }
    }

    fn add_some(&mut self, values: &[&[u8]], slot: u32, numbers: &mut [u32]) {
        // Of many tags all series have the same value.
        if let Some(last) = self.last.filter(|last| {
            let last = self.get(*last);
            values.iter().all(|value| *value == last)
        }) {
            numbers.fill(last);
            for (slot, _) in (slot..).zip(values) {
                self.post(last, slot);
            }
            return;
        }
        let mut hashes = [0; LOOKUPS_AT_ONCE];
        let mut first = [Numbered::EMPTY; LOOKUPS_AT_ONCE];
        for ((value, own), entry) in values.iter().zip(&mut hashes).zip(&mut first) {
            *own = hash(value);
            let place = Numbered::place_of(*own);
            *entry = self
                .by_text
                .first(place)
                .copied()
                .unwrap_or(Numbered::EMPTY);
        }
        let mut is_new = [false; LOOKUPS_AT_ONCE];
        for (at, value) in values.iter().enumerate() {
            let (hash, entry) = (hashes[at], first[at]);
            let is_first = !entry.is_empty()
                && entry.place() == Numbered::place_of(hash)
                && self.get(entry.number()) == *value;
            let known = if is_first {
                Some(entry.number())
            } else {
                self.find_hashed(hash, value)
            };
            numbers[at] = known.unwrap_or_else(|| {
                is_new[at] = true;
                let slot = slot + u32::try_from(at).expect("there are few");
                self.push(hash, value, slot)
            });
        }
        for ((number, slot), is_new) in numbers.iter().zip(slot..).zip(is_new) {
            if !is_new {
                self.post(*number, slot);
            }
        }
        self.last = numbers.last().copied();
    }

    /// Adds a new value, which the series of `slot` has; its number.
    fn push(&mut self, hash: u64, value: &[u8], slot: u32) -> u32 {
        let number = u32::try_from(self.starts.len()).expect("no more values than series");
        self.starts.push(self.text.push(value));
        self.postings.push(slot);
        self.by_text.insert(Numbered::new(hash, number));
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
