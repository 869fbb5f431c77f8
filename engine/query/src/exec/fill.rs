//! What stands in windows without points.

use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use silverback_storage::model::FieldValue;

use crate::exec::sequence::{Entry, fill_value};
use crate::functions::as_float;
use crate::plan::{Base, Call, Fill, Plan, VariableKind};

/// How a sequence is filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    pub(super) fill: Fill,
    /// The type of the values.
    pub(super) kind: VariableKind,
    /// Length of a window, ns.
    pub(super) every_ns: i64,
}

/// A sequence with one entry for each window, made as it is asked for.
pub(super) struct Filled {
    filling: Filling,
    entries: Peekable<IntoIter<Entry>>,
    /// All edges of the windows, ascending.
    edges: Arc<[i64]>,
    /// Windows given so far.
    given: usize,
    descending: bool,
    last: Option<Entry>,
}

impl Filled {
    /// `entries`, in the order of the output, with the windows between `edges` filled.
    pub(super) fn new(
        filling: Filling,
        entries: Vec<Entry>,
        edges: Arc<[i64]>,
        descending: bool,
    ) -> Filled {
        Filled {
            filling,
            entries: entries.into_iter().peekable(),
            edges,
            given: 0,
            descending,
            last: None,
        }
    }

    fn next_window(&mut self) -> Option<i64> {
        let windows = self.edges.len().saturating_sub(1);
        let left = windows.checked_sub(self.given + 1)?;
        let place = if self.descending { left } else { self.given };
        self.given += 1;
        Some(self.edges[place])
    }
}

impl Iterator for Filled {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let Some(window) = self.next_window() else {
                return self.entries.next();
            };
            if let Some(own) = self.entries.next_if(|entry| entry.timestamp == window) {
                self.last = Some(own.clone());
                return Some(own);
            }
            let value = match self.filling.fill {
                Fill::None => continue,
                Fill::Null | Fill::Number(_) | Fill::Integer(_) => self.filling.constant(),
                Fill::Previous => self.last.as_ref().and_then(|last| last.value.clone()),
                Fill::Linear => {
                    let neighbours = self.last.as_ref().zip(self.entries.peek());
                    neighbours.and_then(|(last, next)| self.filling.between(last, next, window))
                }
            };
            return Some(Entry {
                timestamp: window,
                value,
                beside: None,
            });
        }
    }
}

impl Filling {
    /// How the windows of `call` are filled, each `every_ns` long.
    pub(super) fn new(plan: &Plan, call: &Call, every_ns: i64) -> Filling {
        let counts = matches!(&call.base, Base::Aggregate(function) if function.name() == "count");
        Filling {
            // Empty windows of a count are 0, not null.
            fill: if counts && plan.fill == Fill::Null {
                Fill::Integer(0)
            } else {
                plan.fill
            },
            kind: VariableKind::Field(call.between),
            every_ns,
        }
    }

    /// What stands in every empty window, where that does not depend on its neighbours.
    pub(super) fn constant(&self) -> Option<FieldValue> {
        match self.fill {
            Fill::Number(number) => fill_value(&FieldValue::Float(number), self.kind),
            Fill::Integer(number) => fill_value(&FieldValue::Integer(number), self.kind),
            Fill::Null | Fill::None | Fill::Previous | Fill::Linear => None,
        }
    }

    /// The value at `window` on the line between its neighbours, counted in whole windows.
    fn between(self, last: &Entry, next: &Entry, window: i64) -> Option<FieldValue> {
        let steps = |to: i64, from: i64| i128::from(to / self.every_ns - from / self.every_ns);
        let into = steps(window, last.timestamp);
        let all = steps(next.timestamp, last.timestamp);
        let (start, end) = (last.value.as_ref()?, next.value.as_ref()?);
        match (start, end) {
            (FieldValue::Integer(start), FieldValue::Integer(end)) => {
                let value = whole(i128::from(*start), i128::from(*end), into, all)?;
                i64::try_from(value).ok().map(FieldValue::Integer)
            }
            (FieldValue::Unsigned(start), FieldValue::Unsigned(end)) => {
                let value = whole(i128::from(*start), i128::from(*end), into, all)?;
                u64::try_from(value).ok().map(FieldValue::Unsigned)
            }
            _ => {
                let (start, end) = (as_float(start)?, as_float(end)?);
                Some(FieldValue::Float(
                    (end - start) / float(all) * float(into) + start,
                ))
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of windows are far below 2^53"
)]
fn float(count: i128) -> f64 {
    count as f64
}

/// Integers below this are exact as floats.
const EXACT: i128 = 1 << 53;

/// The whole number towards zero. Where floats carry the numbers exactly they are used as
/// `InfluxDB` uses them, so that both cut at the same place.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the value lies between two of 54 bits"
)]
fn whole(start: i128, end: i128, into: i128, all: i128) -> Option<i128> {
    if start.abs() < EXACT && end.abs() < EXACT {
        let value = float(end - start) / float(all) * float(into) + float(start);
        return value.is_finite().then_some(value as i128);
    }
    start
        .checked_mul(all)?
        .checked_add((end - start).checked_mul(into)?)?
        .checked_div(all)
}

#[cfg(test)]
mod tests {
    use silverback_storage::model::FieldType;

    use super::*;

    const INT: fn(i64) -> FieldValue = FieldValue::Integer;

    fn fill(fill: Fill, values: &[(i64, FieldValue)]) -> Vec<Option<FieldValue>> {
        let filling = Filling {
            fill,
            kind: VariableKind::Field(FieldType::Integer),
            every_ns: 10,
        };
        let entry = |(timestamp, value): &(i64, FieldValue)| Entry {
            timestamp: *timestamp,
            value: Some(value.clone()),
            beside: None,
        };
        let entries = values.iter().map(entry).collect();
        let edges: Vec<i64> = (0..=50).step_by(10).collect();
        let filled = Filled::new(filling, entries, edges.into(), false);
        filled.map(|entry| entry.value).collect()
    }

    #[test]
    fn each_fill_does_as_it_says() {
        let two = [(10, INT(90)), (40, INT(70))];
        let (a, b) = (Some(INT(90)), Some(INT(70)));
        let cases = [
            (Fill::Null, vec![None, a.clone(), None, None, b.clone()]),
            (Fill::None, vec![a.clone(), b.clone()]),
            (
                Fill::Previous,
                vec![None, a.clone(), a.clone(), a.clone(), b.clone()],
            ),
            (
                Fill::Number(3.7),
                vec![
                    Some(INT(3)),
                    a.clone(),
                    Some(INT(3)),
                    Some(INT(3)),
                    b.clone(),
                ],
            ),
            (Fill::Linear, vec![None, a, Some(INT(83)), Some(INT(76)), b]),
        ];
        for (kind, expected) in cases {
            assert_eq!(fill(kind, &two), expected, "{kind:?}");
        }
        assert_eq!(fill(Fill::Integer(0), &two)[0], Some(INT(0)));
    }

    #[test]
    fn lines_between_large_integers_are_exact() {
        let big = i64::MAX - 9;
        let filled = fill(Fill::Linear, &[(0, INT(big)), (40, INT(big + 8))]);
        assert_eq!(filled[1], Some(INT(big + 2)));
    }
}
