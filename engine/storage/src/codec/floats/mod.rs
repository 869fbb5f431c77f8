//! Streams of floats: which encoding to take, and the way back. What no float codec makes smaller
//! is a stream of integers over the bits.

mod decimal;
mod dictionary;
mod xor;

use super::bytes::Cursor;
use super::integers::{self, Tries};
use super::{DecodeError, Depth, Effort, Span, id};

/// Appends the stream of `values`.
pub(super) fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    match effort {
        Effort::Hot => {
            if !decimal::encode(values, effort, out) {
                integers::encode(values, effort, Tries::VALUES, out);
            }
        }
        Effort::Cold => encode_smallest(values, true, out),
    }
}

/// Tries what the data calls for and keeps the smallest: the costlier codecs are tried only where
/// the cheap ones leave much.
fn encode_smallest(values: &[f64], dictionary: bool, out: &mut Vec<u8>) {
    let start = out.len();
    let decimal = decimal::encode(values, Effort::Cold, out);
    let mut best = Best { start, out };
    if !decimal {
        integers::encode(values, Effort::Cold, Tries::VALUES, best.out);
    }
    if dictionary && best.size() * 2 > values.len() * 3 {
        best.offer(|out| dictionary::encode(values, out));
    }
    if best.size() > values.len() * 3 {
        best.offer(|out| {
            out.push(id::XOR);
            xor::encode(values, out);
            true
        });
    }
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
}

/// Fills `out` with the values that `span` wants of the next stream.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    depth: Depth,
    span: Span,
    out: &mut [f64],
) -> Result<(), DecodeError> {
    if out.is_empty() {
        return Ok(());
    }
    match cursor.byte()? {
        id::DECIMAL => decimal::take(cursor, depth, span, out),
        id::XOR => xor::take(cursor, span, out),
        id::DICTIONARY => dictionary::take(cursor, depth, span, out),
        codec => integers::take_codec(codec, cursor, depth, span, out),
    }
}
