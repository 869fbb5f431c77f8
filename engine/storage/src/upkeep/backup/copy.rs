//! Brings single files from one directory to another, and reads them back.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::{BackupProgress, OnProgress, path_of};
use crate::env::{Env, ReadFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::BackupFile;
use crate::format::header::{FileHeader, FileKind};
use crate::format::sealed::{self, SealedReader};

/// Bytes copied or read back at once.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces of a sealed file that are as much.
const PIECES: u64 = (PIECE_BYTES / sealed::PIECE_BYTES) as u64;

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

    /// Has `file`, sealed, in the target, durable but for its name, and read back. How it came
    /// there, unless it was there before.
    pub(super) fn bring(&mut self, file: &BackupFile) -> Result<Option<Brought>> {
        let path = path_of(file.kind, file.file_id);
        let before = self.done;
        match self.verify(file, &path) {
            Ok(()) => return Ok(None),
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
        // What is there stays, however bad it is, until a better one is.
        self.verify(file, &temporary)?;
        let named = self.target.rename(&temporary, &path);
        named.map_err(|source| Error::io("name file", &path, source))?;
        Ok(Some(Brought { is_link }))
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

    /// Reads `file`, which lies `at` a place of the target, whole: what is on the disk, not what is in memory, as
    /// far as the system does that.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` where it is damaged or another file; `Io`.
    pub(super) fn verify(&mut self, file: &BackupFile, at: &Path) -> Result<()> {
        open(self.target, at)?.forget_cached();
        let Some(reader) = open_listed((self.target, at), self.directory_id, file)? else {
            return self.tell(file.size_bytes);
        };
        let mut left = file.size_bytes;
        for piece in 0..reader.piece_count() {
            reader.verify_piece(piece)?;
            if (piece + 1) % PIECES == 0 {
                // The last piece may be a short one.
                let read = left.min(PIECE_BYTES as u64);
                left -= read;
                self.tell(read)?;
            }
        }
        self.tell(left)
    }

    fn tell(&mut self, more_bytes: u64) -> Result<()> {
        self.done.done_bytes += more_bytes;
        (self.progress)(self.done)
    }
}

/// What tells a file from others of its kind and id, and how it is read where it is sealed. Cost: reads the
/// manifest whole, of others header, checksum section and trailer.
fn open_identified(
    (env, at): (&dyn Env, &Path),
    directory_id: u128,
    (kind, file_id): (FileKind, u64),
) -> Result<(BackupFile, Option<SealedReader>)> {
    // Errors name it as it will be, whatever it is called now.
    let path = path_of(kind, file_id);
    let file = open(env, at)?;
    let size_bytes = file.size_bytes();
    let (checksum, reader) = if kind == FileKind::Manifest {
        (checksum_of(&*file, &path)?, None)
    } else {
        let header = FileHeader::new(kind, directory_id, file_id);
        let reader = SealedReader::open(file, &path, &header)?;
        (reader.root_checksum(), Some(reader))
    };
    let file = BackupFile {
        kind,
        file_id,
        size_bytes,
        checksum,
    };
    Ok((file, reader))
}

/// As a list has it, the file of this kind and id.
///
/// # Errors
/// `NotFound`; `Conflict` where it is another; `Corrupt` where what was read of it is damaged; `Io`.
pub(super) fn identify(
    env: &dyn Env,
    directory_id: u128,
    (kind, file_id): (FileKind, u64),
) -> Result<BackupFile> {
    let path = path_of(kind, file_id);
    Ok(open_identified((env, &path), directory_id, (kind, file_id))?.0)
}

/// Opens the file that `listed` means where it lies, as sealed where it is.
///
/// # Errors
/// As [`identify`]; `Corrupt` where it is another.
pub(super) fn open_listed(
    (env, at): (&dyn Env, &Path),
    directory_id: u128,
    listed: &BackupFile,
) -> Result<Option<SealedReader>> {
    let place = (listed.kind, listed.file_id);
    let (found, reader) = open_identified((env, at), directory_id, place)?;
    if found == *listed {
        return Ok(reader);
    }
    let message = format!(
        "the file has {} bytes of checksum {:08x}, the one that belongs here {} of {:08x}",
        found.size_bytes, found.checksum, listed.size_bytes, listed.checksum
    );
    let path = path_of(listed.kind, listed.file_id);
    Err(Error::corrupt(
        path,
        found.size_bytes.min(listed.size_bytes),
        message,
    ))
}

/// The CRC32 of a file.
fn checksum_of(file: &dyn ReadFile, path: &Path) -> Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < file.size_bytes() {
        let left = usize::try_from(file.size_bytes() - at).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(PIECE_BYTES)];
        let read = file.read_at(at, piece);
        read.map_err(|source| Error::io("read file", path, source))?;
        hasher.update(piece);
        at += piece.len() as u64;
    }
    Ok(hasher.finalize())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SimEnv;
    use crate::format::sealed::SealedWriter;

    /// A block of `contents` bytes, of no meaning.
    fn made(env: &SimEnv, contents: usize) -> BackupFile {
        let (kind, file_id) = (FileKind::Block, 1);
        env.create_dir(Path::new("blocks")).unwrap();
        let path = path_of(kind, file_id);
        let header = FileHeader::new(kind, 7, file_id);
        let mut writer = SealedWriter::new(env.create(&path).unwrap(), &path, &header);
        let header_bytes = usize::try_from(writer.position()).unwrap();
        writer.write(&vec![5; contents - header_bytes]).unwrap();
        writer.finish().unwrap();
        identify(env, 7, (kind, file_id)).unwrap()
    }

    #[test]
    fn progress_rises_to_the_size_of_the_file_and_no_further() {
        for contents in [
            64,
            16_384,
            63 * 16_384 + 1,
            64 * 16_384,
            64 * 16_384 + 1,
            127 * 16_384 + 1,
            300 * 16_384,
        ] {
            let env = SimEnv::new(1);
            let file = made(&env, contents);
            let mut told = Vec::new();
            let mut note = |progress: BackupProgress| {
                told.push(progress.done_bytes);
                Ok(())
            };
            let mut transfer = Transfer::new((&env, &env), 7, (file.size_bytes, &mut note));
            transfer
                .verify(&file, &path_of(file.kind, file.file_id))
                .unwrap();
            assert!(told.is_sorted(), "{contents}: {told:?}");
            assert_eq!(told.last(), Some(&file.size_bytes), "{contents}");
        }
    }
}
