//! The values of one tag key: each once, with the series that have it.

use std::ops::Range;

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
    /// Who has each: a slot, or [`SEVERAL`] and a place in `few`.
    postings: Steps<u32>,
    few: Steps<Few>,
    many: Vec<Slots>,
    /// The memory of those in `many`, near enough.
    many_bytes: usize,
    by_text: Table<Numbered>,
    /// The number of the value that came last.
    last: Option<u32>,
}

/// The slots of some series, ascending, or where there are more of them.
#[derive(Clone, Copy, Debug)]
struct Few {
    /// How many there are; above [`FEW_MAX`]: the first is a place in `many`.
    count: u32,
    slots: [u32; FEW_MAX],
}

/// As many slots are a list at most; beyond, a bitmap is smaller.
const FEW_MAX: usize = 7;

impl Few {
    /// The slots, or a place in `many`.
    fn get(&self) -> Result<&[u32], usize> {
        self.slots
            .get(..self.count as usize)
            .ok_or(self.slots[0] as usize)
    }
}

/// The slots of many series, which come ascending: a bitmap; and since to find a place there for each alone costs
/// as much as for many, the newest of very many wait for one another.
#[derive(Debug)]
struct Slots {
    settled: RoaringBitmap,
    newest: Vec<u32>,
}

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
        if self.newest.is_empty() && self.settled.len() < SETTLED_MIN {
            let last = self.settled.max();
            self.settled.insert(slot);
            let opens = last.is_none_or(|last| last >> u16::BITS != slot >> u16::BITS);
            let more = SLOT_BYTES + if opens { CONTAINER_BYTES } else { 0 };
            return more.cast_signed();
        }
        let room = self.newest.capacity();
        self.newest.push(slot);
        let mut more = 0;
        if self.newest.len() == NEWEST_MAX {
            let before = self.settled.serialized_size();
            self.push_all([].into_iter());
            more = self.settled.serialized_size().cast_signed() - before.cast_signed();
        }
        let grown = self.newest.capacity().cast_signed() - room.cast_signed();
        more + grown * size_of::<u32>().cast_signed()
    }

    /// Adds slots that lie behind all others.
    fn push_all(&mut self, slots: impl Iterator<Item = u32>) {
        // Not as a range, if they are one: it would stay a list of ranges, of one slot each in the end.
        let newest = self.newest.iter().copied();
        let added = self.settled.append(newest.chain(slots));
        assert!(added.is_ok(), "slots come ascending");
        self.newest.clear();
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
const SEVERAL: u32 = SLOTS_MAX;
/// Slots there can be.
pub(super) const SLOTS_MAX: u32 = 1 << 31;

impl Values {
    /// Notes that series, in slots from `slot` on, have `values`, and puts the numbers of these into
    /// `numbers`.
    pub(super) fn add_all(&mut self, values: &[&[u8]], slot: u32, numbers: &mut [u32]) {
        assert_eq!(values.len(), numbers.len(), "each value gets a number");
        // Of many tags all series have the same value.
        if let Some(last) = self.last.filter(|last| {
            let last = self.get(*last);
            values.iter().all(|value| *value == last)
        }) {
            numbers.fill(last);
            let end = slot + u32::try_from(values.len()).expect("fewer than slots");
            self.post_all(last, slot..end);
            return;
        }
        let chunks = values
            .chunks(LOOKUPS_AT_ONCE)
            .zip(numbers.chunks_mut(LOOKUPS_AT_ONCE));
        for ((values, numbers), slot) in chunks.zip((slot..).step_by(LOOKUPS_AT_ONCE)) {
            self.add_some(values, slot, numbers);
        }
        self.last = numbers.last().copied();
    }

    /// As [`Values::add_all`], of a few.
    fn add_some(&mut self, values: &[&[u8]], slot: u32, numbers: &mut [u32]) {
        let mut hashes = [0; LOOKUPS_AT_ONCE];
        for (value, own) in values.iter().zip(&mut hashes) {
            *own = hash(value);
        }
        let known = self.find_some(values, &hashes);
        let mut is_new = [false; LOOKUPS_AT_ONCE];
        for (at, value) in values.iter().enumerate() {
            let hash = hashes[at];
            // One of those before it may have the same new value.
            let known = known[at].or_else(|| self.find_hashed(hash, value));
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
    }

    /// The numbers of those values that the first entry with their hash is of; nearly always it is the only one.
    /// A step of all before the next step of any, so that their cache misses overlap.
    fn find_some(
        &self,
        values: &[&[u8]],
        hashes: &[u64; LOOKUPS_AT_ONCE],
    ) -> [Option<u32>; LOOKUPS_AT_ONCE] {
        let places = hashes.map(Numbered::place_of);
        let mut homes = [Numbered::EMPTY; LOOKUPS_AT_ONCE];
        for (place, home) in places.iter().zip(&mut homes).take(values.len()) {
            *home = self
                .by_text
                .first(*place)
                .copied()
                .unwrap_or(Numbered::EMPTY);
        }
        let mut numbers = [None; LOOKUPS_AT_ONCE];
        for ((place, home), number) in places
            .iter()
            .zip(homes)
            .zip(&mut numbers)
            .take(values.len())
        {
            // Entries ascend, and none stands before its home.
            if !home.is_empty() && home.place() <= *place {
                let entry = self.by_text.find(*place, |_| true);
                *number = entry.map(|entry| entry.number());
            }
        }
        let mut starts = [0; LOOKUPS_AT_ONCE];
        for (number, start) in numbers.iter().zip(&mut starts) {
            if let Some(number) = number {
                *start = self.starts.get(*number as usize);
            }
        }
        for ((number, start), value) in numbers.iter_mut().zip(starts).zip(values) {
            *number = number.filter(|_| self.text.get(start) == *value);
        }
        numbers
    }

    /// Adds a new value, which the series of `slot` has; its number.
    fn push(&mut self, hash: u64, value: &[u8], slot: u32) -> u32 {
        let number = u32::try_from(self.starts.len()).expect("no more values than series");
        self.starts.push(self.text.push(value));
        self.postings.push(slot);
        self.by_text.insert(Numbered::new(hash, number));
        number
    }

    /// Notes that series in `slots` have value `number`.
    fn post_all(&mut self, number: u32, mut slots: Range<u32>) {
        while !slots.is_empty() {
            let posting = self.postings.get(number as usize);
            let several = (posting & SEVERAL != 0).then_some(posting & !SEVERAL);
            let many = several.and_then(|few| self.few.get(few as usize).get().err());
            if let Some(many) = many.filter(|_| slots.len() > NEWEST_MAX) {
                let many = &mut self.many[many];
                self.many_bytes -= many.size_bytes();
                many.push_all(&mut slots);
                self.many_bytes += many.size_bytes();
            } else if let Some(slot) = slots.next() {
                self.post(number, slot);
            }
        }
    }

    fn post(&mut self, number: u32, slot: u32) {
        let posting = self.postings.get_mut(number as usize);
        if *posting & SEVERAL == 0 {
            let place = u32::try_from(self.few.len()).expect("no more values than series");
            let mut slots = [0; FEW_MAX];
            slots[..2].copy_from_slice(&[*posting, slot]);
            self.few.push(Few { count: 2, slots });
            *posting = SEVERAL | place;
            return;
        }
        let few = self.few.get_mut((*posting & !SEVERAL) as usize);
        match few.get() {
            Ok(slots) if slots.len() < FEW_MAX => {
                few.slots[few.count as usize] = slot;
                few.count += 1;
            }
            Ok(slots) => {
                let slots = Slots {
                    settled: slots.iter().copied().chain([slot]).collect(),
                    newest: Vec::new(),
                };
                let place = self.many.len();
                few.slots[0] = u32::try_from(place).expect("no more values than series");
                few.count = u32::MAX;
                self.many_bytes += slots.size_bytes();
                self.many.push(slots);
            }
            Err(many) => {
                let more = self.many[many].push(slot);
                self.many_bytes = self.many_bytes.saturating_add_signed(more);
            }
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
        if posting & SEVERAL == 0 {
            slots.insert(posting);
            return;
        }
        match self.few.get((posting & !SEVERAL) as usize).get() {
            Ok(few) => slots.extend(few),
            Err(many) => self.many[many].add_to(slots),
        }
    }

    /// Whether any of `slots` has value `number`.
    pub(super) fn is_in(&self, number: u32, slots: &RoaringBitmap) -> bool {
        let posting = self.postings.get(number as usize);
        if posting & SEVERAL == 0 {
            return slots.contains(posting);
        }
        match self.few.get((posting & !SEVERAL) as usize).get() {
            Ok(few) => few.iter().any(|slot| slots.contains(*slot)),
            Err(many) => self.many[many].meets(slots),
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.text.size_bytes()
            + self.starts.size_bytes()
            + self.postings.size_bytes()
            + self.by_text.size_bytes()
            + self.few.size_bytes()
            + self.many_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_wait_are_seen_like_others() {
        let mut slots = Slots {
            settled: RoaringBitmap::new(),
            newest: Vec::new(),
        };
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
