//! Opening a directory: lock, manifest, blocks, log; in that order, and nothing touched before the
//! lock is held.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::db::core::{Core, Parts, lock};
use crate::db::database::Database;
use crate::db::files::{file_id, is_named};
use crate::db::flush::open_block;
use crate::db::memory::TICK;
use crate::db::stats::Problem;
use crate::db::{Db, DbOptions};
use crate::env::{DirEntry, Env, StepOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::block_path;
use crate::format::header::{FileHeader, HEADER_BYTES, HeaderError};
use crate::index::registry::{Registry, RegistryFile};
use crate::manifest::catalog::DatabaseCatalog;
use crate::manifest::{CURRENT, Manifest, State};
use crate::sabotage::{self, Fault};
use crate::snapshot::SetAside;
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
        // One thread is that of whoever asks.
        let threads = core.env.cores().saturating_sub(1);
        let workers = Workers::start(&*core.env, threads, &core.budget)?;
        drop(core.workers.set(workers));
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
