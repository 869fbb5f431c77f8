//! Series on their way into a live index while the log is read on: nobody looks for them before all of it is
//! there, so another core may see to that, which halves the time until the first write.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::budget::{Budget, Charge, Class};
use crate::db::core::lock;
use crate::format::definitions::{SeriesList, push_series};
use crate::index::LiveIndex;
use crate::model::SeriesId;
use crate::workers::Workers;

/// Series are handed over so many bytes at a time: some thousand, half a millisecond of work.
const BATCH_BYTES: usize = 64 << 10;
/// Batches that wait at most, 16 MiB; beyond, whoever reads the log waits for the helper, or does one where
/// nobody helps. While the log is not read on, a helper lives on what waits.
const WAITING_MAX: usize = 256;

/// Whoever waits for a helper looks again after this long whether there is one.
const PATIENCE: Duration = Duration::from_millis(1);

/// A queue of series. They go in as they came: a slot of the index is a number in that order.
pub(super) struct Lane {
    workers: Option<Arc<Workers>>,
    shared: Arc<Shared>,
    gathered: Option<Batch>,
    budget: Arc<Budget>,
}

struct Batch {
    index: Arc<LiveIndex>,
    count: usize,
    /// As a record of the log has them.
    series: Vec<u8>,
    _charge: Charge,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<VecDeque<Batch>>,
    /// Told when a batch is taken.
    taken: Condvar,
    /// Held while a batch is taken and put in.
    turn: Mutex<()>,
    /// Whether a helper was asked for that has not ended.
    is_helped: AtomicBool,
}

impl Lane {
    pub(super) fn new(workers: &OnceLock<Arc<Workers>>, budget: &Arc<Budget>) -> Lane {
        Lane {
            workers: workers.get().cloned(),
            shared: Arc::default(),
            gathered: None,
            budget: Arc::clone(budget),
        }
    }

    /// Hands over a series that is to go into `index`, with its canonical key.
    pub(super) fn push(&mut self, index: &Arc<LiveIndex>, id: SeriesId, key: &[u8]) {
        let is_other = |batch: &Batch| !Arc::ptr_eq(&batch.index, index);
        if self.gathered.as_ref().is_some_and(is_other) {
            self.send();
        }
        let batch = self.gathered.get_or_insert_with(|| Batch {
            index: Arc::clone(index),
            count: 0,
            series: Vec::new(),
            _charge: self.budget.charge(Class::Replay, BATCH_BYTES + key.len()),
        });
        push_series(&mut batch.series, id, key);
        batch.count += 1;
        if batch.series.len() >= BATCH_BYTES {
            self.send();
        }
    }

    /// Returns when every series that was handed over is in its index.
    pub(super) fn settle(&mut self) {
        self.send();
        while self.shared.advance() {}
    }

    fn send(&mut self) {
        let Some(batch) = self.gathered.take() else {
            return;
        };
        lock(&self.shared.waiting).push_back(batch);
        self.shared.make_room();
        let Some(workers) = &self.workers else {
            return;
        };
        if !self.shared.is_helped.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(&self.shared);
            let help = move || {
                while shared.advance() {}
                shared.is_helped.store(false, Ordering::Release);
            };
            if !workers.offer(Box::new(help)) {
                self.shared.is_helped.store(false, Ordering::Release);
            }
        }
    }
}

impl Shared {
    /// Returns when no more wait than may.
    fn make_room(&self) {
        let mut waiting = lock(&self.waiting);
        while waiting.len() > WAITING_MAX {
            // Whoever works takes turn after turn: to wait for one's own may take until nothing is left.
            let turn = match self.turn.try_lock() {
                Err(TryLockError::WouldBlock) => None,
                free => Some(free.expect("no batch is half in its index")),
            };
            if let Some(turn) = turn {
                drop(waiting);
                self.advance_in(turn);
                waiting = lock(&self.waiting);
            } else {
                let waited = self.taken.wait_timeout(waiting, PATIENCE);
                waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Puts the first batch into its index; whether there was one. Behind a helper at work it waits for that
    /// one's batch.
    fn advance(&self) -> bool {
        self.advance_in(self.turn.lock().expect("no batch is half in its index"))
    }

    fn advance_in(&self, _turn: MutexGuard<'_, ()>) -> bool {
        let Some(batch) = lock(&self.waiting).pop_front() else {
            return false;
        };
        self.taken.notify_one();
        let series = SeriesList::of(batch.count, &batch.series);
        let sound = series.map(|one| one.expect("it was read from the log"));
        batch.index.add_all(sound);
        true
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.shared.waiting).len();
        write!(out, "Lane of {waiting} batches")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::real::{RealEnv, RealOptions};
    use crate::model::{CanonicalKey, MeasurementId, TagKeyId};

    fn key(number: u64) -> Box<[u8]> {
        let value = format!("host_{number}");
        CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(1), value.as_bytes())])
    }

    /// Hands series to two indexes in turn, each some thousand at a time.
    fn fill(workers: Option<Arc<Workers>>) {
        let budget = Budget::new(1 << 30);
        let cell = OnceLock::new();
        if let Some(workers) = workers {
            drop(cell.set(workers));
        }
        let mut lane = Lane::new(&cell, &budget);
        let indexes = [(); 2].map(|()| Arc::new(LiveIndex::new()));
        let mut expected = [Vec::new(), Vec::new()];
        for id in 1..=200_000 {
            let which = usize::from(id % 25_000 >= 9_000);
            lane.push(&indexes[which], SeriesId(id), &key(id));
            expected[which].push(SeriesId(id));
            if id == 60_000 {
                lane.settle();
                assert_eq!(indexes[0].ids_from(0), expected[0]);
                assert_eq!(indexes[1].ids_from(0), expected[1]);
            }
        }
        lane.settle();
        for (index, expected) in indexes.iter().zip(expected) {
            assert_eq!(index.ids_from(0), expected);
            for id in expected.iter().step_by(997) {
                assert_eq!(index.entry(*id).map(|entry| entry.key), Some(key(id.0)));
            }
        }
        assert_eq!(budget.usage().class(Class::Replay), 0);
    }

    #[test]
    fn series_stand_in_their_index_as_they_came_with_a_helper() {
        let folder = tempfile::tempdir().unwrap();
        let env = RealEnv::new(folder.path(), RealOptions { mmap: false });
        let workers = Workers::start(&env, 2, &Budget::new(1 << 30)).unwrap();
        fill(Some(workers));
    }

    #[test]
    fn and_where_nobody_helps_or_no_helper_ever_comes() {
        fill(None);
        fill(Some(Workers::none()));
        let folder = tempfile::tempdir().unwrap();
        let env = RealEnv::new(folder.path(), RealOptions { mmap: false });
        let workers = Workers::start(&env, 1, &Budget::new(1 << 30)).unwrap();
        workers.stop();
        fill(Some(workers));
    }
}
