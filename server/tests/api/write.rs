//! Writes over HTTP: limits, compression, and what is said of bad lines.

use std::io::Write as _;

use crate::harness::{Request, Server, answer};

fn post<'a>(path: &'a str, body: &'a [u8]) -> Request<'a> {
    Request {
        body,
        ..Request::new("POST", path)
    }
}

fn server_with_database() -> (Server, tempfile::TempDir) {
    let (server, dir) = Server::start();
    assert_eq!(
        server
            .send(&post("/query?q=CREATE+DATABASE+mydb", b""))
            .status,
        200
    );
    (server, dir)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

#[test]
fn a_write_says_that_it_is_on_disk() {
    let (server, _dir) = server_with_database();
    let answer = server.send(&post("/write?db=mydb", b"m f=1 1"));
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(answer.header("x-silverback-durability"), Some("disk"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn a_write_is_as_durable_as_it_asks_and_the_answer_says_so() {
    let (server, _dir) = server_with_database();
    for path in ["/write?db=mydb", "/api/v2/write?bucket=mydb"] {
        for asked in ["disk", "buffered", "memory"] {
            let path = format!("{path}&durability={asked}");
            let answer = server.send(&post(&path, b"m f=1 1"));
            assert_eq!(answer.status, 204, "{}", answer.text());
            assert_eq!(answer.header("x-silverback-durability"), Some(asked));
        }
        let path = format!("{path}&durability=none");
        let answer = server.send(&post(&path, b"m f=1 1"));
        assert_eq!(answer.status, 400);
        let words = "invalid durability \\\"none\\\" (use disk, buffered or memory)";
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    let partial = server.send(&post(
        "/write?db=mydb&durability=buffered",
        b"m f=1 1\nm f=",
    ));
    assert_eq!(partial.status, 400);
    assert_eq!(partial.header("x-silverback-durability"), Some("buffered"));
}

#[test]
fn a_body_that_states_too_many_bytes_is_refused_before_it_is_sent() {
    let (server, _dir) = server_with_database();
    let mut stream = server.connect();
    let head = b"POST /write?db=mydb HTTP/1.1\r\nHost: x\r\nContent-Length: 25000001\r\n\r\n";
    stream.write_all(head).unwrap();
    let answer = answer(&mut stream, false);
    assert_eq!(answer.status, 413);
    assert_eq!(answer.text(), "{\"error\":\"Request Entity Too Large\"}\n");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(
        answer.header("x-influxdb-error"),
        Some("Request Entity Too Large")
    );
}

#[test]
fn a_client_that_writes_everything_first_still_sees_why_it_was_refused() {
    let (server, _dir) = server_with_database();
    let body = vec![b'x'; 26_000_000];
    let answer = server.send(&post("/write?db=mydb", &body));
    assert_eq!(answer.status, 413);
    let answer = server.send(&post("/write?db=nope", &body[..20_000_000]));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (404, "{\"error\":\"database not found: \\\"nope\\\"\"}\n")
    );
}

#[test]
fn a_chunked_body_is_cut_off_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(
        dir.path(),
        &["--body-bytes-max", "1000", "--auto-create", "always"],
    );
    let send = |size: usize| {
        let mut stream = server.connect();
        let head = "POST /write?db=mydb HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        let body = format!("{size:x}\r\n{}\r\n0\r\n\r\n", "#".repeat(size));
        stream.write_all([head, &body].concat().as_bytes()).unwrap();
        answer(&mut stream, false).status
    };
    assert_eq!(send(1000), 204);
    assert_eq!(send(1001), 413);
}

#[test]
fn a_gzip_bomb_is_refused_with_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(
        dir.path(),
        &["--inflated-bytes-max", "1000000", "--auto-create", "always"],
    );
    let bomb = gzip(&vec![b'#'; 300_000_000]);
    assert!(bomb.len() < 3_000_000, "{}", bomb.len());
    let request = post("/write?db=mydb", &bomb).header("Content-Encoding", "gzip");
    let answer = server.send(&request);
    assert_eq!(answer.status, 413, "{}", answer.text());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 150_000, "{peak_kib} KiB");
}

#[test]
fn gzip_of_several_members_is_one_body() {
    let (server, _dir) = server_with_database();
    let body = [gzip(b"m f=1 1\nm f="), gzip(b"2 2\n")].concat();
    let request = post("/write?db=mydb", &body).header("Content-Encoding", "gzip");
    assert_eq!(server.send(&request).status, 204);
}

#[test]
fn bodies_together_have_a_limit_that_makes_clients_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "--body-bytes-max",
        "600",
        "--inflated-bytes-max",
        "400",
        "--bodies-bytes-max",
        "1000",
    ];
    let server = Server::at(dir.path(), &arguments);
    let mut first = server.connect();
    first
        .write_all(
            b"POST /api/v2/write?bucket=b HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n\r\n#",
        )
        .unwrap();
    let booked = || {
        server
            .get("/metrics")
            .text()
            .contains("\nsilverback_bodies_bytes 600\n")
    };
    assert!(
        (0..100_000).any(|_| booked()),
        "the first body is booked when its request is seen"
    );
    let refused = server.send(&post("/api/v2/write?bucket=b", &[b'#'; 500]));
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(
        refused.text().contains("bodies_bytes_max"),
        "{}",
        refused.text()
    );
}

#[test]
fn v2_makes_its_database_and_answers_errors_in_its_shape() {
    let (server, _dir) = Server::start();
    assert_eq!(
        server
            .send(&post(
                "/api/v2/write?bucket=b/autogen&org=o&precision=s",
                b"m f=1 1"
            ))
            .status,
        204
    );
    assert_eq!(server.send(&post("/write?db=b", b"m f=1 1")).status, 204);
    let answer = server.send(&post("/api/v2/write?bucket=b", b"m"));
    assert_eq!(answer.status, 400);
    let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(error["code"], "invalid");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("unable to parse 'm': missing fields")
    );
    assert_eq!(error["message"], error["error"]);

    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(dir.path(), &["--auto-create", "never"]);
    assert_eq!(
        server
            .send(&post("/api/v2/write?bucket=b", b"m f=1 1"))
            .status,
        404
    );
}

#[test]
fn good_lines_are_stored_although_others_are_bad() {
    let (server, _dir) = server_with_database();
    let answer = server.send(&post("/write?db=mydb", b"good f=1 1\nbad\ngood f=2 2\n"));
    assert_eq!(answer.status, 400);
    let text = answer.header("x-influxdb-error").unwrap();
    assert!(
        text.starts_with("partial write: unable to parse 'bad': missing fields"),
        "{text}"
    );
    assert!(
        text.contains("line 2") && text.ends_with(" dropped=0"),
        "{text}"
    );
}

#[test]
fn a_write_for_a_policy_that_a_new_database_has_not_makes_no_database() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(dir.path(), &["--auto-create", "always"]);
    for (path, policy) in [
        ("/api/v2/write?bucket=ghost/nope", "nope"),
        // The first slash ends the database's name.
        ("/api/v2/write?bucket=ghost/b/autogen", "b/autogen"),
        ("/write?db=ghost&rp=nope", "nope"),
    ] {
        for body in [&b"m f=1 1"[..], b""] {
            let answer = server.send(&post(path, body));
            assert_eq!(answer.status, 500, "{path}: {}", answer.text());
            let words = format!("retention policy not found: {policy}");
            assert_eq!(
                answer.header("x-influxdb-error"),
                Some(&*words),
                "{path}: {}",
                answer.text()
            );
        }
    }
    let databases = || server.get("/query?q=SHOW+DATABASES").text();
    assert!(!databases().contains("ghost"), "{}", databases());
    for bucket in ["bare", "bare2/", "full/autogen"] {
        let path = format!("/api/v2/write?bucket={bucket}");
        assert_eq!(server.send(&post(&path, b"m f=1 1")).status, 204);
    }
    assert!(databases().contains("full"), "{}", databases());
}
