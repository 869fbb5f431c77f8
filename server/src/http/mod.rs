//! HTTP: routes, and what every answer has in common. One file per handler; handlers turn a
//! request into one call of the engine and its answer into a response.

mod admin;
mod backup;
mod body;
mod debug;
mod delete;
mod health;
mod metrics;
mod ping;
mod query;
mod reply;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::app::App;

/// All routes of HTTP, and of gRPC beside them.
pub(crate) fn router(app: &Arc<App>, grpc: Router) -> Router {
    let ours = Router::new()
        .route("/ping", get(ping::ping))
        .route("/status", get(ping::ping))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/write", post(write::v1::write))
        .route("/api/v2/write", post(write::v2::write))
        .route("/api/v2/delete", post(delete::delete))
        .route("/query", query_route())
        .route("/debug/vars", get(debug::vars))
        .route("/admin/flush", post(admin::flush))
        .route("/admin/compact", post(admin::compact))
        .route("/admin/verify", post(admin::verify))
        .route("/admin/blocks/discard", post(admin::discard))
        .route("/admin/backup", post(backup::backup))
        .route("/admin/retention/confirm", post(admin::confirm_retention))
        .with_state(Arc::clone(app));
    ours.merge(grpc)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(
            Arc::clone(app),
            reply::envelope,
        ))
}

/// A route for GET and HEAD.
fn get<H, T>(handler: H) -> MethodRouter<Arc<App>>
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    on(MethodFilter::GET, handler).fallback(async || not_allowed("OPTIONS, GET, HEAD"))
}

/// A route for POST.
fn post<H, T>(handler: H) -> MethodRouter<Arc<App>>
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    on(MethodFilter::POST, handler).fallback(async || not_allowed("OPTIONS, POST"))
}

/// `/query` takes GET and POST. Not HEAD, which would run the query.
fn query_route() -> MethodRouter<Arc<App>> {
    let refuse = async || not_allowed("OPTIONS, GET, POST");
    on(MethodFilter::GET.or(MethodFilter::POST), query::query)
        .on(MethodFilter::HEAD, refuse)
        .fallback(refuse)
}

/// The answer to a method that the route does not have.
fn not_allowed(allow: &'static str) -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer to a path that is no route: in gRPC's words where gRPC asked.
async fn not_found(request: Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return tonic::Status::unimplemented("no such method").into_http::<axum::body::Body>();
    }
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A plain text as Go's net/http sends it.
fn plain(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text).into_response()
}

/// The value of `name` in a query string; the first where it stands more than once.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
}
