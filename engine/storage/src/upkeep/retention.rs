//! What is past its time, and whether a pass may drop it. Pure: times are passed in.
//!
//! A partition goes whole, when its last point is past its time; of a block that spans several, the
//! manifest's range is cut. [`Guard`] keeps a wrong clock from dropping what it should not.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::format::block::BlockMeta;
use crate::model::{DatabaseId, TimeRange};
use crate::upkeep::compact::partition;

/// How long a pass waits that drops much, or follows a jump of the clock.
pub const WAIT: Duration = Duration::from_secs(3600);
/// How far the clock may run ahead of the monotonic one between two looks.
const JUMP_NS: i128 = 24 * 3_600_000_000_000;

/// What is past its time of one policy's blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Blocks without a row that is not.
    pub dropped: Vec<BlockMeta>,
    /// Blocks that have such rows, and the range that is left.
    pub clipped: Vec<(BlockMeta, TimeRange)>,
}

/// Partitions of a database, as far as the ranges of its blocks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those to be dropped.
    pub dropped: usize,
    /// All.
    pub all: usize,
}

/// What of `blocks`, all of one policy, lies before `cutoff`, the start of a partition.
pub fn expired(blocks: &[BlockMeta], cutoff: i64) -> Expired {
    let mut expired = Expired::default();
    for block in blocks {
        if block.range.end <= cutoff {
            expired.dropped.push(*block);
        } else if block.range.start < cutoff {
            let left = TimeRange {
                start: cutoff,
                ..block.range
            };
            expired.clipped.push((*block, left));
        }
    }
    expired
}

impl Share {
    /// Of `blocks`, all of one policy, if what lies before `cutoff` goes. A partition counts where a
    /// block's range meets it: that the block has no row there is not known.
    pub fn of(blocks: &[BlockMeta], partition_ns: i64, cutoff: Option<i64>) -> Share {
        let number = |time| partition(time, partition_ns);
        let spans = blocks.iter().map(|block| {
            let last = number(block.range.end - 1);
            (number(block.range.start), last)
        });
        let mut spans: Vec<(i64, i64)> = spans.collect();
        spans.sort_unstable();
        let first_kept = cutoff.map_or(i64::MIN, number);
        let mut share = Share::default();
        // From here on nothing has been counted.
        let mut next = i64::MIN;
        for (first, last) in spans {
            let first = first.max(next);
            let count = |end: i64| usize::try_from(i128::from(end) - i128::from(first));
            share.all = share.all.saturating_add(count(last + 1).unwrap_or(0));
            share.dropped = share
                .dropped
                .saturating_add(count(first_kept.min(last + 1)).unwrap_or(0));
            next = next.max(last + 1);
        }
        share
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Share) -> Share {
        Share {
            dropped: self.dropped.saturating_add(other.dropped),
            all: self.all.saturating_add(other.all),
        }
    }
}

/// Why a pass waits. Displays as a sentence without its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The clock ran ahead by this much.
    ClockJump(Duration),
    /// It would drop most partitions of the database.
    MostPartitions(Share),
}

impl fmt::Display for WaitReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::ClockJump(by) => {
                write!(out, "the clock jumped ahead by {} s", by.as_secs())
            }
            WaitReason::MostPartitions(share) => write!(
                out,
                "it would drop {} of {} partitions",
                share.dropped, share.all
            ),
        }
    }
}

/// A pass that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Until when, by the monotonic clock.
    pub until: Duration,
    /// Why.
    pub reason: WaitReason,
}

/// Decides which passes wait. Waiting is over after [`WAIT`], when it is confirmed, or when there is
/// nothing to drop any more.
#[derive(Debug, Default)]
pub struct Guard {
    /// Wall clock, ns, and monotonic clock at the last look.
    last: Option<(i64, Duration)>,
    /// The last jump of the wall clock: when, and by how much.
    jump: Option<(Duration, Duration)>,
    waiting: BTreeMap<DatabaseId, Wait>,
}

impl Guard {
    /// Looks at the clocks, before each pass.
    pub fn look(&mut self, now_ns: i64, monotonic: Duration) {
        if let Some((last_ns, last)) = self.last {
            let passed = monotonic.saturating_sub(last).as_nanos();
            let passed = i128::try_from(passed).unwrap_or(i128::MAX);
            let ahead = i128::from(now_ns) - i128::from(last_ns) - passed;
            if ahead > JUMP_NS {
                let ns = u64::try_from(ahead).unwrap_or(u64::MAX);
                self.jump = Some((monotonic, Duration::from_nanos(ns)));
            } else if ahead < -JUMP_NS {
                // It was set right again.
                self.jump = None;
            }
        }
        let over = |(at, _): &(Duration, Duration)| monotonic.saturating_sub(*at) >= WAIT;
        self.jump = self.jump.filter(|jump| !over(jump));
        self.last = Some((now_ns, monotonic));
    }

    /// Whether a pass over `database` that drops `share` may go on at `monotonic`.
    pub fn allows(&mut self, database: DatabaseId, share: Share, monotonic: Duration) -> bool {
        let most = share.dropped > share.all / 2;
        let jump = self.jump.filter(|_| share.dropped > 0);
        let (least, reason) = match jump {
            Some((at, by)) => (at + WAIT, WaitReason::ClockJump(by)),
            None if most => (Duration::ZERO, WaitReason::MostPartitions(share)),
            None => {
                self.waiting.remove(&database);
                return true;
            }
        };
        let until = monotonic + WAIT;
        let wait = self.waiting.entry(database);
        let wait = wait.or_insert(Wait { until, reason });
        // What is found to jump while something waits starts the hour anew.
        wait.until = wait.until.max(least);
        wait.reason = reason;
        if monotonic < wait.until {
            return false;
        }
        self.waiting.remove(&database);
        true
    }

    /// Ends all waiting: a wait is over at the next pass.
    pub fn confirm(&mut self) {
        self.jump = None;
        for wait in self.waiting.values_mut() {
            wait.until = Duration::ZERO;
        }
    }

    /// A database went.
    pub fn forget(&mut self, lives: impl Fn(DatabaseId) -> bool) {
        self.waiting.retain(|id, _| lives(*id));
    }

    /// What waits.
    pub fn waiting(&self) -> impl Iterator<Item = (DatabaseId, Wait)> {
        self.waiting.iter().map(|(id, wait)| (*id, *wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::{BlockInfo, SequenceRange};
    use crate::model::{PolicyId, Sequence};

    const DATABASE: DatabaseId = DatabaseId(1);
    const DAY_NS: i64 = 86_400_000_000_000;

    fn block(file_id: u64, start: i64, end: i64) -> BlockMeta {
        BlockMeta {
            file_id,
            info: BlockInfo {
                database: DATABASE,
                policy: PolicyId(1),
                level: 0,
                sequences: SequenceRange {
                    first: Sequence(file_id),
                    last: Sequence(file_id),
                },
            },
            range: TimeRange { start, end },
            row_count: 1,
            size_bytes: 1,
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    const HALF: Share = Share { dropped: 1, all: 2 };
    const MOST: Share = Share { dropped: 2, all: 3 };

    #[test]
    fn blocks_before_the_cutoff_go_and_those_across_it_are_cut() {
        let blocks = [block(1, -5, 10), block(2, 3, 11), block(3, 10, 12)];
        let found = expired(&blocks, 10);
        assert_eq!(found.dropped, [blocks[0]]);
        let left = TimeRange { start: 10, end: 11 };
        assert_eq!(found.clipped, [(blocks[1], left)]);
        let share = Share::of(&blocks, 5, Some(10));
        assert_eq!(share, Share { dropped: 3, all: 4 });
        // What was flushed over many partitions counts in each of them, and once.
        let wide = [block(1, 0, 100), block(2, 40, 60), block(3, -20, -19)];
        let share = |cutoff| Share::of(&wide, 5, Some(cutoff));
        assert_eq!(
            share(85),
            Share {
                dropped: 18,
                all: 21
            }
        );
        assert_eq!(
            share(-20),
            Share {
                dropped: 0,
                all: 21
            }
        );
        let ever = [block(1, i64::MIN + 2, i64::MAX)];
        let share = Share::of(&ever, 1, Some(0));
        assert_eq!(share.dropped, usize::MAX / 2 - 1);
        assert_eq!(share.plus(share).plus(share).all, usize::MAX);
        assert_eq!(Share::of(&blocks, 5, None).dropped, 0);
    }

    #[test]
    fn a_pass_over_most_partitions_waits_an_hour_or_to_be_confirmed() {
        let mut guard = Guard::default();
        guard.look(0, seconds(10));
        assert!(guard.allows(DATABASE, HALF, seconds(10)));
        assert!(!guard.allows(DATABASE, MOST, seconds(10)));
        assert!(!guard.allows(DATABASE, MOST, seconds(3609)));
        assert!(guard.allows(DATABASE, MOST, seconds(3610)));
        // The next one waits anew.
        assert!(!guard.allows(DATABASE, MOST, seconds(3611)));
        assert!(!guard.allows(DatabaseId(2), MOST, seconds(3611)));
        let waiting: Vec<DatabaseId> = guard.waiting().map(|(id, _)| id).collect();
        assert_eq!(waiting, [DATABASE, DatabaseId(2)]);
        guard.confirm();
        assert!(guard.allows(DATABASE, MOST, seconds(3612)));
        assert!(guard.allows(DatabaseId(2), MOST, seconds(3612)));
        assert!(!guard.allows(DATABASE, MOST, seconds(3613)));
        // Nothing to wait for any more.
        assert!(guard.allows(DATABASE, HALF, seconds(3613)));
        assert_eq!(guard.waiting().count(), 0);
    }

    #[test]
    fn passes_after_a_jump_of_the_clock_wait() {
        let mut guard = Guard::default();
        guard.look(0, seconds(0));
        guard.look(DAY_NS + 60_000_000_000, seconds(60));
        assert!(
            guard.allows(DATABASE, HALF, seconds(60)),
            "a day is no jump"
        );
        guard.look(2 * DAY_NS + 120_000_000_001, seconds(120));
        let nothing = Share { dropped: 0, all: 9 };
        assert!(guard.allows(DatabaseId(2), nothing, seconds(120)));
        assert!(!guard.allows(DATABASE, HALF, seconds(120)));
        let (_, wait) = guard.waiting().next().unwrap();
        assert_eq!(wait.reason.to_string(), "the clock jumped ahead by 86400 s");
        // Another jump starts the hour anew.
        guard.look(9 * DAY_NS, seconds(1000));
        assert!(!guard.allows(DATABASE, HALF, seconds(3720)));
        // Time that passes while nobody looks is no jump.
        let now = 9 * DAY_NS + 3_600_000_000_000;
        guard.look(now, seconds(4600));
        assert!(guard.allows(DATABASE, HALF, seconds(4600)));
        guard.look(now + 9 * DAY_NS, seconds(4600));
        assert!(!guard.allows(DATABASE, HALF, seconds(4600)));
        // The clock is set right again.
        guard.look(now, seconds(4601));
        assert!(guard.allows(DATABASE, HALF, seconds(4601)));
    }
}
