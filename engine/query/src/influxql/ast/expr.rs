//! Expressions.

use crate::influxql::ast::{Name, Regex, Span};

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
    /// `'...'`, unescaped.
    String(Box<str>),
    /// `true`, `false`.
    Boolean(bool),
    /// In nanoseconds.
    Duration(i64),
    /// A moment, ns UTC. The parser makes none; rewriting may.
    Time(i64),
    /// `/.../`
    Regex(Regex),
    /// Several strings. The parser makes none; rewriting may.
    List(Vec<Box<str>>),
    /// `*`, `*::field`, `*::tag`
    Wildcard(Option<WildcardKind>),
    /// `DISTINCT name` without brackets.
    Distinct(Name),
    /// `( ... )`
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
