//! One batch: handed to the engine in the order of the calls, then waited for.

use std::sync::Arc;

use prost::Message as _;
use silverback::query::lineprotocol::{LineError, Precision};
use silverback::storage::db::Durability;
use silverback_protos::v1::write_request::Batch;
use silverback_protos::v1::{self, RowError, WriteResponse};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{columns, status};
use crate::app::App;
use crate::app::{create, submit};
use crate::config::AutoCreate;
use crate::door::refused;
use silverback::{PendingWrite, WriteRequest};

/// Rows whose fault is told, at most.
const ERRORS_MAX: usize = 100;

/// A batch that has its place in the log and is not yet known to be durable.
#[derive(Debug)]
pub(super) struct Submitted {
    app: Arc<App>,
    pending: PendingWrite,
    permit: OwnedSemaphorePermit,
}

/// Hands a batch to the engine.
pub(super) async fn submit(app: &Arc<App>, request: v1::WriteRequest) -> Result<Submitted, Status> {
    let permit = Arc::clone(&app.writes).acquire_owned().await;
    let permit = permit.map_err(|_| Status::unavailable("the server is stopping"))?;
    let submitted = submit::submit(app, move |app| put(app, request)).await;
    let inside = || Status::internal("the write failed inside");
    Ok(Submitted {
        app: Arc::clone(app),
        pending: submitted.ok_or_else(inside)??,
        permit,
    })
}

fn put(app: &App, request: v1::WriteRequest) -> Result<PendingWrite, Status> {
    let fail = |error| status::of(&error);
    if request.database.is_empty() {
        return Err(Status::invalid_argument("database is required"));
    }
    // Until it is handed over; what is made of it is counted apart.
    let _message = app
        .engine
        .budget()
        .admit(request.encoded_len())
        .map_err(fail)?;
    let Some(batch) = request.batch else {
        return Err(Status::invalid_argument("a batch is required"));
    };
    let mut target = WriteRequest {
        database: &request.database,
        policy: Some(request.policy.as_str()).filter(|policy| !policy.is_empty()),
        precision: Precision::Nanosecond,
        now_ns: None,
        durability: durability(request.durability)?,
    };
    if app.config.auto_create == AutoCreate::Always {
        create::ensure_database(app, target.database, target.policy).map_err(fail)?;
    } else if !app.engine.has_database(target.database) {
        let text = format!("database not found: \"{}\"", target.database);
        return Err(Status::not_found(text));
    }
    match batch {
        Batch::LineProtocol(lines) => {
            // A number that is no precision reads as nanoseconds: that would be a wrong time.
            let known = v1::Precision::try_from(lines.precision);
            let known = known.map_err(|error| Status::invalid_argument(error.to_string()))?;
            target.precision = precision(known);
            app.metrics.write_bytes.add(lines.body.len() as u64);
            app.engine.submit(&target, &lines.body).map_err(fail)
        }
        Batch::Columns(columns) => {
            let limit = app.config.inflated_bytes_max;
            let mut typed = columns::read(columns, app.engine.hasher(), limit)?;
            app.engine
                .submit_batch(&target, typed.batch())
                .map_err(fail)
        }
    }
}

/// What the batch asks; a number that is none would be less than it means.
fn durability(number: i32) -> Result<Durability, Status> {
    let known = v1::Durability::try_from(number);
    let known = known.map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(match known {
        v1::Durability::Unspecified | v1::Durability::Disk => Durability::Disk,
        v1::Durability::Buffered => Durability::Buffered,
        v1::Durability::Memory => Durability::Memory,
    })
}

fn given(durability: Durability) -> v1::Durability {
    match durability {
        Durability::Disk => v1::Durability::Disk,
        Durability::Buffered => v1::Durability::Buffered,
        Durability::Memory => v1::Durability::Memory,
    }
}

fn precision(precision: v1::Precision) -> Precision {
    match precision {
        v1::Precision::Unspecified | v1::Precision::Nanoseconds => Precision::Nanosecond,
        v1::Precision::Microseconds => Precision::Microsecond,
        v1::Precision::Milliseconds => Precision::Millisecond,
        v1::Precision::Seconds => Precision::Second,
        v1::Precision::Minutes => Precision::Minute,
        v1::Precision::Hours => Precision::Hour,
    }
}

impl Submitted {
    /// Waits until the batch is as durable as it asks, and says what became of it.
    pub(super) async fn durable(self) -> Result<WriteResponse, Status> {
        let written = submit::durable(self.pending).await;
        let written = written.map_err(|error| status::of(&error))?;
        drop(self.permit);
        let rejected_rows = refused::count(&written);
        self.app.metrics.points_stored.add(written.stored);
        self.app.metrics.points_refused.add(rejected_rows);
        if written.stored == 0
            && let Some(text) = refused::text(&written)
        {
            return Err(Status::invalid_argument(String::from_utf8_lossy(&text)));
        }
        Ok(WriteResponse {
            stored_rows: written.stored,
            rejected_rows,
            errors: written
                .errors
                .iter()
                .take(ERRORS_MAX)
                .map(row_error)
                .collect(),
            durability: given(written.durability).into(),
        })
    }
}

fn row_error(error: &LineError) -> RowError {
    RowError {
        line: error.line,
        message: error.reason.clone(),
    }
}
