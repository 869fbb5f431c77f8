//! Floats of many digits that repeat: the distinct ones, sorted, and for each value its place among
//! them. A ratio of small counts has 16 digits and a few thousand forms.

use super::encode_alone;
use crate::codec::bytes::{Cursor, push_len};
use crate::codec::integers::{self, Tries};
use crate::codec::{Context, DecodeError, Effort, Shared, Span, id};

/// Appends `values` by dictionary, or nothing and says false where more than half are distinct.
pub(super) fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) -> bool {
    let Some(entries) = distinct(values, values.len() / 2) else {
        return false;
    };
    let places = Slots::of(&entries).places(values);
    let places = places.expect("every value is an entry");
    out.push(id::DICTIONARY);
    push_len(out, entries.len());
    encode_alone(&entries, effort, out);
    integers::encode(&places, effort, Tries::VALUES, out);
    true
}

/// Appends `values` by the dictionary of `shared`, or nothing and says false where one is not in it.
pub(super) fn encode_shared(
    values: &[f64],
    effort: Effort,
    shared: &Shared,
    out: &mut Vec<u8>,
) -> bool {
    let Some(places) = shared.slots().places(values) else {
        return false;
    };
    out.push(id::DICTIONARY_SHARED);
    let tries = Tries {
        models: &shared.models,
        ..Tries::VALUES
    };
    integers::encode(&places, effort, tries, out);
    true
}

/// The distinct values by bits, ascending, or none where they are more than `most`.
pub(super) fn distinct<'all>(
    values: impl IntoIterator<Item = &'all f64>,
    most: usize,
) -> Option<Vec<f64>> {
    let mut slots = Slots::new(most);
    let mut entries = Vec::new();
    for value in values {
        let slot = slots.slot_of(*value);
        if slots.slots[slot].is_none() {
            if entries.len() == most {
                return None;
            }
            slots.slots[slot] = Some((value.to_bits(), 0));
            entries.push(*value);
        }
    }
    entries.sort_unstable_by(f64::total_cmp);
    Some(entries)
}

/// Open addressing over the bits: at most half full, looked at one behind another.
#[derive(Debug)]
pub(in crate::codec) struct Slots {
    slots: Vec<Option<(u64, u64)>>,
    shift: u32,
}

impl Slots {
    fn new(most: usize) -> Slots {
        let len = (most * 2 + 2).next_power_of_two();
        Slots {
            slots: vec![None; len],
            shift: 64 - len.trailing_zeros(),
        }
    }

    pub(in crate::codec) fn of(entries: &[f64]) -> Slots {
        let mut slots = Slots::new(entries.len());
        for (place, entry) in (0..).zip(entries) {
            let slot = slots.slot_of(*entry);
            slots.slots[slot] = Some((entry.to_bits(), place));
        }
        slots
    }

    /// Where `value` stands, or the free slot where it would.
    fn slot_of(&self, value: f64) -> usize {
        let bits = value.to_bits();
        let spread = (bits ^ bits >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        let mut slot = usize::try_from(spread).expect("a slot's index fits");
        while self.slots[slot].is_some_and(|(other, _)| other != bits) {
            slot = (slot + 1) % self.slots.len();
        }
        slot
    }

    /// The places of `values` among the entries, or none where one is no entry.
    pub(super) fn places(&self, values: &[f64]) -> Option<Vec<u64>> {
        let place = |value: &f64| self.slots[self.slot_of(*value)].map(|(_, place)| place);
        values.iter().map(place).collect()
    }
}

/// Fills `out` by dictionary.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [f64],
) -> Result<(), DecodeError> {
    let count = cursor.len(span.count)?;
    let mut entries = vec![0.0; count];
    super::take(cursor, context.deeper()?, Span::whole(count), &mut entries)?;
    take_places(cursor, context, (&entries, span), out)
}

/// Fills `out` by the dictionary that the column shares.
pub(super) fn take_shared(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    span: Span,
    out: &mut [f64],
) -> Result<(), DecodeError> {
    take_places(cursor, context, (&context.shared.floats, span), out)
}

fn take_places(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    (entries, span): (&[f64], Span),
    out: &mut [f64],
) -> Result<(), DecodeError> {
    integers::take_span(cursor, context.deeper()?, span, out)?;
    for slot in out {
        let place = usize::try_from(slot.to_bits()).ok();
        *slot = *place
            .and_then(|place| entries.get(place))
            .ok_or(DecodeError::Invalid("a dictionary lacks an entry"))?;
    }
    Ok(())
}
