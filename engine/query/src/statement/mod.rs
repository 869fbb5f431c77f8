//! `InfluxQL` statements, run one after another against a [`Catalog`]; their answers stream into a
//! [`ResultSink`]. Nothing is run where anything in the text is wrong; a statement that fails is
//! the last one that is run.
//!
//! What is not there yet is refused by name, never half done.

mod cardinality;
mod change;
mod delete;
mod equalities;
mod filter;
mod queries;
mod show;

pub use equalities::{Equalities, Equality, PredicateFault, equalities};

use crate::influxql::ast::{Show, ShowKind, Statement};
use crate::influxql::{parse_query, select};
use crate::result::{QueryError, QueryOptions, ResultSink};
use crate::source::Catalog;

/// Runs the statements of `text`. A statement's failure is in the answer: the sink is told, and
/// those behind it end with `not executed`.
///
/// # Errors
/// `Parse` where the text or a parameter is wrong: nothing was run, the sink was not called.
/// `Interrupted` where the sink takes no more.
pub fn execute(
    catalog: &dyn Catalog,
    text: &str,
    options: &QueryOptions,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    let statements = parse_query(text, &options.params, options.limits.text_bytes_max)?;
    let _listed = options.running.as_ref().map(|running| {
        let texts: Vec<String> = statements.iter().map(ToString::to_string).collect();
        running.enter(texts.join(";\n"), options)
    });
    let mut failed = false;
    for (id, statement) in statements.iter().enumerate() {
        sink.statement(id)?;
        if failed {
            sink.end(Some("not executed"))?;
            continue;
        }
        if options.read_only_context && changes_something(statement) {
            let text = format!(
                "deprecated use of '{statement}' in a read only context, \
                 please use a POST request instead"
            );
            sink.message("warning", &text)?;
        }
        let outcome = options
            .stop
            .check()
            .and_then(|()| run(catalog, statement, options, sink));
        match outcome {
            Ok(()) => sink.end(None)?,
            Err(error) => {
                failed = true;
                sink.end(Some(error.message()))?;
            }
        }
    }
    Ok(())
}

/// Whether a request that should only read is warned of the statement. `DELETE` is not among
/// them, as in `InfluxDB`.
fn changes_something(statement: &Statement) -> bool {
    match statement {
        Statement::Select(select) => select.target.is_some(),
        Statement::Explain { .. } | Statement::Show(_) | Statement::Delete(_) => false,
        Statement::CreateDatabase { .. }
        | Statement::DropDatabase { .. }
        | Statement::DropMeasurement { .. }
        | Statement::DropSeries(_)
        | Statement::CreatePolicy(_)
        | Statement::AlterPolicy(_)
        | Statement::AlterMeasurement { .. }
        | Statement::DropPolicy { .. }
        | Statement::CreateContinuousQuery(_)
        | Statement::DropContinuousQuery { .. }
        | Statement::CreateSubscription { .. }
        | Statement::DropSubscription { .. }
        | Statement::CreateUser { .. }
        | Statement::DropUser { .. }
        | Statement::SetPassword { .. }
        | Statement::Grant(_)
        | Statement::Revoke(_)
        | Statement::KillQuery { .. }
        | Statement::DropShard { .. } => true,
    }
}

fn run(
    catalog: &dyn Catalog,
    statement: &Statement,
    options: &QueryOptions,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    match statement {
        Statement::Select(select) if select.target.is_some() => not_yet("SELECT INTO"),
        Statement::Select(select) => select::run(catalog, select, options, sink),
        Statement::Show(show) => run_show(catalog, show, options, sink),
        Statement::CreateDatabase { name, policy } => {
            change::create_database(catalog, name, policy.as_ref())
        }
        Statement::DropDatabase { name } => change::drop_database(catalog, name),
        Statement::DropMeasurement { name } => change::drop_measurement(catalog, name, options),
        Statement::AlterMeasurement { name, change } => {
            change::alter_measurement(catalog, (name, change), options)
        }
        Statement::Explain { .. } => not_yet("EXPLAIN"),
        Statement::DropSeries(deletion) => delete::drop_series(catalog, deletion, options),
        Statement::Delete(deletion) => delete::delete(catalog, deletion, options),
        Statement::CreatePolicy(statement) => change::create_policy(catalog, statement),
        Statement::AlterPolicy(statement) => change::alter_policy(catalog, statement),
        Statement::DropPolicy { name, database } => change::drop_policy(catalog, name, database),
        Statement::CreateContinuousQuery(_) => not_yet("CREATE CONTINUOUS QUERY"),
        Statement::DropContinuousQuery { .. } => not_yet("DROP CONTINUOUS QUERY"),
        Statement::CreateSubscription { .. } => not_yet("CREATE SUBSCRIPTION"),
        Statement::DropSubscription { .. } => not_yet("DROP SUBSCRIPTION"),
        Statement::CreateUser { .. } => not_yet("CREATE USER"),
        Statement::DropUser { .. } => not_yet("DROP USER"),
        Statement::SetPassword { .. } => not_yet("SET PASSWORD"),
        Statement::Grant(_) => not_yet("GRANT"),
        Statement::Revoke(_) => not_yet("REVOKE"),
        Statement::KillQuery { id, .. } => queries::kill(*id, options),
        Statement::DropShard { .. } => not_yet("DROP SHARD"),
    }
}

fn not_yet(what: &str) -> Result<(), QueryError> {
    Err(QueryError::statement(format!(
        "{what} is not supported yet"
    )))
}

fn run_show(
    catalog: &dyn Catalog,
    show: &Show,
    options: &QueryOptions,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    let scope = filter::Scope {
        catalog,
        show,
        options,
    };
    match &show.kind {
        ShowKind::Databases => show::databases(catalog, sink),
        ShowKind::Measurements(with) => show::measurements(&scope, with.as_ref(), sink),
        ShowKind::Series => show::series(&scope, sink),
        ShowKind::TagKeys => show::tag_keys(&scope, sink),
        ShowKind::TagValues(keys) => show::tag_values(&scope, keys, sink),
        ShowKind::FieldKeys => show::field_keys(&scope, sink),
        ShowKind::RetentionPolicies => show::retention_policies(&scope, sink),
        ShowKind::Cardinality { of, exact } => cardinality::show(&scope, of, *exact, sink),
        // Nothing makes continuous queries, subscriptions or users yet, so there are none.
        ShowKind::ContinuousQueries => show::continuous_queries(catalog, sink),
        ShowKind::Subscriptions => Ok(()),
        ShowKind::Users => show::users(sink),
        ShowKind::Grants(_) => Err(QueryError::statement("user not found")),
        ShowKind::Queries => queries::show(options, sink),
        ShowKind::Shards => not_yet("SHOW SHARDS"),
        ShowKind::ShardGroups => not_yet("SHOW SHARD GROUPS"),
        ShowKind::Stats(_) => not_yet("SHOW STATS"),
        ShowKind::Diagnostics(_) => not_yet("SHOW DIAGNOSTICS"),
    }
}
