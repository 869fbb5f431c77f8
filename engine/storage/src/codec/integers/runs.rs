//! Repetition: one word for all, an even step, runs of equal words, and a cycle that starts again.
//!
//! Runs and cycles hold streams of integers themselves; `Context` bounds how deep hostile bytes may
//! nest them.

use std::ops::Range;

use super::{Scale, Tries, encode, take};
use crate::codec::bytes::{Cursor, Word, push_len, push_signed};
use crate::codec::{Context, DecodeError, Effort, Repeat, Repeats, Span};

/// Appends first word and step of an even series.
pub(super) fn write_step(first: u64, step: u64, out: &mut Vec<u8>) {
    push_signed(out, first);
    push_signed(out, step);
}

/// Fills `out` with an even series.
pub(super) fn read_step<T: Word>(
    cursor: &mut Cursor<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let first = cursor.signed()?;
    let step = cursor.signed()?;
    let mut value = first.wrapping_add(step.wrapping_mul(span.start as u64));
    for slot in out {
        *slot = T::from_word(value);
        value = value.wrapping_add(step);
    }
    Ok(())
}

/// Appends the runs of `words`: how many, their words, their lengths.
pub(super) fn write_runs<T: Word>(
    words: &[T],
    effort: Effort,
    tries: Tries<'_>,
    out: &mut Vec<u8>,
) {
    let mut heads: Vec<u64> = Vec::new();
    let mut lengths: Vec<u64> = Vec::new();
    let mut start = 0;
    for run in words.chunk_by(|a, b| a.to_word() == b.to_word()) {
        heads.push(run[0].to_word());
        lengths.push(run.len() as u64);
        start += run.len();
    }
    debug_assert_eq!(start, words.len());
    push_len(out, heads.len());
    let inner = Tries {
        runs: false,
        cycle: false,
        models: &[],
        ..tries
    };
    encode(&heads, effort, inner, out);
    encode(&lengths, effort, Tries::INNER, out);
}

/// Fills `out` with runs.
pub(super) fn read_runs<T: Word>(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let wanted = span.start..span.start + out.len();
    let mut rest = out;
    each_run(cursor, context, (span.count, wanted), |run| {
        let (own, behind) = std::mem::take(&mut rest).split_at_mut(run.count);
        own.fill(T::from_word(run.word));
        rest = behind;
    })
}

/// Appends the runs within a range of their column.
pub(super) fn take_runs(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    repeats: Repeats<'_>,
) -> Result<(), DecodeError> {
    let wanted = (repeats.count, repeats.range);
    each_run(cursor, context, wanted, |run| repeats.out.push(run))
}

/// Gives `each` what lies in `range` of each run of a column of `count` words, in order: together they are the
/// range, unless it is an error.
fn each_run(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    (count, range): (usize, Range<usize>),
    mut each: impl FnMut(Repeat),
) -> Result<(), DecodeError> {
    let runs = cursor.len(count)?;
    let mut heads: Vec<u64> = vec![0; runs];
    take(cursor, context.deeper()?, &mut heads)?;
    let mut lengths: Vec<u64> = vec![0; runs];
    take(cursor, context.deeper()?, &mut lengths)?;
    let mut start = 0;
    for (word, length) in heads.into_iter().zip(lengths) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > count - start {
            return Err(DecodeError::Invalid("runs pass the end of their column"));
        }
        let end = start + length;
        let own = start.max(range.start)..end.min(range.end);
        if !own.is_empty() {
            each(Repeat {
                word,
                count: own.len(),
            });
        }
        start = end;
    }
    if start == count {
        Ok(())
    } else {
        Err(DecodeError::Invalid("runs end before their column"))
    }
}

/// After how many words `words` begins anew, if it does so at least four times: series that report
/// together come in the same order each time.
pub(super) fn cycle_of<T: Word>(words: &[T]) -> Option<usize> {
    const CANDIDATES: usize = 4;
    let first = words.first()?.to_word();
    let longest = words.len() / 4;
    let mut candidates = (1..=longest).filter(|index| words[*index].to_word() == first);
    candidates.by_ref().take(CANDIDATES).find(|period| {
        let (ahead, behind) = (&words[*period..], words);
        ahead
            .iter()
            .zip(behind)
            .all(|(a, b)| a.to_word() == b.to_word())
    })
}

/// Appends the cycle of `period` words that `words` repeats.
pub(super) fn write_cycle<T: Word>(words: &[T], period: usize, effort: Effort, out: &mut Vec<u8>) {
    push_len(out, period);
    let tries = Tries {
        scale: Scale::Powers,
        ..Tries::INNER
    };
    encode(&words[..period], effort, tries, out);
}

/// Fills `out` with a cycle.
pub(super) fn read_cycle<T: Word>(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let period = cursor.len(span.count)?;
    if period == 0 {
        return Err(DecodeError::Invalid("a cycle is empty"));
    }
    let mut words = vec![T::from_word(0); period];
    take(cursor, context.deeper()?, &mut words)?;
    let (mut rest, mut from) = (out, span.start % period);
    while !rest.is_empty() {
        let len = rest.len().min(period - from);
        let (part, behind) = rest.split_at_mut(len);
        part.copy_from_slice(&words[from..from + len]);
        (rest, from) = (behind, 0);
    }
    Ok(())
}
