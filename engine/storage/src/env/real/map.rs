//! Files as memory, which a signal handler finds when a page of one is missing.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe: another process could cut it while it is read"
)]

mod table;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering, compiler_fence};

use memmap2::{Mmap, MmapOptions};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use table::{Entered, Table};

/// As many files are mapped at once. Linux gives a process 65,530 places unless it is told otherwise,
/// and one that has used them up ends where its allocator asks for another.
const MAPPINGS_MAX: usize = 48 * 1024;

/// Every mapping of the process; none before the first.
static TABLE: OnceLock<Table> = OnceLock::new();
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// One of [`MAPPINGS_MAX`], until it is dropped.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> io::Result<Place> {
        let (taken, place) = (TAKEN.fetch_add(1, Ordering::Relaxed), Place);
        if taken < MAPPINGS_MAX {
            Ok(place)
        } else {
            Err(Errno::NOMEM.into())
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Puts zeros in the place of the mapping that `address` lies in, and notes that it is lost. Says
/// whether there is such a mapping and that was done. For a signal handler: no lock, no memory.
pub(super) fn replace_by_zeros(address: usize) -> bool {
    let found = TABLE.get().and_then(|table| table.find(address));
    let Some((slot, (start, len))) = found else {
        return false;
    };
    // Before the zeros can be read: whoever reads them finds this.
    slot.lose((address - start) as u64);
    let place = std::ptr::with_exposed_provenance_mut(start);
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the place is that of one live mapping of ours, whole; what read it reads zeros from now
    // on, and checks that afterwards.
    unsafe { mmap_anonymous(place, len, ProtFlags::READ, flags) }.is_ok()
}

/// A file mapped whole.
#[derive(Debug)]
pub(super) struct Mapping {
    entered: Entered<Mmap>,
    _place: Place,
}

impl Mapping {
    pub(super) fn new(file: &OwnedFd, size_bytes: u64) -> io::Result<Mapping> {
        let len = usize::try_from(size_bytes).map_err(io::Error::other)?;
        let place = Place::take()?;
        // SAFETY: the engine maps finished files only: none of its writers touches them again, and
        // the directory's lock keeps other engines out. A stranger who cuts the file causes SIGBUS,
        // which is why mapping is the caller's choice.
        let map = unsafe { MmapOptions::new().len(len).map(file) }?;
        let table = TABLE.get_or_init(Table::new);
        let start = map.as_ptr().expose_provenance();
        Ok(Mapping {
            entered: table.enter(start, len, map),
            _place: place,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.entered.memory()
    }

    /// Where the file could not be read, if that happened.
    pub(super) fn fault(&self) -> Option<u64> {
        // What was read before this call stays before it: the handler runs on the reading thread.
        compiler_fence(Ordering::SeqCst);
        self.entered.fault()
    }
}
