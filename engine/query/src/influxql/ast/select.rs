//! `SELECT` and its sources.

use jiff::tz::TimeZone;

use crate::influxql::ast::{Expr, Name, Regex, Span};

/// `SELECT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// What is selected; never empty.
    pub fields: Vec<Field>,
    /// `INTO`.
    pub target: Option<Measurement>,
    /// `FROM`; never empty.
    pub sources: Vec<Source>,
    /// `WHERE`.
    pub condition: Option<Expr>,
    /// `GROUP BY`, as written: calls of `time`, variables, wildcards, regular expressions, and what
    /// else stands there (which is an error only when the statement is run).
    pub dimensions: Vec<Expr>,
    /// `fill(...)`; `Fill::Null` where absent.
    pub fill: Fill,
    /// `ORDER BY time DESC`.
    pub descending: bool,
    /// `LIMIT`; 0 = none.
    pub limit: u64,
    /// `OFFSET`.
    pub offset: u64,
    /// `SLIMIT`; 0 = none.
    pub slimit: u64,
    /// `SOFFSET`.
    pub soffset: u64,
    /// `tz('...')`.
    pub zone: Option<Zone>,
    /// The whole statement.
    pub span: Span,
}

/// One selected expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The expression; a regular expression only by itself.
    pub expr: Expr,
    /// `AS`.
    pub alias: Option<Name>,
}

/// Where `SELECT` reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A measurement, or all whose names match.
    Measurement(Measurement),
    /// `(SELECT ...)`; its `target` is `None`.
    Subquery(Box<Select>),
}

/// `db.rp.m`, `db.rp./re/`, or as a target `db.rp.:MEASUREMENT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Database; `None` where not written: the query's own.
    pub database: Option<Name>,
    /// Policy; `None` where not written: the default.
    pub policy: Option<Name>,
    /// Which one or which ones.
    pub selector: Selector,
    /// Where it stands.
    pub span: Span,
}

/// Names one measurement or several.
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// The one of this name.
    Name(Name),
    /// All that match.
    Regex(Regex),
    /// In a target: `:MEASUREMENT`, the name of each source.
    SameName,
}

/// A time zone with the name it was asked by.
#[derive(Clone, Debug)]
pub struct Zone {
    /// As written.
    pub name: Box<str>,
    /// Its rules.
    pub zone: TimeZone,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What an empty window of `GROUP BY time` shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Null; `count` 0. Also where no fill is written.
    Null,
    /// No row.
    None,
    /// This number.
    Number(f64),
    /// This integer.
    Integer(i64),
    /// The value before it in the output.
    Previous,
    /// On the line between its neighbours.
    Linear,
}
