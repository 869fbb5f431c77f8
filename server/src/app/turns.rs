//! Turns of queries: so many run at a time, so many more wait, and none waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who may query.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    running_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    patience: Duration,
}

/// Counted among those that wait, as long as it lives.
struct Waiting<'turns>(&'turns AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// Turns for `running_max` at a time, with `waiting_max` waiting `patience` long at most.
    pub(crate) fn new(running_max: usize, waiting_max: usize, patience: Duration) -> Turns {
        Turns {
            permits: Arc::new(Semaphore::new(running_max)),
            running_max,
            waiting: AtomicUsize::new(0),
            waiting_max,
            patience,
        }
    }

    /// Waits for a turn, which ends when the permit is dropped.
    ///
    /// # Errors
    /// What to say where there is none: the limit, the setting and what may be done.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, String> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let running = self.running_max;
        if before >= self.waiting_max {
            let max = self.waiting_max;
            return Err(format!(
                "{running} queries run (queries_max) and {max} wait (query_queue_max): come back"
            ));
        }
        let turn = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(self.patience, turn).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err("the server is stopping".to_owned()),
            Err(_) => Err(format!(
                "the query waited {} ms for its turn (query_queue_timeout_ms) while {running} ran \
                 (queries_max): come back",
                self.patience.as_millis()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_pending<T>(task: Pin<&mut impl Future<Output = T>>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        task.poll(&mut context).is_pending()
    }

    fn block_on<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(task)
    }

    #[test]
    fn so_many_run_and_so_many_wait() {
        let turns = Turns::new(1, 1, Duration::from_secs(60));
        block_on(async {
            let running = turns.enter().await.unwrap();
            let mut waiting = Box::pin(turns.enter());
            assert!(is_pending(waiting.as_mut()));
            let refused = turns.enter().await.unwrap_err();
            assert!(refused.contains("query_queue_max"), "{refused}");
            drop(running);
            let next = waiting.await.unwrap();
            let mut waiting = Box::pin(turns.enter());
            assert!(is_pending(waiting.as_mut()));
            // Whoever leaves makes room.
            drop(waiting);
            let mut waiting = Box::pin(turns.enter());
            assert!(is_pending(waiting.as_mut()));
            drop(next);
            drop(waiting.await.unwrap());
        });
    }

    #[test]
    fn none_waits_for_ever() {
        let turns = Turns::new(1, 1, Duration::from_millis(1));
        block_on(async {
            let _running = turns.enter().await.unwrap();
            let refused = turns.enter().await.unwrap_err();
            assert!(refused.contains("query_queue_timeout_ms"), "{refused}");
        });
    }
}
