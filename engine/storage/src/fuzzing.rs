//! Doors for the fuzzer, one per decoder: each takes any bytes and must return. What decodes must
//! also come back from its own encoding.

mod formats;
mod index;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::block::Block;
use crate::codec::{self, Effort, Shared};
use crate::env::{ReadFile, WriteFile};
use crate::format::header::{FileHeader, FileKind};
use crate::format::registry::RegistryReader;
use crate::format::rows;
use crate::format::sealed::SealedWriter;
use crate::model::{
    AggregateSet, FieldId, FieldType, KeyHash, Presence, TagKeyId, TagPredicate, TimeRange, Values,
};
use crate::wal;

pub use formats::fuzz_formats;
pub use index::fuzz_index;

/// The most values a fuzzed stream claims: more finds nothing new and costs time.
const COUNT_MAX: usize = 1 << 14;

/// Every value stream: two bytes of count, one of type, then the stream, or a set and a stream.
///
/// # Panics
/// If a decoder does, or if what it gives does not survive encoding.
pub fn fuzz_codec(data: &[u8]) {
    let Some(([low, high, kind], stream)) = data.split_first_chunk::<3>() else {
        return;
    };
    let count = usize::from(u16::from_le_bytes([*low, *high])) % COUNT_MAX;
    match FieldType::from_code(kind % 8) {
        Some(field_type) => {
            let values = codec::decode_values(field_type, stream, count);
            check_repeats((field_type, stream), count, values.as_ref().ok());
            if let Ok(values) = values {
                check_values(&values);
            }
        }
        None if kind % 8 == 0 => {
            if let Ok(presence) = codec::decode_presence(stream, count) {
                check_presence(&presence, count);
            }
        }
        None if kind % 8 == 6 => fuzz_shared(stream, count),
        None => {
            let times = codec::decode_timestamps(stream, count);
            if let (Ok(times), Ok(Some((first, step)))) =
                (&times, codec::decode_even(stream, count))
            {
                let even = |row: i64| first.wrapping_add(step.wrapping_mul(row));
                assert!(
                    (0..).zip(times).all(|(row, time)| even(row) == *time),
                    "even"
                );
            }
            if let Ok(times) = times {
                check_times(&times);
            }
        }
    }
}

/// A byte of how long a set is, the set, and a column that may refer to it.
fn fuzz_shared(bytes: &[u8], count: usize) {
    let Some((size, rest)) = bytes.split_first() else {
        return;
    };
    let Some((set, stream)) = rest.split_at_checked(usize::from(*size)) else {
        return;
    };
    let Ok(shared) = Shared::decode(set) else {
        return;
    };
    for field_type in [FieldType::Float, FieldType::Integer] {
        let Ok(values) = codec::decode_values_with(field_type, stream, count, &shared) else {
            continue;
        };
        let mut bytes = Vec::new();
        codec::encode_values_with(&values, Effort::Cold, &shared, &mut bytes);
        let again = codec::decode_values_with(field_type, &bytes, count, &shared);
        assert_eq!(again.as_ref(), Ok(&values), "by a shared set");
    }
}

/// Runs that are read as runs are the values, where the stream is sound.
fn check_repeats((field_type, stream): (FieldType, &[u8]), count: usize, values: Option<&Values>) {
    let mut repeats = Vec::new();
    let all = (count, 0..count);
    let found = count <= codec::COUNT_MAX
        && codec::decode_repeats((field_type, stream), all, Shared::none(), &mut repeats)
            == Ok(true);
    if let (true, Some(values)) = (found, values) {
        let each = repeats
            .iter()
            .flat_map(|one| std::iter::repeat_n(one.word, one.count));
        let words: Vec<u64> = match values {
            Values::Float(values) => values.iter().map(|value| value.to_bits()).collect(),
            Values::Integer(values) => values.iter().map(|value| value.cast_unsigned()).collect(),
            Values::Unsigned(values) => values.clone(),
            Values::Boolean(_) | Values::String(_) => unreachable!("runs are of numbers"),
        };
        assert!(each.eq(words), "runs are the values");
    }
}

fn check_values(values: &Values) {
    for effort in [Effort::Hot, Effort::Warm, Effort::Cold] {
        let mut bytes = Vec::new();
        codec::encode_values(values, effort, &mut bytes);
        let again = codec::decode_values(values.field_type(), &bytes, values.len());
        assert_eq!(again.as_ref(), Ok(values), "{effort:?}");
    }
}

fn check_presence(presence: &Presence, rows: usize) {
    let mut bytes = Vec::new();
    codec::encode_presence(presence, rows, &mut bytes);
    assert_eq!(
        codec::decode_presence(&bytes, rows).as_ref(),
        Ok(presence),
        "presence comes back"
    );
}

fn check_times(times: &[i64]) {
    for effort in [Effort::Hot, Effort::Warm, Effort::Cold] {
        let mut bytes = Vec::new();
        codec::encode_timestamps(times, effort, &mut bytes);
        let again = codec::decode_timestamps(&bytes, times.len());
        assert_eq!(again.as_deref(), Ok(times), "{effort:?}");
        bytes.clear();
        codec::encode_ids(times, effort, &mut bytes);
        let again = codec::decode_ids::<i64>(&bytes, times.len());
        assert_eq!(again.as_deref(), Ok(times), "{effort:?}");
    }
}

/// The payload of a write. What decodes into little memory is encoded and decoded again.
///
/// # Panics
/// As [`fuzz_codec`].
pub fn fuzz_rows(data: &[u8]) {
    const WEIGHT_MAX: usize = 1 << 16;
    let Ok((database, policy, decoded)) = rows::decode_rows(data) else {
        return;
    };
    let weight: usize = decoded.iter().map(rows::weight).sum();
    if weight > WEIGHT_MAX {
        return;
    }
    let mut bytes = Vec::new();
    rows::encode_rows(database, policy, &decoded, &mut bytes);
    assert_eq!(
        rows::decode_rows(&bytes),
        Ok((database, policy, decoded)),
        "rows come back"
    );
}

/// A block: the bytes stand behind the header of a sealed file, under right checksums. All that it
/// says it holds is read, as far as is useful.
///
/// # Panics
/// If reading does.
pub fn fuzz_block(data: &[u8]) {
    const SERIES_MAX: usize = 64;
    let Ok(block) = Block::from_file(Arc::new(sealed(FileKind::Block, data)), 77, 5) else {
        return;
    };
    let Ok(measurements) = block.measurements() else {
        return;
    };
    for id in measurements.into_iter().take(SERIES_MAX) {
        let Ok(Some(measurement)) = block.measurement(id) else {
            continue;
        };
        let mut walk = measurement.walk();
        let mut walked = 0;
        while let Ok(Some((_, entry))) = walk.advance() {
            walked += 1;
            if walked > SERIES_MAX || measurement.series_entry(entry.id).is_err() {
                break;
            }
        }
        let names: &dyn Fn(&[u8]) -> Option<TagKeyId> = &|_| Some(TagKeyId(1));
        let equal = TagPredicate::Equal {
            key: Box::default(),
            value: b"x"[..].into(),
        };
        let both = TagPredicate::Or(vec![equal.clone(), TagPredicate::Not(Box::new(equal))]);
        for predicate in [TagPredicate::All, both] {
            if let Ok(found) = measurement.index().select(&predicate, names) {
                let mut ignore = |_: &[u8]| {};
                measurement
                    .index()
                    .values(TagKeyId(1), &found, &mut ignore)
                    .ok();
            }
        }
        let series = measurement.series_count().min(SERIES_MAX);
        let fields: Vec<FieldId> = measurement.fields().map(|(id, _)| id).take(8).collect();
        let mut cursor = measurement.cursor(&fields, TimeRange::ALL);
        for ordinal in 0..series {
            for chunk in cursor.chunks_at(ordinal).unwrap_or_default().iter().take(8) {
                let rows = cursor.rows(chunk);
                for field in 0..fields.len() {
                    cursor.stats(chunk, field).ok();
                }
                if let Ok(Some(alone)) = cursor.alone(chunk) {
                    let times = alone.times();
                    let found: Vec<i64> = (0..times.len()).map(|row| times.get(row)).collect();
                    assert!(found.is_sorted_by(|one, next| one < next), "times ascend");
                    if let Ok(Some(rows)) = rows {
                        assert_eq!(found, rows.timestamps, "the same rows");
                    }
                    for field in 0..fields.len() {
                        for wanted in [AggregateSet::COUNT, AggregateSet::ALL] {
                            cursor.column_alone(&alone, (field, wanted)).ok();
                        }
                    }
                }
            }
        }
    }
}

/// A registry file: the bytes stand behind the header under right checksums. Every entry of a file
/// that is in order is found by its hash.
///
/// # Panics
/// If reading does, or an entry is not found.
pub fn fuzz_registry(data: &[u8]) {
    let header = FileHeader::new(FileKind::Registry, 77, 5);
    let file = Arc::new(sealed(FileKind::Registry, data));
    let Ok(reader) = RegistryReader::open(file, Path::new("fuzzed"), &header) else {
        return;
    };
    let walked: Vec<_> = reader.walk().collect();
    let entries: Result<Vec<_>, _> = walked.into_iter().collect();
    for edge in [0, u128::MAX] {
        reader.find(KeyHash(edge)).ok();
    }
    let Ok(entries) = entries else {
        return;
    };
    assert_eq!(
        entries.len() as u64,
        reader.count(),
        "a walk ends at the end"
    );
    if entries.is_sorted_by(|(one, _), (other, _)| one < other) {
        for (hash, series) in entries {
            let found = reader.find(hash).ok().flatten();
            assert_eq!(found, Some(series), "an entry is found");
        }
    }
}

/// The file 5 of directory 77 whose contents are a header and `data`.
fn sealed(kind: FileKind, data: &[u8]) -> MemoryFile {
    let file = MemoryFile::default();
    let header = FileHeader::new(kind, 77, 5);
    let mut writer = SealedWriter::new(Box::new(file.clone()), Path::new("fuzzed"), &header);
    writer.write(data).expect("memory is written");
    writer.finish().expect("memory is written");
    file
}

/// A file in memory.
#[derive(Clone, Debug, Default)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl WriteFile for MemoryFile {
    fn write_at(&mut self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        bytes.truncate(usize::try_from(offset).map_err(|_| io::ErrorKind::Other)?);
        for buffer in buffers {
            bytes.extend_from_slice(buffer);
        }
        Ok(())
    }

    fn allocate(&mut self, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadFile for MemoryFile {
    fn size_bytes(&self) -> u64 {
        self.0.lock().map_or(0, |bytes| bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let wanted = bytes.get(start..start.saturating_add(buffer.len()));
        buffer.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }
}

/// A log with any bytes in it: as a segment, and as changes of a sound one.
///
/// # Panics
/// If reading does, if a second opening finds other records, or if a record appears that nobody wrote.
pub fn fuzz_wal_reader(data: &[u8]) {
    wal::fuzz_reader(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::damage::small_contents;

    #[test]
    fn a_block_that_lies_under_right_checksums_ends_in_a_value_or_an_error() {
        let contents = small_contents();
        fuzz_block(&contents);
        for at in 0..contents.len() {
            for change in [0x01, 0x7f, 0x80, 0xff] {
                let mut lying = contents.clone();
                lying[at] ^= change;
                fuzz_block(&lying);
            }
        }
    }

    #[test]
    fn a_registry_of_any_bytes_ends_in_a_value_or_an_error() {
        let entry = |number: u8| [[number; 16].as_slice(), &[number; 8]].concat();
        let sound: Vec<u8> = (0..40).flat_map(entry).collect();
        fuzz_registry(&sound);
        for at in 0..sound.len() {
            fuzz_registry(&sound[..at]);
            for change in [0x01, 0x80, 0xff] {
                let mut lying = sound.clone();
                lying[at] ^= change;
                fuzz_registry(&lying);
            }
        }
    }

    #[test]
    fn any_bytes_in_place_of_a_block_end_in_an_error() {
        for len in 0..200 {
            for byte in [0, 1, 0x7f, 0xff] {
                fuzz_block(&vec![byte; len]);
            }
        }
    }
}
