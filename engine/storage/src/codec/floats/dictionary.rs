//! Floats of many digits that repeat: the distinct ones, sorted, and for each value its place among
//! them. A ratio of small counts has 16 digits and a few thousand forms.

use super::encode_smallest;
use crate::codec::bytes::{Cursor, push_len};
use crate::codec::integers::{self, Tries};
use crate::codec::{DecodeError, Depth, Effort, Span, id};

/// Appends `values` by dictionary, or nothing and says false where more than half are distinct.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) -> bool {
    let Some(mut entries) = distinct(values) else {
        return false;
    };
    entries.sort_unstable_by(f64::total_cmp);
    let slots = Slots::of(&entries);
    let ids: Vec<u64> = values.iter().map(|value| slots.find(*value)).collect();
    out.push(id::DICTIONARY);
    push_len(out, entries.len());
    encode_smallest(&entries, false, out);
    integers::encode(&ids, Effort::Cold, Tries::VALUES, out);
    true
}

/// The distinct values, or none where they are more than half of all.
fn distinct(values: &[f64]) -> Option<Vec<f64>> {
    let most = values.len() / 2;
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
    Some(entries)
}

/// Open addressing over the bits: at most half full, looked at one behind another.
struct Slots {
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

    fn of(entries: &[f64]) -> Slots {
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

    fn find(&self, value: f64) -> u64 {
        let found = self.slots[self.slot_of(value)];
        found.expect("every value is an entry").1
    }
}

/// Fills `out` by dictionary.
pub(super) fn take(
    cursor: &mut Cursor<'_>,
    depth: Depth,
    span: Span,
    out: &mut [f64],
) -> Result<(), DecodeError> {
    let count = cursor.len(span.count)?;
    let mut entries = vec![0.0; count];
    super::take(cursor, depth.deeper()?, Span::whole(count), &mut entries)?;
    integers::take_span(cursor, depth.deeper()?, span, out)?;
    for slot in out {
        let place = usize::try_from(slot.to_bits()).ok();
        *slot = *place
            .and_then(|place| entries.get(place))
            .ok_or(DecodeError::Invalid("a dictionary lacks an entry"))?;
    }
    Ok(())
}
