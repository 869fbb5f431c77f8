//! A machine under a test's control: a disk in memory that knows what is durable, loses, reorders
//! and tears the rest in a crash, and fails on demand; a clock that is set by hand; background
//! steps that run when the test says. Same seed and same calls, same outcome, same crash images.
//!
//! The rule of durability, stricter than any one file system:
//! - `sync_data` makes a file's bytes and size durable, not its name; `sync_dir` makes names durable.
//! - In a crash every unsynced 512-byte sector is old, new, zero or garbage as a whole: bytes of it
//!   that were synced before go with it, so whoever appends starts a fresh sector after each sync.
//! - A file's size is old, new or between; of a rename either name, both or neither survives.
//! - Each of these falls independently of the others, across files too.
//!
//! What runs on the machine sees its own unsynced writes, until it is switched off: then every call
//! fails. The lock of the directory goes with the machine.

mod content;
mod disk;
mod faults;
mod images;
mod machine;
mod steps;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use disk::Disk;
use machine::State;

pub use faults::{Failure, Fault, Op, OpKind};
pub use images::{CrashImage, CrashImages};

/// The unit that a crash keeps or loses whole, bytes.
pub const SECTOR_BYTES: u64 = 512;

/// The simulated machine. Clones are the same machine.
#[derive(Clone)]
pub struct SimEnv {
    state: Arc<Mutex<State>>,
    steps: Arc<steps::Steps>,
}

impl fmt::Debug for SimEnv {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        out.debug_struct("SimEnv")
            .field("seed", &state.seed)
            .field("ops", &state.faults.count())
            .finish_non_exhaustive()
    }
}

impl SimEnv {
    /// A machine with an empty, unbounded disk whose choices follow from `seed`.
    pub fn new(seed: u64) -> SimEnv {
        SimEnv::with_disk(seed, Disk::default())
    }

    fn with_disk(seed: u64, disk: Disk) -> SimEnv {
        SimEnv {
            state: Arc::new(Mutex::new(State::new(seed, disk))),
            steps: Arc::new(steps::Steps::new(seed)),
        }
    }

    fn with_clock(self, now_ns: i64) -> SimEnv {
        self.set_now(now_ns);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations that change the disk were called, failed ones included.
    pub fn op_count(&self) -> u64 {
        self.state().faults.count()
    }

    /// Those operations in order, by their numbers from 0.
    pub fn ops(&self) -> Vec<Op> {
        self.state().faults.log().to_vec()
    }

    /// Switches the machine off when operation `number` (see [`SimEnv::ops`]) is about to begin.
    pub fn stop_before(&self, number: u64) {
        self.state().faults.stop_before(number);
    }

    /// Switches the machine off: every call fails from now on.
    pub fn power_off(&self) {
        self.state().faults.power_off();
    }

    /// Whether the machine is off.
    pub fn is_off(&self) -> bool {
        self.state().faults.is_off()
    }

    /// Adds a fault, which counts the calls it applies to from now on.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.inject(fault);
    }

    /// Takes all faults away; the disk works again.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// Splits every write into operations of at most `bytes_max` bytes, each of which can fail or
    /// be the last one.
    pub fn set_short_writes(&self, bytes_max: Option<usize>) {
        self.state().short_writes = bytes_max.map(|bytes| bytes.max(1));
    }

    /// From now on the disk lies, or does no more: a sync goes well and any part of what it was to make
    /// durable never will be, which nobody sees before the next crash.
    pub fn set_lying(&self, lies: bool) {
        self.state().lies = lies;
    }

    /// Bounds the sum of all file sizes; what would pass it meets a full disk.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Sets the wall clock, ns since 1970 UTC. The monotonic clock stays.
    pub fn set_now(&self, now_ns: i64) {
        self.state().now_ns = now_ns;
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        let ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        state.now_ns = state.now_ns.saturating_add(ns);
        state.monotonic = state.monotonic.saturating_add(by);
    }

    /// Calls up to `count` background steps, each time one of those that are not finished, in an
    /// order that follows from the seed and not from their intervals. Says how many it called.
    pub fn run_steps(&self, count: usize) -> usize {
        let mut called = 0;
        while called < count && !self.is_off() && self.steps.run_one() {
            called += 1;
        }
        called
    }

    /// The disks that a crash at this moment may leave, each on a machine of its own with the same wall
    /// clock: all of them
    /// while there are few, else a spread choice of `image_count_max`, always with the one that
    /// lost everything unsynced and the one that lost nothing.
    pub fn crash_images(&self, image_count_max: usize) -> CrashImages {
        let state = self.state();
        CrashImages::new(
            (state.seed, state.now_ns),
            state.disk.clone(),
            image_count_max,
        )
    }

    /// The machine after its process was killed: all that was written is there, what was not
    /// synced is still not durable, the lock is free.
    #[must_use]
    pub fn after_kill(&self) -> SimEnv {
        let state = self.state();
        SimEnv::with_disk(state.seed, state.disk.clone()).with_clock(state.now_ns)
    }

    /// A file's bytes as the machine sees them now, past all faults and counters.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn peek(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.state().disk.peek(path.as_ref())
    }

    /// Puts `bytes` in place of a file's contents, durably and past all faults and counters: bit rot
    /// and strangers' hands. Makes the file, and its folder, where they are missing.
    pub fn poke(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        self.state().disk.poke(path.as_ref(), bytes);
    }

    /// Takes a file away durably, past all faults and counters.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn snatch(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.state().disk.snatch(path.as_ref())
    }

    /// Every file's path as the machine sees it now, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().disk.paths()
    }
}

/// A small generator of repeatable numbers (splitmix64), by its state: of the machine's choices, and of
/// whatever a test draws.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number, any bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "it has no end, as an iterator may"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[cfg(test)]
mod tests;
