//! Series by hash: 24 bytes an entry in a [`Table`] that is three quarters full.

use crate::format::registry::Entry as FileEntry;
use crate::index::table::{Entry, LOOKUPS_AT_ONCE, Table};
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

    /// Both ids in one word, or `None` where they are too large for that.
    fn pack(self) -> Option<u64> {
        let fits = self.series.0 >> (64 - MEASUREMENT_BITS) == 0
            && u64::from(self.measurement.0) >> MEASUREMENT_BITS == 0;
        fits.then_some(self.series.0 << MEASUREMENT_BITS | u64::from(self.measurement.0))
    }

    fn unpack(word: u64) -> Known {
        let measurement = word & ((1 << MEASUREMENT_BITS) - 1);
        let measurement = u32::try_from(measurement).expect("it has fewer bits");
        Known {
            series: SeriesId(word >> MEASUREMENT_BITS),
            measurement: MeasurementId(measurement),
        }
    }
}

/// Of a packed word, the low bits that are the measurement's: sixteen million of them, and a
/// billion times a thousand series.
const MEASUREMENT_BITS: u32 = 24;

/// A hash and what it stands for; nothing: 0.
#[derive(Clone, Copy, Debug)]
struct Slot {
    high: u64,
    low: u64,
    value: u64,
}

const _: () = assert!(size_of::<Slot>() == 24);

impl Slot {
    fn hash(&self) -> KeyHash {
        KeyHash(u128::from(self.high) << 64 | u128::from(self.low))
    }
}

/// Series that wait for a registry, those together that come to lie near each other in its table: to put them
/// anywhere would miss the cache for each of a million.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Of each neighbourhood its series in the order that they came in, [`NEAR_ROOM`] by [`NEAR_ROOM`]. Empty where
    /// there is none at all.
    near: Vec<Vec<Vec<Slot>>>,
    count: usize,
}

/// Series for which there is room at once: what they take is not copied for more of them to come.
const NEAR_ROOM: usize = 512;

impl Learnt {
    /// Memory of a series at most, bytes: what a few take grows by doubling.
    pub const SERIES_BYTES: usize = 2 * size_of::<Slot>();

    /// Memory, bytes, but for room that is not taken.
    pub(super) fn size_bytes(&self) -> usize {
        self.count * size_of::<Slot>()
    }

    /// Adds a series.
    pub fn push(&mut self, (hash, series): FileEntry) {
        let (high, low) = halves(hash);
        let value = series.0;
        self.make_places();
        let near = &mut self.near[Table::<Slot>::neighbourhood(high)];
        if near.last().is_none_or(|last| last.len() == NEAR_ROOM) {
            let room = if near.is_empty() { 0 } else { NEAR_ROOM };
            near.push(Vec::with_capacity(room));
        }
        if let Some(last) = near.last_mut() {
            last.push(Slot { high, low, value });
        }
        self.count += 1;
    }

    fn make_places(&mut self) {
        if self.near.is_empty() {
            self.near
                .resize_with(Table::<Slot>::NEIGHBOURHOODS, Vec::new);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether one may have this hash.
    pub(super) fn may_have(&self, hash: KeyHash) -> bool {
        let (high, _) = halves(hash);
        self.count > 0 && !self.near[Table::<Slot>::neighbourhood(high)].is_empty()
    }

    /// Adds those of `other` behind its own.
    pub(super) fn append(&mut self, other: &mut Learnt) {
        self.make_places();
        for (own, other) in self.near.iter_mut().zip(&mut other.near) {
            own.append(other);
        }
        self.count += std::mem::take(&mut other.count);
    }

    /// Takes the series of the neighbourhood of `hash` out, or where none is given those of the first that has some.
    fn take_near(&mut self, hash: Option<KeyHash>) -> Vec<Vec<Slot>> {
        let near = match hash {
            Some(hash) => self
                .near
                .get_mut(Table::<Slot>::neighbourhood(halves(hash).0)),
            None => self.near.iter_mut().find(|near| !near.is_empty()),
        };
        let taken = near.map(std::mem::take).unwrap_or_default();
        self.count -= taken.iter().map(Vec::len).sum::<usize>();
        if self.count == 0 {
            self.near = Vec::new();
        }
        taken
    }
}

impl Entry for Slot {
    const EMPTY: Slot = Slot {
        high: 0,
        low: 0,
        value: 0,
    };

    fn is_empty(&self) -> bool {
        self.value == 0
    }

    fn place(&self) -> u64 {
        self.high
    }

    fn is_before(&self, other: &Slot) -> bool {
        self.low < other.low
    }
}

/// What keys mean, by the hash of their text. It is bounded: a part that would pass the bound
/// starts anew.
#[derive(Debug, Default)]
pub(super) struct Front(Table<Slot>);

impl Front {
    pub(super) fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }

    /// Appends what each key means; returns how many are not known. The first slots of several keys
    /// are loaded before any is compared, so that their cache misses overlap.
    pub(super) fn find_all(&self, keys: &[KeyRef], found: &mut Vec<Known>) -> usize {
        if self.0.is_empty() {
            found.resize(found.len() + keys.len(), Known::NONE);
            return keys.len();
        }
        let mut missing = 0;
        found.reserve(keys.len());
        for keys in keys.chunks(LOOKUPS_AT_ONCE) {
            let mut first = [Slot::EMPTY; LOOKUPS_AT_ONCE];
            for (slot, key) in first.iter_mut().zip(keys) {
                let (high, _) = halves(key.hash);
                *slot = self.0.first(high).copied().unwrap_or(Slot::EMPTY);
            }
            for (slot, key) in first.iter().zip(keys) {
                let (high, low) = halves(key.hash);
                let known = if slot.high == high && slot.low == low {
                    Known::unpack(slot.value)
                } else {
                    let slot = self.0.find(high, |slot| slot.low == low);
                    slot.map_or(Known::NONE, |slot| Known::unpack(slot.value))
                };
                missing += usize::from(!known.is_some());
                found.push(known);
            }
        }
        missing
    }

    /// Puts a key in, if it is not there; one in `series_max` parts starts anew where there are
    /// that many. Ids beyond what a slot holds are looked up behind the front.
    pub(super) fn insert(&mut self, hash: KeyHash, known: Known, series_max: usize) {
        let (high, low) = halves(hash);
        let Some(value) = known.pack() else {
            return;
        };
        if self.0.find(high, |slot| slot.low == low).is_some() {
            return;
        }
        if self.0.len() >= series_max {
            self.0.clear_around(high);
        }
        self.0.insert(Slot { high, low, value });
    }
}

/// Series by the hash of their canonical key.
#[derive(Debug, Default)]
pub(super) struct Slots(Table<Slot>);

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }

    /// All entries, ascending by hash.
    pub(super) fn iter(&self) -> impl Iterator<Item = FileEntry> {
        let slots = self.0.iter();
        slots.map(|slot| (slot.hash(), SeriesId(slot.value)))
    }

    pub(super) fn find(&self, hash: KeyHash) -> Option<SeriesId> {
        let (high, low) = halves(hash);
        let slot = self.0.find(high, |slot| slot.low == low);
        slot.map(|slot| SeriesId(slot.value))
    }

    /// Takes some of `learnt` in that lie near each other, those near `hash` where one is given: all whose hash is
    /// neither here nor `elsewhere`; of several with one hash the first. Cost: 100 ns a series.
    pub(super) fn take_in(
        &mut self,
        learnt: &mut Learnt,
        hash: Option<KeyHash>,
        elsewhere: impl Fn(KeyHash) -> bool,
    ) {
        let near = learnt.take_near(hash).into_iter().flatten();
        let is_new = |slot: &Slot| self.find(slot.hash()).is_none() && !elsewhere(slot.hash());
        let mut near: Vec<Slot> = near.filter(is_new).collect();
        near.sort_by_key(|slot| (slot.high, slot.low));
        near.dedup_by_key(|slot| (slot.high, slot.low));
        self.0.expect(near.len() + learnt.len());
        if let Some(first) = near.first() {
            // Singly, the table would grow again and again.
            self.0.reserve_around(first.high, near.len());
        }
        for slot in near {
            self.0.insert(slot);
        }
    }

    /// Puts a series in, if its hash is not there.
    pub(super) fn insert(&mut self, hash: KeyHash, series: SeriesId) {
        if self.find(hash).is_none() {
            let (high, low) = halves(hash);
            let value = series.0;
            self.0.insert(Slot { high, low, value });
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of the hash are meant"
)]
fn halves(hash: KeyHash) -> (u64, u64) {
    ((hash.0 >> 64) as u64, hash.0 as u64)
}
