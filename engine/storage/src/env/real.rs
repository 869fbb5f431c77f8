//! The machine as it is: files by descriptor, the system's clocks, threads with names.
//!
//! Every open refuses links and special files; files are made 0600 and folders 0700. A failed sync
//! is told once and never tried again here. Mapped files are read-only and were finished before.

mod descriptors;
mod finished;
mod guard;
mod lock;
mod map;
mod memory;
mod place;
mod step;

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;

use descriptors::Spares;
use finished::RealReadFile;
pub use guard::guard_mapped_files;

use crate::env::{DirEntry, DirLock, Env, ReadFile, StepHandle, StepOutcome, WriteFile};

/// The system takes at most this many buffers in one call.
const BUFFERS_MAX: usize = 1024;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// How to use the machine.
#[derive(Clone, Copy, Debug)]
pub struct RealOptions {
    /// Map finished files into memory. Without it they are read by `pread`, and a file that is cut
    /// or a disk that fails under a reader is an error and no signal. With it that is an error too
    /// in a process that called [`guard_mapped_files`], and ends any other.
    pub mmap: bool,
}

/// One data directory on this machine.
#[derive(Debug)]
pub struct RealEnv {
    root: PathBuf,
    options: RealOptions,
    spares: Spares,
}

impl RealEnv {
    /// The machine with `data_dir` as its data directory. Touches nothing yet: [`Env::lock`] makes
    /// and takes the directory.
    pub fn new(data_dir: impl Into<PathBuf>, options: RealOptions) -> RealEnv {
        RealEnv {
            root: data_dir.into(),
            options,
            spares: Spares::default(),
        }
    }

    fn full(&self, path: &Path) -> io::Result<PathBuf> {
        let mut depth = 0;
        for component in path.components() {
            depth += 1;
            if !matches!(component, Component::Normal(_)) || depth > 2 {
                let message = format!("{} leads out of the data directory", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        Ok(self.root.join(path))
    }
}

impl Env for RealEnv {
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let lock = lock::take(&self.root, &self.full(path)?)?;
        self.spares.fill(&self.root);
        Ok(Box::new(lock))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let full = self.full(path)?;
        let open = || open_regular(&full, flags);
        let file = self.spares.open((&self.root, path), open)?;
        Ok(Box::new(RealWriteFile { file }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = open_regular(&self.full(path)?, OFlags::WRONLY)?;
        Ok(Box::new(RealWriteFile { file }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let file = RealReadFile::open(self.full(path)?, self.options.mmap)?;
        Ok(Arc::new(file))
    }

    fn open_unmapped(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(RealReadFile::open(self.full(path)?, false)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::rename(self.full(from)?, self.full(to)?)?)
    }

    fn locate(&self, path: &Path) -> Option<PathBuf> {
        std::path::absolute(self.full(path).ok()?).ok()
    }

    fn link(&self, file: &Path, path: &Path) -> io::Result<()> {
        // Not what a symbolic link leads to: that would be the link itself, and is refused when it
        // is opened.
        let here = rustix::fs::CWD;
        let flags = rustix::fs::AtFlags::empty();
        Ok(rustix::fs::linkat(
            here,
            file,
            here,
            self.full(path)?,
            flags,
        )?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlink(self.full(path)?)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = self.full(path)?;
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Err(Errno::EXIST) if path.symlink_metadata()?.is_dir() => Ok(()),
            other => Ok(other?),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(self.full(path)?)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                size_bytes: metadata.len(),
                is_dir: metadata.is_dir(),
            });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // What is in a folder is durable already: the name is all that is missing, whosever it is.
        let full = self.full(path)?;
        let open = || sync_folder(&full);
        self.spares.open((&self.root, Path::new("")), open)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.root)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn now_ns(&self) -> i64 {
        let now = rustix::time::clock_gettime(ClockId::Realtime);
        now.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(now.tv_nsec)
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    fn memory_bytes(&self) -> Option<usize> {
        memory::available_bytes().and_then(|bytes| usize::try_from(bytes).ok())
    }

    fn resident_bytes(&self) -> Option<usize> {
        memory::resident_bytes().and_then(|bytes| usize::try_from(bytes).ok())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the env that others ask")]
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn monotonic(&self) -> Duration {
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).expect("the monotonic clock starts at zero");
        let ns = u32::try_from(now.tv_nsec).expect("nanoseconds are below 10^9");
        Duration::new(seconds, ns)
    }

    fn random(&self) -> [u64; 4] {
        let mut bytes = [0u8; 32];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Ok(more) => filled += more,
                Err(error) => {
                    assert!(
                        error == Errno::INTR,
                        "the system gives no randomness: {error}"
                    );
                }
            }
        }
        std::array::from_fn(|word| {
            let word = bytes[word * 8..][..8].try_into();
            u64::from_le_bytes(word.expect("eight bytes are eight bytes"))
        })
    }

    fn every(
        &self,
        name: &str,
        interval: Duration,
        step: Box<dyn FnMut() -> StepOutcome + Send>,
    ) -> io::Result<Box<dyn StepHandle>> {
        Ok(Box::new(step::start(name, interval, step)?))
    }
}

#[derive(Debug)]
struct RealWriteFile {
    file: OwnedFd,
}

impl WriteFile for RealWriteFile {
    fn write_at(&mut self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        write_all(offset, buffers, |offset, buffers| {
            rustix::io::pwritev(&self.file, buffers, offset)
        })
    }

    fn allocate(&mut self, size: u64) -> io::Result<()> {
        let old = size_of(&self.file)?;
        if size <= old {
            return Ok(());
        }
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, size) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
                other => return Ok(other?),
            }
        }
        let mut at = old;
        while at < size {
            let length =
                usize::try_from(size - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.write_at(at, &[IoSlice::new(&ZEROS[..length])])?;
            at += length as u64;
        }
        Ok(())
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| {
            rustix::fs::ftruncate(&self.file, size)
        })?)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}

/// Hands `buffers` to `write` until all is written, however little it takes at a time.
fn write_all(
    mut offset: u64,
    buffers: &[IoSlice<'_>],
    mut write: impl FnMut(u64, &[IoSlice<'_>]) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let mut left: u64 = buffers.iter().map(|buffer| buffer.len() as u64).sum();
    // What is done of the buffer that comes next.
    let (mut next, mut done) = (0, 0);
    while left > 0 {
        while buffers[next].len() == done {
            (next, done) = (next + 1, 0);
        }
        let whole = &buffers[next..buffers.len().min(next + BUFFERS_MAX)];
        let written = if done == 0 {
            write(offset, whole)
        } else {
            let rest = IoSlice::new(&buffers[next][done..]);
            write(offset, &[rest])
        };
        let mut written = match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += written as u64;
        left -= written as u64;
        while written > 0 {
            let step = written.min(buffers[next].len() - done);
            (done, written) = (done + step, written - step);
            if done == buffers[next].len() {
                (next, done) = (next + 1, 0);
            }
        }
    }
    Ok(())
}

/// Opens a file that must be an ordinary one. A pipe is opened without waiting for its other end.
fn open_regular(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file =
        rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR))?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        let name = path.file_name().unwrap_or(OsStr::new("")).display();
        let message = format!("{name} is not an ordinary file");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

fn size_of(file: &OwnedFd) -> io::Result<u64> {
    let size = rustix::fs::fstat(file)?.st_size;
    u64::try_from(size).map_err(|_| io::Error::other("the system gives a negative file size"))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(folder)?)
}

/// Makes a folder and those above it, with the names of all of them durable. An error names the folder
/// that could not be made.
fn make_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |error: &io::Error| {
        let message = format!("make the folder {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    };
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    make_folders(parent)?;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        // It was there when it was to be made, and is no folder.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(failed(&error))
        }
        Ok(()) | Err(_) => sync_folder(parent),
    }
}

#[cfg(test)]
mod tests;
