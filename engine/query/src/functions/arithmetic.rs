//! The operators between two values of a row, and how values change type.

use std::cmp::Ordering;

use silverback_storage::model::{FieldType, FieldValue, Values};

use crate::functions::as_float;

/// An operator that gives a number (or, on booleans, a boolean).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`: of integers too gives a float; by zero gives zero.
    Divide,
    /// `/` in conditions: of integers gives the whole part.
    DivideWhole,
    /// `%`: of integers by zero gives zero, of floats NaN.
    Modulo,
    /// `&` of integers or booleans.
    BitAnd,
    /// `|` of integers or booleans.
    BitOr,
    /// `^` of integers or booleans.
    BitXor,
}

/// An operator that gives true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl Arithmetic {
    /// `left op right`; `None` where the types have no such operation. Integers wrap.
    pub fn apply(self, left: &FieldValue, right: &FieldValue) -> Option<FieldValue> {
        match (left, right) {
            (FieldValue::Integer(left), FieldValue::Integer(right)) => {
                Some(self.of_integers(*left, *right))
            }
            (FieldValue::Unsigned(left), FieldValue::Unsigned(right)) => {
                Some(self.of_unsigned(*left, *right))
            }
            (FieldValue::Unsigned(left), FieldValue::Integer(right)) => {
                Some(self.of_mixed(i128::from(*left), i128::from(*right)))
            }
            (FieldValue::Integer(left), FieldValue::Unsigned(right)) => {
                Some(self.of_mixed(i128::from(*left), i128::from(*right)))
            }
            (FieldValue::Boolean(left), FieldValue::Boolean(right)) => {
                self.of_booleans(*left, *right)
            }
            _ => self.of_floats(as_float(left)?, as_float(right)?),
        }
    }

    fn of_integers(self, left: i64, right: i64) -> FieldValue {
        FieldValue::Integer(match self {
            Arithmetic::Add => left.wrapping_add(right),
            Arithmetic::Subtract => left.wrapping_sub(right),
            Arithmetic::Multiply => left.wrapping_mul(right),
            Arithmetic::Divide => return quotient(i128::from(left), i128::from(right)),
            Arithmetic::DivideWhole | Arithmetic::Modulo if right == 0 => 0,
            Arithmetic::DivideWhole => left.wrapping_div(right),
            Arithmetic::Modulo => left.wrapping_rem(right),
            Arithmetic::BitAnd => left & right,
            Arithmetic::BitOr => left | right,
            Arithmetic::BitXor => left ^ right,
        })
    }

    fn of_unsigned(self, left: u64, right: u64) -> FieldValue {
        FieldValue::Unsigned(match self {
            Arithmetic::Add => left.wrapping_add(right),
            Arithmetic::Subtract => return self.of_mixed(i128::from(left), i128::from(right)),
            Arithmetic::Multiply => left.wrapping_mul(right),
            Arithmetic::Divide => return quotient(i128::from(left), i128::from(right)),
            Arithmetic::DivideWhole => left.checked_div(right).unwrap_or(0),
            Arithmetic::Modulo => left.checked_rem(right).unwrap_or(0),
            Arithmetic::BitAnd => left & right,
            Arithmetic::BitOr => left | right,
            Arithmetic::BitXor => left ^ right,
        })
    }

    /// One side signed, one not: exact, and unsigned again where the result fits.
    fn of_mixed(self, left: i128, right: i128) -> FieldValue {
        integer(match self {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left.wrapping_mul(right),
            Arithmetic::Divide => return quotient(left, right),
            Arithmetic::DivideWhole => left.checked_div(right).unwrap_or(0),
            Arithmetic::Modulo => left.checked_rem(right).unwrap_or(0),
            Arithmetic::BitAnd => left & right,
            Arithmetic::BitOr => left | right,
            Arithmetic::BitXor => left ^ right,
        })
    }

    fn of_floats(self, left: f64, right: f64) -> Option<FieldValue> {
        let zero = right.classify() == std::num::FpCategory::Zero;
        Some(FieldValue::Float(match self {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide | Arithmetic::DivideWhole if zero => 0.0,
            Arithmetic::Divide | Arithmetic::DivideWhole => left / right,
            Arithmetic::Modulo => left % right,
            Arithmetic::BitAnd | Arithmetic::BitOr | Arithmetic::BitXor => return None,
        }))
    }

    fn of_booleans(self, left: bool, right: bool) -> Option<FieldValue> {
        Some(FieldValue::Boolean(match self {
            Arithmetic::BitAnd => left & right,
            Arithmetic::BitOr => left | right,
            Arithmetic::BitXor => left ^ right,
            Arithmetic::Add
            | Arithmetic::Subtract
            | Arithmetic::Multiply
            | Arithmetic::Divide
            | Arithmetic::DivideWhole
            | Arithmetic::Modulo => return None,
        }))
    }
}

/// `value` as an integer of 64 bits: unsigned where only that fits, else its low bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what fits neither type wraps, as integers do"
)]
pub fn integer(value: i128) -> FieldValue {
    match i64::try_from(value) {
        Ok(value) => FieldValue::Integer(value),
        Err(_) => match u64::try_from(value) {
            Ok(value) => FieldValue::Unsigned(value),
            Err(_) => FieldValue::Integer(value as i64),
        },
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the division of integers gives a float"
)]
fn quotient(left: i128, right: i128) -> FieldValue {
    FieldValue::Float(if right == 0 {
        0.0
    } else {
        left as f64 / right as f64
    })
}

impl Comparison {
    /// Whether `left op right` holds. Values of types that do not compare satisfy no operator.
    pub fn holds(self, left: &FieldValue, right: &FieldValue) -> bool {
        match (left, right) {
            (FieldValue::Boolean(left), FieldValue::Boolean(right)) => match self {
                Comparison::Equal => left == right,
                Comparison::NotEqual => left != right,
                Comparison::Less
                | Comparison::LessEqual
                | Comparison::Greater
                | Comparison::GreaterEqual => false,
            },
            (FieldValue::String(left), FieldValue::String(right)) => match self {
                Comparison::Equal => left == right,
                Comparison::NotEqual => left != right,
                Comparison::Less
                | Comparison::LessEqual
                | Comparison::Greater
                | Comparison::GreaterEqual => false,
            },
            _ => order(left, right).map_or_else(
                || self == Comparison::NotEqual && both_numbers(left, right),
                |order| self.accepts(order),
            ),
        }
    }

    /// Whether `number op bound` holds, for each of `numbers`; `None` where they are not compared as what
    /// they are.
    pub fn holds_each(self, numbers: &Values, bound: &FieldValue) -> Option<Vec<bool>> {
        fn each<T: Copy + PartialOrd>(one: Comparison, numbers: &[T], bound: T) -> Vec<bool> {
            let numbers = numbers.iter();
            match one {
                Comparison::Equal => numbers.map(|number| *number == bound).collect(),
                Comparison::NotEqual => numbers.map(|number| *number != bound).collect(),
                Comparison::Less => numbers.map(|number| *number < bound).collect(),
                Comparison::LessEqual => numbers.map(|number| *number <= bound).collect(),
                Comparison::Greater => numbers.map(|number| *number > bound).collect(),
                Comparison::GreaterEqual => numbers.map(|number| *number >= bound).collect(),
            }
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "an integer beside a float is compared as one"
        )]
        let float = |number: &i64| *number as f64;
        match (numbers, bound) {
            (Values::Float(numbers), FieldValue::Float(bound)) => Some(each(self, numbers, *bound)),
            (Values::Integer(numbers), FieldValue::Integer(bound)) => {
                Some(each(self, numbers, *bound))
            }
            (Values::Integer(numbers), FieldValue::Float(bound)) => {
                let numbers: Vec<f64> = numbers.iter().map(float).collect();
                Some(each(self, &numbers, *bound))
            }
            (Values::Unsigned(numbers), FieldValue::Unsigned(bound)) => {
                Some(each(self, numbers, *bound))
            }
            _ => None,
        }
    }

    fn accepts(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
        }
    }
}

fn both_numbers(left: &FieldValue, right: &FieldValue) -> bool {
    as_float(left).is_some() && as_float(right).is_some()
}

/// The order of two numbers; integers exactly. `None` for a NaN and for what are no numbers.
fn order(left: &FieldValue, right: &FieldValue) -> Option<Ordering> {
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => as_float(left)?.partial_cmp(&as_float(right)?),
    }
}

fn whole(value: &FieldValue) -> Option<i128> {
    match value {
        FieldValue::Integer(value) => Some(i128::from(*value)),
        FieldValue::Unsigned(value) => Some(i128::from(*value)),
        FieldValue::Float(_) | FieldValue::Boolean(_) | FieldValue::String(_) => None,
    }
}

/// `value` as a value of type `wanted`, where numbers become numbers; else `None`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut to the nearest integer towards zero that there is"
)]
pub fn cast(value: &FieldValue, wanted: FieldType) -> Option<FieldValue> {
    if value.field_type() == wanted {
        return Some(value.clone());
    }
    match wanted {
        FieldType::Float => as_float(value).map(FieldValue::Float),
        FieldType::Integer => match value {
            FieldValue::Float(value) => Some(FieldValue::Integer(*value as i64)),
            FieldValue::Unsigned(value) => Some(FieldValue::Integer(value.cast_signed())),
            FieldValue::Integer(_) | FieldValue::Boolean(_) | FieldValue::String(_) => None,
        },
        FieldType::Unsigned => match value {
            FieldValue::Float(value) => Some(FieldValue::Unsigned(*value as u64)),
            FieldValue::Integer(value) => Some(FieldValue::Unsigned(value.cast_unsigned())),
            FieldValue::Unsigned(_) | FieldValue::Boolean(_) | FieldValue::String(_) => None,
        },
        FieldType::Boolean | FieldType::String => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT: fn(i64) -> FieldValue = FieldValue::Integer;
    const FLOAT: fn(f64) -> FieldValue = FieldValue::Float;

    #[test]
    fn integers_stay_exact_and_division_gives_a_float() {
        let big = INT(9_007_199_254_740_993);
        assert_eq!(
            Arithmetic::Add.apply(&big, &INT(1)),
            Some(INT(9_007_199_254_740_994))
        );
        assert_eq!(Arithmetic::Divide.apply(&INT(7), &INT(2)), Some(FLOAT(3.5)));
        assert_eq!(Arithmetic::Divide.apply(&INT(7), &INT(0)), Some(FLOAT(0.0)));
        assert_eq!(Arithmetic::Modulo.apply(&INT(7), &INT(0)), Some(INT(0)));
    }

    #[test]
    fn unsigned_and_signed_meet_exactly() {
        let max = FieldValue::Unsigned(u64::MAX);
        assert_eq!(
            Arithmetic::Subtract.apply(&max, &INT(1)),
            Some(FieldValue::Unsigned(u64::MAX - 1))
        );
        assert!(Comparison::Greater.holds(&max, &INT(i64::MAX)));
        assert!(Comparison::Less.holds(&INT(-1), &FieldValue::Unsigned(0)));
    }

    #[test]
    fn numbers_together_compare_as_each_alone() {
        let floats = [0.0, -0.0, 1.5, -7.0, f64::NAN, f64::INFINITY, 1e300];
        let integers = [0, 1, -7, i64::MAX, i64::MIN, (1 << 53) + 1];
        let unsigned = [0, 1, u64::MAX, 1 << 63];
        let columns = [
            Values::Float(floats.to_vec()),
            Values::Integer(integers.to_vec()),
            Values::Unsigned(unsigned.to_vec()),
        ];
        let bounds: Vec<FieldValue> = (floats.map(FieldValue::Float).into_iter())
            .chain(integers.map(FieldValue::Integer))
            .chain(unsigned.map(FieldValue::Unsigned))
            .collect();
        let mut known = 0;
        for operator in [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessEqual,
            Comparison::Greater,
            Comparison::GreaterEqual,
        ] {
            for (column, bound) in columns
                .iter()
                .flat_map(|one| bounds.iter().map(move |bound| (one, bound)))
            {
                let Some(each) = operator.holds_each(column, bound) else {
                    continue;
                };
                known += each.len();
                for (at, holds) in each.into_iter().enumerate() {
                    let value = column.get(at);
                    assert_eq!(
                        holds,
                        operator.holds(&value, bound),
                        "{value:?} {operator:?} {bound:?}"
                    );
                }
            }
        }
        assert!(known > 800, "{known} comparisons");
    }

    #[test]
    fn booleans_have_bits_only_and_strings_nothing() {
        let (yes, no) = (FieldValue::Boolean(true), FieldValue::Boolean(false));
        assert_eq!(Arithmetic::BitXor.apply(&yes, &no), Some(yes.clone()));
        assert_eq!(Arithmetic::Add.apply(&yes, &no), None);
        let text = FieldValue::String(b"x"[..].into());
        assert_eq!(Arithmetic::Add.apply(&text, &INT(1)), None);
        assert!(!Comparison::NotEqual.holds(&text, &INT(1)));
    }

    #[test]
    fn casts_cut_floats_and_refuse_words() {
        assert_eq!(cast(&FLOAT(-2.9), FieldType::Integer), Some(INT(-2)));
        assert_eq!(cast(&INT(3), FieldType::Float), Some(FLOAT(3.0)));
        assert_eq!(cast(&FieldValue::Boolean(true), FieldType::Integer), None);
    }
}
