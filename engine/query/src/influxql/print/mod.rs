//! Trees back to text, as `InfluxDB` words it in messages. What is printed parses to an equal tree,
//! save for passwords, which are not shown.

mod statement;

use std::fmt::{self, Display, Formatter};

use crate::influxql::ast::{
    BinaryOp, Expr, ExprKind, Field, Fill, Measurement, Name, Regex, Select, Selector, Source,
    WildcardKind,
};
use crate::influxql::duration::duration_text;
use crate::influxql::lexer::{is_ident_char, is_ident_start};
use crate::influxql::token::keyword;
use crate::output::time_text;

/// Whether `name` can stand without quotes.
pub(crate) fn is_plain_ident(name: &str) -> bool {
    name.chars().next().is_some_and(is_ident_start)
        && name.chars().all(is_ident_char)
        && keyword(name).is_none()
}

/// `name` as a name is written, in quotes where they are needed or `quoted`.
pub(crate) fn ident_text(name: &str, quoted: bool) -> String {
    if !quoted && is_plain_ident(name) {
        return name.into();
    }
    format!("\"{}\"", escape(name, '"'))
}

/// `text` as a string is written.
pub(crate) fn string_text(text: &str) -> String {
    format!("'{}'", escape(text, '\''))
}

fn escape(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            ch if ch == quote => out.extend(['\\', ch]),
            ch => out.push(ch),
        }
    }
    out
}

fn ident(name: &Name) -> String {
    ident_text(&name.to_text(), false)
}

fn regex_text(regex: &Regex) -> String {
    format!("/{}/", regex.source().replace('/', "\\/"))
}

/// A measurement with its database and policy where they are written.
pub(crate) fn measurement_text(measurement: &Measurement) -> String {
    let mut out = String::new();
    if let Some(database) = &measurement.database {
        out.push_str(&ident(database));
        out.push('.');
    }
    if let Some(policy) = &measurement.policy {
        out.push_str(&ident(policy));
    }
    if measurement.policy.is_some() || measurement.database.is_some() {
        out.push('.');
    }
    match &measurement.selector {
        Selector::Name(name) => out.push_str(&ident(name)),
        Selector::Regex(regex) => out.push_str(&regex_text(regex)),
        Selector::SameName => out.push_str(":MEASUREMENT"),
    }
    out
}

fn list<T>(out: &mut Formatter<'_>, items: &[T], show: impl Fn(&T) -> String) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.write_str(", ")?;
        }
        out.write_str(&show(item))?;
    }
    Ok(())
}

impl Display for Measurement {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&measurement_text(self))
    }
}

impl Display for Source {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Source::Measurement(measurement) => measurement.fmt(out),
            Source::Subquery(select) => write!(out, "({select})"),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.kind.fmt(out)
    }
}

impl Display for ExprKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ExprKind::Binary { op, left, right } => binary(out, *op, left, right),
            ExprKind::Call { name, args } => {
                write!(out, "{name}(")?;
                list(out, args, Expr::to_string)?;
                out.write_str(")")
            }
            ExprKind::Variable { name, cast } => {
                out.write_str(&ident(name))?;
                match cast {
                    Some(cast) => write!(out, "::{}", cast.text()),
                    None => Ok(()),
                }
            }
            ExprKind::Number(value) => write!(out, "{}", number_text(*value)),
            ExprKind::Integer(value) => write!(out, "{value}"),
            ExprKind::Unsigned(value) => write!(out, "{value}"),
            ExprKind::String(text) => out.write_str(&string_text(text)),
            ExprKind::Boolean(value) => write!(out, "{value}"),
            ExprKind::Duration(ns) => out.write_str(&duration_text(*ns)),
            ExprKind::Time(ns) => write!(out, "'{}'", time_text(*ns, None)),
            ExprKind::Regex(regex) => out.write_str(&regex_text(regex)),
            ExprKind::List(texts) => {
                out.write_str("(")?;
                list(out, texts, |text| string_text(text))?;
                out.write_str(")")
            }
            ExprKind::Wildcard(None) => out.write_str("*"),
            ExprKind::Wildcard(Some(WildcardKind::Field)) => out.write_str("*::field"),
            ExprKind::Wildcard(Some(WildcardKind::Tag)) => out.write_str("*::tag"),
            ExprKind::Distinct(name) => write!(out, "DISTINCT {}", ident(name)),
            ExprKind::Paren(inner) => write!(out, "({inner})"),
        }
    }
}

/// Always with a dot, so that it is not read as an integer.
fn number_text(value: f64) -> String {
    let text = format!("{value}");
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

fn binary(out: &mut Formatter<'_>, op: BinaryOp, left: &Expr, right: &Expr) -> fmt::Result {
    operand(out, left, op.precedence())?;
    write!(out, " {} ", op.text())?;
    match signed(right) {
        // `2 / -1 * x` would be read as `(2 / -1) * x`.
        Some((sign, inner)) if op.precedence() == BinaryOp::Multiply.precedence() => {
            write!(out, "{sign}{inner}")
        }
        // `AND` and `OR` are associative, and their trees balanced.
        _ if op.is_logical() => operand(out, right, op.precedence()),
        _ => operand(out, right, op.precedence() + 1),
    }
}

/// In brackets if it binds looser than `precedence`; the parser makes no such tree, rewriting may.
fn operand(out: &mut Formatter<'_>, expr: &Expr, precedence: u8) -> fmt::Result {
    if matches!(&expr.kind, ExprKind::Binary { op, .. } if op.precedence() < precedence) {
        return write!(out, "({expr})");
    }
    expr.fmt(out)
}

/// The sign and what follows it, of an expression that the parser made from `-x` or `+x`.
fn signed(expr: &Expr) -> Option<(char, &Expr)> {
    let ExprKind::Binary {
        op: BinaryOp::Multiply,
        left,
        right,
    } = &expr.kind
    else {
        return None;
    };
    let ExprKind::Integer(factor @ (1 | -1)) = left.kind else {
        return None;
    };
    let sign = if factor < 0 { '-' } else { '+' };
    let simple = matches!(
        right.kind,
        ExprKind::Variable { .. } | ExprKind::Call { .. } | ExprKind::Paren(_)
    );
    simple.then_some((sign, &**right))
}

impl Display for Field {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(out)?;
        match &self.alias {
            Some(alias) => write!(out, " AS {}", ident(alias)),
            None => Ok(()),
        }
    }
}

impl Display for Select {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("SELECT ")?;
        list(out, &self.fields, Field::to_string)?;
        if let Some(target) = &self.target {
            write!(out, " INTO {target}")?;
        }
        out.write_str(" FROM ")?;
        list(out, &self.sources, Source::to_string)?;
        tail(out, self.condition.as_ref(), &self.dimensions)?;
        match self.fill {
            Fill::Null => {}
            Fill::None => out.write_str(" fill(none)")?,
            Fill::Number(value) => write!(out, " fill({})", number_text(value))?,
            Fill::Integer(value) => write!(out, " fill({value})")?,
            Fill::Previous => out.write_str(" fill(previous)")?,
            Fill::Linear => out.write_str(" fill(linear)")?,
        }
        let counts = [self.limit, self.offset, self.slimit, self.soffset];
        order_and_counts(out, self.descending, counts)?;
        match &self.zone {
            Some(zone) => write!(out, " TZ({})", string_text(&zone.name)),
            None => Ok(()),
        }
    }
}

fn tail(out: &mut Formatter<'_>, condition: Option<&Expr>, dimensions: &[Expr]) -> fmt::Result {
    if let Some(condition) = condition {
        write!(out, " WHERE {condition}")?;
    }
    if !dimensions.is_empty() {
        out.write_str(" GROUP BY ")?;
        list(out, dimensions, Expr::to_string)?;
    }
    Ok(())
}

fn order_and_counts(out: &mut Formatter<'_>, descending: bool, counts: [u64; 4]) -> fmt::Result {
    if descending {
        out.write_str(" ORDER BY time DESC")?;
    }
    for (word, count) in ["LIMIT", "OFFSET", "SLIMIT", "SOFFSET"].iter().zip(counts) {
        if count > 0 {
            write!(out, " {word} {count}")?;
        }
    }
    Ok(())
}
