//! `DELETE` and `DROP SERIES`: what they choose. A measurement that is not there is fine.

use silverback_storage::model::TagPredicate;

use crate::influxql::ast::{Deletion, Measurement, Name, Selector};
use crate::influxql::{Condition, split_condition, tag_predicate};
use crate::result::{QueryError, QueryOptions};
use crate::source::{Catalog, Delete, Source};

/// Runs `DELETE`: tags and times, in all policies.
pub(super) fn delete(
    catalog: &dyn Catalog,
    deletion: &Deletion,
    options: &QueryOptions,
) -> Result<(), QueryError> {
    let condition = split_condition(deletion.condition.as_ref(), options.now_ns, None)?;
    run(catalog, (deletion, condition), options)
}

/// Runs `DROP SERIES`: tags alone.
pub(super) fn drop_series(
    catalog: &dyn Catalog,
    deletion: &Deletion,
    options: &QueryOptions,
) -> Result<(), QueryError> {
    let condition = split_condition(deletion.condition.as_ref(), options.now_ns, None)?;
    if condition.has_start || condition.has_end {
        let text = "DROP SERIES doesn't support time in WHERE clause";
        return Err(QueryError::statement(text));
    }
    run(catalog, (deletion, condition), options)
}

fn run(
    catalog: &dyn Catalog,
    (deletion, condition): (&Deletion, Condition),
    options: &QueryOptions,
) -> Result<(), QueryError> {
    let name = options.database.as_deref().unwrap_or_default();
    let source = catalog
        .source(name)
        .ok_or_else(|| QueryError::statement(format!("database not found: {name}")))?;
    let names = measurements(&*source, &deletion.sources);
    let mut chosen: Vec<(&[u8], TagPredicate)> = Vec::new();
    for measurement in &names {
        let predicate = match &condition.rest {
            None => TagPredicate::All,
            Some(rest) => {
                let info = source.measurement(measurement);
                let is_field =
                    |name: &Name| info.as_ref().is_some_and(|info| info.field(name).is_some());
                tag_predicate(rest, &is_field).ok_or_else(|| {
                    let text = "fields not supported in WHERE clause during deletion";
                    QueryError::statement(text)
                })?
            }
        };
        chosen.push((measurement, predicate));
    }
    let delete = Delete {
        policy: None,
        measurements: chosen,
        range: condition.range,
    };
    Ok(catalog.delete(name, &delete)?)
}

/// The measurements that are there of those written; all where none is.
fn measurements(source: &dyn Source, written: &[Measurement]) -> Vec<Box<[u8]>> {
    let all = source.measurements().into_iter();
    let is_meant = |name: &[u8]| {
        written.is_empty()
            || written
                .iter()
                .any(|measurement| match &measurement.selector {
                    Selector::Name(own) => **own == *name,
                    Selector::Regex(regex) => regex.is_match(name),
                    Selector::SameName => false,
                })
    };
    let meant = all.filter(|info| is_meant(&info.name));
    meant.map(|info| info.name.clone()).collect()
}
