//! Times around an even beat: for each, which beat it belongs to and how far from it it lies. Late and
//! early cancel out that way; in differences each would count twice.

use super::{Scale, Tries, encode, take_span};
use crate::codec::bytes::{Cursor, Word, push_signed};
use crate::codec::{Context, DecodeError, Effort, Span};

/// What a beat is likely a multiple of, ns: a second, down to a microsecond.
const ROUND: [i64; 5] = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 1_000];
/// Steps that the beat is guessed from.
const SAMPLE: usize = 65;

/// The times as numbers of beats and distances.
pub(super) struct Beat {
    step: i64,
    phase: u64,
    pub(super) numbers: Vec<u64>,
    pub(super) distances: Vec<u64>,
}

/// `words`, more than two, around the beat that most of them follow, if they seem to.
pub(super) fn of<T: Word>(words: &[T]) -> Option<Beat> {
    let every = words.len().div_ceil(SAMPLE);
    let pairs = words.windows(2).step_by(every);
    let step = |pair: &[T]| {
        pair[1]
            .to_word()
            .wrapping_sub(pair[0].to_word())
            .cast_signed()
    };
    let mut steps: Vec<i64> = pairs.map(step).filter(|step| *step > 0).collect();
    steps.sort_unstable();
    let at = |eighths: usize| steps.get(steps.len() * eighths / 8).copied();
    let (low, middle, high) = (at(1)?, at(4)?, at(7)?);
    let spread = high - low;
    if spread == 0 || spread > middle {
        return None;
    }
    let step = ROUND.into_iter().find_map(|round| {
        let near = middle.checked_add(round / 2)? / round * round;
        (near > 0 && (near - middle).abs() <= spread).then_some(near)
    })?;
    // The first time stands in the middle, so that early ones belong to the same beat.
    let phase = words[0].to_word().wrapping_sub((step / 2).cast_unsigned());
    let (mut numbers, mut distances) = (Vec::new(), Vec::new());
    for word in words {
        let past = word.to_word().wrapping_sub(phase).cast_signed();
        numbers.push(past.div_euclid(step).cast_unsigned());
        distances.push(past.rem_euclid(step).cast_unsigned());
    }
    Some(Beat {
        step,
        phase,
        numbers,
        distances,
    })
}

impl Beat {
    /// Appends step, first beat, numbers and distances.
    pub(super) fn write(&self, effort: Effort, tries: Tries<'_>, out: &mut Vec<u8>) {
        push_signed(out, self.step.cast_unsigned());
        push_signed(out, self.phase);
        let inner = Tries {
            runs: true,
            ..Tries::INNER
        };
        encode(&self.numbers, effort, inner, out);
        let inner = Tries {
            scale: Scale::Powers,
            models: tries.models,
            ..Tries::INNER
        };
        encode(&self.distances, effort, inner, out);
    }
}

/// Fills `out` with the times that `span` wants.
pub(super) fn read<T: Word>(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let step = cursor.signed()?;
    let phase = cursor.signed()?;
    // All numbers are read, so that the distances behind them are found.
    let mut numbers = vec![0_u64; span.count];
    take_span(
        cursor,
        context.deeper()?,
        Span::whole(span.count),
        &mut numbers,
    )?;
    take_span(cursor, context.deeper()?, span, out)?;
    for (slot, number) in out.iter_mut().zip(&numbers[span.start..]) {
        let past = number.wrapping_mul(step).wrapping_add(slot.to_word());
        *slot = T::from_word(past.wrapping_add(phase));
    }
    Ok(())
}
