//! Request bodies: read whole, into buffers that are used again, within three limits: of one body
//! as sent, of one body decompressed, and of all bodies in memory together.

mod inflate;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::reply::Refusal;
use crate::app::ledger::{Buffer, Ledger};

/// How long a client may pause inside a body.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long, and how much of, a refused body is read on and thrown away, so that a client that
/// writes everything before it reads still sees why.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 256 << 20;

/// Reads `body` as it was sent, at most `bytes_max` bytes of it.
///
/// # Errors
/// 413 where it is larger, without reading it where its headers say so; 503 where all bodies
/// together take too much memory or the client pauses too long; 400 where it breaks off.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    ledger: &Ledger,
) -> Result<Buffer, Refusal> {
    let stated = content_length(headers);
    if stated.is_some_and(|size| size > bytes_max) {
        linger(headers, body);
        return Err(Refusal::too_large());
    }
    let mut buffer = ledger.buffer();
    let mut body = body;
    let outcome = fill(&mut body, &mut buffer, stated, bytes_max).await;
    match outcome {
        Ok(()) => Ok(buffer),
        Err(refusal) => {
            linger(headers, body);
            Err(refusal)
        }
    }
}

async fn fill(
    body: &mut Body,
    buffer: &mut Buffer,
    stated: Option<usize>,
    bytes_max: usize,
) -> Result<(), Refusal> {
    buffer.reserve(stated.unwrap_or(0))?;
    loop {
        let frame = tokio::time::timeout(PAUSE_MAX, body.frame()).await;
        let Ok(frame) = frame else {
            let text = "the client paused inside the request body";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text).closing());
        };
        let frame = match frame {
            None => return Ok(()),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let text = format!("read request body: {error}");
                return Err(Refusal::invalid(text).closing());
            }
        };
        if let Ok(data) = frame.into_data() {
            if data.len() > bytes_max - buffer.len() {
                return Err(Refusal::too_large());
            }
            buffer.append(&data)?;
        }
    }
}

/// What a gzip body holds, in another buffer. Costs CPU: not for an async thread.
///
/// # Errors
/// 413 where that is larger than `bytes_max`, 400 in Go's words where it is no gzip, 503 as
/// [`read`].
pub(super) fn gunzip(body: &Buffer, bytes_max: usize, ledger: &Ledger) -> Result<Buffer, Refusal> {
    let mut inflated = ledger.buffer();
    inflate::inflate(body, bytes_max, &mut inflated)?;
    Ok(inflated)
}

/// Whether the headers say gzip. Other encodings are not looked at: their bytes are read as text.
pub(super) fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// The size that the headers state.
fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Reads the rest of a refused body and throws it away, within bounds, beside the answer.
pub(super) fn linger(headers: &HeaderMap, mut body: Body) {
    // A client that waits to be asked for its body sends none once it has its answer.
    if body.is_end_stream() || headers.contains_key(header::EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER, async move {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, bytes::Bytes::len);
            if seen > LINGER_BYTES_MAX {
                return;
            }
        }
    }));
}
