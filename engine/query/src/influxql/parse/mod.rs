//! Tokens to statements, by recursive descent. Error texts and places are `InfluxDB`'s, for clients
//! show them. Nothing is read that the text does not say: what the grammar does not know is an error.
//!
//! Invariant: recursion is bounded by `NESTING_MAX`, see the tree.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser names the tokens it knows, and every other is an error"
)]

mod admin;
mod expr;
mod select;
mod show;

use std::collections::VecDeque;
use std::fmt;

use crate::influxql::ast::{NESTING_MAX, Name, Span, Statement};
use crate::influxql::duration::parse_duration;
use crate::influxql::lexer::{Lexer, Pos, Scanned, ScannedRegex};
use crate::influxql::print::{ident_text, is_plain_ident};
use crate::influxql::regex::Regex;
use crate::influxql::token::{Keyword, Token};
use crate::result::{BindValue, QueryError};

/// Parses `text`, statements separated by `;`, with `params` in place of `$name`. Spans and places
/// count from the first character that is not a space.
///
/// # Errors
/// `Parse`, with `InfluxDB`'s text; `Limit`-like bounds on length and nesting are `Parse` as well.
pub fn parse_query(
    text: &str,
    params: &[(Box<str>, BindValue)],
    text_bytes_max: usize,
) -> Result<Vec<Statement>, QueryError> {
    if text.len() > text_bytes_max {
        return Err(QueryError::parse(format!(
            "error parsing query: text is {} bytes long, more than {text_bytes_max}",
            text.len()
        )));
    }
    Parser::new(text.trim(), params)
        .statements()
        .map_err(|fault| QueryError::parse(format!("error parsing query: {fault}")))
}

/// Parses one expression that is the whole of `text`, such as a condition.
///
/// # Errors
/// As [`parse_query`].
pub fn parse_expression(text: &str) -> Result<crate::influxql::ast::Expr, QueryError> {
    let mut parser = Parser::new(text, &[]);
    let wrap = |fault: Fault| QueryError::parse(format!("error parsing query: {fault}"));
    let expr = parser.expr().map_err(wrap)?;
    parser.expect(Token::Eof).map_err(wrap)?;
    Ok(expr)
}

/// What is wrong with a text: one sentence with its place.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn plain(text: impl Into<String>) -> Fault {
        Fault(text.into())
    }

    pub(crate) fn at(text: impl fmt::Display, pos: Pos) -> Fault {
        Fault(format!(
            "{text} at line {}, char {}",
            pos.line + 1,
            pos.char + 1
        ))
    }

    fn unexpected(found: &Scanned, expected: &[&str]) -> Fault {
        const SHOWN_MAX: usize = 200;
        let text = if found.text.is_empty() {
            found.token.name()
        } else {
            &found.text
        };
        let mut shown: String = text.chars().take(SHOWN_MAX).collect();
        if shown.len() < text.len() {
            shown.push_str("...");
        }
        let expected = expected.join(", ");
        Fault::at(
            format_args!("found {shown}, expected {expected}"),
            found.pos,
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

type Parsed<T> = Result<T, Fault>;

/// Tokens that can be given back.
const BACK_MAX: usize = 4;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    params: &'a [(Box<str>, BindValue)],
    last: VecDeque<Scanned>,
    given_back: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, params: &'a [(Box<str>, BindValue)]) -> Parser<'a> {
        Parser {
            text,
            lexer: Lexer::new(text),
            params,
            last: VecDeque::with_capacity(BACK_MAX),
            given_back: 0,
            depth: 0,
        }
    }

    fn statements(&mut self) -> Parsed<Vec<Statement>> {
        let mut statements = Vec::new();
        let mut separated = true;
        loop {
            let found = self.next();
            match found.token {
                Token::Eof => return Ok(statements),
                Token::Semicolon => separated = true,
                _ if !separated => return Err(Fault::unexpected(&found, &[";"])),
                _ => {
                    self.give_back();
                    statements.push(self.statement()?);
                    separated = false;
                }
            }
        }
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let found = self.next();
        let Token::Word(word) = found.token else {
            return Err(Fault::unexpected(&found, STATEMENTS));
        };
        match word {
            Keyword::Select => {
                let select = self.select(select::Target::Allowed, found.span.start)?;
                Ok(Statement::Select(Box::new(select)))
            }
            Keyword::Explain => self.explain(),
            Keyword::Show => self.show(found.span.start),
            Keyword::Delete => self.delete(),
            Keyword::Create => self.create(),
            Keyword::Drop => self.drop_statement(),
            Keyword::Grant => self.grant(),
            Keyword::Revoke => self.revoke(),
            Keyword::Alter => self.alter(),
            Keyword::Set => self.set_password(),
            Keyword::Kill => self.kill(),
            _ => Err(Fault::unexpected(&found, STATEMENTS)),
        }
    }

    /// The next token, spaces and comments included, parameters replaced.
    fn scan(&mut self) -> Scanned {
        if self.given_back == 0 {
            let scanned = self.lexer.scan();
            let scanned = self.substitute(scanned);
            if self.last.len() == BACK_MAX {
                self.last.pop_front();
            }
            self.last.push_back(scanned);
        } else {
            self.given_back -= 1;
        }
        let index = self.last.len() - 1 - self.given_back;
        self.last[index].clone()
    }

    /// The next token that is neither space nor comment.
    fn next(&mut self) -> Scanned {
        loop {
            let scanned = self.scan();
            if !matches!(scanned.token, Token::Space | Token::Comment) {
                return scanned;
            }
        }
    }

    /// Gives the token read last back.
    fn give_back(&mut self) {
        self.given_back += 1;
    }

    fn substitute(&self, mut scanned: Scanned) -> Scanned {
        if scanned.token != Token::Param {
            return scanned;
        }
        let name = scanned.text.strip_prefix('$').unwrap_or_default();
        let Some((_, value)) = self.params.iter().find(|(own, _)| **own == *name) else {
            return scanned;
        };
        (scanned.token, scanned.text) = match value {
            BindValue::String(text) => (Token::String, text.to_string()),
            BindValue::Float(value) => (Token::Number, format!("{value}")),
            BindValue::Integer(value) => (Token::Integer, format!("{value}")),
            BindValue::Boolean(true) => (Token::Word(Keyword::True), String::new()),
            BindValue::Boolean(false) => (Token::Word(Keyword::False), String::new()),
            BindValue::Identifier(text) => (Token::Ident, text.to_string()),
            BindValue::Regex(text) => (Token::Regex, text.to_string()),
            BindValue::Duration(text) => (Token::Duration, text.to_string()),
            BindValue::Wrong(_) => return scanned,
        };
        scanned
    }

    /// What is wrong with the parameter `found`, which has no value or one of a wrong kind.
    fn param_fault(&self, found: &Scanned) -> Fault {
        let name = found.text.strip_prefix('$').unwrap_or_default();
        if name.is_empty() {
            return Fault::plain("empty bound parameter");
        }
        let value = self.params.iter().find(|(own, _)| **own == *name);
        match value {
            Some((_, BindValue::Wrong(text))) => Fault::plain(&**text),
            _ => Fault::plain(format!("missing parameter: {name}")),
        }
    }

    /// Consumes the next token if it is `wanted`.
    fn accept(&mut self, wanted: Token) -> Option<Scanned> {
        let found = self.next();
        if found.token == wanted {
            return Some(found);
        }
        self.give_back();
        None
    }

    fn accept_word(&mut self, wanted: Keyword) -> bool {
        self.accept(Token::Word(wanted)).is_some()
    }

    /// Consumes the next token, which must be `wanted`.
    fn expect(&mut self, wanted: Token) -> Parsed<Scanned> {
        let found = self.next();
        if found.token == wanted {
            return Ok(found);
        }
        Err(Fault::unexpected(&found, &[wanted.name()]))
    }

    fn expect_word(&mut self, wanted: Keyword) -> Parsed<Scanned> {
        self.expect(Token::Word(wanted))
    }

    fn ident(&mut self) -> Parsed<Name> {
        self.spanned_ident().map(|(name, _)| name)
    }

    fn spanned_ident(&mut self) -> Parsed<(Name, Span)> {
        let found = self.next();
        match found.token {
            Token::Ident => Ok((Name::from(&*found.text), found.span)),
            Token::Param => Err(self.param_fault(&found)),
            _ => Err(Fault::unexpected(&found, &["identifier"])),
        }
    }

    /// Names joined by dots. Stops behind a dot before `/` or `:`, which the caller reads on from.
    fn segments(&mut self) -> Parsed<Segments> {
        const SEGMENTS_MAX: usize = 3;
        let (name, mut span) = self.spanned_ident()?;
        let mut names = vec![name];
        let mut open = false;
        while self.scan().token == Token::Dot {
            match self.lexer.peek() {
                Some('/' | ':') => {
                    open = true;
                    break;
                }
                Some('.') => names.push(Name::from("")),
                _ => {
                    let (name, last) = self.spanned_ident()?;
                    names.push(name);
                    span.end = last.end;
                }
            }
        }
        if !open {
            self.give_back();
        }
        if names.len() > SEGMENTS_MAX {
            let text = format!("too many segments in {}", segments_text(&names));
            return Err(Fault::at(text, Pos::default()));
        }
        Ok(Segments { names, open, span })
    }

    fn string(&mut self) -> Parsed<Box<str>> {
        let found = self.next();
        match found.token {
            Token::String => Ok(found.text.into()),
            Token::Param => Err(self.param_fault(&found)),
            _ => Err(Fault::unexpected(&found, &["string"])),
        }
    }

    fn integer(&mut self) -> Parsed<Scanned> {
        let found = self.next();
        match found.token {
            Token::Integer => Ok(found),
            Token::Param => Err(self.param_fault(&found)),
            _ => Err(Fault::unexpected(&found, &["integer"])),
        }
    }

    /// A duration or, as 0, `INF`.
    fn duration(&mut self) -> Parsed<i64> {
        let found = self.next();
        match found.token {
            Token::Duration => {
                parse_duration(&found.text).map_err(|fault| Fault::at(fault, found.pos))
            }
            Token::Word(Keyword::Inf) => Ok(0),
            Token::Param => Err(self.param_fault(&found)),
            _ => Err(Fault::unexpected(&found, &["duration"])),
        }
    }

    /// A regular expression, if one stands here.
    fn regex(&mut self) -> Parsed<Option<(Regex, Span)>> {
        if self.given_back == 0 && matches!(self.lexer.peek(), Some(' ' | '\t' | '\n')) {
            self.scan();
        }
        if self.given_back == 0 && self.lexer.at_regex() {
            return self.written_regex().map(Some);
        }
        if self.given_back == 0 && self.lexer.peek() != Some('$') {
            return Ok(None);
        }
        let found = self.scan();
        if found.token == Token::Regex {
            let regex = Regex::new(&found.text).map_err(|text| Fault::at(text, found.pos))?;
            return Ok(Some((regex, found.span)));
        }
        self.give_back();
        Ok(None)
    }

    fn written_regex(&mut self) -> Parsed<(Regex, Span)> {
        let (scanned, pos, span) = self.lexer.regex();
        match scanned {
            ScannedRegex::Regex(text) => {
                let regex = Regex::new(&text).map_err(|text| Fault::at(text, pos))?;
                Ok((regex, span))
            }
            ScannedRegex::Unfinished => Err(Fault::at("bad regex: ", pos)),
        }
    }

    /// The place of byte `offset`.
    fn pos_of(&self, offset: usize) -> Pos {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Pos {
            line: before.matches('\n').count(),
            char: line.chars().count(),
        }
    }

    /// Goes one level down; [`Parser::leave`] goes up again where no fault ends it all.
    fn enter(&mut self, pos: Pos) -> Parsed<()> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            let text = format!("brackets and calls nest deeper than {NESTING_MAX} levels");
            return Err(Fault::at(text, pos));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Names joined by dots.
struct Segments {
    /// At most three.
    names: Vec<Name>,
    /// A dot follows the last, and `/` or `:` it.
    open: bool,
    span: Span,
}

fn segments_text(names: &[Name]) -> String {
    let last = names.len() - 1;
    let texts = names.iter().enumerate().map(|(index, name)| {
        let text = name.to_text();
        let outer = index == 0 || index == last;
        if text.is_empty() && !outer {
            return String::new();
        }
        ident_text(&text, index < last || !is_plain_ident(&text))
    });
    texts.collect::<Vec<_>>().join(".")
}

const STATEMENTS: &[&str] = &[
    "SELECT", "DELETE", "SHOW", "CREATE", "DROP", "EXPLAIN", "GRANT", "REVOKE", "ALTER", "SET",
    "KILL",
];
