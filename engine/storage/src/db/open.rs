//! Opening a directory: lock, manifest, blocks, log; in that order, and nothing touched before the
//! lock is held.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roaring::RoaringTreemap;

use crate::budget::Class;
use crate::db::core::{Core, Parts, RECORD_DEFINITIONS, RECORD_ROWS, RECORD_TOMBSTONE, lock};
use crate::db::database::{Database, drop_known};
use crate::db::files::{file_id, is_named};
use crate::db::flush::open_block;
use crate::db::memory::TICK;
use crate::db::stats::Problem;
use crate::db::write::append;
use crate::db::{Db, DbOptions};
use crate::env::{DirEntry, Env, StepOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::block_path;
use crate::format::definitions::Definitions;
use crate::format::header::{FileHeader, HEADER_BYTES, HeaderError};
use crate::format::manifest::LastIds;
use crate::format::rows::decode_rows;
use crate::format::tombstone::decode_tombstone;
use crate::index::LiveIndex;
use crate::index::registry::{Registry, RegistryFile};
use crate::manifest::catalog::DatabaseCatalog;
use crate::manifest::{CURRENT, Manifest, State};
use crate::memtable::Run;
use crate::model::{CanonicalKey, DatabaseId, Rows, Sequence, Tombstone};
use crate::sabotage::{self, Fault};
use crate::snapshot::SetAside;
use crate::wal::{LogEnd, Wal, WalStart};
use crate::workers::Workers;

/// Folders that hold files the manifest names.
pub(super) const FILE_FOLDERS: [&str; 2] = ["blocks", "registry"];
type Step = Box<dyn FnMut() -> StepOutcome + Send>;

/// Rows that were acknowledged when they were only written are durable after this time.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);
/// What is past its time is looked for this often.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
/// Held while a process has the directory; it names the process.
pub(super) const LOCK: &str = "LOCK";
/// The folder of the log.
pub(super) const LOG_FOLDER: &str = "wal";

impl Db {
    /// Opens the directory that `env` is, making it where it is empty. Replays the log in bounded
    /// memory. A damaged block does not keep the store from opening: queries that need it say so.
    ///
    /// # Errors
    /// `Conflict` where another process has the directory, naming it, or a newer build wrote it;
    /// `Corrupt` where the manifest is damaged; `Invalid` for a memory budget that is too small;
    /// `Io`, `NoSpace`.
    pub fn open(env: Arc<dyn Env>, options: DbOptions) -> Result<Db> {
        let (budget, options) = options.fit(&*env)?;
        let lock = env.lock(Path::new(LOCK)).map_err(|source| {
            if source.kind() == std::io::ErrorKind::WouldBlock {
                return Error::new(ErrorKind::Conflict, source.to_string());
            }
            Error::io("lock the data directory", LOCK, source)
        })?;
        let manifest = match Manifest::open(Arc::clone(&env))? {
            Some(manifest) => manifest,
            None => make_directory(&env)?,
        };
        let core = Core::new(Parts {
            env,
            options,
            budget,
            manifest,
            lock,
        });
        core.open_databases()?;
        core.note_files()?;
        let core = Arc::new(core);
        let complete = core.open_log()?;
        if complete {
            core.remove_orphans();
        }
        core.find_reserve();
        let db = Db { core };
        db.start_steps()?;
        Ok(db)
    }

    /// Whether the directory that `env` is has a store, without taking, making or changing anything:
    /// for whoever means one that exists, since [`Db::open`] makes what is missing.
    ///
    /// # Errors
    /// `Corrupt` where there is data without what names it; `Io` or `Busy` where that cannot be known.
    pub fn is_there(env: &dyn Env) -> Result<bool> {
        match env.open_read(Path::new(CURRENT)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                check_empty(env)?;
                Ok(false)
            }
            // What else is wrong with the file, opening the store says better.
            Ok(_) | Err(_) => Ok(true),
        }
    }

    fn start_steps(&self) -> Result<()> {
        let core = Arc::clone(&self.core);
        let flush = Box::new(move || core.flush_step());
        let core = Arc::clone(&self.core);
        let compact = Box::new(move || core.compact_step());
        let core = Arc::clone(&self.core);
        let sync = Box::new(move || core.sync_step());
        let core = Arc::clone(&self.core);
        let retention = Box::new(move || core.retention_step());
        let interval = self.core.options.step_interval;
        let core = Arc::clone(&self.core);
        let memory = Box::new(move || core.memory_step());
        // Flush stands first: see `Core::wake_flush`.
        let core = Arc::clone(&self.core);
        let scrub = Box::new(move || core.scrub_step());
        let steps: [(&str, Duration, Step); 6] = [
            ("flush", interval, flush),
            ("compact", interval, compact),
            ("sync", SYNC_INTERVAL, sync),
            ("memory", TICK, memory),
            ("scrub", interval, scrub),
            ("retention", RETENTION_INTERVAL, retention),
        ];
        for (name, interval, step) in steps {
            let handle = self.core.env.every(name, interval, step);
            let handle =
                handle.map_err(|source| Error::io("start a background step", "", source))?;
            lock(&self.core.steps).push(handle);
        }
        // One thread is that of whoever asks.
        let threads = self.core.env.cores().saturating_sub(1);
        let workers = Workers::start(&*self.core.env, threads, &self.core.budget)?;
        drop(self.core.workers.set(workers));
        Ok(())
    }
}

/// The folders and the first manifest of an empty directory.
fn make_directory(env: &Arc<dyn Env>) -> Result<Manifest> {
    check_empty(&**env)?;
    for folder in FILE_FOLDERS.into_iter().chain([LOG_FOLDER]) {
        let folder = Path::new(folder);
        env.create_dir(folder)
            .map_err(|source| Error::io("make folder", folder, source))?;
    }
    // Syncs the root as well: the folders are durable before anything in them is.
    Manifest::create(Arc::clone(env))
}

/// What a folder holds; nothing where it is not there.
fn entries(env: &dyn Env, folder: &Path) -> Result<Vec<DirEntry>> {
    match env.list(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("list folder", folder, error))
        }
        listed => Ok(listed.unwrap_or_default()),
    }
}

/// Whether a directory without a manifest has no data either.
///
/// # Errors
/// `Corrupt`, naming a file that is there; `Io` or `Busy` where that cannot be known.
pub(super) fn check_empty(env: &dyn Env) -> Result<()> {
    for folder in FILE_FOLDERS.into_iter().chain([LOG_FOLDER]) {
        let folder = Path::new(folder);
        if let Some(entry) = entries(env, folder)?.first() {
            let file = folder.join(&entry.name);
            let message =
                "the directory has data but CURRENT, which names its manifest, is missing";
            return Err(Error::corrupt(file, 0, message));
        }
    }
    Ok(())
}

impl Core {
    /// What the background step does for rows that were acknowledged before they were durable, and
    /// for those that are queued and were left without a leader.
    fn sync_step(&self) -> StepOutcome {
        if let Some(wal) = self.wal.get() {
            wal.lead();
            if let Err(error) = wal.sync_written()
                && error.kind() == ErrorKind::Io
            {
                self.wake();
            }
        }
        StepOutcome::Idle
    }

    /// # Errors
    /// `Busy` where the process can open no more files: that says nothing of them.
    /// `Conflict` where a file is of a later version.
    fn open_databases(&self) -> Result<()> {
        let state = self.manifest().state().clone();
        let mut sequencer = self.sequencer();
        for catalog in state.catalog.databases() {
            let database = self.open_database(catalog, &state)?;
            self.put_database(&mut sequencer, Arc::new(database));
        }
        Ok(())
    }

    fn open_database(&self, catalog: &Arc<DatabaseCatalog>, state: &State) -> Result<Database> {
        let id = catalog.id();
        let metas = state.registries.values();
        let mut files = Vec::new();
        let mut is_broken = false;
        for meta in metas.filter(|meta| meta.database == id) {
            match RegistryFile::open(&*self.env, self.directory_id, *meta) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == ErrorKind::Busy => return Err(error),
                Err(error) => {
                    let error = self.refuse_later(&RegistryFile::path(meta.file), error)?;
                    self.report(Problem::from_error(&error));
                    files.push(RegistryFile::broken(*meta, error));
                    is_broken = true;
                }
            }
        }
        let database = Database::new(Arc::clone(catalog), self.hasher, Registry::new(files));
        let mut stores = database.stores_mut();
        for meta in state
            .blocks
            .values()
            .filter(|meta| meta.info.database == id)
        {
            let policy = stores.policies.entry(meta.info.policy).or_default();
            match open_block(self, meta) {
                Ok(block) => policy.add_block(block),
                Err(error) if error.kind() == ErrorKind::Busy => return Err(error),
                Err(_) if sabotage::is(Fault::DamagedBlockSkipped) => {}
                Err(error) => {
                    let error = self.refuse_later(&block_path(meta.file_id), error)?;
                    self.report(Problem::from_error(&error));
                    let damaged = SetAside { meta: *meta, error };
                    policy.damaged.push(Arc::new(damaged));
                }
            }
        }
        if let Some(tombstones) = state.tombstones.get(&id) {
            stores.tombstones = tombstones.clone();
        }
        drop(stores);
        if is_broken && let Err(error) = self.mend_registry(&database) {
            self.report(Problem::from_error(&error));
        }
        Ok(database)
    }

    /// The error again, unless the file is no damaged one but one of a later version: what it holds
    /// is beyond this build, which then leaves the directory alone.
    fn refuse_later(&self, path: &Path, error: Error) -> Result<Error> {
        let mut bytes = [0; HEADER_BYTES];
        let file = self.env.open_read(path);
        let read = file.and_then(|file| file.read_at(0, &mut bytes));
        if read.is_ok() && matches!(FileHeader::decode(&bytes), Err(HeaderError::Newer { .. })) {
            return Err(error);
        }
        Ok(error)
    }

    /// Rebuilds what damaged registry files held from the keys in blocks: series that lie in none
    /// are defined in the log, or have no rows any more.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where a block cannot be read: nothing has changed then, and a series that
    /// only the damaged file knows cannot be written.
    pub(super) fn mend_registry(&self, database: &Database) -> Result<()> {
        let stores = database.stores().clone();
        let mut known = Vec::new();
        for state in stores.policies.values() {
            if let Some(block) = state.damaged.first() {
                return Err(block.error.duplicate());
            }
            for block in &state.blocks {
                for measurement in block.measurements()? {
                    let Some(found) = block.measurement(measurement)? else {
                        continue;
                    };
                    let mut walk = found.walk();
                    while let Some((_, entry)) = walk.advance()? {
                        known.push((self.hasher.hash(&entry.key), entry.id));
                    }
                }
                block.check_intact()?;
            }
        }
        let mut files = database.registry.files();
        files.retain(|file| file.verify_all().is_ok_and(|errors| errors.is_empty()));
        database.registry.mend(files, &known);
        Ok(())
    }

    /// Makes sure that no file gets an id that a file on disk has: what is left of a crash may be
    /// found under it.
    ///
    /// # Errors
    /// `Io` or `Busy` where a folder cannot be read.
    fn note_files(&self) -> Result<()> {
        for folder in FILE_FOLDERS {
            let entries = entries(&*self.env, Path::new(folder))?;
            let ids = entries.iter().filter_map(|entry| file_id(&entry.name));
            let last = ids.max().unwrap_or(0);
            self.last_file.fetch_max(last, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Replays the log and opens it for writing; says whether everything acknowledged was there.
    fn open_log(&self) -> Result<bool> {
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
        let mut seen = Seen::default();
        let mut replay =
            |sequence, kind, payload: &[u8]| self.replay((sequence, kind, payload), &mut seen);
        let env = Arc::clone(&self.env);
        let (wal, report) = Wal::open(env, self.options.wal, start, &mut replay)?;
        for damage in &report.damage {
            self.report(Problem::from_log_damage(damage));
        }
        for span in &report.missing {
            self.report(Problem::from_missing(*span));
        }
        if let Some(torn) = &report.torn {
            drop(self.torn.set(torn.clone()));
        }
        self.settle_seen(seen);
        for database in self.all_databases() {
            forget_without_rows(&database);
        }
        assert!(self.wal.set(wal).is_ok(), "the log is opened once");
        Ok(report.is_complete())
    }

    /// Puts a record of the log where it was before the stop.
    fn replay(
        &self,
        (sequence, kind, payload): (Sequence, u8, &[u8]),
        seen: &mut Seen,
    ) -> Result<()> {
        // The record and what it is decoded to, until it is in a memtable.
        let _charge = self.budget.charge(Class::Replay, 2 * payload.len());
        match kind {
            RECORD_DEFINITIONS => self.replay_definitions(sequence, payload)?,
            RECORD_ROWS => self.replay_rows(sequence, payload, seen)?,
            RECORD_TOMBSTONE if sabotage::is(Fault::DeleteLostAtRestart) => {}
            RECORD_TOMBSTONE => self.replay_tombstone(sequence, payload)?,
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
        if used >= self.options.memtable_bytes
            && !is_full
            && let Err(error) = self.flush()
            && error.kind() != ErrorKind::NoSpace
        {
            return Err(error);
        }
        Ok(())
    }

    fn replay_definitions(&self, sequence: Sequence, payload: &[u8]) -> Result<()> {
        let placed = |error: Error| error.context(&format!("replay record {}", sequence.0));
        let definitions = Definitions::decode(payload).map_err(placed)?;
        let mut sequencer = self.sequencer();
        // Unknown means dropped: a database is made in the manifest first.
        let Some(writer) = sequencer.writers.get_mut(&definitions.database) else {
            self.report_lost_database(definitions.database);
            return Ok(());
        };
        let database = self.all_databases();
        let database = database.iter().find(|one| one.id == definitions.database);
        let database = database.expect("a writer has its database");
        let mut catalog = DatabaseCatalog::clone(&writer.catalog);
        catalog.define(&definitions.names).map_err(placed)?;
        // Names are logged again until they are known to be durable: one record may repeat what
        // another has, or the manifest.
        let mut new = definitions.names.clone();
        drop_known(&mut new, &writer.catalog);
        append(&mut writer.pending, &new);
        writer.catalog = Arc::new(catalog);
        for entry in &definitions.series {
            let key = CanonicalKey(&entry.key);
            if key.measurement().is_none() || key.tags().is_none() {
                let error = Error::new(ErrorKind::Corrupt, "a series has no key");
                return Err(placed(error));
            }
            writer.last_series = writer.last_series.max(entry.id.0);
            let hash = self.hasher.hash(&entry.key);
            // One that a registry file has is defined again for its key alone. Where the file is
            // damaged the log makes up for it.
            if !matches!(database.registry.find(hash), Ok(Some(_))) {
                database.registry.insert([(hash, entry.id)]);
            }
        }
        let stores = database.stores();
        let index = stores.indexes.last().map(Arc::clone);
        drop(stores);
        let index = index.expect("a database has an open index");
        let catalog = Arc::clone(&writer.catalog);
        database.publish(Some(catalog), &index, &[Arc::new(definitions)]);
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

    fn replay_rows(&self, sequence: Sequence, payload: &[u8], seen: &mut Seen) -> Result<()> {
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
                let run = Run::charged(rows, sequence, &self.budget);
                bytes += run.size_bytes();
                memtable.push(Arc::new(run), now);
            }
        }
        sequencer
            .generation
            .bytes
            .fetch_add(bytes, Ordering::AcqRel);
        self.unflushed_bytes.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
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

    /// Removes files that the manifest does not name: what crashed flushes and drops left.
    fn remove_orphans(&self) {
        let state = self.manifest().state().clone();
        for folder in FILE_FOLDERS {
            let folder = Path::new(folder);
            for entry in self.env.list(folder).unwrap_or_default() {
                let path = folder.join(&entry.name);
                let lives = is_named(&state, &path);
                let is_lost = !lives
                    && file_id(&entry.name)
                        .is_some_and(|id| path == block_path(id) && self.is_lost_block(id));
                if !lives && !is_lost && !entry.is_dir {
                    self.remove_file(&path);
                }
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
fn forget_without_rows(database: &Database) {
    let mut stores = database.stores_mut();
    let memtables = stores.policies.values().flat_map(|own| &own.memtables);
    let mut written = RoaringTreemap::new();
    for memtable in memtables {
        for measurement in memtable.measurements() {
            for run in memtable.runs(measurement) {
                written.extend(run.series_of_rows().iter().map(|id| id.0));
            }
        }
    }
    let Some(index) = stores.indexes.last_mut() else {
        return;
    };
    let defined = index.ids_from(0);
    if defined.iter().all(|id| written.contains(id.0)) {
        return;
    }
    let kept = LiveIndex::new();
    let lives = defined.into_iter().filter(|id| written.contains(id.0));
    for entry in lives.filter_map(|id| index.entry(id)) {
        kept.add(&entry);
    }
    *index = Arc::new(kept);
}
