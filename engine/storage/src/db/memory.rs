//! The memory of an open store: what is derived from its budget, and the step that looks at it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::budget::{BUDGET_BYTES_MIN, BUDGET_BYTES_UNKNOWN, Budget, Class, Pressure};
use crate::db::core::{Core, lock};
use crate::db::{Db, DbOptions};
use crate::env::{Env, StepOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::wal::WalOptions;

/// How often the ledger is compared with what is there: new series are counted no sooner. A writer
/// that makes 500,000 series a second takes some 15 MB meanwhile.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Rows are flushed from here on at the earliest, bytes as they came, in full width: a flush of as many takes a
/// fifth of a second, in which as many come again. What waits may take less (`memtable/narrow.rs`); how much is
/// written again after a crash goes by what came.
const FLUSH_BYTES_MIN: usize = 48 << 20;

/// Bytes of rows for each byte of the series in memory.
const ROWS_PER_INDEX: usize = 2;

/// A flush begins when rows take this part of the budget: they are in memory up to twice while it
/// runs, as what is flushed and as what is written meanwhile.
const MEMTABLE_PART: usize = 8;
/// A writer flushes before it writes when rows take this part.
const MEMTABLE_MAX_PART: usize = 4;
/// New series are refused where those in memory take this part: ten million of ten tags at 4 GiB.
const INDEX_PART: usize = 2;
/// What may wait for the log.
const QUEUE_PART: usize = 8;
/// Less than this part is flushed neither early: a block of it would only be merged again.
const FLUSH_PART_MIN: usize = 32;

impl Db {
    /// The budget of this store; those above it count what they hold in it too.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.core.budget
    }
}

impl DbOptions {
    /// The budget, and these options with no more than fits it.
    ///
    /// # Errors
    /// `Invalid` for a budget that is too small.
    pub(super) fn fit(self, env: &dyn Env) -> Result<(Arc<Budget>, DbOptions)> {
        let budget_bytes = match self.memory_budget_bytes {
            0 => match env.memory_bytes() {
                Some(bytes) => (bytes / 2).max(BUDGET_BYTES_MIN),
                None => BUDGET_BYTES_UNKNOWN,
            },
            bytes if bytes < BUDGET_BYTES_MIN => {
                let message = format!(
                    "a memory budget of {bytes} bytes is too small: give {BUDGET_BYTES_MIN} or more"
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            bytes => bytes,
        };
        let options = DbOptions {
            wal: WalOptions {
                queue_bytes_max: self.wal.queue_bytes_max.min(budget_bytes / QUEUE_PART),
                ..self.wal
            },
            memtable_bytes: self.memtable_bytes.min(budget_bytes / MEMTABLE_PART),
            memtable_bytes_max: self
                .memtable_bytes_max
                .min(budget_bytes / MEMTABLE_MAX_PART),
            ..self
        };
        Ok((Budget::new(budget_bytes), options))
    }
}

impl Core {
    /// Looks at what is there and lets the budget draw its conclusions.
    pub(super) fn memory_step(&self) -> StepOutcome {
        let mut unflushed = 0;
        for database in self.all_databases() {
            let stores = database.stores().clone();
            let policies = stores.policies.values();
            let memtables = policies.flat_map(|policy| &policy.memtables);
            unflushed += memtables.map(|one| one.size_bytes()).sum::<usize>();
        }
        self.budget.state(Class::Index, self.index_bytes());
        self.budget.state(Class::Deletes, self.delete_bytes());
        self.budget.tick(self.env.resident_bytes(), unflushed);
        match self.budget.pressure() {
            Pressure::Calm | Pressure::Flush => self.budget.relieve(),
            Pressure::Slow(_) | Pressure::Refuse => {}
        }
        if self.is_short_of_memory() {
            self.wake_flush();
        }
        StepOutcome::Idle
    }

    /// Memory of series: registries and live indexes, bytes.
    pub(super) fn index_bytes(&self) -> usize {
        let databases = self.all_databases().into_iter();
        let sizes = databases.map(|database| {
            let indexes = database.stores().indexes.clone();
            let indexes = indexes.iter().map(|index| index.size_bytes());
            database.registry.size_bytes() + indexes.sum::<usize>()
        });
        sizes.sum()
    }

    /// Memory of deletes, bytes.
    fn delete_bytes(&self) -> usize {
        let databases = self.all_databases().into_iter();
        let sizes = databases.map(|database| {
            let stores = database.stores();
            let deletes = stores.tombstones.iter().map(|one| one.size_bytes());
            deletes.sum::<usize>()
        });
        sizes.sum()
    }

    /// Where series take all the memory they may have, how much they take and may take, MiB: the
    /// registry in files takes none, so a flush makes room.
    pub(super) fn index_is_full(&self) -> Option<(usize, usize)> {
        let (used, max) = (self.budget.usage().class(Class::Index), self.index_max());
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        (used >= max).then(|| (mib(used), mib(max)))
    }

    fn index_max(&self) -> usize {
        self.budget.limit_bytes() / INDEX_PART
    }

    /// Whether a flush would free memory that is short.
    pub(super) fn is_short_of_memory(&self) -> bool {
        if self.budget.pressure() == Pressure::Calm {
            return false;
        }
        let enough = self.budget.limit_bytes() / FLUSH_PART_MIN;
        let index = self.budget.usage().class(Class::Index);
        let series = index.saturating_sub(self.flushed_index_bytes.load(Ordering::Relaxed));
        self.unflushed_bytes.load(Ordering::Acquire) >= enough || series >= enough
    }

    /// Rows in memory that are flushed, bytes. A block carries the index of its series: where there are
    /// many of these it takes more rows to be worth that, else memory is better given back.
    pub(super) fn flush_bytes(&self) -> usize {
        let series = self.budget.usage().class(Class::Index);
        let enough = rows_per_flush(series, self.options.memtable_bytes);
        with_left(enough, self.left_bytes.load(Ordering::Relaxed))
    }

    /// Makes sure that there is room for a write: flushes first where rows have used up theirs. How
    /// long its acknowledgement is to be held back.
    ///
    /// # Errors
    /// `Busy` where memory is short, or rows cannot be flushed; `NoSpace` where the disk is full.
    pub(super) fn make_room(&self) -> Result<Duration> {
        let used = self.unflushed_bytes.load(Ordering::Acquire);
        if used >= self.flush_bytes() {
            self.wake_flush();
        }
        if used >= self.options.memtable_bytes_max {
            self.flush_full()?;
        }
        self.budget.check_write()
    }

    /// Flushes, unless somebody else has just done so.
    fn flush_full(&self) -> Result<()> {
        let mut flushing = lock(&self.flushing);
        let used = self.unflushed_bytes.load(Ordering::Acquire);
        if used < self.options.memtable_bytes_max {
            return Ok(());
        }
        self.flush_noted(&mut flushing).map_err(|error| {
            if error.kind() == ErrorKind::NoSpace {
                return error;
            }
            let message = format!("{used} bytes of rows wait for a flush, which fails: {error}");
            Error::new(ErrorKind::Busy, message)
        })
    }
}

fn rows_per_flush(series_bytes: usize, most: usize) -> usize {
    let enough = series_bytes.saturating_mul(ROWS_PER_INDEX);
    enough.clamp(FLUSH_BYTES_MIN.min(most), most)
}

/// As [`rows_per_flush`] where the log left so many bytes of rows: not to be flushed as soon as it has been
/// read, beside everybody's first queries. Series that come at once take less memory than they did one by one,
/// so that rows were not due by a quarter more. A store that is killed again and again stays within a half more.
fn with_left(enough: usize, left: usize) -> usize {
    let more = left.saturating_add(left / 8);
    enough.max(more.min(enough.saturating_add(enough / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SimEnv;

    #[test]
    fn the_more_series_there_are_the_more_rows_are_flushed_at_once() {
        let most = 512 << 20;
        assert_eq!(rows_per_flush(0, most), 48 << 20);
        assert_eq!(rows_per_flush(100 << 20, most), 200 << 20);
        assert_eq!(rows_per_flush(1 << 30, most), most);
        assert_eq!(rows_per_flush(usize::MAX, 1 << 20), 1 << 20);
    }

    #[test]
    fn what_a_log_left_is_not_due_at_once_and_no_log_grows_for_that() {
        assert_eq!(with_left(100, 0), 100);
        assert_eq!(with_left(100, 80), 100);
        assert_eq!(with_left(100, 120), 135);
        let mut left = 90;
        for _killed in 0..20 {
            left = with_left(100, left);
        }
        assert_eq!(left, 150);
        assert_eq!(with_left(usize::MAX, usize::MAX), usize::MAX);
    }

    #[test]
    fn what_is_in_memory_is_bounded_by_the_budget() {
        let env = SimEnv::new(1);
        let fit = |memory_budget_bytes| {
            let options = DbOptions {
                memory_budget_bytes,
                ..DbOptions::default()
            };
            options.fit(&env)
        };
        let (budget, options) = fit(256 << 20).unwrap();
        assert_eq!(budget.limit_bytes(), 256 << 20);
        assert_eq!(
            (options.memtable_bytes, options.memtable_bytes_max),
            (32 << 20, 64 << 20)
        );
        assert_eq!(options.wal.queue_bytes_max, 32 << 20);
        let (budget, options) = fit(64 << 30).unwrap();
        assert_eq!(budget.limit_bytes(), 64 << 30);
        let usual = DbOptions::default();
        assert_eq!(options.memtable_bytes, usual.memtable_bytes);
        assert_eq!(fit(0).unwrap().0.limit_bytes(), BUDGET_BYTES_UNKNOWN);
        let refusal = fit(BUDGET_BYTES_MIN - 1).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Invalid);
    }
}
