//! What the log counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper ends of the bins of [`WalCounters::sync_bins`], microseconds; the last bin has no end.
pub const SYNC_BIN_ENDS_US: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
];

/// Sums since the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalCounters {
    /// Groups written.
    pub groups: u64,
    /// Submissions written.
    pub submissions: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written, with headers and padding.
    pub bytes: u64,
    /// Syncs of segments that went well.
    pub syncs: u64,
    /// Syncs of segments that failed.
    pub sync_failures: u64,
    /// Submissions refused after they were queued.
    pub refused: u64,
    /// Those of them that were acknowledged before, to callers who asked for the queue alone.
    pub refused_acknowledged: u64,
    /// Segments made.
    pub segments: u64,
    /// Time spent in syncs.
    pub sync_time: Duration,
    /// How many syncs took how long: see [`SYNC_BIN_ENDS_US`].
    pub sync_bins: [u64; SYNC_BIN_ENDS_US.len() + 1],
}

#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) groups: AtomicU64,
    pub(super) submissions: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) sync_failures: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) refused_acknowledged: AtomicU64,
    pub(super) segments: AtomicU64,
    sync_ns: AtomicU64,
    sync_bins: [AtomicU64; SYNC_BIN_ENDS_US.len() + 1],
}

impl Counting {
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bin = SYNC_BIN_ENDS_US.partition_point(|end| *end < us);
        Counting::add(&self.sync_bins[bin], 1);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Counting::add(&self.sync_ns, ns);
    }

    pub(super) fn read(&self) -> WalCounters {
        let sync_bins: [u64; SYNC_BIN_ENDS_US.len() + 1] =
            std::array::from_fn(|bin| self.sync_bins[bin].load(Relaxed));
        WalCounters {
            groups: self.groups.load(Relaxed),
            submissions: self.submissions.load(Relaxed),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            syncs: sync_bins.iter().sum(),
            sync_failures: self.sync_failures.load(Relaxed),
            refused: self.refused.load(Relaxed),
            refused_acknowledged: self.refused_acknowledged.load(Relaxed),
            segments: self.segments.load(Relaxed),
            sync_time: Duration::from_nanos(self.sync_ns.load(Relaxed)),
            sync_bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_falls_into_the_bin_that_ends_at_or_behind_it() {
        let counting = Counting::default();
        for us in [0, 100, 101, 999_999, 5_000_000] {
            counting.synced(Duration::from_micros(us));
        }
        let counters = counting.read();
        assert_eq!(counters.syncs, 5);
        assert_eq!(counters.sync_bins, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(counters.sync_time, Duration::from_micros(6_000_200));
    }
}
