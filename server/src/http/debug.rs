//! `/debug/vars`: the counters under the names that dashboards of `InfluxDB` 1.x know.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::App;
use crate::door::clock;
use crate::version::INFLUXDB_VERSION;

/// One JSON object; each member but the first three is a point of statistics.
pub(super) async fn vars(State(app): State<Arc<App>>) -> Response {
    let metrics = &app.metrics;
    let uptime = app.started.elapsed();
    let now_ns = clock::now_ns();
    let uptime_ns = i64::try_from(uptime.as_nanos()).unwrap_or(i64::MAX);
    let requests = |route| metrics.requests(|own, _| own == route);
    let bind = app.config.http_bind.to_string();
    let answer = json!({
        "system": {
            "currentTime": clock::rfc3339_ms(now_ns),
            "started": clock::rfc3339_ms(now_ns.saturating_sub(uptime_ns)),
            "uptime": uptime.as_secs(),
        },
        "build": {"Branch": "", "Build Time": "", "Commit": "", "Version": INFLUXDB_VERSION},
        "cmdline": ["silverback"],
        "httpd": {
            "name": "httpd",
            "tags": {"bind": bind},
            "values": {
                "req": metrics.requests(|_, _| true),
                "queryReq": requests("/query"),
                "writeReq": requests("/write") + requests("/api/v2/write"),
                "pingReq": requests("/ping"),
                "statusReq": requests("/status"),
                "clientError": metrics.requests(|_, status| (400..500).contains(&status)),
                "serverError": metrics.requests(|_, status| status >= 500),
                "reqActive": metrics.requests_active.get(),
                "pointsWrittenOK": metrics.points_stored.get(),
                "pointsWrittenDropped": metrics.points_refused.get(),
                "writeReqBytes": metrics.write_bytes.get(),
                "queryRespBytes": metrics.query_bytes.get(),
            },
        },
    });
    let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (StatusCode::OK, headers, format!("{answer}\n")).into_response()
}
