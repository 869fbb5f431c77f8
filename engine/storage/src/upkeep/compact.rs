//! Which blocks of one database and policy to merge next, and, apart from that, the merging.
//!
//! Blocks of a policy are either flushed ones, which may span partitions and are merged oldest first,
//! so that what is left of them is newer than all that lies in partitions; or those of one partition.
//! A partition that is over, and whose blocks have been there for a while, becomes one block in its
//! final form.

mod choose;
mod merge;
mod outputs;
mod pace;
mod plan;
mod series;
#[cfg(test)]
mod tests;

pub use choose::{Choice, QUIET, Situation, choose, debt};
pub use merge::{Compaction, Taken, compact};
pub use pace::Pace;

use std::collections::BTreeSet;

/// What compaction is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Few blocks for little writing.
    Balance,
    /// One block for each partition, in its final form.
    Final,
}

/// What becomes of rows of several partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A block for each partition. In the partitions named there are more blocks, with which it will be
    /// merged: there it is not encoded to stay, whatever the goal.
    Split(BTreeSet<i64>),
    /// A block for each partition, unless that were many blocks of few rows: then one for all.
    SplitWhereDense,
    /// One block for all.
    Together,
}

/// What one merge may take in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it, bytes.
    pub bytes: usize,
}

/// The part of the budget that a merge may take: writers and queries have the rest.
const BUDGET_PART: usize = 8;
/// With more, a merge is not faster and blocks are not smaller.
const MEMORY_BYTES_MAX: usize = 160 << 20;

impl Memory {
    /// What `budget_bytes` in all allow.
    pub fn of_budget(budget_bytes: usize) -> Memory {
        Memory {
            bytes: (budget_bytes / BUDGET_PART).min(MEMORY_BYTES_MAX),
        }
    }

    /// For the pages at hand of all sources.
    fn sources_bytes(self) -> usize {
        self.bytes / 5 * 2
    }

    /// For the rows that blocks which are written side by side gather.
    fn groups_bytes(self) -> usize {
        self.bytes / 5 * 2
    }

    /// For their pages that wait to be written.
    fn pending_bytes(self) -> usize {
        self.bytes / 5
    }
}

/// Which partition `timestamp` lies in.
pub(crate) fn partition(timestamp: i64, partition_ns: i64) -> i64 {
    timestamp.div_euclid(partition_ns.max(1))
}
