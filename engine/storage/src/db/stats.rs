//! What a store counts, and what is wrong with it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::db::Db;
use crate::db::core::{Core, PROBLEMS_LISTED_MAX};
use crate::db::retention::RetentionWait;
use crate::db::scrub::ScrubCounters;
use crate::error::Error;
use crate::wal::{Damage, SequenceSpan, TornTail, Wal, WalCounters};

/// Something that is wrong and does not keep the store from serving the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One sentence.
    pub message: String,
    /// The file, where it is one file.
    pub file: Option<PathBuf>,
    /// Where in the file, bytes.
    pub offset: u64,
}

/// What compaction came to since the store was opened, and what it is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionCounters {
    /// Merges that are done.
    pub merges: u64,
    /// Rows that went through, of those that are not done too.
    pub rows: u64,
    /// Bytes of blocks that were merged.
    pub bytes_read: u64,
    /// Bytes of blocks that took their place.
    pub bytes_written: u64,
    /// Time that merges rested, us: their rate grows with what there is to merge.
    pub paused_us: u64,
    /// Bytes of blocks that wait to be merged.
    pub debt_bytes: u64,
    /// Rows of the merge that runs; 0 where none does.
    pub job_rows: u64,
    /// How many of them went through.
    pub job_rows_done: u64,
}

/// Figures of an open store.
#[derive(Clone, Debug, Default)]
pub struct DbStats {
    /// Databases.
    pub databases: u64,
    /// Measurements of all of them.
    pub measurements: u64,
    /// Series ever made, of the databases that live.
    pub series: u64,
    /// Live blocks.
    pub blocks: u64,
    /// Their size, bytes.
    pub block_bytes: u64,
    /// Their rows; a row written twice may count twice until compaction.
    pub block_rows: u64,
    /// Blocks that cannot be opened, and those in which a reader met damage.
    pub damaged_blocks: u64,
    /// Deletes that may hide rows which are stored yet.
    pub tombstones: u64,
    /// Rows in memory.
    pub memtable_rows: u64,
    /// What they take, bytes.
    pub memtable_bytes: u64,
    /// What indexes of series in memory and the registries take, bytes.
    pub index_bytes: u64,
    /// Registry files.
    pub registry_files: u64,
    /// Series in them; one may stand in several until they are merged.
    pub registry_series: u64,
    /// Series that left the registry files since the store was opened: they had no rows any more.
    pub series_retired: u64,
    /// Rows taken since the store was opened.
    pub rows_written: u64,
    /// Rows rejected since then.
    pub rows_rejected: u64,
    /// Series defined in the log since then; one counts again after each flush.
    pub series_defined: u64,
    /// Flushes since then.
    pub flushes: u64,
    /// Rows flushed since then.
    pub flushed_rows: u64,
    /// What compaction came to since then, and what it is at.
    pub compaction: CompactionCounters,
    /// Blocks that retention dropped or cut since then.
    pub retention_blocks: u64,
    /// Passes of retention that wait before they drop anything.
    pub retention_waits: Vec<RetentionWait>,
    /// What the log counts.
    pub log: WalCounters,
    /// What is wrong, the first thousand: what was found when the store was opened, damage that a
    /// reader met since, and what background work fails at as of now.
    pub problems: Vec<Problem>,
    /// How much is wrong; damage in one file counts for at most 16.
    pub problem_count: u64,
    /// What a crash left unfinished at the end of the log, and was cut off it when the store was opened. That is how
    /// damage of the very last writes looks, too.
    pub torn: Option<TornTail>,
    /// What online verification came to.
    pub scrub: ScrubCounters,
    /// Space on the disk that is kept back, bytes.
    pub reserve_bytes: u64,
}

impl Problem {
    /// What an error says.
    pub(super) fn from_error(error: &Error) -> Problem {
        let place = error.place();
        Problem {
            message: error.to_string(),
            file: place.map(|place| place.file.clone()),
            offset: place.map_or(0, |place| place.offset),
        }
    }

    pub(super) fn from_log_damage(damage: &Damage) -> Problem {
        let lost = damage.lost.map_or_else(String::new, |span| {
            let SequenceSpan { first, last } = span;
            format!("; writes {} to {} are lost", first.0, last.0)
        });
        Problem {
            message: format!("{} bytes of the log are damaged{lost}", damage.bytes),
            file: Some(damage.file.clone()),
            offset: damage.offset,
        }
    }

    pub(super) fn from_missing(span: SequenceSpan) -> Problem {
        let SequenceSpan { first, last } = span;
        Problem {
            message: format!(
                "acknowledged writes {} to {} are missing from the log",
                first.0, last.0
            ),
            file: None,
            offset: 0,
        }
    }

    pub(super) fn rows_without_key(rows: u64) -> Problem {
        Problem {
            message: format!("{rows} rows were dropped: the log has lost the keys of their series"),
            file: None,
            offset: 0,
        }
    }
}

impl Core {
    fn compaction_counters(&self) -> CompactionCounters {
        let totals = &self.counters.compaction;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let job_rows = read(&totals.job_rows);
        CompactionCounters {
            merges: read(&totals.merges),
            rows: read(&totals.rows),
            bytes_read: read(&totals.bytes_read),
            bytes_written: read(&totals.bytes_written),
            paused_us: read(&totals.paused_us),
            debt_bytes: read(&totals.debt_bytes),
            job_rows,
            // A row that is written in several blocks counts in each, and one that stands in several once.
            job_rows_done: read(&totals.job_rows_done).min(job_rows),
        }
    }
}

impl Db {
    /// Figures as of now. Cost: a look at each memtable and block.
    pub fn stats(&self) -> DbStats {
        let core = &self.core;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (mut problems, mut problem_count) = core.problems();
        let mut note = |errors: &[Error]| {
            problem_count += errors.len() as u64;
            let room = PROBLEMS_LISTED_MAX.saturating_sub(problems.len());
            problems.extend(errors.iter().take(room).map(Problem::from_error));
        };
        let mut stats = DbStats {
            rows_written: read(&core.counters.rows_written),
            rows_rejected: read(&core.counters.rows_rejected),
            series_defined: read(&core.counters.series_defined),
            flushes: read(&core.counters.flushes),
            flushed_rows: read(&core.counters.flushed_rows),
            compaction: core.compaction_counters(),
            series_retired: read(&core.counters.series_retired),
            retention_blocks: read(&core.counters.retention_blocks),
            retention_waits: self.retention_waits(),
            log: core.wal().map(Wal::counters).unwrap_or_default(),
            torn: core.torn.get().cloned(),
            scrub: core.scrub_counters(),
            reserve_bytes: core.reserve_bytes(),
            ..DbStats::default()
        };
        for database in core.all_databases() {
            stats.databases += 1;
            let stores = database.stores().clone();
            stats.measurements += stores.catalog.measurements().len() as u64;
            stats.index_bytes += database.registry.size_bytes() as u64;
            stats.tombstones += stores.tombstones.iter().len() as u64;
            for file in database.registry.files() {
                stats.registry_files += 1;
                stats.registry_series += file.meta().series_count;
                note(&file.problems());
            }
            let indexes = stores.indexes.iter();
            stats.index_bytes += indexes.map(|index| index.size_bytes() as u64).sum::<u64>();
            for state in stores.policies.values() {
                stats.blocks += state.blocks.len() as u64;
                stats.damaged_blocks += state.damaged.len() as u64;
                for block in &state.blocks {
                    stats.block_bytes += block.meta().size_bytes;
                    stats.block_rows += block.meta().row_count;
                    let found = block.file().problems();
                    stats.damaged_blocks += u64::from(!found.is_empty());
                    note(&found);
                }
                for memtable in &state.memtables {
                    stats.memtable_rows += memtable.row_count() as u64;
                    stats.memtable_bytes += memtable.size_bytes() as u64;
                }
            }
        }
        (stats.problems, stats.problem_count) = (problems, problem_count);
        let sequencer = core.sequencer();
        stats.series = sequencer
            .writers
            .values()
            .map(|writer| writer.last_series)
            .sum();
        stats
    }
}
