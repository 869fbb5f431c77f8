//! `GET` and `POST /query`: `InfluxQL` in, a stream of results out.
//!
//! The query runs as a task of its own, on a thread that is lent to it, and writes into a short pipe;
//! the answer's head is sent with its first piece, so that a query that cannot be parsed still gets its
//! 400.

mod lent;
mod multipart;
mod pipe;
mod render;
mod request;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use silverback::query::result::{QueryError, QueryErrorKind, QueryLimits, QueryOptions, StopFlag};

use silverback::storage::{Error, ErrorKind};

use super::reply::{Refusal, wants_csv, wants_gzip};
use crate::app::App;
use crate::door::bind;
use crate::door::clock;
use crate::door::time_limit::TimeLimit;
use render::Wanted;
use request::Form;

/// Runs the statements of `q`.
pub(super) async fn query(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let is_get = request.method() == Method::GET;
    let wanted = Wanted {
        csv: wants_csv(request.headers()),
        gzip: wants_gzip(request.headers()),
    };
    let form = request::read(&app, request).await?;
    let Some(text) = form.get("q").map(str::to_owned) else {
        return Err(Refusal::invalid("missing required parameter \"q\""));
    };
    let options = options(&app, &form, is_get)?;
    let stop = Arc::clone(&options.stop);
    let style = render::Style::of(&form, wanted);
    let permit = app.queries.enter().await;
    let permit = permit.map_err(|text| Refusal::from(Error::new(ErrorKind::Busy, text)))?;
    let (pipe, mut drain) = pipe::pipe(Arc::clone(&stop));
    let time_limit = TimeLimit::start(app.config.query_timeout_ms, &stop);
    let is_lent = app.lending.is_open();
    let lender = Arc::clone(&app);
    let work = move || {
        let outcome = render::run(&app, &text, &options, &style, pipe);
        drop((permit, time_limit));
        let interrupted = |error: &QueryError| error.kind() == QueryErrorKind::Interrupted;
        if outcome.as_ref().is_err_and(interrupted) {
            app.metrics.queries_cancelled.add(1);
        }
        outcome
    };
    let run = if is_lent {
        tokio::spawn(async move { lent::run(&lender.lending, work) })
    } else {
        tokio::task::spawn_blocking(work)
    };
    if form.get("async") == Some("true") {
        drain.detach();
        return Ok((
            StatusCode::NO_CONTENT,
            [(header::CONTENT_TYPE, "application/json")],
        )
            .into_response());
    }
    if drain.first().await {
        return Ok(answer(wanted, drain.into_body()));
    }
    match run.await {
        Ok(Ok(())) => Ok(answer(wanted, Body::empty())),
        Ok(Err(error)) if error.kind() == QueryErrorKind::Parse => {
            Err(Refusal::invalid(error.message()))
        }
        Ok(Err(error)) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.message(),
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the query failed inside",
        )),
    }
}

/// What the query is run with.
fn options(app: &App, form: &Form, is_get: bool) -> Result<QueryOptions, Refusal> {
    let name = |key| {
        form.get(key)
            .filter(|value| !value.is_empty())
            .map(Into::into)
    };
    Ok(QueryOptions {
        database: name("db"),
        policy: name("rp"),
        now_ns: clock::now_ns(),
        params: bind::read(form.get("params").unwrap_or_default()).map_err(Refusal::invalid)?,
        read_only_context: is_get,
        limits: QueryLimits {
            memory_bytes_max: app.config.query_memory_bytes_max,
            ..app.config.limits.query
        },
        stop: Arc::new(StopFlag::calling(lent::on_check)),
        memory: None,
        running: None,
    })
}

/// The head of an answer.
fn answer(wanted: Wanted, body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let content_type = if wanted.csv {
        "text/csv"
    } else {
        "application/json"
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if wanted.gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
