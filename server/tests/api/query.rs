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

/// Waits until one query has been.
fn is_counted_as_cancelled(server: &Server) -> bool {
    (0..100_000).any(|_| {
        let metrics = server.get("/metrics").text();
        metrics.contains("\nsilverback_queries_cancelled_total 1\n")
    })
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
    assert!(
        is_counted_as_cancelled(&server),
        "the query ends when its client has left"
    );
}

/// Numbers of the queries that are listed with `text`.
fn listed(server: &Server, text: &str) -> Vec<u64> {
    let answer = server.get("/query?q=SHOW+QUERIES").text();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let rows = answer["results"][0]["series"][0]["values"].as_array();
    let rows = rows.unwrap().iter();
    let own = rows.filter(|row| row[1].as_str().is_some_and(|own| own.contains(text)));
    own.map(|row| row[0].as_u64().unwrap()).collect()
}

fn kill(server: &Server, id: u64) -> String {
    let path = format!("/query?q=KILL+QUERY+{id}");
    server.send(&Request::new("POST", &path)).text()
}

#[test]
fn a_slow_readers_query_is_listed_until_it_is_killed_and_then_ends_early() {
    // More than all buffers on the way to the reader hold.
    let (server, _dir) = server_with(700_000);
    assert!(listed(&server, "FROM m").is_empty());
    let mut stream = server.connect();
    let request =
        "GET /query?db=q&q=SELECT+*+FROM+m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let found = listed(&server, "FROM m");
    let [id] = found[..] else {
        panic!("{found:?} are listed");
    };
    // It stands still before its reader meanwhile.
    assert!((0..300).all(|_| listed(&server, "FROM m") == [id]));
    assert_eq!(kill(&server, id), "{\"results\":[{\"statement_id\":0}]}\n");
    let is_gone = (0..10_000).any(|_| listed(&server, "FROM m").is_empty());
    assert!(is_gone, "a killed query is listed");
    let mut rest = Vec::new();
    // A connection that is reset has ended, too.
    let read = stream.read_to_end(&mut rest);
    let is_whole = rest.ends_with(b"\r\n0\r\n\r\n");
    let says_so = memchr::memmem::find(&rest, b"query interrupted").is_some();
    assert!(
        !is_whole || says_so,
        "{} bytes look whole: {read:?}",
        rest.len()
    );
    assert!(rest.len() < 20_000_000, "{} bytes of it came", rest.len());
    assert!(says_so || is_counted_as_cancelled(&server));
    assert!(kill(&server, id).contains(&format!("no such query id: {id}")));
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
