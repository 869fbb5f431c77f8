//! Series without rows leave the registry, so that churn does not pile up.
//!
//! A series whose partitions were dropped, or whose rows were deleted and purged, keeps its hash and
//! id in the registry files until they are written anew without it. That happens where blocks went
//! and less than half of what the files hold lives, or the database nears its limit. A key that comes again later is a new series.
//!
//! What makes it safe: a series that has rows has its id in a block, or in an index of series in
//! memory; a write that looks a key up holds the sequencing lock until its definitions are
//! submitted. So, under that lock, whoever was found dead and has been defined since is known by
//! the indexes and the definitions that wait, and is put back before anybody else looks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use roaring::RoaringTreemap;

use crate::db::core::{Core, lock};
use crate::db::database::{Database, Stores};
use crate::db::stats::Problem;
use crate::error::Result;
use crate::format::manifest::Edit;
use crate::format::registry::Entry;
use crate::index::LiveIndex;
use crate::index::registry::{RegistryFile, merge};
use crate::model::SeriesId;

/// Registry entries from which on it is asked how many of them live: fewer take no space.
const RETIRE_MIN: u64 = 1024;

/// Series that may be written to, and how far that is known.
struct Live {
    ids: RoaringTreemap,
    /// How many series of each index are among them.
    seen: Vec<(Arc<LiveIndex>, usize)>,
}

impl Core {
    /// Takes series without rows out of the registries, where that is worth writing them anew.
    /// Errors are reported: nothing has changed then.
    pub(super) fn retire_series(&self) {
        for database in self.all_databases() {
            if let Err(error) = self.retire_series_of(&database, false) {
                self.report(Problem::from_error(&error));
            }
        }
    }

    /// The same of one database; where `is_urgent`, whether blocks went or not.
    pub(super) fn retire_series_of(&self, database: &Arc<Database>, is_urgent: bool) -> Result<()> {
        let count = |files: &[Arc<RegistryFile>]| -> u64 {
            files.iter().map(|file| file.meta().series_count).sum()
        };
        let is_near_limit = self.is_near_series_max(database);
        let is_small = count(&database.registry.files()) < RETIRE_MIN;
        if is_small && !is_near_limit || !(database.has_lost_blocks() || is_urgent) {
            return Ok(());
        }
        self.settle()?;
        // No flush meanwhile: it writes registry files too, and moves series from memory to blocks.
        let _no_flush = lock(&self.flushing);
        let files = database.registry.files();
        let stores = database.stores().clone();
        if stores
            .policies
            .values()
            .any(|state| !state.damaged.is_empty())
        {
            // Which series such a block has is not known.
            return Ok(());
        }
        let live = database.live_series(&stores)?;
        let (alive, held) = (live.ids.len(), count(&files));
        let is_worth_it = alive * 2 <= held || is_near_limit && alive < held;
        if !is_worth_it {
            return Ok(());
        }
        let mut dropped = RoaringTreemap::new();
        let entries = merge(&files)?.filter(|entry| match entry {
            Ok((_, series)) if !live.ids.contains(series.0) => {
                dropped.insert(series.0);
                false
            }
            Ok(_) | Err(_) => true,
        });
        let id = (self.new_file(), database.id);
        let file = RegistryFile::write(&*self.env, self.directory_id, id, entries)?;
        self.publish_retired(database, (files, file), (&live, &dropped))
    }

    /// Whether new series are refused, or soon will be: then those without rows are to go first.
    fn is_near_series_max(&self, database: &Database) -> bool {
        let max = self.options.limits.series_max;
        max > 0 && database.registry.len_max() >= max - max / 4
    }

    fn publish_retired(
        &self,
        database: &Database,
        (old, new): (Vec<Arc<RegistryFile>>, Arc<RegistryFile>),
        (live, dropped): (&Live, &RoaringTreemap),
    ) -> Result<()> {
        let path = |file: &Arc<RegistryFile>| RegistryFile::path(file.meta().file);
        let mut manifest = self.manifest();
        let known = &manifest.state().registries;
        if !old.iter().all(|file| known.contains_key(&file.meta().file)) {
            // The database was dropped meanwhile.
            drop(manifest);
            self.remove_file(&path(&new));
            return Ok(());
        }
        let removed = old
            .iter()
            .map(|file| Edit::RemoveRegistry(file.meta().file));
        let mut edits: Vec<Edit> = removed.collect();
        edits.push(Edit::AddRegistry(new.meta()));
        edits.push(Edit::GivenInDirectory {
            database: manifest.state().catalog.last_database(),
            file: self.last_file.load(Ordering::Relaxed),
            sequence: manifest.state().flushed_through,
        });
        if let Err(error) = self.commit(&mut manifest, &edits) {
            if !manifest.is_uncertain() {
                drop(manifest);
                self.remove_file(&path(&new));
            }
            return Err(error);
        }
        drop(manifest);
        // Not under the lock that writers wait for.
        database.registry.take_in_all();
        let sequencer = self.sequencer();
        let back = database.defined_since(live, dropped);
        database.registry.replace(vec![new], back);
        drop(sequencer);
        let retired = dropped.len();
        self.counters
            .series_retired
            .fetch_add(retired, Ordering::Relaxed);
        let files: Vec<PathBuf> = old.iter().map(path).collect();
        self.remove_files(&files);
        Ok(())
    }
}

impl Database {
    /// Whether a block went since this was last asked, or it was never asked.
    fn has_lost_blocks(&self) -> bool {
        let stores = self.stores();
        let blocks = stores.policies.values().flat_map(|state| &state.blocks);
        let now: BTreeSet<u64> = blocks.map(|block| block.meta().file_id).collect();
        drop(stores);
        let mut seen = lock(&self.blocks_seen);
        let has_lost = seen.as_ref().is_none_or(|seen| !seen.is_subset(&now));
        *seen = Some(now);
        has_lost
    }

    /// All series that have rows, and maybe some that have none.
    fn live_series(&self, stores: &Stores) -> Result<Live> {
        let mut ids = RoaringTreemap::new();
        for block in stores.policies.values().flat_map(|state| &state.blocks) {
            for measurement in block.measurements()? {
                if stores.catalog.measurement_by_id(measurement).is_none() {
                    continue;
                }
                if let Some(found) = block.measurement(measurement)? {
                    ids.extend(found.series_ids()?.into_iter().map(|id| id.0));
                }
            }
        }
        // Before the indexes: what is confirmed meanwhile is in one of them.
        ids.extend(self.unconfirmed_series().into_iter().map(|id| id.0));
        let mut seen = Vec::new();
        for index in &stores.indexes {
            let own = index.ids_from(0);
            seen.push((Arc::clone(index), own.len()));
            ids.extend(own.into_iter().map(|id| id.0));
        }
        Ok(Live { ids, seen })
    }

    /// Those of `dropped` that have been defined since `live` was made. The caller holds the
    /// sequencing lock.
    fn defined_since(&self, live: &Live, dropped: &RoaringTreemap) -> Vec<Entry> {
        let mut back: Vec<Entry> = self
            .unconfirmed_entries(&|id: SeriesId| dropped.contains(id.0))
            .iter()
            .map(|entry| (self.hasher.hash(&entry.key), entry.id))
            .collect();
        for (index, from) in &live.seen {
            let since = index.ids_from(*from).into_iter();
            let found = since.filter(|id| dropped.contains(id.0));
            let entries = found.filter_map(|id| index.entry(id));
            back.extend(entries.map(|entry| (self.hasher.hash(&entry.key), entry.id)));
        }
        back
    }
}

#[cfg(test)]
mod tests;
