//! Statements that make, change and drop things.

use crate::influxql::ast::{
    ContinuousQuery, Deletion, ExprKind, Measurement, MeasurementChange, Name, PolicyClause,
    PolicyStatement, Privilege, PrivilegeChange, Select, Source, Statement,
};
use crate::influxql::duration::duration_text;
use crate::influxql::lexer::Pos;
use crate::influxql::parse::select::Target;
use crate::influxql::parse::{Fault, Parsed, Parser};
use crate::influxql::token::{Keyword, Token};

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Parsed<Statement> {
        let found = self.next();
        match found.token {
            Token::Word(Keyword::Continuous) => {
                self.expect_word(Keyword::Query)?;
                self.create_continuous_query()
            }
            Token::Word(Keyword::Database) => self.create_database(),
            Token::Word(Keyword::User) => self.create_user(),
            Token::Word(Keyword::Retention) => {
                self.expect_word(Keyword::Policy)?;
                self.create_policy()
            }
            Token::Word(Keyword::Subscription) => self.create_subscription(),
            _ => Err(Fault::unexpected(
                &found,
                &[
                    "CONTINUOUS",
                    "DATABASE",
                    "USER",
                    "RETENTION",
                    "SUBSCRIPTION",
                ],
            )),
        }
    }
    pub(super) fn drop_statement(&mut self) -> Parsed<Statement> {
        let expected = [
            "CONTINUOUS",
            "DATABASE",
            "MEASUREMENT",
            "RETENTION",
            "SERIES",
            "SHARD",
            "SUBSCRIPTION",
            "USER",
        ];
        let found = self.next();
        let Token::Word(word) = found.token else {
            return Err(Fault::unexpected(&found, &expected));
        };
        Ok(match word {
            Keyword::Continuous => {
                self.expect_word(Keyword::Query)?;
                let (name, database) = self.name_on_database()?;
                Statement::DropContinuousQuery { name, database }
            }
            Keyword::Database => Statement::DropDatabase {
                name: self.ident()?,
            },
            Keyword::Measurement => Statement::DropMeasurement {
                name: self.ident()?,
            },
            Keyword::Retention => {
                self.expect_word(Keyword::Policy)?;
                let (name, database) = self.name_on_database()?;
                Statement::DropPolicy { name, database }
            }
            Keyword::Series => Statement::DropSeries(self.deletion()?),
            Keyword::Shard => Statement::DropShard { id: self.id()? },
            Keyword::Subscription => {
                let (name, database, policy) = self.name_on_policy()?;
                Statement::DropSubscription {
                    name,
                    database,
                    policy,
                }
            }
            Keyword::User => Statement::DropUser {
                name: self.ident()?,
            },
            _ => return Err(Fault::unexpected(&found, &expected)),
        })
    }

    fn name_on_database(&mut self) -> Parsed<(Name, Name)> {
        let name = self.ident()?;
        self.expect_word(Keyword::On)?;
        Ok((name, self.ident()?))
    }

    fn name_on_policy(&mut self) -> Parsed<(Name, Name, Name)> {
        let (name, database) = self.name_on_database()?;
        self.expect(Token::Dot)?;
        Ok((name, database, self.ident()?))
    }

    fn id(&mut self) -> Parsed<u64> {
        let found = self.integer()?;
        let value = found.text.parse();
        value.map_err(|_| Fault::at("unable to parse integer", found.pos))
    }

    fn create_database(&mut self) -> Parsed<Statement> {
        let name = self.ident()?;
        let mut policy = None;
        if self.accept_word(Keyword::With) {
            let mut clause = PolicyClause::default();
            if self.accept_word(Keyword::Duration) {
                clause.duration_ns = Some(self.duration()?);
            }
            if self.accept_word(Keyword::Replication) {
                clause.replication = Some(self.replication()?);
            }
            if self.accept_word(Keyword::Shard) {
                self.expect_word(Keyword::Duration)?;
                clause.partition_ns = Some(self.duration()?);
            }
            if self.accept_word(Keyword::Name) {
                clause.name = Some(self.ident()?);
            }
            if clause == PolicyClause::default() {
                let found = self.next();
                let expected = ["DURATION", "NAME", "REPLICATION", "SHARD"];
                return Err(Fault::unexpected(&found, &expected));
            }
            policy = Some(clause);
        }
        Ok(Statement::CreateDatabase { name, policy })
    }

    fn replication(&mut self) -> Parsed<u32> {
        let max = i32::MAX.unsigned_abs();
        let found = self.integer()?;
        let value: Option<u32> = found.text.parse().ok();
        let value = value.filter(|value| (1..=max).contains(value));
        value.ok_or_else(|| {
            let text = format!("invalid value {}: must be 1 <= n <= {max}", found.text);
            Fault::at(text, found.pos)
        })
    }

    fn create_policy(&mut self) -> Parsed<Statement> {
        let (name, database) = self.name_on_database()?;
        self.expect_word(Keyword::Duration)?;
        let mut clause = PolicyClause {
            duration_ns: Some(self.duration()?),
            ..PolicyClause::default()
        };
        self.expect_word(Keyword::Replication)?;
        clause.replication = Some(self.replication()?);
        if self.accept_word(Keyword::Shard) {
            self.expect_word(Keyword::Duration)?;
            clause.partition_ns = Some(self.duration()?);
        }
        clause.default = self.accept_word(Keyword::Default);
        Ok(Statement::CreatePolicy(PolicyStatement {
            name,
            database,
            clause,
        }))
    }

    pub(super) fn alter(&mut self) -> Parsed<Statement> {
        if self.accept_word(Keyword::Measurement) {
            return self.alter_measurement();
        }
        self.expect_word(Keyword::Retention)?;
        self.expect_word(Keyword::Policy)?;
        let (name, database) = self.name_on_database()?;
        let mut clause = PolicyClause::default();
        loop {
            let found = self.next();
            let twice = match found.token {
                Token::Word(Keyword::Duration) => {
                    clause.duration_ns.is_some() || {
                        clause.duration_ns = Some(self.duration()?);
                        false
                    }
                }
                Token::Word(Keyword::Replication) => {
                    clause.replication.is_some() || {
                        clause.replication = Some(self.replication()?);
                        false
                    }
                }
                Token::Word(Keyword::Shard) => {
                    self.expect_word(Keyword::Duration)?;
                    clause.partition_ns.is_some() || {
                        clause.partition_ns = Some(self.duration()?);
                        false
                    }
                }
                Token::Word(Keyword::Default) => std::mem::replace(&mut clause.default, true),
                _ if clause == PolicyClause::default() => {
                    let expected = ["DURATION", "REPLICATION", "SHARD", "DEFAULT"];
                    return Err(Fault::unexpected(&found, &expected));
                }
                _ => {
                    self.give_back();
                    return Ok(Statement::AlterPolicy(PolicyStatement {
                        name,
                        database,
                        clause,
                    }));
                }
            };
            if twice {
                let text = format!("found duplicate {} option", found.token.name());
                return Err(Fault::at(text, found.pos));
            }
        }
    }

    fn create_continuous_query(&mut self) -> Parsed<Statement> {
        let (name, database) = self.name_on_database()?;
        let (every_ns, for_ns) = self.resample()?;
        self.expect_word(Keyword::Begin)?;
        let word = self.expect_word(Keyword::Select)?;
        let select = self.select(Target::Required, word.span.start)?;
        let Some(interval) = group_interval(&select) else {
            let first = select.sources.first();
            let source = first.map(ToString::to_string).unwrap_or_default();
            let pos = match first {
                Some(Source::Measurement(measurement)) => self.pos_of(measurement.span.start),
                Some(Source::Subquery(_)) | None => Pos::default(),
            };
            let text = format!("found {source}, expected GROUP BY time(...)");
            return Err(Fault::at(text, pos));
        };
        if let Some(for_ns) = for_ns.filter(|for_ns| *for_ns < interval) {
            return Err(Fault::plain(format!(
                "FOR duration must be >= GROUP BY time duration: must be a minimum of {}, got {}",
                duration_text(interval),
                duration_text(for_ns)
            )));
        }
        self.expect_word(Keyword::End)?;
        Ok(Statement::CreateContinuousQuery(Box::new(
            ContinuousQuery {
                name,
                database,
                every_ns,
                for_ns,
                select,
            },
        )))
    }

    fn resample(&mut self) -> Parsed<(Option<i64>, Option<i64>)> {
        if !self.accept_word(Keyword::Resample) {
            return Ok((None, None));
        }
        let every = self.duration_behind(Keyword::Every)?;
        let for_ns = self.duration_behind(Keyword::For)?;
        if every.is_none() && for_ns.is_none() {
            let found = self.next();
            return Err(Fault::unexpected(&found, &["EVERY", "FOR"]));
        }
        Ok((every, for_ns))
    }

    fn duration_behind(&mut self, word: Keyword) -> Parsed<Option<i64>> {
        if self.accept_word(word) {
            self.duration().map(Some)
        } else {
            Ok(None)
        }
    }

    fn create_subscription(&mut self) -> Parsed<Statement> {
        let (name, database, policy) = self.name_on_policy()?;
        self.expect_word(Keyword::Destinations)?;
        let found = self.next();
        let all = match found.token {
            Token::Word(Keyword::All) => true,
            Token::Word(Keyword::Any) => false,
            _ => return Err(Fault::unexpected(&found, &["ALL", "ANY"])),
        };
        let mut destinations = vec![self.string()?];
        while self.accept(Token::Comma).is_some() {
            destinations.push(self.string()?);
        }
        Ok(Statement::CreateSubscription {
            name,
            database,
            policy,
            all,
            destinations,
        })
    }

    fn create_user(&mut self) -> Parsed<Statement> {
        let name = self.ident()?;
        self.expect_word(Keyword::With)?;
        self.expect_word(Keyword::Password)?;
        let password = self.string()?;
        let admin = self.accept_word(Keyword::With);
        if admin {
            self.expect_word(Keyword::All)?;
            self.expect_word(Keyword::Privileges)?;
        }
        Ok(Statement::CreateUser {
            name,
            password,
            admin,
        })
    }

    pub(super) fn set_password(&mut self) -> Parsed<Statement> {
        self.expect_word(Keyword::Password)?;
        self.expect_word(Keyword::For)?;
        let name = self.ident()?;
        self.expect(Token::Equal)?;
        let password = self.string()?;
        Ok(Statement::SetPassword { name, password })
    }

    pub(super) fn grant(&mut self) -> Parsed<Statement> {
        self.privilege_change(Keyword::To).map(Statement::Grant)
    }

    pub(super) fn revoke(&mut self) -> Parsed<Statement> {
        self.privilege_change(Keyword::From).map(Statement::Revoke)
    }

    /// `READ ON db TO user`, with `to` the word before the user.
    fn privilege_change(&mut self, to: Keyword) -> Parsed<PrivilegeChange> {
        let found = self.next();
        let privilege = match found.token {
            Token::Word(Keyword::Read) => Privilege::Read,
            Token::Word(Keyword::Write) => Privilege::Write,
            Token::Word(Keyword::All) => {
                self.accept_word(Keyword::Privileges);
                Privilege::All
            }
            _ => {
                let expected = ["READ", "WRITE", "ALL [PRIVILEGES]"];
                return Err(Fault::unexpected(&found, &expected));
            }
        };
        let found = self.next();
        let mut database = None;
        if found.token == Token::Word(Keyword::On) {
            database = Some(self.ident()?);
            self.expect_word(to)?;
        } else if privilege != Privilege::All {
            return Err(Fault::unexpected(&found, &["ON"]));
        } else if found.token != Token::Word(to) {
            return Err(Fault::unexpected(&found, &["ON", to.text()]));
        }
        let user = self.ident()?;
        Ok(PrivilegeChange {
            privilege,
            database,
            user,
        })
    }

    pub(super) fn kill(&mut self) -> Parsed<Statement> {
        self.expect_word(Keyword::Query)?;
        let id = self.id()?;
        let host = if self.accept_word(Keyword::On) {
            Some(self.ident()?)
        } else {
            None
        };
        Ok(Statement::KillQuery { id, host })
    }

    /// What is not `InfluxDB`'s: no new keyword, so that names stay as free as they are there.
    fn alter_measurement(&mut self) -> Parsed<Statement> {
        let name = self.ident()?;
        let found = self.next();
        let is_rename = found.token == Token::Ident && found.text.eq_ignore_ascii_case("rename");
        let change = if found.token == Token::Word(Keyword::Drop) {
            self.expect_word(Keyword::Field)?;
            MeasurementChange::DropField(self.ident()?)
        } else if is_rename {
            self.rename()?
        } else {
            return Err(Fault::unexpected(&found, &["RENAME", "DROP FIELD"]));
        };
        Ok(Statement::AlterMeasurement { name, change })
    }

    fn rename(&mut self) -> Parsed<MeasurementChange> {
        let found = self.next();
        let make = match found.token {
            Token::Word(Keyword::To) => return Ok(MeasurementChange::Rename(self.ident()?)),
            Token::Word(Keyword::Tag) => MeasurementChange::RenameTag,
            Token::Word(Keyword::Field) => MeasurementChange::RenameField,
            _ => return Err(Fault::unexpected(&found, &["TO", "TAG", "FIELD"])),
        };
        let from = self.ident()?;
        self.expect_word(Keyword::To)?;
        Ok(make(from, self.ident()?))
    }

    pub(super) fn delete(&mut self) -> Parsed<Statement> {
        self.deletion().map(Statement::Delete)
    }

    fn deletion(&mut self) -> Parsed<Deletion> {
        let sources = self.from()?;
        let condition = self.condition()?;
        if sources.is_empty() && condition.is_none() {
            let found = self.next();
            return Err(Fault::unexpected(&found, &["FROM", "WHERE"]));
        }
        let qualified = |source: &Measurement| source.database.is_some() || source.policy.is_some();
        if sources.iter().any(qualified) {
            return Err(Fault::at("retention policy not supported", Pos::default()));
        }
        Ok(Deletion { sources, condition })
    }
}

/// The interval of `GROUP BY time(...)`, if it is there and positive.
fn group_interval(select: &Select) -> Option<i64> {
    select.dimensions.iter().find_map(|dimension| {
        let ExprKind::Call { name, args } = &dimension.kind else {
            return None;
        };
        match args.first().map(|arg| &arg.kind) {
            Some(ExprKind::Duration(ns)) if &**name == "time" && *ns > 0 => Some(*ns),
            _ => None,
        }
    })
}
