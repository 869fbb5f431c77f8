//! `/admin/...`: what the engine does by itself, now and waited for.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::backup::check_local;
use super::health::json;
use super::parameter;
use super::reply::Refusal;
use crate::app::App;
use crate::door::clock::rfc3339_ms;
use crate::door::problem;
use silverback::{Discarded, Silverback};

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
    apart(move || work(&app.engine)).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({"status": "done"})))
}

/// What `work` gives, on a thread that may wait.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> silverback::storage::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the work failed inside",
        )),
    }
}

/// Gives up the damaged block that `file` names, and says what went with it.
pub(super) async fn discard(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    check_local(&app, &request, "decisions to give up a block are")?;
    let file = parameter(request.uri().query(), "file").filter(|file| !file.is_empty());
    let missing = "file is required: the damaged block as /health names it, blocks/<id>.blk";
    let file = file.ok_or_else(|| Refusal::invalid(missing))?;
    let discarded = apart(move || app.engine.discard_damaged_block(Path::new(&file))).await?;
    let Discarded {
        database,
        meta,
        file,
    } = discarded;
    let (rows, from) = (meta.row_count, rfc3339_ms(meta.range.start));
    let to = rfc3339_ms(meta.range.end - 1);
    let moved_to = file.map(|file| file.display().to_string());
    tracing::warn!(
        %database,
        rows,
        %from,
        %to,
        moved_to,
        "a damaged block is given up: its points are gone"
    );
    let body = serde_json::json!({
        "status": "done",
        "database": database,
        "rows": rows,
        "from": from,
        "to": to,
        "moved_to": moved_to,
    });
    Ok(json(StatusCode::OK, &body))
}

/// Answers when every finished file was read from the disk, with all that is wrong.
pub(super) async fn verify(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let report = apart(move || app.engine.verify()).await?;
    let problems: Vec<String> = report.problems.iter().map(problem::sentence).collect();
    let body = serde_json::json!({
        "status": "done",
        "files": report.files,
        "bytes": report.bytes,
        "problems": problems,
    });
    Ok(json(StatusCode::OK, &body))
}
