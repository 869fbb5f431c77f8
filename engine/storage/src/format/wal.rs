//! Byte layout of a segment of the log: its first sector, group headers, record headers. Pure: bytes
//! in, values out. It knows no I/O, and nothing of what a record's payload says.
//!
//! Invariants: a group begins at a multiple of 512, so that no sector holds bytes of two syncs and a
//! torn one takes no acknowledged record along; every checksum is seeded with directory, segment,
//! salt and offset, so that bytes of another log, another segment or another place never pass.
//!
//! Layout, little endian, as docs/format/wal.md states it. The first sector:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! |      0 |    64 | file header, kind `W`; the file id is the segment's number |
//! |     64 |     8 | salt, drawn for this segment |
//! |     72 |     8 | first sequence that the segment may hold |
//! |     80 |     8 | durable sequence when the segment was made |
//! |     88 |    36 | reserved, zero |
//! |    124 |     4 | CRC32 of bytes 0 to 123 |
//! |    128 |   384 | zero |
//!
//! A group header:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! |      0 |     4 | magic `GRP1` |
//! |      4 |     4 | record count |
//! |      8 |     8 | salt of the segment |
//! |     16 |     8 | sequence of the first record |
//! |     24 |     8 | bytes of the group, header included, padding behind it not |
//! |     32 |     8 | durable sequence when the group was written |
//! |     40 |     8 | number of the segment |
//! |     48 |    12 | reserved, zero |
//! |     60 |     4 | seeded CRC32 of bytes 0 to 59 |
//!
//! A record header:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! |      0 |     4 | bytes of the payload |
//! |      4 |     1 | kind |
//! |      5 |     3 | reserved, zero |
//! |      8 |     8 | sequence |
//! |     16 |     4 | seeded CRC32 of bytes 0 to 15 |
//! |     20 |     4 | CRC32 of the payload, carried on from the one before it |

use std::path::Path;

use crate::error::{Error, Result};
use crate::format::header::{FileHeader, FileKind, HEADER_BYTES};

/// Groups begin at its multiples; the segment's own header fills the first one. Bytes.
pub const SECTOR_BYTES: u64 = 512;
/// The same, for arrays.
pub const SECTOR: usize = 512;
/// Size of a group header, bytes.
pub const GROUP_HEADER_BYTES: usize = 64;
/// Size of a record header, bytes.
pub const RECORD_HEADER_BYTES: usize = 24;
/// Records begin at its multiples, padded with zeros. Bytes.
pub const RECORD_ALIGN: u64 = 8;
/// Longest payload of one record, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

const GROUP_MAGIC: [u8; 4] = *b"GRP1";
const SEGMENT_FIELDS_END: usize = 128;
const _: () = assert!(SECTOR as u64 == SECTOR_BYTES && SEGMENT_FIELDS_END <= SECTOR);
const _: () = assert!(SECTOR_BYTES.is_multiple_of(RECORD_ALIGN));
const _: () = assert!((GROUP_HEADER_BYTES as u64).is_multiple_of(RECORD_ALIGN));
const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);

/// What opens a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The data directory it belongs to.
    pub directory_id: u128,
    /// Its number, which is its file id and its name.
    pub number: u64,
    /// Drawn for this segment.
    pub salt: u64,
    /// First sequence that it may hold.
    pub first: u64,
    /// Every sequence up to here that was ever acknowledged as durable lies in earlier segments or
    /// was released; those between here and `first` were refused.
    pub durable: u64,
}

impl SegmentHeader {
    /// The segment's first sector.
    pub fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        let file = FileHeader::new(FileKind::WalSegment, self.directory_id, self.number);
        bytes[..HEADER_BYTES].copy_from_slice(&file.encode());
        bytes[64..72].copy_from_slice(&self.salt.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.first.to_le_bytes());
        bytes[80..88].copy_from_slice(&self.durable.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..124]);
        bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header that the sector `bytes` of segment `number` holds.
    ///
    /// # Errors
    /// `Corrupt` where the bytes are no header; `Conflict` where they are the header of another
    /// file, another directory or a newer format.
    pub fn decode(file: &Path, bytes: &[u8], directory_id: u128, number: u64) -> Result<Self> {
        let expected = FileHeader::new(FileKind::WalSegment, directory_id, number);
        FileHeader::check(file, bytes, &expected)?;
        let Some(bytes) = bytes.first_chunk::<SECTOR>() else {
            return Err(Error::corrupt(
                file,
                64,
                "the segment ends inside its header",
            ));
        };
        if crc32fast::hash(&bytes[..124]) != u32_at(bytes, 124) {
            return Err(Error::corrupt(
                file,
                64,
                "the checksum of the segment header differs",
            ));
        }
        let reserved = bytes[88..124].iter().chain(&bytes[SEGMENT_FIELDS_END..]);
        if reserved.into_iter().any(|byte| *byte != 0) {
            return Err(Error::corrupt(file, 88, "reserved bytes are not zero"));
        }
        let header = SegmentHeader {
            directory_id,
            number,
            salt: u64_at(bytes, 64),
            first: u64_at(bytes, 72),
            durable: u64_at(bytes, 80),
        };
        if header.first <= header.durable {
            let message = "the segment begins at a sequence that was durable before it";
            return Err(Error::corrupt(file, 72, message));
        }
        Ok(header)
    }

    /// What its checksums are seeded with.
    pub fn seal(&self) -> Seal {
        Seal::new(self.directory_id, self.number, self.salt)
    }
}

/// Seeds the checksums of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    seed: u32,
    salt: u64,
    number: u64,
}

impl Seal {
    /// The seal of segment `number` with `salt` in a directory.
    pub fn new(directory_id: u128, number: u64, salt: u64) -> Seal {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&directory_id.to_le_bytes());
        hasher.update(&number.to_le_bytes());
        hasher.update(&salt.to_le_bytes());
        Seal {
            seed: hasher.finalize(),
            salt,
            number,
        }
    }

    fn checksum(self, offset: u64, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed);
        hasher.update(&offset.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// What opens a group: the records that were written by one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// How many records it has, at least one.
    pub record_count: u32,
    /// Sequence of the first; the others follow without a gap.
    pub first: u64,
    /// Bytes from the start of this header to the end of the last record's padding.
    pub size_bytes: u64,
    /// Every sequence up to here was durable when the group was written.
    pub durable: u64,
}

impl GroupHeader {
    /// Sequence of the last record.
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.record_count) - 1
    }

    /// Where the next group begins if this one begins at `offset`.
    pub fn next_offset(&self, offset: u64) -> u64 {
        offset
            .saturating_add(self.size_bytes.saturating_add(SECTOR_BYTES - 1) & !(SECTOR_BYTES - 1))
    }

    /// The header's bytes at `offset` of the segment that `seal` belongs to.
    pub fn encode(&self, seal: Seal, offset: u64) -> [u8; GROUP_HEADER_BYTES] {
        let mut bytes = [0; GROUP_HEADER_BYTES];
        bytes[..4].copy_from_slice(&GROUP_MAGIC);
        bytes[4..8].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[8..16].copy_from_slice(&seal.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.to_le_bytes());
        bytes[40..48].copy_from_slice(&seal.number.to_le_bytes());
        let checksum = seal.checksum(offset, &bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The group header that `bytes` begin with, if they are one that was written at this place.
    /// It may say more bytes than the file has.
    pub fn decode(bytes: &[u8], seal: Seal, offset: u64) -> Option<GroupHeader> {
        let bytes = bytes.first_chunk::<GROUP_HEADER_BYTES>()?;
        if bytes[..4] != GROUP_MAGIC || seal.checksum(offset, &bytes[..60]) != u32_at(bytes, 60) {
            return None;
        }
        let header = GroupHeader {
            record_count: u32_at(bytes, 4),
            first: u64_at(bytes, 16),
            size_bytes: u64_at(bytes, 24),
            durable: u64_at(bytes, 32),
        };
        let own = u64_at(bytes, 8) == seal.salt && u64_at(bytes, 40) == seal.number;
        let reserved_is_zero = bytes[48..60].iter().all(|byte| *byte == 0);
        let records_min = u64::from(header.record_count) * RECORD_HEADER_BYTES as u64;
        let sound = header.record_count > 0
            && header.first > header.durable
            && header.first <= u64::MAX - u64::from(u32::MAX)
            && header.size_bytes >= GROUP_HEADER_BYTES as u64 + records_min;
        (own && reserved_is_zero && sound).then_some(header)
    }

    /// The salt that the bytes of a group header name: for a segment whose own header is damaged.
    /// Only a header that then decodes proves it.
    pub fn salt_of(bytes: &[u8]) -> Option<u64> {
        let bytes = bytes.first_chunk::<GROUP_HEADER_BYTES>()?;
        (bytes[..4] == GROUP_MAGIC).then(|| u64_at(bytes, 8))
    }
}

/// What opens a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Length of the payload, bytes; at most [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes: u32,
    /// What the payload is; the caller's numbering.
    pub kind: u8,
    /// Its sequence.
    pub sequence: u64,
    header_checksum: u32,
    payload_checksum: u32,
}

impl RecordHeader {
    /// Bytes of the record with header and padding.
    pub fn size_bytes(&self) -> u64 {
        record_size(u64::from(self.payload_bytes))
    }

    /// Header bytes of a record of `kind` with `payload`, at `offset` of the segment of `seal`.
    ///
    /// # Panics
    /// If the payload is longer than [`PAYLOAD_BYTES_MAX`]; the caller has checked.
    pub fn encode(
        (kind, payload): (u8, &[u8]),
        sequence: u64,
        seal: Seal,
        offset: u64,
    ) -> [u8; RECORD_HEADER_BYTES] {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "payloads are bounded");
        let length = u32::try_from(payload.len()).expect("the bound fits");
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4] = kind;
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        let header_checksum = seal.checksum(offset, &bytes[..16]);
        bytes[16..20].copy_from_slice(&header_checksum.to_le_bytes());
        let payload_checksum = carried_on(header_checksum, payload);
        bytes[20..].copy_from_slice(&payload_checksum.to_le_bytes());
        bytes
    }

    /// The record header that `bytes` begin with, if they are one that was written at this place.
    pub fn decode(bytes: &[u8], seal: Seal, offset: u64) -> Option<RecordHeader> {
        let bytes = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
        let header = RecordHeader {
            payload_bytes: u32_at(bytes, 0),
            kind: bytes[4],
            sequence: u64_at(bytes, 8),
            header_checksum: u32_at(bytes, 16),
            payload_checksum: u32_at(bytes, 20),
        };
        let sound = bytes[5..8] == [0; 3]
            && header.sequence > 0
            && header.payload_bytes as usize <= PAYLOAD_BYTES_MAX
            && seal.checksum(offset, &bytes[..16]) == header.header_checksum;
        sound.then_some(header)
    }

    /// Whether `payload` is what was written behind this header.
    pub fn fits(&self, payload: &[u8]) -> bool {
        carried_on(self.header_checksum, payload) == self.payload_checksum
    }
}

/// Bytes of a record with header and padding.
pub fn record_size(payload_bytes: u64) -> u64 {
    (RECORD_HEADER_BYTES as u64 + payload_bytes).next_multiple_of(RECORD_ALIGN)
}

fn carried_on(checksum: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(checksum);
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const HEADER: SegmentHeader = SegmentHeader {
        directory_id: 77,
        number: 3,
        salt: 0x0123_4567_89ab_cdef,
        first: 12,
        durable: 10,
    };
    const GROUP: GroupHeader = GroupHeader {
        record_count: 2,
        first: 12,
        size_bytes: 1000,
        durable: 11,
    };

    fn decode(bytes: &[u8]) -> Result<SegmentHeader> {
        SegmentHeader::decode(Path::new("wal/3"), bytes, 77, 3)
    }

    #[test]
    fn headers_read_back() {
        assert_eq!(decode(&HEADER.encode()).unwrap(), HEADER);
        let seal = HEADER.seal();
        let bytes = GROUP.encode(seal, 512);
        assert_eq!(GroupHeader::decode(&bytes, seal, 512), Some(GROUP));
        assert_eq!(GroupHeader::salt_of(&bytes), Some(HEADER.salt));
        assert_eq!((GROUP.last(), GROUP.next_offset(512)), (13, 512 + 1024));
        let bytes = RecordHeader::encode((7, b"payload"), 13, seal, 576);
        let header = RecordHeader::decode(&bytes, seal, 576).unwrap();
        assert_eq!(
            (header.kind, header.sequence, header.size_bytes()),
            (7, 13, 32)
        );
        assert!(header.fits(b"payload") && !header.fits(b"payloae") && !header.fits(b"payloa"));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let seal = HEADER.seal();
        let segment = HEADER.encode();
        let group = GROUP.encode(seal, 512);
        let record = RecordHeader::encode((7, b"payload"), 13, seal, 576);
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..segment.len() * 8 {
            let error = decode(&flipped(&segment, bit)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}");
        }
        for bit in 0..group.len() * 8 {
            let decoded = GroupHeader::decode(&flipped(&group, bit), seal, 512);
            assert_eq!(decoded, None, "bit {bit}");
        }
        for bit in 0..record.len() * 8 {
            let decoded = RecordHeader::decode(&flipped(&record, bit), seal, 576);
            let passes = decoded.is_some_and(|header| header.fits(b"payload"));
            assert!(!passes, "bit {bit}");
        }
    }

    #[test]
    fn bytes_of_another_place_segment_or_directory_never_pass() {
        let seal = HEADER.seal();
        let group = GROUP.encode(seal, 512);
        let record = RecordHeader::encode((7, b"payload"), 13, seal, 576);
        let others = [
            (seal, 8),
            (Seal::new(78, 3, HEADER.salt), 0),
            (Seal::new(77, 4, HEADER.salt), 0),
            (Seal::new(77, 3, HEADER.salt + 1), 0),
        ];
        for (seal, further) in others {
            assert_eq!(GroupHeader::decode(&group, seal, 512 + further), None);
            assert_eq!(RecordHeader::decode(&record, seal, 576 + further), None);
        }
        let foreign = SegmentHeader::decode(Path::new("wal/3"), &HEADER.encode(), 78, 3);
        assert_eq!(foreign.unwrap_err().kind(), ErrorKind::Conflict);
        let renamed = SegmentHeader::decode(Path::new("wal/4"), &HEADER.encode(), 77, 4);
        assert_eq!(renamed.unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn the_page_states_the_layout_of_the_code() {
        let page = include_str!("../../../../docs/format/wal.md");
        let source = include_str!("wal.rs");
        let rows: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.starts_with("| "))
            .collect();
        assert_eq!(rows.len(), 7 + 9 + 6 + 3);
        for row in rows {
            assert!(page.contains(row), "the page lacks: {row}");
        }
        for fact in [
            format!("a multiple of {SECTOR_BYTES} bytes"),
            format!("a multiple of {RECORD_ALIGN} bytes"),
            format!("at most {PAYLOAD_BYTES_MAX} bytes"),
        ] {
            assert!(page.contains(&fact), "the page lacks: {fact}");
        }
    }
}
