//! Numbers to bits and back: slices in, slices out. Knows no file, no checksum, no policy of when to
//! encode; its only choice is which encoding makes a column small for the effort allowed.
//!
//! A stream is described by itself once type and count are known: its first byte is the id of its
//! codec, and it ends with its last value. Every bit survives: NaN payloads, -0.0, infinities, the
//! ends of the integers. Decoding never panics and never allocates more than a small multiple of
//! what the count (at most [`COUNT_MAX`]) and [`STRING_BYTES_MAX`] allow, whatever the bytes say.
//!
//! # Source
//! docs/format/codecs.md holds every layout; a test ties its ids to [`id`].

mod booleans;
pub(crate) mod bytes;
mod floats;
mod frames;
mod integers;
mod shared;
mod strings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use bytes::Word;
pub(crate) use bytes::{Cursor, push_len};
pub(crate) use frames::decompress;

use crate::model::{Bitmap, FieldType, Presence, Values};
use integers::Tries;
pub use shared::Shared;

/// The most values one stream may hold. Decoders refuse a larger count before they allocate.
pub const COUNT_MAX: usize = 1 << 20;

/// The most bytes all strings of one stream may have together. Who encodes cuts columns below it.
pub const STRING_BYTES_MAX: usize = 1 << 28;

/// Codec ids, as they are written to disk: never used again for anything else. 0 is none, so that
/// zeroed bytes are no stream.
pub mod id {
    /// One value for all.
    pub const CONSTANT: u8 = 1;
    /// Words of eight bytes.
    pub const PLAIN: u8 = 2;
    /// First word and an even step.
    pub const STEP: u8 = 3;
    /// Words and how often each stands in a row.
    pub const RUNS: u8 = 4;
    /// A first stretch that all others repeat.
    pub const CYCLE: u8 = 5;
    /// Offsets from a base, bit-packed.
    pub const PACKED: u8 = 6;
    /// Differences, bit-packed.
    pub const DELTA: u8 = 7;
    /// Differences of differences, bit-packed.
    pub const DELTA_DELTA: u8 = 8;
    /// A power of ten and the stream of what it divides.
    pub const SCALED: u8 = 9;
    /// Numbers of bins and offsets in them, coded by a model of its own.
    pub const ENTROPY: u8 = 10;
    /// The same by a model that many columns share.
    pub const ENTROPY_SHARED: u8 = 11;
    /// Numbers of an even beat and distances from it.
    pub const BEAT: u8 = 12;
    /// Floats as decimals: integers over a power of ten, with exceptions.
    pub const DECIMAL: u8 = 16;
    /// Floats, each as what differs from the one before (Gorilla).
    pub const XOR: u8 = 17;
    /// Distinct floats and, for each value, which one it is.
    pub const DICTIONARY: u8 = 18;
    /// For each value, which one of the floats it is that many columns share.
    pub const DICTIONARY_SHARED: u8 = 19;
    /// Bits, eight to a byte.
    pub const BITMAP: u8 = 24;
    /// Bits as lengths of runs that take turns.
    pub const BIT_RUNS: u8 = 25;
    /// Strings end to end.
    pub const STRINGS: u8 = 32;
    /// Strings end to end under zstd.
    pub const STRINGS_ZSTD: u8 = 33;
    /// Distinct strings and, for each value, which one it is.
    pub const STRING_DICTIONARY: u8 = 34;
}

/// What an encoder may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A few nanoseconds a value, chosen by ranges: for the log and what is soon merged.
    Hot,
    /// Some ten nanoseconds a value, chosen by measured size: for what is merged again.
    Warm,
    /// Some fifty, entropy coding included: for what stays.
    Cold,
}

/// Why bytes are no stream of the wanted type and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They end too early.
    Truncated,
    /// A codec of this id is not known for this type.
    UnknownCodec(u8),
    /// They contradict themselves or pass a bound.
    Invalid(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => out.write_str("encoded bytes end too early"),
            DecodeError::UnknownCodec(codec) => write!(out, "codec {codec} is not known"),
            DecodeError::Invalid(what) => out.write_str(what),
        }
    }
}

impl std::error::Error for DecodeError {}

/// What stands around the stream being read: how many others, and what it may refer to.
#[derive(Clone, Copy, Debug)]
struct Context<'set> {
    depth: u8,
    shared: &'set Shared,
}

impl<'set> Context<'set> {
    /// Encoders go half as deep: a dictionary, its entries as decimals, in runs, packed.
    const DEPTH_MAX: u8 = 6;
    /// A stream that stands alone and refers to nothing.
    const TOP: Context<'static> = Context {
        depth: 0,
        shared: &shared::NONE,
    };

    /// A stream that stands alone.
    fn of(shared: &'set Shared) -> Context<'set> {
        Context { depth: 0, shared }
    }

    fn deeper(self) -> Result<Context<'set>, DecodeError> {
        if self.depth == Context::DEPTH_MAX {
            return Err(DecodeError::Invalid("streams are nested too deep"));
        }
        Ok(Context {
            depth: self.depth + 1,
            ..self
        })
    }
}

/// Which of a stream's values are wanted: as many as the output has places, from `start` on. Where
/// they do not reach the stream's end, the cursor is left somewhere inside it.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// How many values the stream has.
    count: usize,
    /// The first wanted.
    start: usize,
}

impl Span {
    /// All of a stream of `count` values.
    fn whole(count: usize) -> Span {
        Span { count, start: 0 }
    }
}

/// A word, and how often it stands in a row: a signed or unsigned integer, or a float's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The word.
    pub word: u64,
    /// How often, at least once.
    pub count: usize,
}

/// Where the runs of a stream go, and which of its values are wanted.
#[derive(Debug)]
struct Repeats<'out> {
    /// How many values the stream has.
    count: usize,
    range: Range<usize>,
    out: &'out mut Vec<Repeat>,
}

fn check_count(count: usize) -> Result<(), DecodeError> {
    if count > COUNT_MAX {
        return Err(DecodeError::Invalid("a stream holds too many values"));
    }
    Ok(())
}

/// Makes `out` hold `count` words, all to be overwritten.
fn resize<T: Word>(out: &mut Vec<T>, count: usize) -> Result<(), DecodeError> {
    check_count(count)?;
    out.resize(count, T::from_word(0));
    Ok(())
}

/// Runs `take` over all of `bytes`, which must end where it does.
fn whole<T>(
    bytes: &[u8],
    take: impl FnOnce(&mut Cursor<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let taken = take(&mut cursor)?;
    cursor.finish()?;
    Ok(taken)
}

/// Appends the stream of `values` to `out`. No values, no bytes.
///
/// # Panics
/// If there are more than [`COUNT_MAX`] values, or strings of more than [`STRING_BYTES_MAX`].
pub fn encode_values(values: &Values, effort: Effort, out: &mut Vec<u8>) {
    encode_values_with(values, effort, Shared::none(), out);
}

/// As [`encode_values`]; the stream may refer to `shared`, which decoding then needs too.
///
/// # Panics
/// As [`encode_values`].
pub fn encode_values_with(values: &Values, effort: Effort, shared: &Shared, out: &mut Vec<u8>) {
    assert!(values.len() <= COUNT_MAX, "callers cut columns to size");
    let tries = Tries {
        models: &shared.models,
        ..Tries::VALUES
    };
    match values {
        Values::Float(values) => floats::encode(values, effort, shared, out),
        Values::Integer(values) => integers::encode(values, effort, tries, out),
        Values::Unsigned(values) => integers::encode(values, effort, tries, out),
        Values::Boolean(values) => booleans::encode(values, effort, out),
        Values::String(values) => strings::encode(values, effort, out),
    }
}

/// The `count` values of `field_type` in `bytes`.
///
/// # Errors
/// If `bytes` are not exactly such a stream.
pub fn decode_values(
    field_type: FieldType,
    bytes: &[u8],
    count: usize,
) -> Result<Values, DecodeError> {
    decode_values_with(field_type, bytes, count, Shared::none())
}

/// As [`decode_values`], of a stream that may refer to `shared`.
///
/// # Errors
/// As [`decode_values`].
pub fn decode_values_with(
    field_type: FieldType,
    bytes: &[u8],
    count: usize,
    shared: &Shared,
) -> Result<Values, DecodeError> {
    let mut values = Values::new(field_type);
    decode_values_into_with(bytes, count, shared, &mut values)?;
    Ok(values)
}

/// As [`decode_values`], in place of what `values` holds and of its type; memory is used again.
///
/// # Errors
/// As [`decode_values`]; what `values` then holds is of no meaning.
pub fn decode_values_into(
    bytes: &[u8],
    count: usize,
    values: &mut Values,
) -> Result<(), DecodeError> {
    decode_values_into_with(bytes, count, Shared::none(), values)
}

/// As [`decode_values_into`], of a stream that may refer to `shared`.
///
/// # Errors
/// As [`decode_values_into`].
pub fn decode_values_into_with(
    bytes: &[u8],
    count: usize,
    shared: &Shared,
    values: &mut Values,
) -> Result<(), DecodeError> {
    let context = Context::of(shared);
    whole(bytes, |cursor| {
        take_values_in(cursor, context, count, values)
    })
}

/// Appends the values of `range` of a stream of `count` numbers to `out`, as words and how often each stands
/// in a row; false, and nothing, where the stream does not keep them so. Costs what the runs do.
///
/// # Errors
/// If `bytes` are found not to be such a stream.
///
/// # Panics
/// If the range ends before it starts or behind `count`.
pub fn decode_repeats(
    (field_type, bytes): (FieldType, &[u8]),
    (count, range): (usize, Range<usize>),
    shared: &Shared,
    out: &mut Vec<Repeat>,
) -> Result<bool, DecodeError> {
    assert!(range.start <= range.end && range.end <= count, "{range:?}");
    check_count(count)?;
    let cursor = &mut Cursor::new(bytes);
    let context = Context::of(shared);
    let repeats = Repeats { count, range, out };
    match field_type {
        FieldType::Float | FieldType::Integer | FieldType::Unsigned if repeats.range.is_empty() => {
            Ok(true)
        }
        FieldType::Float => floats::take_repeats(cursor, context, repeats),
        FieldType::Integer | FieldType::Unsigned => {
            integers::take_repeats(cursor, context, repeats)
        }
        FieldType::Boolean | FieldType::String => Ok(false),
    }
}

/// The first of `count` times in `bytes` and the step from each to the next, where all are alike and the
/// stream keeps them so.
///
/// # Errors
/// If `bytes` are found not to be such a stream.
pub fn decode_even(bytes: &[u8], count: usize) -> Result<Option<(i64, i64)>, DecodeError> {
    check_count(count)?;
    let mut cursor = Cursor::new(bytes);
    let step = match cursor.byte()? {
        id::CONSTANT => false,
        id::STEP => true,
        _ => return Ok(None),
    };
    let first = cursor.signed()?.cast_signed();
    let step = if step { cursor.signed()? } else { 0 };
    cursor.finish()?;
    Ok(Some((first, step.cast_signed())))
}

/// As [`decode_values_into`], only the values of `range`, counted from 0. Costs what the range does
/// where values stand in blocks of 1,024 or need no looking for, else what the whole does. What
/// lies outside the range is not checked.
///
/// # Errors
/// If `bytes` are found not to be such a stream.
///
/// # Panics
/// If the range ends before it starts or behind `count`.
pub fn decode_values_range(
    bytes: &[u8],
    count: usize,
    range: Range<usize>,
    values: &mut Values,
) -> Result<(), DecodeError> {
    decode_values_range_with(bytes, (count, range), Shared::none(), values)
}

/// As [`decode_values_range`], of a stream of `count` values that may refer to `shared`.
///
/// # Errors
/// As [`decode_values_range`].
///
/// # Panics
/// As [`decode_values_range`].
pub fn decode_values_range_with(
    bytes: &[u8],
    (count, range): (usize, Range<usize>),
    shared: &Shared,
    values: &mut Values,
) -> Result<(), DecodeError> {
    let context = Context::of(shared);
    assert!(range.start <= range.end && range.end <= count, "{range:?}");
    check_count(count)?;
    let span = Span {
        count,
        start: range.start,
    };
    let cursor = &mut Cursor::new(bytes);
    match values {
        Values::Float(values) => {
            resize(values, range.len())?;
            floats::take(cursor, context, span, values)
        }
        Values::Integer(values) => {
            resize(values, range.len())?;
            integers::take_span(cursor, context, span, values)
        }
        Values::Unsigned(values) => {
            resize(values, range.len())?;
            integers::take_span(cursor, context, span, values)
        }
        Values::Boolean(values) => {
            booleans::take(cursor, count, values)?;
            values.truncate(range.end);
            values.drain(..range.start);
            Ok(())
        }
        Values::String(values) => {
            strings::take(cursor, context, count, values)?;
            strings::keep(values, range);
            Ok(())
        }
    }
}

/// Takes the next `count` values off `cursor`, of the type of `values`.
pub(crate) fn take_values(
    cursor: &mut Cursor<'_>,
    count: usize,
    values: &mut Values,
) -> Result<(), DecodeError> {
    take_values_in(cursor, Context::TOP, count, values)
}

fn take_values_in(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    count: usize,
    values: &mut Values,
) -> Result<(), DecodeError> {
    check_count(count)?;
    match values {
        Values::Float(values) => {
            resize(values, count)?;
            floats::take(cursor, context, Span::whole(count), values)
        }
        Values::Integer(values) => {
            resize(values, count)?;
            integers::take(cursor, context, values)
        }
        Values::Unsigned(values) => {
            resize(values, count)?;
            integers::take(cursor, context, values)
        }
        Values::Boolean(values) => booleans::take(cursor, count, values),
        Values::String(values) => strings::take(cursor, context, count, values),
    }
}

/// Appends the stream of `timestamps` to `out`. An even series costs a dozen bytes.
///
/// # Panics
/// If there are more than [`COUNT_MAX`].
pub fn encode_timestamps(timestamps: &[i64], effort: Effort, out: &mut Vec<u8>) {
    encode_timestamps_with(timestamps, effort, Shared::none(), out);
}

/// As [`encode_timestamps`]; the stream may refer to `shared`, which decoding then needs too.
///
/// # Panics
/// As [`encode_timestamps`].
pub fn encode_timestamps_with(
    timestamps: &[i64],
    effort: Effort,
    shared: &Shared,
    out: &mut Vec<u8>,
) {
    assert!(timestamps.len() <= COUNT_MAX, "callers cut columns to size");
    let tries = Tries {
        models: &shared.models,
        ..Tries::TIMES
    };
    integers::encode(timestamps, effort, tries, out);
}

/// The `count` timestamps in `bytes`.
///
/// # Errors
/// If `bytes` are not exactly such a stream.
pub fn decode_timestamps(bytes: &[u8], count: usize) -> Result<Vec<i64>, DecodeError> {
    decode_ids(bytes, count)
}

/// As [`decode_timestamps`], of a stream that may refer to `shared`.
///
/// # Errors
/// As [`decode_timestamps`].
pub fn decode_timestamps_with(
    bytes: &[u8],
    count: usize,
    shared: &Shared,
) -> Result<Vec<i64>, DecodeError> {
    let mut out = Vec::new();
    resize(&mut out, count)?;
    whole(bytes, |cursor| {
        integers::take(cursor, Context::of(shared), &mut out)
    })?;
    Ok(out)
}

/// As [`decode_timestamps`], in place of what `out` holds.
///
/// # Errors
/// As [`decode_timestamps`].
pub fn decode_timestamps_into(
    bytes: &[u8],
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    decode_ids_into(bytes, count, out)
}

/// Appends the stream of `ids` to `out`: series ids, row counts, any words that are not values.
///
/// # Panics
/// If there are more than [`COUNT_MAX`].
pub fn encode_ids<T: Word>(ids: &[T], effort: Effort, out: &mut Vec<u8>) {
    assert!(ids.len() <= COUNT_MAX, "callers cut columns to size");
    integers::encode(ids, effort, Tries::IDS, out);
}

/// The `count` ids in `bytes`.
///
/// # Errors
/// If `bytes` are not exactly such a stream.
pub fn decode_ids<T: Word>(bytes: &[u8], count: usize) -> Result<Vec<T>, DecodeError> {
    let mut ids = Vec::new();
    decode_ids_into(bytes, count, &mut ids)?;
    Ok(ids)
}

/// As [`decode_ids`], in place of what `out` holds.
///
/// # Errors
/// As [`decode_ids`].
pub fn decode_ids_into<T: Word>(
    bytes: &[u8],
    count: usize,
    out: &mut Vec<T>,
) -> Result<(), DecodeError> {
    whole(bytes, |cursor| take_ids(cursor, count, out))
}

/// As [`decode_ids_into`], only those of `range`, as [`decode_values_range`] does.
///
/// # Errors
/// As [`decode_values_range`].
///
/// # Panics
/// As [`decode_values_range`].
pub fn decode_ids_range<T: Word>(
    bytes: &[u8],
    count: usize,
    range: Range<usize>,
    out: &mut Vec<T>,
) -> Result<(), DecodeError> {
    assert!(range.start <= range.end && range.end <= count, "{range:?}");
    check_count(count)?;
    resize(out, range.len())?;
    let span = Span {
        count,
        start: range.start,
    };
    integers::take_span(&mut Cursor::new(bytes), Context::TOP, span, out)
}

/// Takes the next `count` ids or timestamps off `cursor`.
pub(crate) fn take_ids<T: Word>(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<T>,
) -> Result<(), DecodeError> {
    resize(out, count)?;
    integers::take(cursor, Context::TOP, out)
}

/// Appends which of `rows` rows have a value, as all, none, runs or a bitmap, whatever is smallest.
///
/// # Panics
/// If `presence` is of another number of rows, or there are more than [`COUNT_MAX`].
pub fn encode_presence(presence: &Presence, rows: usize, out: &mut Vec<u8>) {
    assert!(rows <= COUNT_MAX, "callers cut columns to size");
    match presence {
        Presence::All => booleans::encode_constant(true, rows, out),
        Presence::Some(bits) => {
            assert_eq!(bits.len(), rows, "presence spans all rows");
            booleans::encode_bits(bits.words(), rows, Effort::Warm, out);
        }
    }
}

/// Which of `rows` rows have a value. A bitmap of only ones comes back as [`Presence::All`].
///
/// # Errors
/// If `bytes` are not exactly such a stream.
pub fn decode_presence(bytes: &[u8], rows: usize) -> Result<Presence, DecodeError> {
    whole(bytes, |cursor| take_presence(cursor, rows))
}

/// Takes the presence of `rows` rows off `cursor`.
pub(crate) fn take_presence(cursor: &mut Cursor<'_>, rows: usize) -> Result<Presence, DecodeError> {
    check_count(rows)?;
    let words = booleans::take_bits(cursor, rows)?;
    let bits = Bitmap::from_words(words, rows)
        .ok_or(DecodeError::Invalid("bits are set behind the last row"))?;
    Ok(if bits.count_ones() == rows {
        Presence::All
    } else {
        Presence::Some(bits)
    })
}
