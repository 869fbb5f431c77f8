//! How long a query may take.

use std::sync::Arc;
use std::time::Duration;

use silverback::query::result::StopFlag;
use tokio::task::JoinHandle;

/// Stops a query whose time is over, unless it is dropped before.
#[derive(Debug)]
pub(crate) struct TimeLimit(Option<JoinHandle<()>>);

impl TimeLimit {
    /// From now on, `limit_ms`; 0 = as long as it needs. Inside a runtime.
    pub(crate) fn start(limit_ms: u64, stop: &Arc<StopFlag>) -> TimeLimit {
        let timer = (limit_ms > 0).then(|| {
            let stop = Arc::clone(stop);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(limit_ms)).await;
                stop.time_out();
            })
        });
        TimeLimit(timer)
    }
}

impl Drop for TimeLimit {
    fn drop(&mut self) {
        if let Some(timer) = &self.0 {
            timer.abort();
        }
    }
}
