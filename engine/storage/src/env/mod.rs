//! The only door to files, clock and threads. `real` is the machine; `sim` is a machine under a
//! test's control that loses, reorders and tears what was not synced, and fails on demand.
//!
//! Paths are relative to the data directory and have at most one folder. Nothing here knows what a
//! file holds.

pub mod real;
pub mod sim;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use real::{RealEnv, RealOptions};
pub use sim::SimEnv;

/// A file being written. One owner; positions are explicit; nothing is durable before
/// [`WriteFile::sync_data`] returns.
pub trait WriteFile: Send + fmt::Debug {
    /// Writes all of `buffers`, one behind another, from `offset` on. Short writes and interrupted
    /// calls are carried on with; on an error any part may have been written.
    ///
    /// # Errors
    /// What the system says; `StorageFull` and `QuotaExceeded` mean a full disk.
    fn write_at(&mut self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()>;

    /// Makes the file at least `size` bytes long with its blocks reserved, reading as zeros, so
    /// that a full disk shows here and not at a sync.
    ///
    /// # Errors
    /// As [`WriteFile::write_at`].
    fn allocate(&mut self, size: u64) -> io::Result<()>;

    /// Cuts the file to `size` bytes.
    ///
    /// # Errors
    /// As [`WriteFile::write_at`].
    fn truncate(&mut self, size: u64) -> io::Result<()>;

    /// Makes contents and size durable (`fdatasync`); not the name: see [`Env::sync_dir`].
    ///
    /// # Errors
    /// After an error nothing is known of what was written since the last success, and another
    /// call may claim success falsely: never sync the same file again.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// A finished file, read by many.
pub trait ReadFile: Send + Sync + fmt::Debug {
    /// Size when it was opened, in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before; else what the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// The whole file as memory, where it is mapped; `None` where callers must use `read_at`. What
    /// was read through it holds only if [`ReadFile::fault`] and [`ReadFile::size_now`] say so
    /// afterwards.
    fn bytes(&self) -> Option<&[u8]>;

    /// Where the mapped file could not be read, if that happened: from then on all of its memory
    /// is zeros. Costs a load.
    fn fault(&self) -> Option<u64> {
        None
    }

    /// Asks the system to forget what it keeps of the file in memory, so that what is read next comes
    /// from the disk. As far as the system does that.
    fn forget_cached(&self) {}

    /// Size of a mapped file as of now; one that is not mapped notices a cut by itself. Where a
    /// file was cut within a page, the rest of that page reads as zeros without a fault.
    ///
    /// # Errors
    /// What the system says.
    fn size_now(&self) -> io::Result<u64> {
        Ok(self.size_bytes())
    }
}

/// Held as long as this process owns the directory; dropping it lets go.
pub trait DirLock: Send + Sync + fmt::Debug {}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// File name without folders.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// What a background step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// Call again after the interval, or when woken.
    Idle,
    /// There is more to do: call again at once.
    Again,
    /// Never call again.
    Finished,
}

/// A background activity that `Env` drives.
pub trait StepHandle: Send + Sync + fmt::Debug {
    /// Asks for a call of the step soon.
    fn wake(&self);

    /// The same, for work that the caller does too: on another core than the caller's, where the system
    /// has one.
    fn wake_beside(&self);

    /// Waits until a running call has returned and makes no further one. Safe to call twice.
    fn stop(&self);
}

/// Files, clock, threads and randomness of one data directory.
pub trait Env: Send + Sync + fmt::Debug {
    /// Takes the directory for this process, writing its id into the lock file for others to read.
    /// Makes the directory where it is missing. Touches nothing else.
    ///
    /// # Errors
    /// `WouldBlock` where another owner has it; the message names the owner's process id.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;

    /// Makes a new file for writing.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken; else what the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens an existing file for writing, contents kept.
    ///
    /// # Errors
    /// `NotFound`; else what the system says.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a finished file for reading. Symbolic links and special files are refused.
    ///
    /// # Errors
    /// `NotFound`; else what the system says.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>>;

    /// As [`Env::open_read`], never mapped: for those who read a file once, front to back, and are not to
    /// push out of memory what others read.
    ///
    /// # Errors
    /// As [`Env::open_read`].
    fn open_unmapped(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.open_read(path)
    }

    /// Gives a file another name in place of whatever had it. Durable after `sync_dir` of both
    /// folders.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Where a file lies on this machine; `None` where it lies on none.
    fn locate(&self, path: &Path) -> Option<PathBuf> {
        let _ = path;
        None
    }

    /// Gives an ordinary file of this machine, as [`Env::locate`] names it, a further name in this
    /// directory. Durable after `sync_dir`.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken; `Unsupported` where files lie on no machine; what
    /// the system says, for one where the two lie in different file systems.
    fn link(&self, file: &Path, path: &Path) -> io::Result<()> {
        let _ = (file, path);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes a file's name away. Readers that have it open keep it.
    ///
    /// # Errors
    /// `NotFound`; else what the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder; one that exists is fine.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// What a folder holds, sorted by name. The data directory itself is the empty path.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the names in a folder durable. The data directory itself is the empty path.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Bytes free on the disk for this user.
    ///
    /// # Errors
    /// What the system says.
    fn free_bytes(&self) -> io::Result<u64>;

    /// How many threads the machine runs side by side.
    fn cores(&self) -> usize {
        1
    }

    /// What memory the machine and its control groups give this process; `None` where nothing says.
    fn memory_bytes(&self) -> Option<usize> {
        None
    }

    /// Memory of this process that is resident and that no file backs; `None` where nothing says.
    fn resident_bytes(&self) -> Option<usize> {
        None
    }

    /// The wall clock, ns since 1970 UTC. May jump.
    fn now_ns(&self) -> i64;

    /// The monotonic clock since some moment before the first call.
    fn monotonic(&self) -> Duration;

    /// Lets others work for so long. On a simulated machine no time passes.
    fn pause(&self, time: Duration) {
        let _ = time;
    }

    /// Unpredictable bits.
    fn random(&self) -> [u64; 4];

    /// Calls `step` every `interval` and whenever woken, on a thread of its own (the simulated
    /// machine: whenever the test says). Dropping the handle stops the step.
    ///
    /// # Errors
    /// What the system says where it gives no thread.
    fn every(
        &self,
        name: &str,
        interval: Duration,
        step: Box<dyn FnMut() -> StepOutcome + Send>,
    ) -> io::Result<Box<dyn StepHandle>>;
}
