//! A disk of 256 KB/s: acknowledgements become slow, memory stays bounded, nothing is lost.
//!
//! The disk is a file with ext4 on a loop device, throttled for the server by the blkio controller.
//! It takes minutes, so it runs where `SILVERBACK_TORTURE` is set; `cargo xtask torture` sets it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{BUDGET, Watched, cgroup, flood, server, verify};

const BYTES_PER_SECOND: u64 = 256 << 10;
const FLOOD_FOR: Duration = Duration::from_secs(30);
const CONNECTIONS: u64 = 16;
const LINES: u64 = 200;

/// A file system of its own; it goes with the value.
#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    device: String,
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

impl Disk {
    fn new(folder: &Path) -> Option<Disk> {
        let image = folder.join("image");
        let mount = folder.join("disk");
        std::fs::create_dir(&mount).unwrap();
        run("truncate", &["-s", "400M", image.to_str()?])?;
        run("mkfs.ext4", &["-q", "-F", image.to_str()?])?;
        let device = run("losetup", &["--find", "--show", image.to_str()?])?;
        let disk = Disk {
            folder: mount,
            device,
        };
        run("mount", &[&disk.device, disk.folder.to_str()?])?;
        Some(disk)
    }

    /// Its numbers, as the controller wants them.
    fn numbers(&self) -> String {
        let id = std::fs::metadata(&self.device).unwrap().rdev();
        format!("{}:{}", id >> 8 & 0xfff, id & 0xff)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Either may never have happened.
        run("umount", &[&self.folder.to_string_lossy()]);
        run("losetup", &["--detach", &self.device]);
    }
}

#[test]
fn a_slow_disk_slows_writers_down_and_loses_nothing() {
    if std::env::var_os("SILVERBACK_TORTURE").is_none() {
        println!("1 test not run: a slow disk takes minutes, set SILVERBACK_TORTURE=1");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(folder.path()) else {
        println!("1 test not run: no loop device can be made here");
        return;
    };
    let limit = format!("{} {BYTES_PER_SECOND}", disk.numbers());
    let group = cgroup::Group::new("blkio", "slow");
    let throttled = group.filter(|group| group.set("blkio.throttle.write_bps_device", &limit));
    let Some(group) = throttled else {
        println!("1 test not run: no blkio controller of control groups can be used here");
        return;
    };
    let data = disk.folder.join("data");
    let budget = BUDGET.to_string();
    let arguments = ["--memory-budget", &budget];
    let slow = server(&data, &arguments, Some(&group));
    slow.connect().query("", "CREATE DATABASE d");
    let watched = Watched::new();
    let sent = std::thread::scope(|scope| {
        scope.spawn(|| watched.watch(slow.id()));
        let sent = flood(slow.address, (CONNECTIONS, LINES), 0, FLOOD_FOR);
        watched.end();
        sent
    });
    let most = watched.end();
    let acknowledged: usize = sent.iter().map(|one| one.acknowledged.len()).sum();
    let slowest = sent.iter().map(|one| one.slowest).max().unwrap();
    println!(
        "{acknowledged} requests of {LINES} lines in {FLOOD_FOR:?}, {} refused, the slowest answer \
         after {slowest:?}; RssAnon {} of {} MiB",
        sent.iter().map(|one| one.refused).sum::<u64>(),
        most >> 20,
        BUDGET >> 20
    );
    assert!(acknowledged > 0);
    assert!(
        slowest > Duration::from_millis(100),
        "the disk was not slow"
    );
    assert!(most < BUDGET / 10 * 11, "{most} bytes resident");
    slow.kill();
    assert!(group.set(
        "blkio.throttle.write_bps_device",
        &format!("{} 0", disk.numbers())
    ));
    // What the dead server left with the controller still goes at the old speed.
    assert!(run("sync", &["--file-system", &disk.folder.to_string_lossy()]).is_some());
    let again = server(&data, &arguments, None);
    let mut connection = again.connect();
    for (writer, sent) in sent.iter().enumerate() {
        verify(&mut connection, writer as u64, (sent, LINES));
    }
    assert!(again.terminate().success());
}
