//! From the hash of a key to its series: the one lookup a row costs.
//!
//! Three layers: the front cache, by hash of the key text as sent; the series made since the last
//! flush, by hash of the canonical key; and the registry files, the same for all older ones. It
//! knows hashes and ids, no names and no keys. No heap object per series.
//!
//! Invariants: an id is handed to `insert` once, under the sequencing lock of the database; the
//! front cache holds only what the layers behind it would answer, and is cleared by drops.

mod files;
mod slots;

use std::sync::{Arc, PoisonError, RwLock};

pub use files::{RegistryFile, choose_merge, merge};
pub use slots::Known;
use slots::Slots;

use crate::error::Result;
use crate::format::registry::Entry;
use crate::model::{KeyHash, KeyRef, SeriesId};

/// Entries of the front cache at most, of 32 bytes each, slots half empty: when it is full it
/// starts anew.
pub const FRONT_SERIES_MAX: usize = 4 << 20;

/// The series of one database by hash.
#[derive(Debug, Default)]
pub struct Registry {
    front: RwLock<Slots>,
    behind: RwLock<Behind>,
}

/// What is asked where the front cache does not know.
#[derive(Debug, Default)]
struct Behind {
    /// Made since the last flush began.
    fresh: Slots,
    /// Being written to a file.
    frozen: Option<Arc<Slots>>,
    files: Vec<Arc<RegistryFile>>,
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
        if front.len() + keys.len() > FRONT_SERIES_MAX {
            *front = Slots::default();
        }
        for (hash, known) in keys {
            front.insert(*hash, *known);
        }
    }

    /// Clears the front cache: what its texts mean has changed.
    pub fn forget(&self) {
        *self.front.write().unwrap_or_else(PoisonError::into_inner) = Slots::default();
    }

    /// The series whose canonical key has this hash. Cost: a lookup in memory, then one in each
    /// registry file.
    ///
    /// # Errors
    /// `Corrupt` or `Io` of a registry file: whether the series exists is not known then.
    pub fn find(&self, hash: KeyHash) -> Result<Option<SeriesId>> {
        let behind = self.behind.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = behind.fresh.find(hash) {
            return Ok(Some(known.series));
        }
        if let Some(known) = behind.frozen.as_ref().and_then(|frozen| frozen.find(hash)) {
            return Ok(Some(known.series));
        }
        for file in &behind.files {
            if let Some(series) = file.find(hash)? {
                return Ok(Some(series));
            }
        }
        Ok(None)
    }

    /// Takes a new series in. One that is there already stays.
    pub fn insert(&self, hash: KeyHash, known: Known) {
        let mut behind = self.behind.write().unwrap_or_else(PoisonError::into_inner);
        behind.fresh.insert(hash, known);
    }

    /// Sets the series made so far aside for a flush; they stay findable.
    ///
    /// # Panics
    /// If some are set aside already: one flush runs at a time.
    pub fn freeze(&self) {
        let mut behind = self.behind.write().unwrap_or_else(PoisonError::into_inner);
        assert!(behind.frozen.is_none(), "one flush runs at a time");
        let fresh = std::mem::take(&mut behind.fresh);
        behind.frozen = Some(Arc::new(fresh));
    }

    /// The series set aside, ascending by hash. One that the log refused may be among them: its id
    /// is taken then, and its key is told of by the first write that stores a row of it.
    pub fn frozen(&self) -> Vec<Entry> {
        let behind = self.behind.read().unwrap_or_else(PoisonError::into_inner);
        let frozen = behind.frozen.iter().flat_map(|frozen| frozen.iter());
        let mut entries: Vec<Entry> = frozen.map(|(hash, known)| (hash, known.series)).collect();
        entries.sort_unstable();
        entries
    }

    /// Ends a flush that failed: what was set aside is as before.
    pub fn thaw(&self) {
        let mut behind = self.behind.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(frozen) = behind.frozen.take() {
            for (hash, known) in frozen.iter() {
                behind.fresh.insert(hash, known);
            }
        }
    }

    /// Ends a flush: what was set aside is found in `files` from now on, which are all there are.
    pub fn persisted(&self, files: Vec<Arc<RegistryFile>>) {
        let mut behind = self.behind.write().unwrap_or_else(PoisonError::into_inner);
        behind.frozen = None;
        behind.files = files;
    }

    /// Goes on with `files` alone and, in memory, with what the others are known to have held. What
    /// is in memory already stays as it is.
    pub fn mend(&self, files: Vec<Arc<RegistryFile>>, known: &[(KeyHash, Known)]) {
        let mut behind = self.behind.write().unwrap_or_else(PoisonError::into_inner);
        behind.files = files;
        for (hash, known) in known {
            let frozen = behind.frozen.as_ref().and_then(|frozen| frozen.find(*hash));
            behind.fresh.insert(*hash, frozen.unwrap_or(*known));
        }
    }

    /// The registry files.
    pub fn files(&self) -> Vec<Arc<RegistryFile>> {
        let behind = self.behind.read().unwrap_or_else(PoisonError::into_inner);
        behind.files.clone()
    }

    /// Anonymous memory, bytes.
    pub fn size_bytes(&self) -> usize {
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner);
        let behind = self.behind.read().unwrap_or_else(PoisonError::into_inner);
        let frozen = behind.frozen.as_ref().map_or(0, |slots| slots.size_bytes());
        front.size_bytes() + behind.fresh.size_bytes() + frozen
    }
}

#[cfg(test)]
mod tests;
