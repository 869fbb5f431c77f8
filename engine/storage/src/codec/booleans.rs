//! Booleans, and which rows have a value: one bit for all, runs that take turns, or a bitmap.
//!
//! Bits are words, lowest first, those behind the last zero; so a `Bitmap` is encoded as it stands.

use super::bytes::Cursor;
use super::integers::{self, Tries};
use super::{Context, DecodeError, Effort, id, push_len};

/// Appends the stream of `values`.
pub(super) fn encode(values: &[bool], effort: Effort, out: &mut Vec<u8>) {
    let words: Vec<u64> = values.chunks(64).map(word_of).collect();
    encode_bits(&words, values.len(), effort, out);
}

fn word_of(bits: &[bool]) -> u64 {
    bits.iter()
        .enumerate()
        .fold(0, |word, (index, bit)| word | u64::from(*bit) << index)
}

/// Appends `count` times the same bit.
pub(super) fn encode_constant(bit: bool, count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        out.push(id::CONSTANT);
        out.push(u8::from(bit));
    }
}

/// Appends the lowest `count` bits of `words`, as runs or bitmap, whichever is smaller.
pub(super) fn encode_bits(words: &[u64], count: usize, effort: Effort, out: &mut Vec<u8>) {
    let Some(first) = words.first().map(|word| word & 1 == 1) else {
        return;
    };
    let changes = changes_in(words, count);
    if changes == 0 {
        return encode_constant(first, count, out);
    }
    let start = out.len();
    let bitmap_size = 1 + count.div_ceil(8);
    // A run takes a bit at the very least.
    if changes / 8 + 4 < bitmap_size {
        out.push(id::BIT_RUNS);
        out.push(u8::from(first));
        let lengths = run_lengths(words, count, changes + 1);
        push_len(out, lengths.len());
        // Few as they are, their size counts in hot columns too.
        let effort = match effort {
            Effort::Hot | Effort::Warm => Effort::Warm,
            Effort::Cold => Effort::Cold,
        };
        integers::encode(&lengths, effort, Tries::INNER, out);
        if out.len() - start <= bitmap_size {
            return;
        }
        out.truncate(start);
    }
    out.push(id::BITMAP);
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    out.truncate(start + bitmap_size);
}

/// Where a word's bits differ from the ones before them; `before` is the word's predecessor's last.
fn edges(word: u64, before: u64) -> u64 {
    word ^ (word << 1 | before)
}

fn changes_in(words: &[u64], count: usize) -> usize {
    let mut before = words[0] & 1;
    let mut changes = 0;
    for (index, word) in words.iter().enumerate() {
        let bits = (count - index * 64).min(64);
        let inside = u64::MAX >> (64 - bits);
        changes += (edges(*word, before) & inside).count_ones() as usize;
        before = word >> 63;
    }
    changes
}

fn run_lengths(words: &[u64], count: usize, runs: usize) -> Vec<u64> {
    let mut lengths = Vec::with_capacity(runs);
    let mut start = 0;
    let mut before = words[0] & 1;
    for (index, word) in words.iter().enumerate() {
        let bits = (count - index * 64).min(64);
        let mut left = edges(*word, before) & (u64::MAX >> (64 - bits));
        while left != 0 {
            let at = index * 64 + left.trailing_zeros() as usize;
            lengths.push((at - start) as u64);
            start = at;
            left &= left - 1;
        }
        before = word >> 63;
    }
    lengths.push((count - start) as u64);
    lengths
}

/// Fills `out` with the next `count` booleans.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<bool>,
) -> Result<(), DecodeError> {
    let words = take_bits(cursor, count)?;
    out.clear();
    out.resize(count, false);
    for (bits, word) in out.chunks_mut(64).zip(words) {
        for (index, bit) in bits.iter_mut().enumerate() {
            *bit = word >> index & 1 == 1;
        }
    }
    Ok(())
}

/// The next `count` bits as words. Bits behind the last may be set where the bytes are bad.
pub(super) fn take_bits(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match cursor.byte()? {
        id::CONSTANT => {
            let bit = take_bit(cursor)?;
            let mut words = vec![if bit { u64::MAX } else { 0 }; count.div_ceil(64)];
            let last = words.len() - 1;
            words[last] &= u64::MAX >> (words.len() * 64 - count);
            Ok(words)
        }
        id::BITMAP => {
            let (whole, rest) = cursor.take(count.div_ceil(8))?.as_chunks::<8>();
            let mut words: Vec<u64> = whole.iter().map(|word| u64::from_le_bytes(*word)).collect();
            if !rest.is_empty() {
                let mut last = [0; 8];
                last[..rest.len()].copy_from_slice(rest);
                words.push(u64::from_le_bytes(last));
            }
            Ok(words)
        }
        id::BIT_RUNS => take_bit_runs(cursor, count),
        unknown => Err(DecodeError::UnknownCodec(unknown)),
    }
}

fn take_bit(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    match cursor.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("a bit is neither 0 nor 1")),
    }
}

fn take_bit_runs(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    let mut bit = take_bit(cursor)?;
    let runs = cursor.len(count)?;
    let mut lengths: Vec<u64> = vec![0; runs];
    integers::take(cursor, Context::TOP, &mut lengths)?;
    let mut words = vec![0; count.div_ceil(64)];
    let mut start = 0;
    for length in lengths {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > count - start {
            return Err(DecodeError::Invalid("runs pass the end of their column"));
        }
        if bit {
            fill_bits(&mut words, start, start + length);
        }
        start += length;
        bit = !bit;
    }
    if start < count {
        return Err(DecodeError::Invalid("runs end before their column"));
    }
    Ok(words)
}

/// Sets the bits `start..end`.
fn fill_bits(words: &mut [u64], start: usize, end: usize) {
    let mut at = start;
    while at < end {
        let len = (64 - at % 64).min(end - at);
        words[at / 64] |= (u64::MAX >> (64 - len)) << (at % 64);
        at += len;
    }
}
