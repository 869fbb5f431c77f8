//! What was written since the last flush, of one database and retention policy: immutable runs per
//! measurement, oldest first.
//!
//! A memtable does not know the log, files or names; it takes only rows that are durable already,
//! those of a measurement in order of their sequences. While somebody reads, small runs are merged into larger ones as they
//! come, so that a reader meets few. While nobody does, all but the smallest wait: the flush puts rows
//! in order anyhow, and to merge them before costs a sixth of what it costs to take a write. What waits
//! keeps whole numbers in as few bytes as they take. The first reader merges what waits; where several
//! threads have reason to merge, each takes some of it. A merged run covers consecutive sequences of its
//! measurement, and never those on both sides of a delete. Readers hold the lock of the lists while they
//! copy a short list of pointers, never while rows are read or merged.

mod gather;
mod growing;
mod merging;
mod narrow;
mod order;
mod run;
mod slice;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hashbrown::HashMap;

pub(crate) use crate::memtable::gather::{Fold, arrange_owned as arrange};
pub(crate) use crate::memtable::growing::Growing;
use crate::memtable::merging::{Group, Merging};
pub(crate) use crate::memtable::narrow::Narrow;
pub(crate) use crate::memtable::run::Held;
pub use crate::memtable::run::Run;
pub(crate) use crate::memtable::slice::{Slice, pick_rows};
use crate::model::{MeasurementId, Sequence};

/// This many runs of about one size become one. Sixteen keeps a reader below fifty runs, while
/// rows that come 10,000 at a time are copied once.
const MERGE_RUNS: usize = 16;

/// A run with this many rows is merged no more before its flush: merging holds up the writer that
/// pushed last, and this bounds it to about 20 ms for ten fields.
const MERGED_ROWS_MAX: usize = 1 << 18;

/// So long after a read the next one is expected, and runs are merged for it as they come: panels are
/// shown anew every five or ten seconds.
const READ_LATELY: Duration = Duration::from_secs(15);

/// Runs of this tier and above wait where nobody reads. Below it they are merged whoever reads: a
/// run of one row takes fifty times its row.
const WAITING_TIER: u32 = 2;

/// As many small runs as there are while they are merged as they come: sixteen of each tier.
const READ_RUNS_MAX: usize = 4 * MERGE_RUNS;

/// Rows of a measurement that wait at most: the first reader merges them, in a tenth of a second for
/// ten fields.
const WAITING_ROWS_MAX: usize = 1 << 20;

/// So many runs wait for a plan that others made before a writer has a hand in it.
const CROWDED_RUNS: usize = 8192;

/// Rows of one database and policy in memory: open until [`Memtable::freeze`], then as it is.
#[derive(Debug, Default)]
pub struct Memtable {
    state: RwLock<State>,
    /// Held through a push or a removal, so that only one at a time makes the lists longer or shorter.
    writer: Mutex<()>,
    merging: Merging,
    reads: Arc<Reads>,
}

/// When somebody read last, as far as a push has seen. Memtables that follow one another share it.
#[derive(Debug, Default)]
struct Reads {
    /// Whether somebody has read since the last push.
    is_read: AtomicBool,
    /// When the last push came that saw so.
    seen: Mutex<Option<Duration>>,
}

impl Reads {
    /// Whether the next read is to be expected soon, at a push at `now`.
    fn are_likely(&self, now: Duration) -> bool {
        let mut seen = lock(&self.seen);
        if self.is_read.swap(false, Ordering::Relaxed) {
            *seen = Some(now);
        }
        seen.is_some_and(|seen| now.saturating_sub(seen) <= READ_LATELY)
    }
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

    /// An empty memtable for what is written after this one has been frozen: whoever read this one will
    /// read that one.
    #[must_use]
    pub fn successor(&self) -> Memtable {
        Memtable {
            reads: Arc::clone(&self.reads),
            ..Memtable::default()
        }
    }

    /// Adds a run at `now` of the monotonic clock: readers see it from here on. Sequences of a
    /// measurement never fall from one push to the next. Now and then merges some runs before it
    /// returns, while readers go on.
    ///
    /// # Panics
    /// If the memtable is frozen, or the run's sequence lies below the last one of its measurement.
    pub fn push(&self, run: Arc<Run>, now: Duration) {
        let (measurement, rows) = (run.measurement(), run.row_count());
        let is_read = self.add(run, now);
        if tier(rows) >= WAITING_TIER && self.plan_waiting(measurement) {
            self.work(measurement, is_read);
        }
    }

    /// As [`Memtable::push`], but leaves as many rows waiting as come: a log is read before anybody asks. What
    /// is too much then is for [`Memtable::plan_waiting`] and [`Memtable::settle`].
    ///
    /// # Panics
    /// As [`Memtable::push`].
    pub fn push_replayed(&self, run: Arc<Run>, now: Duration) {
        self.add(run, now);
    }

    /// Adds a run; whether the next reader is expected soon.
    fn add(&self, run: Arc<Run>, now: Duration) -> bool {
        let is_read = self.reads.are_likely(now);
        let measurement = run.measurement();
        let run = as_it_waits(run, is_read);
        let _writer = lock(&self.writer);
        self.write().push(run, now);
        let highest = if is_read {
            HIGHEST_TIER
        } else {
            WAITING_TIER - 1
        };
        // Whoever merges more leaves little to do.
        let due = || self.mergeable(measurement, highest).into_iter().collect();
        while self.merging.plan(measurement, due) {
            self.work(measurement, is_read);
        }
        // Nothing that comes is merged while more is planned: where nobody sees to that, writers do.
        if self.read().list(measurement).len() > CROWDED_RUNS
            && let Some(taken) = self.merging.take(measurement)
        {
            self.merge(measurement, &taken.group, is_read);
        }
        is_read
    }

    /// The runs of `measurement` as [`Memtable::runs`] has them, few of them: merges what waited for
    /// a reader, but waits for no merge that only keeps them few.
    pub fn settled_runs(&self, measurement: MeasurementId) -> Vec<Arc<Run>> {
        self.reads.is_read.store(true, Ordering::Relaxed);
        while self.read().waiting(measurement).0 >= READ_RUNS_MAX {
            self.settle(measurement, true);
        }
        self.runs(measurement)
    }

    /// Plans to merge what waits of `measurement`, where that are more rows than may; whether it does.
    pub fn plan_waiting(&self, measurement: MeasurementId) -> bool {
        self.read().waiting(measurement).1 > WAITING_ROWS_MAX
            && self.merging.plan(measurement, || self.groups(measurement))
    }

    /// Merges all small runs of `measurement`, oldest first, until they are no longer small: as many of them
    /// as nobody else merges, and waits for these.
    pub fn settle(&self, measurement: MeasurementId, is_read: bool) {
        self.merging.plan(measurement, || self.groups(measurement));
        self.work(measurement, is_read);
        self.merging.wait(measurement);
    }

    /// The small runs of `measurement`, as they are merged for a reader.
    fn groups(&self, measurement: MeasurementId) -> VecDeque<Group> {
        let state = self.read();
        let mut groups = VecDeque::new();
        let (mut group, mut rows) = (Group::new(), 0);
        for run in state.list(measurement) {
            let is_small = state.is_small(run);
            if is_small {
                group.push(Arc::clone(run));
                rows += run.row_count();
            }
            if !is_small || rows >= MERGED_ROWS_MAX {
                groups.push_back(std::mem::take(&mut group));
                rows = 0;
            }
        }
        groups.push_back(group);
        groups.retain(|group| group.len() > 1);
        groups
    }

    /// Merges the groups of the plan of `measurement` that nobody else has begun.
    fn work(&self, measurement: MeasurementId, is_read: bool) {
        while let Some(taken) = self.merging.take(measurement) {
            self.merge(measurement, &taken.group, is_read);
        }
    }

    /// Puts one run in the place of `group`.
    fn merge(&self, measurement: MeasurementId, group: &[Arc<Run>], is_read: bool) {
        let merged = as_it_waits(Arc::new(Run::merge(group)), is_read);
        self.write().replace(measurement, group, merged);
    }

    /// The newest runs of `measurement` where they are to be merged, none of a tier above `highest`.
    fn mergeable(&self, measurement: MeasurementId, highest: u32) -> Option<Group> {
        let state = self.read();
        let start = state.merge_start(measurement, highest)?;
        Some(state.list(measurement)[start..].to_vec())
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
        let _writer = lock(&self.writer);
        let mut state = self.write();
        let gone = state.runs.remove(&measurement).unwrap_or_default();
        state.size_bytes -= gone.iter().map(|run| run.size_bytes()).sum::<usize>();
        state.row_count -= gone.iter().map(|run| run.row_count()).sum::<usize>();
    }

    /// Keeps what was written up to a delete apart from what comes behind it, so that the delete
    /// hides whole runs' rows or none. Merges what waits before it.
    pub fn bar(&self, sequence: Sequence) {
        let _writer = lock(&self.writer);
        // Where nobody has read yet, nobody is expected.
        let is_read = lock(&self.reads.seen).is_some();
        for measurement in self.measurements() {
            // What came while others were merged is merged then.
            while self.mergeable(measurement, HIGHEST_TIER).is_some() {
                self.settle(measurement, is_read);
            }
        }
        let mut state = self.write();
        state.barrier = state.barrier.max(Some(sequence));
    }

    /// Ends the time of writing, once a push that is under way has returned. Safe to call twice.
    pub fn freeze(&self) {
        let _writer = lock(&self.writer);
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
        let before = self.list(run.measurement()).last();
        assert!(
            before.is_none_or(|before| before.sequences().1 <= first),
            "runs come in order of their sequences"
        );
        let (oldest, newest) = self.sequences.unwrap_or((first, last));
        self.sequences = Some((oldest.min(first), newest.max(last)));
        self.oldest_push.get_or_insert(now);
        self.size_bytes += run.size_bytes();
        self.row_count += run.row_count();
        self.runs.entry(run.measurement()).or_default().push(run);
    }

    /// Whether a run may be merged with others, by its size and the last delete.
    fn is_small(&self, run: &Run) -> bool {
        let is_apart = self
            .barrier
            .is_none_or(|barrier| run.sequences().0 > barrier);
        is_apart && run.row_count() < MERGED_ROWS_MAX
    }

    /// How many of the newest runs of `measurement` may be merged, and how many rows they have.
    fn waiting(&self, measurement: MeasurementId) -> (usize, usize) {
        let runs = self.list(measurement).iter().rev();
        let small = runs.take_while(|run| self.is_small(run));
        small.fold((0, 0), |(count, rows), run| {
            (count + 1, rows + run.row_count())
        })
    }

    /// From where on the newest runs of `measurement` are to be merged, if they are: the shortest
    /// tail of [`MERGE_RUNS`] or more whose runs are of one tier, none above `highest`, or lower ones.
    fn merge_start(&self, measurement: MeasurementId, highest: u32) -> Option<usize> {
        let runs = self.list(measurement);
        (0..=highest).find_map(|highest| {
            let small = |run: &&Arc<Run>| self.is_small(run) && tier(run.row_count()) <= highest;
            let count = runs.iter().rev().take_while(small).count();
            (count >= MERGE_RUNS).then(|| runs.len() - count)
        })
    }

    /// Puts `merged` in the place of `group`, if that is still there: its measurement may have been
    /// dropped meanwhile.
    fn replace(&mut self, measurement: MeasurementId, group: &[Arc<Run>], merged: Arc<Run>) {
        let Some(runs) = self.runs.get_mut(&measurement) else {
            return;
        };
        let Some(start) = runs.iter().position(|run| Arc::ptr_eq(run, &group[0])) else {
            return;
        };
        let places = start..start + group.len();
        debug_assert!(
            runs.get(places.clone()).is_some_and(|there| {
                let mut pairs = there.iter().zip(group);
                pairs.all(|(one, other)| Arc::ptr_eq(one, other))
            }),
            "what is planned to become one stays together"
        );
        self.size_bytes += merged.size_bytes();
        self.row_count += merged.row_count();
        self.size_bytes -= group.iter().map(|run| run.size_bytes()).sum::<usize>();
        self.row_count -= group.iter().map(|run| run.row_count()).sum::<usize>();
        runs.splice(places, [merged]);
    }
}

/// A run as it is kept: in few bytes where it waits for the flush.
fn as_it_waits(run: Arc<Run>, is_read: bool) -> Arc<Run> {
    if is_read || tier(run.row_count()) < WAITING_TIER {
        return run;
    }
    Run::narrowed(run)
}

/// The tier of the largest run that is merged.
const HIGHEST_TIER: u32 = tier(MERGED_ROWS_MAX - 1);

/// The order of magnitude of a run, in powers of sixteen.
const fn tier(rows: usize) -> u32 {
    (rows | 1).ilog2() / 4
}

// A panic while it is held leaves the lists whole, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
