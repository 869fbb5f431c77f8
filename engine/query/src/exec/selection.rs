//! Which rows of a piece pass a filter: found column by column where it compares fields to constants, else
//! asked row by row. Rows that do not pass are then never made, and where the scan can tell beforehand
//! not even read.

use std::ops::Range;
use std::sync::Arc;

use silverback_storage::model::{
    Column, FieldType, FieldValue, Presence, RowFilter, SeriesRows, Values,
};

use crate::exec::groups::PreparedMeasurement;
use crate::functions::arithmetic::{Comparison, cast};
use crate::plan::expr::Expr;

/// What a scan is told of the rows that count, of some series of a measurement.
#[derive(Debug)]
pub(super) struct Filter {
    /// By number of the series in the request.
    filters: Box<[Option<Arc<Expr>>]>,
    columns: Box<[FieldVariable]>,
    variables: usize,
    places: Vec<usize>,
}

/// A variable that is a field: its number, its place among the fields, the type as it is read.
type FieldVariable = (usize, usize, FieldType);

impl Filter {
    /// The filter of the series numbered `members`; `None` where all rows count.
    pub(super) fn of(
        own: &PreparedMeasurement<'_>,
        members: Range<usize>,
    ) -> Option<Arc<dyn RowFilter>> {
        let filters = own.filters_of(members);
        let mut distinct: Vec<&Arc<Expr>> = filters.iter().flatten().collect();
        distinct.dedup_by(|one, other| Arc::ptr_eq(one, other));
        if distinct.is_empty() {
            return None;
        }
        let looks_at = |variable: usize| {
            let mut filters = distinct.iter();
            filters.any(|filter| filter.any_slot(&|slot| slot == variable))
        };
        let columns = own.columns.iter();
        let mut places: Vec<usize> = columns
            .filter(|(variable, ..)| looks_at(*variable))
            .map(|(_, place, _)| *place)
            .collect();
        places.sort_unstable();
        places.dedup();
        Some(Arc::new(Filter {
            filters: filters.into(),
            columns: own.columns.as_slice().into(),
            variables: own.input.bindings.len(),
            places,
        }))
    }
}

impl RowFilter for Filter {
    fn places(&self) -> &[usize] {
        &self.places
    }

    fn chosen(&self, series: usize, count: usize, columns: &[Option<&Column>]) -> Option<Vec<u32>> {
        let filter = self.filters.get(series)?.as_ref()?;
        let rows = Rows {
            variables: (&self.columns, self.variables),
            count,
            columns,
        };
        Some(rows.passing(filter))
    }
}

/// The numbers of the rows of series `index` that count, ascending; `None` where all do, unasked.
pub(super) fn chosen(
    own: &PreparedMeasurement<'_>,
    index: usize,
    rows: &SeriesRows,
) -> Option<Vec<u32>> {
    let filter = own.filter_of(index)?;
    let columns: Vec<Option<&Column>> = rows.columns.iter().map(Some).collect();
    let rows = Rows {
        variables: (&own.columns, own.input.bindings.len()),
        count: rows.timestamps.len(),
        columns: &columns,
    };
    Some(rows.passing(filter))
}

/// Rows of one series as a filter sees them.
struct Rows<'r> {
    /// The variables that are fields, and how many there are in all.
    variables: (&'r [FieldVariable], usize),
    count: usize,
    /// By place; `None` where there is no value.
    columns: &'r [Option<&'r Column>],
}

impl Rows<'_> {
    /// The rows that pass `filter`, which is over fields alone: what it says of tags has been settled.
    fn passing(&self, filter: &Expr) -> Vec<u32> {
        let Some(mask) = self.mask(filter) else {
            return self.passing_by_row(filter);
        };
        let places = (0..).zip(&mask);
        places
            .filter(|(_, passes)| **passes)
            .map(|(row, _)| row)
            .collect()
    }

    fn passing_by_row(&self, filter: &Expr) -> Vec<u32> {
        let (variables, count) = self.variables;
        let mut slots: Vec<Option<FieldValue>> = vec![None; count];
        let mut dense = vec![0; self.columns.len()];
        let mut passing = Vec::new();
        for (number, row) in (0..).zip(0..self.count) {
            for (variable, place, wanted) in variables {
                let column = self.columns[*place].filter(|column| column.presence.has(row));
                let value = column.map(|column| column.values.get(dense[*place]));
                slots[*variable] = value.and_then(|value| cast(&value, *wanted));
            }
            for (dense, column) in dense.iter_mut().zip(self.columns) {
                *dense += usize::from(column.is_some_and(|column| column.presence.has(row)));
            }
            if filter.holds(&[&slots, &[]]) {
                passing.push(number);
            }
        }
        passing
    }

    /// Whether `expr` holds, row by row; `None` where columns alone do not tell.
    fn mask(&self, expr: &Expr) -> Option<Vec<bool>> {
        match expr {
            Expr::And(left, right) => {
                let (left, right) = (self.mask(left)?, self.mask(right)?);
                let pairs = left.iter().zip(right);
                Some(pairs.map(|(left, right)| *left && right).collect())
            }
            Expr::Or(left, right) => {
                let (left, right) = (self.mask(left)?, self.mask(right)?);
                let pairs = left.iter().zip(right);
                Some(pairs.map(|(left, right)| *left || right).collect())
            }
            Expr::Compare(operator, left, right) => {
                let (Expr::Slot(slot), Expr::Constant(Some(bound))) = (&**left, &**right) else {
                    return None;
                };
                let mut variables = self.variables.0.iter();
                let (_, place, wanted) = variables.find(|(variable, ..)| variable == slot)?;
                let Some(column) = self.columns[*place] else {
                    return Some(vec![false; self.count]);
                };
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
