//! What browsers ask before they send a request from another page.

use axum::http::{HeaderMap, HeaderValue, header};

/// Adds what a page at `origin` may do.
pub(super) fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let fixed = [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "DELETE, GET, OPTIONS, POST, PUT",
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Accept, Accept-Encoding, Authorization, Content-Length, Content-Type, X-CSRF-Token, \
             X-HTTP-Method-Override",
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Date, X-InfluxDB-Version, X-InfluxDB-Build",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
