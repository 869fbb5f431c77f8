//! What the edits of a manifest come to. Pure: no file, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::block::BlockMeta;
use crate::format::manifest::{CleanStop, Edit, LastIds, RegistryMeta};
use crate::manifest::catalog::{Catalog, DatabaseCatalog};
use crate::model::{DatabaseId, PolicyId, Sequence, Tombstone, Tombstones};

/// All that a manifest says.
#[derive(Clone, Debug)]
pub struct State {
    /// Stands in every file's header.
    pub directory_id: u128,
    /// Of the key hashes.
    pub secret: [u64; 4],
    /// Databases, policies and names.
    pub catalog: Catalog,
    /// Live blocks by file id.
    pub blocks: BTreeMap<u64, BlockMeta>,
    /// Live registry files by file id.
    pub registries: BTreeMap<u64, RegistryMeta>,
    /// Deletes that hide rows of live blocks.
    pub tombstones: BTreeMap<DatabaseId, Tombstones>,
    /// Every row up to it lies in a live block or was dropped.
    pub flushed_through: Sequence,
    /// Where the log ended at the last clean stop that nothing was flushed after.
    pub clean_stop: Option<CleanStop>,
    /// File ids up to it are given.
    pub last_file: u64,
    /// Sequences up to it are given; not every one is known here.
    pub last_sequence: Sequence,
}

impl Default for State {
    fn default() -> Self {
        State {
            directory_id: 0,
            secret: [0; 4],
            catalog: Catalog::default(),
            blocks: BTreeMap::new(),
            registries: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            flushed_through: Sequence(0),
            clean_stop: None,
            last_file: 0,
            last_sequence: Sequence(0),
        }
    }
}

impl State {
    /// Makes an edit happen.
    ///
    /// # Errors
    /// `Corrupt` if it contradicts what is there; the state may then be half changed.
    pub fn apply(&mut self, edit: &Edit) -> Result<()> {
        match edit {
            Edit::Directory { id, secret } => {
                if self.directory_id != 0 {
                    return Err(contradiction("the directory's id stands twice"));
                }
                (self.directory_id, self.secret) = (*id, *secret);
            }
            Edit::SnapshotEnd => {}
            Edit::CreateDatabase { id, name } => {
                if id.0 <= self.catalog.last_database() && self.catalog.by_id(*id).is_some() {
                    return Err(contradiction("a database is created twice"));
                }
                self.catalog
                    .put(Arc::new(DatabaseCatalog::new(*id, name)))?;
            }
            Edit::DropDatabase(id) => self.drop_database(*id)?,
            Edit::PutPolicy(id, policy) => {
                self.alter(*id, |database| database.put_policy(policy.clone()))?;
            }
            Edit::DropPolicy(id, policy) => self.drop_policy(*id, *policy)?,
            Edit::DefaultPolicy(id, name) => {
                self.alter(*id, |database| database.set_default_policy(name))?;
            }
            Edit::DefineNames(id, names) => {
                self.change(*id, |database| database.define(names))?;
            }
            Edit::DropMeasurement(id, measurement) => {
                self.change(*id, |database| {
                    database.drop_measurement(*measurement);
                    Ok(())
                })?;
            }
            Edit::Alter(id, measurement, alteration) => {
                self.change(*id, |database| database.alter(*measurement, alteration))?;
            }
            Edit::AddBlock(_)
            | Edit::RemoveBlock(_)
            | Edit::AddRegistry(_)
            | Edit::RemoveRegistry(_) => self.apply_file(edit)?,
            Edit::PutTombstone(id, tombstone) => self.put_tombstone(*id, tombstone)?,
            Edit::RemoveTombstone(id, sequence) => {
                if let Some(own) = self.tombstones.get_mut(id) {
                    own.remove(|one| one.sequence == *sequence);
                }
            }
            Edit::FlushedThrough(sequence) => {
                self.flushed_through = self.flushed_through.max(*sequence);
                self.last_sequence = self.last_sequence.max(*sequence);
                self.clean_stop = None;
            }
            Edit::CleanStop(end) => {
                self.last_sequence = self.last_sequence.max(end.sequence);
                self.clean_stop = Some(*end);
            }
            Edit::Given(id, last) => {
                self.alter(*id, |database| database.reserve(*last))?;
            }
            Edit::GivenInDirectory {
                database,
                file,
                sequence,
            } => {
                self.catalog.reserve_databases(*database);
                self.last_file = self.last_file.max(*file);
                self.last_sequence = self.last_sequence.max(*sequence);
            }
        }
        Ok(())
    }

    /// An edit of what files live.
    fn apply_file(&mut self, edit: &Edit) -> Result<()> {
        let fault = match edit {
            Edit::AddBlock(block) => {
                self.last_file = self.last_file.max(block.file_id);
                self.last_sequence = self.last_sequence.max(block.info.sequences.last);
                let twice = self.blocks.insert(block.file_id, *block).is_some();
                twice.then_some("a block is added twice")
            }
            Edit::RemoveBlock(file) => {
                let missing = self.blocks.remove(file).is_none();
                missing.then_some("a block that is not live is removed")
            }
            Edit::AddRegistry(registry) => {
                self.last_file = self.last_file.max(registry.file);
                let twice = self.registries.insert(registry.file, *registry).is_some();
                twice.then_some("a registry file is added twice")
            }
            Edit::RemoveRegistry(file) => {
                let missing = self.registries.remove(file).is_none();
                missing.then_some("a registry file that is not live is removed")
            }
            Edit::Directory { .. }
            | Edit::SnapshotEnd
            | Edit::CreateDatabase { .. }
            | Edit::DropDatabase(_)
            | Edit::PutPolicy(..)
            | Edit::DropPolicy(..)
            | Edit::DefaultPolicy(..)
            | Edit::DefineNames(..)
            | Edit::DropMeasurement(..)
            | Edit::FlushedThrough(_)
            | Edit::CleanStop(_)
            | Edit::Given(..)
            | Edit::GivenInDirectory { .. }
            | Edit::Alter(..)
            | Edit::PutTombstone(..)
            | Edit::RemoveTombstone(..) => None,
        };
        fault.map_or(Ok(()), |fault| Err(contradiction(fault)))
    }

    /// Edits that make this state out of none, without [`Edit::SnapshotEnd`], in groups that are
    /// each one record. Definitions of one database stand in one record.
    pub fn snapshot(&self) -> Vec<Vec<Edit>> {
        let mut records = vec![vec![
            Edit::Directory {
                id: self.directory_id,
                secret: self.secret,
            },
            Edit::GivenInDirectory {
                database: self.catalog.last_database(),
                file: self.last_file,
                sequence: self.last_sequence,
            },
        ]];
        for database in self.catalog.databases() {
            let id = database.id();
            let mut edits = vec![Edit::CreateDatabase {
                id,
                name: database.name().into(),
            }];
            let policies = database.policies().iter().cloned();
            edits.extend(policies.map(|policy| Edit::PutPolicy(id, policy)));
            edits.push(Edit::DefaultPolicy(id, database.default_policy().into()));
            edits.push(Edit::DefineNames(id, database.names()));
            // Behind the names: an id up to the last one that is not there counts as dropped.
            edits.push(Edit::Given(id, database.last_ids()));
            let renamed = database.renamed_tag_keys().into_iter();
            edits.extend(renamed.map(|(own, name)| Edit::Alter(id, own, name)));
            let tombstones = self
                .tombstones
                .get(&id)
                .into_iter()
                .flat_map(Tombstones::iter);
            edits.extend(tombstones.map(|one| Edit::PutTombstone(id, Arc::clone(one))));
            records.push(edits);
        }
        let mut files: Vec<Edit> = self.blocks.values().copied().map(Edit::AddBlock).collect();
        files.extend(self.registries.values().copied().map(Edit::AddRegistry));
        files.push(Edit::FlushedThrough(self.flushed_through));
        files.extend(self.clean_stop.map(Edit::CleanStop));
        records.push(files);
        records
    }

    /// Whether a policy lives.
    pub fn has_policy(&self, database: DatabaseId, policy: PolicyId) -> bool {
        let database = self.catalog.by_id(database);
        database.is_some_and(|database| database.policy_by_id(policy).is_some())
    }

    /// Ids given in a database.
    pub fn last_ids(&self, database: DatabaseId) -> LastIds {
        let found = self.catalog.by_id(database);
        found.map_or_else(LastIds::default, |database| database.last_ids())
    }

    /// A change of a database that contradicts nothing but its absence.
    fn alter(&mut self, id: DatabaseId, alter: impl FnOnce(&mut DatabaseCatalog)) -> Result<()> {
        self.change(id, |database| {
            alter(database);
            Ok(())
        })
    }

    fn change(
        &mut self,
        id: DatabaseId,
        change: impl FnOnce(&mut DatabaseCatalog) -> Result<()>,
    ) -> Result<()> {
        let Some(database) = self.catalog.by_id(id) else {
            return Err(contradiction("an edit names an unknown database"));
        };
        let mut database = DatabaseCatalog::clone(database);
        change(&mut database)?;
        self.catalog.put(Arc::new(database))
    }

    fn put_tombstone(&mut self, id: DatabaseId, tombstone: &Arc<Tombstone>) -> Result<()> {
        if self.catalog.by_id(id).is_none() {
            return Err(contradiction("a delete is of an unknown database"));
        }
        self.last_sequence = self.last_sequence.max(tombstone.sequence);
        let own = self.tombstones.entry(id).or_default();
        own.put(Arc::clone(tombstone));
        Ok(())
    }

    fn drop_database(&mut self, id: DatabaseId) -> Result<()> {
        if self.catalog.drop_database(id).is_none() {
            return Err(contradiction("an unknown database is dropped"));
        }
        self.blocks.retain(|_, block| block.info.database != id);
        self.registries.retain(|_, file| file.database != id);
        self.tombstones.remove(&id);
        Ok(())
    }
}

impl State {
    /// A policy goes, with its blocks.
    fn drop_policy(&mut self, id: DatabaseId, policy: PolicyId) -> Result<()> {
        self.change(id, |database| {
            let dropped = database.drop_policy(policy);
            let unknown = || contradiction("an unknown policy is dropped");
            dropped.map(drop).ok_or_else(unknown)
        })?;
        let own = (id, policy);
        let info = |block: &BlockMeta| (block.info.database, block.info.policy);
        self.blocks.retain(|_, block| info(block) != own);
        Ok(())
    }
}

fn contradiction(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
