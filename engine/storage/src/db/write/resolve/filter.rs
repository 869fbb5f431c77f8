//! Taking rejected rows out of a batch: the rare case, so one row at a time.

use crate::index::registry::Known;
use crate::model::{Bitmap, Column, MeasurementRows, Presence, Strings, Values};

/// Keeps the rows whose place in `keep` is true, in every column.
pub(super) fn keep_rows(rows: &mut MeasurementRows, found: &mut Vec<Known>, keep: &[bool]) {
    retain(found, keep);
    retain(&mut rows.keys, keep);
    retain(&mut rows.timestamps, keep);
    retain(&mut rows.lines, keep);
    for field in &mut rows.fields {
        keep_column(&mut field.column, keep);
    }
}

fn keep_column(column: &mut Column, keep: &[bool]) {
    match &column.presence {
        Presence::All => keep_values(&mut column.values, keep),
        Presence::Some(bits) => {
            let dense: Vec<bool> = (0..keep.len())
                .filter(|row| bits.get(*row))
                .map(|row| keep[row])
                .collect();
            let mut kept = Bitmap::default();
            for row in (0..keep.len()).filter(|row| keep[*row]) {
                kept.push(bits.get(row));
            }
            keep_values(&mut column.values, &dense);
            column.presence = Presence::Some(kept);
        }
    }
}

fn keep_values(values: &mut Values, keep: &[bool]) {
    match values {
        Values::Float(values) => retain(values, keep),
        Values::Integer(values) => retain(values, keep),
        Values::Unsigned(values) => retain(values, keep),
        Values::Boolean(values) => retain(values, keep),
        Values::String(values) => {
            let mut kept = Strings::default();
            for index in (0..keep.len()).filter(|index| keep[*index]) {
                kept.push(values.get(index));
            }
            *values = kept;
        }
    }
}

fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    assert_eq!(values.len(), keep.len(), "each row is kept or not");
    let mut keep = keep.iter();
    values.retain(|_| *keep.next().expect("as many as values"));
}
