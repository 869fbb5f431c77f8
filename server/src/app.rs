//! What all requests share: limits, counters, and whether the server takes work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;

use crate::config::Config;
use crate::metrics::Metrics;

/// Whether the server takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The engine is being opened.
    Starting,
    /// Requests are answered.
    Ready,
    /// It was told to stop: requests under way are finished, new ones are not expected.
    Draining,
}

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    /// The settings.
    pub(crate) config: Config,
    /// The counters.
    pub(crate) metrics: Metrics,
    /// When the process began to serve.
    pub(crate) started: Instant,
    phase: AtomicU8,
}

impl App {
    /// What requests share, before the first of them.
    pub(crate) fn new(config: Config) -> Arc<App> {
        Arc::new(App {
            config,
            metrics: Metrics::default(),
            started: Instant::now(),
            phase: AtomicU8::new(0),
        })
    }

    /// Whether the server takes work.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Says so.
    pub(crate) fn enter(&self, phase: Phase) {
        let code = match phase {
            Phase::Starting => 0,
            Phase::Ready => 1,
            Phase::Draining => 2,
        };
        self.phase.store(code, Ordering::Release);
    }
}
