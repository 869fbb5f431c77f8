//! Arrays of integers that are read one entry at a time where they lie: pages of 1,024 entries,
//! each a straight line (base and slope) and what the entries lie above it, packed.
//!
//! Layout: an array of at most 1,024 entries is base (varint), slope (varint), width (1 byte) and the
//! packed bits. A longer one is the length of all packed bits in bytes (varint), then for each page
//! base (8 bytes), slope (8) and `start << 8 | width` (8), then the packed bits. An array of no
//! entries has no bytes. Entry `i` of a page is `base + slope * i + bits[i]`, all wrapping: signed numbers go
//! in with their sign bit flipped.

use crate::format::block::bytes::{Damage, Taker};
use crate::model::push_varint;

/// Entries in one page.
pub const PAGE_ENTRIES: usize = 1024;
const PAGE_BYTES: usize = 24;

/// Where an array lies in its directory. Reading an entry takes the directory's bytes again.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    count: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    One { page: Page, bits: usize },
    Many { pages: usize, bits: usize },
}

#[derive(Clone, Copy, Debug)]
struct Page {
    base: u64,
    slope: u64,
    width: u32,
}

/// A signed number in the order of the unsigned.
pub fn biased(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// What [`biased`] made `word` of.
pub fn unbiased(word: u64) -> i64 {
    (word ^ (1 << 63)).cast_signed()
}

/// Appends `values` as an array.
pub fn encode(values: &[u64], out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let mut bits = Vec::new();
    if values.len() <= PAGE_ENTRIES {
        let page = pack(values, &mut bits);
        push_varint(out, page.base);
        push_varint(out, page.slope);
        out.push(page.width.to_le_bytes()[0]);
        out.extend_from_slice(&bits);
        return;
    }
    let mut pages = Vec::new();
    for values in values.chunks(PAGE_ENTRIES) {
        let start = bits.len() as u64;
        let page = pack(values, &mut bits);
        pages.extend_from_slice(&page.base.to_le_bytes());
        pages.extend_from_slice(&page.slope.to_le_bytes());
        pages.extend_from_slice(&(start << 8 | u64::from(page.width)).to_le_bytes());
    }
    push_varint(out, bits.len() as u64);
    out.extend_from_slice(&pages);
    out.extend_from_slice(&bits);
}

/// Appends the packed bits of one page.
fn pack(values: &[u64], bits: &mut Vec<u8>) -> Page {
    let flat = line(values, 0);
    let slope = match values {
        [first, .., last] if last > first => (last - first) / (values.len() as u64 - 1),
        _ => 0,
    };
    let page = match line(values, slope) {
        sloped if sloped.width < flat.width => sloped,
        _ => flat,
    };
    let (mut pending, mut filled) = (0_u128, 0);
    for (value, at) in values.iter().zip(0_u64..) {
        let rest = value
            .wrapping_sub(page.base)
            .wrapping_sub(page.slope.wrapping_mul(at));
        pending |= u128::from(rest) << filled;
        filled += page.width;
        while filled >= 8 {
            bits.push(pending.to_le_bytes()[0]);
            pending >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bits.push(pending.to_le_bytes()[0]);
    }
    page
}

/// The line of `slope` below all values, and how many bits the values take above it.
fn line(values: &[u64], slope: u64) -> Page {
    let rests = values
        .iter()
        .zip(0_i128..)
        .map(|(value, at)| i128::from(*value) - i128::from(slope) * at);
    let (mut low, mut high) = (i128::MAX, i128::MIN);
    for rest in rests {
        low = low.min(rest);
        high = high.max(rest);
    }
    let width = 128 - (high - low).leading_zeros();
    let word = low.to_le_bytes().first_chunk().copied();
    Page {
        base: u64::from_le_bytes(word.expect("an i128 has 16 bytes")),
        slope,
        width,
    }
}

/// Which of the entries 0 to `last`, ascending evenly from `low` to `high`, is `value`; one of them in any
/// case.
pub fn between((low, high): (u64, u64), (value, last): (u64, usize)) -> usize {
    if value <= low {
        return 0;
    }
    if value >= high {
        return last;
    }
    let at = u128::from(value - low) * last as u128 / u128::from(high - low);
    usize::try_from(at).map_or(last, |at| at.min(last))
}

impl Array {
    /// Finds the array of `count` entries that stands next in `taker`. Cost: none per entry.
    ///
    /// # Errors
    /// If the bytes end before the array does.
    pub fn take(taker: &mut Taker<'_>, count: usize) -> Result<Array, Damage> {
        if count == 0 {
            let page = Page {
                base: 0,
                slope: 0,
                width: 0,
            };
            let place = Place::One { page, bits: 0 };
            return Ok(Array { count, place });
        }
        if count <= PAGE_ENTRIES {
            let (base, slope) = (taker.varint()?, taker.varint()?);
            let width = u32::from(taker.byte()?);
            if width > 64 {
                return Err(Damage("an array's entries are wider than 64 bits"));
            }
            let bits = taker.position();
            taker.take((count * width as usize).div_ceil(8))?;
            let page = Page { base, slope, width };
            let place = Place::One { page, bits };
            return Ok(Array { count, place });
        }
        let len = taker.count(taker.remaining())?;
        let pages = taker.position();
        let pages_bytes = count.div_ceil(PAGE_ENTRIES).checked_mul(PAGE_BYTES);
        taker.take(pages_bytes.ok_or(Damage("an array passes its bound"))?)?;
        let bits = taker.position();
        taker.take(len)?;
        let place = Place::Many { pages, bits };
        Ok(Array { count, place })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Entry `index`, read from the bytes the array was found in. Cost: two cache lines.
    ///
    /// # Errors
    /// If there are not that many, or the array's pages lie outside the bytes.
    pub fn get(&self, bytes: &[u8], index: usize) -> Result<u64, Damage> {
        const OUTSIDE: Damage = Damage("an entry lies outside its array");
        if index >= self.count {
            return Err(OUTSIDE);
        }
        let at = index % PAGE_ENTRIES;
        let (page, bits) = match self.place {
            Place::One { page, bits } => (page, bits),
            Place::Many { pages, bits } => {
                let start = pages + index / PAGE_ENTRIES * PAGE_BYTES;
                let mut taker = Taker::new(bytes.get(start..start + PAGE_BYTES).ok_or(OUTSIDE)?);
                let (base, slope, rest) = (taker.u64()?, taker.u64()?, taker.u64()?);
                let [width, ..] = rest.to_le_bytes();
                let start = usize::try_from(rest >> 8).map_err(|_| OUTSIDE)?;
                let width = u32::from(width);
                (Page { base, slope, width }, bits.saturating_add(start))
            }
        };
        if page.width > 64 {
            return Err(OUTSIDE);
        }
        let straight = page.base.wrapping_add(page.slope.wrapping_mul(at as u64));
        if page.width == 0 {
            return Ok(straight);
        }
        let bit = at * page.width as usize;
        let start = bits.saturating_add(bit / 8);
        let shift = bit % 8;
        let near = bytes.get(start..).and_then(|rest| rest.first_chunk::<8>());
        if let (Some(word), true) = (near, page.width <= 56) {
            let rest = u64::from_le_bytes(*word) >> shift & ((1 << page.width) - 1);
            return Ok(straight.wrapping_add(rest));
        }
        let end = start.saturating_add((shift + page.width as usize).div_ceil(8));
        let own = bytes.get(start..end).ok_or(OUTSIDE)?;
        let mut word = [0; 16];
        word[..own.len()].copy_from_slice(own);
        let mask = (1_u128 << page.width) - 1;
        let rest = u128::from_le_bytes(word) >> shift & mask;
        let rest = u64::try_from(rest).map_err(|_| OUTSIDE)?;
        Ok(straight.wrapping_add(rest))
    }

    /// How many entries, which ascend, are at most `value`. Cost: four entries where they ascend evenly, as
    /// mostly they do; else a binary search besides.
    ///
    /// # Errors
    /// As [`Array::get`].
    pub fn rank(&self, bytes: &[u8], value: u64) -> Result<usize, Damage> {
        let Some(last) = self.count.checked_sub(1) else {
            return Ok(0);
        };
        let ends = (self.get(bytes, 0)?, self.get(bytes, last)?);
        let guess = between(ends, (value, last));
        let is_right = self.get(bytes, guess)? <= value
            && (guess == last || self.get(bytes, guess + 1)? > value);
        if is_right {
            return Ok(guess + 1);
        }
        self.partition_point(bytes, |entry| entry <= value)
    }

    /// How many entries from the front satisfy `holds`, if those that do stand first. Cost: a
    /// binary search.
    ///
    /// # Errors
    /// As [`Array::get`].
    pub fn partition_point(
        &self,
        bytes: &[u8],
        holds: impl Fn(u64) -> bool,
    ) -> Result<usize, Damage> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.get(bytes, middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(values: &[u64]) -> usize {
        let mut bytes = vec![7; 3];
        encode(values, &mut bytes);
        let len = bytes.len();
        bytes.push(9);
        let mut taker = Taker::new(&bytes);
        taker.take(3).unwrap();
        let array = Array::take(&mut taker, values.len()).unwrap();
        assert_eq!(taker.remaining(), 1, "the array ends where it ends");
        for (index, value) in values.iter().enumerate() {
            assert_eq!(array.get(&bytes, index), Ok(*value), "entry {index}");
        }
        assert!(array.get(&bytes, values.len()).is_err());
        len - 3
    }

    #[test]
    fn entries_read_back_at_every_width_and_length() {
        for width in 0..=64_u32 {
            let top = u64::MAX.checked_shr(64 - width).unwrap_or(0);
            for len in [1, 2, 3, 1023, 1024, 1025, 3000_u64] {
                let values: Vec<u64> = (0..len)
                    .map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) & top)
                    .collect();
                read_back(&values);
            }
        }
        read_back(&[]);
        read_back(&[u64::MAX, 0, u64::MAX, 1]);
    }

    #[test]
    fn a_straight_line_takes_no_bits() {
        let line: Vec<u64> = (0..1000).map(|at| 5 + 600 * at).collect();
        assert!(read_back(&line) <= 5);
        let times: Vec<u64> = (0..100_i64).map(|at| biased(at * 10 - 300)).collect();
        assert!(read_back(&times) <= 14);
        assert_eq!(unbiased(times[0]), -300);
    }

    #[test]
    fn a_search_finds_the_first_that_does_not_hold() {
        let values: Vec<u64> = (0..5000).map(|at| at * at).collect();
        let mut bytes = Vec::new();
        encode(&values, &mut bytes);
        let array = Array::take(&mut Taker::new(&bytes), values.len()).unwrap();
        for wanted in [0, 1, 2, 1_000_000, 24_990_001, u64::MAX] {
            let expected = values.partition_point(|value| *value < wanted);
            let found = array.partition_point(&bytes, |value| value < wanted);
            assert_eq!(found, Ok(expected));
        }
    }

    #[test]
    fn a_rank_is_that_of_a_search_however_entries_ascend() {
        let even = |at: u64| 7 + 4320 * at;
        let shapes: [&dyn Fn(u64) -> u64; 4] = [&even, &|at| at * at, &|at| at / 3, &|_| 5];
        for shape in shapes {
            for len in [0, 1, 2, 400, 1024, 3000_u64] {
                let values: Vec<u64> = (0..len).map(shape).collect();
                let mut bytes = Vec::new();
                encode(&values, &mut bytes);
                let array = Array::take(&mut Taker::new(&bytes), values.len()).unwrap();
                let beside = |value: &u64| [value.saturating_sub(1), *value, value + 1];
                for wanted in values.iter().flat_map(beside).chain([0, u64::MAX]) {
                    let expected = values.partition_point(|value| *value <= wanted);
                    assert_eq!(array.rank(&bytes, wanted), Ok(expected), "{wanted}");
                }
            }
        }
        assert_eq!(between((7, 7 + 4320 * 9), (7 + 4320 * 4, 9)), 4);
        for ends in [(9, 3), (0, u64::MAX), (5, 5)] {
            for value in [0, 4, 5, 6, u64::MAX - 1] {
                assert!(between(ends, (value, 8)) <= 8);
            }
        }
    }

    #[test]
    fn lying_bytes_are_an_error() {
        let values: Vec<u64> = (0..2500).map(|at| at * at).collect();
        let mut bytes = Vec::new();
        encode(&values, &mut bytes);
        for len in 0..bytes.len() {
            assert!(Array::take(&mut Taker::new(&bytes[..len]), 2500).is_err());
        }
        for at in 0..80 {
            bytes[at] ^= 0xff;
            if let Ok(array) = Array::take(&mut Taker::new(&bytes), 2500) {
                for index in 0..2500 {
                    let read = array.get(&bytes, index);
                    assert!(read.is_ok() || read.is_err());
                }
            }
            bytes[at] ^= 0xff;
        }
        assert!(Array::take(&mut Taker::new(&bytes), usize::MAX).is_err());
    }
}
