//! The store as the query languages see it.

use std::sync::Arc;

use silverback_query::source::{
    Alter, Catalog, Delete, PolicyChange, PolicySpec, SnapshotSource, Source,
};
use silverback_storage::Result;
use silverback_storage::db::Db;

use crate::store::Silverback;

/// All databases of an open store.
#[derive(Debug)]
pub(crate) struct StoreCatalog(Arc<Db>);

impl Silverback {
    /// What `silverback_query::statement::execute` runs against.
    pub(crate) fn catalog(&self) -> StoreCatalog {
        StoreCatalog(Arc::clone(self.db()))
    }
}

impl Catalog for StoreCatalog {
    fn databases(&self) -> Vec<Box<str>> {
        self.0.databases()
    }

    fn source(&self, name: &str) -> Option<Arc<dyn Source>> {
        let snapshot = self.0.snapshot(name)?;
        Some(Arc::new(SnapshotSource::new(snapshot, self.0.workers())))
    }

    fn create_database(&self, name: &str, spec: &PolicySpec) -> Result<()> {
        self.0.create_database(name, spec)
    }

    fn drop_database(&self, name: &str) -> Result<()> {
        self.0.drop_database(name)
    }

    fn create_policy(&self, database: &str, spec: &PolicySpec, makes_default: bool) -> Result<()> {
        self.0.create_policy(database, spec, makes_default)
    }

    fn alter_policy(&self, database: &str, name: &str, change: &PolicyChange) -> Result<()> {
        self.0.alter_policy(database, name, change)
    }

    fn drop_policy(&self, database: &str, name: &str) -> Result<()> {
        self.0.drop_policy(database, name)
    }

    fn drop_measurement(&self, database: &str, measurement: &[u8]) -> Result<()> {
        self.0.drop_measurement(database, measurement)
    }

    fn alter_measurement(
        &self,
        database: &str,
        measurement: &[u8],
        alter: Alter<'_>,
    ) -> Result<()> {
        self.0.alter_measurement(database, measurement, alter)
    }

    fn delete(&self, database: &str, delete: &Delete<'_>) -> Result<()> {
        self.0.delete(database, delete)
    }
}
