//! How the process begins and ends.

use std::io::{Read as _, Write as _};

use crate::harness::{Server, answer, command, run, stderr};

#[test]
fn it_says_where_the_data_is_and_how_to_reach_it() {
    let (server, dir) = Server::start();
    let data = dir.path().join("data");
    let expected = format!("data_dir={}", data.display());
    assert!(server.greeting.contains(&expected), "{}", server.greeting);
    let url = format!("url=http://{}", server.address);
    assert!(server.greeting.contains(&url), "{}", server.greeting);
}

#[test]
fn json_log_lines_are_objects() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(dir.path(), &["--log-format", "json"]);
    for line in server.greeting.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            event["msg"].is_string() && event["ts"].is_string(),
            "{line}"
        );
    }
}

/// A write whose body is half sent, and known to be under way.
fn half_a_write(server: &Server) -> std::net::TcpStream {
    let mut stream = server.connect();
    let head = b"POST /api/v2/write?bucket=b HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nm f=";
    stream.write_all(head).unwrap();
    let under_way = |_| {
        server
            .get("/metrics")
            .text()
            .contains("\nsilverback_bodies_bytes 8\n")
    };
    assert!(
        (0..100_000).any(under_way),
        "the body is booked when its request is seen"
    );
    stream
}

#[test]
fn sigterm_finishes_the_request_under_way_and_exits_0() {
    let (mut server, _dir) = Server::start();
    let mut stream = half_a_write(&server);
    server.signal("TERM");
    while !server.next_log_line().contains("signal=SIGTERM") {}
    stream.write_all(b"1 1\n").unwrap();
    let answer = answer(&mut stream, false);
    assert_eq!(answer.status, 204, "{}", answer.text());
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("msg=stopped"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut server, _dir) = Server::start();
    let _stream = half_a_write(&server);
    server.signal("TERM");
    while !server.next_log_line().contains("signal=SIGTERM") {}
    server.signal("INT");
    let (code, log) = server.wait();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("signal=SIGINT"), "{log}");
}

#[test]
fn requests_that_take_too_long_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(dir.path(), &["--drain-timeout-ms", "50"]);
    let _stream = half_a_write(&server);
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("cut off"), "{log}");
}

#[test]
fn a_second_process_exits_4_and_names_the_first() {
    let (server, dir) = Server::start();
    let data = dir.path().join("data");
    let arguments = [
        "serve",
        "--data-dir",
        data.to_str().unwrap(),
        "--http-bind",
        "127.0.0.1:0",
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let pid = server.pid().to_string();
    assert!(stderr(&output).contains(&pid), "{pid}: {}", stderr(&output));
}

#[test]
fn an_address_in_use_exits_1() {
    let (server, dir) = Server::start();
    let other = dir.path().join("other");
    let address = server.address.to_string();
    let output = run(&[
        "--data-dir",
        other.to_str().unwrap(),
        "--http-bind",
        &address,
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn wrong_configuration_exits_2_and_says_what_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("silverback.toml");
    let path = file.to_str().unwrap();
    let cases = [
        ("data-dir = \"x\"", "did you mean data_dir?"),
        ("auto_create = \"maybe\"", "maybe"),
        ("http_bind = \"0.0.0.0:0\"", "--insecure-open"),
        ("= 3", "config"),
    ];
    for (text, expected) in cases {
        std::fs::write(&file, text).unwrap();
        let output = run(&["serve", "--config", path]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(expected),
            "{text}: {}",
            stderr(&output)
        );
    }
    let output = run(&[
        "serve",
        "--config",
        dir.path().join("none").to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = run(&["serve", "--no-such-flag"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn the_environment_is_below_flags_and_above_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("silverback.toml");
    let (by_file, by_variable) = (dir.path().join("file"), dir.path().join("variable"));
    let text = format!("data_dir = {by_file:?}\nlog_format = \"json\"\n");
    std::fs::write(&file, text).unwrap();
    let mut configured = command(&[
        "--http-bind",
        "127.0.0.1:0",
        "--config",
        file.to_str().unwrap(),
    ]);
    configured.env("SILVERBACK_DATA_DIR", &by_variable);
    configured.env("SILVERBACK_AUTOCREATE", "v2");
    let server = Server::spawn(configured);
    assert!(
        server.greeting.contains(by_variable.to_str().unwrap()),
        "{}",
        server.greeting
    );
    assert!(server.greeting.starts_with('{'), "{}", server.greeting);
    assert!(
        server.greeting.contains("SILVERBACK_AUTO_CREATE"),
        "{}",
        server.greeting
    );
}

#[test]
fn version_help_and_completions_exit_0() {
    let output = run(&["version", "--json"]);
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(version["name"], "silverback");
    assert_eq!(output.status.code(), Some(0));
    for arguments in [
        ["--help"].as_slice(),
        &["version"],
        &["completions", "bash"],
        &["--version"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("silverback"),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_connection_that_asks_nothing_is_closed_and_an_idle_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::at(dir.path(), &["--header-timeout-ms", "100"]);
    let ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut idle = server.connect();
    idle.write_all(ping).unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    for begun in ["", "GET /pi"] {
        let mut silent = server.connect();
        silent.write_all(begun.as_bytes()).unwrap();
        // The end of the stream: the read itself waits as long as the test has patience.
        assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0, "{begun:?}");
    }
    idle.write_all(ping).unwrap();
    let mut rest = Vec::new();
    while !rest.ends_with(b"HTTP/1.1 204") {
        let mut byte = [0];
        idle.read_exact(&mut byte).unwrap();
        rest.push(byte[0]);
    }
}
