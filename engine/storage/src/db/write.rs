//! Writing: a batch to rows, rows to the log, and what happens when they are durable.

mod resolve;

pub use resolve::{KEY_BYTES_MAX, RejectReason, RejectedRow};

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::budget::Class;
use crate::db::core::{Core, RECORD_DEFINITIONS, RECORD_ROWS, Sequencer, Writer};
use crate::db::database::Database;
use crate::db::stats::Problem;
use crate::db::{Db, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::format::definitions::{Definitions, Names};
use crate::format::rows::encode_rows;
use crate::index::LiveIndex;
use crate::manifest::catalog::DatabaseCatalog;
use crate::memtable::{Memtable, Run};
use crate::model::{Batch, KeyParser, PolicyId, Rows, Sequence, SeriesEntry, SeriesId};
use crate::wal::{Durability, Record, Submission, Ticket as LogTicket, Wal};

/// Definitions in one record of the log, bytes of keys and names at most, near enough.
const DEFINITIONS_BYTES_MAX: usize = 16 << 20;

/// Definitions of series that may wait for the log: beyond, a writer of new series waits for it.
const UNCONFIRMED_SERIES_MAX: usize = 1 << 16;

/// A write on its way to the disk.
#[derive(Debug)]
pub struct Submitted {
    /// Tells when the rows are durable, and visible.
    pub ticket: Ticket,
    /// Rows that are not stored, and why; in the order of their lines.
    pub rejected: Vec<RejectedRow>,
    /// How many rows are on their way.
    pub rows: usize,
    /// How long to hold the acknowledgement back, since memory is getting short: whoever sends the
    /// next write when the last one is answered then sends less.
    pub delay: Duration,
}

/// Tells the fate of a write.
#[derive(Debug)]
pub struct Ticket {
    /// `None` where nothing was left to write.
    log: Option<LogTicket>,
}

impl Ticket {
    /// Blocks until the rows are as durable as was asked, and visible, writing the log itself where
    /// nobody does. How durable they are: more than was asked where others in the group asked for
    /// more. With [`Durability::Memory`] it does not wait, and they are visible a moment later.
    ///
    /// # Errors
    /// `NoSpace`: nothing was written; `Io`: whether the rows will be found after a restart is not
    /// known, and they are not visible now; `Closed`.
    pub fn wait(self) -> Result<Durability> {
        let given = self.log.map(LogTicket::wait).transpose()?;
        Ok(given.map_or(Durability::Disk, |given| given.durability))
    }

    /// The same without blocking; `waker` is woken when there is an outcome. Nobody writes the log
    /// for this: see [`Db::needs_leader`].
    ///
    /// # Errors
    /// As [`Ticket::wait`].
    pub fn poll(&self, waker: &Waker) -> Poll<Result<Durability>> {
        match &self.log {
            None => Poll::Ready(Ok(Durability::Disk)),
            Some(log) => log
                .poll(waker)
                .map(|outcome| outcome.map(|given| given.durability)),
        }
    }
}

/// Rows and where they go.
struct Destination<'db> {
    core: &'db Arc<Core>,
    database: &'db Arc<Database>,
    policy: PolicyId,
    options: WriteOptions,
}

/// What a submission brings besides rows.
struct New {
    definitions: Definitions,
    catalog: Option<DatabaseCatalog>,
}

impl Db {
    /// Sends a batch on its way to `policy` (the default one for `None`) of `database`. Rows that
    /// cannot be stored are rejected one by one, the others are stored. Does not wait for the disk;
    /// but where memory for rows that are not flushed is used up, it flushes first.
    ///
    /// # Errors
    /// `NotFound` for the database or policy; `Limit` for a batch beyond what one record of the log
    /// takes; `Busy` where memory is short; `Busy` or `NoSpace` where rows cannot be flushed; `Io` after a failed sync until the
    /// log goes on; `Corrupt` where a registry file is damaged; `Closed`. Nothing is stored then.
    ///
    /// # Panics
    /// If the batch contradicts itself: vectors of different lengths, a key outside its text.
    #[expect(
        clippy::too_many_arguments,
        reason = "where, what, how to read it, how safe: each of its own type"
    )]
    pub fn write(
        &self,
        database: &str,
        policy: Option<&str>,
        mut batch: Batch<'_>,
        parser: &dyn KeyParser,
        options: WriteOptions,
    ) -> Result<Submitted> {
        let core = &self.core;
        let database = core.database(database)?;
        let policy = database.policy(policy)?;
        let delay = core.make_room()?;
        let destination = Destination {
            core,
            database: &database,
            policy: policy.id,
            options,
        };
        let late = resolve::reject_late(&mut batch, policy.earliest(core.env.now_ns()));
        let mut submitted = destination.write(batch, parser)?;
        submitted.delay = delay;
        if !late.is_empty() {
            submitted.rejected.extend(late);
            submitted.rejected.sort_by_key(|row| row.line);
        }
        let counters = &core.counters;
        let (rows, rejected) = (submitted.rows as u64, submitted.rejected.len() as u64);
        counters.rows_written.fetch_add(rows, Ordering::Relaxed);
        counters
            .rows_rejected
            .fetch_add(rejected, Ordering::Relaxed);
        Ok(submitted)
    }

    /// Whether writes are queued and nobody writes them: whoever polls tickets asks this after
    /// [`Db::write`] and has [`Db::lead`] called on a thread that may block.
    pub fn needs_leader(&self) -> bool {
        self.core.wal().is_ok_and(Wal::needs_leader)
    }

    /// Writes and syncs what is queued, unless somebody does already. Blocks on the disk.
    pub fn lead(&self) {
        if let Ok(wal) = self.core.wal() {
            wal.lead();
        }
    }
}

/// Rows of one record each, encoded.
struct Encoded {
    groups: Vec<(Vec<u8>, Vec<Rows>)>,
    row_count: usize,
}

/// What a writer saw before it looked keys up.
struct Seen {
    /// What lookups say holds as long as this does.
    epoch: u64,
    catalog: Arc<DatabaseCatalog>,
    /// They know every series that the front cache did.
    indexes: Vec<Arc<LiveIndex>>,
}

impl Destination<'_> {
    fn write(&self, mut batch: Batch<'_>, parser: &dyn KeyParser) -> Result<Submitted> {
        resolve::check_size(&batch)?;
        let limits = &self.core.options.limits;
        self.check_partitions(&batch)?;
        let seen = self.look();
        let lookups = resolve::look_up(&batch, self.database);
        if !resolve::has_long_strings(&batch, limits)
            && let Some(rows) = resolve::bind_known(&mut batch, &lookups, &seen.catalog)
        {
            return self.write_known(rows, &seen);
        }
        drop(lookups);
        self.settle_definitions()?;
        let mut sequencer = self.core.sequencer();
        let writer = self.writer(&mut sequencer)?;
        let last = writer.last_series;
        let now = self.core.env.monotonic();
        let memory = self.core.index_is_full();
        let bounds = resolve::Bounds {
            limits,
            now,
            memory,
        };
        let known = (&*writer.catalog, last);
        let bound = resolve::bind_new(batch, self.database, known, parser, bounds);
        let bound = bound.map_err(|error| self.mend(error))?;
        let new = New {
            definitions: bound.definitions,
            catalog: bound.catalog,
        };
        let encoded = self.encode(bound.rows);
        let rows = encoded.row_count;
        let ticket = self.submit(&mut sequencer, encoded, new)?;
        Ok(Submitted {
            ticket,
            rejected: bound.rejected,
            rows,
            delay: Duration::ZERO,
        })
    }

    /// # Errors
    /// `Limit` where the batch touches too many partitions.
    fn check_partitions(&self, batch: &Batch<'_>) -> Result<()> {
        let catalog = Arc::clone(&self.database.stores().catalog);
        let policy = catalog.policy_by_id(self.policy);
        policy.map_or(Ok(()), |policy| {
            resolve::check_partitions(batch, policy, &self.core.options.limits)
        })
    }

    /// Has the definitions that wait for the log written before more are made: where the disk is
    /// full they would grow with every write that is refused.
    fn settle_definitions(&self) -> Result<()> {
        if self.database.unconfirmed_count() < UNCONFIRMED_SERIES_MAX {
            return Ok(());
        }
        let nothing = self.encode(Vec::new());
        let new = New::nothing(self.database);
        let ticket = self.submit(&mut self.core.sequencer(), nothing, new)?;
        ticket.wait().map(drop)
    }

    fn look(&self) -> Seen {
        let epoch = self.core.epoch.load(Ordering::Acquire);
        let stores = self.database.stores();
        Seen {
            epoch,
            catalog: Arc::clone(&stores.catalog),
            indexes: stores.indexes.clone(),
        }
    }

    /// Rows that define nothing: encoded before the lock is taken.
    fn write_known(&self, rows: Vec<Rows>, seen: &Seen) -> Result<Submitted> {
        let mut encoded = self.encode(rows);
        let rows = encoded.row_count;
        let mut sequencer = self.core.sequencer();
        let writer = self.writer(&mut sequencer)?;
        let mut new = New::nothing(self.database);
        if self.core.epoch.load(Ordering::Acquire) != seen.epoch {
            // A flush or a drop came between. Rows of a dropped measurement count as written before
            // the drop; series are defined once more, for the log behind a flush knows none.
            let catalog = Arc::clone(&writer.catalog);
            let lives = |rows: &Rows| catalog.measurement_by_id(rows.measurement).is_some();
            if !encoded.rows().all(lives) {
                encoded = self.encode(encoded.into_rows().filter(lives).collect());
            }
            new.definitions.series = self.keys(&encoded, seen)?;
            self.keep(&new.definitions.series)?;
        }
        let ticket = self.submit(&mut sequencer, encoded, new)?;
        Ok(Submitted {
            ticket,
            rejected: Vec::new(),
            rows,
            delay: Duration::ZERO,
        })
    }

    /// What a write that met `error` is to say: where a registry file is damaged, it is rebuilt from
    /// the blocks, and the write can be repeated.
    fn mend(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        self.core.report(Problem::from_error(&error));
        match self.core.mend_registry(self.database) {
            Ok(()) => {
                let message = format!("a registry of series was damaged and is rebuilt: {error}");
                Error::new(ErrorKind::Busy, message)
            }
            Err(_) => error,
        }
    }

    /// The keys of all series of the rows that the next submission does not log anyway.
    fn keys(&self, encoded: &Encoded, seen: &Seen) -> Result<Vec<SeriesEntry>> {
        let mut series: Vec<SeriesId> = encoded
            .rows()
            .flat_map(|rows| rows.series.iter().copied())
            .collect();
        series.sort_unstable();
        series.dedup();
        let unconfirmed = self.database.unconfirmed_series();
        series.retain(|id| unconfirmed.binary_search(id).is_err());
        let find = |id| seen.indexes.iter().find_map(|index| index.entry(id));
        let entries = series.into_iter().map(find);
        let entries: Option<Vec<SeriesEntry>> = entries.collect();
        entries.ok_or_else(|| Error::new(ErrorKind::Busy, "a series is being defined"))
    }

    /// Has the registry know series that were looked up before a flush: it may have let go of them
    /// since. The caller holds the sequencing lock.
    ///
    /// # Errors
    /// `Busy` where a key has another series by now: the write is to look it up again.
    fn keep(&self, series: &[SeriesEntry]) -> Result<()> {
        let registry = &self.database.registry;
        for entry in series {
            let hash = self.database.hasher.hash(&entry.key);
            match registry.find(hash)? {
                Some(known) if known == entry.id => {}
                None => registry.insert([(hash, entry.id)]),
                Some(_) => {
                    let message = "a series was retired while it was written to: repeat the write";
                    return Err(Error::new(ErrorKind::Busy, message));
                }
            }
        }
        Ok(())
    }

    fn encode(&self, rows: Vec<Rows>) -> Encoded {
        let row_count = rows.iter().map(Rows::len).sum();
        let groups = resolve::groups(rows).into_iter().map(|rows| {
            let mut payload = self.core.wal().map_or_else(|_| Vec::new(), Wal::buffer);
            encode_rows(self.database.id, self.policy, &rows, &mut payload);
            (payload, rows)
        });
        Encoded {
            groups: groups.collect(),
            row_count,
        }
    }

    /// Queues rows and what they need. From here on others may rely on what is new, whether or not
    /// this succeeds: what is not known to be durable is logged again with the next write.
    fn submit(&self, sequencer: &mut Sequencer, encoded: Encoded, new: New) -> Result<Ticket> {
        let wal = self.core.wal()?;
        let settled = self.core.settle();
        let (memtable, index) = self.open_stores()?;
        let writer = self.writer(sequencer)?;
        if let Some(catalog) = new.catalog {
            writer.catalog = Arc::new(catalog);
            append(&mut writer.pending, &new.definitions.names);
        }
        let last_series = new.definitions.series.iter().map(|entry| entry.id.0).max();
        writer.last_series = writer.last_series.max(last_series.unwrap_or(0));
        let defined = new.definitions.series.len() as u64;
        let catalog = Arc::clone(&writer.catalog);
        let (number, definitions) = self.database.unconfirmed(new.definitions);
        let mut records = Vec::new();
        for definitions in &definitions {
            definition_records(definitions, wal, &mut records);
        }
        let before = records.len() as u64;
        let mut groups = Vec::with_capacity(encoded.groups.len());
        for (payload, rows) in encoded.groups {
            records.push((RECORD_ROWS, payload));
            groups.push(rows);
        }
        if records.is_empty() {
            return Ok(Ticket { log: None });
        }
        let last = records.len() as u64 - 1;
        let payloads = records.iter().map(|(_, payload)| payload.len());
        let rows = groups.iter().flatten().map(Rows::size_bytes);
        let bytes = payloads.chain(rows).sum();
        let charge = self.core.budget.charge(Class::Ingest, bytes);
        let now = self.core.env.monotonic();
        let generation = &sequencer.generation;
        generation.began.get_or_init(|| now);
        let in_flight = generation.enter();
        let (core, database) = (Arc::clone(self.core), Arc::clone(self.database));
        let apply = move |first: Sequence| {
            if !definitions.is_empty() {
                database.publish(Some(catalog), &index, &definitions);
                database.confirm(number);
                core.counters
                    .series_defined
                    .fetch_add(defined, Ordering::Relaxed);
            }
            let mut bytes = 0;
            for (group, sequence) in groups.into_iter().zip(first.0 + before..) {
                for rows in group {
                    let sequence = Sequence(sequence);
                    let run = Run::charged(rows, (sequence, sequence), &core.budget);
                    bytes += run.size_bytes();
                    memtable.push(Arc::new(run), now);
                }
            }
            // By now the rows are counted as those of memtables.
            drop(charge);
            core.applied(&in_flight, Sequence(first.0 + last), bytes);
        };
        let submission = Submission::new(records, apply).durability(self.options.durability());
        settled?;
        let log = wal.submit(submission)?;
        Ok(Ticket { log: Some(log) })
    }

    fn open_stores(&self) -> Result<(Arc<Memtable>, Arc<LiveIndex>)> {
        let stores = self.database.open_stores(self.policy);
        stores.ok_or_else(|| self.gone())
    }

    fn writer<'lock>(&self, sequencer: &'lock mut Sequencer) -> Result<&'lock mut Writer> {
        let writer = sequencer.writers.get_mut(&self.database.id);
        writer.ok_or_else(|| self.gone())
    }

    /// The policy, or the database with it, went while the write was on its way.
    fn gone(&self) -> Error {
        let stores = self.database.stores();
        let name = stores.catalog.name();
        let message = match self.core.database(name) {
            Ok(_) => "retention policy not found: it was dropped meanwhile".into(),
            Err(_) => format!("database not found: {name:?}"),
        };
        Error::new(ErrorKind::NotFound, message)
    }
}

impl New {
    fn nothing(database: &Database) -> New {
        New {
            definitions: Definitions {
                database: database.id,
                names: Names::default(),
                series: Vec::new(),
            },
            catalog: None,
        }
    }
}

impl Encoded {
    fn rows(&self) -> impl Iterator<Item = &Rows> {
        self.groups.iter().flat_map(|(_, rows)| rows)
    }

    fn into_rows(self) -> impl Iterator<Item = Rows> {
        self.groups.into_iter().flat_map(|(_, rows)| rows)
    }
}

/// Appends names.
pub(super) fn append(names: &mut Names, more: &Names) {
    names.measurements.extend_from_slice(&more.measurements);
    names.tag_keys.extend_from_slice(&more.tag_keys);
    names.fields.extend_from_slice(&more.fields);
    names.pairs.extend_from_slice(&more.pairs);
}

/// Appends the records of definitions, in pieces that the log takes: names first.
fn definition_records(definitions: &Definitions, wal: &Wal, records: &mut Vec<Record>) {
    let mut rest = &definitions.series[..];
    let nothing = Names::default();
    let mut names = &definitions.names;
    loop {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|entry| {
                bytes += entry.key.len() + 16;
                bytes <= DEFINITIONS_BYTES_MAX
            })
            .count();
        let (piece, later) = rest.split_at(count);
        let mut payload = wal.buffer();
        payload.reserve(bytes.min(DEFINITIONS_BYTES_MAX));
        Definitions::encode_parts(definitions.database, names, piece, &mut payload);
        records.push((RECORD_DEFINITIONS, payload));
        (names, rest) = (&nothing, later);
        if rest.is_empty() {
            return;
        }
    }
}
