//! Descriptors kept back: where a process has opened all that it may, the log, the manifest and the
//! syncing of folders go on with these, so that writes, deletes and drops do.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// As many as the log, the manifest and `CURRENT` take at one moment, and one for a folder.
const SPARES: usize = 4;
/// Whose files may take a spare one, besides those of the data directory itself.
const FOLDERS: [&str; 2] = ["wal", "manifest"];

/// The descriptors kept back.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<OwnedFd>>);

impl Spares {
    /// Opens those that are missing, as far as the system lets.
    pub(super) fn fill(&self, root: &Path) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while spares.len() < SPARES {
            match rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                Ok(spare) => spares.push(spare),
                Err(_) => return,
            }
        }
    }

    /// What `open` gives; where it finds no descriptor and `path` is one of those that may, it is
    /// called again with one given back.
    pub(super) fn open<T>(
        &self,
        (root, path): (&Path, &Path),
        open: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        if !may_take(path) {
            return open();
        }
        loop {
            match open() {
                Err(error) if is_exhausted(&error) && self.give_back() => {}
                outcome => {
                    if outcome.is_ok() {
                        self.fill(root);
                    }
                    return outcome;
                }
            }
        }
    }

    fn give_back(&self) -> bool {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.pop().is_some()
    }
}

fn may_take(path: &Path) -> bool {
    let mut components = path.components();
    let first = components.next();
    let in_folder = components.next().is_some();
    match first {
        Some(Component::Normal(name)) if in_folder => FOLDERS.iter().any(|own| name == *own),
        Some(_) | None => true,
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn log_and_manifest_get_descriptors_that_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let spares = Spares::default();
        spares.fill(folder.path());
        // A system that has one more descriptor for each that was given back.
        let left = || SPARES - spares.0.lock().unwrap().len();
        let open = |path: &'static str, needed: usize| {
            let calls = Cell::new(0);
            let outcome = spares.open((folder.path(), Path::new(path)), || {
                calls.set(calls.get() + 1);
                if left() >= needed {
                    return Ok(());
                }
                Err(io::Error::from(Errno::MFILE))
            });
            (outcome.is_ok(), calls.get())
        };
        assert_eq!(open("blocks/1.tmp", 1), (false, 1));
        assert_eq!(open("wal/1.wal", 1), (true, 2));
        assert_eq!(open("CURRENT.tmp", 2), (true, 3));
        assert_eq!(open("manifest/1.man", SPARES), (true, SPARES + 1));
        assert_eq!(open("wal/1.wal", SPARES + 1), (false, SPARES + 1));
        assert_eq!(left(), SPARES, "all are given back");
    }
}
