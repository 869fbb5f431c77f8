//! Transformations: a sequence of points to another. They take points in the order of the output,
//! so that with `ORDER BY time DESC` a difference is to the later point.

use std::collections::VecDeque;

use silverback_storage::model::{FieldType, FieldValue, FloatSum};

use crate::functions::arithmetic::integer;
use crate::functions::technical::{Technical, TechnicalState};
use crate::functions::{Point, as_float};

/// A function of a sequence of points.
#[derive(Clone, Debug, PartialEq)]
pub enum Transform {
    /// Change per unit of time.
    Derivative {
        /// The unit, ns.
        unit_ns: i64,
        /// Negative results are left out.
        non_negative: bool,
    },
    /// Change.
    Difference {
        /// Negative results are left out.
        non_negative: bool,
    },
    /// Whole units of time between points.
    Elapsed {
        /// The unit, ns.
        unit_ns: i64,
    },
    /// Mean of the last so many points.
    MovingAverage(usize),
    /// Sum of all points so far.
    CumulativeSum,
    /// An indicator of technical analysis.
    Technical(Technical),
}

impl Transform {
    /// Whether it takes values of this type.
    pub fn takes(&self, field_type: FieldType) -> bool {
        match self {
            Transform::Elapsed { .. } => true,
            Transform::Derivative { .. }
            | Transform::Difference { .. }
            | Transform::MovingAverage(_)
            | Transform::CumulativeSum
            | Transform::Technical(_) => matches!(
                field_type,
                FieldType::Float | FieldType::Integer | FieldType::Unsigned
            ),
        }
    }

    /// The type of what it gives for values of type `input`.
    pub fn output_type(&self, input: FieldType) -> FieldType {
        match self {
            Transform::Elapsed { .. } => FieldType::Integer,
            Transform::Difference { .. } | Transform::CumulativeSum => input,
            Transform::Derivative { .. }
            | Transform::MovingAverage(_)
            | Transform::Technical(_) => FieldType::Float,
        }
    }

    /// The state before the first point; `descending` says in which order points will come.
    pub fn start(&self, descending: bool) -> Transformer {
        Transformer {
            function: self.clone(),
            descending,
            last: None,
            window: VecDeque::new(),
            sum: Total::None,
            technical: match self {
                Transform::Technical(technical) => Some(technical.start()),
                Transform::Derivative { .. }
                | Transform::Difference { .. }
                | Transform::Elapsed { .. }
                | Transform::MovingAverage(_)
                | Transform::CumulativeSum => None,
            },
        }
    }
}

/// A running total in the arithmetic of its terms.
#[derive(Clone, Copy, Debug)]
enum Total {
    None,
    Float(FloatSum),
    Integer(i128),
}

impl Total {
    fn plus(self, value: &FieldValue, sign: i128) -> Total {
        match value {
            FieldValue::Float(value) => {
                let term = if sign < 0 { -*value } else { *value };
                let sum = match self {
                    Total::Float(sum) => sum,
                    Total::None | Total::Integer(_) => FloatSum::default(),
                };
                Total::Float(sum.plus(term))
            }
            FieldValue::Integer(value) => self.plus_integer(sign * i128::from(*value)),
            FieldValue::Unsigned(value) => self.plus_integer(sign * i128::from(*value)),
            FieldValue::Boolean(_) | FieldValue::String(_) => self,
        }
    }

    fn plus_integer(self, term: i128) -> Total {
        match self {
            Total::Integer(sum) => Total::Integer(sum.wrapping_add(term)),
            Total::None | Total::Float(_) => Total::Integer(term),
        }
    }
}

/// A transformation under way.
#[derive(Clone, Debug)]
pub struct Transformer {
    function: Transform,
    descending: bool,
    last: Option<Point>,
    window: VecDeque<FieldValue>,
    sum: Total,
    technical: Option<TechnicalState>,
}

impl Transformer {
    /// Takes the next point and gives what follows from it. Points that are no numbers are passed
    /// over where numbers are needed.
    pub fn push(&mut self, point: Point) -> Option<Point> {
        if !self.function.takes(point.value.field_type()) {
            return None;
        }
        match self.function {
            Transform::MovingAverage(count) => self.average(count, point),
            Transform::CumulativeSum => self.cumulate(&point),
            Transform::Technical(_) => {
                let value = self.technical.as_mut()?.push(as_float(&point.value)?)?;
                Some(Point::new(point.timestamp, FieldValue::Float(value)))
            }
            Transform::Elapsed { unit_ns } => {
                let last = self.last.replace(point.clone())?;
                let elapsed = point
                    .timestamp
                    .wrapping_sub(last.timestamp)
                    .wrapping_div(unit_ns);
                Some(Point::new(point.timestamp, FieldValue::Integer(elapsed)))
            }
            Transform::Derivative { .. } | Transform::Difference { .. } => self.change(point),
        }
    }

    /// Of several points at one time the first counts.
    fn change(&mut self, point: Point) -> Option<Point> {
        if self
            .last
            .as_ref()
            .is_some_and(|last| last.timestamp == point.timestamp)
        {
            return None;
        }
        let at = point.timestamp;
        let last = self.last.replace(point)?;
        let new = &self.last.as_ref()?.value;
        let (change, negative) = minus(new, &last.value)?;
        let value = match self.function {
            Transform::Derivative {
                unit_ns,
                non_negative,
            } if !(non_negative && negative) => {
                let span = i128::from(at) - i128::from(last.timestamp);
                let span = if self.descending { -span } else { span };
                FieldValue::Float(as_float(&change)? / ratio(span, unit_ns))
            }
            Transform::Difference { non_negative } if !(non_negative && negative) => change,
            Transform::Derivative { .. }
            | Transform::Difference { .. }
            | Transform::Elapsed { .. }
            | Transform::MovingAverage(_)
            | Transform::CumulativeSum
            | Transform::Technical(_) => return None,
        };
        Some(Point::new(at, value))
    }

    fn cumulate(&mut self, point: &Point) -> Option<Point> {
        self.sum = self.sum.plus(&point.value, 1);
        let value = match self.sum {
            Total::Float(sum) => FieldValue::Float(sum.value()),
            Total::Integer(sum) => integer(sum),
            Total::None => return None,
        };
        Some(Point::new(point.timestamp, value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
    fn average(&mut self, count: usize, point: Point) -> Option<Point> {
        self.sum = self.sum.plus(&point.value, 1);
        self.window.push_back(point.value);
        if self.window.len() > count
            && let Some(oldest) = self.window.pop_front()
        {
            // A sum that has met an infinity or a NaN does not come back by subtraction.
            self.sum = match self.sum {
                Total::Float(sum) if !sum.value().is_finite() => self
                    .window
                    .iter()
                    .fold(Total::None, |sum, value| sum.plus(value, 1)),
                Total::Float(_) | Total::Integer(_) | Total::None => self.sum.plus(&oldest, -1),
            };
        }
        if self.window.len() < count {
            return None;
        }
        let mean = match self.sum {
            Total::Float(sum) => sum.value() / count as f64,
            Total::Integer(sum) => sum as f64 / count as f64,
            Total::None => return None,
        };
        Some(Point::new(point.timestamp, FieldValue::Float(mean)))
    }
}

/// `new - old` in their own type, and whether it is below zero. A difference of unsigned values
/// that is below zero is a signed integer.
fn minus(new: &FieldValue, old: &FieldValue) -> Option<(FieldValue, bool)> {
    match (new, old) {
        (FieldValue::Integer(new), FieldValue::Integer(old)) => {
            let change = new.wrapping_sub(*old);
            Some((FieldValue::Integer(change), change < 0))
        }
        (FieldValue::Unsigned(new), FieldValue::Unsigned(old)) => match new.checked_sub(*old) {
            Some(change) => Some((FieldValue::Unsigned(change), false)),
            None => Some((integer(i128::from(*new) - i128::from(*old)), true)),
        },
        _ => {
            let change = as_float(new)? - as_float(old)?;
            Some((FieldValue::Float(change), change < 0.0))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is a float")]
fn ratio(span: i128, unit_ns: i64) -> f64 {
    span as f64 / unit_ns as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        function: &Transform,
        descending: bool,
        points: &[(i64, i64)],
    ) -> Vec<(i64, FieldValue)> {
        let mut state = function.start(descending);
        points
            .iter()
            .filter_map(|(at, value)| state.push(Point::new(*at, FieldValue::Integer(*value))))
            .map(|point| (point.timestamp, point.value))
            .collect()
    }

    const COUNTER: [(i64, i64); 5] = [(0, 0), (10, 1000), (20, 3000), (30, 500), (50, 1500)];
    const INT: fn(i64) -> FieldValue = FieldValue::Integer;
    const FLOAT: fn(f64) -> FieldValue = FieldValue::Float;

    #[test]
    fn a_derivative_is_per_unit_and_can_leave_out_what_falls() {
        let rate = Transform::Derivative {
            unit_ns: 1,
            non_negative: false,
        };
        let expected = [(10, 100.0), (20, 200.0), (30, -250.0), (50, 50.0)];
        assert_eq!(
            run(&rate, false, &COUNTER),
            expected.map(|(at, value)| (at, FLOAT(value)))
        );
        let rising = Transform::Derivative {
            unit_ns: 1,
            non_negative: true,
        };
        assert_eq!(run(&rising, false, &COUNTER).len(), 3);
    }

    #[test]
    fn in_descending_order_the_sign_turns_and_the_time_is_the_earlier() {
        let rate = Transform::Derivative {
            unit_ns: 1,
            non_negative: false,
        };
        assert_eq!(run(&rate, true, &[(10, 20), (0, 10)]), [(0, FLOAT(-1.0))]);
    }

    #[test]
    fn a_second_point_at_one_time_is_passed_over() {
        let change = Transform::Difference {
            non_negative: false,
        };
        assert_eq!(
            run(&change, false, &[(0, 1), (0, 50), (1, 3)]),
            [(1, INT(2))]
        );
    }

    #[test]
    fn differences_and_sums_of_large_integers_are_exact() {
        let big = 9_007_199_254_740_993;
        let change = Transform::Difference {
            non_negative: false,
        };
        assert_eq!(
            run(&change, false, &[(0, 1), (1, big)]),
            [(1, INT(big - 1))]
        );
        let total = run(&Transform::CumulativeSum, false, &[(0, big), (1, 1)]);
        assert_eq!(total, [(0, INT(big)), (1, INT(big + 1))]);
    }

    #[test]
    fn an_average_moves_and_time_elapses_in_whole_units() {
        let expected = [(10, 500.0), (20, 2000.0), (30, 1750.0), (50, 1000.0)];
        assert_eq!(
            run(&Transform::MovingAverage(2), false, &COUNTER),
            expected.map(|(at, value)| (at, FLOAT(value)))
        );
        let elapsed = run(&Transform::Elapsed { unit_ns: 3 }, false, &COUNTER);
        assert_eq!(
            elapsed,
            [(10, INT(3)), (20, INT(3)), (30, INT(3)), (50, INT(6))]
        );
    }

    #[test]
    fn a_moving_average_recovers_behind_an_infinity() {
        let mut state = Transform::MovingAverage(2).start(false);
        let mut last = None;
        for (at, value) in [(0, f64::INFINITY), (1, 1.0), (2, 3.0)] {
            last = state.push(Point::new(at, FLOAT(value)));
        }
        assert_eq!(last, Some(Point::new(2, FLOAT(2.0))));
    }
}
