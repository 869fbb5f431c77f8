//! The command line against a server and against a directory.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::harness::{Server, command, run, stderr};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs the binary and expects success.
fn good(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

#[test]
fn what_write_sends_query_prints() {
    let (server, _dir) = Server::start();
    let host = format!("--host=http://{}", server.address);
    good(&[
        "write",
        &host,
        "-d",
        "c",
        "--create",
        "m,t=a f=1.5 1",
        "m,t=b f=2 2",
    ]);
    let json = good(&[
        "query",
        &host,
        "-d",
        "c",
        "-f",
        "json",
        "--epoch",
        "ns",
        "SELECT f FROM m",
    ]);
    assert_eq!(
        json,
        "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"m\",\"columns\":[\"time\",\"f\"],\
         \"values\":[[1,1.5],[2,2]]}]}]}\n"
    );
    let csv = good(&["query", &host, "-d", "c", "-f", "csv", "SELECT f FROM m"]);
    assert_eq!(csv, "name,tags,time,f\nm,,1,1.5\nm,,2,2\n");
    let table = good(&["query", &host, "-d", "c", "SELECT f FROM m"]);
    assert!(
        table.contains("1970-01-01T00:00:00.000000001Z") && table.contains("1.5"),
        "{table}"
    );
}

#[test]
fn errors_of_the_server_are_told_and_exit_1() {
    let (server, _dir) = Server::start();
    let host = format!("--host=http://{}", server.address);
    let output = run(&["write", &host, "-d", "none", "m f=1"]);
    assert_eq!(
        (
            output.status.code(),
            stderr(&output).contains("database not found: \"none\"")
        ),
        (Some(1), true)
    );
    let output = run(&["query", &host, "SELEC"]);
    assert_eq!(
        (
            output.status.code(),
            stderr(&output).contains("error parsing query")
        ),
        (Some(1), true)
    );
    let output = run(&["query", &host, "SELECT f FROM m"]);
    assert_eq!(
        (
            output.status.code(),
            stderr(&output).contains("database name required")
        ),
        (Some(1), true)
    );
    drop(server);
    let output = run(&["query", &host, "SHOW DATABASES"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let output = run(&["query", "--host=https://x", "SHOW DATABASES"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn files_are_imported_in_batches_of_whole_lines() {
    let (server, dir) = Server::start();
    let host = format!("--host=http://{}", server.address);
    let mut text = String::from("# a comment\n\n");
    for number in 0..200_000 {
        let line = format!("m,t={} s=\"one\ntwo\",f={number} {number}\n", number % 7);
        text.push_str(&line);
    }
    assert!(text.len() > 5 << 20, "more than one batch: {}", text.len());
    let (plain, zipped) = (dir.path().join("a.lp"), dir.path().join("b.lp.gz"));
    std::fs::write(&plain, &text).unwrap();
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer
        .write_all(text.replace("m,t", "n,t").as_bytes())
        .unwrap();
    std::fs::write(&zipped, writer.finish().unwrap()).unwrap();
    good(&[
        "import",
        &host,
        "-d",
        "i",
        plain.to_str().unwrap(),
        zipped.to_str().unwrap(),
    ]);
    let query = "SELECT count(f), count(s) FROM m, n";
    let csv = good(&["query", &host, "-d", "i", "-f", "csv", query]);
    assert_eq!(
        csv,
        "name,tags,time,count,count_1\nm,,0,200000,200000\nn,,0,200000,200000\n"
    );
}

#[test]
fn a_directory_without_a_server_is_written_queried_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let data = format!("--data-dir={}", path.display());
    let mut child = command(&["write", &data, "-d", "c", "--create", "--precision", "s"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"m f=1 1\nm f=2 2\n")
        .unwrap();
    assert!(child.wait().unwrap().success());
    let csv = good(&["query", &data, "-d", "c", "-f", "csv", "SELECT f FROM m"]);
    assert_eq!(csv, "name,tags,time,f\nm,,1000000000,1\nm,,2000000000,2\n");
    let server = Server::at(dir.path(), &[]);
    let text = server.get("/query?db=c&epoch=s&q=SELECT+f+FROM+m").text();
    assert!(text.contains("[[1,1],[2,2]]"), "{text}");
    std::fs::write(path.join("blocks/left.tmp"), "half").unwrap();
    let checked = good(&["check", "--deep", path.to_str().unwrap()]);
    let listed = "blocks/left.tmp: nothing refers to it (4 bytes)\n";
    assert!(checked.contains(listed), "{checked}");
    assert!(checked.ends_with("all well\n"), "{checked}");
    let output = command(&["query", &data, "SHOW DATABASES"])
        .env("SILVERBACK_HOST", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(&server.pid().to_string()),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_directory_that_is_not_there_is_not_made_by_a_slip() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("mistyped");
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("note"), "of somebody else").unwrap();
    let backup = dir.path().join("backup");
    for path in [&missing, &other] {
        let data = format!("--data-dir={}", path.display());
        for arguments in [
            &["backup", &data, backup.to_str().unwrap()][..],
            &["query", &data, "SHOW DATABASES"],
            &["write", &data, "-d", "c", "m f=1 1"],
        ] {
            let output = run(arguments);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
            let words = format!("no data directory {}", path.display());
            assert!(text.contains(&words), "{arguments:?}: {text}");
            assert!(text.contains("silverback write --create"), "{text}");
        }
    }
    assert!(!missing.exists() && !backup.exists());
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
}
