//! `/metrics`: all counters for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::metrics::{Kind, Text, render_budget, render_engine};

/// The counters as text.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = Text::default();
    app.metrics.render(&mut text);
    render_engine(&app.engine.stats(), &mut text);
    render_budget(app.engine.budget(), &mut text);
    let uptime = app.started.elapsed().as_secs_f64();
    text.single(
        "uptime_seconds",
        Kind::Gauge,
        "Time since the server began.",
        uptime,
    );
    let help = "Memory of request bodies.";
    text.single("bodies_bytes", Kind::Gauge, help, app.bodies.used());
    let headers = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (headers, text.into_string()).into_response()
}
