//! Which blocks to merge next. Pure: a printed situation replays the choice. It never passes over a
//! block that lies between its choices in sequence and meets them in time, so that newest still wins
//! afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::format::block::{BlockMeta, GROUP_ROWS_MAX, LEVEL_FINAL, SequenceRange};
use crate::upkeep::compact::{Goal, Layout, Memory, partition};

#[cfg(test)]
mod tests;

/// Blocks that may span partitions from which on they are merged.
const LEVEL_0_BLOCKS_MAX: usize = 8;
/// Neighbours of like size in one partition from which on they are merged.
const NEIGHBOURS_MIN: usize = 4;
/// Like size: the largest is at most this many times the smallest.
const LIKE_SIZE: u64 = 8;
/// Blocks merged at once at most: each costs a page of every column in memory.
const INPUTS_MAX: usize = 32;
/// A partition counts as over so long after its end: agents that were cut off deliver within it.
const CLOSED_AFTER_NS: i64 = 3600 * 1_000_000_000;
/// Rows that came late are merged into a finished block once they are one in so many of its rows:
/// sooner would write it anew for next to nothing.
const LATE_PART: u64 = 100;
/// Or once they lie in so many blocks.
const LATE_BLOCKS_MAX: usize = 8;

/// A block that has been there for so long is not followed by another soon: two intervals of flushing.
pub const QUIET: Duration = Duration::from_secs(20 * 60);

/// What the choice is made from.
pub struct Situation<'own> {
    /// Blocks that can be read, all of one database and policy.
    pub blocks: &'own [BlockMeta],
    /// Those that cannot.
    pub barriers: &'own [BlockMeta],
    /// Width of a partition, ns.
    pub partition_ns: i64,
    /// The wall clock, ns since 1970 UTC.
    pub now_ns: i64,
    /// Whether a block has been there for [`QUIET`].
    pub is_quiet: &'own dyn Fn(&BlockMeta) -> bool,
    /// Blocks merged at once at most: see [`Situation::inputs_max`].
    pub inputs_max: usize,
}

impl fmt::Debug for Situation<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = self.blocks.iter();
        let quiet: Vec<bool> = blocks.map(|block| (self.is_quiet)(block)).collect();
        out.debug_struct("Situation")
            .field("blocks", &self.blocks)
            .field("quiet", &quiet)
            .field("barriers", &self.barriers)
            .field("partition_ns", &self.partition_ns)
            .field("now_ns", &self.now_ns)
            .field("inputs_max", &self.inputs_max)
            .finish()
    }
}

/// What to merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Oldest first.
    pub blocks: Vec<BlockMeta>,
    /// How the new ones are encoded.
    pub goal: Goal,
    /// What becomes of rows of several partitions.
    pub layout: Layout,
}

impl Situation<'_> {
    /// How many blocks may be merged at once where one has up to `fields` fields.
    pub fn inputs_max(fields: usize, memory: Memory) -> usize {
        let source = fields.saturating_add(1).saturating_mul(GROUP_ROWS_MAX * 8);
        (memory.sources_bytes() / source).clamp(2, INPUTS_MAX)
    }

    fn partition(&self, timestamp: i64) -> i64 {
        partition(timestamp, self.partition_ns)
    }

    fn may_span(&self, block: &BlockMeta) -> bool {
        block.info.level == 0
            || self.partition(block.range.start) != self.partition(block.range.end - 1)
    }

    /// The blocks that may span partitions, oldest first, in pieces between which anything else lies.
    fn unsplit(&self) -> Vec<Vec<BlockMeta>> {
        let (mut blocks, others): (Vec<BlockMeta>, Vec<BlockMeta>) =
            self.blocks.iter().partition(|block| self.may_span(block));
        blocks.sort_unstable_by_key(order);
        let barriers: Vec<&BlockMeta> = self.barriers.iter().chain(&others).collect();
        pieces(&blocks, &barriers)
    }

    /// The blocks of each partition, oldest first, in pieces between which another that meets the
    /// partition lies.
    fn partitions(&self) -> Vec<(i64, Vec<BlockMeta>)> {
        let (others, mut blocks): (Vec<BlockMeta>, Vec<BlockMeta>) =
            self.blocks.iter().partition(|block| self.may_span(block));
        let partition = |block: &BlockMeta| self.partition(block.range.start);
        blocks.sort_unstable_by_key(|block| (partition(block), order(block)));
        let mut all = Vec::new();
        for own in blocks.chunk_by(|a, b| partition(a) == partition(b)) {
            let number = partition(&own[0]);
            let meets = |block: &&BlockMeta| {
                let (start, end) = (block.range.start, block.range.end - 1);
                (self.partition(start)..=self.partition(end)).contains(&number)
            };
            let barriers = self.barriers.iter().chain(&others).filter(meets);
            let own = pieces(own, &barriers.collect::<Vec<_>>());
            all.extend(own.into_iter().map(|piece| (number, piece)));
        }
        all
    }

    fn is_closed(&self, partition: i64) -> bool {
        let end = (i128::from(partition) + 1) * i128::from(self.partition_ns.max(1));
        end + i128::from(CLOSED_AFTER_NS) <= i128::from(self.now_ns)
    }

    fn are_quiet(&self, blocks: &[BlockMeta]) -> bool {
        blocks.iter().all(|block| (self.is_quiet)(block))
    }

    fn first(&self, blocks: &[BlockMeta]) -> Vec<BlockMeta> {
        blocks[..blocks.len().min(self.inputs_max)].to_vec()
    }

    /// All blocks of a partition into one that is encoded to stay; several rounds where there are many.
    fn finished(&self, own: &[BlockMeta]) -> Option<Choice> {
        if own.len() == 1 && own[0].info.level == LEVEL_FINAL {
            return None;
        }
        let blocks = self.first(own);
        Some(Choice {
            goal: if blocks.len() == own.len() {
                Goal::Final
            } else {
                Goal::Balance
            },
            blocks,
            layout: Layout::Split(BTreeSet::new()),
        })
    }
}

/// The blocks to merge next, or `None` where the goal is reached.
pub fn choose(situation: &Situation<'_>, goal: Goal) -> Option<Choice> {
    let unsplit = situation.unsplit();
    let partitions = situation.partitions();
    match goal {
        Goal::Balance => many_unsplit(situation, &unsplit)
            .or_else(|| {
                let mut all = partitions.iter();
                all.find_map(|(_, own)| neighbours(situation, own))
            })
            .or_else(|| {
                let mut all = partitions.iter();
                all.find_map(|(number, own)| closed(situation, *number, own))
            })
            .or_else(|| quiet_unsplit(situation, &unsplit)),
        Goal::Final => all_unsplit(situation, &unsplit, &partitions).or_else(|| {
            let mut all = partitions.iter();
            all.find_map(|(_, own)| situation.finished(own))
        }),
    }
}

/// What [`choose`] would have merged for [`Goal::Balance`] as things are, bytes.
pub fn debt(situation: &Situation<'_>) -> u64 {
    let size = |choice: Option<Choice>| {
        let blocks = choice.into_iter().flat_map(|choice| choice.blocks);
        blocks.map(|block| block.size_bytes).sum::<u64>()
    };
    let unsplit = situation.unsplit();
    let whole: u64 = match many_unsplit(situation, &unsplit) {
        Some(_) => unsplit.iter().flatten().map(|block| block.size_bytes).sum(),
        None => size(quiet_unsplit(situation, &unsplit)),
    };
    let partitions = situation.partitions();
    let own = partitions.iter().map(|(number, own)| {
        size(neighbours(situation, own).or_else(|| closed(situation, *number, own)))
    });
    whole + own.sum::<u64>()
}

/// The oldest of those that may span partitions, once there are many. What lies before a barrier goes
/// first and whole: what comes behind it may be split only then.
fn many_unsplit(situation: &Situation<'_>, unsplit: &[Vec<BlockMeta>]) -> Option<Choice> {
    let count: usize = unsplit.iter().map(Vec::len).sum();
    if count < LEVEL_0_BLOCKS_MAX {
        return None;
    }
    Some(Choice {
        blocks: situation.first(unsplit.first()?),
        goal: Goal::Balance,
        layout: match unsplit.len() {
            1 => Layout::SplitWhereDense,
            _ => Layout::Split(BTreeSet::new()),
        },
    })
}

/// Few that no others seem to follow.
fn quiet_unsplit(situation: &Situation<'_>, unsplit: &[Vec<BlockMeta>]) -> Option<Choice> {
    let all_quiet = unsplit.iter().all(|piece| situation.are_quiet(piece));
    let piece = unsplit.first().filter(|_| all_quiet)?;
    Some(Choice {
        blocks: situation.first(piece),
        goal: Goal::Balance,
        layout: Layout::Split(BTreeSet::new()),
    })
}

/// All that may span partitions, oldest first; encoded to stay where nothing else lies beside it.
fn all_unsplit(
    situation: &Situation<'_>,
    unsplit: &[Vec<BlockMeta>],
    partitions: &[(i64, Vec<BlockMeta>)],
) -> Option<Choice> {
    let piece = unsplit.first()?;
    let blocks = situation.first(piece);
    let is_last = unsplit.len() == 1 && blocks.len() == piece.len();
    Some(Choice {
        blocks,
        goal: if is_last { Goal::Final } else { Goal::Balance },
        layout: Layout::Split(partitions.iter().map(|(number, _)| *number).collect()),
    })
}

/// Of the blocks of one partition, oldest first, the first that stand side by side, are of like
/// size and enough.
fn neighbours(situation: &Situation<'_>, blocks: &[BlockMeta]) -> Option<Choice> {
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
        (len >= NEIGHBOURS_MIN).then(|| Choice {
            blocks: situation.first(&blocks[start..start + len]),
            goal: Goal::Balance,
            layout: Layout::Split(BTreeSet::new()),
        })
    })
}

/// The blocks of a partition that is over and quiet, unless there is too little to gain.
fn closed(situation: &Situation<'_>, partition: i64, own: &[BlockMeta]) -> Option<Choice> {
    if !situation.is_closed(partition) || !situation.are_quiet(own) {
        return None;
    }
    let (oldest, late) = own.split_first()?;
    let late_rows: u64 = late.iter().map(|block| block.row_count).sum();
    let is_finished = oldest.info.level == LEVEL_FINAL
        && late.len() < LATE_BLOCKS_MAX
        && late_rows.saturating_mul(LATE_PART) <= oldest.row_count;
    if is_finished {
        return None;
    }
    situation.finished(own)
}

/// The blocks, oldest first, cut wherever a barrier lies between two of them in sequence.
fn pieces(blocks: &[BlockMeta], barriers: &[&BlockMeta]) -> Vec<Vec<BlockMeta>> {
    let lies_between = |one: &BlockMeta, other: &BlockMeta| {
        let mut all = barriers.iter();
        all.any(|barrier| order(one) < order(barrier) && order(barrier) < order(other))
    };
    let pieces = blocks.chunk_by(|one, other| !lies_between(one, other));
    pieces.map(<[BlockMeta]>::to_vec).collect()
}

fn order(block: &BlockMeta) -> (u64, u64, u64) {
    let SequenceRange { first, last } = block.info.sequences;
    (first.0, last.0, block.file_id)
}
