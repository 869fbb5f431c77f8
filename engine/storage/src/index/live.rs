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
mod waiting;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use crate::format::definitions::push_series;
use crate::model::{SeriesEntry, SeriesId};

pub use select::LiveSelection;
use store::Store;
pub use waiting::Handed;

const WHOLE: &str = "no batch is half in its index";

/// Series added under one hold of the lock: some 100 us.
const ADDED_AT_ONCE: usize = 256;

/// The series of one database that have rows in memtables.
///
/// Those that a log has are handed over as they stand there, and put in by whoever has time. The first questions find
/// those that wait as they stand; whoever else reads puts in what is left, and so sees all of them.
#[derive(Default)]
pub struct LiveIndex {
    store: RwLock<Store>,
    waiting: Mutex<Waiting>,
    /// Held while some that wait are taken and put in, so that they go in as they came.
    turn: Mutex<()>,
    /// Whether some wait, or are being put in. It changes under the lock of `waiting`.
    is_behind: AtomicBool,
    /// What was spent on looks at those that wait.
    looks: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The first of them stays here until all of it is put in: what a reader does not find here it finds in the store.
    batches: VecDeque<Arc<Handed>>,
    bytes: usize,
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
        self.catch_up();
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        store.add_all(&[(entry.id, &entry.key)]) > 0
    }

    /// Makes series with these canonical keys known, some hundred under one hold of the lock.
    ///
    /// # Panics
    /// As [`LiveIndex::add`].
    pub fn add_all<'key>(&self, series: impl Iterator<Item = (SeriesId, &'key [u8])>) {
        if !self.is_behind.load(Ordering::Acquire) {
            return self.put_all(series);
        }
        let mut handed = Handed {
            count: 0,
            series: Vec::new(),
        };
        for (id, key) in series {
            push_series(&mut handed.series, id, key);
            handed.count += 1;
        }
        self.hand_over(handed);
        // Writers see to it that no more and more waits where nobody else does.
        for _ in 0..2 {
            self.try_put_in();
        }
    }

    /// Takes series that are put in later, behind those that were handed over before. Who reads sees them from now on.
    ///
    /// # Panics
    /// Whoever puts them in, if they are not sound; or as [`LiveIndex::add`].
    pub fn hand_over(&self, series: Handed) {
        let mut waiting = self.waiting();
        waiting.bytes += series.series.len();
        waiting.batches.push_back(Arc::new(series));
        self.is_behind.store(true, Ordering::Release);
    }

    /// Bytes of what was handed over and is not put in.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting().bytes
    }

    /// Puts some of what was handed over in, behind whoever does that; false where nothing was left.
    ///
    /// # Panics
    /// If that is not sound, or was not when somebody else put it in.
    pub fn put_in(&self) -> bool {
        self.put_in_turn(self.turn.lock().expect(WHOLE))
    }

    /// The same, but false as well where somebody does that.
    ///
    /// # Panics
    /// As [`LiveIndex::put_in`].
    pub fn try_put_in(&self) -> bool {
        match self.turn.try_lock() {
            Err(TryLockError::WouldBlock) => false,
            turn => self.put_in_turn(turn.expect(WHOLE)),
        }
    }

    fn put_in_turn(&self, _turn: MutexGuard<'_, ()>) -> bool {
        let next = self.waiting().batches.front().map(Arc::clone);
        if let Some(batch) = &next {
            self.put_all(batch.series());
        }
        let mut waiting = self.waiting();
        if let Some(batch) = &next {
            waiting.batches.pop_front();
            waiting.bytes -= batch.series.len();
        }
        if waiting.batches.is_empty() {
            self.is_behind.store(false, Ordering::Release);
        }
        next.is_some()
    }

    /// Puts in all that was handed over, as whoever reads does first where a look at it will not do.
    pub fn catch_up(&self) {
        while self.is_behind.load(Ordering::Acquire) {
            self.put_in();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_all<'key>(&self, series: impl Iterator<Item = (SeriesId, &'key [u8])>) {
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

    /// Anonymous memory of the index and of what waits for it, in bytes, near enough for a ledger. Cost: a look at
    /// each tag key.
    pub fn size_bytes(&self) -> usize {
        self.store().size_bytes() + self.waiting_bytes()
    }

    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.catch_up();
        self.store()
    }

    // A panic while a series is added leaves it half known at worst, and the write that adds it
    // fails with it: what others see stays sound.
    fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LiveIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LiveIndex of {} series", self.len())
    }
}
