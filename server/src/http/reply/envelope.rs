//! What every answer has: version, request id, permission for browsers, and a place in the counters.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::refusal::{Refusal, Style};
use super::{cors, request_id};
use crate::app::App;
use crate::version::{INFLUXDB_BUILD, INFLUXDB_VERSION};

/// The routes that are counted by name.
const ROUTES: [&str; 14] = [
    "/ping",
    "/status",
    "/health",
    "/ready",
    "/metrics",
    "/write",
    "/query",
    "/api/v2/write",
    "/admin/flush",
    "/admin/compact",
    "/debug/vars",
    "/silverback.v1.Silverback/Write",
    "/silverback.v1.Silverback/WriteStream",
    "/silverback.v1.Silverback/Query",
];

/// Wraps every request.
pub(crate) async fn envelope(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let active = app.metrics.requests_active.enter();
    let id = request_id::of(request.headers());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let path = request.uri().path();
    let route = ROUTES.into_iter().find(|route| *route == path);
    let style = Style::of(path, request.uri().query(), request.headers());
    let asks_first = *request.method() == Method::OPTIONS && route.is_some();

    let mut response = if asks_first {
        StatusCode::OK.into_response()
    } else {
        next.run(request).await
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let id = String::from_utf8_lossy(id.as_bytes()).into_owned();
        let (status, reason) = (refusal.status(), refusal.text());
        if status.is_server_error() {
            tracing::warn!(
                request_id = id,
                status = status.as_u16(),
                reason,
                "request failed"
            );
        } else {
            tracing::debug!(
                request_id = id,
                status = status.as_u16(),
                reason,
                "request refused"
            );
        }
        response = refusal.write(style, &id);
    }
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-request-id"), id.clone());
    headers.insert(HeaderName::from_static("request-id"), id);
    let fixed = [
        ("x-influxdb-version", INFLUXDB_VERSION),
        ("x-influxdb-build", INFLUXDB_BUILD),
    ];
    for (name, value) in fixed {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if let Some(origin) = origin {
        cors::allow(origin, headers);
    }
    drop(active);
    let status = response.status().as_u16();
    app.metrics
        .answered(route.unwrap_or("other"), status, began.elapsed());
    response
}
