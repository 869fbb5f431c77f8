//! What all parts of an open store share, and the locks between them.
//!
//! Order of locks, outermost first: `deleting`, `compacting`, `flushing`, `retention`, `sequencer`, `manifest`, then those of one database.
//! `apply` closures of the log take only the last kind, so whoever holds the sequencing lock may
//! wait for the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crate::block::DecodedPages;
use crate::budget::Budget;
use crate::db::backup::Pins;
use crate::db::compact::Compacting;
use crate::db::database::Database;
use crate::db::purge::Looked;
use crate::db::reserve::Reserve;
use crate::db::scrub::Scrub;
use crate::db::stats::Problem;
use crate::db::{DbOptions, WriteOptions};
use crate::env::{DirLock, Env, StepHandle};
use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::Names;
use crate::format::manifest::Edit;
use crate::manifest::Manifest;
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{DatabaseId, KeyHasher, Sequence};
use crate::snapshot::SeriesNames;
use crate::upkeep::retention::Guard;
use crate::wal::{Durability, TornTail, Wal};
use crate::workers::Workers;

/// Problems that are listed; the rest is counted.
pub(super) const PROBLEMS_LISTED_MAX: usize = 1000;

/// Kinds of the log's records, on disk.
pub(super) const RECORD_DEFINITIONS: u8 = 1;
/// Rows, as `format::rows` has them.
pub(super) const RECORD_ROWS: u8 = 2;
/// A delete, as `format::tombstone` has it.
pub(super) const RECORD_TOMBSTONE: u8 = 3;

/// What is kept of decoded pages: the sets of some two hundred columns, and no more than this share of the
/// budget.
const DECODED_BYTES_MAX: usize = 16 << 20;
const DECODED_SHARE: usize = 32;
/// Names of series that are kept, in the same way: those of some fifty thousand.
const NAMES_BYTES_MAX: usize = 16 << 20;
const NAMES_SHARE: usize = 32;

/// An open store.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) env: Arc<dyn Env>,
    pub(super) options: DbOptions,
    pub(super) budget: Arc<Budget>,
    pub(super) directory_id: u128,
    pub(super) hasher: KeyHasher,
    /// Set once the log is replayed.
    pub(super) wal: OnceLock<Wal>,
    /// Held by the one flush that runs.
    pub(super) flushing: Mutex<Flushing>,
    /// Held by the one compaction that runs.
    pub(super) compacting: Mutex<Compacting>,
    /// Keeps a wrong clock from dropping what it should not; held by the one pass that runs.
    pub(super) retention: Mutex<Guard>,
    /// Background work is to end.
    pub(super) stopping: AtomicBool,
    /// Held by the one delete that is being made. Taken before all other locks.
    pub(super) deleting: Mutex<()>,
    /// Deletes that the manifest does not have yet.
    pub(super) unflushed_deletes: AtomicUsize,
    /// What the last look for hidden rows in blocks saw.
    pub(super) purged: Mutex<Option<Looked>>,
    sequencer: Mutex<Sequencer>,
    pub(super) manifest: Mutex<Manifest>,
    /// By name.
    databases: RwLock<BTreeMap<Box<str>, Arc<Database>>>,
    /// Moves when what a lookup in a front cache said may not hold any more.
    pub(super) epoch: AtomicU64,
    pub(super) last_file: AtomicU64,
    /// An edit of the manifest failed and may yet be found after a crash: a drop of what writers
    /// would write to, perhaps. No write is taken until that is settled.
    uncertain: AtomicBool,
    /// What the log held when it was opened, bytes.
    pub(super) replayed_bytes: AtomicU64,
    /// Rows in memtables, bytes.
    pub(super) unflushed_bytes: AtomicUsize,
    /// Those of them that the log had left, until the next flush.
    pub(super) left_bytes: AtomicUsize,
    /// What series took when the last flush was done, bytes: another would not free it.
    pub(super) flushed_index_bytes: AtomicUsize,
    problems: Mutex<(Vec<Problem>, u64)>,
    /// What was cut off the log when it was opened.
    pub(super) torn: OnceLock<TornTail>,
    /// What background work fails at, until it succeeds.
    failing: Mutex<BTreeMap<&'static str, Problem>>,
    /// Files that wait for a backup to end.
    pub(super) pins: Mutex<Pins>,
    pub(super) reserve: Mutex<Reserve>,
    /// What was decoded of blocks last: what their pages share, and statistics.
    pub(super) decoded: Arc<DecodedPages>,
    pub(super) names: Arc<SeriesNames>,
    pub(super) scrub: Mutex<Scrub>,
    pub(super) steps: Mutex<Vec<Box<dyn StepHandle>>>,
    /// Threads that share scans; set once the store is open.
    pub(super) workers: OnceLock<Arc<Workers>>,
    pub(super) counters: Counters,
    _lock: Box<dyn DirLock>,
}

/// What one flush leaves for the next.
#[derive(Debug)]
pub(super) struct Flushing {
    /// Everything up to it was applied, and lies in frozen memtables or in blocks.
    pub(super) frozen_through: Sequence,
    /// Bytes of frozen memtables that are not flushed yet.
    pub(super) frozen_bytes: usize,
    /// Bytes that the log had written or replayed when the last flush began.
    pub(super) log_bytes: u64,
    /// When the last flush failed, by the monotonic clock.
    pub(super) failed_at: Option<Duration>,
    /// Failed syncs of the log that a flush has dealt with.
    pub(super) sync_failures: u64,
}

/// Sums since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) rows_written: AtomicU64,
    pub(super) rows_rejected: AtomicU64,
    pub(super) series_defined: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) flushed_rows: AtomicU64,
    pub(super) compaction: CompactionTotals,
    pub(super) retention_blocks: AtomicU64,
    pub(super) rows_without_key: AtomicU64,
    pub(super) series_retired: AtomicU64,
}

/// What compaction came to, and what it is at.
#[derive(Debug, Default)]
pub(super) struct CompactionTotals {
    pub(super) merges: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) bytes_read: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) paused_us: AtomicU64,
    pub(super) debt_bytes: AtomicU64,
    pub(super) job_rows: AtomicU64,
    pub(super) job_rows_done: AtomicU64,
    /// Callers that wait for the whole store: merges do not rest then.
    pub(super) waiting: AtomicUsize,
}

/// What writers share under the sequencing lock.
#[derive(Debug)]
pub(super) struct Sequencer {
    /// What is submitted belongs to it.
    pub(super) generation: Arc<Generation>,
    pub(super) writers: BTreeMap<DatabaseId, Writer>,
}

/// What is submitted, of one database: ahead of what readers see.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) catalog: Arc<DatabaseCatalog>,
    pub(super) last_series: u64,
    /// Names that the manifest does not have yet.
    pub(super) pending: Names,
}

/// Submissions between two freezes.
#[derive(Debug, Default)]
pub(super) struct Generation {
    in_flight: Mutex<usize>,
    settled: Condvar,
    /// The last sequence applied.
    last: AtomicU64,
    pub(super) bytes: AtomicUsize,
    /// When the first rows were submitted.
    pub(super) began: OnceLock<Duration>,
}

/// One submission that the log has not applied or refused yet.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Generation>);

impl Generation {
    pub(super) fn enter(self: &Arc<Generation>) -> InFlight {
        *lock(&self.in_flight) += 1;
        InFlight(Arc::clone(self))
    }

    /// Whether any submission is neither applied nor refused.
    pub(super) fn is_busy(&self) -> bool {
        *lock(&self.in_flight) > 0
    }

    /// Waits until every submission is applied or refused. The log must be led meanwhile.
    fn settle(&self) {
        let in_flight = lock(&self.in_flight);
        let settled = self.settled.wait_while(in_flight, |count| *count > 0);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn last(&self) -> Sequence {
        Sequence(self.last.load(Ordering::Acquire))
    }

    pub(super) fn applied(&self, sequence: Sequence) {
        self.last.fetch_max(sequence.0, Ordering::AcqRel);
    }
}

impl InFlight {
    pub(super) fn generation(&self) -> &Generation {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *lock(&self.0.in_flight) -= 1;
        self.0.settled.notify_all();
    }
}

/// What a core is made of.
pub(super) struct Parts {
    pub(super) env: Arc<dyn Env>,
    pub(super) options: DbOptions,
    pub(super) budget: Arc<Budget>,
    pub(super) manifest: Manifest,
    pub(super) lock: Box<dyn DirLock>,
}

impl Core {
    /// A store without databases.
    pub(super) fn new(parts: Parts) -> Core {
        let state = parts.manifest.state();
        let decoded_bytes = DECODED_BYTES_MAX.min(parts.budget.limit_bytes() / DECODED_SHARE);
        let names_bytes = NAMES_BYTES_MAX.min(parts.budget.limit_bytes() / NAMES_SHARE);
        Core {
            env: parts.env,
            options: parts.options,
            budget: Arc::clone(&parts.budget),
            directory_id: state.directory_id,
            hasher: KeyHasher::new(state.secret),
            wal: OnceLock::new(),
            flushing: Mutex::new(Flushing {
                frozen_through: state.flushed_through,
                frozen_bytes: 0,
                log_bytes: 0,
                failed_at: None,
                sync_failures: 0,
            }),
            compacting: Mutex::default(),
            deleting: Mutex::default(),
            unflushed_deletes: AtomicUsize::new(0),
            purged: Mutex::default(),
            retention: Mutex::default(),
            stopping: AtomicBool::new(false),
            sequencer: Mutex::new(Sequencer {
                generation: Arc::default(),
                writers: BTreeMap::new(),
            }),
            databases: RwLock::default(),
            epoch: AtomicU64::new(0),
            last_file: AtomicU64::new(state.last_file),
            uncertain: AtomicBool::new(false),
            replayed_bytes: AtomicU64::new(0),
            unflushed_bytes: AtomicUsize::new(0),
            left_bytes: AtomicUsize::new(0),
            flushed_index_bytes: AtomicUsize::new(0),
            problems: Mutex::default(),
            torn: OnceLock::new(),
            failing: Mutex::default(),
            pins: Mutex::default(),
            reserve: Mutex::default(),
            scrub: Mutex::default(),
            steps: Mutex::default(),
            decoded: Arc::new(DecodedPages::new(decoded_bytes, &parts.budget)),
            names: Arc::new(SeriesNames::new(names_bytes, &parts.budget)),
            workers: OnceLock::new(),
            counters: Counters::default(),
            _lock: parts.lock,
            manifest: Mutex::new(parts.manifest),
        }
    }

    pub(super) fn wal(&self) -> Result<&Wal> {
        let closed = || Error::new(ErrorKind::Closed, "the store is not open yet");
        self.wal.get().ok_or_else(closed)
    }

    pub(super) fn sequencer(&self) -> MutexGuard<'_, Sequencer> {
        lock(&self.sequencer)
    }

    pub(super) fn manifest(&self) -> MutexGuard<'_, Manifest> {
        lock(&self.manifest)
    }

    /// Makes edits durable. One that fails is undone for good at once, or before the next write.
    ///
    /// # Errors
    /// `Io` or `NoSpace`.
    pub(super) fn commit(&self, manifest: &mut Manifest, edits: &[Edit]) -> Result<()> {
        let mut is_first = true;
        let committed = self.with_reserve(|| {
            if !std::mem::replace(&mut is_first, false) {
                manifest.settle()?;
            }
            manifest.commit(edits)
        });
        if committed.is_err() {
            // What this meets is what the next to settle meets.
            manifest.settle().ok();
        }
        self.uncertain
            .store(manifest.is_uncertain(), Ordering::Release);
        committed
    }

    /// Makes sure that what the manifest says on disk is what is known here. Asked before anything is
    /// acknowledged that does not write the manifest itself: a drop of unknown outcome that came true at
    /// the next start would take what was written since along. Cost: one load.
    ///
    /// # Errors
    /// `Io` or `NoSpace`.
    pub(super) fn settle(&self) -> Result<()> {
        if !self.uncertain.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut manifest = self.manifest();
        manifest.settle()?;
        self.uncertain.store(false, Ordering::Release);
        Ok(())
    }

    /// A file id that no file ever had.
    pub(super) fn new_file(&self) -> u64 {
        self.last_file.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The database called `name`.
    ///
    /// # Errors
    /// `NotFound`, in the words of `InfluxDB`.
    pub(super) fn database(&self, name: &str) -> Result<Arc<Database>> {
        let databases = self
            .databases
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let database = databases.get(name).map(Arc::clone);
        database.ok_or_else(|| {
            let message = format!("database not found: {name:?}");
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// All databases, sorted by name.
    pub(super) fn all_databases(&self) -> Vec<Arc<Database>> {
        let databases = self
            .databases
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        databases.values().map(Arc::clone).collect()
    }

    /// The names of the databases, sorted.
    pub(super) fn database_names(&self) -> Vec<Box<str>> {
        let databases = self
            .databases
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        databases.keys().cloned().collect()
    }

    pub(super) fn put_database(&self, sequencer: &mut Sequencer, database: Arc<Database>) {
        let catalog = database.stores().catalog.clone();
        let writer = Writer {
            last_series: catalog.last_ids().series,
            pending: Names::default(),
            catalog: Arc::clone(&catalog),
        };
        sequencer.writers.insert(database.id, writer);
        let mut databases = self
            .databases
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        databases.insert(catalog.name().into(), database);
    }

    pub(super) fn take_database(&self, sequencer: &mut Sequencer, name: &str) {
        let mut databases = self
            .databases
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = databases.remove(name) {
            sequencer.writers.remove(&database.id);
        }
    }

    /// Notes that a submission's rows are visible.
    pub(super) fn applied(&self, in_flight: &InFlight, last: Sequence, bytes: usize) {
        let generation = in_flight.generation();
        generation.bytes.fetch_add(bytes, Ordering::AcqRel);
        generation.applied(last);
        self.unflushed_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Everything up to it is durable and visible.
    pub(super) fn durable(&self) -> Sequence {
        self.wal.get().map_or(Sequence(0), Wal::durable)
    }

    /// Waits until everything submitted to `generation` is applied or refused, leading the log
    /// where nobody does.
    pub(super) fn drain(&self, generation: &Generation) {
        if let Some(wal) = self.wal.get() {
            wal.lead_until(|| !generation.is_busy());
            if wal.needs_leader() {
                // What came later is for a background step: this caller has its own to do.
                self.wake();
            }
        }
        generation.settle();
    }

    /// Notes what is wrong, for stats and health.
    pub(super) fn report(&self, problem: Problem) {
        let mut problems = lock(&self.problems);
        problems.1 += 1;
        if problems.0.len() < PROBLEMS_LISTED_MAX {
            problems.0.push(problem);
        }
    }

    /// What was reported of a file that counts no more is no problem any more.
    pub(super) fn forget_problems_of(&self, file: &Path) {
        let mut problems = lock(&self.problems);
        let before = problems.0.len();
        let is_other = |problem: &Problem| problem.file.as_deref() != Some(file);
        problems.0.retain(is_other);
        problems.1 -= (before - problems.0.len()) as u64;
    }

    /// As [`Core::report`], unless something was reported of that place before; whether it was not.
    pub(super) fn report_once(&self, problem: &Problem) -> bool {
        let place = |one: &Problem| (one.file.clone(), one.offset);
        let is_known = {
            let problems = lock(&self.problems);
            let mut all = problems.0.iter();
            all.any(|known| place(known) == place(problem))
        };
        if !is_known {
            self.report(problem.clone());
        }
        !is_known
    }

    /// Notes how background work went: that it fails is a problem until it succeeds.
    pub(super) fn note_outcome(&self, work: &'static str, outcome: &Result<()>) {
        let mut failing = lock(&self.failing);
        match outcome {
            Ok(()) => drop(failing.remove(work)),
            Err(error) => {
                let problem = Problem::from_error(&error.duplicate().context(work));
                failing.insert(work, problem);
            }
        }
    }

    /// What was reported and what fails, the first of it, and how much there was.
    pub(super) fn problems(&self) -> (Vec<Problem>, u64) {
        let (mut problems, mut count) = lock(&self.problems).clone();
        let failing = lock(&self.failing);
        problems.extend(failing.values().cloned());
        count += failing.len() as u64;
        if let Some(error) = self.wal.get().and_then(Wal::failing) {
            problems.push(Problem::from_error(&error.context("writes are refused")));
            count += 1;
        }
        (problems, count)
    }

    /// Asks the background steps to look.
    pub(super) fn wake(&self) {
        for step in lock(&self.steps).iter() {
            step.wake();
        }
    }

    /// Asks the first of them, which flushes.
    pub(super) fn wake_flush(&self) {
        if let Some(step) = lock(&self.steps).first() {
            step.wake();
        }
    }
}

impl WriteOptions {
    pub(super) fn durability(self) -> Durability {
        self.durability
    }
}

/// A lock whose holder panicked is as good as any: what it guards is changed in one step at the end.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
