//! `/health` and `/ready`: for monitors and balancers. Neither waits for a lock of the engine.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::{App, Phase};
use crate::door::{problem, retention};
use crate::version::VERSION;

/// Whether queries and writes work, with each check.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let stats = app.engine.stats();
    let failure = stats
        .problems
        .first()
        .map(|first| match stats.problem_count {
            0 | 1 => problem::sentence(first),
            count => format!("{}; and {} more", problem::sentence(first), count - 1),
        });
    let word = |fails: bool| if fails { "fail" } else { "pass" };
    let message = failure.as_deref().unwrap_or("ready for queries and writes");
    // Whoever waits serves all the same: it is said, and is no failure.
    let waits: Vec<String> = stats
        .retention_waits
        .iter()
        .map(retention::sentence)
        .collect();
    let retention = match &waits[..] {
        [] => "what is past its time is dropped".to_owned(),
        waits => waits.join("; "),
    };
    let body = serde_json::json!({
        "checks": [
            {"name": "engine", "status": word(failure.is_some()), "message": message},
            {"name": "retention", "status": "pass", "message": retention},
        ],
        "message": message,
        "name": "silverback",
        "status": word(failure.is_some()),
        "version": VERSION,
    });
    let status = match failure {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    json(status, &body)
}

/// Whether requests should be sent here.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let (status, word) = match app.phase() {
        Phase::Ready => (StatusCode::OK, "ready"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    json(status, &serde_json::json!({"status": word}))
}

/// A JSON document and LF.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, format!("{body}\n")).into_response()
}
