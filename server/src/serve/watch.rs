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
    loop {
        tokio::time::sleep(INTERVAL).await;
        let app = Arc::clone(&app);
        let Ok(waits) = tokio::task::spawn_blocking(move || app.engine.retention_waits()).await
        else {
            return;
        };
        for wait in waits.iter().filter(|wait| !told.contains(&wait.database)) {
            let why = retention::sentence(wait);
            tracing::warn!(database = &*wait.database, why, "retention waits");
        }
        told = waits.into_iter().map(|wait| wait.database).collect();
    }
}
