//! One owner per data directory: a lock of the system on a file, and a list in this process, since
//! some file systems give a process its own lock twice. Both go with the process, so what a kill
//! leaves behind is no obstacle.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::{make_folders, open_regular, write_all};
use crate::env::DirLock;

/// Device and inode of the folders this process owns: a link or another mount leads to the same.
static OWNED: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// Longest owner text that is read: a process id in decimal.
const OWNER_BYTES_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct RealLock {
    key: (u64, u64),
    /// Closing it lets the system's lock go.
    _file: OwnedFd,
}

impl DirLock for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        owned().remove(&self.key);
    }
}

pub(super) fn take(root: &Path, file: &Path) -> io::Result<RealLock> {
    make_folders(root)?;
    let stat = rustix::fs::stat(root)?;
    let key = (stat.st_dev, stat.st_ino);
    // Held until the file is locked: of two threads one gets both, the other neither.
    let mut owned = owned();
    if owned.contains(&key) {
        return Err(taken(root, &std::process::id().to_string()));
    }
    let lock = open_regular(file, OFlags::RDWR | OFlags::CREATE)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(taken(root, &owner_of(&lock))),
        other => other?,
    }
    rustix::fs::ftruncate(&lock, 0)?;
    let owner = format!("{}\n", std::process::id());
    // For people alone: a disk without room for it can be opened.
    write_all(0, &[IoSlice::new(owner.as_bytes())], |offset, buffers| {
        rustix::io::pwritev(&lock, buffers, offset)
    })
    .ok();
    owned.insert(key);
    Ok(RealLock { key, _file: lock })
}

fn owned() -> std::sync::MutexGuard<'static, BTreeSet<(u64, u64)>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn taken(root: &Path, owner: &str) -> io::Error {
    let message = format!(
        "process {owner} has the data directory {} open",
        root.display()
    );
    io::Error::new(io::ErrorKind::WouldBlock, message)
}

/// The id that the owner wrote; it may not have come to it yet.
fn owner_of(lock: &OwnedFd) -> String {
    let mut text = [0; OWNER_BYTES_MAX];
    let length = rustix::io::pread(lock, &mut text[..], 0).unwrap_or(0);
    let text = text[..length].trim_ascii();
    match std::str::from_utf8(text) {
        Ok(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => id.to_owned(),
        Ok(_) | Err(_) => "(id unknown)".to_owned(),
    }
}
