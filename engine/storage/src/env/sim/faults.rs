//! Which calls fail, and when the machine goes off. Counts operations; knows nothing of the disk.

use std::io;
use std::path::{Path, PathBuf};

/// What a call does. The first nine change the disk: they have numbers and can be the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// `create`.
    Create,
    /// `write_at`, or a piece of it.
    Write,
    /// `allocate`.
    Allocate,
    /// `truncate`.
    Truncate,
    /// `sync_data`.
    SyncData,
    /// `rename`.
    Rename,
    /// `remove`.
    Remove,
    /// `create_dir`.
    CreateDir,
    /// `sync_dir`.
    SyncDir,
    /// `open_read` and `open_write`.
    Open,
    /// `read_at`.
    Read,
    /// `list`.
    List,
}

impl OpKind {
    /// Whether it changes the disk.
    pub fn changes(self) -> bool {
        !matches!(self, OpKind::Open | OpKind::Read | OpKind::List)
    }
}

/// An operation that was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What it did.
    pub kind: OpKind,
    /// To which file or folder.
    pub path: PathBuf,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device broke (EIO).
    Io,
    /// The disk is full (ENOSPC).
    Full,
    /// The quota is used up (EDQUOT).
    Quota,
    /// The process can open nothing more (EMFILE).
    Descriptors,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        match self {
            Failure::Io => io::Error::from_raw_os_error(5),
            Failure::Full => io::ErrorKind::StorageFull.into(),
            Failure::Quota => io::ErrorKind::QuotaExceeded.into(),
            Failure::Descriptors => io::Error::from_raw_os_error(24),
        }
    }
}

/// Which calls to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Calls of this kind, or every call that changes the disk.
    pub kind: Option<OpKind>,
    /// How many such calls go well before it.
    pub after: u64,
    /// How they fail.
    pub failure: Failure,
    /// Whether all later ones fail too, or this one alone.
    pub sticky: bool,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    log: Vec<Op>,
    stop_before: Option<u64>,
    off: bool,
    due: Vec<Fault>,
}

impl Faults {
    pub(super) fn count(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn log(&self) -> &[Op] {
        &self.log
    }

    pub(super) fn stop_before(&mut self, number: u64) {
        self.stop_before = Some(number);
    }

    pub(super) fn power_off(&mut self) {
        self.off = true;
    }

    pub(super) fn is_off(&self) -> bool {
        self.off
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        self.due.push(fault);
    }

    pub(super) fn heal(&mut self) {
        self.due.clear();
    }

    /// Counts a call. `Ok(Some)` where it is to fail by a fault, `Err` where the machine is off.
    pub(super) fn enter(&mut self, kind: OpKind, path: &Path) -> io::Result<Option<Failure>> {
        if kind.changes() && self.stop_before == Some(self.count()) {
            self.off = true;
        }
        if self.off {
            return Err(io::Error::other("the machine is off"));
        }
        if kind.changes() {
            let path = path.to_owned();
            self.log.push(Op { kind, path });
        }
        let mut failure = None;
        self.due.retain_mut(|fault| {
            if !fault.kind.map_or(kind.changes(), |wanted| wanted == kind) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            failure = Some(fault.failure);
            fault.sticky
        });
        Ok(failure)
    }
}
