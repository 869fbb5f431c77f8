//! Merges blocks into one for each partition. Memory: of every block the page at hand of each
//! column, and what a block's writer takes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::block::{Block, BlockWriter, Measurement};
use crate::codec::Effort;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::{BlockInfo, BlockMeta, LEVEL_FINAL, SequenceRange, block_path};
use crate::model::{FieldId, MeasurementId, TimeRange, Tombstones};
use crate::sabotage::{self, Fault};
use crate::upkeep::compact::series::{Source, write_measurement};
use crate::upkeep::compact::{Goal, partition};

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
    /// Asked now and then: whether to give up.
    pub is_stopped: &'job dyn Fn() -> bool,
}

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

/// Merges the blocks into new ones, one for each partition that has rows, ascending by time, under
/// ids that `next_file_id` gives. They are durable under their names; the manifest is the caller's, and the
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
    let info = info_of(job);
    let effort = match job.goal {
        Goal::Balance => Effort::Warm,
        Goal::Final => Effort::Cold,
    };
    let measurements = measurements(job)?;
    for partition in partitions(job, &measurements)? {
        let range = partition_range(partition, job.partition_ns);
        let file_id = next_file_id();
        let mut writer = BlockWriter::create(job.env, file_id, job.directory_id, info, effort)?;
        for id in &measurements {
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
            if !sources.is_empty() {
                writer.begin_measurement(*id)?;
                write_measurement(*id, &mut sources, &mut writer, job.is_stopped)?;
            }
        }
        done.extend(writer.finish()?);
    }
    // What was read of a file that was cut meanwhile must not get a checksum of its own.
    job.blocks.iter().try_for_each(|block| block.check_intact())
}

/// What the new blocks state of themselves.
fn info_of(job: &Compaction<'_>) -> BlockInfo {
    let deletes = job.tombstones.last();
    let infos = job.blocks.iter().map(|block| block.meta().info);
    infos
        .reduce(|one, other| BlockInfo {
            level: one.level.max(other.level),
            sequences: SequenceRange {
                first: one.sequences.first.min(other.sequences.first),
                last: one.sequences.last.max(other.sequences.last),
            },
            ..one
        })
        .map(|info| BlockInfo {
            level: match job.goal {
                Goal::Balance => info.level.saturating_add(1).min(LEVEL_FINAL - 1),
                Goal::Final => LEVEL_FINAL,
            },
            sequences: SequenceRange {
                // Deletes up to there are done with it.
                last: info
                    .sequences
                    .last
                    .max(deletes.unwrap_or(info.sequences.last)),
                ..info.sequences
            },
            ..info
        })
        .expect("there are blocks to merge")
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

/// The partitions that any row lies in. Times are decoded only where a group spans two or more.
fn partitions(
    job: &Compaction<'_>,
    measurements: &BTreeSet<MeasurementId>,
) -> Result<BTreeSet<i64>> {
    let mut partitions = BTreeSet::new();
    for block in job.blocks {
        let range = block.meta().range;
        let first = partition(range.start, job.partition_ns);
        if first == partition(range.end - 1, job.partition_ns) {
            partitions.insert(first);
            continue;
        }
        for id in measurements {
            if let Some(measurement) = block.measurement(*id)? {
                add_partitions(job, &measurement, range, &mut partitions)?;
            }
        }
    }
    Ok(partitions)
}

fn add_partitions(
    job: &Compaction<'_>,
    measurement: &Measurement<'_>,
    range: TimeRange,
    partitions: &mut BTreeSet<i64>,
) -> Result<()> {
    for group in 0..measurement.group_count() {
        if (job.is_stopped)() {
            return Err(stopped());
        }
        let times = measurement.group_times(group)?.intersect(range);
        if times.is_empty() {
            continue;
        }
        let first = partition(times.start, job.partition_ns);
        if first == partition(times.end - 1, job.partition_ns) {
            partitions.insert(first);
            continue;
        }
        let times = measurement.timestamps(group)?;
        let inside = times.into_iter().filter(|time| range.contains(*time));
        partitions.extend(inside.map(|time| partition(time, job.partition_ns)));
    }
    Ok(())
}

/// The span of partition `partition`, cut at the ends of time.
fn partition_range(partition: i64, partition_ns: i64) -> TimeRange {
    let width = i128::from(partition_ns.max(1));
    let start = i128::from(partition) * width;
    let clamp = |time: i128| {
        let least = i128::from(TimeRange::ALL.start);
        let time = time.clamp(least, i128::from(TimeRange::ALL.end));
        i64::try_from(time).expect("it has been clamped")
    };
    TimeRange {
        start: clamp(start),
        end: clamp(start + width),
    }
}

/// The error of a job that was told to give up.
pub(super) fn stopped() -> Error {
    Error::new(ErrorKind::Closed, "compaction is stopped")
}
