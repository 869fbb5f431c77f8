//! `WHERE`: what an index can answer, and what is asked of each row.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of expression mean something here; every other is treated alike"
)]

use std::sync::Arc;

use silverback_storage::model::{FieldValue, TagPredicate};

use crate::functions::arithmetic::{Arithmetic, Comparison};
use crate::functions::math::MathFunction;
use crate::influxql::ast::{BinaryOp, Cast, Expr, ExprKind, Name};
use crate::influxql::compile::build::Builder;
use crate::influxql::compile::scope::{Filter, Origin};
use crate::influxql::condition::{conjuncts, tag_predicate};
use crate::plan::VariableKind;
use crate::plan::expr::Expr as PlanExpr;
use crate::result::QueryError;

/// The names in a condition.
///
/// # Errors
/// `Statement` for a call that gives no value for a row.
pub(super) fn condition_variables(
    condition: Option<&Expr>,
) -> Result<Vec<(Name, Option<Cast>)>, QueryError> {
    let mut names = Vec::new();
    if let Some(condition) = condition {
        collect(condition, &mut names)?;
    }
    Ok(names)
}

fn collect(expr: &Expr, names: &mut Vec<(Name, Option<Cast>)>) -> Result<(), QueryError> {
    match &expr.kind {
        ExprKind::Variable { name, cast } => names.push((name.clone(), *cast)),
        ExprKind::Binary { left, right, .. } => {
            collect(left, names)?;
            collect(right, names)?;
        }
        ExprKind::Paren(inner) => collect(inner, names)?,
        ExprKind::Call { name, args } => {
            let function = MathFunction::named(name);
            if function.is_none_or(|function| function.argument_count() != args.len()) {
                return Err(QueryError::statement(format!(
                    "invalid function call in condition: {expr}"
                )));
            }
            for arg in args {
                collect(arg, names)?;
            }
        }
        _ => {}
    }
    Ok(())
}

impl Builder<'_> {
    /// The filter of each source.
    ///
    /// # Errors
    /// `Statement` for what is no condition.
    pub(super) fn filters(&self, condition: Option<&Expr>) -> Result<Vec<Filter>, QueryError> {
        self.scope
            .origins()
            .map(|origin| self.filter(condition, origin))
            .collect()
    }

    fn filter(&self, condition: Option<&Expr>, origin: &Origin) -> Result<Filter, QueryError> {
        let mut tags = Vec::new();
        let mut rest: Option<PlanExpr> = None;
        for part in condition.map(conjuncts).unwrap_or_default() {
            let predicate = match origin {
                Origin::Measurement { .. } => tag_predicate(part, &|name| {
                    matches!(origin.kind(name), VariableKind::Field(_))
                }),
                Origin::Subquery(_) => None,
            };
            if let Some(predicate) = predicate {
                tags.push(predicate);
                continue;
            }
            let own = self.condition(part)?;
            rest = Some(match rest {
                Some(rest) => PlanExpr::And(Box::new(rest), Box::new(own)),
                None => own,
            });
        }
        let predicate = match tags.len() {
            0 => TagPredicate::All,
            1 => tags.swap_remove(0),
            _ => TagPredicate::And(tags),
        };
        Ok(Filter { predicate, rest })
    }

    fn condition(&self, expr: &Expr) -> Result<PlanExpr, QueryError> {
        Ok(match &expr.kind {
            ExprKind::Variable { name, cast } => match self.condition_slot(name, *cast) {
                Some(slot) => PlanExpr::Slot(slot),
                None => PlanExpr::Constant(None),
            },
            ExprKind::Number(value) => constant(FieldValue::Float(*value)),
            ExprKind::Integer(value) | ExprKind::Duration(value) | ExprKind::Time(value) => {
                constant(FieldValue::Integer(*value))
            }
            ExprKind::Unsigned(value) => constant(FieldValue::Unsigned(*value)),
            ExprKind::String(value) => constant(FieldValue::String(value.as_bytes().into())),
            ExprKind::Boolean(value) => constant(FieldValue::Boolean(*value)),
            ExprKind::Paren(inner) => self.condition(inner)?,
            ExprKind::Binary { op, left, right } => self.binary(*op, left, right)?,
            ExprKind::Call { name, args } => {
                let Some(function) = MathFunction::named(name) else {
                    return Err(no_condition(expr));
                };
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(self.condition(arg)?);
                }
                PlanExpr::Math(function, values)
            }
            ExprKind::Regex(_)
            | ExprKind::List(_)
            | ExprKind::Wildcard(_)
            | ExprKind::Distinct(_) => return Err(no_condition(expr)),
        })
    }

    fn binary(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<PlanExpr, QueryError> {
        let own = Box::new(self.condition(left)?);
        if let ExprKind::Regex(regex) = &right.kind {
            return Ok(PlanExpr::Matches {
                value: own,
                matcher: Arc::new(regex.clone()),
                negated: op == BinaryOp::NotMatches,
            });
        }
        let other = Box::new(self.condition(right)?);
        let compare = |comparison| PlanExpr::Compare(comparison, own.clone(), other.clone());
        let compute = |operator| PlanExpr::Arithmetic(operator, own.clone(), other.clone());
        Ok(match op {
            BinaryOp::Or => PlanExpr::Or(own, other),
            BinaryOp::And => PlanExpr::And(own, other),
            BinaryOp::Equal => compare(Comparison::Equal),
            BinaryOp::NotEqual => compare(Comparison::NotEqual),
            BinaryOp::Less => compare(Comparison::Less),
            BinaryOp::LessEqual => compare(Comparison::LessEqual),
            BinaryOp::Greater => compare(Comparison::Greater),
            BinaryOp::GreaterEqual => compare(Comparison::GreaterEqual),
            BinaryOp::Add => compute(Arithmetic::Add),
            BinaryOp::Subtract => compute(Arithmetic::Subtract),
            BinaryOp::Multiply => compute(Arithmetic::Multiply),
            BinaryOp::Divide => compute(Arithmetic::DivideWhole),
            BinaryOp::Modulo => compute(Arithmetic::Modulo),
            BinaryOp::BitAnd => compute(Arithmetic::BitAnd),
            BinaryOp::BitOr => compute(Arithmetic::BitOr),
            BinaryOp::BitXor => compute(Arithmetic::BitXor),
            // A test without a regular expression passes nothing.
            BinaryOp::Matches | BinaryOp::NotMatches => PlanExpr::boolean(false),
        })
    }
}

fn constant(value: FieldValue) -> PlanExpr {
    PlanExpr::Constant(Some(value))
}

fn no_condition(expr: &Expr) -> QueryError {
    QueryError::statement(format!("invalid condition expression: {expr}"))
}
