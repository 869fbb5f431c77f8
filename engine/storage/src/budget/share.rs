//! What one query holds, and how it is stopped.

use std::fmt;
use std::sync::Arc;

use super::{Budget, Class, pressure};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// One query's memory; all of it is given back when it is dropped.
pub struct QueryShare {
    budget: Arc<Budget>,
    held_bytes: AtomicUsize,
    stopped: AtomicBool,
    stop: Box<dyn Fn() + Send + Sync>,
}

impl QueryShare {
    pub(super) fn new(budget: Arc<Budget>, stop: Box<dyn Fn() + Send + Sync>) -> QueryShare {
        QueryShare {
            budget,
            held_bytes: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            stop,
        }
    }

    /// The query is about to hold `bytes` more.
    ///
    /// # Errors
    /// `Limit` where all queries together would pass their share, or writers need it.
    pub fn charge(&self, bytes: usize) -> Result<()> {
        let budget = &self.budget;
        let max = pressure::queries_max(budget.limit_bytes());
        // Never above the line, even for a moment: another's charge that fits would be refused.
        let charged = budget
            .counter(Class::Query)
            .fetch_update(Relaxed, Relaxed, |held| {
                held.checked_add(bytes).filter(|held| *held <= max)
            });
        if let Err(held) = charged {
            let held = held.saturating_add(bytes);
            let message = format!(
                "queries would hold {held} of the {max} bytes that they may together; ask for less, \
                 run fewer at a time, or raise memory_budget ({} bytes)",
                budget.limit_bytes()
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        self.held_bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// The query holds `bytes` less.
    pub fn release(&self, bytes: usize) {
        let held = &self.held_bytes;
        let before = held.fetch_update(Relaxed, Relaxed, |held| Some(held.saturating_sub(bytes)));
        // No more than it held: what it does not know of is not its own.
        let bytes = bytes.min(before.unwrap_or_default());
        self.budget.counter(Class::Query).fetch_sub(bytes, Relaxed);
    }

    /// What it holds, bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Says whether nobody had stopped it before.
    pub(super) fn stop(&self) -> bool {
        let is_first = !self.stopped.swap(true, Relaxed);
        if is_first {
            (self.stop)();
        }
        is_first
    }
}

impl Drop for QueryShare {
    fn drop(&mut self) {
        let held = self.held_bytes();
        self.budget.counter(Class::Query).fetch_sub(held, Relaxed);
    }
}

impl fmt::Debug for QueryShare {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("QueryShare")
            .field("held_bytes", &self.held_bytes)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}
