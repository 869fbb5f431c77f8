//! `SELECT` and what it shares with other statements: sources, conditions, order, limits.

use jiff::tz::TimeZone;

use crate::influxql::ast::{
    BinaryOp, Expr, ExprKind, Field, Fill, Measurement, Name, Select, Selector, Source, Span,
    Statement, Zone,
};
use crate::influxql::lexer::Pos;
use crate::influxql::parse::{Fault, Parsed, Parser};
use crate::influxql::token::{Keyword, Token};

/// Whether `INTO` may or must stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Allowed,
    Required,
    Forbidden,
}

impl Parser<'_> {
    /// What follows `SELECT`, which began at byte `start`.
    pub(super) fn select(&mut self, target: Target, start: usize) -> Parsed<Select> {
        let fields = self.fields()?;
        let target = self.target(target)?;
        self.expect_word(Keyword::From)?;
        let sources = self.sources()?;
        let condition = self.condition()?;
        let dimensions = self.dimensions()?;
        let fill = self.fill()?;
        let descending = self.order()?;
        let limit = self.counted(Keyword::Limit)?;
        let offset = self.counted(Keyword::Offset)?;
        let slimit = self.counted(Keyword::Slimit)?;
        let soffset = self.counted(Keyword::Soffset)?;
        let zone = self.zone()?;
        let span = self.span_from(start);
        Ok(Select {
            fields,
            target,
            sources,
            condition,
            dimensions,
            fill,
            descending,
            limit,
            offset,
            slimit,
            soffset,
            zone,
            span,
        })
    }

    pub(super) fn explain(&mut self) -> Parsed<Statement> {
        let analyze = self.accept_word(Keyword::Analyze);
        let verbose = self.accept_word(Keyword::Verbose);
        let word = self.expect_word(Keyword::Select)?;
        let select = self.select(Target::Allowed, word.span.start)?;
        Ok(Statement::Explain {
            select: Box::new(select),
            analyze,
            verbose,
        })
    }

    /// From byte `start` to the end of the token before the next one.
    pub(super) fn span_from(&mut self, start: usize) -> Span {
        let behind = self.next();
        self.give_back();
        Span {
            start,
            end: behind.span.start.max(start),
        }
    }

    fn fields(&mut self) -> Parsed<Vec<Field>> {
        let mut fields = vec![self.field()?];
        while self.accept(Token::Comma).is_some() {
            fields.push(self.field()?);
        }
        Ok(fields)
    }

    fn field(&mut self) -> Parsed<Field> {
        let expr = if let Some((regex, span)) = self.regex()? {
            Expr {
                kind: ExprKind::Regex(regex),
                span,
            }
        } else {
            let pos = self.next().pos;
            self.give_back();
            let expr = self.expr()?;
            refuse_conditions(&expr, pos)?;
            expr
        };
        let alias = if self.accept_word(Keyword::As) {
            Some(self.ident()?)
        } else {
            None
        };
        Ok(Field { expr, alias })
    }

    fn target(&mut self, target: Target) -> Parsed<Option<Measurement>> {
        if target == Target::Forbidden {
            return Ok(None);
        }
        if target == Target::Required {
            self.expect_word(Keyword::Into)?;
        } else if !self.accept_word(Keyword::Into) {
            return Ok(None);
        }
        let segments = self.segments()?;
        let mut names = segments.names;
        let mut selector = Selector::SameName;
        if segments.open {
            self.expect(Token::Colon)?;
            self.expect_word(Keyword::Measurement)?;
            if names.len() > 2 {
                return Err(Fault::plain("too many segments in target"));
            }
        } else {
            selector = Selector::Name(names.pop().expect("a name was read"));
        }
        Ok(Some(qualified(names, selector, segments.span)))
    }

    pub(super) fn sources(&mut self) -> Parsed<Vec<Source>> {
        let mut sources = vec![self.source()?];
        while self.accept(Token::Comma).is_some() {
            sources.push(self.source()?);
        }
        Ok(sources)
    }

    fn source(&mut self) -> Parsed<Source> {
        if let Some(measurement) = self.measurement_regex()? {
            return Ok(Source::Measurement(measurement));
        }
        let Some(open) = self.accept(Token::OpenParen) else {
            return self.measurement().map(Source::Measurement);
        };
        self.enter(open.pos)?;
        let word = self.expect_word(Keyword::Select)?;
        let select = self.select(Target::Forbidden, word.span.start)?;
        self.expect(Token::CloseParen)?;
        self.leave();
        Ok(Source::Subquery(Box::new(select)))
    }

    fn measurement_regex(&mut self) -> Parsed<Option<Measurement>> {
        let Some((regex, span)) = self.regex()? else {
            return Ok(None);
        };
        Ok(Some(qualified(Vec::new(), Selector::Regex(regex), span)))
    }

    /// A measurement, or several by a regular expression; no subquery.
    pub(super) fn measurement(&mut self) -> Parsed<Measurement> {
        if let Some(measurement) = self.measurement_regex()? {
            return Ok(measurement);
        }
        let segments = self.segments()?;
        let mut names = segments.names;
        if !segments.open {
            let name = names.pop().expect("a name was read");
            return Ok(qualified(names, Selector::Name(name), segments.span));
        }
        match self.regex()? {
            Some((regex, last)) if names.len() <= 2 => {
                let span = Span {
                    start: segments.span.start,
                    end: last.end,
                };
                Ok(qualified(names, Selector::Regex(regex), span))
            }
            _ => {
                let found = self.next();
                Err(Fault::unexpected(&found, &["identifier", "regex"]))
            }
        }
    }

    /// `FROM` and measurements, if they stand here.
    pub(super) fn from(&mut self) -> Parsed<Vec<Measurement>> {
        if self.accept_word(Keyword::From) {
            self.measurements()
        } else {
            Ok(Vec::new())
        }
    }

    pub(super) fn measurements(&mut self) -> Parsed<Vec<Measurement>> {
        let mut measurements = vec![self.measurement()?];
        while self.accept(Token::Comma).is_some() {
            measurements.push(self.measurement()?);
        }
        Ok(measurements)
    }

    pub(super) fn condition(&mut self) -> Parsed<Option<Expr>> {
        if self.accept_word(Keyword::Where) {
            self.expr().map(Some)
        } else {
            Ok(None)
        }
    }

    pub(super) fn dimensions(&mut self) -> Parsed<Vec<Expr>> {
        let mut dimensions = Vec::new();
        if !self.accept_word(Keyword::Group) {
            return Ok(dimensions);
        }
        self.expect_word(Keyword::By)?;
        loop {
            dimensions.push(match self.regex()? {
                Some((regex, span)) => Expr {
                    kind: ExprKind::Regex(regex),
                    span,
                },
                None => self.expr()?,
            });
            if self.accept(Token::Comma).is_none() {
                return Ok(dimensions);
            }
        }
    }

    /// The arguments of `name(...)`, if that stands here.
    fn trailing_call(&mut self, name: &str) -> Parsed<Option<Vec<Expr>>> {
        let found = self.next();
        self.give_back();
        if found.token != Token::Ident || !found.text.eq_ignore_ascii_case(name) {
            return Ok(None);
        }
        match self.expr()?.kind {
            ExprKind::Call { args, .. } => Ok(Some(args)),
            _ => Err(Fault::plain(format!("{name} must be a function call"))),
        }
    }

    fn fill(&mut self) -> Parsed<Fill> {
        let Some(args) = self.trailing_call("fill")? else {
            return Ok(Fill::Null);
        };
        let [arg] = args.as_slice() else {
            return Err(Fault::plain(
                "fill requires an argument, e.g.: 0, null, none, previous, linear",
            ));
        };
        let by_name = match &arg.kind {
            ExprKind::Number(value) => Some(Fill::Number(*value)),
            ExprKind::Integer(value) => Some(Fill::Integer(*value)),
            ExprKind::Variable { name, cast: None } => match &**name {
                b"null" => Some(Fill::Null),
                b"none" => Some(Fill::None),
                b"previous" => Some(Fill::Previous),
                b"linear" => Some(Fill::Linear),
                _ => None,
            },
            _ => None,
        };
        by_name.ok_or_else(|| Fault::plain("expected number argument in fill()"))
    }

    fn zone(&mut self) -> Parsed<Option<Zone>> {
        let Some(args) = self.trailing_call("tz")? else {
            return Ok(None);
        };
        let [arg] = args.as_slice() else {
            return Err(Fault::plain("tz requires exactly one argument"));
        };
        let ExprKind::String(name) = &arg.kind else {
            return Err(Fault::plain("expected string argument in tz()"));
        };
        let asked = if name.is_empty() { "UTC" } else { name };
        let zone = TimeZone::get(asked)
            .map_err(|_| Fault::plain(format!("unable to find time zone {name}")))?;
        Ok(Some(Zone {
            name: name.clone(),
            zone,
        }))
    }

    /// `ORDER BY`; whether it descends.
    pub(super) fn order(&mut self) -> Parsed<bool> {
        if !self.accept_word(Keyword::Order) {
            return Ok(false);
        }
        self.expect_word(Keyword::By)?;
        let only_time = || Fault::plain("only ORDER BY time supported at this time");
        let found = self.next();
        let descending = match found.token {
            Token::Word(Keyword::Asc) => false,
            Token::Word(Keyword::Desc) => true,
            Token::Ident if found.text == "time" => {
                !self.accept_word(Keyword::Asc) && self.accept_word(Keyword::Desc)
            }
            Token::Ident => return Err(only_time()),
            _ => {
                return Err(Fault::unexpected(&found, &["identifier", "ASC", "DESC"]));
            }
        };
        if self.accept(Token::Comma).is_some() {
            self.ident()?;
            return Err(only_time());
        }
        Ok(descending)
    }

    /// `LIMIT 5` and its like, 0 where it does not stand here.
    pub(super) fn counted(&mut self, word: Keyword) -> Parsed<u64> {
        if !self.accept_word(word) {
            return Ok(0);
        }
        let found = self.integer()?;
        // What does not fit is as good as the largest that does.
        let value: i64 = found.text.parse().unwrap_or(i64::MAX);
        u64::try_from(value)
            .map_err(|_| Fault::at(format_args!("{} must be >= 0", word.text()), found.pos))
    }
}

/// `names` are the database and the policy, either or none of them.
fn qualified(mut names: Vec<Name>, selector: Selector, span: Span) -> Measurement {
    let written = |name: Name| Some(name).filter(|name| !name.is_empty());
    let policy = names.pop().and_then(written);
    Measurement {
        database: names.pop().and_then(written),
        policy,
        selector,
        span,
    }
}

/// The operators of conditions mean nothing in a field.
fn refuse_conditions(expr: &Expr, pos: Pos) -> Parsed<()> {
    match &expr.kind {
        ExprKind::Binary { op, left, right } => {
            if op.is_comparison() || op.is_logical() {
                let text = BinaryOp::text(*op);
                return Err(Fault::plain(format!(
                    "invalid operator {text} in SELECT clause at line {}, char {}; \
                     operator is intended for WHERE clause",
                    pos.line + 1,
                    pos.char + 1
                )));
            }
            refuse_conditions(left, pos)?;
            refuse_conditions(right, pos)
        }
        ExprKind::Call { args, .. } => args.iter().try_for_each(|arg| refuse_conditions(arg, pos)),
        ExprKind::Paren(inner) => refuse_conditions(inner, pos),
        ExprKind::Variable { .. }
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
        | ExprKind::Distinct(_) => Ok(()),
    }
}
