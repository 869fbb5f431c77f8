//! What a signal handler must know of mappings: where they are, and whether one was lost.
//!
//! The table only grows: a slot is used again, its memory is never given back, so that the handler
//! reads it without a lock. A slot's version is odd while it changes.

#[cfg(test)]
mod models;

use std::fmt;
use std::sync::{OnceLock, PoisonError};

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Slots that the table grows by.
const SLOTS: usize = if cfg!(any(feature = "loom", miri)) {
    2
} else {
    256
};
/// No page of the mapping was missing so far.
const NONE: u64 = u64::MAX;

/// What the handler must know of a mapping.
#[derive(Debug)]
pub(super) struct Slot {
    version: AtomicU64,
    start: AtomicUsize,
    len: AtomicUsize,
    /// Offset in the file of the first byte that was missing.
    fault: AtomicU64,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            version: AtomicU64::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            fault: AtomicU64::new(NONE),
        }
    }

    /// Makes it tell of another mapping. One caller at a time. Whoever reads a new place also reads that
    /// the version is odd, or a later one: each load acquires what the store behind it released.
    fn set(&self, start: usize, len: usize) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.start.store(start, Ordering::Release);
        self.len.store(len, Ordering::Release);
        self.fault.store(NONE, Ordering::Release);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The mapping's place, if `address` lies in it. A slot that changes meanwhile is another's:
    /// whoever reads a mapping keeps it.
    fn holds(&self, address: usize) -> Option<(usize, usize)> {
        let version = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        let settled = version.is_multiple_of(2) && self.version.load(Ordering::Acquire) == version;
        let inside = address.checked_sub(start).is_some_and(|at| at < len);
        (settled && inside).then_some((start, len))
    }

    /// Notes that the mapping is lost from `offset` of its file on.
    pub(super) fn lose(&self, offset: u64) {
        self.fault.fetch_min(offset, Ordering::AcqRel);
    }
}

#[derive(Debug)]
struct Page {
    slots: [Slot; SLOTS],
    next: OnceLock<&'static Page>,
}

impl Page {
    fn new() -> Page {
        Page {
            slots: std::array::from_fn(|_| Slot::new()),
            next: OnceLock::new(),
        }
    }
}

/// All mappings of the process.
#[derive(Debug)]
pub(super) struct Table {
    first: Page,
    /// Slots that tell of no mapping; `None` before the first page's were taken in.
    free: Mutex<Option<Vec<&'static Slot>>>,
}

impl Table {
    pub(super) fn new() -> Table {
        Table {
            first: Page::new(),
            free: Mutex::new(None),
        }
    }

    /// Notes that `memory` lies at `start`, until what is returned is dropped, and `memory` with it.
    pub(super) fn enter<M>(&'static self, start: usize, len: usize, memory: M) -> Entered<M> {
        let slot = self.take_slot();
        slot.set(start, len);
        Entered {
            memory,
            slot,
            table: self,
        }
    }

    /// The mapping that `address` lies in, with its place. For a signal handler: no lock, no memory.
    pub(super) fn find(&self, address: usize) -> Option<(&Slot, (usize, usize))> {
        let mut page = Some(&self.first);
        while let Some(own) = page {
            let mut slots = own.slots.iter();
            let found = slots.find_map(|slot| Some((slot, slot.holds(address)?)));
            if found.is_some() {
                return found;
            }
            page = own.next.get().copied();
        }
        None
    }

    fn take_slot(&'static self) -> &'static Slot {
        let mut free = self.free();
        let free = free.get_or_insert_with(|| self.first.slots.iter().collect());
        if let Some(slot) = free.pop() {
            return slot;
        }
        let page: &'static Page = Box::leak(Box::new(Page::new()));
        let mut last = &self.first;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last.next.set(page).expect("pages are added one at a time");
        free.extend(page.slots.iter().skip(1));
        &page.slots[0]
    }

    fn free(&self) -> MutexGuard<'_, Option<Vec<&'static Slot>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that the table knows.
pub(super) struct Entered<M> {
    memory: M,
    slot: &'static Slot,
    table: &'static Table,
}

impl<M> Entered<M> {
    pub(super) fn memory(&self) -> &M {
        &self.memory
    }

    /// Where the file could not be read, if that happened.
    pub(super) fn fault(&self) -> Option<u64> {
        let fault = self.slot.fault.load(Ordering::Acquire);
        (fault != NONE).then_some(fault)
    }
}

impl<M> Drop for Entered<M> {
    fn drop(&mut self) {
        // Before the memory goes: its place may be another's at once. And before the slot may be.
        self.slot.set(0, 0);
        self.table.free().get_or_insert_default().push(self.slot);
    }
}

impl<M> fmt::Debug for Entered<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.slot)
    }
}
