//! How fast compaction may go. Pure: it is told the time.

use std::time::Duration;

/// What a merge may take in while there is next to nothing to merge: values as they lie in memory,
/// bytes a second. A core merges about ten times as much.
const RATE_MIN: u64 = 32 << 20;
/// With so much to merge, bytes of blocks, the rate is twice the least, with twice as much three times,
/// and so on: writers that outrun it thereby set it free.
const DEBT_UNIT: u64 = 16 << 20;
/// Longest pause at once: a store that is closed waits for it.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Time that was not used counts up to so much.
const SAVED_MAX: Duration = Duration::from_millis(200);

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: u64,
    /// From when on it counts.
    since: Duration,
    /// Bytes since then.
    spent: u64,
}

impl Pace {
    /// For a merge that begins at `now`, by a monotonic clock, with `debt` bytes to merge.
    pub fn new(now: Duration, debt: u64) -> Pace {
        Pace {
            rate: RATE_MIN.saturating_mul(1 + debt / DEBT_UNIT),
            since: now,
            spent: 0,
        }
    }

    /// How long to pause at `now`, `bytes` having been taken in since the last call.
    pub fn pause(&mut self, now: Duration, bytes: u64) -> Duration {
        self.spent = self.spent.saturating_add(bytes);
        let due = Duration::from_micros(self.spent.saturating_mul(1_000_000) / self.rate);
        let passed = now.saturating_sub(self.since);
        if let Some(saved) = passed.checked_sub(due) {
            self.since = now.saturating_sub(saved.min(SAVED_MAX));
            self.spent = 0;
            return Duration::ZERO;
        }
        due.saturating_sub(passed).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long `total` bytes take in pieces of `piece`, work itself taking no time.
    fn time_for(debt: u64, total: u64, piece: u64) -> Duration {
        let mut now = Duration::from_secs(7);
        let mut pace = Pace::new(now, debt);
        for _ in 0..total / piece {
            now += pace.pause(now, piece);
        }
        now.saturating_sub(Duration::from_secs(7))
    }

    #[test]
    fn the_rate_follows_the_debt() {
        let second = time_for(0, RATE_MIN, 64 << 10);
        assert!(
            second.abs_diff(Duration::from_secs(1)) < Duration::from_millis(20),
            "{second:?}"
        );
        let third = time_for(2 * DEBT_UNIT, RATE_MIN, 64 << 10);
        assert!(
            third.abs_diff(second / 3) < Duration::from_millis(20),
            "{third:?}"
        );
        let none = time_for(u64::MAX, RATE_MIN, 64 << 10);
        assert!(none < Duration::from_millis(1), "{none:?}");
    }

    #[test]
    fn what_was_not_used_is_not_saved_for_long_and_no_pause_is_long() {
        let mut pace = Pace::new(Duration::ZERO, 0);
        let later = Duration::from_secs(100);
        assert_eq!(pace.pause(later, 1), Duration::ZERO);
        let saved = RATE_MIN / 5;
        assert_eq!(pace.pause(later, saved), Duration::ZERO);
        assert_eq!(pace.pause(later, 10 * RATE_MIN), PAUSE_MAX);
        assert_eq!(pace.pause(later, 0), PAUSE_MAX, "it is still owed");
    }
}
