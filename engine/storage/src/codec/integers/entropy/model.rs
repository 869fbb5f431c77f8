//! A model: of which order the differences are, which bins they fall into and how often. It stands
//! in front of the one column it was made for, or once for all columns of a field.

use std::sync::OnceLock;

use super::ans::{DecodeTable, EncodeTable, LOG_MAX, SYMBOLS_MAX};
use super::bins::{Bin, Bins, Finder};
use crate::codec::DecodeError;
use crate::codec::bytes::{Cursor, push_len, push_signed};
use crate::codec::integers::delta::Order;
use crate::model::push_varint;

/// Set in the head of a bin that does not start where the one before ends.
const HAS_GAP: u64 = 1;
/// Set in the head of a bin of more than one word.
const HAS_BITS: u64 = 2;

/// How words are coded.
pub(in crate::codec) struct Model {
    pub(super) order: Order,
    pub(super) bins: Bins,
    decoding: OnceLock<Box<Decoding>>,
}

/// What decoding needs beside the bits; made when first asked for.
pub(super) struct Decoding {
    pub(super) table: DecodeTable,
    /// Start of each symbol's bin.
    pub(super) lows: [u64; SYMBOLS_MAX],
    /// Bits of each symbol's offset, set.
    pub(super) masks: [u64; SYMBOLS_MAX],
    /// How many they are.
    pub(super) bits: [u8; SYMBOLS_MAX],
    /// The symbols that have an offset.
    pub(super) wide: Vec<u8>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Model")
            .field("order", &self.order)
            .field("bins", &self.bins)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        (self.order, &self.bins) == (other.order, &other.bins)
    }
}

impl Model {
    pub(super) fn new(order: Order, bins: Bins) -> Model {
        Model {
            order,
            bins,
            decoding: OnceLock::new(),
        }
    }

    /// Memory that it takes once it has been used for decoding, bytes.
    pub(in crate::codec) fn decoded_bytes(&self) -> usize {
        let bins = self.bins.all.len() * size_of::<Bin>();
        size_of::<Decoding>() + SYMBOLS_MAX + DecodeTable::BYTES + bins
    }

    /// Appends the model's bytes.
    pub(in crate::codec) fn write(&self, out: &mut Vec<u8>) {
        let log = u8::try_from(self.bins.log).expect("at most twelve");
        out.push(self.order as u8 | log << 4);
        push_len(out, self.bins.all.len());
        let mut end = 0_u64;
        for Bin { low, bits, weight } in &self.bins.all {
            let gap = low.wrapping_sub(end);
            let mut head = u64::from(*weight) << 2;
            if gap != 0 {
                head |= HAS_GAP;
            }
            if *bits != 0 {
                head |= HAS_BITS;
            }
            push_varint(out, head);
            if gap != 0 {
                push_signed(out, gap);
            }
            if *bits != 0 {
                out.push(*bits);
            }
            end = end_of(*low, *bits);
        }
    }

    /// Takes a model off `cursor`.
    pub(in crate::codec) fn take(cursor: &mut Cursor<'_>) -> Result<Model, DecodeError> {
        const DAMAGED: DecodeError = DecodeError::Invalid("a model contradicts itself");
        let head = cursor.byte()?;
        let order = match head & 15 {
            0 => Order::Zero,
            1 => Order::One,
            2 => Order::Two,
            _ => return Err(DAMAGED),
        };
        let log = u32::from(head >> 4);
        let count = cursor.len(SYMBOLS_MAX)?;
        if !(2..=LOG_MAX).contains(&log) || count == 0 {
            return Err(DAMAGED);
        }
        let mut all = Vec::with_capacity(count);
        let (mut end, mut given) = (0_u64, 0_u64);
        for _ in 0..count {
            let head = cursor.varint()?;
            let gap = if head & HAS_GAP == 0 {
                0
            } else {
                cursor.signed()?
            };
            let bits = if head & HAS_BITS == 0 {
                0
            } else {
                cursor.byte()?
            };
            let weight = u16::try_from(head >> 2).map_err(|_| DAMAGED)?;
            if bits > 64 || weight == 0 {
                return Err(DAMAGED);
            }
            given += u64::from(weight);
            let low = end.wrapping_add(gap);
            end = end_of(low, bits);
            all.push(Bin { low, bits, weight });
        }
        if given != 1 << log {
            return Err(DAMAGED);
        }
        Ok(Model::new(order, Bins { all, log }))
    }

    /// What decoding needs.
    pub(super) fn decoding(&self) -> &Decoding {
        self.decoding.get_or_init(|| {
            let mut decoding = Box::new(Decoding {
                table: DecodeTable::new(&self.bins.weights(), self.bins.log),
                lows: [0; SYMBOLS_MAX],
                masks: [0; SYMBOLS_MAX],
                bits: [0; SYMBOLS_MAX],
                wide: Vec::new(),
            });
            for (at, bin) in self.bins.all.iter().enumerate() {
                decoding.lows[at] = bin.low;
                decoding.masks[at] = u64::MAX.checked_shr(64 - u32::from(bin.bits)).unwrap_or(0);
                decoding.bits[at] = bin.bits;
                if bin.bits > 0 {
                    (decoding.wide).push(u8::try_from(at).expect("there are at most 256 bins"));
                }
            }
            decoding
        })
    }

    /// About how many bits `words` take, or `None` where one of them has no bin.
    pub(super) fn cost_bits(&self, finder: &Finder<'_>, words: &[u64]) -> Option<usize> {
        let mut counts = [0_usize; SYMBOLS_MAX];
        for word in words {
            counts[usize::from(finder.find(*word)?)] += 1;
        }
        let bins = self.bins.all.iter().zip(counts);
        let cost: f64 = bins
            .map(|(bin, count)| {
                let share = f64::from(bin.weight) / f64::from(1_u32 << self.bins.log);
                small(count) * (f64::from(bin.bits) - share.log2())
            })
            .sum();
        Some(rounded(cost) + 8 * self.bins.log as usize)
    }

    /// What encoding needs.
    pub(super) fn encoding(&self) -> EncodeTable {
        EncodeTable::new(&self.bins.weights(), self.bins.log)
    }
}

/// Where the next bin starts if there is no gap.
fn end_of(low: u64, bits: u8) -> u64 {
    low.wrapping_add(1_u64.checked_shl(u32::from(bits)).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "columns are short")]
fn small(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of bits of a short column"
)]
pub(super) fn rounded(bits: f64) -> usize {
    bits as usize
}
