//! A stream of batches: handed to the engine one after another, so that later rows win; waited for
//! side by side, so that many share a sync; answered in their order.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use silverback_protos::v1::write_stream_response::Outcome;
use silverback_protos::v1::{WriteRefusal, WriteResponse, WriteStreamRequest, WriteStreamResponse};
use tonic::{Status, Streaming};

use super::{status, write};
use crate::app::App;

/// Batches of one stream that may wait for their sync at a time.
const UNDER_WAY_MAX: usize = 16;

/// The answers to `batches`.
pub(super) fn answers(
    app: Arc<App>,
    batches: Streaming<WriteStreamRequest>,
) -> impl Stream<Item = Result<WriteStreamResponse, Status>> {
    let submitted = stream::unfold((app, batches), async |(app, mut batches)| {
        let request = match batches.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return None,
            Err(status) => return Some((Err(status), (app, batches))),
        };
        let number = request.number;
        let submitted = match request.write {
            Some(write) => write::submit(&app, write).await,
            None => Err(Status::invalid_argument("a batch is required")),
        };
        if let Err(status) = &submitted {
            let (stream_id, reason) = (request.stream_id, status.message());
            tracing::debug!(stream_id, number, reason, "a batch was refused");
        }
        Some((Ok((number, submitted)), (app, batches)))
    });
    submitted
        .map(async |next| {
            let (number, submitted) = next?;
            let outcome = match submitted {
                Ok(submitted) => submitted.durable().await,
                Err(status) => Err(status),
            };
            Ok(answer(number, outcome))
        })
        .buffered(UNDER_WAY_MAX)
}

fn answer(number: u64, outcome: Result<WriteResponse, Status>) -> WriteStreamResponse {
    let outcome = match outcome {
        Ok(stored) => Outcome::Stored(stored),
        Err(status) => Outcome::Refused(WriteRefusal {
            code: u32::try_from(i32::from(status.code())).unwrap_or_default(),
            message: status.message().to_owned(),
            retry_after_s: status::retry_after_s(&status),
        }),
    };
    WriteStreamResponse {
        number,
        outcome: Some(outcome),
    }
}
