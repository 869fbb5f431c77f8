//! Floats as what differs from the one before: for many digits, close together.
//!
//! # Source
//! Gorilla (Pelkonen et al.: VLDB 2015, 4.1.2): `0` the same bits; `10` the differing bits stand
//! where the last ones stood; `11` five bits of leading zeros, six of length (0 = 64), then the
//! differing bits. Bits fill bytes from the highest.

use crate::codec::bytes::Cursor;
use crate::codec::{DecodeError, Span};

/// Five bits hold the count.
const LEADING_MAX: u32 = 31;

/// Where the differing bits stand in a word.
#[derive(Clone, Copy)]
struct Window {
    leading: u32,
    len: u32,
}

struct BitWriter<'out> {
    out: &'out mut Vec<u8>,
    open: u64,
    filled: u32,
}

impl BitWriter<'_> {
    /// Appends the lowest `count` bits, at most 64, of `bits`, which has no others.
    fn push(&mut self, bits: u64, count: u32) {
        let room = 64 - self.filled;
        if count < room {
            self.open |= bits << (room - count);
            self.filled += count;
            return;
        }
        let left = count - room;
        self.open |= bits >> left;
        self.out.extend(self.open.highest_first());
        self.open = if left == 0 { 0 } else { bits << (64 - left) };
        self.filled = left;
    }

    fn finish(self) {
        let bytes = self.filled.div_ceil(8) as usize;
        self.out
            .extend(self.open.highest_first().into_iter().take(bytes));
    }
}

/// Bytes from the highest down: the order of bits in a stream that is read from the highest.
trait HighestFirst {
    fn highest_first(self) -> [u8; 8];
}

impl HighestFirst for u64 {
    fn highest_first(self) -> [u8; 8] {
        self.swap_bytes().to_le_bytes()
    }
}

/// Appends `values`, at least one.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    let mut writer = BitWriter {
        out,
        open: 0,
        filled: 0,
    };
    let mut before = 0;
    let mut window: Option<Window> = None;
    for (index, value) in values.iter().enumerate() {
        let bits = value.to_bits();
        let differing = bits ^ before;
        before = bits;
        if index == 0 {
            writer.push(bits, 64);
            continue;
        }
        if differing == 0 {
            writer.push(0, 1);
            continue;
        }
        let leading = differing.leading_zeros().min(LEADING_MAX);
        let len = 64 - leading - differing.trailing_zeros();
        match window {
            Some(last)
                if leading >= last.leading
                    && 64 - differing.trailing_zeros() <= last.leading + last.len =>
            {
                writer.push(0b10, 2);
                writer.push(differing >> (64 - last.leading - last.len), last.len);
            }
            _ => {
                writer.push(0b11, 2);
                writer.push(u64::from(leading), 5);
                writer.push(u64::from(len % 64), 6);
                writer.push(differing >> (64 - leading - len), len);
                window = Some(Window { leading, len });
            }
        }
    }
    writer.finish();
}

struct BitReader<'bytes> {
    bytes: &'bytes [u8],
    bit: usize,
}

impl BitReader<'_> {
    /// The next 57 bits at least, at the top of a word; zeros behind the end.
    fn peek(&self) -> u64 {
        let byte = self.bit / 8;
        let word = if let Some(eight) = self.bytes.get(byte..byte + 8) {
            u64::from_le_bytes(eight.try_into().expect("eight bytes"))
        } else {
            let rest = self.bytes.get(byte..).unwrap_or(&[]);
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(padded)
        };
        word.swap_bytes() << (self.bit % 8)
    }

    /// The next `count` bits, 1 to 64.
    fn take(&mut self, count: u32) -> u64 {
        if count <= 56 {
            let bits = self.peek() >> (64 - count);
            self.bit += count as usize;
            return bits;
        }
        let high = self.take(count - 32);
        high << 32 | self.take(32)
    }
}

/// Fills `out`, at least one place. How long the stream is shows only as it is read, so the cursor
/// moves at the end.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    span: Span,
    out: &mut [f64],
) -> Result<(), DecodeError> {
    let mut whole = *cursor;
    let bytes = whole.take(whole.remaining())?;
    let mut reader = BitReader { bytes, bit: 0 };
    let mut value = 0;
    let mut window: Option<Window> = None;
    let end = span.start + out.len();
    for index in 0..end {
        if index == 0 {
            value = reader.take(64);
        } else {
            value ^= take_difference(&mut reader, &mut window)?;
        }
        if let Some(wanted) = index.checked_sub(span.start) {
            out[wanted] = f64::from_bits(value);
        }
    }
    cursor.take(reader.bit.div_ceil(8))?;
    Ok(())
}

#[inline]
fn take_difference(
    reader: &mut BitReader<'_>,
    window: &mut Option<Window>,
) -> Result<u64, DecodeError> {
    let next = reader.peek();
    if next >> 63 == 0 {
        reader.bit += 1;
        return Ok(0);
    }
    if next >> 62 == 0b11 {
        let leading = u32::try_from(next >> 57 & 31).expect("five bits");
        let len = match u32::try_from(next >> 51 & 63).expect("six bits") {
            0 => 64,
            len => len,
        };
        if leading + len > 64 {
            return Err(DecodeError::Invalid("differing bits pass their word"));
        }
        reader.bit += 13;
        *window = Some(Window { leading, len });
    } else {
        reader.bit += 2;
    }
    let Window { leading, len } =
        window.ok_or(DecodeError::Invalid("differing bits have no place yet"))?;
    Ok(reader.take(len) << (64 - leading - len))
}
