//! The tree of an `InfluxQL` text. Plain data: whoever holds it may take it apart and build it anew.
//!
//! Invariants of trees that the parser made: an expression is at most
//! [`EXPRESSION_HEIGHT_MAX`] nodes high and brackets, calls and subqueries together nest at most
//! [`NESTING_MAX`] deep, so that recursive walks, clones and drops need a bounded stack. Chains of
//! `AND` and of `OR` are balanced trees for that reason; their order from left to right is the text's.

mod admin;
mod expr;
mod select;
mod show;

use std::fmt;
use std::ops::Deref;

pub use admin::{
    ContinuousQuery, Deletion, MeasurementChange, PolicyClause, PolicyStatement, Privilege,
    PrivilegeChange,
};
pub use expr::{BinaryOp, Cast, Expr, ExprKind, WildcardKind};
pub use select::{Field, Fill, Measurement, Select, Selector, Source, Zone};
pub use show::{Counted, NameMatch, Show, ShowKind};

pub use crate::influxql::regex::Regex;

/// How deep brackets, calls and subqueries may nest, all counted together.
pub const NESTING_MAX: usize = 128;

/// How many nodes lie on the longest way from an expression to one of its leaves, at most.
pub const EXPRESSION_HEIGHT_MAX: usize = 512;

/// Where in the query's text something stands: byte offsets, end exclusive.
///
/// All spans are equal to each other: two trees are equal when they mean the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte behind.
    pub end: usize,
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Span {}

/// A name: of a database, policy, measurement, tag, field, user. Bytes, since names that came by
/// line protocol need not be UTF-8; names that came by a query always are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub Box<[u8]>);

impl Name {
    /// The name as text, bytes that are not UTF-8 replaced.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether the name is the reserved word `time`.
    pub fn is_time(&self) -> bool {
        &*self.0 == b"time"
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name(text.as_bytes().into())
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Name(bytes.into())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_text(), out)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_text(), out)
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `SELECT ...`
    Select(Box<Select>),
    /// `EXPLAIN [ANALYZE] [VERBOSE] SELECT ...`
    Explain {
        /// What is explained.
        select: Box<Select>,
        /// Run it and measure.
        analyze: bool,
        /// In more words.
        verbose: bool,
    },
    /// `SHOW ...`
    Show(Box<Show>),
    /// `CREATE DATABASE ...`
    CreateDatabase {
        /// Its name.
        name: Name,
        /// What `WITH` states of its policy.
        policy: Option<PolicyClause>,
    },
    /// `DROP DATABASE ...`
    DropDatabase {
        /// Its name.
        name: Name,
    },
    /// `DROP MEASUREMENT ...`
    DropMeasurement {
        /// Its name.
        name: Name,
    },
    /// `DROP SERIES ...`
    DropSeries(Deletion),
    /// `DELETE ...`
    Delete(Deletion),
    /// `CREATE RETENTION POLICY ...`
    CreatePolicy(PolicyStatement),
    /// `ALTER RETENTION POLICY ...`
    AlterPolicy(PolicyStatement),
    /// `ALTER MEASUREMENT ...`, which is Silverback's own.
    AlterMeasurement {
        /// Its name.
        name: Name,
        /// What changes.
        change: MeasurementChange,
    },
    /// `DROP RETENTION POLICY ... ON ...`
    DropPolicy {
        /// Its name.
        name: Name,
        /// Its database.
        database: Name,
    },
    /// `CREATE CONTINUOUS QUERY ...`
    CreateContinuousQuery(Box<ContinuousQuery>),
    /// `DROP CONTINUOUS QUERY ... ON ...`
    DropContinuousQuery {
        /// Its name.
        name: Name,
        /// Its database.
        database: Name,
    },
    /// `CREATE SUBSCRIPTION ...`
    CreateSubscription {
        /// Its name.
        name: Name,
        /// Its database.
        database: Name,
        /// Its policy.
        policy: Name,
        /// `ALL`, else `ANY`.
        all: bool,
        /// Where to send.
        destinations: Vec<Box<str>>,
    },
    /// `DROP SUBSCRIPTION ... ON ...`
    DropSubscription {
        /// Its name.
        name: Name,
        /// Its database.
        database: Name,
        /// Its policy.
        policy: Name,
    },
    /// `CREATE USER ...`
    CreateUser {
        /// Name.
        name: Name,
        /// Password in clear.
        password: Box<str>,
        /// With all privileges.
        admin: bool,
    },
    /// `DROP USER ...`
    DropUser {
        /// Name.
        name: Name,
    },
    /// `SET PASSWORD FOR ... = ...`
    SetPassword {
        /// Name.
        name: Name,
        /// Password in clear.
        password: Box<str>,
    },
    /// `GRANT ...`
    Grant(PrivilegeChange),
    /// `REVOKE ...`
    Revoke(PrivilegeChange),
    /// `KILL QUERY ...`
    KillQuery {
        /// Its number.
        id: u64,
        /// On which host.
        host: Option<Name>,
    },
    /// `DROP SHARD ...`
    DropShard {
        /// Its number.
        id: u64,
    },
}
