//! Scalar mathematics: one value of a row to another.

use silverback_storage::model::FieldValue;

use crate::functions::as_float;

/// A function of one or two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MathFunction {
    /// Distance from zero; keeps the type.
    Abs,
    /// Arc cosine.
    Acos,
    /// Arc sine.
    Asin,
    /// Arc tangent.
    Atan,
    /// Arc tangent of a quotient, in its quadrant.
    Atan2,
    /// Next whole number above; keeps the type.
    Ceil,
    /// Cosine.
    Cos,
    /// Power of e.
    Exp,
    /// Next whole number below; keeps the type.
    Floor,
    /// Natural logarithm.
    Ln,
    /// Logarithm to a base.
    Log,
    /// Logarithm to base 2.
    Log2,
    /// Logarithm to base 10.
    Log10,
    /// First to the power of the second.
    Pow,
    /// Nearest whole number, halves away from zero; keeps the type.
    Round,
    /// Sine.
    Sin,
    /// Square root.
    Sqrt,
    /// Tangent.
    Tan,
}

impl MathFunction {
    /// The function called `name`, in lower case.
    pub fn named(name: &str) -> Option<MathFunction> {
        Some(match name {
            "abs" => MathFunction::Abs,
            "acos" => MathFunction::Acos,
            "asin" => MathFunction::Asin,
            "atan" => MathFunction::Atan,
            "atan2" => MathFunction::Atan2,
            "ceil" => MathFunction::Ceil,
            "cos" => MathFunction::Cos,
            "exp" => MathFunction::Exp,
            "floor" => MathFunction::Floor,
            "ln" => MathFunction::Ln,
            "log" => MathFunction::Log,
            "log2" => MathFunction::Log2,
            "log10" => MathFunction::Log10,
            "pow" => MathFunction::Pow,
            "round" => MathFunction::Round,
            "sin" => MathFunction::Sin,
            "sqrt" => MathFunction::Sqrt,
            "tan" => MathFunction::Tan,
            _ => return None,
        })
    }

    /// How many arguments it takes.
    pub fn argument_count(self) -> usize {
        match self {
            MathFunction::Atan2 | MathFunction::Log | MathFunction::Pow => 2,
            MathFunction::Abs
            | MathFunction::Acos
            | MathFunction::Asin
            | MathFunction::Atan
            | MathFunction::Ceil
            | MathFunction::Cos
            | MathFunction::Exp
            | MathFunction::Floor
            | MathFunction::Ln
            | MathFunction::Log2
            | MathFunction::Log10
            | MathFunction::Round
            | MathFunction::Sin
            | MathFunction::Sqrt
            | MathFunction::Tan => 1,
        }
    }

    /// Whether an integer argument gives an integer.
    pub fn keeps_type(self) -> bool {
        matches!(
            self,
            MathFunction::Abs | MathFunction::Ceil | MathFunction::Floor | MathFunction::Round
        )
    }

    /// The function of `arguments`; `None` where one is no number. Out of its domain it is NaN.
    pub fn apply(self, arguments: &[FieldValue]) -> Option<FieldValue> {
        let first = arguments.first()?;
        if self.keeps_type() {
            match first {
                FieldValue::Integer(value) if self == MathFunction::Abs => {
                    return Some(FieldValue::Integer(value.wrapping_abs()));
                }
                FieldValue::Integer(_) | FieldValue::Unsigned(_) => return Some(first.clone()),
                FieldValue::Float(_) | FieldValue::Boolean(_) | FieldValue::String(_) => {}
            }
        }
        let x = as_float(first)?;
        let y = match arguments.get(1) {
            Some(second) => as_float(second)?,
            None => 0.0,
        };
        Some(FieldValue::Float(self.of_floats(x, y)))
    }

    fn of_floats(self, x: f64, y: f64) -> f64 {
        match self {
            MathFunction::Abs => x.abs(),
            MathFunction::Acos => x.acos(),
            MathFunction::Asin => x.asin(),
            MathFunction::Atan => x.atan(),
            MathFunction::Atan2 => x.atan2(y),
            MathFunction::Ceil => x.ceil(),
            MathFunction::Cos => x.cos(),
            MathFunction::Exp => x.exp(),
            MathFunction::Floor => x.floor(),
            MathFunction::Ln => x.ln(),
            MathFunction::Log => x.ln() / y.ln(),
            MathFunction::Log2 => x.log2(),
            MathFunction::Log10 => x.log10(),
            MathFunction::Pow => x.powf(y),
            MathFunction::Round => x.round(),
            MathFunction::Sin => x.sin(),
            MathFunction::Sqrt => x.sqrt(),
            MathFunction::Tan => x.tan(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, arguments: &[FieldValue]) -> Option<FieldValue> {
        let function = MathFunction::named(name).unwrap();
        assert_eq!(function.argument_count(), arguments.len());
        function.apply(arguments)
    }

    #[test]
    fn rounding_keeps_integers_and_goes_away_from_zero() {
        let big = FieldValue::Integer(i64::MAX);
        assert_eq!(of("round", std::slice::from_ref(&big)), Some(big));
        assert_eq!(
            of("round", &[FieldValue::Float(-2.5)]),
            Some(FieldValue::Float(-3.0))
        );
        assert_eq!(
            of("abs", &[FieldValue::Integer(-7)]),
            Some(FieldValue::Integer(7))
        );
        assert_eq!(
            of("floor", &[FieldValue::Float(2.5)]),
            Some(FieldValue::Float(2.0))
        );
    }

    #[test]
    fn two_arguments_and_what_is_no_number() {
        let two = FieldValue::Integer(2);
        assert_eq!(
            of("pow", &[FieldValue::Integer(10), two.clone()]),
            Some(FieldValue::Float(100.0))
        );
        assert_eq!(
            of("log", &[FieldValue::Float(8.0), two]),
            Some(FieldValue::Float(3.0))
        );
        assert_eq!(of("sin", &[FieldValue::Boolean(true)]), None);
    }

    #[test]
    fn out_of_its_domain_it_is_nan() {
        let Some(FieldValue::Float(value)) = of("sqrt", &[FieldValue::Integer(-1)]) else {
            panic!("a number gives a number");
        };
        assert!(value.is_nan());
    }
}
