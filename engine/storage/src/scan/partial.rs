//! Aggregates of decoded values: all of them for one span, or what is asked for of many.

use std::ops::Range;

use crate::block::Times;
use crate::memtable::Slice;
use crate::model::{Column, Extreme, FieldWindows, Presence, Selected, Sum, Values, WindowPartial};
use crate::scan::numbers::{Number, float_sum, integer_sum, unsigned_sum};

/// The aggregates of the values of `slice`, whose rows have these `timestamps`, ascending; `None`
/// where there is no value.
pub(crate) fn partial(timestamps: &[i64], slice: &Slice<'_>) -> Option<WindowPartial> {
    let values = &slice.column?.values;
    let dense = slice.dense.clone();
    let last = dense.len().checked_sub(1)?;
    let (sum, extremes) = match values {
        Values::Float(values) => {
            let values = &values[dense.clone()];
            let extremes = (Number::least(values), Number::largest(values));
            (Sum::Float(float_sum(values)), Some(extremes))
        }
        Values::Integer(values) => {
            let values = &values[dense.clone()];
            let extremes = (Number::least(values), Number::largest(values));
            (Sum::Integer(integer_sum(values)), Some(extremes))
        }
        Values::Unsigned(values) => {
            let values = &values[dense.clone()];
            let extremes = (Number::least(values), Number::largest(values));
            (Sum::Integer(unsigned_sum(values)), Some(extremes))
        }
        Values::Boolean(values) => {
            let values = &values[dense.clone()];
            (
                Sum::None,
                Some((Number::least(values), Number::largest(values))),
            )
        }
        Values::String(_) => (Sum::None, None),
    };
    let extreme = |index: usize| Extreme {
        value: values.get(dense.start + index),
        timestamp: timestamps[slice.row_of(index)],
    };
    Some(WindowPartial {
        count: dense.len() as u64,
        sum,
        min: extremes.map(|(min, _)| extreme(min)),
        max: extremes.map(|(_, max)| extreme(max)),
        first: extreme(0),
        last: extreme(last),
    })
}

/// Appends to `windows` an entry for each of `spans`, which are ranges of the rows of `column`,
/// ascending, which have these times: without a value where the field has none in it.
pub(super) fn push_spans(
    windows: &mut FieldWindows,
    (times, column): (&Times, &Column),
    spans: &[Range<usize>],
) {
    let mut dense = 0;
    let mut row = 0;
    for span in spans {
        let count = |rows: Range<usize>| match &column.presence {
            Presence::All => rows.len(),
            Presence::Some(bits) => rows.filter(|row| bits.get(*row)).count(),
        };
        dense += count(row..span.start);
        let slice = Slice {
            column: Some(column),
            rows: span.clone(),
            dense: dense..dense + count(span.clone()),
        };
        (dense, row) = (slice.dense.end, span.end);
        push_span(windows, times, &slice, &column.values);
    }
}

fn push_span(windows: &mut FieldWindows, times: &Times, slice: &Slice<'_>, values: &Values) {
    let dense = slice.dense.clone();
    let Some(last) = dense.len().checked_sub(1) else {
        windows.push_absent();
        return;
    };
    let at = |index: usize| times.get(slice.rows.start + slice.row_of(index));
    windows.push_count(dense.len() as u64);
    match values {
        Values::Float(values) => {
            let values = &values[dense];
            if let Some(sums) = windows.float_sums() {
                sums.push(float_sum(values));
            }
            push_points(windows, values, at);
        }
        Values::Integer(values) => {
            let values = &values[dense];
            if let Some(sums) = windows.integer_sums() {
                sums.push(integer_sum(values));
            }
            push_points(windows, values, at);
        }
        Values::Unsigned(values) => {
            let values = &values[dense];
            if let Some(sums) = windows.integer_sums() {
                sums.push(unsigned_sum(values));
            }
            push_points(windows, values, at);
        }
        Values::Boolean(values) => push_points(windows, &values[dense], at),
        Values::String(values) => {
            windows.push_string(Selected::First, at(0), values.get(dense.start));
            windows.push_string(Selected::Last, at(last), values.get(dense.start + last));
        }
    }
}

/// Appends what is asked for of `values`, one at least, whose times `at` tells.
fn push_points<T: Number>(windows: &mut FieldWindows, values: &[T], at: impl Fn(usize) -> i64) {
    for selected in Selected::ALL {
        if !windows.keeps(selected) {
            continue;
        }
        let place = match selected {
            Selected::Min => T::least(values),
            Selected::Max => T::largest(values),
            Selected::First => 0,
            Selected::Last => values.len() - 1,
        };
        windows.push_word(selected, at(place), values[place].word());
    }
}
