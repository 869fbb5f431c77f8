//! Opening, asking, keeping and closing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use silverback_query::result::{QueryError, QueryOptions, ResultSink};
use silverback_query::running::RunningQueries;
use silverback_query::source::Catalog as _;
use silverback_query::statement;
use silverback_storage::Result;
use silverback_storage::budget::Budget;
use silverback_storage::db::{
    CheckOptions, CheckReport, Db, DbOptions, DbStats, Discarded, RetentionWait, VerifyReport,
};
use silverback_storage::env::{Env, RealEnv, RealOptions};
use silverback_storage::model::{KeyHasher, PolicyChange, PolicyInfo, PolicySpec};
use silverback_storage::upkeep::backup::{BackupProgress, BackupReport, RestoreReport, restore};

use crate::answer::{Answer, Collector};

/// How a directory is opened.
#[derive(Clone, Debug)]
pub struct Options {
    path: PathBuf,
    map_files: bool,
    storage: DbOptions,
}

impl Options {
    /// The directory `path`, made where it is missing, with the default settings.
    pub fn new(path: impl AsRef<Path>) -> Options {
        let path = path.as_ref().to_owned();
        Options {
            path,
            map_files: false,
            storage: DbOptions::default(),
        }
    }

    /// Reads blocks through memory maps: faster, but if another program cuts a file that is
    /// mapped, or the disk under it fails, this process gets a `SIGBUS`, which is an error of the
    /// query only after [`crate::guard_mapped_files`]. Off by default.
    #[must_use]
    pub fn map_files(mut self, map_files: bool) -> Options {
        self.map_files = map_files;
        self
    }

    /// The settings of the storage engine.
    #[must_use]
    pub fn storage(mut self, storage: DbOptions) -> Options {
        self.storage = storage;
        self
    }
}

/// An open data directory.
#[derive(Debug)]
pub struct Silverback {
    db: Arc<Db>,
    env: Arc<dyn Env>,
    running: Arc<RunningQueries>,
}

impl Silverback {
    /// Opens the directory of `options` for this process alone, and recovers what the last owner
    /// acknowledged. Cost: one small read a file, and the log since the last flush.
    ///
    /// # Errors
    /// `Conflict` where another process has it, named; `Invalid` where the directory is of a newer
    /// format; `Corrupt` where the manifest or acknowledged records are damaged; `Io`, `NoSpace`.
    pub fn open(options: Options) -> Result<Silverback> {
        let Options {
            path,
            map_files,
            storage,
        } = options;
        let real = RealOptions { mmap: map_files };
        let env: Arc<dyn Env> = Arc::new(RealEnv::new(&path, real));
        let db = Arc::new(Db::open(Arc::clone(&env), storage)?);
        let running = Arc::default();
        Ok(Silverback { db, env, running })
    }

    /// Whether the directory `path` has data. Makes and changes nothing, and takes no lock:
    /// [`Silverback::open`] makes what is missing, which is wrong where a name may be mistyped.
    ///
    /// # Errors
    /// `Corrupt` where there is data without what names it; `Io`, `Busy`.
    pub fn has_data(path: impl AsRef<Path>) -> Result<bool> {
        Db::is_there(&*unmapped(path.as_ref()))
    }

    /// Makes a database; one of that name is fine. Durable when it returns.
    ///
    /// # Errors
    /// `Invalid` for a name that none can have; `Io`, `NoSpace`.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.db.create_database(name, &PolicySpec::default())
    }

    /// Makes a retention policy of `database`; one that exists as asked is fine. Durable when it
    /// returns. `makes_default`: whether writes and queries that name no policy mean it.
    ///
    /// # Errors
    /// `NotFound` for the database; `Invalid` for a name or durations that none can have;
    /// `Conflict` where one of that name is another; `Io`, `NoSpace`.
    pub fn create_policy(
        &self,
        database: &str,
        spec: &PolicySpec,
        makes_default: bool,
    ) -> Result<()> {
        self.db.create_policy(database, spec, makes_default)
    }

    /// Changes a retention policy: at once, and for what it holds already. What is past its time
    /// then is dropped, unless that has to wait ([`Silverback::retention_waits`]). Durable when it
    /// returns.
    ///
    /// # Errors
    /// `NotFound` for the database or the policy; `Invalid` for durations that none can have
    /// together; `Io`, `NoSpace`.
    pub fn alter_policy(&self, database: &str, name: &str, change: &PolicyChange) -> Result<()> {
        self.db.alter_policy(database, name, change)
    }

    /// Drops a retention policy with all its points; none of that name is fine. Durable when it
    /// returns.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    pub fn drop_policy(&self, database: &str, name: &str) -> Result<()> {
        self.db.drop_policy(database, name)
    }

    /// Passes of retention that wait: they would drop more than half of a database's partitions, or
    /// the clock has jumped ahead by more than a day. They go on after an hour, or when confirmed.
    pub fn retention_waits(&self) -> Vec<RetentionWait> {
        self.db.retention_waits()
    }

    /// Drops now what waits to be dropped. Returns how many blocks that changed.
    ///
    /// # Errors
    /// `Io`, `NoSpace`; it is tried again by itself.
    pub fn confirm_retention(&self) -> Result<u64> {
        self.db.confirm_retention()
    }

    /// Gives up a damaged block, by its file under the data directory (`blocks/<id>.blk`): its points count as gone,
    /// and what could not be answered whole is answered without them. The file is moved into `quarantine/`.
    ///
    /// # Errors
    /// `NotFound` where no such block counts, `Conflict` where it is not known to be damaged, `Io`, `NoSpace`.
    pub fn discard_damaged_block(&self, file: &Path) -> Result<Discarded> {
        self.db.discard_damaged_block(file)
    }

    /// The retention policies of `database`, sorted by name; `None` where there is no such database.
    pub fn policies(&self, database: &str) -> Option<Vec<PolicyInfo>> {
        let snapshot = self.db.snapshot(database)?;
        Some(snapshot.catalog().policies().to_vec())
    }

    /// The names of the databases, sorted.
    pub fn databases(&self) -> Vec<Box<str>> {
        self.catalog().databases()
    }

    /// Whether there is a database `name`.
    pub fn has_database(&self, name: &str) -> bool {
        self.db.databases().iter().any(|own| **own == *name)
    }

    /// The hasher that keys of a batch are hashed with.
    pub fn hasher(&self) -> KeyHasher {
        self.db.hasher()
    }

    /// Asks `InfluxQL` of `database`, several statements behind semicolons, and gives the whole
    /// answer. Statements that change something do so.
    ///
    /// # Errors
    /// `Parse`, naming line and character, before anything is run. What goes wrong in a statement
    /// stands in its [`crate::StatementAnswer::error`].
    pub fn query(&self, database: &str, text: &str) -> std::result::Result<Answer, QueryError> {
        let mut options = QueryOptions {
            now_ns: self.now_ns(),
            ..QueryOptions::default()
        };
        options.database = Some(database.into());
        let mut collector = Collector::default();
        self.query_into(text, &options, &mut collector)?;
        Ok(collector.answer)
    }

    /// As [`Silverback::query`], the answer as a stream into `sink`.
    ///
    /// # Errors
    /// As [`Silverback::query`].
    pub fn query_into(
        &self,
        text: &str,
        options: &QueryOptions,
        sink: &mut dyn ResultSink,
    ) -> std::result::Result<(), QueryError> {
        let stop = Arc::clone(&options.stop);
        let memory = self.db.budget().enter_query(move || stop.give_way());
        let options = QueryOptions {
            memory: Some(memory),
            running: Some(Arc::clone(&self.running)),
            ..options.clone()
        };
        statement::execute(&self.catalog(), text, &options, sink)
    }

    /// The queries that run, to be listed and stopped.
    pub fn running_queries(&self) -> &RunningQueries {
        &self.running
    }

    /// Writes what is in memory to blocks and lets go of the log behind them.
    ///
    /// # Errors
    /// `Io`, `NoSpace`; nothing is lost.
    pub fn flush(&self) -> Result<()> {
        self.db.flush()
    }

    /// Flushes, then merges blocks until the store is in its final form.
    ///
    /// # Errors
    /// As [`Silverback::flush`]; `Corrupt` where a block to be merged is damaged.
    pub fn compact(&self) -> Result<()> {
        self.db.compact()
    }

    /// The memory budget, which those above the engine count what they hold in too.
    pub fn budget(&self) -> &Arc<Budget> {
        self.db.budget()
    }

    /// Counts and sizes, and what is wrong.
    pub fn stats(&self) -> DbStats {
        self.db.stats()
    }

    /// Whether writes are queued that nobody writes to the log: whoever polls a
    /// [`crate::PendingWrite`] asks this after it submitted, and has [`Silverback::lead`] called on
    /// a thread that may block.
    pub fn needs_leader(&self) -> bool {
        self.db.needs_leader()
    }

    /// Writes and syncs what others wait for by [`crate::PendingWrite::poll`], if nobody does so
    /// already. Blocks as long as that takes.
    pub fn lead(&self) {
        self.db.lead();
    }

    /// Flushes and marks the directory as cleanly closed; writes are refused from then on. The
    /// directory is let go of when the value is dropped. Dropping without closing loses nothing that
    /// was acknowledged either: the next opening reads the log.
    ///
    /// # Errors
    /// As [`Silverback::flush`].
    pub fn close(&self) -> Result<()> {
        self.db.close()
    }

    /// Reads every finished file from the disk at once and verifies each checksum. A background step
    /// does so all the time, slowly.
    ///
    /// # Errors
    /// `Closed` where the store is being closed. What is wrong stands in the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.db.verify()
    }

    /// Makes the directory `path` a backup: everything acknowledged before the call is in it, and
    /// every file was read back. Writes and queries go on meanwhile. A later backup into the same
    /// directory adds what is new; whatever stops it, the one that was there stays valid.
    /// `progress` is told some times a second, and ends the work by an error.
    ///
    /// # Errors
    /// `Invalid` where the directory holds something else; `Conflict` where it holds a backup of
    /// another data directory or another process works on it; `Corrupt` where a file of the store is
    /// damaged; `Io`, `NoSpace`; what `progress` answers.
    pub fn backup(
        &self,
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(BackupProgress) -> Result<()>,
    ) -> Result<BackupReport> {
        let path = path.as_ref();
        let made = self.db.backup(&unmapped(path), progress);
        made.map_err(|error| error.context(&format!("back up into {}", path.display())))
    }

    /// Makes `data_dir`, which is empty or not there, the data directory that `backup` is a backup
    /// of. The backup stays as it is.
    ///
    /// # Errors
    /// `NotFound` where there is no complete backup; `Invalid` where `data_dir` is not empty;
    /// `Corrupt` where a file of the backup is damaged or missing; `Conflict` where a newer build
    /// wrote it or another process works on either; `Io`, `NoSpace`; what `progress` answers.
    pub fn restore(
        backup: impl AsRef<Path>,
        data_dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(BackupProgress) -> Result<()>,
    ) -> Result<RestoreReport> {
        let source = unmapped(backup.as_ref());
        restore(&*source, &unmapped(data_dir.as_ref()), progress)
    }

    /// Reads every file of the directory `path`, without its lock and without changing it, and
    /// lists what is damaged; a deep check decodes all that blocks hold, too. `progress` is told
    /// after each file how many bytes of how many are done.
    ///
    /// # Errors
    /// `Corrupt` where the manifest cannot be read; `Conflict` where it is of a newer format; `Io`.
    pub fn check_with(
        path: impl AsRef<Path>,
        options: CheckOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<CheckReport> {
        Db::check_with(&unmapped(path.as_ref()), options, progress)
    }

    /// As [`Silverback::check_with`], verifying checksums alone.
    ///
    /// # Errors
    /// As [`Silverback::check_with`].
    pub fn check(path: impl AsRef<Path>) -> Result<CheckReport> {
        Db::check(&unmapped(path.as_ref()))
    }

    /// The engine below.
    pub(crate) fn db(&self) -> &Arc<Db> {
        &self.db
    }

    /// The clock's time, ns UTC.
    pub fn now_ns(&self) -> i64 {
        self.env.now_ns()
    }
}

/// A directory whose files are read by descriptor.
fn unmapped(path: &Path) -> Arc<dyn Env> {
    Arc::new(RealEnv::new(path, RealOptions { mmap: false }))
}
