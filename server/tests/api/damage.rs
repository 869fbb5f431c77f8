//! Files with a flipped bit, or cut under the server: found by `check`, told by `/health`, and the
//! rest is served.

use std::path::PathBuf;

use crate::harness::{Request, Server, run, stderr};

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
