//! `Query`: runs statements on a thread that may block and streams their results.

use std::sync::Arc;

use futures_util::stream;
use silverback::query::result::{QueryErrorKind, QueryLimits, QueryOptions, StopFlag};
use silverback::storage::{Error, ErrorKind};
use silverback_protos::v1::{QueryRequest, QueryResponse};
use tokio::sync::mpsc;
use tonic::{Response, Status};

use super::results::Results;
use super::{Answers, status};
use crate::app::App;
use crate::door::bind;
use crate::door::clock;
use crate::door::time_limit::TimeLimit;

/// Rows of a batch where the client does not say, and at most.
const BATCH_ROWS: usize = 4096;
const BATCH_ROWS_MAX: usize = 1 << 16;

/// Batches under way at most.
const PIECES_MAX: usize = 4;

/// Stops the query when the client has left.
#[derive(Debug)]
struct StopOnDrop(Arc<StopFlag>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

/// Runs the statements of `request`.
pub(super) async fn run(
    app: Arc<App>,
    request: QueryRequest,
) -> Result<Response<Answers<QueryResponse>>, Status> {
    let name = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Into::into);
    let options = QueryOptions {
        database: name(&request.database),
        policy: name(&request.policy),
        now_ns: clock::now_ns(),
        params: bind::read(&request.params_json).map_err(Status::invalid_argument)?,
        read_only_context: false,
        limits: QueryLimits {
            memory_bytes_max: app.config.query_memory_bytes_max,
            ..app.config.limits.query
        },
        stop: Arc::default(),
        memory: None,
        running: None,
    };
    let batch_rows = match request.batch_rows as usize {
        0 => BATCH_ROWS,
        rows => rows.min(BATCH_ROWS_MAX),
    };
    let stop = StopOnDrop(Arc::clone(&options.stop));
    let permit = app.queries.enter().await;
    let permit = permit.map_err(|text| status::of(&Error::new(ErrorKind::Busy, text)))?;
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let time_limit = TimeLimit::start(app.config.query_timeout_ms, &options.stop);
    tokio::task::spawn_blocking(move || {
        let mut results = Results::new(sender, Arc::clone(&options.stop), batch_rows);
        let outcome = app
            .engine
            .query_into(&request.query, &options, &mut results);
        drop((permit, time_limit));
        if let Err(error) = outcome {
            if error.kind() == QueryErrorKind::Interrupted {
                app.metrics.queries_cancelled.add(1);
            }
            // A killed query's reader is still there, and what it has is not the whole answer.
            results.fail(status::of_query(&error));
        }
    });
    // The stream holds `stop`: a client that leaves drops both.
    let answers = stream::unfold((receiver, stop), async |(mut receiver, stop)| {
        let answer = receiver.recv().await?;
        Some((answer, (receiver, stop)))
    });
    Ok(Response::new(Box::pin(answers)))
}
