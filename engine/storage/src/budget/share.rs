//! What one query holds, and how it is stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::{Budget, Class, pressure};
use crate::error::{Error, ErrorKind, Result};

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
        let counter = budget.counter(Class::Query);
        let held = counter.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let max = pressure::queries_max(budget.limit_bytes());
        if held > max {
            counter.fetch_sub(bytes, Relaxed);
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
        let held = self.held_bytes.load(Relaxed);
        let bytes = bytes.min(held);
        self.held_bytes.fetch_sub(bytes, Relaxed);
        self.budget.counter(Class::Query).fetch_sub(bytes, Relaxed);
    }

    /// What it holds, bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
        (self.stop)();
    }
}

impl Drop for QueryShare {
    fn drop(&mut self) {
        let held = *self.held_bytes.get_mut();
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
