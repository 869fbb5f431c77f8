//! Finished files, mapped into memory or read by `pread`.
//!
//! A mapped file needs no descriptor but to notice that it was cut within its last page. That is worth
//! one as long as the process has plenty: beyond, the file is asked for by its name, so that how many
//! blocks a directory may hold does not hang on how many files its user may open.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use rustix::fs::{Advice, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::map::Mapping;
use super::{open_regular, size_of};
use crate::env::ReadFile;

/// Mapped files may keep one descriptor of this many that the process may open: the others are for
/// connections, for what is written, and for blocks that cannot be mapped.
const KEPT_SHARE: u64 = 4;

/// Descriptors that mapped files keep.
#[derive(Debug)]
pub(super) struct Kept {
    count: AtomicUsize,
    max: fn() -> u64,
}

/// Those of the process.
pub(super) static KEPT: Kept = Kept::new(|| {
    let limit = getrlimit(Resource::Nofile).current;
    limit.unwrap_or(u64::MAX) / KEPT_SHARE
});

impl Kept {
    const fn new(max: fn() -> u64) -> Kept {
        Kept {
            count: AtomicUsize::new(0),
            max,
        }
    }

    /// Whether one more is kept, until [`Kept::leave`].
    fn enter(&self) -> bool {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let kept = (before as u64) < (self.max)();
        if !kept {
            self.leave();
        }
        kept
    }

    fn leave(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that nobody writes to any more.
#[derive(Debug)]
pub(super) struct RealReadFile {
    place: PathBuf,
    /// Which file that was, whoever has the name later: its device and its number there.
    identity: (u64, u64),
    size_bytes: u64,
    may_map: bool,
    /// None once the file is mapped and there is no descriptor to spare for it.
    file: RwLock<Option<OwnedFd>>,
    /// Made when it is first asked for. Where the system has no room for another one, the file is
    /// read without.
    map: OnceLock<Option<Mapping>>,
    kept: &'static Kept,
}

impl RealReadFile {
    /// # Errors
    /// What the system says; `InvalidInput` where it is no ordinary file.
    pub(super) fn open(place: PathBuf, may_map: bool) -> io::Result<RealReadFile> {
        RealReadFile::open_of(&KEPT, place, may_map)
    }

    fn open_of(kept: &'static Kept, place: PathBuf, may_map: bool) -> io::Result<RealReadFile> {
        let file = open_regular(&place, OFlags::RDONLY)?;
        let size_bytes = size_of(&file)?;
        Ok(RealReadFile {
            place,
            identity: identity(&rustix::fs::fstat(&file)?),
            size_bytes,
            may_map,
            file: RwLock::new(Some(file)),
            map: OnceLock::new(),
            kept,
        })
    }

    fn mapping(&self) -> Option<&Mapping> {
        self.map.get().and_then(Option::as_ref)
    }

    /// Calls `call` with the descriptor, where there is one.
    fn described<T>(&self, call: impl FnOnce(&OwnedFd) -> T) -> Option<T> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().map(call)
    }

    /// Maps the file and lets its descriptor go where others need it more.
    fn map(&self) -> Option<Mapping> {
        let map = self.described(|file| Mapping::new(file, self.size_bytes).ok());
        let map = map.flatten()?;
        if !self.kept.enter() {
            let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
            *file = None;
        }
        Some(map)
    }

    /// As much of the file as the mapping has, of one without a descriptor.
    fn copy(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let bytes = self.mapping().map_or(&[][..], Mapping::bytes);
        let start = usize::try_from(offset).map_err(|_| ended())?;
        let rest = bytes.get(start..).unwrap_or_default();
        buffer.copy_from_slice(rest.get(..buffer.len()).ok_or_else(ended)?);
        if self.fault().is_some() || self.size_now()? < self.size_bytes {
            return Err(ended());
        }
        Ok(())
    }
}

impl Drop for RealReadFile {
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        if file.is_some() && matches!(self.map.get(), Some(Some(_))) {
            self.kept.leave();
        }
    }
}

impl ReadFile for RealReadFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.described(|file| rustix::io::pread(file, &mut *buffer, offset)) {
                None => return self.copy(offset, buffer),
                Some(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Ok(more)) => {
                    offset += more as u64;
                    buffer = &mut buffer[more..];
                }
                Some(Err(Errno::INTR)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Option<&[u8]> {
        let may_map = self.may_map && self.size_bytes > 0;
        let map = || may_map.then(|| self.map()).flatten();
        self.map.get_or_init(map).as_ref().map(Mapping::bytes)
    }

    fn fault(&self) -> Option<u64> {
        self.mapping().and_then(Mapping::fault)
    }

    fn forget_cached(&self) {
        // Advice: where it is not taken, what is read may come from memory.
        let forget = |file: &OwnedFd| rustix::fs::fadvise(file, 0, None, Advice::DontNeed).ok();
        if self.described(forget).is_none()
            && let Ok(file) = open_regular(&self.place, OFlags::RDONLY)
        {
            forget(&file);
        }
    }

    fn size_now(&self) -> io::Result<u64> {
        if self.mapping().is_none() {
            return Ok(self.size_bytes);
        }
        if let Some(size) = self.described(size_of) {
            return size;
        }
        // A file that was removed has no name by which anybody could cut it.
        match rustix::fs::lstat(&self.place) {
            Ok(stat) if identity(&stat) == self.identity => {
                u64::try_from(stat.st_size).map_err(io::Error::other)
            }
            Ok(_) | Err(Errno::NOENT) => Ok(self.size_bytes),
            Err(error) => Err(error.into()),
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SIZE: usize = 9000;

    /// A file mapped by a process that keeps one descriptor for such files.
    fn mapped(kept: &'static Kept, place: &Path) -> RealReadFile {
        std::fs::write(place, [7; SIZE]).unwrap();
        let file = RealReadFile::open_of(kept, place.to_owned(), true).unwrap();
        assert_eq!(file.bytes(), Some(&[7; SIZE][..]));
        file
    }

    fn is_open(file: &RealReadFile) -> bool {
        file.described(|_| ()).is_some()
    }

    fn cut(place: &Path, size: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(place);
        file.unwrap().set_len(size).unwrap();
    }

    #[test]
    fn mapped_files_give_their_descriptor_back_where_none_are_left_to_keep() {
        static KEPT: Kept = Kept::new(|| 1);
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["1", "2"].map(|name| folder.path().join(name));
        let (kept, given) = (mapped(&KEPT, &first), mapped(&KEPT, &second));
        assert_eq!((is_open(&kept), is_open(&given)), (true, false));
        for file in [&kept, &given] {
            let mut bytes = [0; 10];
            file.read_at(100, &mut bytes).unwrap();
            assert_eq!(bytes, [7; 10]);
            let beyond = file.read_at(SIZE as u64 - 9, &mut bytes).unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(file.size_now().unwrap(), SIZE as u64);
            file.forget_cached();
        }
        // What the first one kept is free for another.
        drop(kept);
        let third = mapped(&KEPT, &first);
        assert!(is_open(&third));
        drop(given);
        assert!(!is_open(&mapped(&KEPT, &second)));
    }

    #[test]
    fn a_cut_is_noticed_by_name_where_the_name_still_is_the_files() {
        static KEPT: Kept = Kept::new(|| 0);
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("1");
        let file = mapped(&KEPT, &place);
        cut(&place, 8999);
        assert_eq!(file.size_now().unwrap(), 8999);
        let read = file.read_at(0, &mut [0; 10]).unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::UnexpectedEof);
        cut(&place, SIZE as u64);
        // Another file of the same name is none of ours, nor is one that was removed.
        let others = folder.path().join("2");
        std::fs::write(&others, b"short").unwrap();
        std::fs::rename(&others, &place).unwrap();
        assert_eq!(file.size_now().unwrap(), SIZE as u64);
        std::fs::remove_file(&place).unwrap();
        assert_eq!(file.size_now().unwrap(), SIZE as u64);
    }

    #[test]
    fn mapped_files_of_the_process_leave_most_descriptors_to_others() {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!((KEPT.max)(), limit / 4);
    }
}
