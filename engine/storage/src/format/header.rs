//! The 64 bytes that every file of a data directory opens with: what it is, which layout it has,
//! whose it is. Pure: bytes in, values out; knows no file contents and no I/O.
//!
//! Invariants: the layout of these 64 bytes never changes with a format's version, so that any
//! build can name any file; every byte is a value, a checked zero, or the checksum of the rest.
//!
//! Layout, little endian, as docs/format/file-header.md states it:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! |      0 |     7 | magic `SLVRBCK` |
//! |      7 |     1 | kind, a letter |
//! |      8 |     4 | format version |
//! |     12 |     4 | minimum reader version |
//! |     16 |    16 | data directory id |
//! |     32 |     8 | file id |
//! |     40 |     8 | generation |
//! |     48 |    12 | reserved, zero |
//! |     60 |     4 | CRC32 of bytes 0 to 59 |

use std::fmt;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::sabotage::{self, Fault};

/// Size of the header, bytes.
pub const HEADER_BYTES: usize = 64;
/// The first seven bytes of every file.
pub const MAGIC: [u8; 7] = *b"SLVRBCK";

const RESERVED: std::ops::Range<usize> = 48..60;
const CHECKSUM_AT: usize = 60;
const _: () = assert!(CHECKSUM_AT + 4 == HEADER_BYTES);

/// What a file is. The letter stands in the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FileKind {
    /// The list of a backup.
    Backup = b'K',
    /// A block of points.
    Block = b'B',
    /// The manifest.
    Manifest = b'M',
    /// A registry of series.
    Registry = b'R',
    /// A segment of the log.
    WalSegment = b'W',
}

impl FileKind {
    /// Every kind there is.
    pub const EVERY: [FileKind; 5] = [
        FileKind::Backup,
        FileKind::Block,
        FileKind::Manifest,
        FileKind::Registry,
        FileKind::WalSegment,
    ];

    /// The letter that stands for the kind on disk.
    pub fn letter(self) -> u8 {
        self as u8
    }

    /// The kind written as `letter`, if there is one.
    pub fn from_letter(letter: u8) -> Option<FileKind> {
        FileKind::EVERY
            .into_iter()
            .find(|kind| kind.letter() == letter)
    }

    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Backup => "backup list",
            FileKind::Block => "block",
            FileKind::Manifest => "manifest",
            FileKind::Registry => "registry",
            FileKind::WalSegment => "WAL segment",
        }
    }

    /// The newest version of the kind's layout that this build writes and reads.
    pub fn version(self) -> u32 {
        match self {
            FileKind::Backup
            | FileKind::Block
            | FileKind::Manifest
            | FileKind::Registry
            | FileKind::WalSegment => 2,
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What the file is.
    pub kind: FileKind,
    /// Version of its layout, from 1.
    pub version: u32,
    /// The oldest reader that understands it; at most `version`.
    pub reader_version_min: u32,
    /// The data directory it belongs to.
    pub directory_id: u128,
    /// Its id, unique in the directory for its kind, never used again.
    pub file_id: u64,
    /// Which writing of that id this is, for kinds that are written anew in place; else 0.
    pub generation: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// There are only so many bytes.
    Short(usize),
    /// The first seven bytes are not ours.
    Magic,
    /// The checksum differs.
    Checksum {
        /// As the header has it.
        stored: u32,
        /// As its bytes give it.
        computed: u32,
    },
    /// No kind has this letter, though the checksum holds.
    Kind(u8),
    /// The byte at this offset is reserved and not zero.
    Reserved(usize),
    /// The versions make no sense together: version, then minimum reader version.
    Versions(u32, u32),
    /// A newer build wrote it, and says that this one cannot read it.
    Newer {
        /// What the file is.
        kind: FileKind,
        /// The version it asks of a reader.
        reader_version_min: u32,
    },
    /// An earlier build wrote it, in a layout that was given up before the first release.
    Older {
        /// What the file is.
        kind: FileKind,
        /// The version it has.
        version: u32,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Short(len) => {
                write!(
                    out,
                    "the file has {len} bytes, fewer than its {HEADER_BYTES}-byte header"
                )
            }
            HeaderError::Magic => out.write_str("the file does not open as a Silverback file does"),
            HeaderError::Checksum { stored, computed } => write!(
                out,
                "header checksum is {stored:08x}, its bytes give {computed:08x}"
            ),
            HeaderError::Kind(letter) => write!(out, "no file kind has the letter {letter:#04x}"),
            HeaderError::Reserved(offset) => write!(out, "reserved byte {offset} is not zero"),
            HeaderError::Versions(version, reader) => write!(
                out,
                "format version {version} with minimum reader version {reader} cannot be"
            ),
            HeaderError::Older { kind, version } => write!(
                out,
                "an unreleased Silverback wrote this {kind} in format version {version}, which this \
                 one does not read any more: it knows {}{}",
                kind.version(),
                match kind {
                    FileKind::Backup => "; make a backup anew, in a directory of its own",
                    FileKind::Block
                    | FileKind::Manifest
                    | FileKind::Registry
                    | FileKind::WalSegment => "",
                }
            ),
            HeaderError::Newer {
                kind,
                reader_version_min,
            } => write!(
                out,
                "a newer Silverback wrote this {kind}: reading it takes format version \
                 {reader_version_min}, this one knows {}",
                kind.version()
            ),
        }
    }
}

impl std::error::Error for HeaderError {}

impl HeaderError {
    /// The error of the engine for `file`: damage, except that another version is a conflict.
    #[must_use]
    pub fn into_error(self, file: &Path) -> Error {
        let offset = match self {
            HeaderError::Newer { .. } | HeaderError::Older { .. } => {
                return Error::new(ErrorKind::Conflict, self.to_string()).at(file, 12);
            }
            HeaderError::Short(_) | HeaderError::Magic => 0,
            HeaderError::Checksum { .. } => CHECKSUM_AT as u64,
            HeaderError::Kind(_) => 7,
            HeaderError::Reserved(offset) => offset as u64,
            HeaderError::Versions(..) => 8,
        };
        Error::corrupt(file, offset, self.to_string())
    }
}

impl FileHeader {
    /// The header of a file of `kind` in the version this build writes.
    pub fn new(kind: FileKind, directory_id: u128, file_id: u64) -> FileHeader {
        FileHeader {
            kind,
            version: kind.version(),
            reader_version_min: kind.version(),
            directory_id,
            file_id,
            generation: 0,
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..7].copy_from_slice(&MAGIC);
        bytes[7] = self.kind.letter();
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.reader_version_min.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.directory_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.file_id.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.generation.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header that `bytes` begin with.
    ///
    /// # Errors
    /// What is wrong with them; a version that this build cannot read is [`HeaderError::Newer`]
    /// or [`HeaderError::Older`].
    pub fn decode(bytes: &[u8]) -> std::result::Result<FileHeader, HeaderError> {
        let bytes = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(HeaderError::Short(bytes.len()))?;
        if bytes[..7] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let u32_at = |at: usize| u32::from_le_bytes(array(&bytes[at..at + 4]));
        let u64_at = |at: usize| u64::from_le_bytes(array(&bytes[at..at + 8]));
        let (stored, computed) = (u32_at(CHECKSUM_AT), crc32fast::hash(&bytes[..CHECKSUM_AT]));
        if stored != computed {
            return Err(HeaderError::Checksum { stored, computed });
        }
        let kind = FileKind::from_letter(bytes[7]).ok_or(HeaderError::Kind(bytes[7]))?;
        let (version, reader_version_min) = (u32_at(8), u32_at(12));
        if reader_version_min == 0 || reader_version_min > version {
            return Err(HeaderError::Versions(version, reader_version_min));
        }
        if reader_version_min > kind.version() && !sabotage::is(Fault::NewerVersionOpened) {
            return Err(HeaderError::Newer {
                kind,
                reader_version_min,
            });
        }
        if version < kind.version() {
            return Err(HeaderError::Older { kind, version });
        }
        if let Some(at) = bytes[RESERVED].iter().position(|byte| *byte != 0) {
            return Err(HeaderError::Reserved(RESERVED.start + at));
        }
        Ok(FileHeader {
            kind,
            version,
            reader_version_min,
            directory_id: u128::from_le_bytes(array(&bytes[16..32])),
            file_id: u64_at(32),
            generation: u64_at(40),
        })
    }

    /// The header that `bytes` of `file` begin with, if it is the one expected: of this kind,
    /// directory and id. Version and generation are the caller's to compare.
    ///
    /// # Errors
    /// `Corrupt` where the bytes are no header; `Conflict` naming what differs, or the version,
    /// where they are the header of another file or a newer format.
    pub fn check(file: &Path, bytes: &[u8], expected: &FileHeader) -> Result<FileHeader> {
        let header = FileHeader::decode(bytes).map_err(|error| error.into_error(file))?;
        let conflict = |message: String, offset: u64| {
            Err(Error::new(ErrorKind::Conflict, message).at(file, offset))
        };
        if header.kind != expected.kind {
            let message = format!("the file is a {}, not a {}", header.kind, expected.kind);
            return conflict(message, 7);
        }
        if header.directory_id != expected.directory_id {
            let message = format!(
                "the file belongs to data directory {:032x}, not to {:032x}",
                header.directory_id, expected.directory_id
            );
            return conflict(message, 16);
        }
        if header.file_id != expected.file_id {
            let message = format!(
                "the file is {} {:016x}, not {:016x}",
                header.kind, header.file_id, expected.file_id
            );
            return conflict(message, 32);
        }
        Ok(header)
    }
}

/// A slice whose length the caller has fixed, as an array.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the range has the array's length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader {
            generation: 5,
            ..FileHeader::new(FileKind::Block, (0x0123_4567_89ab_cdef << 64) | 0x2a, 7)
        }
    }

    fn resealed(mut bytes: [u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn a_header_reads_back_for_every_kind() {
        for kind in FileKind::EVERY {
            let header = FileHeader {
                generation: 5,
                ..FileHeader::new(kind, 0x2a, 7)
            };
            assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(
                FileHeader::decode(&bytes[..len]),
                Err(HeaderError::Short(len))
            );
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name_and_one_that_old_readers_know_is_not() {
        let newer = FileHeader {
            version: 9,
            reader_version_min: 8,
            ..header()
        };
        let error = FileHeader::decode(&newer.encode()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a newer Silverback wrote this block: reading it takes format version 8, this one \
             knows 2"
        );
        assert_eq!(
            error.into_error(Path::new("x")).kind(),
            ErrorKind::Conflict,
            "not damage"
        );
        let readable = FileHeader {
            version: 9,
            ..header()
        };
        assert_eq!(FileHeader::decode(&readable.encode()), Ok(readable));
    }

    #[test]
    fn a_layout_that_was_given_up_is_refused_by_name() {
        for kind in FileKind::EVERY {
            let old = FileHeader {
                version: 1,
                reader_version_min: 1,
                ..FileHeader::new(kind, 1, 1)
            };
            let error = FileHeader::decode(&old.encode()).unwrap_err();
            let said = format!("wrote this {kind} in format version 1");
            assert!(error.to_string().contains(&said), "{error}");
            let kind = error.into_error(Path::new("x")).kind();
            assert_eq!(kind, ErrorKind::Conflict, "not damage");
        }
    }

    #[test]
    fn reserved_bytes_unknown_kinds_and_odd_versions_are_named() {
        let mut bytes = header().encode();
        bytes[50] = 1;
        assert_eq!(
            FileHeader::decode(&resealed(bytes)),
            Err(HeaderError::Reserved(50))
        );
        let mut bytes = header().encode();
        bytes[7] = b'?';
        assert_eq!(
            FileHeader::decode(&resealed(bytes)),
            Err(HeaderError::Kind(b'?'))
        );
        let mut bytes = header().encode();
        bytes[12] = 3;
        assert_eq!(
            FileHeader::decode(&resealed(bytes)),
            Err(HeaderError::Versions(2, 3))
        );
    }

    #[test]
    fn another_file_in_its_place_is_named() {
        let bytes = header().encode();
        let path = Path::new("blocks/7.blk");
        assert_eq!(
            FileHeader::check(path, &bytes, &header()).unwrap(),
            header()
        );
        let others = [
            FileHeader {
                kind: FileKind::Registry,
                ..header()
            },
            FileHeader {
                directory_id: 1,
                ..header()
            },
            FileHeader {
                file_id: 8,
                ..header()
            },
        ];
        let said: Vec<String> = others
            .iter()
            .map(|other| {
                FileHeader::check(path, &bytes, other)
                    .unwrap_err()
                    .to_string()
            })
            .collect();
        assert_eq!(
            said,
            [
                "the file is a block, not a registry (blocks/7.blk at byte 7)",
                "the file belongs to data directory 0123456789abcdef000000000000002a, not to \
                 00000000000000000000000000000001 (blocks/7.blk at byte 16)",
                "the file is block 0000000000000007, not 0000000000000008 (blocks/7.blk at byte \
                 32)",
            ]
        );
    }

    #[test]
    fn the_page_states_the_layout_of_the_code() {
        let page = include_str!("../../../../docs/format/file-header.md");
        let source = include_str!("header.rs");
        let rows: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.starts_with("| "))
            .collect();
        assert_eq!(rows.len(), 10);
        for row in rows {
            assert!(page.contains(row), "the page lacks: {row}");
        }
        for kind in FileKind::EVERY {
            let row = format!("| `{}` | {kind} |", char::from(kind.letter()));
            assert!(page.contains(&row), "the page lacks: {row}");
        }
    }

    #[test]
    fn pages_state_the_versions_of_the_code() {
        let log = include_str!("../../../../docs/format/wal.md");
        let version = FileKind::WalSegment.version();
        assert!(log.contains(&format!("Format version {version}.\n")));
        let manifest = include_str!("../../../../docs/format/manifest.md");
        let version = FileKind::Manifest.version();
        assert!(manifest.contains(&format!("kind `M`, version {version})")));
    }
}
