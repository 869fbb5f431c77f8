//! What a reader asks of a snapshot, and the shapes of the answers; aggregates by windows have
//! a file of their own.

use std::fmt;
use std::sync::Arc;

use crate::model::{
    Column, FieldId, FieldValue, MeasurementId, PolicyId, SeriesId, TagPredicate, TimeRange,
};

/// Rows in one [`SeriesRows`] at most: small enough for a few columns to stay in a core's cache.
pub const VECTOR_ROWS_MAX: usize = 8192;

/// Series wanted: those of a measurement whose tags satisfy a condition and that have rows in a
/// policy and a span of time.
#[derive(Clone, Copy, Debug)]
pub struct SeriesRequest<'a> {
    /// The measurement.
    pub measurement: MeasurementId,
    /// What holds of the tags.
    pub predicate: &'a TagPredicate,
    /// The policy; any where `None`.
    pub policy: Option<PolicyId>,
    /// The span of time, as exact as blocks are: series that have no row there may be among them.
    pub range: TimeRange,
}

/// Says which rows count by their values, so that others need not be read, or brought along.
pub trait RowFilter: fmt::Debug + Send + Sync {
    /// The places in [`ScanRequest::fields`] that it looks at.
    fn places(&self) -> &[usize];

    /// The numbers of those that count, ascending, of `count` rows of series number `series` of the
    /// request; `None` where all do. `columns` are over these rows, by place; `None` where there is no
    /// value, or the filter does not look.
    fn chosen(&self, series: usize, count: usize, columns: &[Option<&Column>]) -> Option<Vec<u32>>;
}

/// Rows wanted: some series, some fields, a span of time, of one measurement in one policy.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// The policy.
    pub policy: PolicyId,
    /// The measurement.
    pub measurement: MeasurementId,
    /// The series, each once; answers come in this order. Whoever reads some of them shares the list.
    pub series: Arc<[SeriesId]>,
    /// The fields, each once; columns come in this order.
    pub fields: Vec<FieldId>,
    /// The span of time.
    pub range: TimeRange,
    /// Newest first. Default is oldest first.
    pub descending: bool,
    /// Rows that do not count may be left out; of aggregates it is not asked.
    pub filter: Option<Arc<dyn RowFilter>>,
}

/// Consecutive rows of one series. A row has a value in at least one of the requested fields.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRows {
    /// Which of [`ScanRequest::series`] the rows belong to.
    pub index: usize,
    /// The rows' times, ns UTC, strictly ascending (descending where asked); at most
    /// [`VECTOR_ROWS_MAX`]. A series with more comes in several pieces, one after another.
    pub timestamps: Vec<i64>,
    /// One column per requested field, over these rows.
    pub columns: Vec<Column>,
}

/// A value and when it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Extreme {
    /// The value.
    pub value: FieldValue,
    /// Its time, ns UTC.
    pub timestamp: i64,
}

/// A sum of floats in two parts whose exact sum is far closer to the true one than either
/// (double-double): it does not change beyond the last bit with the order of its terms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FloatSum {
    /// The rounded sum.
    pub high: f64,
    /// What rounding left.
    pub low: f64,
}

impl FloatSum {
    /// Adds one term (two-sum, then renormalised).
    #[must_use]
    pub fn plus(self, term: f64) -> FloatSum {
        self.merge(FloatSum {
            high: term,
            low: 0.0,
        })
    }

    /// Adds another sum.
    ///
    /// # Source
    /// Dekker 1971, "A floating-point technique for extending the available precision", `add2`.
    #[must_use]
    pub fn merge(self, other: FloatSum) -> FloatSum {
        let sum = self.high + other.high;
        if !sum.is_finite() {
            // Infinities and NaN have no rest: keep what plain addition says.
            return FloatSum {
                high: sum,
                low: 0.0,
            };
        }
        let part = sum - self.high;
        let rest = (self.high - (sum - part)) + (other.high - part) + self.low + other.low;
        let high = sum + rest;
        FloatSum {
            high,
            low: (sum - high) + rest,
        }
    }

    /// The sum as one float.
    pub fn value(self) -> f64 {
        self.high + self.low
    }
}

/// A sum in the arithmetic of its field: exact for integers, compensated for floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sum {
    /// Of floats.
    Float(FloatSum),
    /// Of signed or unsigned integers; 2^64 terms of 64 bits fit.
    Integer(i128),
    /// Booleans and strings have none.
    None,
}

/// The aggregates of one field over one window of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowPartial {
    /// How many values there are; at least 1.
    pub count: u64,
    /// Their sum.
    pub sum: Sum,
    /// The smallest, the earliest of equal ones; `None` for strings. A NaN is never an extreme
    /// unless all values are NaN; false is below true.
    pub min: Option<Extreme>,
    /// The largest, the earliest of equal ones; as `min`.
    pub max: Option<Extreme>,
    /// The earliest.
    pub first: Extreme,
    /// The latest.
    pub last: Extreme,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_does_not_depend_on_the_order_of_its_terms() {
        let mut terms = [1e16, 1.0, -1e16, 3.5, 1e-8, -2.25];
        let forward = terms
            .iter()
            .fold(FloatSum::default(), |sum, term| sum.plus(*term));
        terms.reverse();
        let backward = terms
            .iter()
            .fold(FloatSum::default(), |sum, term| sum.plus(*term));
        assert!((forward.value() - 2.25 - 1e-8).abs() < 1e-15, "{forward:?}");
        assert!((forward.value() - backward.value()).abs() < 1e-15);
    }

    #[test]
    fn infinities_stay() {
        let sum = FloatSum::default().plus(f64::INFINITY).plus(1.0);
        assert!(sum.value().is_infinite());
    }
}
