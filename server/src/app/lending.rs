//! Whether queries are lent threads that serve connections: not for some time after one was seen to keep
//! its own for long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long no query is lent a thread after such a one: what is asked again and again is asked within.
const DISTRUST: Duration = Duration::from_secs(600);

/// Open at first.
#[derive(Debug)]
pub(crate) struct Lending {
    began: Instant,
    /// Until when it is closed, milliseconds behind `began`.
    closed_ms: AtomicU64,
}

impl Lending {
    /// Whether a query may have one now.
    pub(crate) fn is_open(&self) -> bool {
        self.began.elapsed().as_millis() >= u128::from(self.closed_ms.load(Ordering::Relaxed))
    }

    /// A query kept a thread for long: no other gets one for [`DISTRUST`].
    pub(crate) fn close(&self) {
        let until = (self.began.elapsed() + DISTRUST).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.closed_ms.store(until, Ordering::Relaxed);
    }
}

impl Default for Lending {
    fn default() -> Lending {
        Lending {
            began: Instant::now(),
            closed_ms: AtomicU64::new(0),
        }
    }
}
