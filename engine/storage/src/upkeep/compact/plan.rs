//! How the rows of several partitions are written: how many blocks, and which of them at once.
//! Pure: it is told the counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::block::GROUP_ROWS_MAX;
use crate::upkeep::compact::Layout;

/// What each takes whatever it holds: the buffer of its file, its directory.
const WRITER_BYTES: usize = 384 << 10;
/// So many small blocks are fine.
const SMALL_BLOCKS_MAX: usize = 16;
/// With fewer rows a partition is not worth a file, where there are many such.
const DENSE_ROWS: u64 = 1024;

/// How many rows each partition has.
pub(super) type Counts = BTreeMap<i64, u64>;

/// Whether each partition gets a block.
pub(super) fn is_split(layout: &Layout, counts: &Counts) -> bool {
    match layout {
        Layout::Split(_) => true,
        Layout::Together => false,
        Layout::SplitWhereDense => {
            let rows: u64 = counts.values().sum();
            counts.len() <= SMALL_BLOCKS_MAX || rows / counts.len() as u64 >= DENSE_ROWS
        }
    }
}

/// The partitions, in portions that are written in one pass over the sources each. `row_bytes` is what
/// a row takes in memory, `memory_bytes` what all blocks written in one pass may.
pub(super) fn passes(counts: &Counts, row_bytes: usize, memory_bytes: usize) -> Vec<BTreeSet<i64>> {
    let mut passes: Vec<BTreeSet<i64>> = Vec::new();
    let mut used = 0_usize;
    for (partition, rows) in counts {
        let group = usize::try_from(*rows).unwrap_or(usize::MAX);
        let group = group.min(GROUP_ROWS_MAX).saturating_mul(row_bytes);
        let own = WRITER_BYTES.saturating_add(group);
        if used.saturating_add(own) > memory_bytes || passes.is_empty() {
            passes.push(BTreeSet::new());
            used = 0;
        }
        used = used.saturating_add(own);
        passes.last_mut().expect("there is one").insert(*partition);
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: usize = 64 << 20;

    #[test]
    fn many_partitions_of_few_rows_stay_together() {
        let counts = |partitions: i64, rows: u64| (0..partitions).map(|at| (at, rows)).collect();
        let dense = |counts: &Counts| is_split(&Layout::SplitWhereDense, counts);
        assert!(dense(&counts(16, 1)));
        assert!(!dense(&counts(17, 1)));
        assert!(dense(&counts(17, 1024)));
        assert!(dense(&counts(0, 0)));
        assert!(is_split(&Layout::Split(BTreeSet::new()), &counts(1000, 1)));
        assert!(!is_split(&Layout::Together, &counts(2, 5000)));
    }

    #[test]
    fn a_pass_has_as_many_partitions_as_its_memory_holds() {
        let counts: Counts = (0..1100).map(|at| (at, 1_000_000)).collect();
        let wide = passes(&counts, 88, PASS);
        let each = WRITER_BYTES + 88 * GROUP_ROWS_MAX;
        assert!(wide.iter().all(|pass| pass.len() * each <= PASS));
        assert_eq!(wide.len(), 1100_usize.div_ceil(PASS / each));
        assert!(wide.iter().flatten().copied().eq(0..1100));
        let small: Counts = (0..100).map(|at| (at, 10)).collect();
        assert_eq!(passes(&small, 88, PASS).len(), 1);
        let huge = passes(&counts, usize::MAX, PASS);
        assert_eq!(huge.len(), 1100, "one at least");
    }
}
