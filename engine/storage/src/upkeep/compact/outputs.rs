//! The blocks that a pass writes side by side: rows go to that of their partition.

use std::collections::BTreeSet;

use crate::block::BlockWriter;
use crate::codec::Effort;
use crate::error::Result;
use crate::format::block::{BlockInfo, BlockMeta, LEVEL_FINAL, SequenceRange};
use crate::model::{MeasurementId, Rows, SeriesEntry, TimeRange};
use crate::upkeep::compact::merge::Compaction;
use crate::upkeep::compact::{Goal, Layout, partition};

/// Blocks being written.
pub(super) struct Outputs<'job> {
    job: &'job Compaction<'job>,
    info: BlockInfo,
    /// Ascending by partition; one without where all goes together.
    slots: Vec<Slot>,
    /// Where rows went last.
    last: usize,
    pending_bytes_max: usize,
}

#[derive(Debug)]
struct Slot {
    partition: Option<i64>,
    writer: Option<BlockWriter>,
    measurement: Option<MeasurementId>,
}

impl<'job> Outputs<'job> {
    /// Of `pass`, or one for all rows.
    pub(super) fn new(job: &'job Compaction<'job>, pass: Option<&BTreeSet<i64>>) -> Outputs<'job> {
        let slot = |partition| Slot {
            partition,
            writer: None,
            measurement: None,
        };
        let slots: Vec<Slot> = match pass {
            Some(pass) => pass.iter().map(|one| slot(Some(*one))).collect(),
            None => vec![slot(None)],
        };
        Outputs {
            job,
            info: info_of(job),
            last: 0,
            pending_bytes_max: job.memory.pending_bytes() / slots.len().max(1),
            slots,
        }
    }

    /// All times that any of the blocks takes.
    pub(super) fn range(&self) -> TimeRange {
        let of = |slot: Option<&Slot>| {
            let partition = slot.and_then(|slot| slot.partition);
            partition.map_or(TimeRange::ALL, |own| {
                partition_range(own, self.job.partition_ns)
            })
        };
        TimeRange {
            start: of(self.slots.first()).start,
            end: of(self.slots.last()).end,
        }
    }

    /// Appends rows of one series to the blocks they belong to; those of no block here are left out.
    pub(super) fn push(
        &mut self,
        rows: &Rows,
        entry: &SeriesEntry,
        next_file_id: &mut dyn FnMut() -> u64,
    ) -> Result<()> {
        let times = &rows.timestamps;
        let mut start = 0;
        while start < times.len() {
            let (slot, limit) = self.find(times[start]);
            let end = match times.last() {
                Some(last) if *last < limit => times.len(),
                _ => start + times[start..].partition_point(|time| *time < limit),
            };
            if let Some(slot) = slot {
                let writer = self.writer(slot, rows.measurement, next_file_id)?;
                writer.push_series(rows, start..end, entry)?;
            }
            start = end;
        }
        Ok(())
    }

    /// The slot for rows of `time`, and up to when the answer holds.
    fn find(&mut self, time: i64) -> (Option<usize>, i64) {
        if self
            .slots
            .first()
            .is_none_or(|slot| slot.partition.is_none())
        {
            return (Some(0), i64::MAX);
        }
        let width = self.job.partition_ns;
        let own = partition(time, width);
        let limit = partition_range(own, width).end;
        if self.slots[self.last].partition != Some(own) {
            match self
                .slots
                .binary_search_by_key(&Some(own), |slot| slot.partition)
            {
                Ok(found) => self.last = found,
                Err(_) => return (None, limit),
            }
        }
        (Some(self.last), limit)
    }

    fn writer(
        &mut self,
        slot: usize,
        measurement: MeasurementId,
        next_file_id: &mut dyn FnMut() -> u64,
    ) -> Result<&mut BlockWriter> {
        let slot = &mut self.slots[slot];
        let writer = match &mut slot.writer {
            Some(writer) => writer,
            none => {
                let (effort, info) = form_of(self.job, slot.partition, self.info);
                let (env, directory) = (self.job.env, self.job.directory_id);
                let writer = BlockWriter::create(env, next_file_id(), directory, info, effort)?;
                none.insert(writer.with_pending_bytes_max(self.pending_bytes_max))
            }
        };
        if slot.measurement != Some(measurement) {
            writer.begin_measurement(measurement)?;
            slot.measurement = Some(measurement);
        }
        Ok(writer)
    }

    /// Ends the blocks; those that were written go to `done` one by one.
    pub(super) fn finish(self, done: &mut Vec<BlockMeta>) -> Result<()> {
        for writer in self.slots.into_iter().filter_map(|slot| slot.writer) {
            done.extend(writer.finish()?);
        }
        Ok(())
    }
}

/// What a new block states of itself, and how it is encoded.
fn form_of(job: &Compaction<'_>, partition: Option<i64>, info: BlockInfo) -> (Effort, BlockInfo) {
    let is_alone = match (partition, job.layout) {
        (Some(partition), Layout::Split(beside)) => !beside.contains(&partition),
        (Some(_), Layout::SplitWhereDense | Layout::Together) => true,
        (None, _) => false,
    };
    if job.goal == Goal::Final && is_alone {
        let level = LEVEL_FINAL;
        return (Effort::Cold, BlockInfo { level, ..info });
    }
    let level = match job.layout {
        // It may be a flushed one that only loses rows: then it stays one.
        Layout::Together => info.level,
        Layout::Split(_) | Layout::SplitWhereDense => {
            info.level.saturating_add(1).min(LEVEL_FINAL - 1)
        }
    };
    (Effort::Warm, BlockInfo { level, ..info })
}

/// What the sources together state of themselves.
fn info_of(job: &Compaction<'_>) -> BlockInfo {
    let deletes = job.tombstones.last();
    let infos = job.blocks.iter().map(|block| block.meta().info);
    let info = infos.reduce(|one, other| BlockInfo {
        level: one.level.max(other.level),
        sequences: SequenceRange {
            first: one.sequences.first.min(other.sequences.first),
            last: one.sequences.last.max(other.sequences.last),
        },
        ..one
    });
    let info = info.expect("there are blocks to merge");
    // Deletes up to there are done with it.
    let last = deletes.unwrap_or(info.sequences.last);
    BlockInfo {
        sequences: SequenceRange {
            last: info.sequences.last.max(last),
            ..info.sequences
        },
        ..info
    }
}

/// The span of partition `partition`, cut at the ends of time.
pub(super) fn partition_range(partition: i64, partition_ns: i64) -> TimeRange {
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
