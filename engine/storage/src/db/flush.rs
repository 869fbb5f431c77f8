//! Flush: what is in memory becomes blocks, and the log behind it goes.
//!
//! All memtables are frozen at one sequence, under the sequencing lock. Then, without it: blocks
//! and registry files are written, one edit of the manifest makes them count, readers see them in
//! place of the memtables, and the log lets its segments go. Where any step fails, readers see
//! what they saw, and the next flush tries again with what came since.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::block::Block;
use crate::budget::Class;
use crate::db::Db;
use crate::db::core::{Core, Flushing, Generation, lock};
use crate::db::database::{Database, drop_known};
use crate::db::delete::UNFLUSHED_DELETES;
use crate::db::stats::Problem;
use crate::env::StepOutcome;
use crate::error::{ErrorKind, Result};
use crate::format::block::{BlockInfo, BlockMeta, SequenceRange, block_path};
use crate::format::definitions::Names;
use crate::format::manifest::{Edit, LastIds};
use crate::format::registry;
use crate::index::LiveIndex;
use crate::index::registry::{RegistryFile, choose_merge, merge};
use crate::manifest::State;
use crate::manifest::catalog::DatabaseCatalog;
use crate::memtable::Memtable;
use crate::model::{FieldId, MeasurementId, PolicyId, Sequence, SeriesEntry, SeriesId, Tombstones};
use crate::sabotage::{self, Fault};
use crate::upkeep::flush::{Keys, Target, write_block};
use crate::wal::Wal;

/// A flush that failed is tried again no sooner.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What was frozen.
struct Frozen {
    generation: Arc<Generation>,
    databases: Vec<FrozenDatabase>,
}

struct FrozenDatabase {
    database: Arc<Database>,
    names: Names,
    last: LastIds,
    policies: Vec<(PolicyId, Vec<Arc<Memtable>>)>,
    /// They know every series of the memtables.
    indexes: Vec<Arc<LiveIndex>>,
    /// Those that are not needed once the rows are in blocks.
    old_indexes: Vec<Arc<LiveIndex>>,
}

/// What a flush wrote, not yet in the manifest.
#[derive(Default)]
struct Written {
    files: Vec<PathBuf>,
    databases: Vec<WrittenDatabase>,
    rows: u64,
    rows_without_key: u64,
}

struct WrittenDatabase {
    blocks: Vec<(PolicyId, Arc<Block>)>,
    /// All registry files that count from then on.
    registries: Vec<Arc<RegistryFile>>,
    /// Registry files that were written and merged at once.
    passing: Vec<u64>,
}

impl Db {
    /// Writes everything in memory to blocks and lets the log behind it go. Where a sync of the log
    /// failed before, the log goes on afterwards.
    ///
    /// # Errors
    /// `Io` or `NoSpace`: nothing is lost, the next flush tries again.
    pub fn flush(&self) -> Result<()> {
        self.core.flush()
    }
}

impl Core {
    pub(super) fn flush(&self) -> Result<()> {
        let mut flushing = lock(&self.flushing);
        self.flush_noted(&mut flushing)
    }

    /// Flushes and notes whether that failed.
    pub(super) fn flush_noted(&self, flushing: &mut Flushing) -> Result<()> {
        let flushed = self.flush_locked(flushing);
        flushing.failed_at = flushed.is_err().then(|| self.env.monotonic());
        self.note_outcome("flush", &flushed);
        flushed
    }

    pub(super) fn flush_locked(&self, flushing: &mut Flushing) -> Result<()> {
        self.settle()?;
        // Not under the lock that the freeze takes.
        for database in self.all_databases() {
            let indexes = database.stores().indexes.clone();
            for index in indexes {
                index.catch_up();
            }
            database.registry.take_in_all();
        }
        let frozen = self.freeze(flushing);
        self.drain(&frozen.generation);
        self.reach_watermark();
        flushing.frozen_through = flushing.frozen_through.max(frozen.generation.last());
        if let Some(given) = self.given_through() {
            flushing.frozen_through = flushing.frozen_through.max(given);
        }
        flushing.frozen_bytes += frozen.generation.bytes.swap(0, Ordering::AcqRel);
        let through = flushing.frozen_through;
        if sabotage::is(Fault::LogReleasedBeforeManifest)
            && let Some(wal) = self.wal.get()
        {
            wal.release(through)?;
        }
        let flushed = self.write_frozen(&frozen, through);
        for frozen in &frozen.databases {
            // Nothing to do where the registry files took over.
            frozen.database.registry.thaw();
        }
        flushed?;
        self.unflushed_bytes
            .fetch_sub(flushing.frozen_bytes, Ordering::AcqRel);
        flushing.frozen_bytes = 0;
        drop(frozen);
        let index_bytes = self.index_bytes();
        self.flushed_index_bytes
            .store(index_bytes, Ordering::Relaxed);
        self.budget.state(Class::Index, index_bytes);
        self.budget.relieve();
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        if let Some(wal) = self.wal.get() {
            let failures = wal.counters().sync_failures;
            if failures > flushing.sync_failures {
                wal.resume_in_new_segment()?;
                flushing.sync_failures = failures;
            }
            wal.release(through)?;
        }
        Ok(())
    }

    /// Makes durable what was acknowledged when it was only written: no block holds rows above the
    /// durable watermark, so that a crash takes of them an end and no middle. Where this fails the
    /// log is to be left behind, and the flush is what saves the rows.
    fn reach_watermark(&self) {
        if let Some(wal) = self.wal.get() {
            wal.sync_written().ok();
        }
    }

    /// The last sequence that the log gave, where nothing was applied since the freeze. It may have
    /// been refused with an unknown outcome: the definitions that its rows rely on go with this
    /// flush, so a replay of them would find no keys. What was applied since began a segment that
    /// says that the refused ones before it do not count.
    fn given_through(&self) -> Option<Sequence> {
        let given = self.wal.get()?.given();
        let is_all_frozen = self.sequencer().generation.last() == Sequence(0);
        (is_all_frozen && !sabotage::is(Fault::RefusedRowsReplayed)).then_some(given)
    }

    /// Ends the time of writing for all memtables, indexes and new series so far.
    fn freeze(&self, flushing: &mut Flushing) -> Frozen {
        let mut sequencer = self.sequencer();
        flushing.log_bytes = self.log_bytes();
        self.left_bytes.store(0, Ordering::Relaxed);
        let fresh = Arc::new(Generation::default());
        let generation = std::mem::replace(&mut sequencer.generation, fresh);
        let mut databases = Vec::new();
        for database in self.all_databases() {
            let Some(writer) = sequencer.writers.get(&database.id) else {
                continue;
            };
            let names = writer.pending.clone();
            let last = LastIds {
                series: writer.last_series,
                ..writer.catalog.last_ids()
            };
            let is_replay = self.wal.get().is_none();
            let policies = database.freeze(generation.is_busy());
            let indexes = database.freeze_index(is_replay);
            // What the front cache knows is in no index that takes rows from now on.
            if !sabotage::is(Fault::DefinitionsLoggedOnce) {
                database.registry.forget();
            }
            database.registry.freeze();
            databases.push(FrozenDatabase {
                database,
                names,
                last,
                policies,
                old_indexes: if is_replay {
                    Vec::new()
                } else {
                    indexes.clone()
                },
                indexes,
            });
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
        Frozen {
            generation,
            databases,
        }
    }

    fn write_frozen(&self, frozen: &Frozen, through: Sequence) -> Result<()> {
        let mut written = Written::default();
        let result = frozen.databases.iter().try_for_each(|one| {
            let database = self.write_database(one, through, &mut written)?;
            written.databases.push(database);
            Ok(())
        });
        if let Err(error) = result {
            self.remove_files(&written.files);
            return Err(error);
        }
        self.publish(frozen, written, through)
    }

    /// Blocks and registry files of one database.
    fn write_database(
        &self,
        frozen: &FrozenDatabase,
        through: Sequence,
        written: &mut Written,
    ) -> Result<WrittenDatabase> {
        let tombstones = frozen.database.stores().tombstones.through(through);
        let keys = FrozenKeys {
            catalog: Arc::clone(&frozen.database.stores().catalog),
            indexes: &frozen.indexes,
        };
        let mut blocks = Vec::new();
        for (policy, memtables) in &frozen.policies {
            let Some(sequences) = sequences(memtables) else {
                continue;
            };
            let target = Target {
                env: &self.env,
                budget: &self.budget,
                directory_id: self.directory_id,
                file_id: self.new_file(),
                info: BlockInfo {
                    database: frozen.database.id,
                    policy: *policy,
                    level: 0,
                    // Deletes up to there are done with it.
                    sequences: SequenceRange {
                        last: sequences
                            .last
                            .max(tombstones.last().unwrap_or(sequences.last)),
                        ..sequences
                    },
                },
            };
            let flushed = write_block(&target, memtables, &tombstones, &keys)?;
            written.rows_without_key += flushed.rows_without_key;
            if let Some(meta) = flushed.block {
                written.files.push(block_path(meta.file_id));
                written.rows += meta.row_count;
                let block =
                    Block::open(&*self.env, self.directory_id, &meta)?.with_decoded(&self.decoded);
                blocks.push((*policy, Arc::new(block)));
            }
        }
        let (registries, passing) = self.write_registries(&frozen.database, written)?;
        Ok(WrittenDatabase {
            blocks,
            registries,
            passing,
        })
    }

    /// A registry file of the series made since the last flush, merged with others where there are
    /// many. All files that count from then on, and those written here that do not.
    fn write_registries(
        &self,
        database: &Arc<Database>,
        written: &mut Written,
    ) -> Result<(Vec<Arc<RegistryFile>>, Vec<u64>)> {
        let frozen = database.registry.frozen();
        let mut files = database.registry.files();
        let mut passing = Vec::new();
        if frozen.is_empty() {
            return Ok((files, passing));
        }
        let new = self.write_registry(database, written, frozen.iter().map(Ok))?;
        let new_id = new.meta().file;
        files.push(new);
        let metas: Vec<_> = files.iter().map(|file| file.meta()).collect();
        let mut chosen = choose_merge(&metas);
        if chosen.is_empty() {
            return Ok((files, passing));
        }
        let parts: Vec<_> = chosen.iter().map(|at| Arc::clone(&files[*at])).collect();
        let merged =
            merge(&parts).and_then(|entries| self.write_registry(database, written, entries));
        match merged {
            Ok(merged) => {
                chosen.sort_unstable();
                for at in chosen.into_iter().rev() {
                    let file = files.remove(at).meta().file;
                    passing.extend((file == new_id).then_some(file));
                }
                files.push(merged);
            }
            // A damaged file stays as it is; lookups that meet the damage say so.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.report(Problem::from_error(&error));
            }
            Err(error) => return Err(error),
        }
        Ok((files, passing))
    }

    fn write_registry(
        &self,
        database: &Database,
        written: &mut Written,
        entries: impl Iterator<Item = Result<registry::Entry>>,
    ) -> Result<Arc<RegistryFile>> {
        let file = self.new_file();
        written.files.push(RegistryFile::path(file));
        let id = (file, database.id);
        RegistryFile::write(&*self.env, self.directory_id, id, entries)
    }

    /// Makes what was written count, for the manifest, for readers and for writers.
    fn publish(&self, frozen: &Frozen, written: Written, through: Sequence) -> Result<()> {
        let mut manifest = self.manifest();
        let (mut edits, removed) = written.edits(frozen, manifest.state(), through);
        // While the log is replayed, it is all needed again should that be cut short: series are
        // defined once for all rows behind them.
        if through > manifest.state().flushed_through && self.wal.get().is_some() {
            edits.push(Edit::FlushedThrough(through));
        }
        if !edits.is_empty() {
            edits.push(Edit::GivenInDirectory {
                database: manifest.state().catalog.last_database(),
                file: self.last_file.load(Ordering::Relaxed),
                sequence: through,
            });
            if let Err(error) = self.commit(&mut manifest, &edits) {
                if !manifest.is_uncertain() {
                    drop(manifest);
                    self.remove_files(&written.files);
                }
                return Err(error);
            }
        }
        drop(manifest);
        let lost = written.rows_without_key;
        let counters = &self.counters;
        counters
            .flushed_rows
            .fetch_add(written.rows, Ordering::Relaxed);
        for (frozen, written) in frozen.databases.iter().zip(written.databases) {
            let database = &frozen.database;
            database.registry.persisted(written.registries);
            database.unfreeze(&frozen.policies, &frozen.old_indexes, written.blocks);
        }
        if lost > 0 {
            counters.rows_without_key.fetch_add(lost, Ordering::Relaxed);
            self.report(Problem::rows_without_key(lost));
        }
        self.settle_names(frozen);
        self.count_deletes(through);
        self.remove_files(&removed);
        Ok(())
    }

    /// What the manifest knows now need not be told again.
    fn settle_names(&self, frozen: &Frozen) {
        let mut sequencer = self.sequencer();
        let manifest = self.manifest();
        for frozen in &frozen.databases {
            let id = frozen.database.id;
            let known = manifest.state().catalog.by_id(id);
            if let (Some(writer), Some(known)) = (sequencer.writers.get_mut(&id), known) {
                drop_known(&mut writer.pending, known);
            }
        }
    }

    /// Counts the deletes that are in the log alone.
    fn count_deletes(&self, through: Sequence) {
        let count = |database: &Arc<Database>| {
            let stores = database.stores();
            let all = stores.tombstones.iter();
            all.filter(|one| one.sequence > through).count()
        };
        let count = self.all_databases().iter().map(count).sum();
        self.unflushed_deletes.store(count, Ordering::Release);
    }

    pub(super) fn remove_files(&self, files: &[PathBuf]) {
        for file in files {
            self.remove_file(file);
        }
    }

    /// What the background step does: flushes where it is time.
    pub(super) fn flush_step(&self) -> StepOutcome {
        self.keep_reserve();
        if self.is_flush_due() {
            // An error is kept with the time of the failure; the next write or flush meets it too.
            self.flush().ok();
        }
        // Not before a flush that waits for room has it: it makes more than it takes.
        let is_failing = lock(&self.flushing).failed_at.is_some();
        if let Some(wal) = self.wal.get().filter(|_| !is_failing) {
            wal.try_again(self.env.monotonic(), RETRY_AFTER);
        }
        StepOutcome::Idle
    }

    fn is_flush_due(&self) -> bool {
        let now = self.env.monotonic();
        let (log_bytes, failed_at, dealt_with) = {
            let flushing = lock(&self.flushing);
            let dealt_with = flushing.sync_failures;
            (flushing.log_bytes, flushing.failed_at, dealt_with)
        };
        if let Some(failed_at) = failed_at {
            return now.saturating_sub(failed_at) >= RETRY_AFTER;
        }
        let options = &self.options;
        let failures = |wal: &Wal| wal.counters().sync_failures;
        let log_failed = self.wal.get().map_or(0, failures) > dealt_with;
        let began = self.sequencer().generation.began.get().copied();
        let is_old = began.is_some_and(|at| now.saturating_sub(at) >= options.flush_interval);
        let used = self.unflushed_bytes.load(Ordering::Acquire);
        log_failed
            || is_old
            || used >= self.flush_bytes()
            || self.is_short_of_memory()
            || self.unflushed_deletes.load(Ordering::Acquire) >= UNFLUSHED_DELETES
            || self.log_bytes().saturating_sub(log_bytes) >= options.log_bytes
    }

    /// What a replay would have to read, had there been no flush: stores that are killed again and again
    /// have all of it from before as well.
    fn log_bytes(&self) -> u64 {
        let written = self.wal.get().map_or(0, |wal| wal.counters().bytes);
        written + self.replayed_bytes.load(Ordering::Relaxed)
    }
}

impl Written {
    /// What the manifest is to take, and the files that do not count then.
    fn edits(
        &self,
        frozen: &Frozen,
        state: &State,
        through: Sequence,
    ) -> (Vec<Edit>, Vec<PathBuf>) {
        let (mut edits, mut removed) = (Vec::new(), Vec::new());
        for (frozen, written) in frozen.databases.iter().zip(&self.databases) {
            let id = frozen.database.id;
            if state.catalog.by_id(id).is_none() {
                // Dropped meanwhile.
                removed.extend(written.files());
                continue;
            }
            if frozen.names != Names::default() {
                edits.push(Edit::DefineNames(id, frozen.names.clone()));
            }
            // The log that has them goes.
            let tombstones = frozen.database.stores().tombstones.through(through);
            let known = state.tombstones.get(&id).and_then(Tombstones::last);
            let new = tombstones.iter().filter(|one| known < Some(one.sequence));
            edits.extend(new.map(|one| Edit::PutTombstone(id, Arc::clone(one))));
            if state.last_ids(id) != frozen.last {
                edits.push(Edit::Given(id, frozen.last));
            }
            for (policy, block) in &written.blocks {
                let file = block.meta().file_id;
                if state.has_policy(id, *policy) {
                    edits.push(Edit::AddBlock(*block.meta()));
                } else {
                    // Dropped meanwhile.
                    removed.push(block_path(file));
                }
            }
            for file in &written.registries {
                if !state.registries.contains_key(&file.meta().file) {
                    edits.push(Edit::AddRegistry(file.meta()));
                }
            }
            // Merged into another, or damaged and rebuilt.
            let is_replaced =
                |file: u64| written.registries.iter().all(|own| own.meta().file != file);
            let old = state.registries.values().filter(|file| file.database == id);
            for file in old.filter(|file| is_replaced(file.file)) {
                removed.push(RegistryFile::path(file.file));
                edits.push(Edit::RemoveRegistry(file.file));
            }
            removed.extend(written.passing.iter().map(|file| RegistryFile::path(*file)));
        }
        (edits, removed)
    }
}

impl WrittenDatabase {
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let blocks = self.blocks.iter().map(|(_, block)| block.meta().file_id);
        let registries = self.registries.iter().map(|file| file.meta().file);
        blocks
            .map(block_path)
            .chain(registries.map(RegistryFile::path))
    }
}

/// Keys of series that have rows in frozen memtables.
struct FrozenKeys<'frozen> {
    catalog: Arc<DatabaseCatalog>,
    indexes: &'frozen [Arc<LiveIndex>],
}

impl Keys for FrozenKeys<'_> {
    fn is_live(&self, measurement: MeasurementId) -> bool {
        self.catalog.measurement_by_id(measurement).is_some()
    }

    fn has_field(&self, measurement: MeasurementId, field: FieldId) -> bool {
        self.catalog.has_field(measurement, field)
    }

    fn key_order(&self, series: &[SeriesId]) -> Vec<u32> {
        if let [only] = self.indexes {
            return only.key_order(series);
        }
        // After a flush that failed, keys lie in several indexes.
        let key = |id: &SeriesId| self.entries(&[*id]).pop().map(|entry| entry.key);
        let keyed = (0..)
            .zip(series)
            .filter_map(|(place, id)| Some((key(id)?, place)));
        let mut keyed: Vec<(Box<[u8]>, u32)> = keyed.collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, place)| place).collect()
    }

    fn entries(&self, series: &[SeriesId]) -> Vec<SeriesEntry> {
        if let [only] = self.indexes {
            return only.entries(series);
        }
        let entry = |id: &SeriesId| self.indexes.iter().find_map(|index| index.entry(*id));
        series.iter().filter_map(entry).collect()
    }
}

impl Database {
    /// Freezes the open memtables where anything is or may yet come into them. All frozen ones,
    /// oldest first.
    fn freeze(&self, is_busy: bool) -> Vec<(PolicyId, Vec<Arc<Memtable>>)> {
        let mut stores = self.stores_mut();
        let mut policies = Vec::new();
        for (id, state) in &mut stores.policies {
            match state.memtables.last() {
                Some(open) if is_busy || !open.is_empty() => {
                    let next = Arc::new(open.successor());
                    state.memtables.push(next);
                }
                Some(_) => {}
                None => state.memtables.push(Arc::new(Memtable::new())),
            }
            let frozen = state.memtables.len() - 1;
            policies.push((*id, state.memtables[..frozen].to_vec()));
        }
        policies
    }

    /// Freezes the open index, unless it is needed on; all that know series of frozen memtables.
    /// Lookups are forgotten with it, so a series that is written again is defined again: its key
    /// is always where its rows are.
    fn freeze_index(&self, is_needed: bool) -> Vec<Arc<LiveIndex>> {
        let mut stores = self.stores_mut();
        if is_needed {
            return stores.indexes.clone();
        }
        stores.indexes.push(Arc::new(LiveIndex::new()));
        let frozen = stores.indexes.len() - 1;
        stores.indexes[..frozen].to_vec()
    }

    /// Puts blocks in the place of what they were made from.
    fn unfreeze(
        &self,
        policies: &[(PolicyId, Vec<Arc<Memtable>>)],
        indexes: &[Arc<LiveIndex>],
        blocks: Vec<(PolicyId, Arc<Block>)>,
    ) {
        let mut stores = self.stores_mut();
        for (id, frozen) in policies {
            if let Some(state) = stores.policies.get_mut(id) {
                let gone = |own: &Arc<Memtable>| frozen.iter().any(|one| Arc::ptr_eq(one, own));
                state.memtables.retain(|own| !gone(own));
            }
        }
        let gone = |own: &Arc<LiveIndex>| indexes.iter().any(|one| Arc::ptr_eq(one, own));
        stores.indexes.retain(|own| !gone(own));
        for (id, block) in blocks {
            if let Some(state) = stores.policies.get_mut(&id) {
                state.add_block(block);
            }
        }
    }
}

/// The sequences of what the memtables hold; `None` where they are empty.
fn sequences(memtables: &[Arc<Memtable>]) -> Option<SequenceRange> {
    let ranges = memtables.iter().filter_map(|memtable| memtable.sequences());
    let whole = ranges.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    whole.map(|(first, last)| SequenceRange { first, last })
}

/// A block that the manifest names, as compaction hands it over.
pub(super) fn open_block(core: &Core, meta: &BlockMeta) -> Result<Arc<Block>> {
    let block = Block::open(&*core.env, core.directory_id, meta)?;
    Ok(Arc::new(block.with_decoded(&core.decoded)))
}
