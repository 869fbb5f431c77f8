//! Brings single files from one directory to another, and reads them back.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::{BackupProgress, OnProgress, path_of};
use crate::env::{Env, ReadFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::BackupFile;
use crate::format::header::{FileHeader, FileKind};
use crate::format::sealed::SealedReader;

/// Bytes copied or read back at once.
const PIECE_BYTES: usize = 1 << 20;

/// How a file came to its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brought {
    pub(super) is_link: bool,
}

/// Files on their way.
pub(super) struct Transfer<'job> {
    source: &'job dyn Env,
    target: &'job dyn Env,
    directory_id: u128,
    done: BackupProgress,
    progress: OnProgress<'job>,
}

impl<'job> Transfer<'job> {
    pub(super) fn new(
        (source, target): (&'job dyn Env, &'job dyn Env),
        directory_id: u128,
        (total_bytes, progress): (u64, OnProgress<'job>),
    ) -> Transfer<'job> {
        Transfer {
            source,
            target,
            directory_id,
            done: BackupProgress {
                done_bytes: 0,
                total_bytes,
            },
            progress,
        }
    }

    pub(super) fn target(&self) -> &'job dyn Env {
        self.target
    }

    /// Has a sealed file in the target, durable but for its name, and read back. How it came
    /// there, unless it was there before.
    pub(super) fn bring(
        &mut self,
        (kind, file_id): (FileKind, u64),
        size_bytes: u64,
    ) -> Result<(BackupFile, Option<Brought>)> {
        let path = path_of(kind, file_id);
        let before = self.done;
        let file = |checksum| BackupFile {
            kind,
            file_id,
            size_bytes,
            checksum,
        };
        match self.verify((kind, file_id), size_bytes) {
            Ok(checksum) => return Ok((file(checksum), None)),
            // Not there, or what an earlier backup left is no good: made anew.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
            Err(error) => return Err(error),
        }
        self.done = before;
        let temporary = path.with_extension("tmp");
        remove_if_there(self.target, &temporary)?;
        let is_link = self.link(&path, &temporary);
        if !is_link {
            self.copy(&path, &temporary)?;
        }
        let named = self.target.rename(&temporary, &path);
        named.map_err(|source| Error::io("name file", &path, source))?;
        let checksum = self.verify((kind, file_id), size_bytes)?;
        Ok((file(checksum), Some(Brought { is_link })))
    }

    /// A second name for a file, where both directories lie in one file system that gives one.
    fn link(&self, path: &Path, temporary: &Path) -> bool {
        let place = self.source.locate(path);
        place.is_some_and(|place| self.target.link(&place, temporary).is_ok())
    }

    /// Copies a file, durably but for its name.
    pub(super) fn copy(&mut self, path: &Path, temporary: &Path) -> Result<()> {
        let read = |source| Error::io("read file", path, source);
        let write = |source| Error::io("write file", temporary, source);
        let from = open(self.source, path)?;
        let mut to = self.target.create(temporary).map_err(write)?;
        let mut buffer = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < from.size_bytes() {
            let left = usize::try_from(from.size_bytes() - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(PIECE_BYTES)];
            from.read_at(at, piece).map_err(read)?;
            to.write_at(at, &[IoSlice::new(piece)]).map_err(write)?;
            at += piece.len() as u64;
            // Nothing is done yet, but whoever waits may give up.
            (self.progress)(self.done)?;
        }
        to.sync_data().map_err(write)
    }

    /// Reads a sealed file of the target whole: what lies on the disk, not what is in memory, as
    /// far as the system does that. The CRC32 of its bytes.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` where it is not the file that is meant, as a whole; `Io`.
    pub(super) fn verify(
        &mut self,
        (kind, file_id): (FileKind, u64),
        size_bytes: u64,
    ) -> Result<u32> {
        let path = path_of(kind, file_id);
        let file = open(self.target, &path)?;
        if file.size_bytes() != size_bytes {
            let message = format!(
                "the file has {} bytes, not the {size_bytes} that it was made with",
                file.size_bytes()
            );
            return Err(Error::corrupt(&path, size_bytes, message));
        }
        file.forget_cached();
        let header = FileHeader::new(kind, self.directory_id, file_id);
        let reader = SealedReader::open(Arc::clone(&file), &path, &header)?;
        if let Some(error) = reader.verify_all().into_iter().next() {
            return Err(error);
        }
        self.checksum_of(&*file, &path)
    }

    /// The CRC32 of a file of the target.
    pub(super) fn checksum(&mut self, path: &Path) -> Result<u32> {
        let file = open(self.target, path)?;
        file.forget_cached();
        self.checksum_of(&*file, path)
    }

    fn checksum_of(&mut self, file: &dyn ReadFile, path: &Path) -> Result<u32> {
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < file.size_bytes() {
            let left = usize::try_from(file.size_bytes() - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(PIECE_BYTES)];
            file.read_at(at, piece)
                .map_err(|source| Error::io("read file", path, source))?;
            hasher.update(piece);
            at += piece.len() as u64;
            self.done.done_bytes += piece.len() as u64;
            (self.progress)(self.done)?;
        }
        Ok(hasher.finalize())
    }
}

fn open(env: &dyn Env, path: &Path) -> Result<Arc<dyn ReadFile>> {
    env.open_read(path).map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            return Error::new(ErrorKind::NotFound, "the file is missing").at(path, 0);
        }
        Error::io("open file", path, source)
    })
}

/// Removes a file; that there is none is fine.
pub(super) fn remove_if_there(env: &dyn Env, path: &Path) -> Result<()> {
    match env.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove file", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
