//! `SHOW` in all its forms. Each form knows its own clauses and no others.

use crate::influxql::ast::{Counted, Name, NameMatch, Selector, Show, ShowKind, Span, Statement};
use crate::influxql::parse::{Fault, Parsed, Parser};
use crate::influxql::token::{Keyword, Token};

/// The clauses that a form of `SHOW` may have behind what it shows, in their order.
#[derive(Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one flag per clause, each named where it is set"
)]
struct Clauses {
    on: bool,
    from: bool,
    condition: bool,
    dimensions: bool,
    order: bool,
    limit: bool,
    slimit: bool,
}

const ON: Clauses = Clauses {
    on: true,
    from: false,
    condition: false,
    dimensions: false,
    order: false,
    limit: false,
    slimit: false,
};

const LISTED: Clauses = Clauses {
    from: true,
    condition: true,
    order: true,
    limit: true,
    ..ON
};

const COUNTED: Clauses = Clauses {
    from: true,
    condition: true,
    dimensions: true,
    limit: true,
    ..ON
};

impl Parser<'_> {
    /// What follows `SHOW`, which began at byte `start`.
    pub(super) fn show(&mut self, start: usize) -> Parsed<Statement> {
        let found = self.next();
        let Token::Word(word) = found.token else {
            return Err(Fault::unexpected(&found, SHOWN));
        };
        let mut show = match word {
            Keyword::Continuous => {
                self.expect_word(Keyword::Queries)?;
                self.shown(ShowKind::ContinuousQueries, Clauses::default())?
            }
            Keyword::Databases => self.shown(ShowKind::Databases, Clauses::default())?,
            Keyword::Diagnostics => {
                let module = self.module()?;
                self.shown(ShowKind::Diagnostics(module), Clauses::default())?
            }
            Keyword::Field => self.show_fields()?,
            Keyword::Grants => {
                self.expect_word(Keyword::For)?;
                let user = self.ident()?;
                self.shown(ShowKind::Grants(user), Clauses::default())?
            }
            Keyword::Measurement => {
                let exact = self.exact_cardinality()?;
                self.counted_show(Counted::Measurements, exact)?
            }
            Keyword::Measurements => self.show_measurements()?,
            Keyword::Queries => self.shown(ShowKind::Queries, Clauses::default())?,
            Keyword::Retention => {
                self.expect_word(Keyword::Policies)?;
                self.shown(ShowKind::RetentionPolicies, ON)?
            }
            Keyword::Series => self.show_series()?,
            Keyword::Shard => {
                self.expect_word(Keyword::Groups)?;
                self.shown(ShowKind::ShardGroups, Clauses::default())?
            }
            Keyword::Shards => self.shown(ShowKind::Shards, Clauses::default())?,
            Keyword::Stats => {
                let module = self.module()?;
                self.shown(ShowKind::Stats(module), Clauses::default())?
            }
            Keyword::Subscriptions => self.shown(ShowKind::Subscriptions, Clauses::default())?,
            Keyword::Tag => self.show_tags()?,
            Keyword::Users => self.shown(ShowKind::Users, Clauses::default())?,
            _ => return Err(Fault::unexpected(&found, SHOWN)),
        };
        show.span = self.span_from(start);
        Ok(Statement::Show(Box::new(show)))
    }

    fn shown(&mut self, kind: ShowKind, clauses: Clauses) -> Parsed<Show> {
        let database = self.on(clauses.on)?;
        let mut show = empty_show(kind, database);
        if clauses.from {
            show.sources = self.from()?;
        }
        self.rest_of(&mut show, clauses)?;
        Ok(show)
    }

    /// The clauses from `WHERE` on.
    fn rest_of(&mut self, show: &mut Show, clauses: Clauses) -> Parsed<()> {
        if clauses.condition {
            show.condition = self.condition()?;
        }
        if clauses.dimensions {
            show.dimensions = self.dimensions()?;
        }
        if clauses.order {
            show.descending = self.order()?;
        }
        if clauses.limit {
            show.limit = self.counted(Keyword::Limit)?;
            show.offset = self.counted(Keyword::Offset)?;
        }
        if clauses.slimit {
            show.slimit = self.counted(Keyword::Slimit)?;
            show.soffset = self.counted(Keyword::Soffset)?;
        }
        Ok(())
    }

    fn on(&mut self, allowed: bool) -> Parsed<Option<Name>> {
        if allowed && self.accept_word(Keyword::On) {
            self.ident().map(Some)
        } else {
            Ok(None)
        }
    }

    fn counted_show(&mut self, of: Counted, exact: bool) -> Parsed<Show> {
        self.shown(ShowKind::Cardinality { of, exact }, COUNTED)
    }

    /// `[EXACT] CARDINALITY` where nothing else may follow; whether exact.
    fn exact_cardinality(&mut self) -> Parsed<bool> {
        let found = self.next();
        match found.token {
            Token::Word(Keyword::Exact) => {
                self.expect_word(Keyword::Cardinality)?;
                Ok(true)
            }
            Token::Word(Keyword::Cardinality) => Ok(false),
            _ => Err(Fault::unexpected(&found, &["EXACT", "CARDINALITY"])),
        }
    }

    /// `[EXACT] CARDINALITY` where something else may follow; whether exact, if it stands here.
    fn optional_cardinality(&mut self) -> Parsed<Option<bool>> {
        if self.accept_word(Keyword::Exact) {
            self.expect_word(Keyword::Cardinality)?;
            return Ok(Some(true));
        }
        Ok(self.accept_word(Keyword::Cardinality).then_some(false))
    }

    fn show_series(&mut self) -> Parsed<Show> {
        if self.accept_word(Keyword::Exact) {
            if !self.accept_word(Keyword::Cardinality) {
                let found = self.next();
                return Err(Fault::unexpected(&found, &["CARDINALITY"]));
            }
            return self.counted_show(Counted::Series, true);
        }
        match self.optional_cardinality()? {
            Some(exact) => self.counted_show(Counted::Series, exact),
            None => self.shown(ShowKind::Series, LISTED),
        }
    }

    fn show_fields(&mut self) -> Parsed<Show> {
        let found = self.next();
        match found.token {
            Token::Word(Keyword::Key) => {
                let exact = self.exact_cardinality()?;
                self.counted_show(Counted::FieldKeys, exact)
            }
            Token::Word(Keyword::Keys) => self.shown(
                ShowKind::FieldKeys,
                Clauses {
                    condition: false,
                    ..LISTED
                },
            ),
            _ => Err(Fault::unexpected(&found, &["KEY", "KEYS"])),
        }
    }

    fn show_tags(&mut self) -> Parsed<Show> {
        let found = self.next();
        match found.token {
            Token::Word(Keyword::Key) => {
                let exact = self.exact_cardinality()?;
                self.counted_show(Counted::TagKeys, exact)
            }
            Token::Word(Keyword::Keys) => self.shown(
                ShowKind::TagKeys,
                Clauses {
                    slimit: true,
                    ..LISTED
                },
            ),
            Token::Word(Keyword::Values) => {
                let counted = self.optional_cardinality()?;
                self.show_values(counted)
            }
            _ => Err(Fault::unexpected(&found, &["KEY", "KEYS", "VALUES"])),
        }
    }

    /// `TAG VALUES [[EXACT] CARDINALITY]`: here `WITH KEY` stands in the middle.
    fn show_values(&mut self, counted: Option<bool>) -> Parsed<Show> {
        let database = self.on(true)?;
        let sources = self.from()?;
        self.expect_word(Keyword::With)?;
        self.expect_word(Keyword::Key)?;
        let keys = self.key_match()?;
        let (kind, clauses) = match counted {
            None => (ShowKind::TagValues(keys), LISTED),
            Some(exact) => {
                let of = Counted::TagValues(keys);
                (ShowKind::Cardinality { of, exact }, COUNTED)
            }
        };
        let mut show = empty_show(kind, database);
        show.sources = sources;
        self.rest_of(&mut show, clauses)?;
        Ok(show)
    }

    fn key_match(&mut self) -> Parsed<NameMatch> {
        let found = self.next();
        match found.token {
            Token::Equal => self.ident().map(NameMatch::Equal),
            Token::NotEqual => self.ident().map(NameMatch::NotEqual),
            Token::Matches | Token::NotMatches => {
                let Some((regex, _)) = self.regex()? else {
                    let found = self.next();
                    return Err(Fault::unexpected(&found, &["regex"]));
                };
                Ok(if found.token == Token::Matches {
                    NameMatch::Matches(regex)
                } else {
                    NameMatch::NotMatches(regex)
                })
            }
            Token::Word(Keyword::In) => {
                self.expect(Token::OpenParen)?;
                let mut names = vec![self.ident()?];
                while self.accept(Token::Comma).is_some() {
                    names.push(self.ident()?);
                }
                self.expect(Token::CloseParen)?;
                Ok(NameMatch::In(names))
            }
            _ => Err(Fault::unexpected(&found, &["IN", "=", "=~"])),
        }
    }

    fn show_measurements(&mut self) -> Parsed<Show> {
        let database = self.on(true)?;
        let mut with = None;
        if self.accept_word(Keyword::With) {
            self.expect_word(Keyword::Measurement)?;
            let found = self.next();
            if !matches!(found.token, Token::Equal | Token::Matches) {
                return Err(Fault::unexpected(&found, &["=", "=~"]));
            }
            let measurement = self.measurement()?;
            with = Some(match measurement.selector {
                Selector::Name(name) if found.token == Token::Equal => NameMatch::Equal(name),
                Selector::Regex(regex) => NameMatch::Matches(regex),
                Selector::Name(_) | Selector::SameName => {
                    let found = self.next();
                    return Err(Fault::unexpected(&found, &["regex"]));
                }
            });
            if measurement.database.is_some() || measurement.policy.is_some() {
                return Err(Fault::plain("WITH MEASUREMENT takes a name alone"));
            }
        }
        let mut show = empty_show(ShowKind::Measurements(with), database);
        self.rest_of(&mut show, LISTED)?;
        Ok(show)
    }

    fn module(&mut self) -> Parsed<Option<Box<str>>> {
        if self.accept_word(Keyword::For) {
            self.string().map(Some)
        } else {
            Ok(None)
        }
    }
}

fn empty_show(kind: ShowKind, database: Option<Name>) -> Show {
    Show {
        kind,
        database,
        sources: Vec::new(),
        condition: None,
        dimensions: Vec::new(),
        descending: false,
        limit: 0,
        offset: 0,
        slimit: 0,
        soffset: 0,
        span: Span::default(),
    }
}

const SHOWN: &[&str] = &[
    "CONTINUOUS",
    "DATABASES",
    "DIAGNOSTICS",
    "FIELD",
    "GRANTS",
    "MEASUREMENT",
    "MEASUREMENTS",
    "QUERIES",
    "RETENTION",
    "SERIES",
    "SHARD",
    "SHARDS",
    "STATS",
    "SUBSCRIPTIONS",
    "TAG",
    "USERS",
];
