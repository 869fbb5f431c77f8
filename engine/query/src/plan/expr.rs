//! Expressions over the values of one row.

use std::borrow::Cow;
use std::sync::Arc;

use silverback_storage::model::{FieldValue, ValueMatcher};

use crate::functions::arithmetic::{Arithmetic, Comparison};
use crate::functions::math::MathFunction;

/// An expression. Its height is bounded by whoever parsed it.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A value of the row.
    Slot(usize),
    /// A constant; `None` is null.
    Constant(Option<FieldValue>),
    /// A number from two.
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// A function.
    Math(MathFunction, Vec<Expr>),
    /// True or false from two; null compares to nothing.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// Whether a string passes a test.
    Matches {
        /// The string.
        value: Box<Expr>,
        /// The test.
        matcher: Arc<dyn ValueMatcher>,
        /// Whether it must fail the test instead.
        negated: bool,
    },
    /// Both hold.
    And(Box<Expr>, Box<Expr>),
    /// At least one holds.
    Or(Box<Expr>, Box<Expr>),
}

/// The row as an expression sees it: slot `i` is `rows[0][i]`, and behind its end `rows[1]` goes on.
pub type Slots<'a> = [&'a [Option<FieldValue>]; 2];

fn slot<'a>(slots: &Slots<'a>, index: usize) -> Option<&'a FieldValue> {
    let [first, second] = slots;
    match index.checked_sub(first.len()) {
        None => first[index].as_ref(),
        Some(index) => second.get(index)?.as_ref(),
    }
}

impl Expr {
    /// The value on a row; `None` is null.
    pub fn eval<'a>(&'a self, slots: &Slots<'a>) -> Option<Cow<'a, FieldValue>> {
        match self {
            Expr::Slot(index) => slot(slots, *index).map(Cow::Borrowed),
            Expr::Constant(value) => value.as_ref().map(Cow::Borrowed),
            Expr::Arithmetic(operator, left, right) => {
                let (left, right) = (left.eval(slots)?, right.eval(slots)?);
                operator.apply(&left, &right).map(Cow::Owned)
            }
            Expr::Math(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(argument.eval(slots)?.into_owned());
                }
                function.apply(&values).map(Cow::Owned)
            }
            Expr::Compare(..) | Expr::Matches { .. } | Expr::And(..) | Expr::Or(..) => {
                Some(Cow::Owned(FieldValue::Boolean(self.holds(slots))))
            }
        }
    }

    /// Whether the expression is true on a row. Null is not true.
    pub fn holds(&self, slots: &Slots<'_>) -> bool {
        match self {
            Expr::And(left, right) => left.holds(slots) && right.holds(slots),
            Expr::Or(left, right) => left.holds(slots) || right.holds(slots),
            Expr::Compare(operator, left, right) => match (left.eval(slots), right.eval(slots)) {
                (Some(left), Some(right)) => operator.holds(&left, &right),
                _ => false,
            },
            Expr::Matches {
                value,
                matcher,
                negated,
            } => match value.eval(slots).as_deref() {
                Some(FieldValue::String(text)) => matcher.matches(text) != *negated,
                _ => false,
            },
            Expr::Slot(_) | Expr::Constant(_) | Expr::Arithmetic(..) | Expr::Math(..) => {
                matches!(self.eval(slots).as_deref(), Some(FieldValue::Boolean(true)))
            }
        }
    }

    /// Whether any slot passes `test`.
    pub fn any_slot(&self, test: &dyn Fn(usize) -> bool) -> bool {
        match self {
            Expr::Slot(index) => test(*index),
            Expr::Constant(_) => false,
            Expr::Arithmetic(_, left, right)
            | Expr::Compare(_, left, right)
            | Expr::And(left, right)
            | Expr::Or(left, right) => left.any_slot(test) || right.any_slot(test),
            Expr::Math(_, arguments) => arguments.iter().any(|one| one.any_slot(test)),
            Expr::Matches { value, .. } => value.any_slot(test),
        }
    }

    /// The expression where some slots are known: `known` gives their value. What follows from
    /// these alone becomes a constant.
    #[must_use]
    pub fn specialise(&self, known: &dyn Fn(usize) -> Option<Option<FieldValue>>) -> Expr {
        let pair = |left: &Expr, right: &Expr| {
            (
                Box::new(left.specialise(known)),
                Box::new(right.specialise(known)),
            )
        };
        let special = match self {
            Expr::Slot(index) => match known(*index) {
                Some(value) => return Expr::Constant(value),
                None => return self.clone(),
            },
            Expr::Constant(_) => return self.clone(),
            Expr::Arithmetic(operator, left, right) => {
                let (left, right) = pair(left, right);
                Expr::Arithmetic(*operator, left, right)
            }
            Expr::Compare(operator, left, right) => {
                let (left, right) = pair(left, right);
                Expr::Compare(*operator, left, right)
            }
            Expr::Math(function, arguments) => {
                let arguments = arguments.iter().map(|one| one.specialise(known)).collect();
                Expr::Math(*function, arguments)
            }
            Expr::Matches {
                value,
                matcher,
                negated,
            } => Expr::Matches {
                value: Box::new(value.specialise(known)),
                matcher: Arc::clone(matcher),
                negated: *negated,
            },
            Expr::And(left, right) => {
                let (left, right) = pair(left, right);
                return match (left.truth(), right.truth()) {
                    (Some(false), _) | (_, Some(false)) => Expr::boolean(false),
                    (Some(true), _) => *right,
                    (_, Some(true)) => *left,
                    (None, None) => Expr::And(left, right),
                };
            }
            Expr::Or(left, right) => {
                let (left, right) = pair(left, right);
                return match (left.truth(), right.truth()) {
                    (Some(true), _) | (_, Some(true)) => Expr::boolean(true),
                    (Some(false), _) => *right,
                    (_, Some(false)) => *left,
                    (None, None) => Expr::Or(left, right),
                };
            }
        };
        if special.any_slot(&|_| true) {
            return special;
        }
        let value = special.eval(&[&[], &[]]).map(Cow::into_owned);
        Expr::Constant(value)
    }

    /// A constant that is true or false.
    pub fn boolean(value: bool) -> Expr {
        Expr::Constant(Some(FieldValue::Boolean(value)))
    }

    /// Whether a constant holds; `None` for what is no constant.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Expr::Constant(value) => Some(matches!(value, Some(FieldValue::Boolean(true)))),
            Expr::Slot(_)
            | Expr::Arithmetic(..)
            | Expr::Math(..)
            | Expr::Compare(..)
            | Expr::Matches { .. }
            | Expr::And(..)
            | Expr::Or(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: i64) -> Expr {
        Expr::Constant(Some(FieldValue::Integer(value)))
    }

    fn compared(operator: Comparison, index: usize, bound: i64) -> Expr {
        Expr::Compare(
            operator,
            Box::new(Expr::Slot(index)),
            Box::new(integer(bound)),
        )
    }

    fn above(index: usize, bound: i64) -> Expr {
        compared(Comparison::Greater, index, bound)
    }

    #[test]
    fn null_compares_to_nothing() {
        let row = [None, Some(FieldValue::Integer(5))];
        let both: Slots<'_> = [&row[..1], &row[1..]];
        assert!(!above(0, -1).holds(&both));
        assert!(above(1, 4).holds(&both));
        let unequal = compared(Comparison::NotEqual, 0, 1);
        assert!(!unequal.holds(&both));
    }

    #[test]
    fn what_is_known_of_a_series_decides_or_drops_out() {
        let either = Expr::Or(Box::new(above(0, 10)), Box::new(above(1, 10)));
        let known = |value: i64| {
            move |index: usize| (index == 0).then_some(Some(FieldValue::Integer(value)))
        };
        assert_eq!(either.specialise(&known(11)).truth(), Some(true));
        let rest = either.specialise(&known(9));
        assert!(rest.any_slot(&|index| index == 1) && !rest.any_slot(&|index| index == 0));
        let both = Expr::And(Box::new(above(0, 10)), Box::new(above(1, 10)));
        assert_eq!(both.specialise(&known(9)).truth(), Some(false));
    }
}
