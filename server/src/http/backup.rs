//! `POST /admin/backup`: a backup into a directory of the server's machine. The answer is lines of
//! JSON: how far it is, some times a second, then what it came to or `error`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use silverback::storage::{Error, ErrorKind};
use silverback::{BackupProgress, BackupReport};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::parameter;
use super::reply::Refusal;
use crate::app::App;

/// How often the client is told how far the backup is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Lines under way.
const LINES_MAX: usize = 16;

/// What the thread that makes the backup tells.
enum Told {
    Progress(BackupProgress),
    End(Result<BackupReport, Error>),
}

/// Makes the backup that `path` names, and answers as it goes. A client that leaves stops it.
pub(super) async fn backup(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let path = allowed(&app, &request)?;
    let (sender, mut receiver) = mpsc::channel(LINES_MAX);
    tokio::task::spawn_blocking(move || {
        let mut told: Option<Instant> = None;
        let report = app.engine.backup(&path, &mut |progress| {
            if told.is_some_and(|at| at.elapsed() < PROGRESS_INTERVAL) {
                return Ok(());
            }
            told = Some(Instant::now());
            sender.blocking_send(Told::Progress(progress)).map_err(|_| {
                Error::new(
                    ErrorKind::Closed,
                    "the client that asked for the backup left",
                )
            })
        });
        if let Err(error) = &report {
            tracing::warn!(%error, path = %path.display(), "backup failed");
        }
        // Whoever left has its backup all the same.
        drop(sender.blocking_send(Told::End(report)));
    });
    let first = match receiver.recv().await {
        Some(Told::End(Err(error))) => return Err(error.into()),
        Some(first) => line(first),
        None => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(Refusal::new(status, "the work failed inside"));
        }
    };
    let lines = stream::unfold((Some(first), receiver), async |(first, mut receiver)| {
        let line = match first {
            Some(first) => first,
            None => line(receiver.recv().await?),
        };
        Some((Ok::<_, std::convert::Infallible>(line), (None, receiver)))
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// The directory, if whoever asks may have one written.
fn allowed(app: &App, request: &Request) -> Result<PathBuf, Refusal> {
    check_local(app, request, "backups are")?;
    let path = PathBuf::from(parameter(request.uri().query(), "path").unwrap_or_default());
    if path.is_absolute() {
        Ok(path)
    } else {
        let text = "path is required: an absolute path of a directory on the server's machine";
        Err(Refusal::invalid(text))
    }
}

/// Refuses what only somebody on this machine may ask for: `what` it is, and its verb.
pub(super) fn check_local(app: &App, request: &Request, what: &str) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(StatusCode::FORBIDDEN, text));
    let binds = [Some(app.config.http_bind), app.config.grpc_bind];
    if binds.iter().flatten().any(|bind| !bind.ip().is_loopback()) {
        return refuse(format!(
            "{what} made over loopback only: nothing asks for credentials yet"
        ));
    }
    // Any page in a browser on this machine reaches the port.
    if request.headers().contains_key(header::ORIGIN) {
        return refuse(format!("{what} not for pages in browsers"));
    }
    Ok(())
}

fn line(told: Told) -> Bytes {
    let value = match told {
        Told::Progress(progress) => serde_json::json!({
            "done_bytes": progress.done_bytes,
            "total_bytes": progress.total_bytes,
        }),
        Told::End(Ok(report)) => serde_json::json!({
            "status": "done",
            "number": report.number,
            "through": report.through,
            "files": report.files,
            "bytes": report.bytes,
            "new_files": report.new_files,
            "new_bytes": report.new_bytes,
            "linked_files": report.linked_files,
        }),
        Told::End(Err(error)) => serde_json::json!({"error": error.to_string()}),
    };
    Bytes::from(format!("{value}\n"))
}
