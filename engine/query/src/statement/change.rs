//! Statements that make, change and drop databases, policies and measurements.

use silverback_storage::ErrorKind;

use crate::influxql::ast::{MeasurementChange, Name, PolicyClause, PolicyStatement};
use crate::result::{QueryError, QueryOptions};
use crate::source::{Alter, Catalog, PolicyChange, PolicySpec};

pub(super) fn create_database(
    catalog: &dyn Catalog,
    name: &Name,
    clause: Option<&PolicyClause>,
) -> Result<(), QueryError> {
    let spec = clause.map(policy_spec).unwrap_or_default();
    Ok(catalog.create_database(&name.to_text(), &spec)?)
}

pub(super) fn create_policy(
    catalog: &dyn Catalog,
    statement: &PolicyStatement,
) -> Result<(), QueryError> {
    let database = known_database(catalog, &statement.database)?;
    let spec = PolicySpec {
        name: Some(statement.name.to_text().into()),
        ..policy_spec(&statement.clause)
    };
    Ok(catalog.create_policy(&database, &spec, statement.clause.default)?)
}

pub(super) fn alter_policy(
    catalog: &dyn Catalog,
    statement: &PolicyStatement,
) -> Result<(), QueryError> {
    let database = known_database(catalog, &statement.database)?;
    let clause = &statement.clause;
    let change = PolicyChange {
        duration_ns: clause.duration_ns,
        partition_ns: clause.partition_ns,
        replication: clause.replication,
        makes_default: clause.default,
    };
    Ok(catalog.alter_policy(&database, &statement.name.to_text(), &change)?)
}

pub(super) fn drop_policy(
    catalog: &dyn Catalog,
    name: &Name,
    database: &Name,
) -> Result<(), QueryError> {
    Ok(catalog.drop_policy(&database.to_text(), &name.to_text())?)
}

/// The name of a database that is there.
fn known_database(catalog: &dyn Catalog, name: &Name) -> Result<String, QueryError> {
    let name = name.to_text();
    if catalog.source(&name).is_none() {
        let text = format!("database not found: {name}");
        return Err(QueryError::statement(text));
    }
    Ok(name.into_owned())
}

fn policy_spec(clause: &PolicyClause) -> PolicySpec {
    PolicySpec {
        name: clause.name.as_ref().map(|name| name.to_text().into()),
        duration_ns: clause.duration_ns,
        partition_ns: clause.partition_ns,
        replication: clause.replication,
    }
}

pub(super) fn drop_database(catalog: &dyn Catalog, name: &Name) -> Result<(), QueryError> {
    Ok(catalog.drop_database(&name.to_text())?)
}

pub(super) fn alter_measurement(
    catalog: &dyn Catalog,
    (name, change): (&Name, &MeasurementChange),
    options: &QueryOptions,
) -> Result<(), QueryError> {
    let database = options.database.as_deref().filter(|name| !name.is_empty());
    let database = database.ok_or_else(|| QueryError::statement("database name required"))?;
    let alter = match change {
        MeasurementChange::Rename(to) => Alter::Rename(to),
        MeasurementChange::RenameTag(from, to) => Alter::RenameTag { from, to },
        MeasurementChange::RenameField(from, to) => Alter::RenameField { from, to },
        MeasurementChange::DropField(field) => Alter::DropField(field),
    };
    Ok(catalog.alter_measurement(database, name, alter)?)
}

pub(super) fn drop_measurement(
    catalog: &dyn Catalog,
    name: &Name,
    options: &QueryOptions,
) -> Result<(), QueryError> {
    let database = options.database.as_deref().filter(|name| !name.is_empty());
    let database = database.ok_or_else(|| QueryError::statement("database name required"))?;
    catalog.drop_measurement(database, name).map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            QueryError::statement(format!("database not found: {database}"))
        } else {
            error.into()
        }
    })
}
