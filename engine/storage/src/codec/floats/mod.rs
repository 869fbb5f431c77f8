//! Streams of floats: which encoding to take, and the way back. What no float codec makes smaller
//! is a stream of integers over the bits.

mod decimal;
mod dictionary;
mod xor;

pub(super) use dictionary::Slots;

use super::bytes::{Cursor, Word};
use super::integers::{self, Tries};
use super::shared::{FLOATS_MAX, Shared};
use super::{Context, DecodeError, Effort, Repeats, Span, id};

/// Appends the stream of `values`, which may refer to `shared`.
pub(super) fn encode(values: &[f64], effort: Effort, shared: &Shared, out: &mut Vec<u8>) {
    let tries = Tries {
        models: &shared.models,
        ..Tries::VALUES
    };
    let start = out.len();
    if !decimal::encode(values, effort, tries, out) {
        integers::encode(values, effort, tries, out);
    }
    if effort == Effort::Hot {
        return;
    }
    let mut best = Best { start, out };
    // The costlier codecs are tried only where the cheap ones leave much.
    if best.size() * 2 > values.len() * 3 {
        if !shared.floats.is_empty() {
            best.offer(|out| dictionary::encode_shared(values, effort, shared, out));
        }
        if best.size() * 2 > values.len() * 5 {
            best.offer(|out| dictionary::encode(values, effort, out));
        }
    }
    best.offer_xor(values);
}

/// As [`encode`], of what is an entry itself: no dictionary stands in another.
pub(super) fn encode_alone(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let start = out.len();
    if !decimal::encode(values, effort, Tries::VALUES, out) {
        integers::encode(values, effort, Tries::VALUES, out);
    }
    Best { start, out }.offer_xor(values);
}

/// The smallest stream so far stands in `out` behind `start`.
struct Best<'out> {
    start: usize,
    out: &'out mut Vec<u8>,
}

impl Best<'_> {
    fn size(&self) -> usize {
        self.out.len() - self.start
    }

    /// Takes what `encode` writes, if it writes and it is smaller.
    fn offer(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> bool) {
        let mut other = Vec::new();
        if encode(&mut other) && other.len() < self.size() {
            self.out.truncate(self.start);
            self.out.extend_from_slice(&other);
        }
    }

    fn offer_xor(&mut self, values: &[f64]) {
        if self.size() > values.len() * 3 {
            self.offer(|out| {
                out.push(id::XOR);
                xor::encode(values, out);
                true
            });
        }
    }
}

/// The integers that most of `columns` will be encoded as, and the dictionary they share, if they do.
pub(super) fn shared_form(columns: &[&[f64]]) -> (Vec<Vec<u64>>, Vec<f64>) {
    let decimals: Vec<Vec<u64>> = columns
        .iter()
        .filter_map(|values| decimal::wholes(values, Effort::Cold))
        .map(|(_, _, wholes)| wholes)
        .collect();
    if decimals.len() * 2 > columns.len() {
        return (decimals, Vec::new());
    }
    let count: usize = columns.iter().map(|values| values.len()).sum();
    let most = (count / 4).min(FLOATS_MAX);
    if let Some(entries) = dictionary::distinct(columns.iter().copied().flatten(), most) {
        let slots = Slots::of(&entries);
        let places = columns.iter().map(|values| slots.places(values));
        return (places.flatten().collect(), entries);
    }
    let bits = |values: &&[f64]| values.iter().map(|value| value.to_word()).collect();
    (columns.iter().map(bits).collect(), Vec::new())
}

/// Fills `out` with the values that `span` wants of the next stream.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [f64],
) -> Result<(), DecodeError> {
    if out.is_empty() {
        return Ok(());
    }
    match cursor.byte()? {
        id::DECIMAL => decimal::take(cursor, context, span, out),
        id::XOR => xor::take(cursor, span, out),
        id::DICTIONARY => dictionary::take(cursor, context, span, out),
        id::DICTIONARY_SHARED => dictionary::take_shared(cursor, context, span, out),
        codec => integers::take_codec(codec, cursor, context, span, out),
    }
}

/// Appends the runs that `repeats` wants, one value at least, of the next stream; false where it has none.
pub(super) fn take_repeats(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    repeats: Repeats<'_>,
) -> Result<bool, DecodeError> {
    match cursor.byte()? {
        id::DECIMAL => decimal::take_repeats(cursor, context, repeats),
        codec => integers::take_repeats_of(codec, cursor, context, repeats),
    }
}
