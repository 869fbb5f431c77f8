//! Series on their way from the log into the registry and the live index, while the log is read on: another core
//! may see to that, which halves the time until the first write.
//!
//! They are read in the order of the log, by whoever is free; what the registry is to know is gathered. The index and
//! the registry take them as they stand, and a helper puts them in: until somebody asks there is time for that.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::budget::{Budget, Charge, Class};
use crate::db::KEY_BYTES_MAX;
use crate::db::core::lock;
use crate::db::database::Database;
use crate::db::replay::ids::IdSet;
use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::SeriesList;
use crate::index::registry::Learnt;
use crate::index::{Handed, LiveIndex};
use crate::model::{CanonicalKey, DatabaseId, Sequence, SeriesId};
use crate::workers::Workers;

/// Series are handed over so many bytes at a time: some thousand, half a millisecond of work.
const BATCH_BYTES: usize = 64 << 10;
/// Bytes of batches that are to be read, beyond which whoever reads the log does it.
const UNREAD_MAX: usize = 16 << 20;
/// The same as a part of the budget, at most.
const UNREAD_PART: usize = 64;
/// Bytes of batches that are to be put into an index, beyond which no more are read: there is time for them after
/// the log.
const UNINDEXED_MAX: usize = 128 << 20;
/// The same as a part of the budget, at most.
const UNINDEXED_PART: usize = 16;
/// Series that are gathered for the registries at most: at the end of the log they are left to wait there, before it
/// the registries take them in.
const LEARNT_MAX: usize = 1 << 22;
/// The same as a part of the budget, at most.
const LEARNT_PART: usize = 16;

/// Whoever waits for a helper looks again after this long whether there is one.
const PATIENCE: Duration = Duration::from_millis(1);

/// A queue of series. They go in as they came: a slot of the index is a number in that order.
pub(super) struct Lane {
    workers: Option<Arc<Workers>>,
    shared: Arc<Shared>,
    gathered: Option<Batch>,
    budget: Arc<Budget>,
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

struct Shared {
    unread_max: usize,
    unindexed_max: usize,
    unread: Mutex<Queue>,
    /// Told when a batch is taken.
    taken: Condvar,
    /// Held while a batch is taken and read.
    reading: Mutex<Reading>,
    /// Those that batches are for.
    indexes: Mutex<Vec<Arc<LiveIndex>>>,
    /// Those whose registries have some to take in.
    learning: Mutex<Vec<Arc<Database>>>,
    /// Whether a helper was asked for that has not ended.
    is_helped: AtomicBool,
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
struct Reading {
    learnt: BTreeMap<DatabaseId, (Arc<Database>, Learnt)>,
    /// Series in there, and the bytes that they may take.
    learnt_count: usize,
    learnt_max: usize,
    charge: Charge,
    /// Of each database the highest id.
    last: BTreeMap<DatabaseId, SeriesId>,
    /// What each index gets.
    defined: Vec<(Arc<LiveIndex>, Option<IdSet>)>,
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
            if let Err(error) = self.read_record(batch, list) {
                let place = format!("replay record {}", sequence.0);
                self.failed = Some(error.context(&place));
                return false;
            }
            start = *end;
        }
        true
    }

    fn read_record(&mut self, batch: &Batch, series: SeriesList<'_>) -> Result<()> {
        let database = &batch.database;
        let new = || (Arc::clone(database), Learnt::default());
        let (_, learnt) = self.learnt.entry(database.id).or_insert_with(new);
        let before = learnt.len();
        let mut last = SeriesId(0);
        let is_own = |(own, _): &(Arc<LiveIndex>, Option<IdSet>)| Arc::ptr_eq(own, &batch.index);
        let place = self.defined.iter().position(is_own).unwrap_or_else(|| {
            self.defined.push((Arc::clone(&batch.index), None));
            self.defined.len() - 1
        });
        let (_, defined) = &mut self.defined[place];
        for listed in series {
            let (id, key) = listed?;
            if key.len() > KEY_BYTES_MAX || !CanonicalKey(key).is_sound() {
                return Err(Error::new(ErrorKind::Corrupt, "a series has no key"));
            }
            defined.get_or_insert_with(|| IdSet::from(id)).insert(id);
            last = last.max(id);
            learnt.push((database.hasher.hash(key), id));
        }
        let known = self.last.entry(database.id).or_insert(last);
        *known = last.max(*known);
        self.learnt_count += learnt.len() - before;
        let bytes = self.learnt_count * Learnt::SERIES_BYTES;
        self.charge.resize(bytes);
        if self.learnt_count >= LEARNT_MAX || bytes >= self.learnt_max {
            for database in self.learn() {
                database.registry.take_in_all();
            }
        }
        Ok(())
    }

    /// Lets the registries know what is gathered; which they are. A series that a registry file has is defined again
    /// for its key alone; where the file is damaged the log makes up for it.
    fn learn(&mut self) -> Vec<Arc<Database>> {
        let mut learning = Vec::new();
        for (database, mut learnt) in std::mem::take(&mut self.learnt).into_values() {
            database.registry.learn(&mut learnt);
            learning.push(database);
        }
        self.learnt_count = 0;
        self.charge.resize(0);
        learning
    }
}

impl Lane {
    pub(super) fn new(workers: &OnceLock<Arc<Workers>>, budget: &Arc<Budget>) -> Lane {
        Lane {
            workers: workers.get().cloned(),
            shared: Arc::new(Shared {
                unread_max: UNREAD_MAX.min(budget.limit_bytes() / UNREAD_PART),
                unindexed_max: UNINDEXED_MAX.min(budget.limit_bytes() / UNINDEXED_PART),
                unread: Mutex::default(),
                taken: Condvar::new(),
                reading: Mutex::new(Reading {
                    learnt: BTreeMap::new(),
                    learnt_count: 0,
                    learnt_max: budget.limit_bytes() / LEARNT_PART,
                    charge: budget.charge(Class::Replay, 0),
                    last: BTreeMap::new(),
                    defined: Vec::new(),
                    failed: None,
                }),
                indexes: Mutex::default(),
                learning: Mutex::default(),
                is_helped: AtomicBool::new(false),
            }),
            gathered: None,
            budget: Arc::clone(budget),
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
            series: Vec::with_capacity(BATCH_BYTES + bytes.len()),
            charge: self.budget.charge(Class::Replay, 0),
        });
        batch.series.extend_from_slice(bytes);
        let end = batch.series.len();
        batch.records.push((sequence, count, end));
        if end >= BATCH_BYTES {
            self.send();
        }
    }

    /// Returns when its registry and its index have every series that was handed over, at least for later: of each
    /// database the highest id.
    ///
    /// # Errors
    /// `Corrupt` where a record has what is no series.
    pub(super) fn settle(&mut self) -> Result<BTreeMap<DatabaseId, SeriesId>> {
        self.send();
        let shared = &*self.shared;
        let mut reading = shared.reading.lock().expect(WHOLE);
        while shared.read_next(&mut reading) {
            self.help();
        }
        lock(&shared.learning).extend(reading.learn());
        if let Some(error) = reading.failed.take() {
            return Err(error);
        }
        self.help();
        if !shared.is_helped.load(Ordering::Acquire) {
            for index in &*lock(&shared.indexes) {
                while index.put_in() {}
            }
            while shared.take_in() {}
        }
        Ok(reading.last.clone())
    }

    /// What was defined for each index: once all is settled.
    pub(super) fn into_defined(self) -> Vec<(Arc<LiveIndex>, IdSet)> {
        let mut reading = self.shared.reading.lock().expect(WHOLE);
        let defined = std::mem::take(&mut reading.defined).into_iter();
        defined
            .filter_map(|(index, ids)| Some((index, ids?)))
            .collect()
    }

    fn send(&mut self) {
        let Some(mut batch) = self.gathered.take() else {
            return;
        };
        batch.charge.resize(batch.series.capacity());
        let mut indexes = lock(&self.shared.indexes);
        if !indexes.iter().any(|own| Arc::ptr_eq(own, &batch.index)) {
            indexes.push(Arc::clone(&batch.index));
        }
        drop(indexes);
        lock(&self.shared.unread).push(batch);
        self.make_room();
    }

    /// Returns when no more wait to be read than may.
    fn make_room(&self) {
        let shared = &*self.shared;
        loop {
            self.help();
            if lock(&shared.unread).bytes <= shared.unread_max {
                return;
            }
            let may_read = shared.unindexed_bytes() <= shared.unindexed_max;
            let is_done = may_read && shared.try_read_next() || shared.try_index_next();
            if !is_done {
                // Whoever has the turn takes one after another: to wait for one's own may take until nothing is
                // left.
                let waited = shared.taken.wait_timeout(lock(&shared.unread), PATIENCE);
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
            let threads = Arc::downgrade(workers);
            let help = move || {
                let goes_on = || {
                    let threads = threads.upgrade();
                    threads.is_some_and(|own| {
                        own.do_next();
                        !own.is_stopping()
                    })
                };
                loop {
                    while goes_on() && shared.advance() {}
                    shared.is_helped.store(false, Ordering::Release);
                    // What came before that found a helper.
                    let is_more = goes_on() && shared.advance();
                    if !is_more || shared.is_helped.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
            };
            if !workers.offer(Box::new(help)) {
                self.shared.is_helped.store(false, Ordering::Release);
            }
        }
    }
}

impl Shared {
    /// What a helper does next, whatever turn is free; false where there is nothing. It rather reads: the first write
    /// waits for that.
    fn advance(&self) -> bool {
        let may_read = self.unindexed_bytes() <= self.unindexed_max;
        may_read && self.try_read_next() || self.try_index_next() || self.take_in()
    }

    /// Does some of what is left for the registries; false where there is nothing.
    fn take_in(&self) -> bool {
        let mut learning = lock(&self.learning);
        while let Some(database) = learning.last() {
            if database.registry.take_in() {
                return true;
            }
            learning.pop();
        }
        false
    }

    fn unindexed_bytes(&self) -> usize {
        let indexes = lock(&self.indexes);
        indexes.iter().map(|index| index.waiting_bytes()).sum()
    }

    /// Puts a batch that was read into its index, unless somebody else does that; whether there was one.
    fn try_index_next(&self) -> bool {
        let indexes = lock(&self.indexes).clone();
        let is_done = indexes.iter().any(|index| index.try_put_in());
        if is_done {
            self.taken.notify_one();
        }
        is_done
    }

    /// Reads the first batch that is not read, unless somebody else does that; whether there was one.
    fn try_read_next(&self) -> bool {
        match self.reading.try_lock() {
            Err(TryLockError::WouldBlock) => false,
            reading => self.read_next(&mut reading.expect(WHOLE)),
        }
    }

    fn read_next(&self, reading: &mut Reading) -> bool {
        let Some(batch) = lock(&self.unread).pop() else {
            return false;
        };
        self.taken.notify_one();
        if reading.read(&batch) {
            batch.index.hand_over(Handed {
                count: batch.records.iter().map(|(_, count, _)| count).sum(),
                series: batch.series,
            });
        }
        true
    }
}

const WHOLE: &str = "no batch is half read";

impl fmt::Debug for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = lock(&self.shared.unread).batches.len();
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
        for id in ids {
            push_series(&mut bytes, SeriesId(id), &key(id));
        }
        bytes
    }

    fn lane(workers: Option<Arc<Workers>>, budget_bytes: usize) -> (Lane, Arc<Budget>) {
        let budget = Budget::new(budget_bytes);
        let cell = OnceLock::new();
        if let Some(workers) = workers {
            drop(cell.set(workers));
        }
        (Lane::new(&cell, &budget), budget)
    }

    /// Hands series to two databases in turn, each some thousand at a time, in records of some hundred.
    fn fill(workers: Option<&Arc<Workers>>, budget_bytes: usize) {
        let (mut lane, budget) = lane(workers.cloned(), budget_bytes);
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
        let defined = lane.into_defined();
        for (own, (_, index)) in databases.iter().enumerate() {
            let is_own = |(one, _): &&(Arc<LiveIndex>, IdSet)| Arc::ptr_eq(one, index);
            let (_, defined) = defined.iter().find(is_own).unwrap();
            let other = &databases[1 - own].1;
            assert!(index.ids_from(0).iter().all(|id| defined.has(*id)));
            assert!(!other.ids_from(0).iter().any(|id| defined.has(*id)));
        }
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
        // In the smaller ones more than may waits to be read, to be put into the index and for the registry.
        for budget_bytes in [1 << 30, 32 << 20, 4 << 20] {
            fill(Some(&workers), budget_bytes);
        }
    }

    #[test]
    fn and_where_nobody_helps_or_no_helper_ever_comes() {
        let (_folder, stopped) = workers(1);
        stopped.stop();
        let none = Workers::none();
        for budget_bytes in [1 << 30, 32 << 20, 4 << 20] {
            for workers in [None, Some(&none), Some(&stopped)] {
                fill(workers, budget_bytes);
            }
        }
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
                let (mut lane, _) = lane(workers, 1 << 30);
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
