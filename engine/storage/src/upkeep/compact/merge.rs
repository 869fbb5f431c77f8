//! Merges blocks into one for each partition, or into one for all. The sources are read once, or where
//! the blocks of all partitions do not fit in memory side by side, once for as many as do. Memory: of
//! every source the page at hand of each column, and what the blocks being written take (`plan`).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::block::{Block, Measurement};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::{BlockMeta, block_path};
use crate::model::{FieldId, FieldType, MeasurementId, TimeRange, Tombstones};
use crate::sabotage::{self, Fault};
use crate::upkeep::compact::outputs::{Outputs, partition_range};
use crate::upkeep::compact::plan::{Counts, is_split, passes};
use crate::upkeep::compact::series::{Source, write_measurement};
use crate::upkeep::compact::{Goal, Layout, Memory, partition};

/// What is to be merged, and for whom.
pub struct Compaction<'job> {
    /// Where files are made.
    pub env: &'job Arc<dyn Env>,
    /// The data directory.
    pub directory_id: u128,
    /// Blocks of one database and policy, oldest first; of each, rows outside its manifest's range
    /// are left out.
    pub blocks: &'job [Arc<Block>],
    /// Width of a partition, ns.
    pub partition_ns: i64,
    /// Deletes: what they hide is left out.
    pub tombstones: &'job Tombstones,
    /// What the new blocks are for.
    pub goal: Goal,
    /// Whether a measurement lives; rows of others are left out.
    pub is_live: &'job dyn Fn(MeasurementId) -> bool,
    /// Whether a measurement has a field; values of others are left out.
    pub has_field: &'job dyn Fn(MeasurementId, FieldId) -> bool,
    /// What becomes of rows of several partitions.
    pub layout: &'job Layout,
    /// What it may take.
    pub memory: Memory,
    /// Told now and then what went through since it was told last; says whether to go on. It may pause.
    pub proceed: &'job dyn Fn(Taken) -> bool,
}

/// What went through a merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Rows.
    pub rows: u64,
    /// Their times and values in memory, bytes, each counted as 8.
    pub bytes: u64,
}

/// What a string is taken to need in memory at least, bytes.
const STRING_BYTES: u64 = 64;
/// How much smaller strings are taken to be on disk at most.
const STRING_PACKED: u64 = 4;

impl fmt::Debug for Compaction<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u64> = self
            .blocks
            .iter()
            .map(|block| block.meta().file_id)
            .collect();
        out.debug_struct("Compaction")
            .field("blocks", &ids)
            .finish_non_exhaustive()
    }
}

/// Merges the blocks into new ones, where they are split one for each partition that has rows, ascending
/// by time, under ids that `next_file_id` gives. They are durable under their names; the manifest is the caller's, and the
/// sources stay as they are.
///
/// # Errors
/// `Corrupt` where a source is damaged, `Closed` where it was stopped, `Io`, `NoSpace`. What was
/// written until then is taken away again.
///
/// # Panics
/// If there are no blocks.
pub fn compact(
    job: &Compaction<'_>,
    next_file_id: &mut dyn FnMut() -> u64,
) -> Result<Vec<BlockMeta>> {
    let mut done = Vec::new();
    let written = write_partitions(job, next_file_id, &mut done);
    if written.is_err() {
        for meta in &done {
            // What cannot be removed is not in the manifest and goes at the next start.
            job.env.remove(&block_path(meta.file_id)).ok();
        }
    }
    written.map(|()| done)
}

fn write_partitions(
    job: &Compaction<'_>,
    next_file_id: &mut dyn FnMut() -> u64,
    done: &mut Vec<BlockMeta>,
) -> Result<()> {
    let measurements = measurements(job)?;
    let counts = match job.layout {
        Layout::Together => Counts::new(),
        Layout::Split(_) | Layout::SplitWhereDense => count(job, &measurements)?,
    };
    if is_split(job.layout, &counts) {
        let row_bytes = row_bytes(job, &measurements)?;
        for pass in passes(&counts, row_bytes, job.memory.groups_bytes()) {
            write_pass(
                job,
                &measurements,
                Outputs::new(job, Some(&pass)),
                (next_file_id, done),
            )?;
        }
    } else {
        write_pass(
            job,
            &measurements,
            Outputs::new(job, None),
            (next_file_id, done),
        )?;
    }
    // What was read of a file that was cut meanwhile must not get a checksum of its own.
    job.blocks.iter().try_for_each(|block| block.check_intact())
}

/// Reads the sources once and writes what belongs to `outputs`.
fn write_pass(
    job: &Compaction<'_>,
    measurements: &BTreeSet<MeasurementId>,
    mut outputs: Outputs<'_>,
    (next_file_id, done): (&mut dyn FnMut() -> u64, &mut Vec<BlockMeta>),
) -> Result<()> {
    let range = outputs.range();
    for id in measurements {
        let mut sources = Vec::new();
        for block in job.blocks {
            let range = range.intersect(block.meta().range);
            if let Some(source) = Source::open(block, *id, (range, job.has_field))? {
                sources.push(if sabotage::is(Fault::DeleteForgottenByCompaction) {
                    source
                } else {
                    source.without(job.tombstones)
                });
            }
        }
        if sabotage::is(Fault::OldestWinsInCompaction) {
            sources.reverse();
        }
        write_measurement(*id, &mut sources, job.proceed, &mut |rows, entry| {
            outputs.push(rows, entry, next_file_id)
        })?;
    }
    outputs.finish(done)
}

/// What a row of the widest measurement takes in memory, bytes.
fn row_bytes(job: &Compaction<'_>, measurements: &BTreeSet<MeasurementId>) -> Result<usize> {
    let mut widest = 0;
    for block in job.blocks {
        let meta = block.meta();
        // Strings may be long, and are at most so much smaller on disk.
        let string = STRING_BYTES.max(STRING_PACKED * meta.size_bytes / meta.row_count.max(1));
        let string = usize::try_from(string).unwrap_or(usize::MAX);
        for id in measurements {
            let Some(measurement) = block.measurement(*id)? else {
                continue;
            };
            let fields = measurement
                .fields()
                .map(|(_, field_type)| match field_type {
                    FieldType::String => string,
                    FieldType::Float | FieldType::Integer | FieldType::Unsigned => 8,
                    FieldType::Boolean => 1,
                });
            widest = widest.max(fields.fold(8, usize::saturating_add));
        }
    }
    Ok(widest)
}

/// The live measurements of all blocks, ascending.
fn measurements(job: &Compaction<'_>) -> Result<BTreeSet<MeasurementId>> {
    let mut all = BTreeSet::new();
    for block in job.blocks {
        let own = block.measurements()?;
        all.extend(own.into_iter().filter(|id| (job.is_live)(*id)));
    }
    Ok(all)
}

/// How many rows each partition has; one that is written in several blocks counts in each. Times are
/// decoded only where a group spans two partitions or more.
fn count(job: &Compaction<'_>, measurements: &BTreeSet<MeasurementId>) -> Result<Counts> {
    let mut counts = Counts::new();
    for block in job.blocks {
        let range = block.meta().range;
        let first = partition(range.start, job.partition_ns);
        if first == partition(range.end - 1, job.partition_ns) {
            *counts.entry(first).or_default() += block.meta().row_count;
            continue;
        }
        for id in measurements {
            if let Some(measurement) = block.measurement(*id)? {
                count_rows(job, &measurement, range, &mut counts)?;
            }
        }
    }
    Ok(counts)
}

fn count_rows(
    job: &Compaction<'_>,
    measurement: &Measurement<'_>,
    range: TimeRange,
    counts: &mut Counts,
) -> Result<()> {
    for group in 0..measurement.group_count() {
        if !(job.proceed)(Taken::default()) {
            return Err(stopped());
        }
        let times = measurement.group_times(group)?.intersect(range);
        if times.is_empty() {
            continue;
        }
        let first = partition(times.start, job.partition_ns);
        if first == partition(times.end - 1, job.partition_ns) {
            *counts.entry(first).or_default() += measurement.group_row_count(group)? as u64;
            continue;
        }
        let times = measurement.timestamps(group)?;
        let inside = times.into_iter().filter(|time| range.contains(*time));
        // Rows of one series mostly stay in one partition for a while.
        let mut last = (TimeRange { start: 0, end: 0 }, 0);
        let mut rows = 0;
        for time in inside {
            if !last.0.contains(time) {
                add(counts, last.1, std::mem::take(&mut rows));
                let own = partition(time, job.partition_ns);
                last = (partition_range(own, job.partition_ns), own);
            }
            rows += 1;
        }
        add(counts, last.1, rows);
    }
    Ok(())
}

fn add(counts: &mut Counts, partition: i64, rows: u64) {
    if rows > 0 {
        *counts.entry(partition).or_default() += rows;
    }
}

/// The error of a job that was told to give up.
pub(super) fn stopped() -> Error {
    Error::new(ErrorKind::Closed, "compaction is stopped")
}
