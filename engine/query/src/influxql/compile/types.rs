//! Types of selected expressions, and the words for those that do not fit.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of expression mean something here; every other is treated alike"
)]

use silverback_storage::model::FieldType;

use crate::functions::math::MathFunction;
use crate::influxql::ast::{BinaryOp, Cast, Expr, ExprKind};
use crate::influxql::compile::build::Builder;
use crate::plan::VariableKind;
use crate::result::QueryError;

impl Builder<'_> {
    /// The type of a selected expression.
    ///
    /// # Errors
    /// `Statement` where an operator stands between types that it does not join.
    pub(super) fn kind(&self, expr: &Expr) -> Result<VariableKind, QueryError> {
        Ok(match &expr.kind {
            ExprKind::Variable { name, cast } => self.variables[self.slot(name, *cast)].kind,
            ExprKind::Number(_) => VariableKind::Field(FieldType::Float),
            ExprKind::Integer(_) | ExprKind::Duration(_) | ExprKind::Time(_) => {
                VariableKind::Field(FieldType::Integer)
            }
            ExprKind::Unsigned(_) => VariableKind::Field(FieldType::Unsigned),
            ExprKind::String(_) => VariableKind::Field(FieldType::String),
            ExprKind::Boolean(_) => VariableKind::Field(FieldType::Boolean),
            ExprKind::Paren(inner) => self.kind(inner)?,
            ExprKind::Binary { op, left, right } => {
                let (a, b) = (self.kind(left)?, self.kind(right)?);
                let Some(kind) = combined(*op, a, b) else {
                    return Err(QueryError::statement(format!(
                        "type error: {}: incompatible types: {} and {}",
                        self.annotated(expr),
                        kind_name(a),
                        kind_name(b)
                    )));
                };
                kind
            }
            ExprKind::Call { name, args } => match MathFunction::named(name) {
                Some(function) => self.math_kind(function, args)?,
                None => self.call_kind(name, args)?,
            },
            ExprKind::Distinct(name) => self.variables[self.slot(name, None)].kind,
            ExprKind::Wildcard(_) | ExprKind::Regex(_) | ExprKind::List(_) => VariableKind::Unknown,
        })
    }

    /// `expr` with the types of its names written behind them.
    fn annotated(&self, expr: &Expr) -> Expr {
        let kind = match &expr.kind {
            ExprKind::Variable { name, cast } => ExprKind::Variable {
                name: name.clone(),
                cast: match self.variables[self.slot(name, *cast)].kind {
                    VariableKind::Field(FieldType::Float) => Some(Cast::Float),
                    VariableKind::Field(FieldType::Integer) => Some(Cast::Integer),
                    VariableKind::Field(FieldType::Unsigned) => Some(Cast::Unsigned),
                    VariableKind::Field(FieldType::String) => Some(Cast::String),
                    VariableKind::Field(FieldType::Boolean) => Some(Cast::Boolean),
                    VariableKind::Tag => Some(Cast::Tag),
                    VariableKind::Unknown => *cast,
                },
            },
            ExprKind::Binary { op, left, right } => ExprKind::Binary {
                op: *op,
                left: Box::new(self.annotated(left)),
                right: Box::new(self.annotated(right)),
            },
            ExprKind::Paren(inner) => ExprKind::Paren(Box::new(self.annotated(inner))),
            ExprKind::Call { name, args } => ExprKind::Call {
                name: name.clone(),
                args: args.iter().map(|arg| self.annotated(arg)).collect(),
            },
            other => other.clone(),
        };
        Expr {
            kind,
            span: expr.span,
        }
    }

    fn math_kind(&self, function: MathFunction, args: &[Expr]) -> Result<VariableKind, QueryError> {
        let mut kind = VariableKind::Unknown;
        for arg in args.iter().rev() {
            kind = self.kind(arg)?;
        }
        if function.keeps_type() || kind == VariableKind::Unknown {
            return Ok(kind);
        }
        Ok(VariableKind::Field(FieldType::Float))
    }

    fn call_kind(&self, name: &str, args: &[Expr]) -> Result<VariableKind, QueryError> {
        let call = self.call(name, args)?;
        Ok(match self.variables[call.variable].kind {
            VariableKind::Field(_) => VariableKind::Field(call.output),
            VariableKind::Tag | VariableKind::Unknown => VariableKind::Unknown,
        })
    }
}

/// The type of `a op b`; `None` where there is no such operation.
fn combined(op: BinaryOp, a: VariableKind, b: VariableKind) -> Option<VariableKind> {
    use FieldType::{Boolean, Float, Integer, Unsigned};
    let (VariableKind::Field(x), VariableKind::Field(y)) = (a, b) else {
        let tag = a == VariableKind::Tag || b == VariableKind::Tag;
        let unknown = a == VariableKind::Unknown || b == VariableKind::Unknown;
        return (unknown || !tag).then_some(VariableKind::Unknown);
    };
    let number = |kind| matches!(kind, Float | Integer | Unsigned);
    let bits = matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor);
    let kind = match (x, y) {
        (Boolean, Boolean) if bits => Boolean,
        (Float, _) | (_, Float) if bits => return None,
        _ if !number(x) || !number(y) => return None,
        _ if op == BinaryOp::Divide => Float,
        (Float, _) | (_, Float) => Float,
        (Unsigned, Unsigned) => Unsigned,
        _ => Integer,
    };
    Some(VariableKind::Field(kind))
}

fn kind_name(kind: VariableKind) -> &'static str {
    match kind {
        VariableKind::Field(field_type) => field_type.name(),
        VariableKind::Tag => "tag",
        VariableKind::Unknown => "unknown",
    }
}
