//! What is worked out once and outlives whoever asked for it, as long as there is room.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::budget::{Budget, Charge, Class};

/// Values by key, those that were asked for last, in a bounded number of bytes.
pub struct Kept<K, V> {
    bytes_max: usize,
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    by_key: BTreeMap<K, Entry<V>>,
    bytes: usize,
    charge: Charge,
    now: u64,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    /// When it was asked for last.
    used: u64,
}

impl<K: Ord + Copy, V: Clone> Kept<K, V> {
    /// Room for `bytes_max` bytes; what is kept is counted in `budget`.
    pub fn new(bytes_max: usize, budget: &Arc<Budget>) -> Kept<K, V> {
        Kept {
            bytes_max,
            entries: Mutex::new(Entries {
                by_key: BTreeMap::new(),
                bytes: 0,
                charge: budget.charge(Class::Cache, 0),
                now: 0,
            }),
        }
    }

    /// The value of `key`, if it is kept.
    pub fn get(&self, key: K) -> Option<V> {
        let mut entries = self.entries();
        entries.now += 1;
        let now = entries.now;
        let entry = entries.by_key.get_mut(&key)?;
        entry.used = now;
        Some(entry.value.clone())
    }

    /// Keeps a value of `bytes` bytes, and lets go of those that were asked for longest ago. Cost: a look
    /// at all of them where there is no room.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut entries = self.entries();
        // Two may have worked it out at once.
        entries.remove(&key);
        while entries.bytes + bytes > self.bytes_max {
            let all = entries.by_key.iter();
            let oldest = all.min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            entries.remove(&oldest);
        }
        entries.now += 1;
        let used = entries.now;
        entries.by_key.insert(key, Entry { value, bytes, used });
        entries.bytes += bytes;
        let held = entries.bytes;
        entries.charge.resize(held);
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord, V> Entries<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.by_key.remove(key) {
            self.bytes -= entry.bytes;
        }
    }
}

impl<K, V> fmt::Debug for Kept<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "room for {} bytes", self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_kept_within_its_room() {
        let budget = Budget::new(1 << 20);
        let kept = Kept::new(30, &budget);
        let counted = || budget.usage().class(Class::Cache);
        for key in 0..3 {
            kept.put(key, key * 7, 10);
        }
        assert_eq!(kept.get(0), Some(0));
        kept.put(3, 21, 10);
        let there: Vec<i32> = (0..4).filter(|key| kept.get(*key).is_some()).collect();
        assert_eq!(there, [0, 2, 3]);
        kept.put(3, 22, 10);
        assert_eq!((kept.get(3), counted()), (Some(22), 30));
        // One that is larger takes the room of several.
        kept.put(4, 28, 25);
        assert_eq!((kept.get(4), counted()), (Some(28), 25));
        kept.put(5, 35, 31);
        assert_eq!((kept.get(5), kept.get(4)), (None, Some(28)));
        assert_eq!(counted(), 25);
        drop(kept);
        assert_eq!(counted(), 0);
    }
}
