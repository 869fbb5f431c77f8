//! Writes on their way: read on a few threads that may block, waited for on none. A thread a
//! waiting write would each keep a heap of its own, and hundreds of writes may wait for one sync.

use std::future::poll_fn;
use std::sync::Arc;

use silverback::{PendingWrite, Result, WriteOutcome};
use tokio::sync::oneshot;

use crate::app::App;

/// Runs `work`, which hands a write to the engine, when its turn has come. `None` where it
/// panicked.
pub(crate) async fn submit<T, W>(app: &Arc<App>, work: W) -> Option<T>
where
    T: Send + 'static,
    W: FnOnce(&App) -> T + Send + 'static,
{
    let turn = Arc::clone(&app.parsers).acquire_owned().await;
    let (sender, receiver) = oneshot::channel();
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || {
        let outcome = work(&app);
        drop(turn);
        // Before leading, which ends with the queue: others may keep that filled. Whoever left
        // has its write stored all the same.
        drop(sender.send(outcome));
        if app.engine.needs_leader() {
            app.engine.lead();
        }
    });
    receiver.await.ok()
}

/// Waits until a write is durable, and while memory is short a little longer.
///
/// # Errors
/// As [`PendingWrite::wait`].
pub(crate) async fn durable(mut write: PendingWrite) -> Result<WriteOutcome> {
    let outcome = poll_fn(|context| write.poll(context.waker())).await;
    let delay = write.delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    outcome
}
