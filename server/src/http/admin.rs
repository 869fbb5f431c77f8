//! `/admin/...`: what the engine does by itself, now and waited for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::health::json;
use super::reply::Refusal;
use crate::app::App;
use crate::door::problem;
use silverback::Silverback;

/// Answers when everything in memory is in blocks.
pub(super) async fn flush(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    run(app, Silverback::flush).await
}

/// Answers when the whole store is in its final, cold form.
pub(super) async fn compact(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    run(app, Silverback::compact).await
}

/// Answers when what waited to be dropped is.
pub(super) async fn confirm_retention(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    run(app, |engine| {
        let waits = engine.retention_waits().len();
        let blocks = engine.confirm_retention()?;
        tracing::info!(
            waits,
            blocks,
            "retention is confirmed: what waited is dropped"
        );
        Ok(())
    })
    .await
}

async fn run(
    app: Arc<App>,
    work: fn(&Silverback) -> silverback::storage::Result<()>,
) -> Result<Response, Refusal> {
    let outcome = tokio::task::spawn_blocking(move || work(&app.engine)).await;
    match outcome {
        Ok(Ok(())) => Ok(json(StatusCode::OK, &serde_json::json!({"status": "done"}))),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the work failed inside",
        )),
    }
}

/// Answers when every finished file was read from the disk, with all that is wrong.
pub(super) async fn verify(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let outcome = tokio::task::spawn_blocking(move || app.engine.verify()).await;
    match outcome {
        Ok(Ok(report)) => {
            let problems: Vec<String> = report.problems.iter().map(problem::sentence).collect();
            let body = serde_json::json!({
                "status": "done",
                "files": report.files,
                "bytes": report.bytes,
                "problems": problems,
            });
            Ok(json(StatusCode::OK, &body))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the work failed inside",
        )),
    }
}
