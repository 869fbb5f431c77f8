//! Queries over HTTP: how answers stream, and what becomes of a query nobody waits for.

use std::io::{Read as _, Write as _};

use crate::harness::{Request, Server};

/// A server with `rows` rows of one series in database `q`.
fn server_with(rows: u32) -> (Server, tempfile::TempDir) {
    let (server, dir) = Server::start();
    let line = |row: u32| format!("m f={row},s=\"a string that takes some room\" {row}\n");
    for first in (0..rows).step_by(100_000) {
        let lines = (first..rows.min(first + 100_000))
            .map(line)
            .collect::<Vec<_>>()
            .concat();
        let request = Request {
            body: lines.as_bytes(),
            ..Request::new("POST", "/api/v2/write?bucket=q")
        };
        assert_eq!(server.send(&request).status, 204);
    }
    (server, dir)
}

#[test]
fn a_long_answer_is_whole() {
    let (server, _dir) = server_with(200_000);
    let csv = Request::new("GET", "/query?db=q&q=SELECT+f+FROM+m").header("Accept", "text/csv");
    let text = server.send(&csv).text();
    assert_eq!(text.lines().count(), 200_001);
    assert!(text.ends_with("\nm,,199999,199999\n"));
    let chunked =
        server.get("/query?db=q&chunked=true&chunk_size=50000&epoch=ns&q=SELECT+f+FROM+m");
    let documents: Vec<serde_json::Value> = chunked
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(documents.len(), 4);
    let last = &documents[3]["results"][0];
    assert_eq!(
        last["series"][0]["values"].as_array().unwrap().len(),
        50_000
    );
    assert!(last["partial"].is_null() && documents[2]["results"][0]["partial"] == true);
}

#[test]
fn a_client_that_leaves_stops_its_query() {
    let (server, _dir) = server_with(300_000);
    let mut stream = server.connect();
    stream
        .write_all(b"GET /query?db=q&q=SELECT+*+FROM+m HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    drop(stream);
    let stopped = |_| {
        server
            .get("/metrics")
            .text()
            .contains("\nsilverback_queries_cancelled_total 1\n")
    };
    assert!(
        (0..100_000).any(stopped),
        "the query ends when its client has left"
    );
}

#[test]
fn a_query_is_stopped_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(
        dir.path(),
        &["--query-timeout-ms", "1", "--auto-create", "always"],
    );
    let request = Request {
        body: b"m f=1 1",
        ..Request::new("POST", "/write?db=q")
    };
    assert_eq!(server.send(&request).status, 204);
    // Four million windows take longer than a millisecond, however fast the machine.
    let query = "/query?db=q&q=SELECT+mean(f)+FROM+m+WHERE+time+%3E=+0+AND+time+%3C+3900000s+GROUP+BY+time(1s)";
    let text = server.get(query).text();
    assert!(
        text.contains("query-timeout limit exceeded"),
        "{}",
        text.len()
    );
}

#[test]
fn asking_for_no_answer_gets_none() {
    let (server, _dir) = Server::start();
    let answer = server.send(&Request::new(
        "POST",
        "/query?async=true&q=CREATE+DATABASE+a",
    ));
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    let made = |_| {
        server
            .get("/query?q=SHOW+DATABASES")
            .text()
            .contains("[\"a\"]")
    };
    assert!((0..100_000).any(made));
}

#[test]
fn multipart_forms_and_files_are_queries() {
    let (server, _dir) = Server::start();
    let body = b"--b\r\nContent-Disposition: form-data; name=\"q\"; filename=\"q.txt\"\r\n\r\n\
        SHOW DATABASES\r\n--b--\r\n";
    let request = Request {
        body,
        ..Request::new("POST", "/query").header("Content-Type", "multipart/form-data; boundary=b")
    };
    let answer = server.send(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("databases"), "{}", answer.text());
}
