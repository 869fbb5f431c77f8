//! Bit packing with a frame of reference: a block of up to 1,024 words as offsets from a base, all
//! in one width, words that do not fit standing apart as exceptions.
//!
//! A full block is laid out in 16 lanes: value `i` is row `i / 16` of lane `i % 16`, each lane is a
//! stream of bits of its own, and word `k` of all lanes stands together. So each step of the
//! kernels does the same shift to 16 neighbours, which compilers turn into vector code, and output
//! stays in order. A shorter block is one plain stream of bits: lanes would pad it.
//!
//! Knows nothing of deltas, signs or what follows a block.

use crate::codec::bytes::{Cursor, Word, push_len, push_signed, zigzag};
use crate::codec::{DecodeError, Span};

/// Words of a full block.
pub(super) const BLOCK: usize = 1024;
const LANES: usize = 16;
/// Set in the width byte where exceptions follow the base.
const HAS_EXCEPTIONS: u8 = 0x80;
/// How many words the middle of a block is guessed from.
const SAMPLE: usize = 33;

/// How a block is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    base: u64,
    width: u32,
    exceptions: usize,
    /// About what it will take.
    pub(super) size_bits: usize,
}

fn width_of(word: u64) -> u32 {
    64 - word.leading_zeros()
}

fn mask(width: u32) -> u64 {
    if width == 64 {
        u64::MAX
    } else {
        (1 << width) - 1
    }
}

/// The smallest and largest of `words`, as signed numbers.
fn bounds(words: impl Iterator<Item = u64>) -> (i64, i64) {
    words.fold((i64::MAX, i64::MIN), |(low, high), word| {
        let word = word.cast_signed();
        (low.min(word), high.max(word))
    })
}

/// Offsets from `floor`, which is known to be at most the smallest word: one pass without compares.
pub(super) fn plan_above(words: &[u64], floor: i64) -> Plan {
    let base = floor.cast_unsigned();
    let bits = words
        .iter()
        .fold(0, |bits, word| bits | word.wrapping_sub(base));
    let width = width_of(bits);
    Plan {
        base,
        width,
        exceptions: 0,
        size_bits: 24 + words.len() * width as usize,
    }
}

/// Offsets from the smallest word, wide enough for the largest.
fn plan_full(words: &[u64]) -> Plan {
    plan_above(words, bounds(words.iter().copied()).0)
}

/// The width that costs least in all, by a histogram of distances from the middle; then the
/// tightest range around the words inside.
pub(super) fn plan_patched(words: &[u64]) -> Plan {
    let middle = middle_of(words);
    let distance = |word: u64| zigzag(word.wrapping_sub(middle));
    let mut histogram = [0_usize; 65];
    for word in words {
        histogram[width_of(distance(*word)) as usize] += 1;
    }
    let mut best = (usize::MAX, 64, 0);
    let (mut outside, mut outside_bits) = (0, 0);
    for width in (0..=64).rev() {
        let cost = words.len() * width + outside_bits;
        if cost < best.0 {
            best = (cost, width, outside);
        }
        outside += histogram[width];
        outside_bits += histogram[width] * (10 + 8 * width.div_ceil(7));
    }
    let (_, width, exceptions) = best;
    if exceptions == 0 {
        return plan_full(words);
    }
    let inside = words.iter().copied();
    let (low, high) = bounds(inside.filter(|word| width_of(distance(*word)) as usize <= width));
    let base = low.cast_unsigned();
    let tight = width_of(high.wrapping_sub(low).cast_unsigned());
    let mut patched = Plan {
        base,
        width: tight,
        exceptions: 0,
        size_bits: 40 + words.len() * tight as usize,
    };
    for word in words {
        let offset = word.wrapping_sub(base);
        if offset & !mask(tight) != 0 {
            patched.exceptions += 1;
            patched.size_bits += 8 + 8 * varint_len(zigzag(offset));
        }
    }
    let full = plan_full(words);
    if full.size_bits <= patched.size_bits {
        full
    } else {
        patched
    }
}

fn varint_len(word: u64) -> usize {
    width_of(word).max(1).div_ceil(7) as usize
}

fn middle_of(words: &[u64]) -> u64 {
    let step = words.len().div_ceil(SAMPLE);
    let mut sample = [0_i64; SAMPLE];
    let mut len = 0;
    for (slot, word) in sample.iter_mut().zip(words.iter().step_by(step)) {
        *slot = word.cast_signed();
        len += 1;
    }
    let sample = &mut sample[..len];
    sample.sort_unstable();
    sample[len / 2].cast_unsigned()
}

/// Appends `words`, at least one and at most [`BLOCK`].
pub(super) fn write(words: &[u64], plan: Plan, out: &mut Vec<u8>) {
    let flag = if plan.exceptions > 0 {
        HAS_EXCEPTIONS
    } else {
        0
    };
    out.push(u8::try_from(plan.width).expect("a width is at most 64") | flag);
    push_signed(out, plan.base);
    if plan.exceptions > 0 {
        write_exceptions(words, plan, out);
    }
    match words.try_into() {
        Ok(block) => pack_lanes(block, plan, out),
        Err(_) => pack_tail(words, plan, out),
    }
}

/// Count, length in bytes, then for each the distance from the one before and the word's offset.
/// The length lets a reader step over a block it does not want.
fn write_exceptions(words: &[u64], plan: Plan, out: &mut Vec<u8>) {
    let mut entries = Vec::with_capacity(plan.exceptions * 8);
    let mut next = 0;
    for (index, word) in words.iter().enumerate() {
        let offset = word.wrapping_sub(plan.base);
        if offset & !mask(plan.width) != 0 {
            push_len(&mut entries, index - next);
            push_signed(&mut entries, offset);
            next = index + 1;
        }
    }
    push_len(out, plan.exceptions);
    push_len(out, entries.len());
    out.extend_from_slice(&entries);
}

fn push_lanes(out: &mut Vec<u8>, lanes: &[u64; LANES]) {
    out.extend_from_slice(lanes.map(u64::to_le_bytes).as_flattened());
}

fn pack_lanes(words: &[u64; BLOCK], plan: Plan, out: &mut Vec<u8>) {
    let Plan { base, width, .. } = plan;
    if width == 0 {
        return;
    }
    let mask = mask(width);
    out.reserve(BLOCK / 8 * width as usize);
    let mut open = [0_u64; LANES];
    let mut filled = 0;
    for row in words.as_chunks::<LANES>().0 {
        let row: [u64; LANES] = std::array::from_fn(|lane| row[lane].wrapping_sub(base) & mask);
        for lane in 0..LANES {
            open[lane] |= row[lane] << filled;
        }
        filled += width;
        if filled >= 64 {
            push_lanes(out, &open);
            filled -= 64;
            let done = width - filled;
            for lane in 0..LANES {
                open[lane] = if filled == 0 { 0 } else { row[lane] >> done };
            }
        }
    }
}

fn pack_tail(words: &[u64], plan: Plan, out: &mut Vec<u8>) {
    let Plan { base, width, .. } = plan;
    if width == 0 {
        return;
    }
    let mask = mask(width);
    let start = out.len();
    out.reserve(words.len() * width as usize / 8 + 8);
    let mut open = 0_u64;
    let mut filled = 0;
    for word in words {
        let offset = word.wrapping_sub(base) & mask;
        open |= offset << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&open.to_le_bytes());
            filled -= 64;
            open = if filled == 0 {
                0
            } else {
                offset >> (width - filled)
            };
        }
    }
    let size = (words.len() * width as usize).div_ceil(8);
    out.extend_from_slice(&open.to_le_bytes());
    out.truncate(start + size);
}

/// What stands before a block's packed words.
struct Head<'bytes> {
    width: u32,
    base: u64,
    exceptions: Option<(usize, Cursor<'bytes>)>,
    packed: &'bytes [u8],
}

/// Takes a block of `count` words as it lies.
fn take_head<'bytes>(
    cursor: &mut Cursor<'bytes>,
    count: usize,
) -> Result<Head<'bytes>, DecodeError> {
    let head = cursor.byte()?;
    let width = u32::from(head & !HAS_EXCEPTIONS);
    if width > 64 {
        return Err(DecodeError::Invalid("a packed width passes 64 bits"));
    }
    let base = cursor.signed()?;
    let mut exceptions = None;
    if head & HAS_EXCEPTIONS != 0 {
        let count = cursor.len(count)?;
        let size = cursor.len(cursor.remaining())?;
        exceptions = Some((count, Cursor::new(cursor.take(size)?)));
    }
    let packed = cursor.take((count * width as usize).div_ceil(8))?;
    Ok(Head {
        width,
        base,
        exceptions,
        packed,
    })
}

/// Steps over the next block of `count` words.
pub(super) fn skip(cursor: &mut Cursor<'_>, count: usize) -> Result<(), DecodeError> {
    take_head(cursor, count).map(|_| ())
}

/// Fills `out`, which has at most [`BLOCK`] places, with the next block.
pub(super) fn read<T: Word>(cursor: &mut Cursor<'_>, out: &mut [T]) -> Result<(), DecodeError> {
    let head = take_head(cursor, out.len())?;
    match <&mut [T; BLOCK]>::try_from(&mut *out) {
        Ok(block) => unpack_lanes(head.packed, head.base, head.width, block),
        Err(_) => unpack_tail(head.packed, head.base, head.width, out),
    }
    if let Some((count, entries)) = head.exceptions {
        patch(entries, count, head.base, out)?;
    }
    Ok(())
}

fn patch<T: Word>(
    mut entries: Cursor<'_>,
    count: usize,
    base: u64,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let mut next = 0;
    for _ in 0..count {
        let index = next + entries.len(BLOCK)?;
        let slot = out.get_mut(index).ok_or(DecodeError::Invalid(
            "an exception stands outside its block",
        ))?;
        *slot = T::from_word(base.wrapping_add(entries.signed()?));
        next = index + 1;
    }
    entries.finish()
}

fn unpack_lanes<T: Word>(packed: &[u8], base: u64, width: u32, out: &mut [T; BLOCK]) {
    if width == 0 {
        out.fill(T::from_word(base));
        return;
    }
    let mask = mask(width);
    let words: &[[[u8; 8]; LANES]] = packed.as_chunks::<8>().0.as_chunks().0;
    let mut bit = 0;
    for row in out.as_chunks_mut::<LANES>().0 {
        let low = &words[bit as usize / 64];
        let shift = bit % 64;
        if shift + width <= 64 {
            for lane in 0..LANES {
                let offset = u64::from_le_bytes(low[lane]) >> shift & mask;
                row[lane] = T::from_word(base.wrapping_add(offset));
            }
        } else {
            let high = &words[bit as usize / 64 + 1];
            for lane in 0..LANES {
                let both = u64::from_le_bytes(low[lane]) >> shift
                    | u64::from_le_bytes(high[lane]) << (64 - shift);
                row[lane] = T::from_word(base.wrapping_add(both & mask));
            }
        }
        bit += width;
    }
}

/// `packed` has exactly the bytes that `out` needs.
fn unpack_tail<T: Word>(packed: &[u8], base: u64, width: u32, out: &mut [T]) {
    let mask = mask(width);
    let mut bit = 0;
    for slot in out {
        let byte = bit / 8;
        let shift = bit % 8;
        let offset = match packed.get(byte..byte + 8) {
            Some(eight) if shift + width as usize <= 64 => {
                u64::from_le_bytes(eight.try_into().expect("eight bytes")) >> shift
            }
            _ => straddling(&packed[byte.min(packed.len())..], shift),
        };
        *slot = T::from_word(base.wrapping_add(offset & mask));
        bit += width as usize;
    }
}

/// The word that begins `shift` bits into `bytes`, which may end before it does.
#[cold]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low word of the shifted sixteen bytes is meant"
)]
fn straddling(bytes: &[u8], shift: usize) -> u64 {
    let mut padded = [0; 16];
    let len = bytes.len().min(16);
    padded[..len].copy_from_slice(&bytes[..len]);
    (u128::from_le_bytes(padded) >> shift) as u64
}

/// Appends the exact word stream of `words` without packing: eight bytes each, lowest first.
pub(super) fn write_plain<T: Word>(words: &[T], out: &mut Vec<u8>) {
    out.reserve(words.len() * 8);
    for eight in words.chunks(LANES) {
        for word in eight {
            out.extend_from_slice(&word.to_word().to_le_bytes());
        }
    }
}

/// Fills `out` with words of eight bytes.
pub(super) fn read_plain<T: Word>(
    cursor: &mut Cursor<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    cursor.take(span.start * 8)?;
    let bytes = cursor.take(out.len() * 8)?;
    for (slot, word) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *slot = T::from_word(u64::from_le_bytes(*word));
    }
    Ok(())
}
