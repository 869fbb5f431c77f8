//! Statements that make and drop databases and measurements.

use silverback_storage::ErrorKind;

use crate::influxql::ast::{MeasurementChange, Name, PolicyClause};
use crate::influxql::go_duration_text;
use crate::result::{QueryError, QueryOptions};
use crate::source::{Alter, Catalog, PolicySpec};

/// The shortest time that a policy keeps points, ns.
const POLICY_DURATION_MIN_NS: i64 = 3_600_000_000_000;

pub(super) fn create_database(
    catalog: &dyn Catalog,
    name: &Name,
    clause: Option<&PolicyClause>,
) -> Result<(), QueryError> {
    let name = name.to_text();
    check_name(&name)?;
    let spec = match clause {
        Some(clause) => policy_spec(clause)?,
        None => PolicySpec::default(),
    };
    catalog.create_database(&name, &spec).map_err(|error| {
        if error.kind() == ErrorKind::Conflict {
            QueryError::statement("retention policy conflicts with an existing policy")
        } else {
            error.into()
        }
    })
}

/// Names that are one step of a path and can be seen.
fn check_name(name: &str) -> Result<(), QueryError> {
    let bad = name.is_empty()
        || name == "."
        || name == ".."
        || name.contains(['/', '\\'])
        || name.contains(char::is_control);
    if bad {
        return Err(QueryError::statement("invalid name"));
    }
    Ok(())
}

fn policy_spec(clause: &PolicyClause) -> Result<PolicySpec, QueryError> {
    let name = clause.name.as_ref().map(|name| name.to_text().into_owned());
    if let Some(name) = &name {
        check_name(name)?;
    }
    let duration = clause.duration_ns.unwrap_or(0);
    if duration != 0 && duration < POLICY_DURATION_MIN_NS {
        return Err(QueryError::statement(format!(
            "retention policy duration must be at least {}",
            go_duration_text(POLICY_DURATION_MIN_NS)
        )));
    }
    if duration != 0 && clause.partition_ns.is_some_and(|ns| ns > duration) {
        return Err(QueryError::statement(
            "retention policy duration must be greater than the shard duration",
        ));
    }
    Ok(PolicySpec {
        name: name.map(Into::into),
        duration_ns: clause.duration_ns,
        partition_ns: clause.partition_ns,
        replication: clause.replication,
    })
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
