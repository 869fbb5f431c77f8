//! The layout of a block file: where its sections lie and what its footer states. Pure bytes:
//! encode, decode, size. Knows no files and no policy.
//!
//! The contents of a block (a sealed file, see [`crate::format::sealed`]) are, front to back: the
//! file header; for each measurement its pages, statistics, index and directory; the list of
//! measurements; the footer; the footer's length. Nothing is found by scanning.
//!
//! The footer, little endian, as docs/format/block.md states it:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! |      0 |     4 | database id |
//! |      4 |     4 | policy id |
//! |      8 |     1 | level: 0 = flushed, 255 = final form |
//! |      9 |     1 | field types it holds, bit `code` for each |
//! |     10 |     2 | number of sections |
//! |     12 |     4 | reserved, zero |
//! |     16 |     8 | first sequence |
//! |     24 |     8 | last sequence |
//! |     32 |     8 | earliest time |
//! |     40 |     8 | latest time |
//! |     48 |     8 | rows |
//! |     56 |    24 | for each section: id (4), reserved, zero (4), offset (8), length (8) |

pub mod array;
pub mod bytes;
pub mod directory;
pub mod keys;
pub mod stats;

use std::path::{Path, PathBuf};

use crate::model::{DatabaseId, FieldType, MeasurementId, PolicyId, Sequence, TimeRange};

use bytes::{Damage, Taker};

/// Rows in one group at most: what one page spans.
pub const GROUP_ROWS_MAX: usize = 8192;
/// A chunk has statistics from this many rows on.
pub const STATS_ROWS_MIN: usize = 256;
/// The level of a block in its final form: one partition, encoded to stay.
pub const LEVEL_FINAL: u8 = u8::MAX;
/// Size of a footer without its section list, bytes.
pub const FOOTER_BYTES: usize = 56;
/// Size of an entry of the section list, bytes.
pub const SECTION_BYTES: usize = 24;
/// Size of an entry of the list of measurements, bytes.
pub const MEASUREMENT_BYTES: usize = 24;
/// Id of the section that lists the measurements. Sections of unknown id are skipped.
pub const SECTION_MEASUREMENTS: u32 = 1;

/// The sequences of the writes that a block holds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRange {
    /// The lowest.
    pub first: Sequence,
    /// The highest.
    pub last: Sequence,
}

/// What a block's maker states of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Whose points it holds.
    pub database: DatabaseId,
    /// Under which policy.
    pub policy: PolicyId,
    /// 0 = flushed, may span partitions; 1 and more = merged; [`LEVEL_FINAL`] = one partition, as small as
    /// it gets.
    pub level: u8,
    /// The writes it holds.
    pub sequences: SequenceRange,
}

/// What the manifest keeps of a block, so that pruning opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockMeta {
    /// Its file: see [`block_path`].
    pub file_id: u64,
    /// What its maker stated.
    pub info: BlockInfo,
    /// From its earliest time to behind its latest.
    pub range: TimeRange,
    /// How many rows it holds.
    pub row_count: u64,
    /// Size of the file in bytes.
    pub size_bytes: u64,
}

/// Where block `file_id` lies in the data directory.
pub fn block_path(file_id: u64) -> PathBuf {
    Path::new("blocks").join(format!("{file_id:016x}.blk"))
}

/// Under which name block `file_id` is written until it is whole.
pub fn block_temporary_path(file_id: u64) -> PathBuf {
    Path::new("blocks").join(format!("{file_id:016x}.tmp"))
}

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset from the start of the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Span {
    /// Offset of the first byte behind, saturating: a lie is found when it is read.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// The end of a block's contents: what it holds and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// What its maker stated.
    pub info: BlockInfo,
    /// The types of the fields it holds: bit [`FieldType::code`] for each.
    pub field_types: u8,
    /// Earliest time, ns UTC.
    pub time_first: i64,
    /// Latest time, ns UTC.
    pub time_last: i64,
    /// How many rows it holds.
    pub row_count: u64,
    /// The sections by id.
    pub sections: Vec<(u32, Span)>,
}

/// Where the directory of a measurement lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasurementEntry {
    /// The measurement.
    pub id: MeasurementId,
    /// Its directory.
    pub directory: Span,
}

impl Footer {
    /// Appends the footer's bytes.
    ///
    /// # Panics
    /// If there are 65,536 sections or more.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.info.database.0.to_le_bytes());
        out.extend_from_slice(&self.info.policy.0.to_le_bytes());
        out.push(self.info.level);
        out.push(self.field_types);
        let sections = u16::try_from(self.sections.len()).expect("a block has few sections");
        out.extend_from_slice(&sections.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.info.sequences.first.0.to_le_bytes());
        out.extend_from_slice(&self.info.sequences.last.0.to_le_bytes());
        out.extend_from_slice(&self.time_first.to_le_bytes());
        out.extend_from_slice(&self.time_last.to_le_bytes());
        out.extend_from_slice(&self.row_count.to_le_bytes());
        for (id, span) in &self.sections {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&span.offset.to_le_bytes());
            out.extend_from_slice(&span.len.to_le_bytes());
        }
    }

    /// The footer that `bytes` are.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Footer, Damage> {
        let mut taker = Taker::new(bytes);
        let database = DatabaseId(taker.u32()?);
        let policy = PolicyId(taker.u32()?);
        let [level, field_types] = taker.array()?;
        let section_count = usize::from(u16::from_le_bytes(taker.array()?));
        if taker.u32()? != 0 {
            return Err(Damage("a reserved byte of the footer is set"));
        }
        let first = Sequence(taker.u64()?);
        let last = Sequence(taker.u64()?);
        let (time_first, time_last) = (taker.u64()?.cast_signed(), taker.u64()?.cast_signed());
        let row_count = taker.u64()?;
        if taker.remaining() != section_count * SECTION_BYTES {
            return Err(Damage("the footer's length does not fit its sections"));
        }
        let mut sections = Vec::with_capacity(section_count);
        for _ in 0..section_count {
            let id = taker.u32()?;
            if taker.u32()? != 0 {
                return Err(Damage("a reserved byte of a section is set"));
            }
            let (offset, len) = (taker.u64()?, taker.u64()?);
            sections.push((id, Span { offset, len }));
        }
        if first > last || time_first > time_last || time_last == i64::MAX {
            return Err(Damage("a range of the footer ends before it starts"));
        }
        Ok(Footer {
            info: BlockInfo {
                database,
                policy,
                level,
                sequences: SequenceRange { first, last },
            },
            field_types,
            time_first,
            time_last,
            row_count,
            sections,
        })
    }

    /// The section `id`, if there is one.
    pub fn section(&self, id: u32) -> Option<Span> {
        let found = self.sections.iter().find(|(own, _)| *own == id);
        found.map(|(_, span)| *span)
    }

    /// What the manifest says of a block with this footer.
    pub fn meta(&self, file_id: u64, size_bytes: u64) -> BlockMeta {
        BlockMeta {
            file_id,
            info: self.info,
            range: TimeRange {
                start: self.time_first,
                end: self.time_last + 1,
            },
            row_count: self.row_count,
            size_bytes,
        }
    }

    /// Whether the block has fields of `field_type`.
    pub fn holds(&self, field_type: FieldType) -> bool {
        self.field_types & (1 << field_type.code()) != 0
    }
}

impl MeasurementEntry {
    /// Appends the entry's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.directory.offset.to_le_bytes());
        out.extend_from_slice(&self.directory.len.to_le_bytes());
    }

    /// Entry `index` of a list of measurements.
    ///
    /// # Errors
    /// If the list has not that many, or the bytes are no entry.
    pub fn decode(list: &[u8], index: usize) -> Result<MeasurementEntry, Damage> {
        let start = index * MEASUREMENT_BYTES;
        let bytes = list.get(start..start + MEASUREMENT_BYTES);
        let mut taker = Taker::new(bytes.ok_or(Damage("the list of measurements is cut"))?);
        let id = MeasurementId(taker.u32()?);
        if taker.u32()? != 0 {
            return Err(Damage("a reserved byte of a measurement is set"));
        }
        let (offset, len) = (taker.u64()?, taker.u64()?);
        let directory = Span { offset, len };
        Ok(MeasurementEntry { id, directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer {
            info: BlockInfo {
                database: DatabaseId(3),
                policy: PolicyId(4),
                level: 1,
                sequences: SequenceRange {
                    first: Sequence(10),
                    last: Sequence(20),
                },
            },
            field_types: 1 << FieldType::Float.code(),
            time_first: -5,
            time_last: 1 << 60,
            row_count: 77,
            sections: vec![(1, Span { offset: 64, len: 9 }), (999, Span::default())],
        }
    }

    #[test]
    fn a_footer_reads_back_with_sections_nobody_knows() {
        let mut bytes = Vec::new();
        footer().encode(&mut bytes);
        assert_eq!(bytes.len(), FOOTER_BYTES + 2 * SECTION_BYTES);
        assert_eq!(Footer::decode(&bytes), Ok(footer()));
        assert!(footer().holds(FieldType::Float) && !footer().holds(FieldType::String));
        for len in 0..bytes.len() {
            assert!(Footer::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn an_entry_of_a_measurement_reads_back() {
        let entry = MeasurementEntry {
            id: MeasurementId(7),
            directory: Span {
                offset: 1 << 40,
                len: 5,
            },
        };
        let mut bytes = vec![0xff; MEASUREMENT_BYTES];
        entry.encode(&mut bytes);
        assert_eq!(MeasurementEntry::decode(&bytes, 1), Ok(entry));
        assert!(MeasurementEntry::decode(&bytes, 0).is_err());
        assert!(MeasurementEntry::decode(&bytes, 2).is_err());
    }

    /// The text of `page` without the breaks of its lines.
    fn flowing(page: &str) -> String {
        page.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_page_states_the_layout_of_the_code() {
        let page = include_str!("../../../../docs/format/block.md");
        let rows: Vec<&str> = include_str!("block.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.starts_with("| "))
            .collect();
        assert_eq!(rows.len(), 13);
        for row in rows {
            assert!(page.contains(row), "the page lacks: {row}");
        }
        let page = flowing(page);
        let numbers = [
            format!("at most {GROUP_ROWS_MAX} rows"),
            format!("{LEVEL_FINAL} = final form"),
            format!("of {STATS_ROWS_MIN} rows or more"),
            format!("in pages of {};", array::PAGE_ENTRIES),
            format!("spans {} such chunks", array::PAGE_ENTRIES),
            format!("Section {SECTION_MEASUREMENTS} is the list of measurements"),
            format!("has {MEASUREMENT_BYTES} bytes for each"),
        ];
        for number in numbers {
            assert!(page.contains(&number), "the page lacks: {number}");
        }
        for code in 1..=5 {
            let field_type = FieldType::from_code(code).unwrap();
            assert!(
                page.contains(&format!("{code} {field_type}")),
                "{field_type}"
            );
        }
        let index = flowing(include_str!("../../../../docs/format/index.md"));
        let numbers = [
            format!("in runs of {} strings", keys::RUN_STRINGS),
            format!("at most {} bytes", keys::STRING_BYTES_MAX),
        ];
        for number in numbers {
            assert!(index.contains(&number), "the page lacks: {number}");
        }
    }

    #[test]
    fn the_page_states_the_steps_of_a_directory() {
        let page = flowing(include_str!("../../../../docs/format/block.md"));
        let source = include_str!("block/directory.rs");
        let steps = source
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        let mut count = 0;
        for step in steps {
            count += 1;
            let opening = step.split(" (").next().unwrap();
            assert!(page.contains(opening), "the page lacks: {opening}");
        }
        assert_eq!(count, 9);
    }
}
