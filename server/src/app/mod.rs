//! What all requests share: limits, counters, and whether the server takes work.

pub(crate) mod create;
pub(crate) mod ledger;
mod lending;
pub(crate) mod submit;
pub(crate) mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::app::ledger::Ledger;
pub(crate) use crate::app::lending::Lending;
use crate::app::turns::Turns;
use crate::config::Config;
use crate::metrics::Metrics;
use silverback::Silverback;

/// Whether the server takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
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
    /// The data.
    pub(crate) engine: Silverback,
    /// Memory of request bodies.
    pub(crate) bodies: Ledger,
    /// Who may write: a permit for each write under way.
    pub(crate) writes: Arc<Semaphore>,
    /// Who may parse and hand to the engine: a few for each core.
    pub(crate) parsers: Arc<Semaphore>,
    /// Who may query.
    pub(crate) queries: Turns,
    /// The counters.
    pub(crate) metrics: Metrics,
    /// When the process began to serve.
    pub(crate) started: Instant,
    /// Whether queries begin on the threads that serve connections.
    pub(crate) lending: Lending,
    draining: AtomicBool,
}

impl App {
    /// What requests share, before the first of them.
    pub(crate) fn new(config: Config, engine: Silverback) -> Arc<App> {
        let config = config.within(engine.budget().limit_bytes());
        Arc::new(App {
            bodies: Ledger::new(config.bodies_bytes_max, engine.budget()),
            engine,
            writes: Arc::new(Semaphore::new(config.writes_max)),
            parsers: Arc::new(Semaphore::new(parsers())),
            queries: Turns::new(
                config.queries_max,
                config.limits.query_queue_max,
                Duration::from_millis(config.limits.query_queue_timeout_ms),
            ),
            config,
            metrics: Metrics::default(),
            started: Instant::now(),
            lending: Lending::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// Whether the server takes work.
    pub(crate) fn phase(&self) -> Phase {
        if self.draining.load(Ordering::Acquire) {
            Phase::Draining
        } else {
            Phase::Ready
        }
    }

    /// From now on the server finishes what it has.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

/// How many writes are parsed at a time.
fn parsers() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    2 * cores
}
