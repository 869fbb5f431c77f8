//! Files with a flipped bit, or cut under the server: found by `check`, told by `/health`, and the
//! rest is served.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;

use crate::harness::{Answer, Request, Server, answer, command, run, stderr};

fn post(server: &Server, path: &str, body: &[u8]) -> u16 {
    let request = Request {
        body,
        ..Request::new("POST", path)
    };
    server.send(&request).status
}

/// The files of a folder of the data directory.
fn files(dir: &std::path::Path, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("data").join(folder)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_damaged_block_is_found_named_and_does_not_keep_the_rest_from_being_served() {
    let (server, dir) = Server::start();
    let line = |index: u32| format!("m,t={} f={index} {index}\n", index % 9);
    let lines = (0..2000).map(line).collect::<Vec<_>>().concat();
    assert_eq!(
        post(&server, "/api/v2/write?bucket=good", lines.as_bytes()),
        204
    );
    assert_eq!(post(&server, "/admin/flush", b""), 200);
    let before = files(dir.path(), "blocks");
    assert_eq!(
        post(&server, "/api/v2/write?bucket=bad", lines.as_bytes()),
        204
    );
    assert_eq!(post(&server, "/admin/flush", b""), 200);
    let new = files(dir.path(), "blocks")
        .into_iter()
        .find(|path| !before.contains(path))
        .unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));

    let data = dir.path().join("data");
    let check = || run(&["check", data.to_str().unwrap()]);
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("all well\n"));

    let mut bytes = std::fs::read(&new).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&new, &bytes).unwrap();
    let name = new.file_name().unwrap().to_str().unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains(name));

    let server = Server::at(dir.path(), &[]);
    let query = |database: &str| {
        server
            .get(&format!(
                "/query?db={database}&q=SELECT+count(*),sum(*)+FROM+m+WHERE+f%3E=0"
            ))
            .text()
    };
    let good = query("good");
    assert!(good.contains("2000,1999000"), "{good}");
    let bad = query("bad");
    assert!(bad.contains("\"error\":") && bad.contains(name), "{bad}");
    let health = server.get("/health");
    assert_eq!(health.status, 503);
    assert!(health.text().contains(name), "{}", health.text());
    // Somebody who has no copy gives it up: nothing else does.
    for (query, status) in [
        ("", 400),
        ("?file=blocks/nope", 404),
        (&*format!("?file=blocks/{name}"), 200),
        (&*format!("?file=blocks/{name}"), 404),
    ] {
        let found = post(&server, &format!("/admin/blocks/discard{query}"), b"");
        assert_eq!(found, status, "{query}");
    }
    assert!(data.join(format!("quarantine/block-{name}")).is_file());
    assert_eq!(server.get("/health").status, 200);
    let bad = query("bad");
    assert!(!bad.contains("error") && !bad.contains("series"), "{bad}");
    assert_eq!(query("good"), good);
}

#[test]
fn a_block_that_is_cut_under_the_server_fails_its_queries_and_nothing_else() {
    let (server, dir) = Server::start();
    let line = |index: u32| format!("m,t={} f={}.5 {index}\n", index % 9, index % 997 * 7919);
    let lines = (0..20_000).map(line).collect::<Vec<_>>().concat();
    let mut blocks = Vec::new();
    for database in ["good", "bad"] {
        let path = format!("/api/v2/write?bucket={database}");
        assert_eq!(post(&server, &path, lines.as_bytes()), 204);
        assert_eq!(post(&server, "/admin/flush", b""), 200);
        let new = files(dir.path(), "blocks").into_iter();
        blocks.extend(
            new.filter(|path| !blocks.contains(path))
                .collect::<Vec<_>>(),
        );
    }
    let query = |database: &str, text: &str| {
        let path = format!("/query?db={database}&q=SELECT+{text}+FROM+m+WHERE+f%3E=0");
        server.get(&path).text()
    };
    for database in ["good", "bad"] {
        assert!(query(database, "count(f)").contains("20000"));
    }
    assert_eq!(server.get("/health").status, 200);
    let size = blocks[1].metadata().unwrap().len();
    let name = blocks[1].file_name().unwrap().to_str().unwrap();
    for kept in [size - 1, size / 2, 0] {
        let file = std::fs::File::options().write(true).open(&blocks[1]);
        file.unwrap().set_len(kept).unwrap();
        for text in ["count(f)", "f", "sum(f)"] {
            let bad = query("bad", text);
            assert!(
                bad.contains("\"error\":") && bad.contains(name),
                "{kept}: {bad}"
            );
        }
        assert!(query("good", "count(f)").contains("20000"));
        let health = server.get("/health");
        assert_eq!(health.status, 503);
        assert!(health.text().contains(name), "{}", health.text());
    }
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("\nsilverback_damaged_blocks 1\n"),
        "{metrics}"
    );
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn what_is_set_aside_stands_in_the_list_of_a_verification() {
    let (server, dir) = Server::start();
    assert_eq!(post(&server, "/api/v2/write?bucket=d", b"m f=1 1"), 204);
    assert_eq!(post(&server, "/admin/flush", b""), 200);
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
    // A registry file is rebuilt from blocks, where all of those can be read.
    let damaged = ["blocks", "registry"].map(|folder| files(dir.path(), folder).remove(0));
    for path in &damaged {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(path, &bytes).unwrap();
    }
    let server = Server::at(dir.path(), &[]);
    assert_eq!(server.get("/health").status, 503);
    let verified = server.send(&Request::new("POST", "/admin/verify"));
    assert_eq!(verified.status, 200);
    let text = verified.text();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{text}");
    for path in &damaged {
        let name = path.file_name().unwrap().to_str().unwrap();
        let named = |problem: &serde_json::Value| problem.as_str().unwrap().contains(name);
        assert!(problems.iter().any(named), "{}: {text}", path.display());
    }
    assert_eq!(report["files"], 1, "the manifest alone is read: {text}");
}

/// Asks over a connection that stays.
fn ask(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    answer(stream, false)
}

#[test]
fn a_server_without_descriptors_takes_writes_and_goes_on_by_itself() {
    const LIMIT: usize = 64;
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let own = command(&["serve", "--data-dir", data.to_str().unwrap()]);
    let mut limited = command(&[]);
    limited = {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"")]);
        shell.arg(own.get_program()).args(own.get_args());
        shell.args(["--http-bind", "127.0.0.1:0"]);
        for (name, _) in limited.get_envs() {
            shell.env_remove(name);
        }
        shell
    };
    let server = Server::spawn(limited);
    let mut stream = server.connect();
    let database = "/query?q=CREATE+DATABASE+d";
    assert_eq!(ask(&mut stream, "POST", database, "").status, 200);
    // More than the process may hold: those beyond wait to be accepted.
    let idle: Vec<TcpStream> = (0..2 * LIMIT).map(|_| server.connect()).collect();
    let mut refused = None;
    for time in 0..1000 {
        let line = format!("m f={time} {time}");
        // The log's first segment is made now.
        let answer = ask(&mut stream, "POST", "/write?db=d", &line);
        assert_eq!(answer.status, 204, "{}", answer.text());
        let answer = ask(&mut stream, "POST", "/admin/flush", "");
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("descriptors never ran out");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.text().contains("Too many open files"),
        "{}",
        refused.text()
    );
    assert_eq!(
        ask(&mut stream, "POST", "/write?db=d", "m f=1 5000").status,
        204
    );
    let health = ask(&mut stream, "GET", "/health", "");
    assert_eq!(health.status, 503);
    assert!(health.text().contains("flush: "), "{}", health.text());
    drop(idle);
    let flushed = (0..10_000).any(|_| ask(&mut stream, "POST", "/admin/flush", "").status == 200);
    assert!(flushed, "it goes on by itself");
    assert_eq!(ask(&mut stream, "GET", "/health", "").status, 200);
    let metrics = ask(&mut stream, "GET", "/metrics", "").text();
    assert!(
        metrics.contains("\nsilverback_damaged_blocks 0\n"),
        "{metrics}"
    );
}

#[test]
fn links_and_pipes_in_the_data_directory_are_refused_and_hang_nothing() {
    let (server, dir) = Server::start();
    assert_eq!(post(&server, "/api/v2/write?bucket=d", b"m f=1 1"), 204);
    assert_eq!(post(&server, "/admin/flush", b""), 200);
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
    let block = files(dir.path(), "blocks").remove(0);
    let aside = dir.path().join("aside");
    std::fs::rename(&block, &aside).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(&block).status();
    assert!(pipe.unwrap().success());
    let served = |planted: &str| {
        let server = Server::at(dir.path(), &[]);
        let text = server.get("/query?db=d&q=SELECT+f+FROM+m").text();
        assert!(text.contains("\"error\":"), "{planted}: {text}");
        assert_eq!(server.get("/health").status, 503, "{planted}");
    };
    served("a pipe");
    std::fs::remove_file(&block).unwrap();
    std::os::unix::fs::symlink(&aside, &block).unwrap();
    served("a link");
    std::fs::remove_file(&block).unwrap();
    std::fs::rename(&aside, &block).unwrap();
    let server = Server::at(dir.path(), &[]);
    assert_eq!(server.get("/health").status, 200);
}
