//! `/ping`: whether anybody is there, and who.

use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::version::INFLUXDB_VERSION;

/// 204, or the version as JSON where `verbose` asks for it.
pub(super) async fn ping(RawQuery(query): RawQuery) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match super::parameter(query.as_deref(), "verbose").as_deref() {
        None | Some("" | "0" | "false") => (StatusCode::NO_CONTENT, json).into_response(),
        Some(_) => (json, format!("{{\"version\":\"{INFLUXDB_VERSION}\"}}\n")).into_response(),
    }
}
