//! Entropy coding of integers: differences fall into bins; which bin takes as many bits as its share
//! says, the place inside it stands as it is. The smallest form there is here, and the slowest.
//!
//! A column is a model, or the number of one that many columns share; then first word and first step
//! where the order has them; the bins' numbers; the offsets.

mod ans;
mod bins;
mod model;
mod train;

use ans::{BitWriter, Decoder, SYMBOLS_MAX, window};
use bins::{Bins, Finder};
use model::Decoding;
pub(in crate::codec) use model::Model;
pub(in crate::codec) use train::train;

use super::delta::Order;
use crate::codec::bytes::{Cursor, Word, push_len, push_signed, zigzag};
use crate::codec::{DecodeError, Span};

/// Columns shorter than this are packed: a model takes more than it saves.
pub(super) const COUNT_MIN: usize = 96;
/// What a small model takes.
const MODEL_BITS: usize = 256;
/// Words that are decoded at once.
const BATCH: usize = 1024;
/// Offsets of more bits are read in two parts.
const WINDOW_BITS: u8 = 57;
/// Up to so many symbols that have offsets are looked for one after another.
const WIDE_SOUGHT_MAX: usize = 4;
/// Offsets that fewer than one of so many words has are looked for.
const RARE: usize = 16;
/// What a window may reach behind the end of its section.
const PADDING: [u8; 16] = [0; 16];

/// Which model a column is best coded by.
pub(super) enum Chosen {
    /// One of its own.
    Own(Model),
    /// One of those that were offered, by number.
    Shared(usize),
}

/// A column ready to be coded.
pub(super) struct Choice {
    pub(super) residuals: Residuals,
    pub(super) model: Chosen,
    /// About what it will take.
    pub(super) size_bits: usize,
}

/// How `words`, more than two, take least: by one of the shared `models`, or by one of their own,
/// which is looked for only where the shared ones leave something to gain.
pub(super) fn choose<T: Word>(words: &[T], models: &[Model]) -> Choice {
    let smallest = Residuals::smallest(words);
    let ideal = usize::try_from(smallest.cost_bits()).expect("columns are short");
    let mut best: Option<Choice> = None;
    for (number, model) in models.iter().enumerate() {
        let residuals = Residuals::of(words, model.order);
        let cost = model.cost_bits(&Finder::new(&model.bins), &residuals.words);
        if let Some(size_bits) = cost
            && best.as_ref().is_none_or(|best| size_bits < best.size_bits)
        {
            best = Some(Choice {
                residuals,
                model: Chosen::Shared(number),
                size_bits,
            });
        }
    }
    if let Some(best) = best.take_if(|best| best.size_bits <= ideal + ideal / 32 + MODEL_BITS) {
        return best;
    }
    let model = smallest.own_model();
    let mut bytes = Vec::new();
    model.write(&mut bytes);
    let cost = model.cost_bits(&Finder::new(&model.bins), &smallest.words);
    let size_bits = cost.expect("a model of its own has all bins") + bytes.len() * 8;
    match best {
        // A shared model costs its reader no table.
        Some(best) if best.size_bits <= size_bits + size_bits / 128 => best,
        _ => Choice {
            residuals: smallest,
            model: Chosen::Own(model),
            size_bits,
        },
    }
}

/// What is coded: differences, and what they start from.
pub(in crate::codec) struct Residuals {
    order: Order,
    first: u64,
    step: u64,
    words: Vec<u64>,
}

impl Residuals {
    /// Of `words`, more than two.
    pub(in crate::codec) fn of<T: Word>(words: &[T], order: Order) -> Residuals {
        let word = |at: usize| words[at].to_word();
        let pairs = words.iter().zip(&words[1..]);
        let steps = pairs.map(|(before, after)| after.to_word().wrapping_sub(before.to_word()));
        let (first, step) = (word(0), word(1).wrapping_sub(word(0)));
        let words = match order {
            Order::Zero => words.iter().map(|word| word.to_word()).collect(),
            Order::One => steps.collect(),
            Order::Two => {
                let steps: Vec<u64> = steps.collect();
                let pairs = steps.iter().zip(&steps[1..]);
                pairs
                    .map(|(before, after)| after.wrapping_sub(*before))
                    .collect()
            }
        };
        Residuals {
            order,
            first,
            step,
            words,
        }
    }

    /// Of the order that leaves least to tell.
    pub(in crate::codec) fn smallest<T: Word>(words: &[T]) -> Residuals {
        let orders = [Order::Zero, Order::One, Order::Two];
        let all = orders.map(|order| Residuals::of(words, order));
        let costs = all.each_ref().map(Residuals::cost_bits);
        let [zero, one, two] = all;
        let least = costs[0].min(costs[1]).min(costs[2]);
        // Lower orders decode faster and take single outliers better.
        if costs[0] <= least + least / 64 {
            zero
        } else if costs[1] <= least + least / 64 {
            one
        } else {
            two
        }
    }

    /// About how many bits they take: each told by its width, then the bits below its highest.
    fn cost_bits(&self) -> u64 {
        let mut counts = [0_u32; 65];
        let middle = middle_of(&self.words);
        for word in &self.words {
            let distance = zigzag(word.wrapping_sub(middle));
            counts[64 - distance.leading_zeros() as usize] += 1;
        }
        let total = f64::from(u32::try_from(self.words.len()).expect("columns are short"));
        let classes = counts
            .into_iter()
            .zip(0_u32..)
            .filter(|(count, _)| *count > 0);
        let cost: f64 = classes
            .map(|(count, width)| {
                let count = f64::from(count);
                count * ((total / count).log2() + f64::from(width.saturating_sub(1)))
            })
            .sum();
        model::rounded(cost) as u64
    }

    /// The model that suits them alone.
    pub(super) fn own_model(&self) -> Model {
        let log = match self.words.len() {
            ..1024 => 8,
            1024..4096 => 10,
            _ => 11,
        };
        Model::new(self.order, Bins::fit(&self.words, log, false))
    }
}

fn middle_of(words: &[u64]) -> u64 {
    const SAMPLE: usize = 33;
    let step = words.len().div_ceil(SAMPLE).max(1);
    let mut sample: Vec<i64> = words
        .iter()
        .step_by(step)
        .map(|word| word.cast_signed())
        .collect();
    sample.sort_unstable();
    sample
        .get(sample.len() / 2)
        .map_or(0, |word| word.cast_unsigned())
}

/// Appends `residuals` as `model` codes them.
///
/// # Panics
/// If one of them has no bin, or the orders differ.
pub(super) fn write(residuals: &Residuals, model: &Model, out: &mut Vec<u8>) {
    assert_eq!(residuals.order, model.order, "a model is of one order");
    if residuals.order != Order::Zero {
        push_signed(out, residuals.first);
    }
    if residuals.order == Order::Two {
        push_signed(out, residuals.step);
    }
    let finder = Finder::new(&model.bins);
    let symbols: Vec<u8> = residuals
        .words
        .iter()
        .map(|word| finder.find(*word).expect("every word has a bin"))
        .collect();
    let mut stream = Vec::with_capacity(residuals.words.len());
    model.encoding().encode(&symbols, &mut stream);
    push_len(out, stream.len());
    out.extend_from_slice(&stream);
    if model.bins.all.iter().all(|bin| bin.bits == 0) {
        return;
    }
    stream.clear();
    let mut writer = BitWriter::new(&mut stream);
    for (word, symbol) in residuals.words.iter().zip(symbols) {
        let bin = model.bins.all[usize::from(symbol)];
        writer.push(word.wrapping_sub(bin.low), u32::from(bin.bits));
    }
    writer.finish();
    push_len(out, stream.len());
    out.extend_from_slice(&stream);
}

/// The offsets of one column.
struct Offsets<'bytes> {
    bytes: &'bytes [u8],
    bit: usize,
}

/// Words from differences.
struct Sums {
    order: Order,
    value: u64,
    step: u64,
}

/// Fills `out` with the words that `span` wants of a column that `model` codes.
pub(super) fn read<T: Word>(
    cursor: &mut Cursor<'_>,
    model: &Model,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let (seeds, mut sums) = take_seeds(cursor, model.order)?;
    if span.count <= seeds {
        return Err(DecodeError::Invalid("a coded column is too short"));
    }
    let decoding = model.decoding();
    let mut section = |wanted: bool| {
        let size = if wanted {
            cursor.len(cursor.remaining())?
        } else {
            0
        };
        cursor.take(size)
    };
    let (symbols, offsets) = (section(true)?, section(!decoding.wide.is_empty())?);
    // With zeros behind, every place of a section is read alike.
    let padded = [symbols, &PADDING, offsets, &PADDING].concat();
    let (symbols, offsets) = padded.split_at(symbols.len() + PADDING.len());
    let mut decoder = Decoder::new(&decoding.table, symbols);
    let mut offsets = Offsets {
        bytes: offsets,
        bit: 0,
    };
    let mut words = [0_u64; BATCH];
    for (at, word) in words[..seeds].iter_mut().enumerate() {
        *word = sums.value;
        if at == 0 && seeds == 2 {
            sums.value = sums.value.wrapping_add(sums.step);
        }
    }
    let (mut start, mut known) = (0, seeds);
    let end = span.start + out.len();
    let mut batch_symbols = [0_u8; BATCH];
    while start < end {
        let count = batch_len(known, span.count - start);
        decoder.take(&mut batch_symbols[..count]);
        let batch = &mut words[..known + count];
        let symbols = &batch_symbols[..count];
        let steps = sums.order == Order::One && !decoding.has_offsets(symbols);
        let is_wanted = span.start <= start && start + batch.len() <= end;
        if steps && is_wanted {
            // Most batches: their words need not stand anywhere else first.
            let at = start - span.start;
            give(&batch[..known], start, (span.start, &mut *out));
            let coded = &mut out[at + known..at + batch.len()];
            sums.add_steps(&decoding.lows, symbols, coded);
            start += batch.len();
            known = 0;
            continue;
        }
        let coded = &mut batch[known..];
        if steps {
            sums.add_steps(&decoding.lows, symbols, coded);
        } else {
            offsets.add(decoding, symbols, coded)?;
            sums.add(coded);
        }
        give(batch, start, (span.start, &mut *out));
        start += batch.len();
        known = 0;
    }
    if start == span.count {
        decoder.finish(symbols.len() - PADDING.len())?;
        if offsets.bit.div_ceil(8) + PADDING.len() != offsets.bytes.len() {
            return Err(DecodeError::Invalid(
                "coded offsets do not fill their bytes",
            ));
        }
    }
    Ok(())
}

/// How many coded words a batch has, behind `known` ones, of those that are `left` with them: all but
/// the last batch fill the lanes evenly.
fn batch_len(known: usize, left: usize) -> usize {
    let count = (BATCH - known).min(left - known);
    if known + count < left {
        count / ans::LANES * ans::LANES
    } else {
        count
    }
}

/// How many words stand before the coded ones, and what they are.
fn take_seeds(cursor: &mut Cursor<'_>, order: Order) -> Result<(usize, Sums), DecodeError> {
    let seeds = match order {
        Order::Zero => 0,
        Order::One => 1,
        Order::Two => 2,
    };
    let sums = Sums {
        order,
        value: if seeds > 0 { cursor.signed()? } else { 0 },
        step: if seeds > 1 { cursor.signed()? } else { 0 },
    };
    Ok((seeds, sums))
}

/// Puts those words of `batch`, which starts at `start` of its column, that lie where `out` does into
/// their places; `out` starts at `wanted`.
fn give<T: Word>(batch: &[u64], start: usize, (wanted, out): (usize, &mut [T])) {
    let from = wanted.clamp(start, start + batch.len());
    let to = (wanted + out.len()).clamp(from, start + batch.len());
    let slots = &mut out[from.max(wanted) - wanted..];
    for (slot, word) in slots.iter_mut().zip(&batch[from - start..to - start]) {
        *slot = T::from_word(*word);
    }
}

impl Offsets<'_> {
    /// The words of `symbols`: starts of their bins, and the next offsets.
    fn add(
        &mut self,
        decoding: &Decoding,
        symbols: &[u8],
        words: &mut [u64],
    ) -> Result<(), DecodeError> {
        let Decoding {
            lows, masks, bits, ..
        } = decoding;
        if !decoding.has_offsets(symbols) {
            for (word, symbol) in words.iter_mut().zip(symbols) {
                *word = lows[usize::from(*symbol)];
            }
            return Ok(());
        }
        let mut bit = self.bit;
        let mut add = |word: &mut u64, symbol: usize| {
            let mut offset = window(self.bytes, bit);
            if bits[symbol] > WINDOW_BITS {
                offset |= window(self.bytes, bit + 32) << 32;
            }
            *word = lows[symbol].wrapping_add(offset & masks[symbol]);
            bit += usize::from(bits[symbol]);
        };
        let pairs = words.iter_mut().zip(symbols);
        let pairs = pairs.map(|(word, symbol)| (word, usize::from(*symbol)));
        let wide = symbols
            .iter()
            .filter(|symbol| bits[usize::from(**symbol)] > 0);
        if wide.count() * RARE < symbols.len() {
            // A branch that is mostly not taken costs less than what it saves.
            for (word, symbol) in pairs {
                *word = lows[symbol];
                if bits[symbol] > 0 {
                    add(word, symbol);
                }
            }
        } else {
            pairs.for_each(|(word, symbol)| add(word, symbol));
        }
        self.bit = bit;
        if bit > (self.bytes.len() - PADDING.len()) * 8 {
            return Err(DecodeError::Truncated);
        }
        Ok(())
    }
}

impl Decoding {
    /// Whether any of `symbols` has an offset.
    fn has_offsets(&self, symbols: &[u8]) -> bool {
        if self.wide.len() > WIDE_SOUGHT_MAX {
            // Many have one, so that the first of them is soon found.
            return symbols
                .iter()
                .any(|symbol| self.bits[usize::from(*symbol)] > 0);
        }
        // Without an end before the last, so that many symbols are compared at once.
        let found =
            |wide: &u8| (symbols.iter()).fold(0, |any, symbol| any | u8::from(symbol == wide));
        self.wide.iter().any(|wide| found(wide) > 0)
    }
}

impl Sums {
    /// As [`Sums::add`], of steps that are bins of one word.
    fn add_steps<T: Word>(&mut self, lows: &[u64; SYMBOLS_MAX], symbols: &[u8], words: &mut [T]) {
        let mut value = self.value;
        for (word, symbol) in words.iter_mut().zip(symbols) {
            value = value.wrapping_add(lows[usize::from(*symbol)]);
            *word = T::from_word(value);
        }
        self.value = value;
    }

    /// Differences become what they are differences of.
    fn add(&mut self, words: &mut [u64]) {
        match self.order {
            Order::Zero => {}
            Order::One => {
                for word in words {
                    self.value = self.value.wrapping_add(*word);
                    *word = self.value;
                }
            }
            Order::Two => {
                for word in words {
                    self.step = self.step.wrapping_add(*word);
                    self.value = self.value.wrapping_add(self.step);
                    *word = self.value;
                }
            }
        }
    }
}

const _: () = assert!(SYMBOLS_MAX == 1 << u8::BITS);
