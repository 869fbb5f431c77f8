//! What the counters of a budget mean: pure, so that a printed state replays the decision.

use std::fmt::Write as _;
use std::time::Duration;

use super::Class;

/// From this part of the budget on, in percent, what is in memory is flushed although nothing else
/// asks for it.
const FLUSH_PERCENT: usize = 45;
/// From here on acknowledgements are held back, the longer the nearer the refusal is: most writers
/// send the next request when the last one is answered.
const SLOW_PERCENT: usize = 60;
/// From here on queries are stopped, the one that holds most first.
const STOP_QUERIES_PERCENT: usize = 72;
/// From here on writes are refused. What is left serves those under way: bodies being parsed, copies
/// that a flush makes, and memory that was freed and not yet given back.
const REFUSE_PERCENT: usize = 85;
/// What queries may take together: the rest is the writers'.
const QUERIES_PERCENT: usize = 35;

/// How long an acknowledgement is held back just below the line of refusal.
const DELAY_MAX: Duration = Duration::from_millis(500);

/// What is used, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of each class, in the order of [`Class::ALL`].
    pub classes: [usize; Class::ALL.len()],
    /// Resident memory that no class counts.
    pub rest: usize,
    /// What readers pin of [`Class::Memtable`]: rows that are flushed, and sorted copies.
    pub pinned: usize,
}

/// What writers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing.
    Calm,
    /// Nothing, but rows are flushed.
    Flush,
    /// Acknowledgements are held back so long.
    Slow(Duration),
    /// Come back later.
    Refuse,
}

impl Usage {
    /// What one class takes.
    pub fn class(&self, class: Class) -> usize {
        self.classes[class as usize]
    }

    /// What all classes take.
    pub fn counted(&self) -> usize {
        self.classes
            .iter()
            .fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// All of it.
    pub fn total(&self) -> usize {
        self.counted().saturating_add(self.rest)
    }

    /// One line for people, in MiB.
    pub fn describe(&self, limit_bytes: usize) -> String {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let mut text = format!(
            "{} of {} MiB are in use (",
            mib(self.total()),
            mib(limit_bytes)
        );
        for class in Class::ALL {
            let part = format!("{} {}, ", class.name(), mib(self.class(class)));
            text.push_str(&part);
        }
        write!(text, "other {})", mib(self.rest)).expect("a string takes all text");
        text
    }
}

impl Pressure {
    /// What `usage` of `limit_bytes` means.
    pub fn of(usage: &Usage, limit_bytes: usize) -> Pressure {
        let total = usage.total();
        let (slow, refuse) = (
            part(limit_bytes, SLOW_PERCENT),
            part(limit_bytes, REFUSE_PERCENT),
        );
        if total >= refuse {
            Pressure::Refuse
        } else if total >= slow {
            let way = (total - slow).saturating_mul(1000) / (refuse - slow);
            let permille = u32::try_from(way).unwrap_or(1000);
            Pressure::Slow(DELAY_MAX * permille / 1000)
        } else if total >= part(limit_bytes, FLUSH_PERCENT) {
            Pressure::Flush
        } else {
            Pressure::Calm
        }
    }
}

/// Whether queries give way to writers.
pub(super) fn stops_queries(usage: &Usage, limit_bytes: usize) -> bool {
    let readers = usage.class(Class::Query) + usage.pinned;
    readers > 0 && usage.total() >= part(limit_bytes, STOP_QUERIES_PERCENT)
}

/// What queries may take together, bytes.
pub(super) fn queries_max(limit_bytes: usize) -> usize {
    part(limit_bytes, QUERIES_PERCENT)
}

fn part(limit_bytes: usize, percent: usize) -> usize {
    limit_bytes / 100 * percent
}
