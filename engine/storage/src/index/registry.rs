//! From the hash of a key to its series: the one lookup a row costs.
//!
//! Three layers: the front cache, by hash of the key text as sent; the series made since the last
//! flush, by hash of the canonical key; and the registry files, the same for all older ones. It
//! knows hashes and ids, no names and no keys. No heap object per series.
//!
//! Before the second layer those of a log wait, by neighbourhood of its table, and go there some thousand at a
//! time, when one of them is asked for or when somebody has time: a start need not wait for that.
//!
//! Invariants: an id is handed to `insert` once, under the sequencing lock of the database; the
//! front cache holds only what the layers behind it would answer, and is cleared by drops.

mod files;
mod slots;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use files::{RegistryFile, choose_merge, merge};
use slots::{Front, Slots};
pub use slots::{Known, Learnt};

use crate::error::Result;
use crate::format::registry::Entry;
use crate::model::{KeyHash, KeyRef, SeriesId};

/// Entries of the front cache at most, some 33 bytes each with the slots that are free. When it is
/// full a 256th of it starts anew.
pub const FRONT_SERIES_MAX: usize = 4 << 20;

/// The series of one database by hash.
#[derive(Debug, Default)]
pub struct Registry {
    front: RwLock<Front>,
    behind: RwLock<Behind>,
}

/// What is asked where the front cache does not know.
#[derive(Debug, Default)]
struct Behind {
    /// Made since the last flush began.
    fresh: Slots,
    /// Read from the log: those that are found nowhere else are to be `fresh`.
    waiting: Learnt,
    /// Being written to a file.
    frozen: Option<Arc<Slots>>,
    files: Vec<Arc<RegistryFile>>,
}

impl Behind {
    /// Takes in what waits near `hash`, or anywhere.
    fn take_in(&mut self, hash: Option<KeyHash>) {
        let Behind {
            fresh,
            waiting,
            frozen,
            files,
        } = self;
        fresh.take_in(waiting, hash, |hash| {
            let is_frozen = || frozen.as_ref().is_some_and(|own| own.find(hash).is_some());
            let is_in = |file: &Arc<RegistryFile>| matches!(file.find(hash), Ok(Some(_)));
            is_frozen() || files.iter().any(is_in)
        });
    }

    /// How many series there are, or more where one that waits is found elsewhere as well.
    fn len_max(&self) -> u64 {
        let frozen = self.frozen.as_ref().map_or(0, |slots| slots.len());
        let in_files = self.files.iter().map(|file| file.meta().series_count);
        (self.fresh.len() + self.waiting.len() + frozen) as u64 + in_files.sum::<u64>()
    }

    /// Puts a series in, if its hash is not there.
    fn insert(&mut self, (hash, series): Entry) {
        if self.waiting.may_have(hash) {
            self.take_in(Some(hash));
        }
        self.fresh.insert(hash, series);
    }
}

impl Registry {
    /// A registry over files that the manifest names.
    pub fn new(files: Vec<Arc<RegistryFile>>) -> Registry {
        let behind = Behind {
            files,
            ..Behind::default()
        };
        Registry {
            front: RwLock::default(),
            behind: RwLock::new(behind),
        }
    }

    /// Appends to `found` what the front cache knows of each key, and returns how many it does not
    /// know (`found` has [`Known::NONE`] there). Cost: about one cache miss a key, several at once.
    pub fn resolve(&self, keys: &[KeyRef], found: &mut Vec<Known>) -> usize {
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner);
        front.find_all(keys, found)
    }

    /// Lets the front cache know keys by the hash of their text.
    pub fn remember(&self, keys: &[(KeyHash, Known)]) {
        let mut front = self.front.write().unwrap_or_else(PoisonError::into_inner);
        for (hash, known) in keys {
            front.insert(*hash, *known, FRONT_SERIES_MAX);
        }
    }

    /// Clears the front cache: what its texts mean has changed.
    pub fn forget(&self) {
        let mut front = self.front.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut *front);
        drop(front);
        // Its memory goes back while nobody waits.
        drop(old);
    }

    /// The series whose canonical key has this hash. Cost: a lookup in memory, then one in each
    /// registry file; a millisecond where a log of a million series has just been read, for the first of each
    /// some thousand.
    ///
    /// # Errors
    /// `Corrupt` or `Io` of a registry file: whether the series exists is not known then.
    pub fn find(&self, hash: KeyHash) -> Result<Option<SeriesId>> {
        let mut behind = self.read();
        while behind.waiting.may_have(hash) {
            drop(behind);
            self.write().take_in(Some(hash));
            behind = self.read();
        }
        if let Some(series) = behind.fresh.find(hash) {
            return Ok(Some(series));
        }
        if let Some(series) = behind.frozen.as_ref().and_then(|frozen| frozen.find(hash)) {
            return Ok(Some(series));
        }
        for file in &behind.files {
            if let Some(series) = file.find(hash)? {
                return Ok(Some(series));
            }
        }
        Ok(None)
    }

    /// Takes new series in. One that is there already stays.
    pub fn insert(&self, series: impl IntoIterator<Item = Entry>) {
        let mut behind = self.write();
        for entry in series {
            behind.insert(entry);
        }
    }

    /// Knows those of `series` from now on that are found nowhere, and leaves none there. Of several with one hash the
    /// first counts. A file that cannot be read is passed over: who asks knows the series from elsewhere. Cost:
    /// none to speak of; the rest is for [`Registry::take_in`], or for who asks for one.
    pub fn learn(&self, series: &mut Learnt) {
        self.write().waiting.append(series);
    }

    /// Does some of what [`Registry::learn`] left to be done, a millisecond of it; false where there is nothing.
    pub fn take_in(&self) -> bool {
        let mut behind = self.write();
        let is_more = !behind.waiting.is_empty();
        if is_more {
            behind.take_in(None);
        }
        is_more
    }

    fn read(&self) -> RwLockReadGuard<'_, Behind> {
        self.behind.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Behind> {
        self.behind.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all of it, never long under one hold of the lock.
    pub fn take_in_all(&self) {
        while self.take_in() {}
    }

    /// With nothing that waits.
    fn settled(&self) -> RwLockWriteGuard<'_, Behind> {
        let mut behind = self.write();
        while !behind.waiting.is_empty() {
            behind.take_in(None);
        }
        behind
    }

    /// Sets the series made so far aside for a flush; they stay findable.
    ///
    /// # Panics
    /// If some are set aside already: one flush runs at a time.
    pub fn freeze(&self) {
        let mut behind = self.settled();
        assert!(behind.frozen.is_none(), "one flush runs at a time");
        let fresh = std::mem::take(&mut behind.fresh);
        behind.frozen = Some(Arc::new(fresh));
    }

    /// The series set aside. One that the log refused may be among them: its id is taken then, and
    /// its key is told of by the first write that stores a row of it.
    pub fn frozen(&self) -> FrozenSeries {
        let behind = self.read();
        FrozenSeries(behind.frozen.clone())
    }

    /// Ends a flush that failed: what was set aside is as before.
    pub fn thaw(&self) {
        let mut behind = self.write();
        if let Some(frozen) = behind.frozen.take() {
            for (hash, series) in frozen.iter() {
                behind.fresh.insert(hash, series);
            }
        }
    }

    /// Ends a flush: what was set aside is found in `files` from now on, which are all there are.
    pub fn persisted(&self, files: Vec<Arc<RegistryFile>>) {
        let mut behind = self.write();
        let old = (
            behind.frozen.take(),
            std::mem::replace(&mut behind.files, files),
        );
        drop(behind);
        // Memory goes back while nobody waits.
        drop(old);
    }

    /// Goes on with `files` alone, and in memory with `back`, which they do not have. What is in
    /// memory already stays as it is.
    pub fn replace(&self, files: Vec<Arc<RegistryFile>>, back: Vec<Entry>) {
        let mut behind = self.settled();
        let old = std::mem::replace(&mut behind.files, files);
        for (hash, series) in back {
            behind.fresh.insert(hash, series);
        }
        drop(behind);
        drop(old);
    }

    /// Goes on with `files` alone and, in memory, with what the others are known to have held. What
    /// is in memory already stays as it is.
    pub fn mend(&self, files: Vec<Arc<RegistryFile>>, known: &[Entry]) {
        let mut behind = self.settled();
        behind.files = files;
        for (hash, series) in known {
            let frozen = behind.frozen.as_ref().and_then(|frozen| frozen.find(*hash));
            behind.fresh.insert(*hash, frozen.unwrap_or(*series));
        }
    }

    /// The registry files.
    pub fn files(&self) -> Vec<Arc<RegistryFile>> {
        let behind = self.read();
        behind.files.clone()
    }

    /// How many series there are. Cost: none to speak of, or a tenth of a second where a log of a million series has
    /// just been read.
    pub fn len(&self) -> u64 {
        self.settled().len_max()
    }

    /// The same, or somewhat more where a log has just been read; at no cost.
    pub fn len_max(&self) -> u64 {
        self.read().len_max()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Anonymous memory, bytes.
    pub fn size_bytes(&self) -> usize {
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner);
        let behind = self.read();
        let frozen = behind.frozen.as_ref().map_or(0, |slots| slots.size_bytes());
        front.size_bytes() + behind.fresh.size_bytes() + behind.waiting.size_bytes() + frozen
    }
}

/// The series that a flush set aside.
#[derive(Clone, Debug)]
pub struct FrozenSeries(Option<Arc<Slots>>);

impl FrozenSeries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |slots| slots.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, ascending by hash.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().flat_map(|slots| slots.iter())
    }
}

#[cfg(test)]
mod tests;
