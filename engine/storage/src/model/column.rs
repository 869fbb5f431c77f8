//! Columns in memory: one field's values, dense, and which rows have one.

use std::ops::Range;

use crate::model::{FieldType, FieldValue};

/// Byte strings end to end. String `i` is `bytes[ends[i-1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    /// Where each string ends in `bytes`; ascending.
    pub ends: Vec<u32>,
    /// The strings, one after another.
    pub bytes: Vec<u8>,
}

impl Strings {
    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String `index`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 {
            0
        } else {
            self.ends[index - 1] as usize
        };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// Appends one string.
    ///
    /// # Panics
    /// If the bytes of all strings pass 4 GiB; callers bound a batch far below.
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        let end = u32::try_from(self.bytes.len()).expect("a column of strings is far below 4 GiB");
        self.ends.push(end);
    }
}

/// The values of a column: only those present, in row order.
#[derive(Clone, Debug)]
pub enum Values {
    /// Floats, bit-exact.
    Float(Vec<f64>),
    /// Signed integers.
    Integer(Vec<i64>),
    /// Unsigned integers.
    Unsigned(Vec<u64>),
    /// Booleans.
    Boolean(Vec<bool>),
    /// Byte strings.
    String(Strings),
}

impl Values {
    /// An empty column of `field_type`.
    pub fn new(field_type: FieldType) -> Values {
        match field_type {
            FieldType::Float => Values::Float(Vec::new()),
            FieldType::Integer => Values::Integer(Vec::new()),
            FieldType::Unsigned => Values::Unsigned(Vec::new()),
            FieldType::Boolean => Values::Boolean(Vec::new()),
            FieldType::String => Values::String(Strings::default()),
        }
    }

    /// The type of the values.
    pub fn field_type(&self) -> FieldType {
        match self {
            Values::Float(_) => FieldType::Float,
            Values::Integer(_) => FieldType::Integer,
            Values::Unsigned(_) => FieldType::Unsigned,
            Values::Boolean(_) => FieldType::Boolean,
            Values::String(_) => FieldType::String,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Values::Float(values) => values.len(),
            Values::Integer(values) => values.len(),
            Values::Unsigned(values) => values.len(),
            Values::Boolean(values) => values.len(),
            Values::String(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `index` of those present.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get(&self, index: usize) -> FieldValue {
        match self {
            Values::Float(values) => FieldValue::Float(values[index]),
            Values::Integer(values) => FieldValue::Integer(values[index]),
            Values::Unsigned(values) => FieldValue::Unsigned(values[index]),
            Values::Boolean(values) => FieldValue::Boolean(values[index]),
            Values::String(values) => FieldValue::String(values.get(index).into()),
        }
    }

    /// Appends one value.
    ///
    /// # Panics
    /// If the value is of another type: types are claimed before a column is made.
    pub fn push(&mut self, value: &FieldValue) {
        match (self, value) {
            (Values::Float(values), FieldValue::Float(value)) => values.push(*value),
            (Values::Integer(values), FieldValue::Integer(value)) => values.push(*value),
            (Values::Unsigned(values), FieldValue::Unsigned(value)) => values.push(*value),
            (Values::Boolean(values), FieldValue::Boolean(value)) => values.push(*value),
            (Values::String(values), FieldValue::String(value)) => values.push(value),
            (values, value) => {
                assert_eq!(
                    values.field_type(),
                    value.field_type(),
                    "a column has one type"
                );
            }
        }
    }

    /// Appends those of `source` that stand in `range`.
    ///
    /// # Panics
    /// If they are of another type, or there are not that many.
    pub fn append(&mut self, source: &Values, range: Range<usize>) {
        match (self, source) {
            (Values::Float(own), Values::Float(source)) => own.extend_from_slice(&source[range]),
            (Values::Integer(own), Values::Integer(source)) => {
                own.extend_from_slice(&source[range]);
            }
            (Values::Unsigned(own), Values::Unsigned(source)) => {
                own.extend_from_slice(&source[range]);
            }
            (Values::Boolean(own), Values::Boolean(source)) => {
                own.extend_from_slice(&source[range]);
            }
            (Values::String(own), Values::String(source)) => {
                range.for_each(|index| own.push(source.get(index)));
            }
            (own, source) => {
                assert_eq!(
                    own.field_type(),
                    source.field_type(),
                    "a column has one type"
                );
            }
        }
    }

    /// Makes room for `more` values, and for no bytes of strings.
    pub fn reserve_exact(&mut self, more: usize) {
        match self {
            Values::Float(values) => values.reserve_exact(more),
            Values::Integer(values) => values.reserve_exact(more),
            Values::Unsigned(values) => values.reserve_exact(more),
            Values::Boolean(values) => values.reserve_exact(more),
            Values::String(values) => values.ends.reserve_exact(more),
        }
    }

    /// Lets go of room that no value takes.
    pub fn shrink_to_fit(&mut self) {
        match self {
            Values::Float(values) => values.shrink_to_fit(),
            Values::Integer(values) => values.shrink_to_fit(),
            Values::Unsigned(values) => values.shrink_to_fit(),
            Values::Boolean(values) => values.shrink_to_fit(),
            Values::String(values) => {
                values.ends.shrink_to_fit();
                values.bytes.shrink_to_fit();
            }
        }
    }

    /// Anonymous memory the values hold, in bytes.
    pub fn size_bytes(&self) -> usize {
        match self {
            Values::Float(values) => values.capacity() * 8,
            Values::Integer(values) => values.capacity() * 8,
            Values::Unsigned(values) => values.capacity() * 8,
            Values::Boolean(values) => values.capacity(),
            Values::String(values) => values.ends.capacity() * 4 + values.bytes.capacity(),
        }
    }
}

/// Same type, same bits: a NaN equals itself, 0.0 and -0.0 differ.
impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Values::Float(a), Values::Float(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            (Values::Integer(a), Values::Integer(b)) => a == b,
            (Values::Unsigned(a), Values::Unsigned(b)) => a == b,
            (Values::Boolean(a), Values::Boolean(b)) => a == b,
            (Values::String(a), Values::String(b)) => a == b,
            _ => false,
        }
    }
}

/// A growing row of bits, 64 to a word, lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// The place of a row that has no value.
    pub const ABSENT: u32 = u32::MAX;

    /// `len` bits, all `bit`.
    pub fn filled(len: usize, bit: bool) -> Bitmap {
        let mut words = vec![if bit { u64::MAX } else { 0 }; len.div_ceil(64)];
        if bit
            && !len.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last = (1 << (len % 64)) - 1;
        }
        Bitmap { words, len }
    }

    /// How many bits there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bit `index`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get(&self, index: usize) -> bool {
        assert!(index < self.len, "bit {index} of {}", self.len);
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Sets bit `index`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn set(&mut self, index: usize, bit: bool) {
        assert!(index < self.len, "bit {index} of {}", self.len);
        let mask = 1 << (index % 64);
        if bit {
            self.words[index / 64] |= mask;
        } else {
            self.words[index / 64] &= !mask;
        }
    }

    /// Appends one bit.
    pub fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.len += 1;
        if bit {
            self.set(self.len - 1, true);
        }
    }

    /// Keeps the first `len` bits.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.words.truncate(len.div_ceil(64));
        self.len = len;
        if !len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (len % 64)) - 1;
        }
    }

    /// How many bits are set.
    pub fn count_ones(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// How many bits are set before `index`: where row `index` finds its dense value.
    pub fn rank(&self, index: usize) -> usize {
        let whole: usize = self.words[..index / 64]
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum();
        let rest = index % 64;
        if rest == 0 {
            return whole;
        }
        whole + (self.words[index / 64] & ((1 << rest) - 1)).count_ones() as usize
    }

    /// For each row where its value stands among the dense ones, [`Bitmap::ABSENT`] where it has none.
    pub fn places(&self) -> Vec<u32> {
        let mut next = 0;
        let place = |row| {
            if !self.get(row) {
                return Bitmap::ABSENT;
            }
            next += 1;
            next - 1
        };
        (0..self.len()).map(place).collect()
    }

    /// The bits as words, lowest first; bits behind the last are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The bitmap of `len` bits in `words`, or `None` if the words are too few, too many, or have
    /// bits set behind the last.
    pub fn from_words(words: Vec<u64>, len: usize) -> Option<Bitmap> {
        if words.len() != len.div_ceil(64) {
            return None;
        }
        if !len.is_multiple_of(64) && words.last().is_some_and(|last| last >> (len % 64) != 0) {
            return None;
        }
        Some(Bitmap { words, len })
    }
}

/// Which rows of a column have a value. A row without one means "not written here, look older".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Every row has a value.
    All,
    /// The rows whose bit is set have one.
    Some(Bitmap),
}

impl Presence {
    /// Whether row `index` has a value.
    pub fn has(&self, index: usize) -> bool {
        match self {
            Presence::All => true,
            Presence::Some(bits) => bits.get(index),
        }
    }
}

/// One field over the rows of its owner: dense values and where they belong.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Values of the rows that have one, in row order.
    pub values: Values,
    /// Which rows those are.
    pub presence: Presence,
}

impl Column {
    /// The value of row `index`, if it has one. Costs a rank over the bitmap; loops over rows walk
    /// values and bits side by side instead.
    pub fn get(&self, index: usize) -> Option<FieldValue> {
        match &self.presence {
            Presence::All => Some(self.values.get(index)),
            Presence::Some(bits) => bits.get(index).then(|| self.values.get(bits.rank(index))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_counts_and_ranks_across_words() {
        let mut bits = Bitmap::default();
        for index in 0..200 {
            bits.push(index % 3 == 0);
        }
        assert_eq!(bits.count_ones(), 67);
        for index in 0..200 {
            assert_eq!(bits.rank(index), index.div_ceil(3), "rank of {index}");
        }
        assert_eq!(Bitmap::from_words(bits.words().to_vec(), 200), Some(bits));
        assert_eq!(Bitmap::from_words(vec![1 << 5], 5), None);
    }

    #[test]
    fn values_are_found_behind_holes() {
        let mut bits = Bitmap::filled(4, false);
        bits.set(1, true);
        bits.set(3, true);
        let column = Column {
            values: Values::Integer(vec![7, 9]),
            presence: Presence::Some(bits),
        };
        let rows: Vec<_> = (0..4).map(|row| column.get(row)).collect();
        let expected = [
            None,
            Some(FieldValue::Integer(7)),
            None,
            Some(FieldValue::Integer(9)),
        ];
        assert_eq!(rows, expected);
    }
}
