//! Making, changing and dropping retention policies. All of it is an edit of the manifest, durable
//! before anybody sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::db::Db;
use crate::db::core::Sequencer;
use crate::db::database::{Database, PolicyState};
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::block_path;
use crate::format::manifest::Edit;
use crate::manifest::catalog::{DatabaseCatalog, check_name};
use crate::model::{PolicyChange, PolicyId, PolicyInfo, PolicySpec};

impl Db {
    /// Makes a policy; one that exists as asked is fine. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database; `Invalid` for a bad name or duration; `Conflict` where one of
    /// that name is another, or is as asked and not the default one as asked; `Io` or `NoSpace`
    /// where the manifest cannot be written.
    pub fn create_policy(
        &self,
        database: &str,
        spec: &PolicySpec,
        makes_default: bool,
    ) -> Result<()> {
        let core = &self.core;
        let mut sequencer = core.sequencer();
        let database = core.database(database)?;
        core.drain(&sequencer.generation);
        let catalog = Arc::clone(&database.stores().catalog);
        let id = PolicyId(catalog.last_ids().policy + 1);
        let policy = PolicyInfo::new(id, spec, makes_default)?;
        check_name(&policy.name)?;
        if let Some(found) = catalog.policy(Some(&policy.name)) {
            core.settle()?;
            return check_existing(found, &policy);
        }
        let edits = [Edit::PutPolicy(database.id, policy.clone())];
        core.commit(&mut core.manifest(), &edits)?;
        change_catalogs(&database, &mut sequencer, |catalog| {
            catalog.put_policy(policy.clone());
        });
        let mut stores = database.stores_mut();
        stores.policies.insert(id, PolicyState::empty());
        Ok(())
    }

    /// Changes a policy, at once and for all that it holds: what is past its time then is dropped
    /// before this returns, unless that has to wait (see [`Db::retention_waits`]). Durable when it
    /// returns.
    ///
    /// # Errors
    /// `NotFound` for the database or the policy; `Invalid` for durations that none can have
    /// together; `Io` or `NoSpace` where the manifest cannot be written.
    pub fn alter_policy(&self, database: &str, name: &str, change: &PolicyChange) -> Result<()> {
        let core = &self.core;
        let mut sequencer = core.sequencer();
        let database = core.database(database)?;
        core.drain(&sequencer.generation);
        let policy = database.policy(Some(name))?.changed(change)?;
        let edits = [Edit::PutPolicy(database.id, policy.clone())];
        core.commit(&mut core.manifest(), &edits)?;
        change_catalogs(&database, &mut sequencer, |catalog| {
            catalog.put_policy(policy.clone());
        });
        drop(sequencer);
        core.retention_step();
        Ok(())
    }

    /// Drops a policy with all its points; none of that name is fine. Where it was the default one,
    /// writes and queries that name none find none until another is made the default. Durable when
    /// it returns. Snapshots keep what they hold.
    ///
    /// # Errors
    /// `Io` or `NoSpace` where the manifest cannot be written.
    pub fn drop_policy(&self, database: &str, name: &str) -> Result<()> {
        let core = &self.core;
        let mut sequencer = core.sequencer();
        let Ok(database) = core.database(database) else {
            return core.settle();
        };
        // What was submitted before the drop is answered before it.
        core.drain(&sequencer.generation);
        let Ok(policy) = database.policy(Some(name)) else {
            return core.settle();
        };
        let info = (database.id, policy.id);
        let mut manifest = core.manifest();
        let blocks = manifest.state().blocks.values();
        let own = blocks.filter(|block| (block.info.database, block.info.policy) == info);
        let files: Vec<_> = own.map(|block| block_path(block.file_id)).collect();
        core.commit(&mut manifest, &[Edit::DropPolicy(database.id, policy.id)])?;
        drop(manifest);
        change_catalogs(&database, &mut sequencer, |catalog| {
            catalog.drop_policy(policy.id);
        });
        database.stores_mut().policies.remove(&policy.id);
        core.epoch.fetch_add(1, Ordering::AcqRel);
        drop(sequencer);
        core.remove_files(&files);
        Ok(())
    }
}

/// Makes a change seen by writers and readers. Nothing is in flight: what was would put the
/// catalogue it knew in the place of this one.
fn change_catalogs(
    database: &Database,
    sequencer: &mut Sequencer,
    change: impl Fn(&mut DatabaseCatalog),
) {
    let changed = |catalog: &Arc<DatabaseCatalog>| {
        let mut catalog = DatabaseCatalog::clone(catalog);
        change(&mut catalog);
        Arc::new(catalog)
    };
    if let Some(writer) = sequencer.writers.get_mut(&database.id) {
        writer.catalog = changed(&writer.catalog);
    }
    let mut stores = database.stores_mut();
    stores.catalog = changed(&stores.catalog);
}

/// Whether two policies are the same but for their ids and whether they are the default.
pub(super) fn is_same(one: &PolicyInfo, other: &PolicyInfo) -> bool {
    *one == PolicyInfo {
        id: one.id,
        is_default: one.is_default,
        ..other.clone()
    }
}

/// Whether the policy that exists is as asked.
///
/// # Source
/// `InfluxDB` 1.x, with its two different texts.
fn check_existing(found: &PolicyInfo, asked: &PolicyInfo) -> Result<()> {
    let message = if !is_same(found, asked) {
        "retention policy already exists"
    } else if asked.is_default && !found.is_default {
        "retention policy conflicts with an existing policy"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Conflict, message))
}
