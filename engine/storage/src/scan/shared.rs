//! A scan that several threads share. The series of a request are cut into morsels of about as much work;
//! whoever is free reads the next morsel, and the one who asked gets all of them in their order.
//!
//! The asker never waits for a morsel that nobody reads: it reads too, and alone where no other thread is
//! free. What has been read and not been taken is bounded.
//!
//! # Source
//! Leis and others 2014, "Morsel-Driven Parallelism", for the name and for taking turns at small pieces.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::budget::{Charge, Class};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{AggregateRequest, ScanRequest, SeriesRows, WindowBatch};
use crate::scan::rows::RowCursor;
use crate::scan::window::WindowCursor;
use crate::scan::{Check, aggregates, rows};
use crate::snapshot::Snapshot;
use crate::workers::Workers;

/// Values that a scan is to read, about, before others help: half a millisecond, ten times what it costs to
/// wake one.
pub(super) const SHARED_VALUES_MIN: u64 = 128 * 1024;

/// Values of a morsel, about. Whoever is awake takes one after another at the cost of a lock, and the asker
/// makes the answer of the first while the next are read.
pub(super) const MORSEL_VALUES: u64 = 16 * 1024;

/// Morsels that one thread may be ahead of the one who takes them.
const MORSELS_AHEAD: usize = 2;

/// How often a helper that waits looks whether its thread is to end.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Bytes of all morsels but the one that is taken from, before no more is read: a machine of many cores
/// has many morsels under way. Each thread may pass it by what it reads at once.
const AHEAD_BYTES_MAX: usize = 32 << 20;

/// Bytes of a morsel that are read before somebody takes them.
pub(super) const MORSEL_BYTES_MAX: usize = 8 << 20;

/// Bytes of a morsel that is not at its end for which the asker is woken: two turns of threads cost as much
/// as to read some thousand values.
const WAKE_BYTES: usize = 256 << 10;

/// Reads some of the series of a request.
pub(super) trait Cursor {
    /// What it gives.
    type Item: Send + 'static;

    /// The next series is the first of `series`, and its last the last.
    fn seek(&mut self, series: Range<usize>);

    /// The next piece; `None` behind the last series.
    fn next_item(&mut self) -> Result<Option<Self::Item>>;

    /// How many values must be read for all series, about.
    fn values(&self) -> u64;

    /// Memory that an item holds, bytes.
    fn bytes(item: &Self::Item) -> usize;
}

/// What is read: how a thread opens a cursor of its own.
pub(super) trait Scan: Send + Sync + 'static {
    /// The cursor.
    type Cursor<'snapshot>: Cursor<Item = Self::Item>;
    /// What it gives.
    type Item: Send + 'static;

    /// Opens it.
    fn open<'snapshot>(
        &self,
        snapshot: &'snapshot Snapshot,
        check: Check,
    ) -> Result<Self::Cursor<'snapshot>>;

    /// How many series there are.
    fn series_count(&self) -> usize;
}

impl Scan for ScanRequest {
    type Cursor<'snapshot> = RowCursor<'snapshot>;
    type Item = SeriesRows;

    fn open<'snapshot>(
        &self,
        snapshot: &'snapshot Snapshot,
        check: Check,
    ) -> Result<RowCursor<'snapshot>> {
        rows(snapshot, self.clone(), check)
    }

    fn series_count(&self) -> usize {
        self.series.len()
    }
}

impl Scan for AggregateRequest {
    type Cursor<'snapshot> = WindowCursor<'snapshot>;
    type Item = WindowBatch;

    fn open<'snapshot>(
        &self,
        snapshot: &'snapshot Snapshot,
        check: Check,
    ) -> Result<WindowCursor<'snapshot>> {
        aggregates(snapshot, self.clone(), check)
    }

    fn series_count(&self) -> usize {
        self.scan.series.len()
    }
}

/// How many series a morsel has, where all of them have so many values. There are as many morsels for each of
/// `threads`: of three one of two threads would read two.
pub(super) fn morsel_series((series, values): (usize, u64), threads: usize) -> usize {
    if threads < 2 || values < SHARED_VALUES_MIN || series < 2 {
        return series;
    }
    let morsels = usize::try_from(values / MORSEL_VALUES).unwrap_or(series);
    let morsels = morsels.min(series);
    series.div_ceil(morsels.next_multiple_of(threads))
}

/// What has been read of a morsel and not been taken.
struct Morsel<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// Set once it is read to its end.
    outcome: Option<Result<()>>,
}

struct State<T> {
    /// The morsel that is taken from.
    taken: usize,
    /// The first morsel that nobody reads yet.
    next: usize,
    morsels: BTreeMap<usize, Morsel<T>>,
    /// Bytes of all morsels.
    held: Charge,
    /// Jobs that were offered and have not ended.
    helpers: usize,
    /// Those of them that wait for room.
    waiting: usize,
    /// The asker waits for more of the morsel that is taken from.
    asker_waits: bool,
}

impl<T> State<T> {
    /// Whether no more of a morsel is to be read for now.
    fn is_full(&self, morsel: usize) -> bool {
        let ahead = morsel != self.taken && self.held.bytes() >= AHEAD_BYTES_MAX;
        let own = self.morsels.get(&morsel);
        own.is_some_and(|own| ahead || own.bytes >= MORSEL_BYTES_MAX)
    }

    /// Whether there is too little of a morsel to wake the asker for. A helper that waits for room has more.
    fn is_bare(&self, morsel: usize) -> bool {
        let own = self.morsels.get(&morsel);
        own.is_some_and(|own| own.outcome.is_none() && own.bytes < WAKE_BYTES)
    }
}

/// What the threads of one scan share.
struct Common<S: Scan> {
    scan: S,
    snapshot: Arc<Snapshot>,
    /// Series of a morsel.
    morsel_series: usize,
    morsels: usize,
    ahead: usize,
    state: Mutex<State<S::Item>>,
    changed: Condvar,
    /// Nobody takes anything any more. Set under the lock of the state, looked at for each series without.
    is_stopped: AtomicBool,
    workers: Arc<Workers>,
}

/// A scan under way, as the one who asked sees it.
pub(super) struct Shared<'snapshot, S: Scan> {
    common: Arc<Common<S>>,
    cursor: S::Cursor<'snapshot>,
    /// The morsel that the asker reads.
    own: Option<usize>,
}

impl<'snapshot, S: Scan> Shared<'snapshot, S> {
    /// Opens `scan`, and asks `workers` for help where it is worth that.
    pub(super) fn open(
        scan: S,
        snapshot: &'snapshot Arc<Snapshot>,
        workers: &Arc<Workers>,
    ) -> Result<Shared<'snapshot, S>> {
        let cursor = scan.open(snapshot, Arc::new(|| Ok(())))?;
        let morsel_series =
            morsel_series((scan.series_count(), cursor.values()), workers.count() + 1);
        Ok(Shared::new(
            (scan, cursor),
            snapshot,
            workers,
            morsel_series,
        ))
    }

    pub(super) fn new(
        (scan, cursor): (S, S::Cursor<'snapshot>),
        snapshot: &'snapshot Arc<Snapshot>,
        workers: &Arc<Workers>,
        morsel_series: usize,
    ) -> Shared<'snapshot, S> {
        let morsel_series = morsel_series.max(1);
        let common = Arc::new(Common {
            morsels: scan.series_count().div_ceil(morsel_series),
            scan,
            snapshot: Arc::clone(snapshot),
            morsel_series,
            ahead: MORSELS_AHEAD * (workers.count() + 1),
            state: Mutex::new(State {
                taken: 0,
                next: 0,
                morsels: BTreeMap::new(),
                held: workers.budget().charge(Class::Query, 0),
                helpers: 0,
                waiting: 0,
                asker_waits: false,
            }),
            changed: Condvar::new(),
            is_stopped: AtomicBool::new(false),
            workers: Arc::clone(workers),
        });
        let mut shared = Shared {
            common,
            cursor,
            own: None,
        };
        // The asker begins with the first morsel: only what is left may need help.
        shared.claim();
        shared.hire();
        shared
    }

    /// The next piece, or `None` when all have been given: in the order of the request's series. After an
    /// error there is no next.
    pub(super) fn next_item(&mut self) -> Result<Option<S::Item>> {
        loop {
            let common = Arc::clone(&self.common);
            let mut state = common.state();
            let at = state.taken;
            if at == common.morsels {
                return Ok(None);
            }
            if let Some(morsel) = state.morsels.get_mut(&at) {
                if let Some(item) = morsel.items.pop_front() {
                    let bytes = S::Cursor::bytes(&item);
                    morsel.bytes -= bytes;
                    let held = state.held.bytes() - bytes;
                    state.held.resize(held);
                    common.tell_helpers(&state);
                    return Ok(Some(item));
                }
                if let Some(outcome) = morsel.outcome.take() {
                    state.morsels.remove(&at);
                    state.taken += 1;
                    // What was too far ahead may be the next that is taken from.
                    common.tell_helpers(&state);
                    drop(state);
                    outcome?;
                    self.hire();
                    continue;
                }
            }
            drop(state);
            if let Some(item) = self.read(at)? {
                return Ok(Some(item));
            }
        }
    }

    /// Reads one piece of the asker's own morsel, of the next that nobody reads where it has none, or waits
    /// where there is nothing to read. Gives what it read if it is of morsel `at`.
    fn read(&mut self, at: usize) -> Result<Option<S::Item>> {
        self.claim();
        let Some(own) = self
            .own
            .filter(|own| *own == at || !self.common.is_full(*own))
        else {
            self.common.wait(at);
            return Ok(None);
        };
        let found = self.cursor.next_item();
        if own == at
            && let Ok(Some(_)) = found
        {
            return found;
        }
        if self.common.put(own, found) {
            self.own = None;
        }
        Ok(None)
    }

    /// Takes the next morsel that nobody reads, unless the asker has one.
    fn claim(&mut self) {
        if self.own.is_none()
            && let Some((morsel, series)) = self.common.claim()
        {
            self.cursor.seek(series);
            self.own = Some(morsel);
        }
    }

    /// Asks for help as long as there are morsels for it.
    fn hire(&self) {
        let workers = &self.common.workers;
        loop {
            let mut state = self.common.state();
            let left = self.common.claimable(&state);
            if state.helpers >= workers.count().min(left) {
                return;
            }
            state.helpers += 1;
            drop(state);
            // The job holds the snapshot no longer than the asker: it may wait for long.
            let common = Arc::downgrade(&self.common);
            let offered = workers.offer(Box::new(move || {
                if let Some(common) = common.upgrade() {
                    common.help();
                }
            }));
            if !offered {
                self.common.state().helpers -= 1;
                return;
            }
        }
    }
}

impl<S: Scan> Drop for Shared<'_, S> {
    fn drop(&mut self) {
        let mut state = self.common.state();
        self.common.is_stopped.store(true, Ordering::Relaxed);
        state.morsels.clear();
        state.held.resize(0);
        self.common.tell_helpers(&state);
    }
}

impl<S: Scan> fmt::Debug for Shared<'_, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = self.common.state().taken;
        write!(out, "scan at morsel {taken} of {}", self.common.morsels)
    }
}

impl<S: Scan> Common<S> {
    fn state(&self) -> MutexGuard<'_, State<S::Item>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// How many morsels may be begun.
    fn claimable(&self, state: &State<S::Item>) -> usize {
        let end = self.morsels.min(state.taken + self.ahead);
        // The morsel that is taken from is always read on.
        if self.is_stopped() || state.held.bytes() >= AHEAD_BYTES_MAX && state.next > state.taken {
            0
        } else {
            end.saturating_sub(state.next)
        }
    }

    /// The next morsel that nobody reads, and its series.
    fn claim(&self) -> Option<(usize, Range<usize>)> {
        let mut state = self.state();
        if self.claimable(&state) == 0 {
            return None;
        }
        let morsel = state.next;
        state.next += 1;
        state.morsels.insert(
            morsel,
            Morsel {
                items: VecDeque::new(),
                bytes: 0,
                outcome: None,
            },
        );
        let start = morsel * self.morsel_series;
        let end = self.scan.series_count().min(start + self.morsel_series);
        Some((morsel, start..end))
    }

    fn is_full(&self, morsel: usize) -> bool {
        self.state().is_full(morsel)
    }

    /// Adds what was read of a morsel. True where that was its end.
    fn put(&self, morsel: usize, found: Result<Option<S::Item>>) -> bool {
        let mut state = self.state();
        let Some(own) = state.morsels.get_mut(&morsel) else {
            return true;
        };
        let ended = match found {
            Ok(Some(item)) => {
                let bytes = S::Cursor::bytes(&item);
                own.bytes += bytes;
                own.items.push_back(item);
                let held = state.held.bytes() + bytes;
                state.held.resize(held);
                false
            }
            Ok(None) => {
                own.outcome = Some(Ok(()));
                true
            }
            Err(error) => {
                own.outcome = Some(Err(error));
                true
            }
        };
        self.tell_asker(&state);
        ended
    }

    /// Wakes the helpers that wait for room. A call of the system, where there are none, too: hence the
    /// look.
    fn tell_helpers(&self, state: &State<S::Item>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// Wakes the asker if there is what it waits for.
    fn tell_asker(&self, state: &State<S::Item>) {
        if state.asker_waits && !state.is_bare(state.taken) {
            self.changed.notify_all();
        }
    }

    /// Waits until there is enough of morsel `at`, which is taken from, to take.
    fn wait(&self, at: usize) {
        let mut state = self.state();
        state.asker_waits = true;
        let state = self.changed.wait_while(state, |state| state.is_bare(at));
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.asker_waits = false;
    }

    /// Reads morsels as long as there are some that nobody reads.
    fn help(self: &Arc<Self>) {
        let _left = Helper(self);
        let common = Arc::clone(self);
        let check: Check = Arc::new(move || {
            if common.is_stopped() {
                return Err(Error::new(ErrorKind::Closed, "the scan has ended"));
            }
            Ok(())
        });
        // Where a cursor cannot be opened the asker, who has one, reads all there is.
        let Ok(mut cursor) = self.scan.open(&self.snapshot, check) else {
            return;
        };
        while let Some((morsel, series)) = self.claim() {
            let claim = Claim {
                common: self,
                morsel,
            };
            cursor.seek(series);
            loop {
                let found = cursor.next_item();
                if self.put(morsel, found) {
                    break;
                }
                if !claim.wait_for_room() {
                    return;
                }
            }
        }
    }
}

/// Counts a helper until it leaves.
struct Helper<'c, S: Scan>(&'c Common<S>);

impl<S: Scan> Drop for Helper<'_, S> {
    fn drop(&mut self) {
        self.0.state().helpers -= 1;
    }
}

/// A morsel that a helper reads: it does not stay without an end, whatever becomes of the helper.
struct Claim<'c, S: Scan> {
    common: &'c Common<S>,
    morsel: usize,
}

impl<S: Scan> Claim<'_, S> {
    /// Waits until more of the morsel may be read. False where the threads are to end before that.
    fn wait_for_room(&self) -> bool {
        let common = self.common;
        let mut state = common.state();
        while !common.workers.is_stopping() {
            if common.is_stopped() || !state.is_full(self.morsel) {
                return true;
            }
            state.waiting += 1;
            let waited = common.changed.wait_timeout(state, STOP_LOOK);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        false
    }
}

impl<S: Scan> Drop for Claim<'_, S> {
    fn drop(&mut self) {
        let mut state = self.common.state();
        if let Some(morsel) = state.morsels.get_mut(&self.morsel) {
            let failed = || Err(Error::new(ErrorKind::Closed, "the scan failed inside"));
            morsel.outcome.get_or_insert_with(failed);
        }
        self.common.tell_asker(&state);
    }
}
