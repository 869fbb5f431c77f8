//! What the system says of a process and of a folder.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Clock ticks of a second in `/proc`: fixed by the kernel's interface.
const TICKS: f64 = 100.0;

/// CPU time of a process, user and system, all threads, s.
#[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^53")]
pub(crate) fn cpu_seconds(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name in parentheses may hold spaces: count from behind it.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / TICKS
}

/// CPU time of the threads that a process has now, to the nanosecond, s: for spans that are short.
#[expect(clippy::cast_precision_loss, reason = "a year of it is below 2^53 ns")]
pub(crate) fn thread_seconds(id: u32) -> f64 {
    let mut total = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))
        .unwrap()
        .flatten()
    {
        // A thread may end while the list is read.
        if let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) {
            let time = text
                .split(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok());
            total += time.unwrap_or(0);
        }
    }
    total as f64 / 1e9
}

/// Anonymous memory of a process now, MB.
pub(crate) fn anonymous_mb(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1e3
}

/// Bytes a folder takes on disk: blocks, not lengths.
pub(crate) fn disk(folder: &Path) -> u64 {
    let mut total = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            total += disk(&entry.path());
        } else {
            total += metadata.blocks() * 512;
        }
    }
    total
}
