//! How much memory the machine gives this process: what it has, and what control groups of either
//! version allow, whichever is least. And how much of it the process holds.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The least of what the machine and the control groups of this process say, bytes.
pub(super) fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kibibytes(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        limit(&text)
    });
    limits.chain(machine).min()
}

/// Memory of this process that is resident and that no file backs, bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "RssAnon:")
}

/// The files that may limit a process whose `/proc/self/cgroup` says `groups`: those of its own
/// groups and of all above. Inside a container the path may be that of the host, and the group's own
/// files stand at the root.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (mounts, name): (&[&str], &str) = if number == "0" && controllers.is_empty() {
            (&["", "unified"], "memory.max")
        } else if controllers.split(',').any(|own| own == "memory") {
            (&["memory"], "memory.limit_in_bytes")
        } else {
            continue;
        };
        for mount in mounts {
            let root = Path::new(CGROUPS).join(mount);
            let group = Path::new(path.trim_start_matches('/'));
            let groups = group.ancestors().map(|group| root.join(group).join(name));
            files.extend(groups);
        }
    }
    files
}

/// The limit that a file states; none where it says `max`.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of `key` in a text that counts in KiB, in bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(groups: &str) -> Vec<String> {
        let files = limit_files(groups).into_iter();
        files.map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn both_versions_of_control_groups_are_asked_up_to_the_root() {
        assert_eq!(
            names("4:cpu,memory:/a/b\n2:cpuset:/c\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert_eq!(
            names("0::/x.slice\n"),
            [
                "/sys/fs/cgroup/x.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/unified/x.slice/memory.max",
                "/sys/fs/cgroup/unified/memory.max",
            ]
        );
        assert!(names("nonsense\n").is_empty());
    }

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!(limit("536870912\n"), Some(536_870_912));
        assert_eq!(limit("max\n"), None);
        assert_eq!(
            kibibytes("MemTotal:   12 kB\n", "MemTotal:"),
            Some(12 * 1024)
        );
        assert_eq!(kibibytes("MemFree: 1 kB\n", "MemTotal:"), None);
    }

    #[test]
    fn this_machine_says_what_it_has_and_what_is_used() {
        let available = available_bytes().unwrap();
        let resident = resident_bytes().unwrap();
        assert!(
            (1..=available).contains(&resident),
            "{resident}, {available}"
        );
    }
}
