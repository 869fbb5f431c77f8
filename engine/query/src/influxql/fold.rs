//! Constants worked out: `now() - 5m`, `3 * 4`, `1 = 1`. What is not constant is left as it is.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few operators work on few pairs; every other is left as it is"
)]

use crate::influxql::ast::{BinaryOp, Expr, ExprKind};

/// `expr` with its constant parts worked out; `now_ns` is `now()`. Integers wrap, a division of
/// integers gives a float, one by zero gives zero.
pub(crate) fn fold(expr: &Expr, now_ns: i64) -> Expr {
    let kind = match &expr.kind {
        ExprKind::Call { name, args } if &**name == "now" && args.is_empty() => {
            ExprKind::Time(now_ns)
        }
        ExprKind::Call { name, args } => ExprKind::Call {
            name: name.clone(),
            args: args.iter().map(|arg| fold(arg, now_ns)).collect(),
        },
        ExprKind::Paren(inner) => {
            let inner = fold(inner, now_ns);
            if matches!(inner.kind, ExprKind::Binary { .. }) {
                ExprKind::Paren(Box::new(inner))
            } else {
                inner.kind
            }
        }
        ExprKind::Binary { op, left, right } => {
            let left = fold(left, now_ns);
            let right = fold(right, now_ns);
            match operate(*op, &left.kind, &right.kind) {
                Some(kind) => kind,
                None => ExprKind::Binary {
                    op: *op,
                    left: Box::new(left),
                    right: Box::new(right),
                },
            }
        }
        ExprKind::Variable { .. }
        | ExprKind::Number(_)
        | ExprKind::Integer(_)
        | ExprKind::Unsigned(_)
        | ExprKind::String(_)
        | ExprKind::Boolean(_)
        | ExprKind::Duration(_)
        | ExprKind::Time(_)
        | ExprKind::Regex(_)
        | ExprKind::List(_)
        | ExprKind::Wildcard(_)
        | ExprKind::Distinct(_) => expr.kind.clone(),
    };
    Expr {
        kind,
        span: expr.span,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an integer meets a float as a float, as the language has it"
)]
fn operate(op: BinaryOp, left: &ExprKind, right: &ExprKind) -> Option<ExprKind> {
    use ExprKind::{Boolean, Duration, Integer, Number, String, Time, Unsigned};
    match (left, right) {
        (Boolean(a), Boolean(b)) => booleans(op, *a, *b),
        (Integer(a), Integer(b)) => integers(op, *a, *b),
        (Integer(a), Number(b)) => numbers(op, *a as f64, *b),
        (Number(a), Integer(b)) => numbers(op, *a, *b as f64),
        (Number(a), Number(b)) => numbers(op, *a, *b),
        (Number(a), Unsigned(b)) => numbers(op, *a, *b as f64),
        (Unsigned(a), Number(b)) => numbers(op, *a as f64, *b),
        (Duration(a) | Integer(a), Duration(b)) => durations(op, *a, *b),
        (Duration(a), Integer(b)) => scaled(op, *a, *b as f64, Some(*b)),
        (Duration(a), Number(b)) => scaled(op, *a, *b, None),
        (Time(a), Duration(b) | Integer(b)) => match op {
            BinaryOp::Add => Some(Time(a.checked_add(*b)?)),
            BinaryOp::Subtract => Some(Time(a.checked_sub(*b)?)),
            _ if op.is_comparison() => compare(op, a, b),
            _ => None,
        },
        (Duration(a) | Integer(a), Time(b)) => match op {
            BinaryOp::Add => Some(Time(a.checked_add(*b)?)),
            _ if op.is_comparison() => compare(op, a, b),
            _ => None,
        },
        (Time(a), Time(b)) => match op {
            BinaryOp::Subtract => Some(Duration(a.checked_sub(*b)?)),
            _ => compare(op, a, b),
        },
        (String(a), String(b)) => match op {
            BinaryOp::Add => Some(String(format!("{a}{b}").into())),
            BinaryOp::Equal => Some(Boolean(a == b)),
            BinaryOp::NotEqual => Some(Boolean(a != b)),
            _ => None,
        },
        _ => None,
    }
}

fn compare<T: PartialOrd>(op: BinaryOp, a: &T, b: &T) -> Option<ExprKind> {
    let holds = match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterEqual => a >= b,
        _ => return None,
    };
    Some(ExprKind::Boolean(holds))
}

fn booleans(op: BinaryOp, a: bool, b: bool) -> Option<ExprKind> {
    let value = match op {
        BinaryOp::And | BinaryOp::BitAnd => a && b,
        BinaryOp::Or | BinaryOp::BitOr => a || b,
        BinaryOp::BitXor | BinaryOp::NotEqual => a != b,
        BinaryOp::Equal => a == b,
        _ => return None,
    };
    Some(ExprKind::Boolean(value))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a division gives a float, as the language has it"
)]
fn integers(op: BinaryOp, a: i64, b: i64) -> Option<ExprKind> {
    let value = match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Subtract => a.wrapping_sub(b),
        BinaryOp::Multiply => a.wrapping_mul(b),
        BinaryOp::Divide => return numbers(op, a as f64, b as f64),
        BinaryOp::Modulo if b == 0 => 0,
        BinaryOp::Modulo => a.wrapping_rem(b),
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitOr => a | b,
        BinaryOp::BitXor => a ^ b,
        _ => return compare(op, &a, &b),
    };
    Some(ExprKind::Integer(value))
}

fn numbers(op: BinaryOp, a: f64, b: f64) -> Option<ExprKind> {
    let value = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide if b == 0.0 => 0.0,
        BinaryOp::Divide => a / b,
        BinaryOp::Modulo => a % b,
        _ => return compare(op, &a, &b),
    };
    Some(ExprKind::Number(value))
}

fn durations(op: BinaryOp, a: i64, b: i64) -> Option<ExprKind> {
    match op {
        BinaryOp::Add => Some(ExprKind::Duration(a.checked_add(b)?)),
        BinaryOp::Subtract => Some(ExprKind::Duration(a.checked_sub(b)?)),
        _ => compare(op, &a, &b),
    }
}

/// A duration times or divided by a number, exactly where that is the integer `whole`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a duration times a float saturates"
)]
fn scaled(op: BinaryOp, ns: i64, factor: f64, whole: Option<i64>) -> Option<ExprKind> {
    let value = match (op, whole) {
        (BinaryOp::Multiply, Some(whole)) => ns.checked_mul(whole)?,
        (BinaryOp::Multiply, None) => (ns as f64 * factor) as i64,
        (BinaryOp::Divide, Some(0)) => 0,
        (BinaryOp::Divide, Some(whole)) => ns.checked_div(whole)?,
        (BinaryOp::Divide, None) if factor == 0.0 => 0,
        (BinaryOp::Divide, None) => (ns as f64 / factor) as i64,
        _ => return None,
    };
    Some(ExprKind::Duration(value))
}

/// What Go's `influxql` calls the node, as its messages do.
pub(crate) fn go_type(kind: &ExprKind) -> &'static str {
    match kind {
        ExprKind::Binary { .. } => "BinaryExpr",
        ExprKind::Call { .. } => "Call",
        ExprKind::Variable { .. } => "VarRef",
        ExprKind::Number(_) => "NumberLiteral",
        ExprKind::Integer(_) => "IntegerLiteral",
        ExprKind::Unsigned(_) => "UnsignedLiteral",
        ExprKind::String(_) => "StringLiteral",
        ExprKind::Boolean(_) => "BooleanLiteral",
        ExprKind::Duration(_) => "DurationLiteral",
        ExprKind::Time(_) => "TimeLiteral",
        ExprKind::Regex(_) => "RegexLiteral",
        ExprKind::List(_) => "ListLiteral",
        ExprKind::Wildcard(_) => "Wildcard",
        ExprKind::Distinct(_) => "Distinct",
        ExprKind::Paren(_) => "ParenExpr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::influxql::parse_expression;

    #[test]
    fn constants_are_worked_out_and_the_rest_is_left() {
        for (text, folded) in [
            ("1 + 2 * 3", "7"),
            ("7 / 2", "3.5"),
            ("7 / 0", "0.0"),
            ("7 % 0", "0"),
            ("(1 + x) * (2 + 3)", "(1 + x) * 5"),
            ("1h + 30m", "90m"),
            ("1h * 1.5 / 2", "45m"),
            ("now() - 1m", "'1970-01-01T00:01:00Z'"),
            ("f(1 + 1, now())", "f(2, '1970-01-01T00:02:00Z')"),
            ("true AND 1 = 1.0", "true"),
            ("'a' + 'b' = 'ab'", "true"),
            ("9223372036854775807 + 1", "-9223372036854775808"),
        ] {
            let expr = parse_expression(text).unwrap();
            assert_eq!(fold(&expr, 120_000_000_000).to_string(), folded, "{text}");
        }
    }
}
