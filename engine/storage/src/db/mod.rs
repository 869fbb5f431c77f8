//! The store: one data directory, opened by one process. Wiring only; what is wired knows nothing
//! of its neighbours.
//!
//! What it promises: a write whose ticket says so is durable and visible; a snapshot never changes;
//! whatever stops the process, the next open finds every acknowledged row, nothing that was never
//! written, and damage by name.

mod alter;
mod backup;
mod check;
mod close;
mod compact;
mod core;
mod database;
mod define;
mod delete;
mod discard;
mod files;
mod flush;
mod limits;
mod lost;
mod memory;
mod open;
mod policy;
mod purge;
mod read;
mod replay;
mod reserve;
mod retention;
mod retire;
mod room;
mod scrub;
mod stats;
mod write;

use std::sync::Arc;
use std::time::Duration;

pub use crate::upkeep::retention::{Share, WaitReason};
pub use crate::wal::{Durability, TornTail, WalOptions};
pub use alter::Alter;
pub use check::{CheckOptions, CheckReport};
pub use delete::{Delete, TOMBSTONE_MEMORY_MAX, TOMBSTONES_MAX};
pub use discard::Discarded;
pub use files::Orphan;
pub use limits::Limits;
pub use retention::RetentionWait;
pub use scrub::{ScrubCounters, VerifyReport};
pub use stats::{CompactionCounters, DbStats, Problem};
pub use write::{KEY_BYTES_MAX, RejectReason, RejectedRow, Submitted, Ticket};

use self::core::Core;

/// An open store. Shared by all who read and write; dropping it stops background work and keeps the
/// log for the next open, [`Db::close`] leaves nothing to replay.
#[derive(Debug)]
pub struct Db {
    core: Arc<Core>,
}

/// How a store works.
#[derive(Clone, Copy, Debug)]
pub struct DbOptions {
    /// Memory for all that is held, bytes; 0 = half of what the machine or its control group gives.
    pub memory_budget_bytes: usize,
    /// Bounds on names and numbers of things.
    pub limits: Limits,
    /// The log.
    pub wal: WalOptions,
    /// A flush begins when rows in memory take this much, bytes, and before where there are few series;
    /// an eighth of the budget at most.
    pub memtable_bytes: usize,
    /// From here on a writer flushes before it writes, bytes; a quarter of the budget at most.
    pub memtable_bytes_max: usize,
    /// A flush begins when the log has grown by this much, bytes.
    pub log_bytes: u64,
    /// A flush begins when rows have been in memory for this long.
    pub flush_interval: Duration,
    /// How long a pass of the scrubber takes, which reads every file again: it reads as slowly as
    /// that needs, and 1 MiB/s at least. Zero: no scrubber.
    pub scrub_interval: Duration,
    /// How often the background step looks whether a flush is due.
    pub step_interval: Duration,
}

impl Default for DbOptions {
    fn default() -> DbOptions {
        DbOptions {
            memory_budget_bytes: 0,
            limits: Limits::default(),
            wal: WalOptions::default(),
            memtable_bytes: 512 << 20,
            memtable_bytes_max: 1 << 30,
            log_bytes: 256 << 20,
            flush_interval: Duration::from_secs(600),
            scrub_interval: Duration::from_secs(7 * 24 * 3600),
            step_interval: Duration::from_secs(1),
        }
    }
}

/// How a write is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// How safe the rows must be before the ticket says that they are.
    pub durability: Durability,
}
