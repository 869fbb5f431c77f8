//! The tree of an `InfluxQL` text. Plain data: whoever holds it may take it apart and build it anew.
//!
//! Invariants of trees that the parser made: an expression is at most
//! [`EXPRESSION_HEIGHT_MAX`] nodes high and brackets, calls and subqueries together nest at most
//! [`NESTING_MAX`] deep, so that recursive walks, clones and drops need a bounded stack. Chains of
//! `AND` and of `OR` are balanced trees for that reason; their order from left to right is the text's.

use std::fmt;
use std::ops::Deref;

use jiff::tz::TimeZone;

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
    /// `SELECT …`
    Select(Box<Select>),
    /// `EXPLAIN [ANALYZE] [VERBOSE] SELECT …`
    Explain {
        /// What is explained.
        select: Box<Select>,
        /// Run it and measure.
        analyze: bool,
        /// In more words.
        verbose: bool,
    },
    /// `SHOW …`
    Show(Box<Show>),
    /// `CREATE DATABASE …`
    CreateDatabase {
        /// Its name.
        name: Name,
        /// What `WITH` states of its policy.
        policy: Option<PolicyClause>,
    },
    /// `DROP DATABASE …`
    DropDatabase {
        /// Its name.
        name: Name,
    },
    /// `DROP MEASUREMENT …`
    DropMeasurement {
        /// Its name.
        name: Name,
    },
    /// `DROP SERIES …`
    DropSeries(Deletion),
    /// `DELETE …`
    Delete(Deletion),
    /// `CREATE RETENTION POLICY …`
    CreatePolicy(PolicyStatement),
    /// `ALTER RETENTION POLICY …`
    AlterPolicy(PolicyStatement),
    /// `DROP RETENTION POLICY … ON …`
    DropPolicy {
        /// Its name.
        name: Name,
        /// Its database.
        database: Name,
    },
    /// `CREATE CONTINUOUS QUERY …`
    CreateContinuousQuery(Box<ContinuousQuery>),
    /// `DROP CONTINUOUS QUERY … ON …`
    DropContinuousQuery {
        /// Its name.
        name: Name,
        /// Its database.
        database: Name,
    },
    /// `CREATE SUBSCRIPTION …`
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
    /// `DROP SUBSCRIPTION … ON …`
    DropSubscription {
        /// Its name.
        name: Name,
        /// Its database.
        database: Name,
        /// Its policy.
        policy: Name,
    },
    /// `CREATE USER …`
    CreateUser {
        /// Name.
        name: Name,
        /// Password in clear.
        password: Box<str>,
        /// With all privileges.
        admin: bool,
    },
    /// `DROP USER …`
    DropUser {
        /// Name.
        name: Name,
    },
    /// `SET PASSWORD FOR … = …`
    SetPassword {
        /// Name.
        name: Name,
        /// Password in clear.
        password: Box<str>,
    },
    /// `GRANT …`
    Grant(PrivilegeChange),
    /// `REVOKE …`
    Revoke(PrivilegeChange),
    /// `KILL QUERY …`
    KillQuery {
        /// Its number.
        id: u64,
        /// On which host.
        host: Option<Name>,
    },
    /// `DROP SHARD …`
    DropShard {
        /// Its number.
        id: u64,
    },
}

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
    /// `fill(…)`; `Fill::Null` where absent.
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
    /// `tz('…')`.
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
    /// `(SELECT …)`; its `target` is `None`.
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

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `left op right`. `-x` is `-1 * x`.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Its left side.
        left: Box<Expr>,
        /// Its right side; a regular expression exactly with the two operators that match.
        right: Box<Expr>,
    },
    /// `name(args)`
    Call {
        /// In lower case.
        name: Box<str>,
        /// The arguments; may be regular expressions.
        args: Vec<Expr>,
    },
    /// A tag, a field, `time`, or nothing there is.
    Variable {
        /// Unquoted; segments joined by `.`.
        name: Name,
        /// Behind `::`.
        cast: Option<Cast>,
    },
    /// Written with a dot.
    Number(f64),
    /// Written without.
    Integer(i64),
    /// Too large for a signed integer.
    Unsigned(u64),
    /// `'…'`, unescaped.
    String(Box<str>),
    /// `true`, `false`.
    Boolean(bool),
    /// In nanoseconds.
    Duration(i64),
    /// A moment, ns UTC. The parser makes none; rewriting may.
    Time(i64),
    /// `/…/`
    Regex(Regex),
    /// Several strings. The parser makes none; rewriting may.
    List(Vec<Box<str>>),
    /// `*`, `*::field`, `*::tag`
    Wildcard(Option<WildcardKind>),
    /// `DISTINCT name` without brackets.
    Distinct(Name),
    /// `( … )`
    Paren(Box<Expr>),
}

/// Operators, from the loosest to the tightest; left-associative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `OR`
    Or,
    /// `AND`
    And,
    /// `=`
    Equal,
    /// `!=`, `<>`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `&`
    BitAnd,
}

impl BinaryOp {
    /// 1 for the loosest, 5 for the tightest.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And => 2,
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Matches
            | BinaryOp::NotMatches
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual => 3,
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::BitOr | BinaryOp::BitXor => 4,
            BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo | BinaryOp::BitAnd => 5,
        }
    }

    /// Whether it compares: `=` to `>=`.
    pub fn is_comparison(self) -> bool {
        self.precedence() == 3
    }

    /// Whether it is `AND` or `OR`.
    pub fn is_logical(self) -> bool {
        self.precedence() < 3
    }

    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            BinaryOp::Or => "OR",
            BinaryOp::And => "AND",
            BinaryOp::Equal => "=",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Matches => "=~",
            BinaryOp::NotMatches => "!~",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::BitAnd => "&",
        }
    }
}

/// What stands behind `::`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cast {
    /// `::float`
    Float,
    /// `::integer`
    Integer,
    /// `::unsigned`
    Unsigned,
    /// `::string`
    String,
    /// `::boolean`
    Boolean,
    /// `::field`: any field, no tag.
    Field,
    /// `::tag`: the tag.
    Tag,
}

impl Cast {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Cast::Float => "float",
            Cast::Integer => "integer",
            Cast::Unsigned => "unsigned",
            Cast::String => "string",
            Cast::Boolean => "boolean",
            Cast::Field => "field",
            Cast::Tag => "tag",
        }
    }
}

/// Which half of the columns a wildcard stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WildcardKind {
    /// `*::field`
    Field,
    /// `*::tag`
    Tag,
}

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
    /// `ORDER BY … DESC`.
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
    /// `MEASUREMENTS [WITH MEASUREMENT …]`
    Measurements(Option<NameMatch>),
    /// `SERIES`
    Series,
    /// `TAG KEYS`
    TagKeys,
    /// `TAG VALUES WITH KEY …`
    TagValues(NameMatch),
    /// `FIELD KEYS`
    FieldKeys,
    /// `RETENTION POLICIES`
    RetentionPolicies,
    /// `… CARDINALITY`
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

/// What `SHOW … CARDINALITY` counts.
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
    /// `IN (name, …)`
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

/// What is stated of a retention policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyClause {
    /// `NAME`.
    pub name: Option<Name>,
    /// `DURATION`, ns; 0 = for ever, also written `INF`.
    pub duration_ns: Option<i64>,
    /// `REPLICATION`.
    pub replication: Option<u32>,
    /// `SHARD DURATION`, ns.
    pub partition_ns: Option<i64>,
    /// `DEFAULT`.
    pub default: bool,
}

/// `CREATE RETENTION POLICY`, `ALTER RETENTION POLICY`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyStatement {
    /// Its name.
    pub name: Name,
    /// Its database.
    pub database: Name,
    /// What is stated; its `name` is `None`.
    pub clause: PolicyClause,
}

/// `DELETE`, `DROP SERIES`.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// `FROM`.
    pub sources: Vec<Measurement>,
    /// `WHERE`.
    pub condition: Option<Expr>,
}

/// `CREATE CONTINUOUS QUERY`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContinuousQuery {
    /// Its name.
    pub name: Name,
    /// Its database.
    pub database: Name,
    /// `RESAMPLE EVERY`, ns.
    pub every_ns: Option<i64>,
    /// `RESAMPLE FOR`, ns.
    pub for_ns: Option<i64>,
    /// What it runs; has a target.
    pub select: Select,
}

/// What `GRANT` and `REVOKE` change.
#[derive(Clone, Debug, PartialEq)]
pub struct PrivilegeChange {
    /// Which privilege.
    pub privilege: Privilege,
    /// On which database; `None`: administrator.
    pub database: Option<Name>,
    /// Whose.
    pub user: Name,
}

/// A privilege on a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// `READ`
    Read,
    /// `WRITE`
    Write,
    /// `ALL PRIVILEGES`
    All,
}
