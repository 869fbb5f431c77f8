//! What a `WHERE` says: a span of time, and a condition on tags and fields that is left.
//!
//! All conditions on `time` are intersected, also those under `OR`: that is what the language
//! means by them. Knows no names but `time`; which variable is a tag is the caller's to say.

use std::sync::Arc;

use jiff::tz::TimeZone;
use silverback_storage::model::{TIMESTAMP_MAX, TIMESTAMP_MIN, TagPredicate, TimeRange};

use crate::influxql::ast::{BinaryOp, Cast, Expr, ExprKind, Name, Regex};
use crate::influxql::fold::{fold, go_type};
use crate::influxql::time::parse_time;
use crate::output::time_text;
use crate::result::QueryError;

/// A `WHERE`, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The times that all conditions on `time` let through, within what a point may carry.
    pub range: TimeRange,
    /// Whether the text bounds the time from below.
    pub has_start: bool,
    /// Whether the text bounds the time from above.
    pub has_end: bool,
    /// What is left: comparisons, `AND`, `OR`, brackets and booleans; constants folded. `None`
    /// where nothing is.
    pub rest: Option<Expr>,
}

impl Condition {
    /// No condition.
    pub fn none() -> Condition {
        Condition {
            range: TimeRange::ALL,
            has_start: false,
            has_end: false,
            rest: None,
        }
    }
}

/// Takes `condition` apart. Times written as text without an offset are in `zone` (UTC where
/// `None`); `now_ns` is `now()`.
///
/// # Errors
/// `Statement`, in `InfluxDB`'s words, where a time makes no sense or an operand is no condition.
pub fn split_condition(
    condition: Option<&Expr>,
    now_ns: i64,
    zone: Option<&TimeZone>,
) -> Result<Condition, QueryError> {
    let mut times = Times {
        now_ns,
        zone,
        first: None,
        last: None,
    };
    let rest = match condition {
        Some(condition) => times.take(condition)?,
        None => None,
    };
    let first = times.first.unwrap_or(TIMESTAMP_MIN).max(TIMESTAMP_MIN);
    let last = times.last.unwrap_or(TIMESTAMP_MAX).min(TIMESTAMP_MAX);
    Ok(Condition {
        range: TimeRange {
            start: first,
            end: last.saturating_add(1).max(first),
        },
        has_start: times.first.is_some(),
        has_end: times.last.is_some(),
        rest,
    })
}

struct Times<'a> {
    now_ns: i64,
    zone: Option<&'a TimeZone>,
    /// Bounds, inclusive.
    first: Option<i64>,
    last: Option<i64>,
}

impl Times<'_> {
    /// What is left of `expr` without its conditions on time.
    fn take(&mut self, expr: &Expr) -> Result<Option<Expr>, QueryError> {
        match &expr.kind {
            ExprKind::Binary { op, left, right } if op.is_logical() => {
                let left = self.take(left)?;
                let right = self.take(right)?;
                Ok(match (left, right) {
                    (Some(left), Some(right)) => Some(Expr {
                        kind: ExprKind::Binary {
                            op: *op,
                            left: Box::new(left),
                            right: Box::new(right),
                        },
                        span: expr.span,
                    }),
                    (left, right) => left.or(right),
                })
            }
            ExprKind::Binary { op, left, right } => {
                if is_time(left) {
                    self.bound(*op, right)?;
                    return Ok(None);
                }
                if is_time(right) {
                    self.bound(mirrored(*op), left)?;
                    return Ok(None);
                }
                let folded = fold(expr, self.now_ns);
                if matches!(folded.kind, ExprKind::Binary { .. } | ExprKind::Boolean(_)) {
                    Ok(Some(folded))
                } else {
                    Err(no_condition(&folded))
                }
            }
            ExprKind::Paren(inner) => Ok(self.take(inner)?.map(|inner| Expr {
                kind: ExprKind::Paren(Box::new(inner)),
                span: expr.span,
            })),
            ExprKind::Boolean(_) => Ok(Some(expr.clone())),
            ExprKind::Call { .. }
            | ExprKind::Variable { .. }
            | ExprKind::Number(_)
            | ExprKind::Integer(_)
            | ExprKind::Unsigned(_)
            | ExprKind::String(_)
            | ExprKind::Duration(_)
            | ExprKind::Time(_)
            | ExprKind::Regex(_)
            | ExprKind::List(_)
            | ExprKind::Wildcard(_)
            | ExprKind::Distinct(_) => Err(no_condition(expr)),
        }
    }

    /// Takes in `time op value`.
    fn bound(&mut self, op: BinaryOp, value: &Expr) -> Result<(), QueryError> {
        let at = self.time_value(value)?;
        let (first, last) = match op {
            BinaryOp::Equal => (Some(at), Some(at)),
            BinaryOp::Greater => (Some(at.saturating_add(1)), None),
            BinaryOp::GreaterEqual => (Some(at), None),
            BinaryOp::Less => (None, Some(at.saturating_sub(1))),
            BinaryOp::LessEqual => (None, Some(at)),
            BinaryOp::Or
            | BinaryOp::And
            | BinaryOp::NotEqual
            | BinaryOp::Matches
            | BinaryOp::NotMatches
            | BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::BitOr
            | BinaryOp::BitXor
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Modulo
            | BinaryOp::BitAnd => {
                let text = format!("invalid time comparison operator: {}", op.text());
                return Err(QueryError::statement(text));
            }
        };
        // The later start and the earlier end stand.
        self.first = self.first.max(first);
        self.last = match (self.last, last) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        Ok(())
    }

    fn time_value(&self, value: &Expr) -> Result<i64, QueryError> {
        let with_times = read_times(value, self.zone)?;
        let folded = fold(&with_times, self.now_ns);
        match folded.kind {
            ExprKind::Time(ns) => {
                if (TIMESTAMP_MIN + 1..=TIMESTAMP_MAX).contains(&ns) {
                    return Ok(ns);
                }
                let how = if ns < 0 { "underflows" } else { "overflows" };
                let text = time_text(ns, None);
                let text = text.split('.').next().unwrap_or_default();
                let text = text.trim_end_matches('Z');
                Err(QueryError::statement(format!(
                    "time {text}Z {how} time literal"
                )))
            }
            ExprKind::Duration(ns) | ExprKind::Integer(ns) => Ok(ns),
            #[expect(clippy::cast_possible_truncation, reason = "a float of ns saturates")]
            ExprKind::Number(ns) => Ok(ns as i64),
            ref other @ (ExprKind::Binary { .. }
            | ExprKind::Call { .. }
            | ExprKind::Variable { .. }
            | ExprKind::Unsigned(_)
            | ExprKind::String(_)
            | ExprKind::Boolean(_)
            | ExprKind::Regex(_)
            | ExprKind::List(_)
            | ExprKind::Wildcard(_)
            | ExprKind::Distinct(_)
            | ExprKind::Paren(_)) => Err(QueryError::statement(format!(
                "invalid operation: time and *influxql.{} are not compatible",
                go_type(other)
            ))),
        }
    }
}

fn no_condition(expr: &Expr) -> QueryError {
    QueryError::statement(format!("invalid condition expression: {expr}"))
}

fn is_time(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Variable { name, .. } if name.eq_ignore_ascii_case(b"time"))
}

fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        BinaryOp::Or
        | BinaryOp::And
        | BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Matches
        | BinaryOp::NotMatches
        | BinaryOp::Add
        | BinaryOp::Subtract
        | BinaryOp::BitOr
        | BinaryOp::BitXor
        | BinaryOp::Multiply
        | BinaryOp::Divide
        | BinaryOp::Modulo
        | BinaryOp::BitAnd => op,
    }
}

/// `expr` with the strings in its sums that look like times read as such.
fn read_times(expr: &Expr, zone: Option<&TimeZone>) -> Result<Expr, QueryError> {
    let kind = match &expr.kind {
        ExprKind::String(text) => match parse_time(text, zone)? {
            Some(ns) => ExprKind::Time(ns),
            None => return Ok(expr.clone()),
        },
        ExprKind::Binary { op, left, right } => ExprKind::Binary {
            op: *op,
            left: Box::new(read_times(left, zone)?),
            right: Box::new(read_times(right, zone)?),
        },
        ExprKind::Paren(inner) => ExprKind::Paren(Box::new(read_times(inner, zone)?)),
        ExprKind::Call { .. }
        | ExprKind::Variable { .. }
        | ExprKind::Number(_)
        | ExprKind::Integer(_)
        | ExprKind::Unsigned(_)
        | ExprKind::Boolean(_)
        | ExprKind::Duration(_)
        | ExprKind::Time(_)
        | ExprKind::Regex(_)
        | ExprKind::List(_)
        | ExprKind::Wildcard(_)
        | ExprKind::Distinct(_) => return Ok(expr.clone()),
    };
    Ok(Expr {
        kind,
        span: expr.span,
    })
}

/// Splits `expr` at its `AND`s, brackets around them taken off: all of the parts must hold.
pub fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    let mut parts = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match &expr.kind {
            ExprKind::Binary {
                op: BinaryOp::And,
                left,
                right,
            } => open.extend([&**right, &**left]),
            ExprKind::Paren(inner) => open.push(inner),
            ExprKind::Binary { .. }
            | ExprKind::Call { .. }
            | ExprKind::Variable { .. }
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
            | ExprKind::Distinct(_) => parts.push(expr),
        }
    }
    parts
}

/// The predicate that `expr` is if it speaks of tags alone, `None` if it speaks of a field or
/// compares what tags are not compared with. `is_field` says which names are fields: a bare
/// name that is both means the field, one that is neither an absent tag.
pub fn tag_predicate(expr: &Expr, is_field: &dyn Fn(&Name) -> bool) -> Option<TagPredicate> {
    match &expr.kind {
        ExprKind::Boolean(true) => Some(TagPredicate::All),
        ExprKind::Boolean(false) => Some(TagPredicate::None),
        ExprKind::Paren(inner) => tag_predicate(inner, is_field),
        ExprKind::Binary { op, left, right } if op.is_logical() => {
            let parts = vec![
                tag_predicate(left, is_field)?,
                tag_predicate(right, is_field)?,
            ];
            Some(if *op == BinaryOp::And {
                TagPredicate::And(parts)
            } else {
                TagPredicate::Or(parts)
            })
        }
        ExprKind::Binary { op, left, right } => compared(*op, left, right, is_field),
        ExprKind::Call { .. }
        | ExprKind::Variable { .. }
        | ExprKind::Number(_)
        | ExprKind::Integer(_)
        | ExprKind::Unsigned(_)
        | ExprKind::String(_)
        | ExprKind::Duration(_)
        | ExprKind::Time(_)
        | ExprKind::Regex(_)
        | ExprKind::List(_)
        | ExprKind::Wildcard(_)
        | ExprKind::Distinct(_) => None,
    }
}

fn compared(
    op: BinaryOp,
    left: &Expr,
    right: &Expr,
    is_field: &dyn Fn(&Name) -> bool,
) -> Option<TagPredicate> {
    let (key, other) = match (tag_of(left, is_field), tag_of(right, is_field)) {
        (Some(a), Some(b)) => {
            let same = TagPredicate::SameValue(a.0.clone(), b.0.clone());
            return signed(op, same, BinaryOp::Equal, BinaryOp::NotEqual);
        }
        (Some(key), None) => (key, right),
        (None, Some(key)) => (key, left),
        (None, None) => return None,
    };
    if let ExprKind::String(value) = &other.kind {
        let equal = TagPredicate::Equal {
            key: key.0.clone(),
            value: value.as_bytes().into(),
        };
        return signed(op, equal, BinaryOp::Equal, BinaryOp::NotEqual);
    }
    if let ExprKind::Regex(regex) = &other.kind {
        let matches = TagPredicate::Matches {
            key: key.0.clone(),
            matcher: Arc::new(regex.clone()),
        };
        return signed(op, matches, BinaryOp::Matches, BinaryOp::NotMatches);
    }
    None
}

/// `predicate` where `op` is `yes`, its contrary where it is `no`.
fn signed(
    op: BinaryOp,
    predicate: TagPredicate,
    yes: BinaryOp,
    no: BinaryOp,
) -> Option<TagPredicate> {
    if op == yes {
        Some(predicate)
    } else if op == no {
        Some(TagPredicate::Not(Box::new(predicate)))
    } else {
        None
    }
}

fn tag_of<'a>(expr: &'a Expr, is_field: &dyn Fn(&Name) -> bool) -> Option<&'a Name> {
    let ExprKind::Variable { name, cast } = &expr.kind else {
        return None;
    };
    match cast {
        Some(Cast::Tag) => Some(name),
        None if !is_field(name) => Some(name),
        None
        | Some(
            Cast::Float
            | Cast::Integer
            | Cast::Unsigned
            | Cast::String
            | Cast::Boolean
            | Cast::Field,
        ) => None,
    }
}

impl silverback_storage::model::ValueMatcher for Regex {
    fn matches(&self, value: &[u8]) -> bool {
        self.is_match(value)
    }

    fn values(&self) -> Option<&[Box<[u8]>]> {
        self.literals()
    }

    fn prefix(&self) -> &[u8] {
        Regex::prefix(self)
    }
}

#[cfg(test)]
mod tests;
