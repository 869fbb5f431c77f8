//! Backups from the command line: of a running server, of a directory, and back.

use std::path::Path;

use crate::harness::{Request, Server, run, stderr};

fn post(server: &Server, path: &str, body: &[u8]) -> u16 {
    let request = Request {
        body,
        ..Request::new("POST", path)
    };
    server.send(&request).status
}

fn lines(start: u32) -> String {
    let line = |index: u32| format!("m,t={} f={index}.25 {index}\n", index % 9);
    (start..start + 5000).map(line).collect::<Vec<_>>().concat()
}

/// Runs the binary; what it said on stdout.
fn done(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Restores `backup` into a new folder and counts what a server finds there.
fn count(backup: &str, folder: &Path) -> String {
    let data = folder.join("data");
    let text = done(&["restore", backup, "--data-dir", data.to_str().unwrap()]);
    assert!(text.contains("all verified"), "{text}");
    let text = done(&["check", "--deep", data.to_str().unwrap()]);
    assert!(text.ends_with("all well\n"), "{text}");
    let server = Server::at(folder, &[]);
    server
        .get("/query?db=d&q=SELECT+count(f)+FROM+m+WHERE+f%3E=0")
        .text()
}

#[test]
fn a_running_server_is_backed_up_restored_and_checked() {
    let (server, dir) = Server::start();
    let other = tempfile::TempDir::new().unwrap();
    let backup = other.path().join("backup");
    let backup = backup.to_str().unwrap();
    let host = format!("http://{}", server.address);
    let write = |start| {
        let path = "/api/v2/write?bucket=d";
        assert_eq!(post(&server, path, lines(start).as_bytes()), 204);
    };
    write(0);
    let text = done(&["backup", "--host", &host, backup]);
    assert!(text.contains("backup 1, 3 files"), "{text}");
    assert!(count(backup, &other.path().join("a")).contains("5000]"));
    write(5000);
    let text = done(&["backup", "--host", &host, backup]);
    assert!(
        text.contains("backup 2, ") && text.contains("; 1 files, "),
        "{text}"
    );
    assert!(count(backup, &other.path().join("b")).contains("10000]"));
    let text = done(&["check", "--deep", backup]);
    assert!(
        text.contains("10000 rows in blocks") && text.ends_with("all well\n"),
        "{text}"
    );
    // What may not be asked for.
    assert_eq!(post(&server, "/admin/backup?path=relative", b""), 400);
    let page = Request::new("POST", "/admin/backup?path=/x").header("Origin", "http://p.example");
    assert_eq!(server.send(&page).status, 403);
    let verified = server.send(&Request::new("POST", "/admin/verify"));
    assert_eq!(verified.status, 200);
    assert!(
        verified.text().contains("\"problems\":[]"),
        "{}",
        verified.text()
    );
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let text = done(&["backup", "--data-dir", data, backup]);
    assert!(text.contains("backup 3, "), "{text}");
    let output = run(&["backup", "--data-dir", data, data]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "into itself: {}",
        stderr(&output)
    );
    let output = run(&["restore", backup, "--data-dir", data]);
    assert!(stderr(&output).contains("not empty"), "{}", stderr(&output));
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn a_backup_that_cannot_be_made_names_its_directory_and_what_failed() {
    let (server, dir) = Server::start();
    let ask = |path: &str| {
        let path = format!("/admin/backup?path={path}");
        server.send(&Request::new("POST", &path))
    };
    let answer = ask("/proc/x/y");
    assert_eq!(answer.status, 500, "{}", answer.text());
    let words = "back up into /proc/x/y: lock the directory (LOCK): make the folder /proc/x: ";
    assert!(answer.text().contains(words), "{}", answer.text());
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let text = ask(file.to_str().unwrap()).text();
    let words = format!(
        "back up into {0}: lock the directory (LOCK): make the folder {0}: File exists",
        file.display()
    );
    assert!(text.contains(&words), "{text}");
    let data = dir.path().join("data");
    let text = ask(data.to_str().unwrap()).text();
    let words = format!("back up into {}: ", data.display());
    assert!(text.contains(&words), "{text}");
}
