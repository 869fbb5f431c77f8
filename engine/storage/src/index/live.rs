//! Which series have rows in memory, found by their tags.
//!
//! It knows canonical keys (ids and values), no names: who asks translates. Series are only added;
//! the index goes as a whole when its memtables have been flushed. Each series has a slot, a small
//! number in order of arrival. A value is kept once for all series that have it, and a series is a
//! row of numbers of values: some 80 bytes in all for ten tags of which one is its own. No heap
//! object per series, none per value that only one series has; nothing grows by being copied whole.

mod arena;
mod order;
mod select;
mod store;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::model::{SeriesEntry, SeriesId};

pub use select::LiveSelection;
use store::Store;

/// Series added under one hold of the lock: some 100 us.
const ADDED_AT_ONCE: usize = 256;

/// The series of one database that have rows in memtables.
#[derive(Default)]
pub struct LiveIndex {
    store: RwLock<Store>,
}

impl LiveIndex {
    /// An index of no series.
    pub fn new() -> LiveIndex {
        LiveIndex::default()
    }

    /// Makes `entry` known and says whether it is new; one that is known already changes nothing.
    ///
    /// # Panics
    /// If the key is no canonical key, or at 2^31 series.
    pub fn add(&self, entry: &SeriesEntry) -> bool {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        store.add_all(&[(entry.id, &entry.key)]) > 0
    }

    /// Makes series with these canonical keys known, some hundred under one hold of the lock.
    ///
    /// # Panics
    /// As [`LiveIndex::add`].
    pub fn add_all<'key>(&self, series: impl Iterator<Item = (SeriesId, &'key [u8])>) {
        let mut series = series.peekable();
        let mut some = Vec::with_capacity(ADDED_AT_ONCE);
        while series.peek().is_some() {
            some.clear();
            some.extend(series.by_ref().take(ADDED_AT_ONCE));
            let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
            store.add_all(&some);
        }
    }

    /// The series called `id` with its canonical key, if it is known.
    pub fn entry(&self, id: SeriesId) -> Option<SeriesEntry> {
        self.entries(&[id]).pop()
    }

    /// Those of the series called `ids` that are known, with their canonical keys.
    pub fn entries(&self, ids: &[SeriesId]) -> Vec<SeriesEntry> {
        let store = self.read();
        let mut key = Vec::new();
        let known = ids.iter().filter_map(|id| Some((*id, store.slot(*id)?)));
        let entries = known.map(|(id, slot)| {
            store.key(slot, &mut key);
            let key = key.as_slice().into();
            SeriesEntry { id, key }
        });
        entries.collect()
    }

    /// Whether the series called `id` is known.
    pub fn contains(&self, id: SeriesId) -> bool {
        self.read().slot(id).is_some()
    }

    /// The ids of the series that came as number `from` and later, in the order of their arrival.
    pub fn ids_from(&self, from: usize) -> Vec<SeriesId> {
        let store = self.read();
        store.ids_from(from)
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Anonymous memory of the index, in bytes, near enough for a ledger. Cost: a look at each tag key.
    pub fn size_bytes(&self) -> usize {
        self.read().size_bytes()
    }

    // A panic while a series is added leaves it half known at worst, and the write that adds it
    // fails with it: what others see stays sound.
    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LiveIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LiveIndex of {} series", self.len())
    }
}
