//! What the functions of the query languages compute: numbers in, numbers out.
//!
//! Knows nothing of measurements, groups or plans. An aggregate sees the values of one window, a
//! transformation sees a sequence of points; neither reads a clock or a store. Integers stay exact:
//! sums are kept in 128 bits, floats are summed compensated.

pub mod aggregate;
pub mod arithmetic;
mod chosen;
pub mod forecast;
pub mod integral;
mod kept;
pub mod math;
mod simplex;
pub mod technical;
pub mod transform;

use std::sync::Arc;

use silverback_storage::model::FieldValue;

/// Values that travel with a point: the other columns of the row it came from.
pub type Companions = Option<Arc<[Option<FieldValue>]>>;

/// A value, when it was, and what stood beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// ns UTC.
    pub timestamp: i64,
    /// The value.
    pub value: FieldValue,
    /// The rest of its row, where a query shows it.
    pub beside: Companions,
}

impl Point {
    /// A point with nothing beside it.
    pub fn new(timestamp: i64, value: FieldValue) -> Point {
        Point {
            timestamp,
            value,
            beside: None,
        }
    }
}

/// The value as a float; `None` for what is no number.
#[expect(
    clippy::cast_precision_loss,
    reason = "a float has no more bits: that is what converting means"
)]
pub fn as_float(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(value) => Some(*value),
        FieldValue::Integer(value) => Some(*value as f64),
        FieldValue::Unsigned(value) => Some(*value as f64),
        FieldValue::Boolean(_) | FieldValue::String(_) => None,
    }
}
