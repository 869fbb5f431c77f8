//! Writes: from a request to durable points, and what is said of lines that were not stored.

pub(super) mod v1;
pub(super) mod v2;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use silverback::query::lineprotocol::Precision;
use silverback::storage::db::Durability;

use super::body;
use super::reply::{DURABILITY_HEADER, Refusal};
use crate::app::App;
use crate::app::{create, submit};
use crate::door::{durability, refused};
use silverback::{PendingWrite, WriteRequest};

/// Where a body goes and how it is read.
#[derive(Clone, Debug)]
struct Target {
    database: String,
    /// The default one where absent.
    policy: Option<String>,
    precision: Precision,
    durability: Durability,
    /// Whether a database that does not exist is made.
    creates: bool,
}

/// Stores the body of `request`: answers when all of it that is good is as durable as was asked.
async fn store(app: Arc<App>, target: Target, request: Request) -> Result<Response, Refusal> {
    let (parts, sent) = request.into_parts();
    if !target.creates && !app.engine.has_database(&target.database) {
        // The client may write all of its body before it reads this.
        body::linger(&parts.headers, sent);
        let text = format!("database not found: \"{}\"", target.database);
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    }
    let limit = app.config.body_bytes_max;
    let sent = body::read(&parts.headers, sent, limit, &app.bodies).await?;
    let is_gzip = body::is_gzip(&parts.headers);
    let _permit = Arc::clone(&app.writes).acquire_owned().await;
    let submitted = submit::submit(&app, move |app| {
        app.metrics.write_bytes.add(sent.len() as u64);
        let text = if is_gzip {
            body::gunzip(&sent, app.config.inflated_bytes_max, &app.bodies)?
        } else {
            sent
        };
        app.metrics.write_inflated_bytes.add(text.len() as u64);
        put(app, &target, &text)
    });
    let inside = || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the write failed inside");
    let Some(pending) = submitted.await.ok_or_else(inside)?? else {
        return Ok(done(Durability::Disk));
    };
    let written = submit::durable(pending).await?;
    app.metrics.points_stored.add(written.stored);
    app.metrics.points_refused.add(refused::count(&written));
    match refused::text(&written) {
        None => Ok(done(written.durability)),
        Some(text) => Err(Refusal::invalid(text).durability(written.durability)),
    }
}

/// How safe the query string says that the points must be.
fn durability(query: Option<&str>) -> Result<Durability, Refusal> {
    let name = super::parameter(query, "durability");
    durability::read(name.as_deref()).map_err(Refusal::invalid)
}

/// Hands `text` to the engine, unless there is none.
fn put(app: &App, target: &Target, text: &[u8]) -> Result<Option<PendingWrite>, Refusal> {
    if target.creates {
        create::ensure_database(app, &target.database, target.policy.as_deref())?;
    }
    if text.is_empty() {
        return Ok(None);
    }
    let request = WriteRequest {
        database: &target.database,
        policy: target.policy.as_deref(),
        precision: target.precision,
        now_ns: None,
        durability: target.durability,
    };
    Ok(Some(app.engine.submit(&request, text)?))
}

/// All is stored.
fn done(given: Durability) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json"),
        (DURABILITY_HEADER, durability::name(given)),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
