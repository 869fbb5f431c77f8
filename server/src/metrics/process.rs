//! What the system says of this process.

use super::{Kind, Text};
use crate::version::VERSION;

/// Writes memory, CPU time and version.
pub(super) fn render(text: &mut Text) {
    text.family("build_info", Kind::Gauge, "The version that runs.");
    text.sample("build_info", &[("version", VERSION)], 1);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = [
        (
            "RssAnon:",
            "process_resident_anonymous_bytes",
            "Memory of the process that no file backs.",
        ),
        (
            "RssFile:",
            "process_resident_file_bytes",
            "Memory of the process that files back.",
        ),
        (
            "VmHWM:",
            "process_resident_peak_bytes",
            "The most memory the process ever had resident.",
        ),
    ];
    for (key, name, help) in memory {
        if let Some(bytes) = kibibytes(&status, key) {
            text.single(name, Kind::Gauge, help, bytes);
        }
    }
    let times = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = format!("{}.{:09}", times.tv_sec, times.tv_nsec);
    let help = "CPU time of all threads, in user and kernel mode.";
    text.single("process_cpu_seconds_total", Kind::Counter, help, seconds);
}

/// The value of `key` in a status text that counts in KiB, in bytes.
fn kibibytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_status_line_is_read_in_bytes() {
        let status = "Name:\tx\nRssAnon:\t     123 kB\nRssFile:\t 1 kB\n";
        assert_eq!(super::kibibytes(status, "RssAnon:"), Some(123 * 1024));
        assert_eq!(super::kibibytes(status, "VmHWM:"), None);
    }
}
