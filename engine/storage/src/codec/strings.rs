//! Strings: lengths as a stream of integers, then the bytes, plain or under zstd; or a dictionary
//! where few distinct ones repeat.
//!
//! Hot knows one trick, the same string throughout: looking for more costs more than writing.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Range;

use super::bytes::Cursor;
use super::integers::{self, Tries};
use super::{Context, DecodeError, Effort, STRING_BYTES_MAX, decompress, id, push_len};
use crate::model::Strings;

/// What is tried: more effort finds more, and now and then less.
const ZSTD_LEVELS: [i32; 2] = [1, 9];
/// Below this a frame's header and tables eat the gain.
const ZSTD_BYTES_MIN: usize = 128;

/// Appends the stream of `strings`.
pub(super) fn encode(strings: &Strings, effort: Effort, out: &mut Vec<u8>) {
    assert!(
        strings.bytes.len() <= STRING_BYTES_MAX,
        "callers cut columns to size"
    );
    if strings.is_empty() {
        return;
    }
    let distinct_max = match effort {
        Effort::Hot => 1,
        Effort::Warm | Effort::Cold => strings.len().div_ceil(4),
    };
    match dictionary_of(strings, distinct_max) {
        Some((entries, ids)) => {
            out.push(id::STRING_DICTIONARY);
            push_len(out, entries.len());
            encode_text(&entries, effort, out);
            integers::encode(&ids, effort, Tries::VALUES, out);
        }
        None => encode_text(strings, effort, out),
    }
}

/// The distinct strings in the order they come and each string's place among them, or none where
/// they are more than `distinct_max`.
fn dictionary_of(strings: &Strings, distinct_max: usize) -> Option<(Strings, Vec<u64>)> {
    let hasher = FixedState::default();
    let mut entries = Strings::default();
    let mut places: HashTable<usize> = HashTable::new();
    let mut ids = Vec::with_capacity(strings.len());
    for index in 0..strings.len() {
        let string = strings.get(index);
        let hash = hasher.hash_one(string);
        let found = places.find(hash, |place| entries.get(*place) == string);
        let place = match found {
            Some(place) => *place,
            None if entries.len() == distinct_max => return None,
            None => {
                let place = entries.len();
                entries.push(string);
                places.insert_unique(hash, place, |place| hasher.hash_one(entries.get(*place)));
                place
            }
        };
        ids.push(place as u64);
    }
    Some((entries, ids))
}

fn encode_text(strings: &Strings, effort: Effort, out: &mut Vec<u8>) {
    let levels = match effort {
        _ if strings.bytes.len() < ZSTD_BYTES_MIN => &[][..],
        Effort::Hot => &[],
        Effort::Warm => &ZSTD_LEVELS[..1],
        Effort::Cold => &ZSTD_LEVELS,
    };
    let compressed = levels
        .iter()
        .filter_map(|level| zstd::bulk::compress(&strings.bytes, *level).ok())
        .min_by_key(Vec::len)
        .filter(|compressed| compressed.len() + 4 < strings.bytes.len());
    out.push(match compressed {
        Some(_) => id::STRINGS_ZSTD,
        None => id::STRINGS,
    });
    let starts = std::iter::once(0).chain(strings.ends.iter().copied());
    let lengths: Vec<u64> = strings
        .ends
        .iter()
        .zip(starts)
        .map(|(end, start)| u64::from(end - start))
        .collect();
    integers::encode(&lengths, effort, Tries::VALUES, out);
    match compressed {
        Some(compressed) => {
            push_len(out, compressed.len());
            out.extend_from_slice(&compressed);
        }
        None => out.extend_from_slice(&strings.bytes),
    }
}

/// Fills `out` with the next `count` strings.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    count: usize,
    out: &mut Strings,
) -> Result<(), DecodeError> {
    out.ends.clear();
    out.bytes.clear();
    if count == 0 {
        return Ok(());
    }
    match cursor.byte()? {
        id::STRING_DICTIONARY => take_dictionary(cursor, context, count, out),
        codec => take_text(codec, cursor, context, count, out),
    }
}

/// Leaves only the strings of `range`.
pub(super) fn keep(strings: &mut Strings, range: Range<usize>) {
    let end_of = |strings: &Strings, index: usize| match index {
        0 => 0,
        index => strings.ends[index - 1],
    };
    let start = end_of(strings, range.start);
    strings.bytes.truncate(end_of(strings, range.end) as usize);
    strings.bytes.drain(..start as usize);
    strings.ends.truncate(range.end);
    strings.ends.drain(..range.start);
    for end in &mut strings.ends {
        *end -= start;
    }
}

fn take_text(
    codec: u8,
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    count: usize,
    out: &mut Strings,
) -> Result<(), DecodeError> {
    if codec != id::STRINGS && codec != id::STRINGS_ZSTD {
        return Err(DecodeError::UnknownCodec(codec));
    }
    let mut lengths: Vec<u64> = vec![0; count];
    integers::take(cursor, context.deeper()?, &mut lengths)?;
    out.ends.reserve(count);
    let mut end = 0_usize;
    for length in lengths {
        end = usize::try_from(length)
            .ok()
            .and_then(|length| end.checked_add(length))
            .filter(|end| *end <= STRING_BYTES_MAX)
            .ok_or(TOO_LONG)?;
        out.ends
            .push(u32::try_from(end).expect("STRING_BYTES_MAX fits 32 bits"));
    }
    if codec == id::STRINGS {
        out.bytes.extend_from_slice(cursor.take(end)?);
        return Ok(());
    }
    let size = cursor.len(cursor.remaining())?;
    decompress(cursor.take(size)?, end, &mut out.bytes)
}

const TOO_LONG: DecodeError = DecodeError::Invalid("strings pass their bound");

fn take_dictionary(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    count: usize,
    out: &mut Strings,
) -> Result<(), DecodeError> {
    let distinct = cursor.len(count)?;
    let mut entries = Strings::default();
    if distinct > 0 {
        let codec = cursor.byte()?;
        take_text(codec, cursor, context.deeper()?, distinct, &mut entries)?;
    }
    let mut ids: Vec<u64> = vec![0; count];
    integers::take(cursor, context.deeper()?, &mut ids)?;
    let mut size = 0;
    for id in &ids {
        let id = usize::try_from(*id).unwrap_or(usize::MAX);
        if id >= entries.len() {
            return Err(DecodeError::Invalid("a dictionary lacks an entry"));
        }
        size += entries.get(id).len();
        if size > STRING_BYTES_MAX {
            return Err(TOO_LONG);
        }
    }
    out.ends.reserve(count);
    out.bytes.reserve(size);
    for id in ids {
        let id = usize::try_from(id).expect("checked above");
        out.push(entries.get(id));
    }
    Ok(())
}
