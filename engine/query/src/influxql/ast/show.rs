//! `SHOW`.

use crate::influxql::ast::{Expr, Measurement, Name, Regex, Span};

/// `SHOW`. Clauses that a form of it does not know are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    /// What is shown.
    pub kind: ShowKind,
    /// `ON`.
    pub database: Option<Name>,
    /// `FROM`.
    pub sources: Vec<Measurement>,
    /// `WHERE`.
    pub condition: Option<Expr>,
    /// `GROUP BY`.
    pub dimensions: Vec<Expr>,
    /// `ORDER BY ... DESC`.
    pub descending: bool,
    /// `LIMIT`; 0 = none.
    pub limit: u64,
    /// `OFFSET`.
    pub offset: u64,
    /// `SLIMIT`; 0 = none.
    pub slimit: u64,
    /// `SOFFSET`.
    pub soffset: u64,
    /// The whole statement.
    pub span: Span,
}

/// What `SHOW` shows.
#[derive(Clone, Debug, PartialEq)]
pub enum ShowKind {
    /// `DATABASES`
    Databases,
    /// `MEASUREMENTS [WITH MEASUREMENT ...]`
    Measurements(Option<NameMatch>),
    /// `SERIES`
    Series,
    /// `TAG KEYS`
    TagKeys,
    /// `TAG VALUES WITH KEY ...`
    TagValues(NameMatch),
    /// `FIELD KEYS`
    FieldKeys,
    /// `RETENTION POLICIES`
    RetentionPolicies,
    /// `... CARDINALITY`
    Cardinality {
        /// Of what.
        of: Counted,
        /// `EXACT`.
        exact: bool,
    },
    /// `CONTINUOUS QUERIES`
    ContinuousQueries,
    /// `SUBSCRIPTIONS`
    Subscriptions,
    /// `USERS`
    Users,
    /// `GRANTS FOR user`
    Grants(Name),
    /// `QUERIES`
    Queries,
    /// `SHARDS`
    Shards,
    /// `SHARD GROUPS`
    ShardGroups,
    /// `STATS [FOR 'module']`
    Stats(Option<Box<str>>),
    /// `DIAGNOSTICS [FOR 'module']`
    Diagnostics(Option<Box<str>>),
}

/// What `SHOW ... CARDINALITY` counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    /// Series.
    Series,
    /// Measurements.
    Measurements,
    /// Tag keys.
    TagKeys,
    /// Values of the tag keys that match.
    TagValues(NameMatch),
    /// Fields.
    FieldKeys,
}

/// A test of a name: `WITH MEASUREMENT = m`, `WITH KEY IN (a, b)`.
#[derive(Clone, Debug, PartialEq)]
pub enum NameMatch {
    /// `= name`
    Equal(Name),
    /// `!= name`
    NotEqual(Name),
    /// `=~ /re/`
    Matches(Regex),
    /// `!~ /re/`
    NotMatches(Regex),
    /// `IN (name, ...)`
    In(Vec<Name>),
}

impl NameMatch {
    /// Whether `name` passes.
    pub fn holds(&self, name: &[u8]) -> bool {
        match self {
            NameMatch::Equal(wanted) => **wanted == *name,
            NameMatch::NotEqual(unwanted) => **unwanted != *name,
            NameMatch::Matches(regex) => regex.is_match(name),
            NameMatch::NotMatches(regex) => !regex.is_match(name),
            NameMatch::In(names) => names.iter().any(|one| **one == *name),
        }
    }
}
