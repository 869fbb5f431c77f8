//! Which rows of a piece pass a filter: found column by column where it compares fields to constants, else
//! asked row by row. Rows that do not pass are then never made.

use silverback_storage::model::{Column, FieldValue, Presence, SeriesRows, Values};

use crate::exec::groups::PreparedMeasurement;
use crate::functions::arithmetic::{Comparison, cast};
use crate::plan::expr::Expr;

/// The numbers of the rows of series `index` that count, ascending; `None` where all do, unasked.
pub(super) fn chosen(
    own: &PreparedMeasurement<'_>,
    index: usize,
    rows: &SeriesRows,
) -> Option<Vec<u32>> {
    let filter = own.filter_of(index)?;
    let Some(mask) = mask(own, filter, rows) else {
        return Some(passing(own, filter, rows));
    };
    let places = (0..).zip(&mask);
    Some(
        places
            .filter(|(_, passes)| **passes)
            .map(|(row, _)| row)
            .collect(),
    )
}

/// The rows that pass `filter`, which is over fields alone: what it says of tags has been settled.
fn passing(own: &PreparedMeasurement<'_>, filter: &Expr, rows: &SeriesRows) -> Vec<u32> {
    let mut slots: Vec<Option<FieldValue>> = vec![None; own.input.bindings.len()];
    let mut dense = vec![0; rows.columns.len()];
    let mut passing = Vec::new();
    for (number, row) in (0..).zip(0..rows.timestamps.len()) {
        for (variable, place, wanted) in &own.columns {
            let column = &rows.columns[*place];
            let value = (column.presence.has(row)).then(|| column.values.get(dense[*place]));
            slots[*variable] = value.and_then(|value| cast(&value, *wanted));
        }
        for (dense, column) in dense.iter_mut().zip(&rows.columns) {
            *dense += usize::from(column.presence.has(row));
        }
        if filter.holds(&[&slots, &[]]) {
            passing.push(number);
        }
    }
    passing
}

/// Whether `expr` holds, row by row; `None` where columns alone do not tell.
fn mask(own: &PreparedMeasurement<'_>, expr: &Expr, rows: &SeriesRows) -> Option<Vec<bool>> {
    match expr {
        Expr::And(left, right) => {
            let (left, right) = (mask(own, left, rows)?, mask(own, right, rows)?);
            Some(
                left.iter()
                    .zip(right)
                    .map(|(left, right)| *left && right)
                    .collect(),
            )
        }
        Expr::Or(left, right) => {
            let (left, right) = (mask(own, left, rows)?, mask(own, right, rows)?);
            Some(
                left.iter()
                    .zip(right)
                    .map(|(left, right)| *left || right)
                    .collect(),
            )
        }
        Expr::Compare(operator, left, right) => {
            let (Expr::Slot(slot), Expr::Constant(Some(bound))) = (&**left, &**right) else {
                return None;
            };
            let mut columns = own.columns.iter();
            let (_, place, wanted) = columns.find(|(variable, ..)| variable == slot)?;
            let column = &rows.columns[*place];
            if column.values.field_type() != *wanted {
                return None;
            }
            let dense = compared(column, *operator, bound)?;
            Some(spread(dense, &column.presence))
        }
        Expr::Slot(_)
        | Expr::Constant(_)
        | Expr::Arithmetic(..)
        | Expr::Math(..)
        | Expr::Matches { .. } => None,
    }
}

/// Whether each value of `column` stands to `bound` as `operator` says; not of strings.
fn compared(column: &Column, operator: Comparison, bound: &FieldValue) -> Option<Vec<bool>> {
    fn all<T: Copy>(
        values: &[T],
        operator: Comparison,
        (bound, value): (&FieldValue, fn(T) -> FieldValue),
    ) -> Vec<bool> {
        let holds = |one: &T| operator.holds(&value(*one), bound);
        values.iter().map(holds).collect()
    }
    if let Some(each) = operator.holds_each(&column.values, bound) {
        return Some(each);
    }
    match &column.values {
        Values::Float(values) => Some(all(values, operator, (bound, FieldValue::Float))),
        Values::Integer(values) => Some(all(values, operator, (bound, FieldValue::Integer))),
        Values::Unsigned(values) => Some(all(values, operator, (bound, FieldValue::Unsigned))),
        Values::Boolean(values) => Some(all(values, operator, (bound, FieldValue::Boolean))),
        Values::String(_) => None,
    }
}

/// From one entry a value to one a row: where there is no value nothing holds.
fn spread(dense: Vec<bool>, presence: &Presence) -> Vec<bool> {
    let Presence::Some(bits) = presence else {
        return dense;
    };
    let mut dense = dense.into_iter();
    let row = |row| bits.get(row) && dense.next() == Some(true);
    (0..bits.len()).map(row).collect()
}
