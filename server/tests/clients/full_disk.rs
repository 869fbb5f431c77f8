//! A real full disk: writes are refused by 507 and say so, queries go on, nothing acknowledged is
//! lost, and writing goes on by itself when there is space again.
//!
//! The disk is a small one in memory, mounted where only the server sees it: it goes with the
//! server. That takes root; elsewhere the test says that it did not run.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use silverback_benches::Random;

use crate::product::{Server, free_address, log_path};

/// The disk has room for one segment of the log, not for two.
const DISK: &str = "72m";
const LARGER_DISK: &str = "300m";
/// Requests until the disk must be full, each of a megabyte that does not compress.
const REQUESTS_MAX: u64 = 100;
const LINES: u64 = 64;
/// So long after there is space again the server says so, nobody having written.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// Silverback on a disk of its own, mounted over `folder` for it alone.
fn on_small_disk(folder: &Path) -> Server {
    let address = free_address();
    let script = format!(
        "mount -t tmpfs -o size={DISK} tmpfs {folder} && exec {binary} --data-dir {folder}/data \
         --http-bind {address}",
        folder = folder.display(),
        binary = env!("CARGO_BIN_EXE_silverback"),
    );
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log_path(folder));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log.unwrap());
    Server::start(&mut command, address, "/ready")
}

fn body(request: u64) -> String {
    let mut random = Random(request);
    let mut body = String::new();
    for line in 0..LINES {
        let mut text = String::new();
        for _ in 0..1000 {
            write!(text, "{:016x}", random.bits()).unwrap();
        }
        let time = request * LINES + line;
        writeln!(body, "m,h=h{} s=\"{text}\",n={time}i {time}", line % 7).unwrap();
    }
    body
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        println!("1 test not run: a disk of its own needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let server = on_small_disk(&disk);
    let mut connection = server.connect();
    connection.query("", "CREATE DATABASE d");
    let mut acknowledged = 0;
    let refused = (0..REQUESTS_MAX).find_map(|request| {
        let answer = connection
            .send("POST", "/write?db=d", &[], body(request).as_bytes())
            .unwrap();
        acknowledged += u64::from(answer.status == 204) * LINES;
        (answer.status != 204).then_some(answer)
    });
    let refused = refused.expect("the disk was never full");
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(
        refused.text().contains("No space left"),
        "{}",
        refused.text()
    );
    let mut count = || {
        let answer = connection.query("d", "SELECT count(n) FROM m");
        answer["results"][0]["series"][0]["values"][0][1].as_u64()
    };
    assert_eq!(count(), Some(acknowledged), "queries go on");
    let health = || {
        let answer = server.connect().send("GET", "/health", &[], b"").unwrap();
        (answer.status, answer.text())
    };
    let (status, told) = health();
    assert!(
        status == 503 && told.contains("writes are refused"),
        "{told}"
    );
    let id = server.id().to_string();
    let remount = ["-m", "mount", "-o", &format!("remount,size={LARGER_DISK}")];
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["-t", &id]).args(remount).arg(&disk);
    assert!(nsenter.status().unwrap().success());
    let begin = Instant::now();
    while health().0 != 200 {
        assert!(begin.elapsed() < HEALTHY_WITHIN, "{}", health().1);
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut again = server.connect();
    again.write("d", "m,h=new n=1i 999999999");
    assert_eq!(count(), Some(acknowledged + 1), "writing goes on by itself");
    assert!(server.terminate().success());
}
