//! Which blocks of one database and policy to merge next, and, apart from that, the merging.
//!
//! [`choose`] is pure: a printed input replays the choice. It never passes over a block that lies
//! between its choices in sequence and meets them in time, so that newest still wins afterwards.

mod merge;
mod series;
#[cfg(test)]
mod tests;

use crate::format::block::{BlockMeta, LEVEL_FINAL, SequenceRange};

pub use merge::{Compaction, compact};

/// Level-0 blocks from which on they are merged.
pub const LEVEL_0_BLOCKS_MAX: usize = 8;
/// Neighbours of like size in one partition from which on they are merged.
const NEIGHBOURS_MIN: usize = 4;
/// Like size: the largest is at most this many times the smallest.
const LIKE_SIZE: u64 = 8;
/// Blocks merged at once at most: each costs a page of every column in memory.
const INPUTS_MAX: usize = 32;

/// What compaction is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Few blocks for little writing.
    Balance,
    /// One block for each partition, in its final form.
    Final,
}

/// The blocks to merge next, oldest first, or `None` where the goal is reached. `blocks` are all of
/// one database and policy; `partition_ns` is the width of its partitions.
pub fn choose(blocks: &[BlockMeta], partition_ns: i64, goal: Goal) -> Option<Vec<BlockMeta>> {
    let (mut flushed, mut compacted): (Vec<BlockMeta>, Vec<BlockMeta>) =
        blocks.iter().partition(|block| block.info.level == 0);
    flushed.sort_unstable_by_key(order);
    compacted
        .sort_unstable_by_key(|block| (partition(block.range.start, partition_ns), order(block)));
    let enough = match goal {
        Goal::Balance => LEVEL_0_BLOCKS_MAX,
        Goal::Final => 1,
    };
    // Oldest first, so that what stays of level 0 is newer than all that was compacted.
    if flushed.len() >= enough {
        flushed.truncate(INPUTS_MAX);
        return Some(flushed);
    }
    compacted
        .chunk_by(|a, b| {
            partition(a.range.start, partition_ns) == partition(b.range.start, partition_ns)
        })
        .find_map(|own| match goal {
            Goal::Balance => neighbours(own),
            Goal::Final if own.len() == 1 && own[0].info.level == LEVEL_FINAL => None,
            Goal::Final => Some(own[..own.len().min(INPUTS_MAX)].to_vec()),
        })
}

/// Of the blocks of one partition, oldest first, the first that stand side by side, are of like
/// size and enough.
fn neighbours(blocks: &[BlockMeta]) -> Option<Vec<BlockMeta>> {
    (0..blocks.len()).find_map(|start| {
        let (mut least, mut greatest) = (u64::MAX, 0);
        let len = blocks[start..]
            .iter()
            .take_while(|block| {
                least = least.min(block.size_bytes);
                greatest = greatest.max(block.size_bytes);
                greatest <= least.saturating_mul(LIKE_SIZE)
            })
            .count();
        let chosen = &blocks[start..start + len.min(INPUTS_MAX)];
        (chosen.len() >= NEIGHBOURS_MIN).then(|| chosen.to_vec())
    })
}

fn order(block: &BlockMeta) -> (u64, u64, u64) {
    let SequenceRange { first, last } = block.info.sequences;
    (first.0, last.0, block.file_id)
}

/// Which partition `timestamp` lies in.
pub(crate) fn partition(timestamp: i64, partition_ns: i64) -> i64 {
    timestamp.div_euclid(partition_ns.max(1))
}
