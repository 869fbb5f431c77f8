//! Files as memory, and the table in which a signal handler finds them.
//!
//! The table only grows: a slot is used again, its memory is never given back, so that the handler
//! reads it without a lock. A slot's version is odd while it changes.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe: another process could cut it while it is read"
)]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, compiler_fence};
use std::sync::{Mutex, OnceLock, PoisonError};

use memmap2::{Mmap, MmapOptions};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Slots that the table grows by.
const SLOTS: usize = 256;
/// No page of the mapping was missing so far.
const NONE: u64 = u64::MAX;

/// What the handler must know of a mapping.
#[derive(Debug)]
struct Slot {
    version: AtomicU64,
    start: AtomicUsize,
    len: AtomicUsize,
    /// Offset in the file of the first byte that was missing.
    fault: AtomicU64,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            version: AtomicU64::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            fault: AtomicU64::new(NONE),
        }
    }

    /// Makes it tell of another mapping. One caller at a time.
    fn set(&self, start: usize, len: usize) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.start.store(start, Ordering::SeqCst);
        self.len.store(len, Ordering::SeqCst);
        self.fault.store(NONE, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The mapping's place, if `address` lies in it. A slot that changes meanwhile is another's:
    /// whoever reads a mapping keeps it.
    fn holds(&self, address: usize) -> Option<(usize, usize)> {
        let version = self.version.load(Ordering::SeqCst);
        let start = self.start.load(Ordering::SeqCst);
        let len = self.len.load(Ordering::SeqCst);
        let settled = version.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == version;
        let inside = address.checked_sub(start).is_some_and(|at| at < len);
        (settled && inside).then_some((start, len))
    }
}

#[derive(Debug)]
struct Page {
    slots: [Slot; SLOTS],
    next: OnceLock<&'static Page>,
}

impl Page {
    const fn new() -> Page {
        Page {
            slots: [const { Slot::new() }; SLOTS],
            next: OnceLock::new(),
        }
    }
}

static FIRST: Page = Page::new();

/// Slots that tell of no mapping; `None` before the first page's were taken in.
static FREE: Mutex<Option<Vec<&'static Slot>>> = Mutex::new(None);

fn take_slot() -> &'static Slot {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let free = free.get_or_insert_with(|| FIRST.slots.iter().collect());
    if let Some(slot) = free.pop() {
        return slot;
    }
    let page: &'static Page = Box::leak(Box::new(Page::new()));
    let mut last = &FIRST;
    while let Some(next) = last.next.get() {
        last = next;
    }
    last.next.set(page).expect("pages are added one at a time");
    free.extend(page.slots.iter().skip(1));
    &page.slots[0]
}

/// Puts zeros in the place of the mapping that `address` lies in, and notes that it is lost. Says
/// whether there is such a mapping and that was done. For a signal handler: no lock, no memory.
pub(super) fn replace_by_zeros(address: usize) -> bool {
    let mut page = Some(&FIRST);
    while let Some(own) = page {
        let found = own
            .slots
            .iter()
            .find_map(|slot| Some((slot, slot.holds(address)?)));
        if let Some((slot, (start, len))) = found {
            // Before the zeros can be read: whoever reads them finds this.
            slot.fault
                .fetch_min((address - start) as u64, Ordering::SeqCst);
            let place = std::ptr::with_exposed_provenance_mut(start);
            let flags = MapFlags::PRIVATE | MapFlags::FIXED;
            // SAFETY: the place is that of one live mapping of ours, whole; what read it reads zeros
            // from now on, and checks that afterwards.
            return unsafe { mmap_anonymous(place, len, ProtFlags::READ, flags) }.is_ok();
        }
        page = own.next.get().copied();
    }
    false
}

/// A file mapped whole.
#[derive(Debug)]
pub(super) struct Mapping {
    map: Mmap,
    slot: &'static Slot,
}

impl Mapping {
    pub(super) fn new(file: &OwnedFd, size_bytes: u64) -> io::Result<Mapping> {
        let len = usize::try_from(size_bytes).map_err(io::Error::other)?;
        // SAFETY: the engine maps finished files only: none of its writers touches them again, and
        // the directory's lock keeps other engines out. A stranger who cuts the file causes SIGBUS,
        // which is why mapping is the caller's choice.
        let map = unsafe { MmapOptions::new().len(len).map(file) }?;
        let slot = take_slot();
        slot.set(map.as_ptr().expose_provenance(), len);
        Ok(Mapping { map, slot })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Where the file could not be read, if that happened.
    pub(super) fn fault(&self) -> Option<u64> {
        // What was read before this call stays before it: the handler runs on the reading thread.
        compiler_fence(Ordering::SeqCst);
        let fault = self.slot.fault.load(Ordering::Acquire);
        (fault != NONE).then_some(fault)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Before the memory goes: its place may be another's at once.
        self.slot.set(0, 0);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.get_or_insert_default().push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_knows_its_mapping_and_none_that_is_gone() {
        static SLOT: Slot = Slot::new();
        assert_eq!(SLOT.holds(0), None);
        SLOT.set(4096, 100);
        for (address, inside) in [(4095, false), (4096, true), (4195, true), (4196, false)] {
            assert_eq!(SLOT.holds(address).is_some(), inside, "{address}");
        }
        SLOT.version.fetch_add(1, Ordering::SeqCst);
        assert_eq!(SLOT.holds(4096), None, "it is being changed");
        SLOT.version.fetch_add(1, Ordering::SeqCst);
        SLOT.set(0, 0);
        assert_eq!(SLOT.holds(4096), None);
        assert_eq!(SLOT.holds(0), None);
    }

    #[test]
    fn the_table_grows_and_its_slots_are_used_again() {
        let slots: Vec<_> = (0..3 * SLOTS).map(|_| take_slot()).collect();
        let mut places: Vec<*const Slot> = slots.iter().map(|slot| &raw const **slot).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 3 * SLOTS);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.get_or_insert_default().extend(slots);
    }
}
