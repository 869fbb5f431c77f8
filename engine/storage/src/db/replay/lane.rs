//! Series on their way from the log into the registry and the live index, while the log is read on: nobody looks
//! for them before all of it is there, so another core may see to that, which halves the time until the first
//! write.
//!
//! They go through two turns, each in the order of the log: in the first they are read, and what the registry
//! is to know is gathered; in the second they are put into the index. Whoever is free takes one of them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::budget::{Budget, Charge, Class};
use crate::db::core::lock;
use crate::db::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::SeriesList;
use crate::index::LiveIndex;
use crate::index::registry::Learnt;
use crate::model::{CanonicalKey, DatabaseId, Sequence, SeriesId};
use crate::workers::Workers;

/// Series are handed over so many bytes at a time: some thousand, half a millisecond of work.
const BATCH_BYTES: usize = 64 << 10;
/// Bytes of batches that are to be read, beyond which whoever reads the log does it.
const UNREAD_MAX: usize = 4 << 20;
/// Bytes of batches that are to be put into an index, beyond which no more are read: a helper lives on them while
/// many series go into the registry at once.
const UNINDEXED_MAX: usize = 16 << 20;
/// Series that wait for a registry at most: many at once cost less than each by itself.
const LEARNT_MAX: usize = 1 << 19;

/// Whoever waits for a helper looks again after this long whether there is one.
const PATIENCE: Duration = Duration::from_millis(1);

/// A queue of series. They go in as they came: a slot of the index is a number in that order.
pub(super) struct Lane {
    workers: Option<Arc<Workers>>,
    shared: Arc<Shared>,
    gathered: Option<Batch>,
    budget: Arc<Budget>,
    _charge: Charge,
}

/// Series of some records of the log.
struct Batch {
    database: Arc<Database>,
    index: Arc<LiveIndex>,
    /// Of each record its number, how many series it has, and where they end in `series`.
    records: Vec<(Sequence, usize, usize)>,
    /// As the records have them.
    series: Vec<u8>,
    charge: Charge,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when a batch is taken.
    taken: Condvar,
    /// Held while a batch is taken and read.
    reading: Mutex<Reading>,
    /// Held while a batch is taken and put into its index.
    indexing: Mutex<()>,
    /// Whether a helper was asked for that has not ended.
    is_helped: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    unread: Queue,
    unindexed: Queue,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, batch: Batch) {
        self.bytes += batch.series.len();
        self.batches.push_back(batch);
    }

    fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.series.len();
        Some(batch)
    }
}

/// What reading leaves from one batch to the next.
#[derive(Default)]
struct Reading {
    learnt: Option<(Arc<Database>, Learnt)>,
    /// Of each database the highest id.
    last: BTreeMap<DatabaseId, SeriesId>,
    /// What was wrong with the first batch that could not be read; those behind it are passed over.
    failed: Option<Error>,
}

impl Reading {
    /// Reads a batch; whether it is sound.
    fn read(&mut self, batch: &Batch) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let mut start = 0;
        for (sequence, count, end) in &batch.records {
            let list = SeriesList::of(*count, &batch.series[start..*end]);
            if let Err(error) = self.read_record(&batch.database, list) {
                let place = format!("replay record {}", sequence.0);
                self.failed = Some(error.context(&place));
                return false;
            }
            start = *end;
        }
        true
    }

    fn read_record(&mut self, database: &Arc<Database>, series: SeriesList<'_>) -> Result<()> {
        let is_own = |(own, _): &(Arc<Database>, Learnt)| Arc::ptr_eq(own, database);
        if !self.learnt.as_ref().is_some_and(is_own) {
            self.learn();
            self.learnt = Some((Arc::clone(database), Learnt::default()));
        }
        let (_, learnt) = self.learnt.as_mut().expect("it has just been made");
        let mut last = SeriesId(0);
        for listed in series {
            let (id, key) = listed?;
            if !CanonicalKey(key).is_sound() {
                return Err(Error::new(ErrorKind::Corrupt, "a series has no key"));
            }
            last = last.max(id);
            learnt.push((database.hasher.hash(key), id));
        }
        let known = self.last.entry(database.id).or_insert(last);
        *known = last.max(*known);
        if learnt.len() >= LEARNT_MAX {
            self.learn();
        }
        Ok(())
    }

    /// Puts what is gathered into its registry. A series that a registry file has is defined again for its key
    /// alone; where the file is damaged the log makes up for it.
    fn learn(&mut self) {
        if let Some((database, learnt)) = &mut self.learnt {
            database.registry.learn(learnt);
        }
    }
}

impl Lane {
    pub(super) fn new(workers: &OnceLock<Arc<Workers>>, budget: &Arc<Budget>) -> Lane {
        Lane {
            workers: workers.get().cloned(),
            shared: Arc::default(),
            gathered: None,
            budget: Arc::clone(budget),
            _charge: budget.charge(Class::Replay, LEARNT_MAX * Learnt::SERIES_BYTES),
        }
    }

    /// Hands over the series of record `sequence`, which are to go into the registry of a database and into its
    /// open index.
    pub(super) fn push(
        &mut self,
        (database, index): (&Arc<Database>, &Arc<LiveIndex>),
        sequence: Sequence,
        series: &SeriesList<'_>,
    ) {
        let (count, bytes) = series.parts();
        if count == 0 && bytes.is_empty() {
            return;
        }
        let is_other = |batch: &Batch| !Arc::ptr_eq(&batch.index, index);
        if self.gathered.as_ref().is_some_and(is_other) {
            self.send();
        }
        let batch = self.gathered.get_or_insert_with(|| Batch {
            database: Arc::clone(database),
            index: Arc::clone(index),
            records: Vec::new(),
            series: Vec::new(),
            charge: self.budget.charge(Class::Replay, 0),
        });
        batch.series.extend_from_slice(bytes);
        let end = batch.series.len();
        batch.records.push((sequence, count, end));
        if end >= BATCH_BYTES {
            self.send();
        }
    }

    /// Returns when every series that was handed over is where it belongs: of each database the highest id.
    ///
    /// # Errors
    /// `Corrupt` where a record has what is no series.
    pub(super) fn settle(&mut self) -> Result<BTreeMap<DatabaseId, SeriesId>> {
        self.send();
        let mut reading = self.shared.reading();
        while self.shared.read_next(&mut reading) {
            self.help();
        }
        reading.learn();
        let Reading { last, failed, .. } = std::mem::take(&mut *reading);
        drop(reading);
        while self.shared.index_next(&self.shared.indexing()) {}
        failed.map_or(Ok(last), Err)
    }

    fn send(&mut self) {
        let Some(mut batch) = self.gathered.take() else {
            return;
        };
        batch.charge.resize(batch.series.capacity());
        lock(&self.shared.waiting).unread.push(batch);
        self.make_room();
    }

    /// Returns when no more wait to be read than may.
    fn make_room(&self) {
        let shared = &*self.shared;
        loop {
            self.help();
            let waiting = lock(&shared.waiting);
            if waiting.unread.bytes <= UNREAD_MAX {
                return;
            }
            // Whoever works takes turn after turn: to wait for one's own may take until nothing is left.
            let is_done = if waiting.unindexed.bytes <= UNINDEXED_MAX {
                drop(waiting);
                free(shared.reading.try_lock()).map(|mut reading| shared.read_next(&mut reading))
            } else {
                drop(waiting);
                free(shared.indexing.try_lock()).map(|turn| shared.index_next(&turn))
            };
            if is_done.is_none() {
                let waited = shared.taken.wait_timeout(lock(&shared.waiting), PATIENCE);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Asks for a helper, if there is none.
    fn help(&self) {
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
    /// What a helper does next, whatever turn is free; false where there is nothing. The index goes first: nobody
    /// else is as likely to see to it.
    fn advance(&self) -> bool {
        let indexed = free(self.indexing.try_lock()).is_some_and(|turn| self.index_next(&turn));
        indexed
            || free(self.reading.try_lock()).is_some_and(|mut reading| self.read_next(&mut reading))
    }

    /// Reads the first batch that is not read; whether there was one.
    fn read_next(&self, reading: &mut MutexGuard<'_, Reading>) -> bool {
        let Some(batch) = lock(&self.waiting).unread.pop() else {
            return false;
        };
        self.taken.notify_one();
        if reading.read(&batch) {
            lock(&self.waiting).unindexed.push(batch);
        }
        true
    }

    /// Puts the first batch that was read into its index; whether there was one.
    fn index_next(&self, _turn: &MutexGuard<'_, ()>) -> bool {
        let Some(batch) = lock(&self.waiting).unindexed.pop() else {
            return false;
        };
        self.taken.notify_one();
        let count = batch.records.iter().map(|(_, count, _)| count).sum();
        let series = SeriesList::of(count, &batch.series);
        let sound = series.map(|one| one.expect("it has been read"));
        batch.index.add_all(sound);
        true
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().expect(WHOLE)
    }

    /// Behind a helper at work it waits for that one's batch.
    fn indexing(&self) -> MutexGuard<'_, ()> {
        self.indexing.lock().expect(WHOLE)
    }
}

const WHOLE: &str = "no batch is half where it belongs";

/// The turn, unless somebody else has it.
fn free<G>(turn: std::result::Result<G, TryLockError<G>>) -> Option<G> {
    match turn {
        Err(TryLockError::WouldBlock) => None,
        free => Some(free.ok().expect(WHOLE)),
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.shared.waiting);
        let count = waiting.unread.batches.len() + waiting.unindexed.batches.len();
        write!(out, "Lane of {count} batches")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::real::{RealEnv, RealOptions};
    use crate::format::definitions::push_series;
    use crate::index::registry::Registry;
    use crate::manifest::catalog::DatabaseCatalog;
    use crate::model::{KeyHasher, MeasurementId, TagKeyId};

    fn database(id: u32) -> (Arc<Database>, Arc<LiveIndex>) {
        let catalog = Arc::new(DatabaseCatalog::new(DatabaseId(id), "db"));
        let registry = Registry::new(Vec::new());
        let database = Database::new(catalog, KeyHasher::new([1, 2, 3, 4]), registry);
        (Arc::new(database), Arc::new(LiveIndex::new()))
    }

    fn key(number: u64) -> Box<[u8]> {
        let value = format!("host_{number}");
        CanonicalKey::encode(MeasurementId(1), &mut [(TagKeyId(1), value.as_bytes())])
    }

    /// The series of a record.
    fn record(ids: std::ops::Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        ids.for_each(|id| push_series(&mut bytes, SeriesId(id), &key(id)));
        bytes
    }

    fn lane(workers: Option<Arc<Workers>>) -> (Lane, Arc<Budget>) {
        let budget = Budget::new(1 << 30);
        let cell = OnceLock::new();
        if let Some(workers) = workers {
            drop(cell.set(workers));
        }
        (Lane::new(&cell, &budget), budget)
    }

    /// Hands series to two databases in turn, each some thousand at a time, in records of some hundred.
    fn fill(workers: Option<Arc<Workers>>) {
        let (mut lane, budget) = lane(workers);
        let databases = [database(1), database(2)];
        let mut expected = [Vec::new(), Vec::new()];
        let mut highest = BTreeMap::new();
        for first in (1..=200_000).step_by(100) {
            let which = usize::from(first % 25_000 >= 9_000);
            let (own, index) = &databases[which];
            let bytes = record(first..first + 100);
            let sequence = Sequence(first);
            lane.push((own, index), sequence, &SeriesList::of(100, &bytes));
            expected[which].extend((first..first + 100).map(SeriesId));
            highest.insert(own.id, SeriesId(first + 99));
            if first == 60_001 {
                assert_eq!(lane.settle().unwrap(), highest);
                assert_eq!(databases[0].1.ids_from(0), expected[0]);
                assert_eq!(databases[1].1.ids_from(0), expected[1]);
                highest.clear();
            }
        }
        assert_eq!(lane.settle().unwrap(), highest);
        for ((own, index), expected) in databases.iter().zip(expected) {
            assert_eq!(index.ids_from(0), expected);
            assert_eq!(own.registry.len(), expected.len() as u64);
            for id in expected.iter().step_by(997) {
                assert_eq!(index.entry(*id).map(|entry| entry.key), Some(key(id.0)));
                let hash = own.hasher.hash(&key(id.0));
                assert_eq!(own.registry.find(hash).unwrap(), Some(*id));
            }
        }
        drop(lane);
        assert_eq!(budget.usage().class(Class::Replay), 0);
    }

    fn workers(count: usize) -> (tempfile::TempDir, Arc<Workers>) {
        let folder = tempfile::tempdir().unwrap();
        let env = RealEnv::new(folder.path(), RealOptions { mmap: false });
        let workers = Workers::start(&env, count, &Budget::new(1 << 30)).unwrap();
        (folder, workers)
    }

    #[test]
    fn series_stand_where_they_belong_as_they_came_with_a_helper() {
        let (_folder, workers) = workers(2);
        fill(Some(workers));
    }

    #[test]
    fn and_where_nobody_helps_or_no_helper_ever_comes() {
        fill(None);
        fill(Some(Workers::none()));
        let (_folder, workers) = workers(1);
        workers.stop();
        fill(Some(workers));
    }

    #[test]
    fn a_record_that_has_no_series_is_named() {
        let (_folder, workers) = workers(1);
        let mut cut = record(1..4);
        cut.pop();
        let mut keyless = record(4..6);
        push_series(&mut keyless, SeriesId(6), b"no key");
        let longer = record(7..9);
        let cases: [(usize, &[u8], &str); 4] = [
            (3, &cut, "a length passes the end"),
            (3, &keyless, "a series has no key"),
            (1, &longer, "bytes follow the definitions"),
            (0, b"x", "bytes follow the definitions"),
        ];
        for (count, bytes, message) in cases {
            for workers in [None, Some(Arc::clone(&workers))] {
                let (mut lane, _) = lane(workers);
                let (own, index) = database(1);
                let sound = record(100..200);
                let mut push = |sequence, count, bytes| {
                    let list = SeriesList::of(count, bytes);
                    lane.push((&own, &index), Sequence(sequence), &list);
                };
                push(1, 100, &sound);
                push(2, count, bytes);
                push(3, 100, &sound);
                let error = lane.settle().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                let error = error.to_string();
                assert!(error.contains("replay record 2"), "{error}");
                assert!(error.contains(message), "{error}");
                lane.settle().unwrap();
            }
        }
    }
}
