//! Deletes: a tombstone takes its place in the order of writes, is durable with its group of the log
//! and hides from then on what was written before it. Flush, compaction and the purge take the rows
//! away: see `purge.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::db::Db;
use crate::db::core::{Core, RECORD_TOMBSTONE, lock};
use crate::db::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::format::tombstone::{TOMBSTONE_BYTES_MAX, encode_tombstone};
use crate::model::{
    MeasurementId, PolicyId, Sequence, SeriesSet, TagPredicate, TimeRange, Tombstone,
};
use crate::snapshot::Snapshot;
use crate::wal::Submission;

/// Deletes of one database that may hide rows, at most: a reader looks at each for every store it
/// opens.
pub const TOMBSTONES_MAX: usize = 1000;
/// What they take in memory at most, bytes, of one database.
pub const TOMBSTONE_MEMORY_MAX: usize = 64 << 20;
/// From here on a background flush takes deletes to blocks: runs on both sides of one are not merged.
pub(super) const UNFLUSHED_DELETES: usize = 64;
/// From here on a delete flushes first.
const UNFLUSHED_DELETES_MAX: usize = 256;

/// What is to be deleted.
#[derive(Clone, Debug)]
pub struct Delete<'names> {
    /// In this policy alone, or in all.
    pub policy: Option<&'names str>,
    /// Series of these measurements that satisfy the condition. One that does not exist is fine.
    pub measurements: Vec<(&'names [u8], TagPredicate)>,
    /// Rows of this time.
    pub range: TimeRange,
}

impl Db {
    /// Deletes rows: all that are visible when it begins, and none that are written after it has
    /// returned. Durable and seen by every new snapshot when it returns; one that was held before
    /// may show the rows yet. A measurement that has no row left goes, as if it were dropped; where
    /// the call fails or the process stops between the two, it stays, empty. Cost: finding the
    /// series, then one small write.
    ///
    /// # Errors
    /// `NotFound` for the database or policy; `Limit` where too many deletes wait for compaction or
    /// the series chosen take too much; `Corrupt` where series cannot be found for damage; else as
    /// [`crate::db::Ticket::wait`].
    pub fn delete(&self, database: &str, delete: &Delete<'_>) -> Result<()> {
        let core = &self.core;
        let found = core.database(database)?;
        {
            // One at a time, so that the limits hold.
            let _one = lock(&core.deleting);
            if core.unflushed_deletes.load(Ordering::Acquire) >= UNFLUSHED_DELETES_MAX {
                core.flush()?;
            }
            core.delete(&found, delete)?;
        }
        let is_empty = |snapshot: &Snapshot, id| snapshot.is_empty(id).is_ok_and(|is_so| is_so);
        for (name, _) in &delete.measurements {
            let Some(snapshot) = self.snapshot(database) else {
                return Ok(());
            };
            let measurement = snapshot.catalog().measurement(name).map(|info| info.id);
            if measurement.is_some_and(|id| is_empty(&snapshot, id)) {
                self.drop_measurement_where(database, name, &is_empty)?;
            }
        }
        Ok(())
    }
}

impl Core {
    fn delete(self: &Arc<Core>, database: &Arc<Database>, delete: &Delete<'_>) -> Result<()> {
        let name = database.stores().catalog.name().to_owned();
        let policy = delete.policy.map(|name| database.policy(Some(name)));
        let policy = policy.transpose()?.map(|policy| policy.id);
        let gone = || Error::new(ErrorKind::NotFound, format!("database not found: {name:?}"));
        let snapshot = self.snapshot(&name).ok_or_else(gone)?;
        let targets = targets(&snapshot, policy, delete)?;
        if delete.range.is_empty() {
            return Ok(());
        }
        // One that finds nothing is logged as well: that the log takes it shows that no write of
        // unknown outcome may yet be found after it.
        let tombstone = Tombstone {
            // Its record's, once that is written.
            sequence: Sequence(0),
            policy,
            targets,
            range: delete.range,
        };
        check_room(&snapshot, &tombstone)?;
        let mut payload = Vec::new();
        encode_tombstone(database.id, &tombstone, &mut payload);
        if payload.len() > TOMBSTONE_BYTES_MAX {
            let message = format!(
                "the series that the delete names take {} bytes, more than {TOMBSTONE_BYTES_MAX}: \
                 delete fewer at once, or all of a measurement",
                payload.len()
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        self.with_reserve(|| self.submit_tombstone(database, &tombstone, &payload))
    }

    /// Lets a durable delete hide what was written before it.
    pub(super) fn hide(&self, database: &Database, tombstone: Tombstone) {
        if !tombstone.targets.is_empty() {
            database.hide(Arc::new(tombstone));
            self.unflushed_deletes.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn submit_tombstone(
        self: &Arc<Core>,
        database: &Arc<Database>,
        tombstone: &Tombstone,
        payload: &[u8],
    ) -> Result<()> {
        let wal = self.wal()?;
        self.settle()?;
        let sequencer = self.sequencer();
        let now = self.env.monotonic();
        sequencer.generation.began.get_or_init(|| now);
        let in_flight = sequencer.generation.enter();
        let (core, database) = (Arc::clone(self), Arc::clone(database));
        let tombstone = tombstone.clone();
        let apply = move |sequence: Sequence| {
            let tombstone = Tombstone {
                sequence,
                ..tombstone
            };
            core.hide(&database, tombstone);
            core.applied(&in_flight, sequence, 0);
        };
        let records = vec![(RECORD_TOMBSTONE, payload.to_vec())];
        let ticket = wal.submit(Submission::new(records, apply).with_least_room())?;
        // What comes behind it in the queue is written later.
        drop(sequencer);
        ticket.wait().map(drop)
    }
}

/// The series that are meant, by measurement.
fn targets(
    snapshot: &Snapshot,
    policy: Option<PolicyId>,
    delete: &Delete<'_>,
) -> Result<Vec<(MeasurementId, SeriesSet)>> {
    let mut targets = Vec::new();
    for (name, predicate) in &delete.measurements {
        let Some(measurement) = snapshot.catalog().measurement(name) else {
            continue;
        };
        let set = if matches!(predicate, TagPredicate::All) {
            SeriesSet::All
        } else {
            let series = snapshot.series(measurement.id, predicate, policy, delete.range)?;
            if series.is_empty() {
                continue;
            }
            SeriesSet::of(series.into_iter().map(|(id, _)| id).collect())
        };
        targets.push((measurement.id, set));
    }
    targets.sort_by_key(|(id, _)| *id);
    targets.dedup_by_key(|(id, _)| *id);
    Ok(targets)
}

/// Whether one more delete may wait for compaction.
fn check_room(snapshot: &Snapshot, more: &Tombstone) -> Result<()> {
    let live = snapshot.tombstones();
    let count = live.iter().len();
    let bytes: usize = live.iter().map(|one| one.size_bytes()).sum();
    if count < TOMBSTONES_MAX && bytes + more.size_bytes() <= TOMBSTONE_MEMORY_MAX {
        return Ok(());
    }
    let message = format!(
        "{count} deletes of {bytes} bytes wait until compaction has taken their rows away, and \
         {TOMBSTONES_MAX} of {TOMBSTONE_MEMORY_MAX} bytes may: compact the store \
         (POST /admin/compact), then repeat the delete"
    );
    Err(Error::new(ErrorKind::Limit, message))
}
