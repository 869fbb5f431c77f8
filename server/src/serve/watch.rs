//! Says in the log what the engine waits with: the engine itself logs nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::door::retention;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks until it is aborted.
pub(super) async fn watch(app: Arc<App>) {
    let mut told = BTreeSet::new();
    let mut dropped = 0;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let app = Arc::clone(&app);
        let look = move || (app.engine.retention_waits(), app.engine.stats());
        let Ok((waits, stats)) = tokio::task::spawn_blocking(look).await else {
            return;
        };
        let blocks =
            stats.retention_blocks - std::mem::replace(&mut dropped, stats.retention_blocks);
        if blocks > 0 {
            tracing::info!(blocks, "what is past its time is dropped");
        }
        for wait in waits.iter().filter(|wait| !told.contains(&wait.database)) {
            let why = retention::sentence(wait);
            tracing::warn!(database = &*wait.database, why, "retention waits");
        }
        told = waits.into_iter().map(|wait| wait.database).collect();
    }
}
