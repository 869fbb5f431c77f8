//! Making and dropping: databases and measurements. All of it is an edit of the manifest, durable
//! before anybody sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::db::Db;
use crate::db::database::Database;
use crate::db::limits::passes;
use crate::db::policy::is_same;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::block_path;
use crate::format::definitions::Names;
use crate::format::manifest::{Edit, LastIds};
use crate::index::registry::{Registry, RegistryFile};
use crate::manifest::catalog::{DatabaseCatalog, check_name};
use crate::model::{DatabaseId, MeasurementId, PolicyId, PolicyInfo, PolicySpec};
use crate::snapshot::Snapshot;

impl Db {
    /// Makes a database with its default policy; one that exists as asked is fine. Durable when it
    /// returns.
    ///
    /// # Errors
    /// `Invalid` for a bad name or duration, `Conflict` where `spec` differs from the policy there
    /// is, `Limit` where there are as many databases as there may be, `Io` or `NoSpace` where the
    /// manifest cannot be written.
    ///
    /// # Panics
    /// Never: what the manifest took is there.
    pub fn create_database(&self, name: &str, spec: &PolicySpec) -> Result<()> {
        check_name(name)?;
        let core = &self.core;
        let mut sequencer = core.sequencer();
        if let Ok(database) = core.database(name) {
            core.settle()?;
            return check_same(&database.stores().catalog, spec);
        }
        let max = core.options.limits.databases_max;
        if passes(core.database_names().len() + 1, max) {
            let message = format!(
                "database {name:?} cannot be made: there are {max} (databases_max); drop one or raise \
                 the limit"
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let policy = first_policy(spec)?;
        let mut manifest = core.manifest();
        let id = DatabaseId(manifest.state().catalog.last_database() + 1);
        let edits = [
            Edit::CreateDatabase {
                id,
                name: name.into(),
            },
            Edit::PutPolicy(id, policy),
        ];
        core.commit(&mut manifest, &edits)?;
        let catalog = manifest.state().catalog.by_id(id).map(Arc::clone);
        drop(manifest);
        let catalog = catalog.expect("the edit made it");
        let database = Database::new(catalog, core.hasher, Registry::default());
        core.put_database(&mut sequencer, Arc::new(database));
        Ok(())
    }

    /// Drops a database with all its data; none of that name is fine. Durable when it returns.
    /// Snapshots keep what they hold.
    ///
    /// # Errors
    /// `Io` or `NoSpace` where the manifest cannot be written.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        let core = &self.core;
        let mut sequencer = core.sequencer();
        let Ok(database) = core.database(name) else {
            return core.settle();
        };
        // What was submitted before the drop is answered before it.
        core.drain(&sequencer.generation);
        let mut manifest = core.manifest();
        let state = manifest.state();
        let blocks = state.blocks.values();
        let blocks = blocks.filter(|block| block.info.database == database.id);
        let mut files: Vec<_> = blocks.map(|block| block_path(block.file_id)).collect();
        let registries = state.registries.values();
        let registries = registries.filter(|file| file.database == database.id);
        files.extend(registries.map(|file| RegistryFile::path(file.file)));
        core.commit(&mut manifest, &[Edit::DropDatabase(database.id)])?;
        drop(manifest);
        core.take_database(&mut sequencer, name);
        core.epoch.fetch_add(1, Ordering::AcqRel);
        drop(sequencer);
        for file in files {
            core.remove_file(&file);
        }
        Ok(())
    }

    /// Drops a measurement in all policies; none of that name is fine. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database; else as [`Db::drop_database`].
    pub fn drop_measurement(&self, database: &str, measurement: &[u8]) -> Result<()> {
        self.drop_measurement_where(database, measurement, &|_, _| true)
    }

    /// The same where `is_so` says so of the database when all that was submitted is visible and
    /// nobody writes.
    pub(super) fn drop_measurement_where(
        &self,
        database: &str,
        measurement: &[u8],
        is_so: &dyn Fn(&Snapshot, MeasurementId) -> bool,
    ) -> Result<()> {
        let core = &self.core;
        let mut sequencer = core.sequencer();
        let database = core.database(database)?;
        core.drain(&sequencer.generation);
        let Some(writer) = sequencer.writers.get_mut(&database.id) else {
            return core.settle();
        };
        let Some(info) = writer.catalog.measurement(measurement) else {
            // Nor does one come to be by a rename before it whose outcome is unknown.
            return core.settle();
        };
        let id = info.id;
        let name = writer.catalog.name();
        if !core
            .snapshot(name)
            .is_some_and(|snapshot| is_so(&snapshot, id))
        {
            return Ok(());
        }
        let mut edits = Vec::new();
        if writer.pending != Names::default() {
            // An id up to the last one that the manifest knows and does not have was dropped: so
            // all that was named before stands before the drop.
            edits.push(Edit::DefineNames(database.id, writer.pending.clone()));
        }
        edits.push(Edit::DropMeasurement(database.id, id));
        core.commit(&mut core.manifest(), &edits)?;
        writer.pending = Names::default();
        let mut catalog = DatabaseCatalog::clone(&writer.catalog);
        catalog.drop_measurement(id);
        writer.catalog = Arc::new(catalog);
        database.stores_mut().catalog = Arc::clone(&writer.catalog);
        database.registry.forget();
        core.epoch.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// Whether the database is as asked: a spec that states nothing always fits.
fn check_same(catalog: &DatabaseCatalog, spec: &PolicySpec) -> Result<()> {
    if *spec == PolicySpec::default() {
        return Ok(());
    }
    let asked = first_policy(spec)?;
    let found = catalog.policy(Some(&asked.name));
    if found.is_some_and(|found| is_same(found, &asked)) {
        return Ok(());
    }
    let message = "retention policy conflicts with an existing policy";
    Err(Error::new(ErrorKind::Conflict, message))
}

/// The policy that a new database gets.
fn first_policy(spec: &PolicySpec) -> Result<PolicyInfo> {
    let policy = PolicyInfo::new(PolicyId(LastIds::default().policy + 1), spec, true)?;
    check_name(&policy.name)?;
    Ok(policy)
}
