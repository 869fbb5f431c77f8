//! What the system says of this process.

use std::fmt;
use std::time::Duration;

use rustix::time::ClockId;

/// Resident memory, in KiB each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) anonymous: i64,
    pub(crate) file: i64,
    /// Anonymous and mapped, at the most since [`forget_peak`].
    pub(crate) peak: i64,
}

impl Process {
    pub(crate) fn now() -> Process {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.unwrap().split_whitespace().nth(1).unwrap();
            number.parse().unwrap()
        };
        Process {
            anonymous: field("RssAnon"),
            file: field("RssFile"),
            peak: field("VmHWM"),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: i64| kib / 1024;
        let (anonymous, file) = (mib(self.anonymous), mib(self.file));
        let peak = mib(self.peak);
        write!(
            out,
            "anonymous {anonymous}, file {file}, peak of both {peak}"
        )
    }
}

/// Time on processors so far, user and system, of all threads.
pub(crate) fn cpu_seconds() -> f64 {
    on_processors(ClockId::ProcessCPUTime).as_secs_f64()
}

/// Time that this thread has been on a processor.
pub(crate) fn thread_time() -> Duration {
    on_processors(ClockId::ThreadCPUTime)
}

fn on_processors(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Has the system count the most of memory anew.
pub(crate) fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}
