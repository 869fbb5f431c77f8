//! Symbols to bits by their weights, and back: a symbol of weight `w` takes `log2(2^log / w)` bits,
//! fractions included. Knows no values: what a symbol stands for is its model's.
//!
//! Eight states take turns and share one stream of bits, so that a processor works on eight symbols
//! at once and a step has one place to read from.
//!
//! # Source
//! Tabled asymmetric numeral systems (Duda 2013, arXiv:1311.2540).

#![expect(
    unsafe_code,
    reason = "one call of a function compiled for a newer processor"
)]

use crate::codec::DecodeError;

/// Symbols that are decoded side by side.
pub(super) const LANES: usize = 8;
/// Symbols that one window of bits is enough for.
const HALF: usize = LANES / 2;
/// A table has at most two to this many states: 16 KiB, half of a first-level cache.
pub(super) const LOG_MAX: u32 = 12;
/// The most symbols of an alphabet.
pub(super) const SYMBOLS_MAX: usize = 256;
const STATES_MAX: usize = 1 << LOG_MAX;

/// The symbol of each state: every symbol has as many states as its weight, spread evenly.
///
/// `weights` add up to two to `log`.
fn spread(weights: &[u16], log: u32) -> Vec<u8> {
    let states = 1_usize << log;
    // Odd, hence it visits all states, and far from any small multiple of itself.
    let step = (states >> 1) + (states >> 3) + 3;
    let mut symbols = vec![0; states];
    let mut at = 0;
    for (symbol, weight) in (0..=u8::MAX).zip(weights) {
        for _ in 0..*weight {
            symbols[at] = symbol;
            at = (at + step) & (states - 1);
        }
    }
    symbols
}

/// What decoding needs: for each state its symbol and how to reach the next.
pub(super) struct DecodeTable {
    /// From the lowest: a byte of how many bits to read, one of the symbol, two of the next state's base.
    entries: Box<[u32; STATES_MAX]>,
    log: u32,
}

impl DecodeTable {
    /// What its entries take.
    pub(super) const BYTES: usize = size_of::<[u32; STATES_MAX]>();

    /// `weights` are at most [`SYMBOLS_MAX`], none is 0, and they add up to two to `log`, which is
    /// at least 2 and at most [`LOG_MAX`].
    pub(super) fn new(weights: &[u16], log: u32) -> DecodeTable {
        let symbols = spread(weights, log);
        let mut next: Vec<u32> = weights.iter().map(|weight| u32::from(*weight)).collect();
        let mut entries = Box::new([0; STATES_MAX]);
        for (entry, symbol) in entries.iter_mut().zip(symbols) {
            let next = &mut next[usize::from(symbol)];
            let bits = log - next.ilog2();
            let base = (*next << bits) - (1 << log);
            *next += 1;
            *entry = bits | u32::from(symbol) << 8 | base << 16;
        }
        DecodeTable { entries, log }
    }
}

/// Reads the symbols of one stream, some at a time.
pub(super) struct Decoder<'stream> {
    table: &'stream DecodeTable,
    bytes: &'stream [u8],
    bit: usize,
    states: [u32; LANES],
}

/// The 57 bits or more that stand from `bit` on; zeros behind the end.
#[inline]
pub(super) fn window(bytes: &[u8], bit: usize) -> u64 {
    let at = bit / 8;
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(eight) => u64::from_le_bytes(*eight) >> (bit % 8),
        None => last_window(bytes, at) >> (bit % 8),
    }
}

#[cold]
fn last_window(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let mut eight = [0; 8];
    eight[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(eight)
}

impl<'stream> Decoder<'stream> {
    /// `bytes` are the stream, and some zeros so that it is read alike up to its end.
    pub(super) fn new(table: &'stream DecodeTable, bytes: &'stream [u8]) -> Decoder<'stream> {
        let mut bit = 0;
        let states = std::array::from_fn(|_| {
            let state = window(bytes, bit) & ((1 << table.log) - 1);
            bit += table.log as usize;
            u32::try_from(state).expect("a state has at most twelve bits")
        });
        Decoder {
            table,
            bytes,
            bit,
            states,
        }
    }

    /// Fills `out` with the next symbols. All calls but the last ask for a multiple of [`LANES`].
    pub(super) fn take(&mut self, out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
        {
            // SAFETY: the processor has the instructions that the function is compiled to.
            unsafe { self.take_bmi2(out) };
            return;
        }
        self.take_rows(out);
    }

    /// The same in fewer instructions: shifts by a variable and masks are one each.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi1,bmi2")]
    fn take_bmi2(&mut self, out: &mut [u8]) {
        self.take_rows(out);
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is to be compiled once for each processor"
    )]
    fn take_rows(&mut self, out: &mut [u8]) {
        let (rows, rest) = out.as_chunks_mut::<LANES>();
        let (mut left, mut right) = ([0; HALF], [0; HALF]);
        left.copy_from_slice(&self.states[..HALF]);
        right.copy_from_slice(&self.states[HALF..]);
        let mut bit = self.bit;
        for row in rows {
            let [low, high] = row.as_chunks_mut::<HALF>().0 else {
                continue;
            };
            bit += take_half(self.table, &mut left, window(self.bytes, bit), low);
            bit += take_half(self.table, &mut right, window(self.bytes, bit), high);
        }
        for (slot, state) in rest.iter_mut().zip(left.iter_mut().chain(&mut right)) {
            let entry = self.table.entries[*state as usize % STATES_MAX];
            let [count, symbol, ..] = entry.to_le_bytes();
            *slot = symbol;
            *state = (entry >> 16) + low_bits(window(self.bytes, bit), count);
            bit += usize::from(count);
        }
        self.states[..HALF].copy_from_slice(&left);
        self.states[HALF..].copy_from_slice(&right);
        self.bit = bit;
    }

    /// Once all symbols are taken: every state must be back where the encoder started, at the end of
    /// the stream's `size` bytes.
    pub(super) fn finish(&self, size: usize) -> Result<(), DecodeError> {
        if self.states != [0; LANES] || self.bit.div_ceil(8) != size {
            return Err(DecodeError::Invalid(
                "coded symbols do not end as they began",
            ));
        }
        Ok(())
    }
}

/// Moves four states on by the lowest of `bits`, at most 48, and says how many they took.
#[inline]
fn take_half(
    table: &DecodeTable,
    states: &mut [u32; HALF],
    mut bits: u64,
    out: &mut [u8; HALF],
) -> usize {
    let mut taken = 0;
    for (state, slot) in states.iter_mut().zip(out) {
        let entry = table.entries[*state as usize % STATES_MAX];
        let [count, symbol, ..] = entry.to_le_bytes();
        *slot = symbol;
        *state = (entry >> 16) + low_bits(bits, count);
        bits >>= count;
        taken += usize::from(count);
    }
    taken
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most twelve bits are kept"
)]
fn low_bits(bits: u64, count: u8) -> u32 {
    bits as u32 & ((1 << count) - 1)
}

/// What encoding needs of one symbol.
#[derive(Clone, Copy)]
struct Step {
    /// Added to a state, its upper half is how many bits leave.
    bits: u32,
    /// Added to what is left of the state, it is the place of the next one.
    place: i32,
}

/// What encoding needs: the way from state to state.
pub(super) struct EncodeTable {
    steps: Vec<Step>,
    /// The states of each symbol, symbol by symbol, ascending.
    states: Vec<u16>,
    log: u32,
}

impl EncodeTable {
    /// As [`DecodeTable::new`].
    pub(super) fn new(weights: &[u16], log: u32) -> EncodeTable {
        let symbols = spread(weights, log);
        let mut steps = Vec::with_capacity(weights.len());
        let mut starts = Vec::with_capacity(weights.len());
        let mut start = 0_u32;
        for weight in weights {
            let weight = u32::from(*weight);
            // A state below `weight << most` loses one bit less than the others.
            let most = log - weight.ilog2();
            steps.push(Step {
                bits: (most << 16).wrapping_sub(weight << most),
                place: start.cast_signed() - weight.cast_signed(),
            });
            starts.push(start as usize);
            start += weight;
        }
        let mut states = vec![0; 1 << log];
        for (state, symbol) in (1_u16 << log..).zip(symbols) {
            let at = &mut starts[usize::from(symbol)];
            states[*at] = state;
            *at += 1;
        }
        EncodeTable { steps, states, log }
    }

    /// Appends the stream of `symbols`. Goes through them from the last to the first, so that the
    /// decoder meets them in order.
    pub(super) fn encode(&self, symbols: &[u8], out: &mut Vec<u8>) {
        let start = 1_u32 << self.log;
        let mut states = [start; LANES];
        // Bits in the lower half, their count in the upper.
        let mut leaving = vec![0_u32; symbols.len()];
        for (at, symbol) in symbols.iter().enumerate().rev() {
            let step = self.steps[usize::from(*symbol)];
            let state = &mut states[at % LANES];
            let count = state.wrapping_add(step.bits) >> 16;
            leaving[at] = (*state & ((1 << count) - 1)) | count << 16;
            let place = (*state >> count).cast_signed() + step.place;
            let place = usize::try_from(place).expect("a state has its place");
            *state = u32::from(self.states[place]);
        }
        let mut writer = BitWriter::new(out);
        for state in states {
            writer.push(u64::from(state - start), self.log);
        }
        for bits in leaving {
            writer.push(u64::from(bits & 0xffff), bits >> 16);
        }
        writer.finish();
    }
}

/// Bits behind one another, lowest first.
pub(super) struct BitWriter<'out> {
    out: &'out mut Vec<u8>,
    open: u64,
    filled: u32,
}

impl BitWriter<'_> {
    pub(super) fn new(out: &mut Vec<u8>) -> BitWriter<'_> {
        BitWriter {
            out,
            open: 0,
            filled: 0,
        }
    }

    /// Appends `count` bits, at most 64; `bits` has no others.
    #[inline]
    pub(super) fn push(&mut self, bits: u64, count: u32) {
        self.open |= bits << self.filled;
        let room = 64 - self.filled;
        if count < room {
            self.filled += count;
            return;
        }
        self.out.extend_from_slice(&self.open.to_le_bytes());
        self.open = if room == 64 { 0 } else { bits >> room };
        self.filled = count - room;
    }

    pub(super) fn finish(self) {
        let bytes = self.filled.div_ceil(8) as usize;
        self.out
            .extend_from_slice(&self.open.to_le_bytes()[..bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(table: &DecodeTable, stream: &[u8], count: usize) -> (Vec<u8>, bool) {
        let mut decoder = Decoder::new(table, stream);
        let mut symbols = vec![u8::MAX; count];
        let (first, rest) = symbols.split_at_mut(count / (2 * LANES) * LANES);
        decoder.take(first);
        decoder.take(rest);
        (symbols, decoder.finish(stream.len()).is_ok())
    }

    /// What an interpreter gets through: every access of the decoder, also behind a stream that lies.
    #[test]
    fn symbols_come_back_and_a_stream_that_lies_gives_others_of_the_alphabet() {
        const SOME: [u8; 8] = [0, 0, 1, 0, 2, 0, 3, 1];
        let (weights, log) = ([10, 4, 1, 1], 4);
        let encode = EncodeTable::new(&weights, log);
        let decode = DecodeTable::new(&weights, log);
        for count in [0, 1, LANES - 1, LANES, LANES + 1, 8 * LANES, 203] {
            let symbols: Vec<u8> = (0..count).map(|at| SOME[(at * 5 + at / 8) % 8]).collect();
            let mut stream = Vec::new();
            encode.encode(&symbols, &mut stream);
            assert_eq!(decoded(&decode, &stream, count), (symbols, true));
            for at in 0..stream.len() {
                let mut lying = stream.clone();
                lying[at] ^= 0x55;
                let (other, _) = decoded(&decode, &lying, count);
                assert!(
                    other
                        .iter()
                        .all(|symbol| usize::from(*symbol) < weights.len())
                );
                let (other, is_whole) = decoded(&decode, &stream[..at], count);
                assert!(other.len() == count && !is_whole, "cut at {at}");
            }
        }
    }
}
