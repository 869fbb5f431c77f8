//! Streams of 64-bit integers: which encoding to take, and the way back.
//!
//! Every stream opens with its codec id and ends where its count of words ends, so streams stand
//! inside one another without lengths. All arithmetic wraps: signed, unsigned and a float's bits
//! are the same words here, and every word survives.

mod beat;
pub(super) mod delta;
pub(super) mod entropy;
mod packed;
mod runs;

use super::bytes::{Cursor, Word, push_len, push_signed};
use super::{Context, DecodeError, Effort, Repeat, Repeats, Span, id};
use delta::{Block, Order};
use entropy::{Chosen, Model};
use packed::BLOCK;

/// Powers of ten that times are rounded to, largest first: s, ms, us.
const SCALES: [(u8, i64); 3] = [(9, 1_000_000_000), (6, 1_000_000), (3, 1_000)];
/// How many blocks of a long column cold measures before it takes an order of differences.
const BLOCKS_MEASURED: usize = 2;

/// Runs that take less than one byte for so many words are not measured against packing.
const LOSS_MAX: usize = 64;

/// What many words may have in common, as times do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nothing worth looking for.
    Never,
    /// All are multiples of a power of ten.
    Powers,
    /// They lie around an even beat, or that.
    Beat,
}

/// What is worth looking for beside packing and differences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tries<'set> {
    /// Runs of equal words.
    pub(super) runs: bool,
    /// The whole starting again, as ids and times of series that report together do.
    pub(super) cycle: bool,
    /// What all words may have in common.
    pub(super) scale: Scale,
    /// The models that all columns of the field share.
    pub(super) models: &'set [Model],
}

impl Tries<'_> {
    /// For times.
    pub(super) const TIMES: Tries<'static> = Tries {
        runs: true,
        cycle: true,
        scale: Scale::Beat,
        models: &[],
    };
    /// For series ids.
    pub(super) const IDS: Tries<'static> = Tries {
        runs: true,
        cycle: true,
        scale: Scale::Never,
        models: &[],
    };
    /// For values of fields.
    pub(super) const VALUES: Tries<'static> = Tries {
        runs: true,
        cycle: false,
        scale: Scale::Never,
        models: &[],
    };
    /// For what stands inside another codec.
    pub(super) const INNER: Tries<'static> = Tries {
        runs: false,
        cycle: false,
        scale: Scale::Never,
        models: &[],
    };
}

/// What one pass over the words tells.
#[derive(Clone, Copy, Debug)]
struct Stats {
    low: i64,
    high: i64,
    step_low: i64,
    step_high: i64,
    /// How often a word differs from the one before.
    changes: usize,
}

impl Stats {
    /// Of at least two words.
    fn of<T: Word>(words: &[T]) -> Stats {
        let first = words[0].to_word().cast_signed();
        let mut stats = Stats {
            low: first,
            high: first,
            step_low: i64::MAX,
            step_high: i64::MIN,
            changes: 0,
        };
        for (word, before) in words[1..].iter().zip(words) {
            let step = word.to_word().wrapping_sub(before.to_word()).cast_signed();
            let word = word.to_word().cast_signed();
            stats.low = stats.low.min(word);
            stats.high = stats.high.max(word);
            stats.step_low = stats.step_low.min(step);
            stats.step_high = stats.step_high.max(step);
            stats.changes += usize::from(step != 0);
        }
        stats
    }

    fn width(low: i64, high: i64) -> u32 {
        64 - high.wrapping_sub(low).leading_zeros()
    }
}

/// Appends the stream of `words`. No words, no bytes.
pub(super) fn encode<T: Word>(words: &[T], effort: Effort, tries: Tries<'_>, out: &mut Vec<u8>) {
    let [first, .., _] = words else {
        if let [word] = words {
            write_constant(word.to_word(), out);
        }
        return;
    };
    let stats = Stats::of(words);
    if stats.changes == 0 {
        return write_constant(first.to_word(), out);
    }
    if stats.step_low == stats.step_high {
        out.push(id::STEP);
        return runs::write_step(first.to_word(), stats.step_low.cast_unsigned(), out);
    }
    if tries.cycle
        && let Some(period) = runs::cycle_of(words)
    {
        out.push(id::CYCLE);
        return runs::write_cycle(words, period, effort, out);
    }
    let long_runs = match effort {
        Effort::Hot => (stats.changes + 1) * 16 <= words.len(),
        Effort::Warm | Effort::Cold => (stats.changes + 1) * 4 <= words.len(),
    };
    if tries.runs && long_runs {
        encode_runs(words, effort, tries, out);
    } else {
        encode_spread(words, effort, tries, stats, out);
    }
}

fn write_constant(word: u64, out: &mut Vec<u8>) {
    out.push(id::CONSTANT);
    push_signed(out, word);
}

/// As runs; cold, as what packs the words where that is smaller.
fn encode_runs<T: Word>(words: &[T], effort: Effort, tries: Tries<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(id::RUNS);
    runs::write_runs(words, effort, tries, out);
    if effort != Effort::Hot && (out.len() - start) * LOSS_MAX > words.len() {
        let mut other = Vec::new();
        let tries = Tries {
            runs: false,
            ..tries
        };
        encode_spread(words, effort, tries, Stats::of(words), &mut other);
        if other.len() < out.len() - start {
            out.truncate(start);
            out.extend_from_slice(&other);
        }
    }
}

/// Words that differ: scaled down where that is exact, then packed.
fn encode_spread<T: Word>(
    words: &[T],
    effort: Effort,
    tries: Tries<'_>,
    stats: Stats,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    if tries.scale != Scale::Never
        && let Some((exponent, quotients)) = scaled(words)
    {
        out.push(id::SCALED);
        out.push(exponent);
        let inner = Tries {
            models: tries.models,
            ..Tries::INNER
        };
        encode(&quotients, effort, inner, out);
    } else {
        encode_words(words, effort, (tries, stats), out);
    }
    if effort == Effort::Cold
        && tries.scale == Scale::Beat
        && let Some(beat) = beat::of(words)
    {
        let mut other = vec![id::BEAT];
        beat.write(effort, tries, &mut other);
        if other.len() < out.len() - start {
            out.truncate(start);
            out.extend_from_slice(&other);
        }
    }
}

/// Words as they are, packed or by entropy.
fn encode_words<T: Word>(
    words: &[T],
    effort: Effort,
    (tries, stats): (Tries<'_>, Stats),
    out: &mut Vec<u8>,
) {
    let start = out.len();
    encode_packed(words, effort, stats, out);
    if effort == Effort::Cold && words.len() >= entropy::COUNT_MIN {
        encode_entropy(words, tries.models, start, out);
    }
}

/// As blocks of one order, or plain.
fn encode_packed<T: Word>(words: &[T], effort: Effort, stats: Stats, out: &mut Vec<u8>) {
    let order = match effort {
        Effort::Hot => order_by_range(words.len(), stats),
        Effort::Warm | Effort::Cold => order_by_size(words),
    };
    let floor = match order {
        Some(Order::One) => stats.step_low,
        Some(Order::Zero | Order::Two) | None => stats.low,
    };
    let Some(order) = order else {
        out.push(id::PLAIN);
        return packed::write_plain(words, out);
    };
    out.push(match order {
        Order::Zero => id::PACKED,
        Order::One => id::DELTA,
        Order::Two => id::DELTA_DELTA,
    });
    let mut block = Block::new(order);
    for values in words.chunks(BLOCK) {
        block.fill(values);
        block.write(block.plan(effort, floor), out);
    }
}

/// By entropy, where that is smaller than what stands in `out` behind `start`.
fn encode_entropy<T: Word>(words: &[T], models: &[Model], start: usize, out: &mut Vec<u8>) {
    let chosen = entropy::choose(words, models);
    if chosen.size_bits >= (out.len() - start) * 8 {
        return;
    }
    let mut other = Vec::new();
    match &chosen.model {
        Chosen::Own(model) => {
            other.push(id::ENTROPY);
            model.write(&mut other);
            entropy::write(&chosen.residuals, model, &mut other);
        }
        Chosen::Shared(number) => {
            other.push(id::ENTROPY_SHARED);
            push_len(&mut other, *number);
            entropy::write(&chosen.residuals, &models[*number], &mut other);
        }
    }
    if other.len() < out.len() - start {
        out.truncate(start);
        out.extend_from_slice(&other);
    }
}

/// The order whose whole range is narrower, or none where both are as wide as the words.
fn order_by_range(count: usize, stats: Stats) -> Option<Order> {
    let zero = Stats::width(stats.low, stats.high) as usize * count;
    let one = Stats::width(stats.step_low, stats.step_high) as usize * count + 32;
    match zero.min(one) {
        least if least >= 62 * count => None,
        least if least == zero => Some(Order::Zero),
        _ => Some(Order::One),
    }
}

/// The order that takes least for the first block and one in the middle.
fn order_by_size<T: Word>(words: &[T]) -> Option<Order> {
    let blocks = words.len().div_ceil(BLOCK);
    let measured = words
        .chunks(BLOCK)
        .step_by(blocks.div_ceil(BLOCKS_MEASURED));
    let mut sizes = [0; 3];
    let mut plain = 0;
    let mut blocks = [Order::Zero, Order::One, Order::Two].map(Block::new);
    for values in measured {
        for (size, block) in sizes.iter_mut().zip(&mut blocks) {
            block.fill(values);
            *size += packed::plan_patched(block.words()).size_bits;
        }
        sizes[1] += 32;
        sizes[2] += 64;
        plain += values.len() * 62;
    }
    let [zero, one, two] = sizes;
    match zero.min(one).min(two) {
        least if least >= plain => None,
        least if least == zero => Some(Order::Zero),
        least if least == one => Some(Order::One),
        _ => Some(Order::Two),
    }
}

/// The words over the largest power of ten that divides them all, if one does.
fn scaled<T: Word>(words: &[T]) -> Option<(u8, Vec<u64>)> {
    let value = |word: &T| word.to_word().cast_signed();
    SCALES.into_iter().find_map(|(exponent, scale)| {
        if words.iter().any(|word| value(word) % scale != 0) {
            return None;
        }
        let quotient = |word| (value(word) / scale).cast_unsigned();
        Some((exponent, words.iter().map(quotient).collect()))
    })
}

/// What is left to code of columns of times once beat and scale are taken off: what models for them
/// are made from.
pub(super) fn times_form<T: Word>(words: &[T]) -> Vec<u64> {
    let form = match beat::of(words) {
        Some(beat) => beat.distances,
        None => words.iter().map(|word| word.to_word()).collect(),
    };
    scaled(&form).map_or(form, |(_, quotients)| quotients)
}

/// Fills `out` with the next stream.
pub(super) fn take<T: Word>(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    out: &mut [T],
) -> Result<(), DecodeError> {
    take_span(cursor, context, Span::whole(out.len()), out)
}

/// Fills `out` with the words that `span` wants of the next stream.
pub(super) fn take_span<T: Word>(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    if out.is_empty() {
        return Ok(());
    }
    let codec = cursor.byte()?;
    take_codec(codec, cursor, context, span, out)
}

/// As [`take_span`], of a stream whose id has been read.
pub(super) fn take_codec<T: Word>(
    codec: u8,
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    match codec {
        id::CONSTANT => {
            out.fill(T::from_word(cursor.signed()?));
            Ok(())
        }
        id::PLAIN => packed::read_plain(cursor, span, out),
        id::STEP => runs::read_step(cursor, span, out),
        id::RUNS => runs::read_runs(cursor, context, span, out),
        id::CYCLE => runs::read_cycle(cursor, context, span, out),
        id::PACKED => delta::read(cursor, Order::Zero, span, out),
        id::DELTA => delta::read(cursor, Order::One, span, out),
        id::DELTA_DELTA => delta::read(cursor, Order::Two, span, out),
        id::SCALED => take_scaled(cursor, context, span, out),
        id::BEAT => beat::read(cursor, context, span, out),
        id::ENTROPY => {
            let model = Model::take(cursor)?;
            entropy::read(cursor, &model, span, out)
        }
        id::ENTROPY_SHARED => {
            let model = context.shared.model(cursor)?;
            entropy::read(cursor, model, span, out)
        }
        unknown => Err(DecodeError::UnknownCodec(unknown)),
    }
}

/// Appends the runs that `repeats` wants, one value at least, of the next stream; false where it has none.
pub(super) fn take_repeats(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    repeats: Repeats<'_>,
) -> Result<bool, DecodeError> {
    let codec = cursor.byte()?;
    take_repeats_of(codec, cursor, context, repeats)
}

/// As [`take_repeats`], of a stream whose id has been read.
pub(super) fn take_repeats_of(
    codec: u8,
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    repeats: Repeats<'_>,
) -> Result<bool, DecodeError> {
    match codec {
        id::CONSTANT => {
            let (word, count) = (cursor.signed()?, repeats.range.len());
            repeats.out.push(Repeat { word, count });
            Ok(true)
        }
        id::RUNS => runs::take_runs(cursor, context, repeats).map(|()| true),
        _ => Ok(false),
    }
}

fn take_scaled<T: Word>(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let exponent = cursor.byte()?;
    let (_, scale) = SCALES
        .into_iter()
        .find(|(known, _)| *known == exponent)
        .ok_or(DecodeError::Invalid("a power of ten is not one of ours"))?;
    take_span(cursor, context.deeper()?, span, out)?;
    for slot in out {
        *slot = T::from_word(slot.to_word().wrapping_mul(scale.cast_unsigned()));
    }
    Ok(())
}
