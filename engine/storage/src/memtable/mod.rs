//! What was written since the last flush, of one database and retention policy: immutable runs per
//! measurement, oldest first.
//!
//! A memtable does not know the log, files or names; it takes only rows that are durable already,
//! in order of their sequences. Small runs are merged into larger ones as they come, so that a
//! reader meets few; a merged run covers consecutive sequences of its measurement, and never those
//! on both sides of a delete. Readers hold the
//! lock while they copy a short list of pointers, never while rows are read.

mod gather;
mod order;
mod run;
mod slice;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hashbrown::HashMap;

pub(crate) use crate::memtable::gather::{Fold, arrange_owned as arrange};
pub use crate::memtable::run::Run;
pub(crate) use crate::memtable::slice::{Slice, pick_rows};
use crate::model::{MeasurementId, Sequence};

/// This many runs of about one size become one. Sixteen keeps a reader below fifty runs, while
/// rows that come 10,000 at a time are copied once.
const MERGE_RUNS: usize = 16;

/// A run with this many rows is merged no more before its flush: merging holds up the writer that
/// pushed last, and this bounds it to about 20 ms for ten fields.
const MERGED_ROWS_MAX: usize = 1 << 18;

/// While the log is replayed nobody reads: small runs wait until so many are there, or rows enough for
/// a run that is merged no more, so that most rows are copied once.
const REPLAYED_RUNS: usize = 1024;

/// Rows of one database and policy in memory: open until [`Memtable::freeze`], then as it is.
#[derive(Debug, Default)]
pub struct Memtable {
    state: RwLock<State>,
    /// Held through a push or a removal, so that only one at a time changes the lists.
    writer: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    runs: HashMap<MeasurementId, Vec<Arc<Run>>, foldhash::fast::FixedState>,
    size_bytes: usize,
    row_count: usize,
    sequences: Option<(Sequence, Sequence)>,
    oldest_push: Option<Duration>,
    /// The last delete: runs before it and runs behind it are not merged.
    barrier: Option<Sequence>,
    is_frozen: bool,
}

impl Memtable {
    /// An empty memtable.
    pub fn new() -> Memtable {
        Memtable::default()
    }

    /// Adds a run at `now` of the monotonic clock: readers see it from here on. Sequences never
    /// fall from one push to the next. Now and then merges some runs before it returns, while
    /// readers go on.
    ///
    /// # Panics
    /// If the memtable is frozen, or the run's sequence lies below the last one.
    pub fn push(&self, run: Arc<Run>, now: Duration) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let measurement = run.measurement();
        self.write().push(run, now);
        while let Some((start, tail)) = self.mergeable(measurement) {
            let merged = Arc::new(Run::merge(&tail));
            self.write().replace_tail(measurement, start, merged);
        }
    }

    /// As [`Memtable::push`], of a run that the log had and nobody reads yet: see [`Memtable::settle`].
    ///
    /// # Panics
    /// As [`Memtable::push`].
    pub fn push_replayed(&self, run: Arc<Run>, now: Duration) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let measurement = run.measurement();
        self.write().push(run, now);
        let full = self.read().replayed_start(measurement);
        if let Some(start) = full {
            let tail = self.read().list(measurement)[start..].to_vec();
            let merged = Arc::new(Run::merge(&tail));
            self.write().replace_tail(measurement, start, merged);
        }
    }

    /// Merges what [`Memtable::push_replayed`] left, so that readers meet few runs.
    pub fn settle(&self) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for measurement in self.measurements() {
            while let Some((start, tail)) = self.mergeable(measurement) {
                let merged = Arc::new(Run::merge(&tail));
                self.write().replace_tail(measurement, start, merged);
            }
        }
    }

    /// The newest runs of `measurement` where they are to be merged, and the place of the first.
    fn mergeable(&self, measurement: MeasurementId) -> Option<(usize, Vec<Arc<Run>>)> {
        let state = self.read();
        let start = state.merge_start(measurement)?;
        Some((start, state.list(measurement)[start..].to_vec()))
    }

    /// The runs of `measurement`, oldest first: all that was pushed before, none of it twice.
    /// Cost: a copy of some tens of pointers.
    pub fn runs(&self, measurement: MeasurementId) -> Vec<Arc<Run>> {
        self.read().list(measurement).to_vec()
    }

    /// The measurements that have rows, ascending.
    pub fn measurements(&self) -> Vec<MeasurementId> {
        let mut measurements: Vec<MeasurementId> = self.read().runs.keys().copied().collect();
        measurements.sort_unstable();
        measurements
    }

    /// Takes all runs of a dropped measurement away. Readers that hold them keep them.
    pub fn remove(&self, measurement: MeasurementId) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.write();
        let gone = state.runs.remove(&measurement).unwrap_or_default();
        state.size_bytes -= gone.iter().map(|run| run.size_bytes()).sum::<usize>();
        state.row_count -= gone.iter().map(|run| run.rows().len()).sum::<usize>();
    }

    /// Keeps what was written up to a delete apart from what comes behind it, so that the delete
    /// hides whole runs' rows or none.
    pub fn bar(&self, sequence: Sequence) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.write();
        state.barrier = state.barrier.max(Some(sequence));
    }

    /// Ends the time of writing, once a push that is under way has returned. Safe to call twice.
    pub fn freeze(&self) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.write().is_frozen = true;
    }

    /// Whether the time of writing has ended.
    pub fn is_frozen(&self) -> bool {
        self.read().is_frozen
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.row_count() == 0
    }

    /// Rows in all runs.
    pub fn row_count(&self) -> usize {
        self.read().row_count
    }

    /// Anonymous memory of all runs, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.read().size_bytes
    }

    /// The first and the last sequence of anything pushed.
    pub fn sequences(&self) -> Option<(Sequence, Sequence)> {
        self.read().sequences
    }

    /// When the first run came, by the clock that [`Memtable::push`] was told.
    pub fn oldest_push(&self) -> Option<Duration> {
        self.read().oldest_push
    }

    // A panic in here cannot leave the lists half changed, so a poisoned lock is as good as any.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn list(&self, measurement: MeasurementId) -> &[Arc<Run>] {
        self.runs.get(&measurement).map_or(&[], Vec::as_slice)
    }

    fn push(&mut self, run: Arc<Run>, now: Duration) {
        assert!(!self.is_frozen, "nothing is written to a frozen memtable");
        let (first, last) = run.sequences();
        let (oldest, newest) = self.sequences.unwrap_or((first, first));
        assert!(newest <= first, "runs come in order of their sequences");
        self.sequences = Some((oldest, last));
        self.oldest_push.get_or_insert(now);
        self.size_bytes += run.size_bytes();
        self.row_count += run.rows().len();
        self.runs.entry(run.measurement()).or_default().push(run);
    }

    /// Whether a run may be merged with others, by its size and the last delete.
    fn is_small(&self, run: &Run) -> bool {
        let is_apart = self
            .barrier
            .is_none_or(|barrier| run.sequences().0 > barrier);
        is_apart && run.rows().len() < MERGED_ROWS_MAX
    }

    /// From where on the newest runs of `measurement` are to be merged during a replay, if they are.
    fn replayed_start(&self, measurement: MeasurementId) -> Option<usize> {
        let runs = self.list(measurement);
        let small = runs.iter().rev().take_while(|run| self.is_small(run));
        let (count, rows) = small.fold((0, 0), |(count, rows), run| {
            (count + 1, rows + run.rows().len())
        });
        let is_due = count > 1 && (rows >= MERGED_ROWS_MAX || count >= REPLAYED_RUNS);
        is_due.then(|| runs.len() - count)
    }

    /// From where on the newest runs of `measurement` are to be merged, if they are: the shortest
    /// tail of [`MERGE_RUNS`] or more whose runs are of one tier or lower ones.
    fn merge_start(&self, measurement: MeasurementId) -> Option<usize> {
        let runs = self.list(measurement);
        (0..=tier(MERGED_ROWS_MAX - 1)).find_map(|highest| {
            let small = |run: &&Arc<Run>| self.is_small(run) && tier(run.rows().len()) <= highest;
            let count = runs.iter().rev().take_while(small).count();
            (count >= MERGE_RUNS).then(|| runs.len() - count)
        })
    }

    fn replace_tail(&mut self, measurement: MeasurementId, start: usize, merged: Arc<Run>) {
        let runs = self
            .runs
            .get_mut(&measurement)
            .expect("its runs were just read");
        let gone = runs.split_off(start);
        self.size_bytes += merged.size_bytes();
        self.row_count += merged.rows().len();
        self.size_bytes -= gone.iter().map(|run| run.size_bytes()).sum::<usize>();
        self.row_count -= gone.iter().map(|run| run.rows().len()).sum::<usize>();
        runs.push(merged);
    }
}

/// The order of magnitude of a run, in powers of sixteen.
fn tier(rows: usize) -> u32 {
    rows.max(1).ilog2() / 4
}
