//! Statements back to text.

use std::fmt::{self, Display, Formatter};

use crate::influxql::ast::{
    ContinuousQuery, Counted, Deletion, Measurement, MeasurementChange, NameMatch, PolicyClause,
    PolicyStatement, Privilege, PrivilegeChange, Show, ShowKind, Statement,
};
use crate::influxql::duration::duration_text;
use crate::influxql::print::{ident, list, order_and_counts, regex_text, string_text, tail};

impl Display for NameMatch {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            NameMatch::Equal(name) => write!(out, "= {}", ident(name)),
            NameMatch::NotEqual(name) => write!(out, "!= {}", ident(name)),
            NameMatch::Matches(regex) => write!(out, "=~ {}", regex_text(regex)),
            NameMatch::NotMatches(regex) => write!(out, "!~ {}", regex_text(regex)),
            NameMatch::In(names) => {
                out.write_str("IN (")?;
                list(out, names, ident)?;
                out.write_str(")")
            }
        }
    }
}

impl Display for Show {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (words, with) = shown(&self.kind);
        write!(out, "SHOW {words}")?;
        if let Some(database) = &self.database {
            write!(out, " ON {}", ident(database))?;
        }
        if !self.sources.is_empty() {
            out.write_str(" FROM ")?;
            list(out, &self.sources, Measurement::to_string)?;
        }
        out.write_str(&with)?;
        tail(out, self.condition.as_ref(), &self.dimensions)?;
        let counts = [self.limit, self.offset, self.slimit, self.soffset];
        order_and_counts(out, self.descending, counts)
    }
}

/// What is shown, and its `WITH` clause.
fn shown(kind: &ShowKind) -> (String, String) {
    let module = |word: &str, module: &Option<Box<str>>| match module {
        Some(module) => format!("{word} FOR {}", string_text(module)),
        None => word.into(),
    };
    let words = match kind {
        ShowKind::Databases => "DATABASES".into(),
        ShowKind::Measurements(with) => {
            let with = with
                .as_ref()
                .map(|with| format!(" WITH MEASUREMENT {with}"));
            return ("MEASUREMENTS".into(), with.unwrap_or_default());
        }
        ShowKind::Series => "SERIES".into(),
        ShowKind::TagKeys => "TAG KEYS".into(),
        ShowKind::TagValues(keys) => return ("TAG VALUES".into(), format!(" WITH KEY {keys}")),
        ShowKind::FieldKeys => "FIELD KEYS".into(),
        ShowKind::RetentionPolicies => "RETENTION POLICIES".into(),
        ShowKind::Cardinality { of, exact } => {
            let (what, with) = match of {
                Counted::Series => ("SERIES", String::new()),
                Counted::Measurements => ("MEASUREMENT", String::new()),
                Counted::TagKeys => ("TAG KEY", String::new()),
                Counted::TagValues(keys) => ("TAG VALUES", format!(" WITH KEY {keys}")),
                Counted::FieldKeys => ("FIELD KEY", String::new()),
            };
            let exact = if *exact { " EXACT" } else { "" };
            return (format!("{what}{exact} CARDINALITY"), with);
        }
        ShowKind::ContinuousQueries => "CONTINUOUS QUERIES".into(),
        ShowKind::Subscriptions => "SUBSCRIPTIONS".into(),
        ShowKind::Users => "USERS".into(),
        ShowKind::Grants(user) => format!("GRANTS FOR {}", ident(user)),
        ShowKind::Queries => "QUERIES".into(),
        ShowKind::Shards => "SHARDS".into(),
        ShowKind::ShardGroups => "SHARD GROUPS".into(),
        ShowKind::Stats(name) => module("STATS", name),
        ShowKind::Diagnostics(name) => module("DIAGNOSTICS", name),
    };
    (words, String::new())
}

fn infinite_duration_text(ns: i64) -> String {
    if ns == 0 {
        "INF".into()
    } else {
        duration_text(ns)
    }
}

impl Display for PolicyClause {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if let Some(ns) = self.duration_ns {
            write!(out, " DURATION {}", infinite_duration_text(ns))?;
        }
        if let Some(replication) = self.replication {
            write!(out, " REPLICATION {replication}")?;
        }
        if let Some(ns) = self.partition_ns {
            write!(out, " SHARD DURATION {}", infinite_duration_text(ns))?;
        }
        if let Some(name) = &self.name {
            write!(out, " NAME {}", ident(name))?;
        }
        if self.default {
            out.write_str(" DEFAULT")?;
        }
        Ok(())
    }
}

impl Display for PolicyStatement {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (name, database) = (ident(&self.name), ident(&self.database));
        write!(out, "RETENTION POLICY {name} ON {database}{}", self.clause)
    }
}

impl Display for Deletion {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if !self.sources.is_empty() {
            out.write_str(" FROM ")?;
            list(out, &self.sources, Measurement::to_string)?;
        }
        tail(out, self.condition.as_ref(), &[])
    }
}

impl Display for ContinuousQuery {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (name, database) = (ident(&self.name), ident(&self.database));
        write!(out, "CREATE CONTINUOUS QUERY {name} ON {database}")?;
        if self.every_ns.is_some() || self.for_ns.is_some() {
            out.write_str(" RESAMPLE")?;
        }
        if let Some(ns) = self.every_ns {
            write!(out, " EVERY {}", duration_text(ns))?;
        }
        if let Some(ns) = self.for_ns {
            write!(out, " FOR {}", duration_text(ns))?;
        }
        write!(out, " BEGIN {} END", self.select)
    }
}

fn privilege_change(
    out: &mut Formatter<'_>,
    change: &PrivilegeChange,
    (verb, to): (&str, &str),
) -> fmt::Result {
    let privilege = match change.privilege {
        Privilege::Read => "READ",
        Privilege::Write => "WRITE",
        Privilege::All => "ALL PRIVILEGES",
    };
    write!(out, "{verb} {privilege}")?;
    if let Some(database) = &change.database {
        write!(out, " ON {}", ident(database))?;
    }
    write!(out, " {to} {}", ident(&change.user))
}

impl Display for Statement {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statement::Select(select) => select.fmt(out),
            Statement::Explain {
                select,
                analyze,
                verbose,
            } => {
                let analyze = if *analyze { "ANALYZE " } else { "" };
                let verbose = if *verbose { "VERBOSE " } else { "" };
                write!(out, "EXPLAIN {analyze}{verbose}{select}")
            }
            Statement::Show(show) => show.fmt(out),
            Statement::CreateDatabase { name, policy } => {
                write!(out, "CREATE DATABASE {}", ident(name))?;
                match policy {
                    Some(clause) => write!(out, " WITH{clause}"),
                    None => Ok(()),
                }
            }
            Statement::DropSeries(deletion) => write!(out, "DROP SERIES{deletion}"),
            Statement::Delete(deletion) => write!(out, "DELETE{deletion}"),
            Statement::CreatePolicy(policy) => write!(out, "CREATE {policy}"),
            Statement::AlterPolicy(policy) => write!(out, "ALTER {policy}"),
            Statement::AlterMeasurement { name, change } => {
                write!(out, "ALTER MEASUREMENT {}", ident(name))?;
                match change {
                    MeasurementChange::Rename(to) => write!(out, " RENAME TO {}", ident(to)),
                    MeasurementChange::RenameTag(from, to) => {
                        write!(out, " RENAME TAG {} TO {}", ident(from), ident(to))
                    }
                    MeasurementChange::RenameField(from, to) => {
                        write!(out, " RENAME FIELD {} TO {}", ident(from), ident(to))
                    }
                    MeasurementChange::DropField(field) => {
                        write!(out, " DROP FIELD {}", ident(field))
                    }
                }
            }
            Statement::CreateContinuousQuery(query) => query.fmt(out),
            Statement::Grant(change) => privilege_change(out, change, ("GRANT", "TO")),
            Statement::Revoke(change) => privilege_change(out, change, ("REVOKE", "FROM")),
            Statement::CreateSubscription {
                name,
                database,
                policy,
                all,
                destinations,
            } => {
                let (name, database, policy) = (ident(name), ident(database), ident(policy));
                let mode = if *all { "ALL" } else { "ANY" };
                write!(out, "CREATE SUBSCRIPTION {name} ON {database}.{policy} ")?;
                write!(out, "DESTINATIONS {mode} ")?;
                list(out, destinations, |url| string_text(url))
            }
            Statement::DropDatabase { .. }
            | Statement::DropMeasurement { .. }
            | Statement::DropPolicy { .. }
            | Statement::DropContinuousQuery { .. }
            | Statement::DropSubscription { .. }
            | Statement::CreateUser { .. }
            | Statement::DropUser { .. }
            | Statement::SetPassword { .. }
            | Statement::KillQuery { .. }
            | Statement::DropShard { .. } => out.write_str(&plain_statement_text(self)),
        }
    }
}

/// Statements of a few names.
fn plain_statement_text(statement: &Statement) -> String {
    match statement {
        Statement::DropDatabase { name } => format!("DROP DATABASE {}", ident(name)),
        Statement::DropMeasurement { name } => format!("DROP MEASUREMENT {}", ident(name)),
        Statement::DropPolicy { name, database } => {
            format!(
                "DROP RETENTION POLICY {} ON {}",
                ident(name),
                ident(database)
            )
        }
        Statement::DropContinuousQuery { name, database } => {
            format!(
                "DROP CONTINUOUS QUERY {} ON {}",
                ident(name),
                ident(database)
            )
        }
        Statement::DropSubscription {
            name,
            database,
            policy,
        } => format!(
            "DROP SUBSCRIPTION {} ON {}.{}",
            ident(name),
            ident(database),
            ident(policy)
        ),
        Statement::CreateUser { name, admin, .. } => {
            let admin = if *admin { " WITH ALL PRIVILEGES" } else { "" };
            format!(
                "CREATE USER {} WITH PASSWORD [REDACTED]{admin}",
                ident(name)
            )
        }
        Statement::DropUser { name } => format!("DROP USER {}", ident(name)),
        Statement::SetPassword { name, .. } => {
            format!("SET PASSWORD FOR {} = [REDACTED]", ident(name))
        }
        Statement::KillQuery { id, host } => match host {
            Some(host) => format!("KILL QUERY {id} ON {}", ident(host)),
            None => format!("KILL QUERY {id}"),
        },
        Statement::DropShard { id } => format!("DROP SHARD {id}"),
        Statement::Select(_)
        | Statement::Explain { .. }
        | Statement::Show(_)
        | Statement::CreateDatabase { .. }
        | Statement::DropSeries(_)
        | Statement::Delete(_)
        | Statement::CreatePolicy(_)
        | Statement::AlterPolicy(_)
        | Statement::AlterMeasurement { .. }
        | Statement::CreateContinuousQuery(_)
        | Statement::CreateSubscription { .. }
        | Statement::Grant(_)
        | Statement::Revoke(_) => String::new(),
    }
}
