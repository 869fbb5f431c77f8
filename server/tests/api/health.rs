//! What monitors and browsers ask.

use crate::harness::{Request, Server};

#[test]
fn ping_answers_204_with_version_and_request_id() {
    let (server, _dir) = Server::start();
    let answer = server.get("/ping");
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert_eq!(answer.header("x-influxdb-version"), Some("1.8.10"));
    assert_eq!(answer.header("x-influxdb-build"), Some("OSS"));
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(answer.header("request-id"), Some(id));

    let answer = server.send(&Request::new("HEAD", "/ping").header("X-Request-Id", "abc-1"));
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("request-id"), Some("abc-1"));

    let answer = server.get("/ping?verbose=true");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"version\":\"1.8.10\"}\n")
    );
    assert_eq!(server.get("/ping?verbose=0").status, 204);
}

#[test]
fn health_and_ready_are_json() {
    let (server, _dir) = Server::start();
    let answer = server.get("/health");
    assert_eq!(answer.status, 200);
    let health: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(health["status"], "pass");
    assert_eq!(health["checks"][0]["status"], "pass");
    let answer = server.get("/ready");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"status\":\"ready\"}\n")
    );
}

#[test]
fn metrics_have_help_and_type_and_count_requests() {
    let (server, _dir) = Server::start();
    server.get("/ping");
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let sample = "silverback_http_requests_total{route=\"/ping\",status=\"204\"} 1";
    assert!(text.lines().any(|line| line == sample), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(name.starts_with("silverback_"), "{line}");
        for kind in ["HELP", "TYPE"] {
            assert!(
                text.contains(&format!("# {kind} {family} ")),
                "{kind} of {family}"
            );
        }
    }
}

#[test]
fn unknown_paths_and_methods_get_gos_texts() {
    let (server, _dir) = Server::start();
    let answer = server.get("/nothing/here");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (404, "404 page not found\n")
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.header("x-influxdb-version"), Some("1.8.10"));
    let answer = server.send(&Request::new("POST", "/ping"));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (405, "Method Not Allowed\n")
    );
    assert_eq!(answer.header("allow"), Some("OPTIONS, GET, HEAD"));
}

#[test]
fn browsers_are_told_what_they_may_send() {
    let (server, _dir) = Server::start();
    let question = Request::new("OPTIONS", "/query").header("Origin", "http://page.example");
    let answer = server.send(&question);
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://page.example")
    );
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("DELETE, GET, OPTIONS, POST, PUT")
    );
    let plain = server.get("/ping");
    assert_eq!(plain.header("access-control-allow-origin"), None);
}

#[test]
fn debug_vars_are_points_that_telegraf_reads() {
    let (server, _dir) = Server::start();
    server.get("/ping");
    let answer = server.get("/debug/vars");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let vars: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(vars["system"]["uptime"].is_u64(), "{vars}");
    assert_eq!(vars["httpd"]["name"], "httpd");
    assert_eq!(vars["httpd"]["values"]["pingReq"], 1);
}
