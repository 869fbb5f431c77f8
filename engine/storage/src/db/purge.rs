//! The end of a delete: blocks that still hold what it hides are written anew, and once none does,
//! the manifest forgets it. Merges of blocks do the same on their way.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::block::Block;
use crate::db::core::{Core, lock};
use crate::db::database::{Database, PolicyState};
use crate::error::Result;
use crate::format::manifest::Edit;
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{MeasurementId, PolicyId, Sequence, SeriesSet, Tombstone, Tombstones, covers};

/// Deletes of one database from which on the background step writes blocks anew for their sake:
/// before that they wait for merges, so that a few deletes do not cost a rewrite of everything.
const PURGE_TOMBSTONES_MIN: usize = 64;

/// A block that holds rows which deletes hide.
pub(super) struct Purge {
    pub(super) database: Arc<Database>,
    pub(super) policy: PolicyId,
    pub(super) block: Arc<Block>,
}

/// Blocks of a database that hold nothing of what was dropped by now.
#[derive(Debug, Default)]
pub(super) struct DroppedLook {
    /// How much was.
    dropped: u64,
    clean: BTreeSet<u64>,
}

/// What the last look for something to purge saw: nothing has changed where it is the same.
pub(super) type Looked = (u64, Sequence, usize);

impl Core {
    /// The deletes of a database that the manifest has: what is merged need not show what they hide.
    pub(super) fn flushed_tombstones(&self, database: &Database) -> Tombstones {
        let manifest = self.manifest();
        let found = manifest.state().tombstones.get(&database.id);
        found.cloned().unwrap_or_default()
    }

    /// Forgets deletes that hide nothing any more, and finds a block to write anew for the others:
    /// any where `is_final`, else one of a database with many deletes. Blocks are not merged
    /// meanwhile: the caller holds that lock. Blocks that are set aside are damaged.
    ///
    /// # Errors
    /// `Io` or `NoSpace` where the manifest cannot be written.
    pub(super) fn next_purge(
        &self,
        is_final: bool,
        is_set_aside: &dyn Fn(&Block) -> bool,
    ) -> Result<Option<Purge>> {
        let looked = self.look();
        let mut last = lock(&self.purged);
        if looked.2 == 0 || !is_final && *last == Some(looked) {
            return Ok(None);
        }
        for database in self.all_databases() {
            let tombstones = self.flushed_tombstones(&database);
            if tombstones.is_empty() {
                continue;
            }
            let mut found = None;
            let mut done = Vec::new();
            for tombstone in tombstones.iter() {
                match holder(&database, tombstone, is_set_aside) {
                    Holder::None => done.push(tombstone.sequence),
                    Holder::Damaged => {}
                    Holder::Block(policy, block) => {
                        found.get_or_insert((policy, block));
                    }
                }
            }
            self.forget(&database, &done)?;
            let left = tombstones.iter().len() - done.len();
            if let Some((policy, block)) = found
                && (is_final || left >= PURGE_TOMBSTONES_MIN)
            {
                return Ok(Some(Purge {
                    database,
                    policy,
                    block,
                }));
            }
        }
        *last = Some(self.look());
        Ok(None)
    }

    /// A block that holds rows of measurements or values of fields that were dropped: nobody sees them,
    /// and they would take space until somebody writes late. What cannot be read is left to whoever
    /// merges it.
    pub(super) fn next_with_dropped(&self, is_set_aside: &dyn Fn(&Block) -> bool) -> Option<Purge> {
        for database in self.all_databases() {
            let stores = database.stores().clone();
            let catalog = &stores.catalog;
            let dropped = catalog.dropped_count();
            let mut look = lock(&database.dropped);
            if look.dropped != dropped {
                *look = DroppedLook {
                    dropped,
                    clean: BTreeSet::new(),
                };
            }
            if dropped == 0 {
                continue;
            }
            let states = stores.policies.iter();
            let mut blocks =
                states.flat_map(|(id, state)| state.blocks.iter().map(|own| (*id, own)));
            let found = blocks.find(|(_, block)| {
                let file = block.meta().file_id;
                if look.clean.contains(&file) || is_set_aside(block) {
                    return false;
                }
                let holds = holds_dropped(block, catalog).is_ok_and(|holds| holds);
                holds || !look.clean.insert(file)
            });
            if let Some((policy, block)) = found {
                let block = Arc::clone(block);
                drop(look);
                return Some(Purge {
                    database,
                    policy,
                    block,
                });
            }
        }
        None
    }

    fn look(&self) -> Looked {
        let manifest = self.manifest();
        let state = manifest.state();
        let count = state.tombstones.values().map(|own| own.iter().len()).sum();
        (state.last_file, state.flushed_through, count)
    }

    /// Forgets deletes, on disk and for readers to come.
    fn forget(&self, database: &Database, sequences: &[Sequence]) -> Result<()> {
        if sequences.is_empty() {
            return Ok(());
        }
        let mut manifest = self.manifest();
        if manifest.state().catalog.by_id(database.id).is_none() {
            return Ok(());
        }
        let edits = sequences.iter();
        let edits: Vec<Edit> = edits
            .map(|sequence| Edit::RemoveTombstone(database.id, *sequence))
            .collect();
        self.commit(&mut manifest, &edits)?;
        // Under the manifest's lock: a flush would put them back.
        let mut stores = database.stores_mut();
        stores
            .tombstones
            .remove(|one| sequences.binary_search(&one.sequence).is_ok());
        Ok(())
    }
}

fn holds_dropped(block: &Block, catalog: &DatabaseCatalog) -> Result<bool> {
    for id in block.measurements()? {
        if catalog.measurement_by_id(id).is_none() {
            return Ok(true);
        }
        if let Some(own) = block.measurement(id)?
            && own.fields().any(|(field, _)| !catalog.has_field(id, field))
        {
            return Ok(true);
        }
    }
    block.check_intact()?;
    Ok(false)
}

/// Who still holds rows that a delete hides.
enum Holder {
    None,
    Block(PolicyId, Arc<Block>),
    /// A block that cannot be read may hold some.
    Damaged,
}

fn holder(
    database: &Database,
    tombstone: &Tombstone,
    is_set_aside: &dyn Fn(&Block) -> bool,
) -> Holder {
    let stores = database.stores().clone();
    let mut is_damaged = false;
    let own = |id: &PolicyId| tombstone.policy.is_none_or(|policy| policy == *id);
    for (id, state) in stores.policies.iter().filter(|(id, _)| own(id)) {
        is_damaged |= may_be_damaged(state, tombstone);
        for block in &state.blocks {
            let meta = block.meta();
            let is_older = meta.info.sequences.last < tombstone.sequence;
            if !is_older || meta.range.intersect(tombstone.range).is_empty() {
                continue;
            }
            if is_set_aside(block) {
                is_damaged = true;
                continue;
            }
            match holds(block, tombstone, &|measurement| {
                stores.catalog.measurement_by_id(measurement).is_some()
            }) {
                Ok(true) => return Holder::Block(*id, Arc::clone(block)),
                Ok(false) => {}
                Err(_) => is_damaged = true,
            }
        }
    }
    if is_damaged {
        Holder::Damaged
    } else {
        Holder::None
    }
}

fn may_be_damaged(state: &PolicyState, tombstone: &Tombstone) -> bool {
    state.damaged.iter().any(|block| {
        block.meta.info.sequences.last < tombstone.sequence
            && !block.meta.range.intersect(tombstone.range).is_empty()
    })
}

/// Whether a block has series of the delete with chunks in its time; rows of measurements that
/// were dropped count for nothing.
fn holds(
    block: &Block,
    tombstone: &Tombstone,
    is_live: &dyn Fn(MeasurementId) -> bool,
) -> Result<bool> {
    for (id, set) in tombstone.targets.iter().filter(|(id, _)| is_live(*id)) {
        let Some(measurement) = block.measurement(*id)? else {
            continue;
        };
        let times = measurement.range()?;
        if times.intersect(tombstone.range).is_empty() {
            continue;
        }
        let is_whole = covers(&[tombstone.range], times.start, times.end - 1);
        if is_whole && matches!(set, SeriesSet::All) {
            return Ok(true);
        }
        let series: Vec<_> = measurement
            .series_ids()?
            .into_iter()
            .filter(|series| set.contains(*series))
            .collect();
        let cursor = measurement.cursor(&[], tombstone.range);
        for series in series {
            if !cursor.chunks(series)?.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
