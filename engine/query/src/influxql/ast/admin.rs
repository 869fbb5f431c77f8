//! Statements that make, change and drop things.

use crate::influxql::ast::{Expr, Measurement, Name, Select};

/// What is stated of a retention policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyClause {
    /// `NAME`.
    pub name: Option<Name>,
    /// `DURATION`, ns; 0 = for ever, also written `INF`.
    pub duration_ns: Option<i64>,
    /// `REPLICATION`.
    pub replication: Option<u32>,
    /// `SHARD DURATION`, ns.
    pub partition_ns: Option<i64>,
    /// `DEFAULT`.
    pub default: bool,
}

/// `CREATE RETENTION POLICY`, `ALTER RETENTION POLICY`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyStatement {
    /// Its name.
    pub name: Name,
    /// Its database.
    pub database: Name,
    /// What is stated; its `name` is `None`.
    pub clause: PolicyClause,
}

/// `DELETE`, `DROP SERIES`.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// `FROM`.
    pub sources: Vec<Measurement>,
    /// `WHERE`.
    pub condition: Option<Expr>,
}

/// What `ALTER MEASUREMENT` changes.
#[derive(Clone, Debug, PartialEq)]
pub enum MeasurementChange {
    /// `RENAME TO`
    Rename(Name),
    /// `RENAME TAG ... TO ...`
    RenameTag(Name, Name),
    /// `RENAME FIELD ... TO ...`
    RenameField(Name, Name),
    /// `DROP FIELD`
    DropField(Name),
}

/// `CREATE CONTINUOUS QUERY`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContinuousQuery {
    /// Its name.
    pub name: Name,
    /// Its database.
    pub database: Name,
    /// `RESAMPLE EVERY`, ns.
    pub every_ns: Option<i64>,
    /// `RESAMPLE FOR`, ns.
    pub for_ns: Option<i64>,
    /// What it runs; has a target.
    pub select: Select,
}

/// What `GRANT` and `REVOKE` change.
#[derive(Clone, Debug, PartialEq)]
pub struct PrivilegeChange {
    /// Which privilege.
    pub privilege: Privilege,
    /// On which database; `None`: administrator.
    pub database: Option<Name>,
    /// Whose.
    pub user: Name,
}

/// A privilege on a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// `READ`
    Read,
    /// `WRITE`
    Write,
    /// `ALL PRIVILEGES`
    All,
}
