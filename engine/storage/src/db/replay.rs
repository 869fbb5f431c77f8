//! What the log holds goes back to where it was before the stop.

mod ids;
mod lane;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::budget::Class;
use crate::db::core::{Core, RECORD_DEFINITIONS, RECORD_ROWS, RECORD_TOMBSTONE, lock};
use crate::db::database::{Database, drop_known};
use crate::db::replay::ids::IdSet;
use crate::db::replay::lane::Lane;
use crate::db::stats::Problem;
use crate::db::write::append;
use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::Definitions;
use crate::format::manifest::LastIds;
use crate::format::rows::decode_rows;
use crate::format::tombstone::decode_tombstone;
use crate::index::LiveIndex;
use crate::manifest::catalog::DatabaseCatalog;
use crate::memtable::{Growing, Memtable, Run};
use crate::model::{DatabaseId, MeasurementId, PolicyId, Rows, Sequence, Tombstone};
use crate::sabotage::{self, Fault};
use crate::wal::{LogEnd, Wal, WalStart};

impl Core {
    /// Replays the log and opens it for writing; says whether everything acknowledged was there.
    pub(super) fn open_log(&self) -> Result<bool> {
        let start = {
            let manifest = self.manifest();
            let state = manifest.state();
            WalStart {
                directory_id: self.directory_id,
                released_through: state.flushed_through,
                clean_end: state.clean_stop.map(|end| LogEnd {
                    segment: end.segment,
                    offset: end.offset,
                    sequence: end.sequence,
                }),
            }
        };
        let mut replayed = Replayed {
            seen: Seen::new(),
            lane: Lane::new(&self.workers, &self.budget),
            growing: BTreeMap::new(),
        };
        let mut replay =
            |sequence, kind, payload: &[u8]| self.replay((sequence, kind, payload), &mut replayed);
        let env = Arc::clone(&self.env);
        let (wal, report) = Wal::open(env, self.options.wal, start, &mut replay)?;
        self.replayed_bytes
            .store(report.payload_bytes, Ordering::Relaxed);
        for damage in &report.damage {
            self.report(Problem::from_log_damage(damage));
        }
        for span in &report.missing {
            self.report(Problem::from_missing(*span));
        }
        if let Some(torn) = &report.torn {
            drop(self.torn.set(torn.clone()));
        }
        self.settle_series(&mut replayed)?;
        self.settle_rows(&mut replayed);
        self.settle_seen(replayed.seen);
        let defined = replayed.lane.into_defined();
        for database in self.all_databases() {
            forget_without_rows(&database, &defined);
        }
        // How many rows wait before a flush goes by both, and the first of them come before the next look.
        self.budget.state(Class::Index, self.index_bytes());
        self.left_bytes.store(
            self.unflushed_bytes.load(Ordering::Acquire),
            Ordering::Relaxed,
        );
        self.merge_left();
        assert!(self.wal.set(wal).is_ok(), "the log is opened once");
        Ok(report.is_complete())
    }

    /// Merges the rows that more of wait than may, beside the first writes where somebody helps.
    fn merge_left(&self) {
        let mut due = Vec::new();
        for database in self.all_databases() {
            let stores = database.stores();
            let memtables = stores.policies.values().flat_map(|own| &own.memtables);
            for memtable in memtables {
                let measurements = memtable.measurements().into_iter();
                let large = measurements.filter(|one| memtable.plan_waiting(*one));
                due.extend(large.map(|one| (Arc::downgrade(memtable), one)));
            }
        }
        if due.is_empty() {
            return;
        }
        let merge = |due: Vec<(Weak<Memtable>, MeasurementId)>| {
            for (memtable, measurement) in due {
                // A flush puts in order what it takes.
                if let Some(memtable) = memtable.upgrade().filter(|own| !own.is_frozen()) {
                    memtable.settle(measurement, false);
                }
            }
        };
        let job = Box::new({
            let due = due.clone();
            move || merge(due)
        });
        let workers = self.workers.get();
        if !workers.is_some_and(|workers| workers.offer(job)) {
            merge(due);
        }
    }

    /// Puts a record of the log where it was before the stop.
    fn replay(
        &self,
        (sequence, kind, payload): (Sequence, u8, &[u8]),
        replayed: &mut Replayed,
    ) -> Result<()> {
        // The record and what it is decoded to, until it is in a memtable.
        let _charge = self.budget.charge(Class::Replay, 2 * payload.len());
        match kind {
            RECORD_DEFINITIONS => self.replay_definitions(sequence, payload, replayed)?,
            RECORD_ROWS => self.replay_rows(sequence, payload, replayed)?,
            RECORD_TOMBSTONE if sabotage::is(Fault::DeleteLostAtRestart) => {}
            RECORD_TOMBSTONE => {
                // It hides whole runs' rows or none.
                self.settle_rows(replayed);
                self.replay_tombstone(sequence, payload)?;
            }
            other => {
                // A later build's: what it means is not known, and skipping it would lose rows.
                let message = format!("the log has a record of kind {other}, which is not known");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        self.sequencer().generation.applied(sequence);
        let used = self.unflushed_bytes.load(Ordering::Acquire);
        // Where the disk is full the log is replayed into memory all the same: it is bounded.
        let is_full = lock(&self.flushing).failed_at.is_some();
        if used < self.options.memtable_bytes || is_full {
            return Ok(());
        }
        self.settle_series(replayed)?;
        self.settle_rows(replayed);
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::NoSpace => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn replay_definitions(
        &self,
        sequence: Sequence,
        payload: &[u8],
        replayed: &mut Replayed,
    ) -> Result<()> {
        let placed = |error: Error| error.context(&format!("replay record {}", sequence.0));
        let (id, names, series) = Definitions::decode_names(payload).map_err(placed)?;
        let mut sequencer = self.sequencer();
        // Unknown means dropped: a database is made in the manifest first.
        let Some(writer) = sequencer.writers.get_mut(&id) else {
            self.report_lost_database(id);
            return Ok(());
        };
        let database = self.all_databases();
        let database = database.iter().find(|one| one.id == id);
        let database = database.expect("a writer has its database");
        if !names.is_empty() {
            let mut catalog = DatabaseCatalog::clone(&writer.catalog);
            catalog.define(&names).map_err(placed)?;
            // Names are logged again until they are known to be durable: one record may repeat what
            // another has, or the manifest.
            let mut new = names;
            drop_known(&mut new, &writer.catalog);
            append(&mut writer.pending, &new);
            writer.catalog = Arc::new(catalog);
            database.stores_mut().catalog = Arc::clone(&writer.catalog);
        }
        let index = database.stores().indexes.last().map(Arc::clone);
        let index = index.expect("a database has an open index");
        drop(sequencer);
        replayed.lane.push((database, &index), sequence, &series);
        Ok(())
    }

    /// Every series of the log so far is where it belongs when this returns.
    ///
    /// # Errors
    /// `Corrupt` where a record has what is no series.
    fn settle_series(&self, replayed: &mut Replayed) -> Result<()> {
        let last = replayed.lane.settle()?;
        let mut sequencer = self.sequencer();
        for (id, last) in last {
            if let Some(writer) = sequencer.writers.get_mut(&id) {
                writer.last_series = writer.last_series.max(last.0);
            }
        }
        Ok(())
    }

    fn replay_tombstone(&self, sequence: Sequence, payload: &[u8]) -> Result<()> {
        let (database, tombstone) = read_tombstone(sequence, payload)?;
        let databases = self.all_databases();
        if let Some(database) = databases.iter().find(|one| one.id == database) {
            self.hide(database, tombstone);
        }
        Ok(())
    }

    fn replay_rows(
        &self,
        sequence: Sequence,
        payload: &[u8],
        replayed: &mut Replayed,
    ) -> Result<()> {
        let (database, policy, rows) = decode_rows(payload).map_err(|error| {
            let message = format!("replay record {}: {error}", sequence.0);
            Error::new(ErrorKind::Corrupt, message)
        })?;
        let databases = self.all_databases();
        let id = database;
        let Some(database) = databases.iter().find(|one| one.id == id) else {
            self.report_lost_database(id);
            return Ok(());
        };
        let Some((memtable, _)) = database.open_stores(policy) else {
            return Ok(());
        };
        let catalog = Arc::clone(&database.stores().catalog);
        let Replayed { seen, growing, .. } = replayed;
        let seen = seen.entry(database.id).or_default();
        let now = self.env.monotonic();
        let sequencer = self.sequencer();
        sequencer.generation.began.get_or_init(|| now);
        let mut bytes = 0;
        for rows in rows {
            note_ids(&rows, seen);
            if rows.measurement.0 > catalog.last_ids().measurement {
                // Its definition was lost to damage.
                self.report(Problem::rows_without_key(rows.len() as u64));
            }
            if catalog.measurement_by_id(rows.measurement).is_some() && !rows.is_empty() {
                bytes += rows.size_bytes() + size_of::<Run>();
                let place = (database.id, policy, rows.measurement);
                match growing.entry(place) {
                    Entry::Vacant(entry) => {
                        let run = Growing::new(rows, sequence, &self.budget);
                        entry.insert((Arc::clone(&memtable), run));
                    }
                    Entry::Occupied(mut entry) => {
                        let (memtable, own) = entry.get_mut();
                        if let Some(rows) = own.join(rows, sequence) {
                            let next = own.next(rows, sequence);
                            let run = std::mem::replace(own, next).finish();
                            memtable.push_replayed(Arc::new(run), now);
                        }
                    }
                }
            }
        }
        sequencer
            .generation
            .bytes
            .fetch_add(bytes, Ordering::AcqRel);
        self.unflushed_bytes.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// The rows of the log so far are in their memtables when this returns.
    fn settle_rows(&self, replayed: &mut Replayed) {
        let now = self.env.monotonic();
        for (memtable, run) in std::mem::take(&mut replayed.growing).into_values() {
            memtable.push_replayed(Arc::new(run.finish()), now);
        }
    }

    /// Makes sure that no id which rows have is given to something else: where damage took its
    /// definition, they would be found under another name.
    fn settle_seen(&self, seen: Seen) {
        let mut sequencer = self.sequencer();
        for (id, last) in seen {
            if let Some(writer) = sequencer.writers.get_mut(&id) {
                writer.last_series = writer.last_series.max(last.series);
                Arc::make_mut(&mut writer.catalog).reserve(last);
            }
        }
    }
}

/// The tombstone that the payload of a record is.
pub(super) fn read_tombstone(
    sequence: Sequence,
    payload: &[u8],
) -> Result<(DatabaseId, Tombstone)> {
    let mut rest = payload;
    let read = decode_tombstone(&mut rest, sequence);
    let read = read.map_err(|error| error.context(&format!("replay record {}", sequence.0)))?;
    if !rest.is_empty() {
        let message = format!("replay record {}: bytes follow the delete", sequence.0);
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    Ok(read)
}

/// What replay keeps from one record to the next.
struct Replayed {
    seen: Seen,
    /// Series on their way into registries and live indexes.
    lane: Lane,
    /// The newest run of each measurement, which the next record may add to.
    growing: BTreeMap<(DatabaseId, PolicyId, MeasurementId), (Arc<Memtable>, Growing)>,
}

/// The highest ids that rows of the log have, by database.
type Seen = BTreeMap<DatabaseId, LastIds>;

fn note_ids(rows: &Rows, seen: &mut LastIds) {
    seen.measurement = seen.measurement.max(rows.measurement.0);
    let series = rows.series.iter().map(|series| series.0).max();
    seen.series = seen.series.max(series.unwrap_or(0));
    let field = rows.columns.last().map(|(field, _)| field.0);
    seen.field = seen.field.max(field.unwrap_or(0));
}

/// Takes series out of the live index that no row of the log has: a crash may keep what a write
/// defined and lose its rows, and a series that nobody was told of is not listed. Its id stays taken.
/// Cost: a look at each row in memory.
fn forget_without_rows(database: &Database, defined: &[(Arc<LiveIndex>, IdSet)]) {
    let mut stores = database.stores_mut();
    let Some(index) = stores.indexes.last() else {
        return;
    };
    let Some((_, defined)) = defined.iter().find(|(own, _)| Arc::ptr_eq(own, index)) else {
        return;
    };
    let mut written = IdSet::from(defined.first());
    let memtables = (stores.policies.values()).flat_map(|own| &own.memtables);
    for memtable in memtables {
        for measurement in memtable.measurements() {
            for run in memtable.runs(measurement) {
                run.series_of_rows()
                    .iter()
                    .for_each(|id| written.insert(*id));
            }
        }
    }
    if defined.is_within(&written) {
        return;
    }
    let kept = LiveIndex::new();
    let lives = (index.ids_from(0).into_iter()).filter(|id| written.has(*id));
    for entry in lives.filter_map(|id| index.entry(id)) {
        kept.add(&entry);
    }
    *stores.indexes.last_mut().expect("it has been looked at") = Arc::new(kept);
}
