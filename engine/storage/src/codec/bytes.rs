//! Reading encoded bytes that may lie: every take is checked, nothing panics, nothing allocates.
//! And what an element of an integer column is to the kernels: a word of 64 bits.

use super::DecodeError;
use crate::model::{SeriesId, push_varint, take_varint};

/// An element that is 64 bits and nothing else. The kernels see words; what they mean, whether
/// signed, unsigned, a float's bits or an id, is the caller's.
pub trait Word: Copy {
    /// The element whose bits are `word`.
    fn from_word(word: u64) -> Self;
    /// The element's bits.
    fn to_word(self) -> u64;
}

impl Word for u64 {
    #[inline]
    fn from_word(word: u64) -> u64 {
        word
    }
    #[inline]
    fn to_word(self) -> u64 {
        self
    }
}

impl Word for i64 {
    #[inline]
    fn from_word(word: u64) -> i64 {
        word.cast_signed()
    }
    #[inline]
    fn to_word(self) -> u64 {
        self.cast_unsigned()
    }
}

impl Word for f64 {
    #[inline]
    fn from_word(word: u64) -> f64 {
        f64::from_bits(word)
    }
    #[inline]
    fn to_word(self) -> u64 {
        self.to_bits()
    }
}

impl Word for SeriesId {
    #[inline]
    fn from_word(word: u64) -> SeriesId {
        SeriesId(word)
    }
    #[inline]
    fn to_word(self) -> u64 {
        self.0
    }
}

/// Small magnitudes of either sign to small words: 0, -1, 1, -2, ...
#[inline]
pub(super) fn zigzag(word: u64) -> u64 {
    (word << 1) ^ 0_u64.wrapping_sub(word >> 63)
}

/// What [`zigzag`] made `word` of.
#[inline]
pub(super) fn unzigzag(word: u64) -> u64 {
    (word >> 1) ^ 0_u64.wrapping_sub(word & 1)
}

/// Appends `word` as the varint of its zigzag.
pub(super) fn push_signed(out: &mut Vec<u8>, word: u64) {
    push_varint(out, zigzag(word));
}

/// Appends a length as a varint.
pub(crate) fn push_len(out: &mut Vec<u8>, len: usize) {
    push_varint(out, len as u64);
}

/// What has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'bytes> {
    rest: &'bytes [u8],
}

impl<'bytes> Cursor<'bytes> {
    /// All of `bytes`.
    pub(crate) fn new(bytes: &'bytes [u8]) -> Self {
        Cursor { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'bytes [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    /// The next varint.
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        take_varint(&mut self.rest).ok_or(DecodeError::Truncated)
    }

    /// The next varint, out of zigzag.
    pub(super) fn signed(&mut self) -> Result<u64, DecodeError> {
        Ok(unzigzag(self.varint()?))
    }

    /// A length of at most `max`.
    pub(crate) fn len(&mut self, max: usize) -> Result<usize, DecodeError> {
        let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if len > max {
            return Err(DecodeError::Invalid("length passes its bound"));
        }
        Ok(len)
    }

    /// Nothing must be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Invalid("bytes behind the end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_keeps_every_word_and_makes_small_ones_small() {
        for word in [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 77] {
            assert_eq!(unzigzag(zigzag(word)), word);
        }
        assert_eq!(zigzag(u64::MAX), 1);
        assert_eq!(zigzag(5), 10);
    }

    #[test]
    fn a_cursor_says_truncated_and_stays_where_it_was() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.take(4), Err(DecodeError::Truncated));
        assert_eq!(cursor.take(3), Ok(&[1, 2, 3][..]));
        assert_eq!(cursor.byte(), Err(DecodeError::Truncated));
        assert_eq!(cursor.finish(), Ok(()));
    }
}
