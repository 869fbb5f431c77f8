//! Trees back to text, as `InfluxDB` words it in messages. What is printed parses to an equal tree,
//! save for passwords, which are not shown.

use std::fmt::{self, Display, Formatter};

use crate::influxql::ast::{
    BinaryOp, ContinuousQuery, Counted, Deletion, Expr, ExprKind, Field, Fill, Measurement, Name,
    NameMatch, PolicyClause, PolicyStatement, Privilege, PrivilegeChange, Regex, Select, Selector,
    Show, ShowKind, Source, Statement, WildcardKind,
};
use crate::influxql::duration::duration_text;
use crate::influxql::lexer::{is_ident_char, is_ident_start};
use crate::influxql::token::keyword;
use crate::output::time_text;

/// Whether `name` can stand without quotes.
pub(crate) fn is_plain_ident(name: &str) -> bool {
    name.chars().next().is_some_and(is_ident_start)
        && name.chars().all(is_ident_char)
        && keyword(name).is_none()
}

/// `name` as a name is written, in quotes where they are needed or `quoted`.
pub(crate) fn ident_text(name: &str, quoted: bool) -> String {
    if !quoted && is_plain_ident(name) {
        return name.into();
    }
    format!("\"{}\"", escape(name, '"'))
}

/// `text` as a string is written.
pub(crate) fn string_text(text: &str) -> String {
    format!("'{}'", escape(text, '\''))
}

fn escape(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            ch if ch == quote => out.extend(['\\', ch]),
            ch => out.push(ch),
        }
    }
    out
}

fn ident(name: &Name) -> String {
    ident_text(&name.to_text(), false)
}

fn regex_text(regex: &Regex) -> String {
    format!("/{}/", regex.source().replace('/', "\\/"))
}

/// A measurement with its database and policy where they are written.
pub(crate) fn measurement_text(measurement: &Measurement) -> String {
    let mut out = String::new();
    if let Some(database) = &measurement.database {
        out.push_str(&ident(database));
        out.push('.');
    }
    if let Some(policy) = &measurement.policy {
        out.push_str(&ident(policy));
    }
    if measurement.policy.is_some() || measurement.database.is_some() {
        out.push('.');
    }
    match &measurement.selector {
        Selector::Name(name) => out.push_str(&ident(name)),
        Selector::Regex(regex) => out.push_str(&regex_text(regex)),
        Selector::SameName => out.push_str(":MEASUREMENT"),
    }
    out
}

fn list<T>(out: &mut Formatter<'_>, items: &[T], show: impl Fn(&T) -> String) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.write_str(", ")?;
        }
        out.write_str(&show(item))?;
    }
    Ok(())
}

impl Display for Measurement {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&measurement_text(self))
    }
}

impl Display for Source {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Source::Measurement(measurement) => measurement.fmt(out),
            Source::Subquery(select) => write!(out, "({select})"),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.kind.fmt(out)
    }
}

impl Display for ExprKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ExprKind::Binary { op, left, right } => binary(out, *op, left, right),
            ExprKind::Call { name, args } => {
                write!(out, "{name}(")?;
                list(out, args, Expr::to_string)?;
                out.write_str(")")
            }
            ExprKind::Variable { name, cast } => {
                out.write_str(&ident(name))?;
                match cast {
                    Some(cast) => write!(out, "::{}", cast.text()),
                    None => Ok(()),
                }
            }
            ExprKind::Number(value) => write!(out, "{}", number_text(*value)),
            ExprKind::Integer(value) => write!(out, "{value}"),
            ExprKind::Unsigned(value) => write!(out, "{value}"),
            ExprKind::String(text) => out.write_str(&string_text(text)),
            ExprKind::Boolean(value) => write!(out, "{value}"),
            ExprKind::Duration(ns) => out.write_str(&duration_text(*ns)),
            ExprKind::Time(ns) => write!(out, "'{}'", time_text(*ns, None)),
            ExprKind::Regex(regex) => out.write_str(&regex_text(regex)),
            ExprKind::List(texts) => {
                out.write_str("(")?;
                list(out, texts, |text| string_text(text))?;
                out.write_str(")")
            }
            ExprKind::Wildcard(None) => out.write_str("*"),
            ExprKind::Wildcard(Some(WildcardKind::Field)) => out.write_str("*::field"),
            ExprKind::Wildcard(Some(WildcardKind::Tag)) => out.write_str("*::tag"),
            ExprKind::Distinct(name) => write!(out, "DISTINCT {}", ident(name)),
            ExprKind::Paren(inner) => write!(out, "({inner})"),
        }
    }
}

/// Always with a dot, so that it is not read as an integer.
fn number_text(value: f64) -> String {
    let text = format!("{value}");
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

fn binary(out: &mut Formatter<'_>, op: BinaryOp, left: &Expr, right: &Expr) -> fmt::Result {
    operand(out, left, op.precedence())?;
    write!(out, " {} ", op.text())?;
    match signed(right) {
        // `2 / -1 * x` would be read as `(2 / -1) * x`.
        Some((sign, inner)) if op.precedence() == BinaryOp::Multiply.precedence() => {
            write!(out, "{sign}{inner}")
        }
        // `AND` and `OR` are associative, and their trees balanced.
        _ if op.is_logical() => operand(out, right, op.precedence()),
        _ => operand(out, right, op.precedence() + 1),
    }
}

/// In brackets if it binds looser than `precedence`; the parser makes no such tree, rewriting may.
fn operand(out: &mut Formatter<'_>, expr: &Expr, precedence: u8) -> fmt::Result {
    if matches!(&expr.kind, ExprKind::Binary { op, .. } if op.precedence() < precedence) {
        return write!(out, "({expr})");
    }
    expr.fmt(out)
}

/// The sign and what follows it, of an expression that the parser made from `-x` or `+x`.
fn signed(expr: &Expr) -> Option<(char, &Expr)> {
    let ExprKind::Binary {
        op: BinaryOp::Multiply,
        left,
        right,
    } = &expr.kind
    else {
        return None;
    };
    let ExprKind::Integer(factor @ (1 | -1)) = left.kind else {
        return None;
    };
    let sign = if factor < 0 { '-' } else { '+' };
    let simple = matches!(
        right.kind,
        ExprKind::Variable { .. } | ExprKind::Call { .. } | ExprKind::Paren(_)
    );
    simple.then_some((sign, &**right))
}

impl Display for Field {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(out)?;
        match &self.alias {
            Some(alias) => write!(out, " AS {}", ident(alias)),
            None => Ok(()),
        }
    }
}

impl Display for Select {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("SELECT ")?;
        list(out, &self.fields, Field::to_string)?;
        if let Some(target) = &self.target {
            write!(out, " INTO {target}")?;
        }
        out.write_str(" FROM ")?;
        list(out, &self.sources, Source::to_string)?;
        tail(out, self.condition.as_ref(), &self.dimensions)?;
        match self.fill {
            Fill::Null => {}
            Fill::None => out.write_str(" fill(none)")?,
            Fill::Number(value) => write!(out, " fill({})", number_text(value))?,
            Fill::Integer(value) => write!(out, " fill({value})")?,
            Fill::Previous => out.write_str(" fill(previous)")?,
            Fill::Linear => out.write_str(" fill(linear)")?,
        }
        let counts = [self.limit, self.offset, self.slimit, self.soffset];
        order_and_counts(out, self.descending, counts)?;
        match &self.zone {
            Some(zone) => write!(out, " TZ({})", string_text(&zone.name)),
            None => Ok(()),
        }
    }
}

fn tail(out: &mut Formatter<'_>, condition: Option<&Expr>, dimensions: &[Expr]) -> fmt::Result {
    if let Some(condition) = condition {
        write!(out, " WHERE {condition}")?;
    }
    if !dimensions.is_empty() {
        out.write_str(" GROUP BY ")?;
        list(out, dimensions, Expr::to_string)?;
    }
    Ok(())
}

fn order_and_counts(out: &mut Formatter<'_>, descending: bool, counts: [u64; 4]) -> fmt::Result {
    if descending {
        out.write_str(" ORDER BY time DESC")?;
    }
    for (word, count) in ["LIMIT", "OFFSET", "SLIMIT", "SOFFSET"].iter().zip(counts) {
        if count > 0 {
            write!(out, " {word} {count}")?;
        }
    }
    Ok(())
}

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
        | Statement::CreateContinuousQuery(_)
        | Statement::CreateSubscription { .. }
        | Statement::Grant(_)
        | Statement::Revoke(_) => String::new(),
    }
}
