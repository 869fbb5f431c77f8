//! Memory: one limit for all that a store and those above it hold, and what each class of it takes
//! now. Counters only: nothing here allocates what it counts, touches a file or knows a store.
//!
//! What the counters mean is worked out when somebody asks ([`Pressure::of`], pure), so that no
//! event is missed and none is needed. Queries have a share that they cannot pass, so writers
//! always find the rest; and a query is stopped before a write is refused.

mod kept;
#[cfg(test)]
mod models;
mod pressure;
mod share;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

pub use kept::Kept;
pub use pressure::{Pressure, Usage};
pub use share::QueryShare;

/// The smallest budget: buffers of fixed size (the log's, what a connection reads ahead) are not
/// counted by class; with 128 MiB and forty writers at full speed 164 were resident.
pub const BUDGET_BYTES_MIN: usize = 256 << 20;

/// The budget of a machine that does not say how much memory it has.
pub const BUDGET_BYTES_UNKNOWN: usize = 2 << 30;

/// Memory that no class counts is believed up to this part of the budget: allocators keep freed
/// pages, and what they keep must not stop all writes. With 40 connections it was 60 to 80 MB.
const REST_PART: usize = 2;

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Rows that no block holds yet, with what readers pin of flushed ones and sorted copies.
    Memtable,
    /// Series: registries and live indexes.
    Index,
    /// What running queries hold.
    Query,
    /// Request bodies, batches and what is queued for the log.
    Ingest,
    /// Copies that flush and compaction make.
    Upkeep,
    /// Records of the log that are being read at the start.
    Replay,
    /// Deletes that may hide rows.
    Deletes,
    /// What is kept for queries to come: models that were decoded, named series.
    Cache,
}

impl Class {
    /// All of them, in the order of [`Usage::classes`].
    pub const ALL: [Class; 8] = [
        Class::Memtable,
        Class::Index,
        Class::Query,
        Class::Ingest,
        Class::Upkeep,
        Class::Replay,
        Class::Deletes,
        Class::Cache,
    ];

    /// Its name in metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Class::Memtable => "memtable",
            Class::Index => "index",
            Class::Query => "query",
            Class::Ingest => "ingest",
            Class::Upkeep => "upkeep",
            Class::Replay => "replay",
            Class::Deletes => "deletes",
            Class::Cache => "cache",
        }
    }
}

/// One limit and the counters under it.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: usize,
    used: [AtomicUsize; Class::ALL.len()],
    rest: AtomicUsize,
    pinned: AtomicUsize,
    queries: Mutex<Vec<Weak<QueryShare>>>,
    relieved: (Mutex<()>, Condvar),
    writes_refused: AtomicU64,
    writes_slowed: AtomicU64,
    queries_stopped: AtomicU64,
}

/// Bytes of a class; they are given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    class: Class,
    bytes: usize,
}

/// How often the budget was enforced, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetCounters {
    /// Writes refused.
    pub writes_refused: u64,
    /// Writes whose acknowledgement was held back.
    pub writes_slowed: u64,
    /// Queries stopped so that writes go on.
    pub queries_stopped: u64,
}

impl Budget {
    /// A budget of `limit_bytes`, of which nothing is used.
    pub fn new(limit_bytes: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit_bytes,
            used: Default::default(),
            rest: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            queries: Mutex::default(),
            relieved: <(Mutex<()>, Condvar)>::default(),
            writes_refused: AtomicU64::new(0),
            writes_slowed: AtomicU64::new(0),
            queries_stopped: AtomicU64::new(0),
        })
    }

    /// The limit, bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// What is used now.
    pub fn usage(&self) -> Usage {
        Usage {
            classes: std::array::from_fn(|class| self.used[class].load(Relaxed)),
            rest: self.rest.load(Relaxed),
            pinned: self.pinned.load(Relaxed),
        }
    }

    /// What that means for writers.
    pub fn pressure(&self) -> Pressure {
        Pressure::of(&self.usage(), self.limit_bytes)
    }

    /// How often the budget was enforced.
    pub fn counters(&self) -> BudgetCounters {
        BudgetCounters {
            writes_refused: self.writes_refused.load(Relaxed),
            writes_slowed: self.writes_slowed.load(Relaxed),
            queries_stopped: self.queries_stopped.load(Relaxed),
        }
    }

    /// Counts `bytes` that are held whatever the limit says.
    pub fn charge(self: &Arc<Budget>, class: Class, bytes: usize) -> Charge {
        self.counter(class).fetch_add(bytes, Relaxed);
        Charge {
            budget: Arc::clone(self),
            class,
            bytes,
        }
    }

    /// Counts `bytes` that a writer is about to hold.
    ///
    /// # Errors
    /// `Busy` where they would pass the line from which on writes are refused.
    pub fn admit(self: &Arc<Budget>, bytes: usize) -> Result<Charge> {
        let charge = self.charge(Class::Ingest, bytes);
        match self.pressure() {
            Pressure::Refuse => {
                drop(charge);
                Err(self.refuse())
            }
            Pressure::Calm | Pressure::Flush | Pressure::Slow(_) => Ok(charge),
        }
    }

    /// How long a write's acknowledgement is to be held back now.
    ///
    /// # Errors
    /// `Busy` where writes are refused.
    pub fn check_write(&self) -> Result<Duration> {
        match self.pressure() {
            Pressure::Calm | Pressure::Flush => Ok(Duration::ZERO),
            Pressure::Slow(delay) => {
                self.writes_slowed.fetch_add(1, Relaxed);
                Ok(delay)
            }
            Pressure::Refuse => Err(self.refuse()),
        }
    }

    /// States what a class takes that is measured and not counted.
    pub fn state(&self, class: Class, bytes: usize) {
        self.counter(class).store(bytes, Relaxed);
    }

    /// States what the process has resident, where that is known, and what rows in memtables take
    /// that no block holds yet: what else of them lives is pinned by readers. Stops the query that
    /// holds most where memory is so short that writes would be refused next.
    pub fn tick(&self, resident_bytes: Option<usize>, unflushed_bytes: usize) {
        let mut usage = self.usage();
        let memtable = usage.class(Class::Memtable);
        usage.pinned = memtable.saturating_sub(unflushed_bytes);
        self.pinned.store(usage.pinned, Relaxed);
        let counted = usage.counted();
        let rest = resident_bytes.map_or(0, |resident| resident.saturating_sub(counted));
        usage.rest = rest.min(self.limit_bytes / REST_PART);
        self.rest.store(usage.rest, Relaxed);
        if pressure::stops_queries(&usage, self.limit_bytes) {
            self.stop_query();
        }
    }

    /// Registers a query; `stop` is called when it is to end so that writes go on.
    pub fn enter_query(
        self: &Arc<Budget>,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Arc<QueryShare> {
        let share = Arc::new(QueryShare::new(Arc::clone(self), Box::new(stop)));
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.retain(|query| query.strong_count() > 0);
        queries.push(Arc::downgrade(&share));
        share
    }

    /// Waits until memory has been freed, `at_most` so long: for writers that may block.
    pub fn wait_for_relief(&self, at_most: Duration) {
        let (lock, relieved) = &self.relieved;
        let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short =
            |(): &mut ()| matches!(self.pressure(), Pressure::Slow(_) | Pressure::Refuse);
        drop(relieved.wait_timeout_while(held, at_most, is_short));
    }

    /// Tells those who wait that memory has been freed.
    pub fn relieve(&self) {
        self.relieved.1.notify_all();
    }

    /// The refusal of a write, with what is used by whom; counted.
    pub fn refuse(&self) -> Error {
        self.writes_refused.fetch_add(1, Relaxed);
        let message = format!(
            "memory is short: {}; come back when rows are flushed, or raise memory_budget",
            self.usage().describe(self.limit_bytes)
        );
        Error::new(ErrorKind::Busy, message)
    }

    /// Stops the query that holds most; the oldest answers for what readers pin, for its snapshot
    /// is.
    fn stop_query(&self) {
        let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        let running: Vec<Arc<QueryShare>> = queries.iter().filter_map(Weak::upgrade).collect();
        drop(queries);
        let pinned = self.pinned.load(Relaxed);
        let waiting = running.iter().filter(|query| !query.is_stopped());
        let weighed = waiting.enumerate().map(|(age, query)| {
            let pinned = if age == 0 { pinned } else { 0 };
            (query.held_bytes() + pinned, query)
        });
        if let Some((_, query)) = weighed.max_by_key(|(bytes, _)| *bytes) {
            // Another may have chosen the same.
            if query.stop() {
                self.queries_stopped.fetch_add(1, Relaxed);
            }
        }
    }

    fn counter(&self, class: Class) -> &AtomicUsize {
        &self.used[class as usize]
    }
}

impl Charge {
    /// Counts `bytes` from now on.
    pub fn resize(&mut self, bytes: usize) {
        let counter = self.budget.counter(self.class);
        counter.fetch_add(bytes, Relaxed);
        counter.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
    }

    /// Bytes that are counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget they are counted in.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget
            .counter(self.class)
            .fetch_sub(self.bytes, Relaxed);
    }
}
