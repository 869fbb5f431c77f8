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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::influxql::parse_expression;

    const NOW: i64 = 1_700_000_000_000_000_000;
    const SECOND: i64 = 1_000_000_000;

    fn split(text: &str, zone: Option<&str>) -> Result<Condition, String> {
        let zone = zone.map(|name| TimeZone::get(name).unwrap());
        let expr = parse_expression(text).unwrap();
        split_condition(Some(&expr), NOW, zone.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn times_are_intersected_and_the_rest_is_left() {
        for (text, start, end, rest) in [
            ("time > 5 AND host = 'a'", 6, i64::MAX, "host = 'a'"),
            (
                "time > 5s OR time <= 9s",
                5 * SECOND + 1,
                9 * SECOND + 1,
                "",
            ),
            ("(time = 7) AND (a = 1 OR time < 8)", 7, 8, "(a = 1)"),
            ("time >= 9 AND time < 3", 9, 9, ""),
            ("5 < time", 6, i64::MAX, ""),
            ("5 > time AND 3 <= time", 3, 5, ""),
            ("5 >= time", TIMESTAMP_MIN, 6, ""),
            ("now() - 1m <= TIME", NOW - 60 * SECOND, i64::MAX, ""),
            ("time < '1970-01-02'", TIMESTAMP_MIN, 86_400 * SECOND, ""),
            (
                "time >= '1970-01-01 00:00:01.5' + 1s",
                2_500_000_000,
                i64::MAX,
                "",
            ),
            ("time >= '1970-01-01T02:00:00+02:00'", 0, i64::MAX, ""),
            ("time < 2 * (3 + 4.0)", TIMESTAMP_MIN, 14, ""),
            (
                "1 + 1 = 2 AND usage > 3 - 1",
                TIMESTAMP_MIN,
                i64::MAX,
                "true AND usage > 2",
            ),
        ] {
            let condition = split(text, None).unwrap();
            assert_eq!(condition.range, TimeRange { start, end }, "{text}");
            let left = condition.rest.map(|rest| rest.to_string());
            assert_eq!(left.unwrap_or_default(), rest, "{text}");
        }
        let berlin = split("time >= '1970-01-01'", Some("Europe/Berlin")).unwrap();
        assert_eq!(berlin.range.start, -3_600 * SECOND);
        assert!(berlin.has_start && !berlin.has_end);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_the_words_of_influxdb() {
        for (text, error) in [
            ("time != 5", "invalid time comparison operator: !="),
            (
                "time > 'abc'",
                "invalid operation: time and *influxql.StringLiteral are not compatible",
            ),
            ("time > '2020-09-13T12:26:40'", "invalid timestamp string"),
            ("time > '2020-13-45'", "invalid timestamp string"),
            (
                "time > true",
                "invalid operation: time and *influxql.BooleanLiteral are not compatible",
            ),
            (
                "time > usage",
                "invalid operation: time and *influxql.VarRef are not compatible",
            ),
            (
                "time =~ /x/",
                "invalid operation: time and *influxql.RegexLiteral are not compatible",
            ),
            (
                "time > foo()",
                "invalid operation: time and *influxql.Call are not compatible",
            ),
            (
                "time > now() + 'x'",
                "invalid operation: time and *influxql.BinaryExpr are not compatible",
            ),
            (
                "time > 9223372036854775808",
                "invalid operation: time and *influxql.UnsignedLiteral are not compatible",
            ),
            (
                "time >= '2263-04-11T23:47:16Z'",
                "time 2263-04-11T23:47:16Z overflows time literal",
            ),
            (
                "time >= '1500-04-11T00:00:00Z'",
                "time 1500-04-11T00:00:00Z underflows time literal",
            ),
            ("up", "invalid condition expression: up"),
            ("a = 1 AND 5", "invalid condition expression: 5"),
            ("1 + 1", "invalid condition expression: 2"),
            ("foo()", "invalid condition expression: foo()"),
        ] {
            assert_eq!(split(text, None).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn conditions_on_tags_become_predicates() {
        let is_field = |name: &Name| &**name == b"usage";
        let tags = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into()));
            silverback_storage::model::TagSet::new(pairs.collect()).unwrap()
        };
        let ax = tags(&[("dc", "x"), ("host", "a")]);
        let c = tags(&[("host", "c")]);
        for (text, holds_ax, holds_c) in [
            ("host = 'a'", true, false),
            ("'a' != host", false, true),
            ("dc = ''", false, true),
            ("dc !~ /./ OR host =~ /^a$/", true, true),
            ("(host = 'a' AND dc = 'y') OR false", false, false),
            ("host != dc", true, true),
            ("usage::tag = '' AND true", true, true),
        ] {
            let expr = parse_expression(text).unwrap();
            let predicate = tag_predicate(&expr, &is_field).unwrap();
            assert_eq!(predicate.holds(&ax), holds_ax, "{text} on a");
            assert_eq!(predicate.holds(&c), holds_c, "{text} on c");
        }
        for text in [
            "usage = 'x'",
            "host = 5",
            "host > 'a'",
            "host::field = 'a'",
            "host = usage",
        ] {
            let expr = parse_expression(text).unwrap();
            assert!(tag_predicate(&expr, &is_field).is_none(), "{text}");
        }
    }
}
