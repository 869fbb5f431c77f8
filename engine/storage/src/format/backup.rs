//! The list of a backup's files, the last thing that a backup writes: what it does not name does
//! not count. Files are named by kind and id, never by a path. Page: `docs/format/backup.md`.
//!
//! Layout of the contents behind the file header, little endian:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! |     64 |     8 | when the backup was begun, ns since 1970 UTC |
//! |     72 |     8 | sequence: every write up to it is in the backup |
//! |     80 |     8 | number of files |
//! |     88 |    24 | for each file: kind, a letter (1), reserved, zero (3), checksum (4), file id (8), size in bytes (8) |

use std::path::Path;
use std::sync::Arc;

use crate::env::{ReadFile, WriteFile};
use crate::error::{Error, Result};
use crate::format::header::{FileHeader, FileKind, HEADER_BYTES};
use crate::format::sealed::{SealedReader, SealedWriter};
use crate::model::Sequence;

/// Name of the list.
pub const BACKUP: &str = "BACKUP";

const FILES_AT: usize = HEADER_BYTES + 24;
const FILE_BYTES: usize = 24;

/// A file of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupFile {
    /// What it is: a block, a registry or the manifest.
    pub kind: FileKind,
    /// Its id, unique for its kind.
    pub file_id: u64,
    /// Its size, bytes.
    pub size_bytes: u64,
    /// Of a block or a registry [`SealedReader::root_checksum`], of the manifest the CRC32 of all its bytes.
    pub checksum: u32,
}

/// What a complete backup consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupList {
    /// The data directory it was made of.
    pub directory_id: u128,
    /// Which backup in its directory, from 1; also the id of its manifest.
    pub number: u64,
    /// When it was begun, ns since 1970 UTC.
    pub begun_ns: i64,
    /// Every write up to it is in it.
    pub through: Sequence,
    /// Its files, ascending; one of them is the manifest.
    pub files: Vec<BackupFile>,
}

impl BackupList {
    /// Writes the list into `file`, new and empty, durably; `path` names it in errors.
    ///
    /// # Errors
    /// `Io` or `NoSpace`.
    pub fn write(&self, file: Box<dyn WriteFile>, path: &Path) -> Result<()> {
        let header = FileHeader::new(FileKind::Backup, self.directory_id, self.number);
        let mut writer = SealedWriter::new(file, path, &header);
        writer.write(&self.encode())?;
        writer.finish().map(drop)
    }

    /// What stands behind the header.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILES_AT - HEADER_BYTES + self.files.len() * FILE_BYTES);
        bytes.extend_from_slice(&self.begun_ns.to_le_bytes());
        bytes.extend_from_slice(&self.through.0.to_le_bytes());
        bytes.extend_from_slice(&(self.files.len() as u64).to_le_bytes());
        for file in &self.files {
            bytes.extend_from_slice(&[file.kind.letter(), 0, 0, 0]);
            bytes.extend_from_slice(&file.checksum.to_le_bytes());
            bytes.extend_from_slice(&file.file_id.to_le_bytes());
            bytes.extend_from_slice(&file.size_bytes.to_le_bytes());
        }
        bytes
    }

    /// The list in `file`.
    ///
    /// # Errors
    /// `Corrupt` where it is damaged or cut; `Conflict` where it is something else or a newer build
    /// wrote it; `Io`.
    pub fn read(file: Arc<dyn ReadFile>, path: &Path) -> Result<BackupList> {
        let size = file.size_bytes().min(HEADER_BYTES as u64);
        let mut head = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_at(0, &mut head)
            .map_err(|source| Error::io("read file", path, source))?;
        // Whose it is, and which, only the file itself can say.
        let found = FileHeader::decode(&head).map_err(|error| error.into_error(path))?;
        let header = FileHeader::new(FileKind::Backup, found.directory_id, found.file_id);
        let reader = SealedReader::open(file, path, &header)?;
        let bytes = reader.read(HEADER_BYTES as u64..reader.contents_bytes())?;
        BackupList::decode(&found, &bytes)
            .map_err(|(at, message)| Error::corrupt(path, (HEADER_BYTES + at) as u64, message))
    }

    /// The list whose file has this header and these bytes behind it.
    ///
    /// # Errors
    /// Where among the bytes what is wrong.
    pub(crate) fn decode(
        header: &FileHeader,
        bytes: &[u8],
    ) -> std::result::Result<BackupList, (usize, &'static str)> {
        let corrupt = |at: usize, message: &'static str| Err((at, message));
        let Some((fixed, entries)) = bytes.split_at_checked(FILES_AT - HEADER_BYTES) else {
            return corrupt(0, "the list ends early");
        };
        let count = u64::from_le_bytes(array(&fixed[16..24]));
        if count.checked_mul(FILE_BYTES as u64) != Some(entries.len() as u64) {
            return corrupt(16, "the count of files does not give the list's size");
        }
        let mut files: Vec<BackupFile> = Vec::with_capacity(entries.len() / FILE_BYTES);
        for (index, entry) in entries.chunks_exact(FILE_BYTES).enumerate() {
            let at = FILES_AT - HEADER_BYTES + index * FILE_BYTES;
            let kind = FileKind::from_letter(entry[0]).filter(|kind| is_kept(*kind));
            let Some(kind) = kind.filter(|_| entry[1..4] == [0, 0, 0]) else {
                return corrupt(at, "a file is of a kind that backups do not have");
            };
            let file = BackupFile {
                kind,
                checksum: u32::from_le_bytes(array(&entry[4..8])),
                file_id: u64::from_le_bytes(array(&entry[8..16])),
                size_bytes: u64::from_le_bytes(array(&entry[16..24])),
            };
            let place = |file: &BackupFile| (file.kind, file.file_id);
            if files.last().is_some_and(|last| place(last) >= place(&file)) {
                return corrupt(at, "the files do not ascend");
            }
            files.push(file);
        }
        let manifests = files.iter().filter(|file| file.kind == FileKind::Manifest);
        if !manifests.map(|file| file.file_id).eq([header.file_id]) {
            return corrupt(16, "the list has not the one manifest of its number");
        }
        Ok(BackupList {
            directory_id: header.directory_id,
            number: header.file_id,
            begun_ns: i64::from_le_bytes(array(&fixed[..8])),
            through: Sequence(u64::from_le_bytes(array(&fixed[8..16]))),
            files,
        })
    }
}

/// Whether files of `kind` stand in a backup.
fn is_kept(kind: FileKind) -> bool {
    match kind {
        FileKind::Block | FileKind::Manifest | FileKind::Registry => true,
        FileKind::Backup | FileKind::WalSegment => false,
    }
}

/// A slice whose length the caller has fixed, as an array.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the range has the array's length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::format::sealed::tests::{MemFile, MemRead};

    fn list() -> BackupList {
        let file = |kind, file_id| BackupFile {
            kind,
            file_id,
            size_bytes: 1000 + file_id,
            checksum: 7,
        };
        BackupList {
            directory_id: 42,
            number: 3,
            begun_ns: -5,
            through: Sequence(99),
            files: vec![
                file(FileKind::Block, 1),
                file(FileKind::Block, 9),
                file(FileKind::Manifest, 3),
                file(FileKind::Registry, 2),
            ],
        }
    }

    fn bytes(list: &BackupList) -> Vec<u8> {
        let file = MemFile::default();
        list.write(Box::new(file.clone()), Path::new(BACKUP))
            .unwrap();
        file.bytes()
    }

    fn read(bytes: Vec<u8>) -> Result<BackupList> {
        let mapped = false;
        BackupList::read(Arc::new(MemRead { bytes, mapped }), Path::new(BACKUP))
    }

    #[test]
    fn a_list_reads_back_and_every_change_of_a_byte_or_the_length_is_found() {
        let whole = bytes(&list());
        assert_eq!(read(whole.clone()).unwrap(), list());
        for at in 0..whole.len() {
            for mask in [1, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= mask;
                assert!(read(damaged).is_err(), "byte {at}");
            }
            assert!(read(whole[..at].to_vec()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        let change = |change: fn(&mut BackupList)| {
            let mut list = list();
            change(&mut list);
            read(bytes(&list)).unwrap_err()
        };
        let errors = [
            change(|list| list.files.swap(0, 1)),
            change(|list| list.files[1] = list.files[0]),
            change(|list| list.files.truncate(2)),
            change(|list| list.number = 4),
            change(|list| list.files[0].kind = FileKind::WalSegment),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }

    #[test]
    fn the_page_states_the_layout_of_the_code() {
        let page = include_str!("../../../../docs/format/backup.md");
        let source = include_str!("backup.rs");
        let rows = source.lines().filter_map(|line| line.strip_prefix("//! "));
        let rows: Vec<&str> = rows.filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 6);
        assert!(page.contains(&rows.join("\n")));
    }
}
