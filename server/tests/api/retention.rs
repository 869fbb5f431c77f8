//! Retention over HTTP: what is too old is refused, and what would drop most waits to be confirmed.

use crate::harness::{Request, Server};

fn post(server: &Server, path: &str, body: &str) -> (u16, String) {
    let answer = server.send(&Request {
        body: body.as_bytes(),
        ..Request::new("POST", path)
    });
    (answer.status, answer.text())
}

fn query(server: &Server, text: &str) -> String {
    let path = format!("/query?db=db&q={}", text.replace(' ', "+"));
    let (status, text) = post(server, &path, "");
    assert_eq!(status, 200);
    text
}

fn retention(server: &Server) -> String {
    let answer = server.get("/health");
    assert_eq!(answer.status, 200);
    let health: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(health["checks"][1]["name"], "retention");
    health["checks"][1]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_change_that_would_drop_most_waits_until_it_is_confirmed() {
    let (server, _dir) = Server::start();
    query(&server, "CREATE DATABASE db");
    assert_eq!(post(&server, "/write?db=db", "m f=1 1000\nm f=2").0, 204);
    assert_eq!(post(&server, "/admin/flush", "").0, 200);
    query(
        &server,
        "ALTER RETENTION POLICY autogen ON db DURATION 8000d SHARD DURATION 7000d",
    );
    // One of three partitions is no more than half: it went at once.
    let counted = query(&server, "SELECT count(f) FROM m");
    assert!(counted.contains(",1]"), "{counted}");
    assert_eq!(retention(&server), "what is past its time is dropped");
    let (status, text) = post(&server, "/write?db=db", "m f=1 1000\nm f=3");
    let refused = "{\"error\":\"partial write: points beyond retention policy dropped=1\"}\n";
    assert_eq!((status, text.as_str()), (400, refused));

    query(&server, "CREATE DATABASE old");
    assert_eq!(post(&server, "/write?db=old", "m f=1 1000").0, 204);
    assert_eq!(post(&server, "/admin/flush", "").0, 200);
    query(
        &server,
        "ALTER RETENTION POLICY autogen ON old DURATION 1h SHARD DURATION 1h",
    );
    let counted = query(&server, "SELECT count(f) FROM old..m");
    assert!(counted.contains(",1]"), "{counted}");
    let waits = retention(&server);
    let begin =
        "retention of database \"old\" waits: it would drop 1 of 1 partitions; it goes on in";
    assert!(waits.starts_with(begin), "{waits}");
    assert!(waits.ends_with("POST /admin/retention/confirm"), "{waits}");
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("silverback_retention_waits 1\n"),
        "{metrics}"
    );
    assert_eq!(post(&server, "/admin/retention/confirm", "").0, 200);
    assert!(!query(&server, "SELECT count(f) FROM old..m").contains("series"));
    assert_eq!(retention(&server), "what is past its time is dropped");
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("silverback_retention_waits 0\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("silverback_retention_blocks_total 2\n"),
        "{metrics}"
    );
}
