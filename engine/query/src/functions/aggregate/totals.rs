//! What counts, sums, means and spreads need of the points of a window, taken one by one.

use silverback_storage::model::{FieldValue, FloatSum, Sum};

use crate::functions::aggregate::{Aggregate, compare, difference, mean_value, nan, sum_value};
use crate::functions::{Point, as_float};

/// Count and sum of some points, and their extremes where they are numbers.
#[derive(Clone, Debug)]
pub struct Totals {
    count: u64,
    sum: Sum,
    /// The smallest and the largest. A NaN is neither unless all are.
    extremes: Option<(FieldValue, FieldValue)>,
    /// The earliest time.
    first: i64,
}

impl Default for Totals {
    fn default() -> Self {
        Totals {
            count: 0,
            sum: Sum::None,
            extremes: None,
            first: i64::MAX,
        }
    }
}

impl Totals {
    pub(super) fn push(&mut self, point: &Point) {
        let value = &point.value;
        self.count += 1;
        self.first = self.first.min(point.timestamp);
        self.sum = match (self.sum, value) {
            (Sum::Float(sum), FieldValue::Float(value)) => Sum::Float(sum.plus(*value)),
            (_, FieldValue::Float(value)) => Sum::Float(FloatSum::default().plus(*value)),
            (sum, FieldValue::Integer(value)) => add(sum, i128::from(*value)),
            (sum, FieldValue::Unsigned(value)) => add(sum, i128::from(*value)),
            (sum, FieldValue::Boolean(_) | FieldValue::String(_)) => sum,
        };
        if as_float(value).is_none() {
            return;
        }
        match &mut self.extremes {
            None => self.extremes = Some((value.clone(), value.clone())),
            Some((least, largest)) => {
                if nan(least) || !nan(value) && compare(value, least).is_lt() {
                    least.clone_from(value);
                }
                if nan(largest) || !nan(value) && compare(value, largest).is_gt() {
                    largest.clone_from(value);
                }
            }
        }
    }

    /// What `function` is of the points; `None` where it takes none of them, or needs more.
    pub(super) fn finish(&self, function: &Aggregate) -> Option<Point> {
        let extremes = self.extremes.as_ref();
        let value = match function {
            Aggregate::Count => FieldValue::Integer(i64::try_from(self.count).unwrap_or(i64::MAX)),
            Aggregate::Sum => {
                let (least, _) = extremes?;
                sum_value(self.sum, least.field_type())?
            }
            Aggregate::Mean => mean_value(self.sum, self.count)?,
            Aggregate::Spread => {
                let (least, largest) = extremes?;
                difference(largest, least)?
            }
            Aggregate::Min
            | Aggregate::Max
            | Aggregate::First
            | Aggregate::Last
            | Aggregate::Stddev
            | Aggregate::Median
            | Aggregate::Mode
            | Aggregate::Percentile(_)
            | Aggregate::Distinct
            | Aggregate::CountDistinct
            | Aggregate::Top { .. }
            | Aggregate::Bottom { .. }
            | Aggregate::Sample(_) => return None,
        };
        Some(Point::new(self.first, value))
    }
}

fn add(sum: Sum, value: i128) -> Sum {
    match sum {
        Sum::Integer(sum) => Sum::Integer(sum.wrapping_add(value)),
        Sum::Float(_) | Sum::None => Sum::Integer(value),
    }
}
