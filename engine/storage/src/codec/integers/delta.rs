//! Differences before packing: each block opens with its first word (and first step), so that it is
//! decoded without the blocks before it.
//!
//! The places whose difference lies before the block's start repeat their neighbour's, so that they
//! cost nothing and widen nothing.

use super::packed::{self, BLOCK, Plan};
use crate::codec::Effort;
use crate::codec::bytes::{Cursor, Word, push_signed};
use crate::codec::{DecodeError, Span};

/// How often differences are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) enum Order {
    /// Values as they are.
    Zero = 0,
    /// Steps from value to value.
    One = 1,
    /// Changes of the step.
    Two = 2,
}

/// One block, ready to pack.
#[derive(Debug)]
pub(super) struct Block {
    words: Vec<u64>,
    first: u64,
    step: u64,
    order: Order,
}

impl Block {
    /// An empty block for `order`, to be filled again and again.
    pub(super) fn new(order: Order) -> Block {
        Block {
            words: Vec::new(),
            first: 0,
            step: 0,
            order,
        }
    }

    /// Takes `values`, at least one and at most [`BLOCK`].
    pub(super) fn fill<T: Word>(&mut self, values: &[T]) {
        self.words.clear();
        self.words
            .extend(values.iter().map(|value| value.to_word()));
        let words = &mut self.words[..];
        self.first = words[0];
        if self.order != Order::Zero {
            difference(words);
            words[0] = words.get(1).copied().unwrap_or(0);
        }
        self.step = words[0];
        if self.order == Order::Two {
            difference(words);
            let settled = words.get(2).copied().unwrap_or(0);
            words.iter_mut().take(2).for_each(|word| *word = settled);
        }
    }

    /// Its words as they will be packed.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// How to write it; `floor` is at most the smallest of its words, as signed numbers.
    pub(super) fn plan(&self, effort: Effort, floor: i64) -> Plan {
        match effort {
            Effort::Hot => packed::plan_above(&self.words, floor),
            Effort::Warm | Effort::Cold => packed::plan_patched(&self.words),
        }
    }

    /// Appends it.
    pub(super) fn write(&self, plan: Plan, out: &mut Vec<u8>) {
        if self.order != Order::Zero {
            push_signed(out, self.first);
        }
        if self.order == Order::Two {
            push_signed(out, self.step);
        }
        packed::write(&self.words, plan, out);
    }
}

/// Each word less the one before; the first stays.
fn difference(words: &mut [u64]) {
    let mut before = 0_u64;
    for word in words {
        let now = *word;
        *word = now.wrapping_sub(before);
        before = now;
    }
}

/// Fills `out` with what `span` wants of a stream of `order`. Blocks before it are stepped over,
/// blocks it cuts are decoded whole.
pub(super) fn read<T: Word>(
    cursor: &mut Cursor<'_>,
    order: Order,
    span: Span,
    out: &mut [T],
) -> Result<(), DecodeError> {
    let mut at = 0;
    while at + BLOCK <= span.start {
        take_seeds(cursor, order)?;
        packed::skip(cursor, BLOCK)?;
        at += BLOCK;
    }
    let mut rest = out;
    while !rest.is_empty() {
        let len = BLOCK.min(span.count - at);
        let before = span.start.saturating_sub(at);
        if before == 0 && rest.len() >= len {
            let (block, behind) = rest.split_at_mut(len);
            read_block(cursor, order, block)?;
            rest = behind;
        } else {
            let mut scratch = [T::from_word(0); BLOCK];
            read_block(cursor, order, &mut scratch[..len])?;
            let wanted = rest.len().min(len - before);
            let (block, behind) = rest.split_at_mut(wanted);
            block.copy_from_slice(&scratch[before..before + wanted]);
            rest = behind;
        }
        at += len;
    }
    Ok(())
}

/// First word and first step, 0 where the order has none.
fn take_seeds(cursor: &mut Cursor<'_>, order: Order) -> Result<(u64, u64), DecodeError> {
    Ok(match order {
        Order::Zero => (0, 0),
        Order::One => (cursor.signed()?, 0),
        Order::Two => (cursor.signed()?, cursor.signed()?),
    })
}

fn read_block<T: Word>(
    cursor: &mut Cursor<'_>,
    order: Order,
    block: &mut [T],
) -> Result<(), DecodeError> {
    let (first, step) = take_seeds(cursor, order)?;
    packed::read(cursor, block)?;
    match order {
        Order::Zero => {}
        Order::One => sum_steps(block, first),
        Order::Two => sum_changes(block, first, step),
    }
    Ok(())
}

fn sum_steps<T: Word>(block: &mut [T], first: u64) {
    let Some((head, rest)) = block.split_first_mut() else {
        return;
    };
    *head = T::from_word(first);
    let mut value = first;
    for slot in rest {
        value = value.wrapping_add(slot.to_word());
        *slot = T::from_word(value);
    }
}

fn sum_changes<T: Word>(block: &mut [T], first: u64, mut step: u64) {
    let mut value = first;
    for (index, slot) in block.iter_mut().enumerate() {
        let change = slot.to_word();
        if index >= 2 {
            step = step.wrapping_add(change);
        }
        if index >= 1 {
            value = value.wrapping_add(step);
        }
        *slot = T::from_word(value);
    }
}
