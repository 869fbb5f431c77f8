//! One database of an open store: what readers see of it, and its registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::block::Block;
use crate::db::core::lock;
use crate::db::limits::Growth;
use crate::db::purge::DroppedLook;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::SequenceRange;
use crate::format::definitions::{Definitions, Names};
use crate::index::LiveIndex;
use crate::index::registry::Registry;
use crate::manifest::catalog::DatabaseCatalog;
use crate::memtable::Memtable;
use crate::model::{
    DatabaseId, KeyHasher, PolicyId, PolicyInfo, SeriesEntry, SeriesId, Tombstone, Tombstones,
};
use crate::snapshot::SetAside;

/// A database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) id: DatabaseId,
    pub(super) hasher: KeyHasher,
    pub(super) registry: Registry,
    stores: RwLock<Stores>,
    /// New series of late.
    pub(super) growth: Mutex<Growth>,
    unconfirmed: Mutex<Unconfirmed>,
    /// What the last look for blocks with dropped values saw.
    pub(super) dropped: Mutex<DroppedLook>,
    /// The blocks there were when it was last asked which series live; `None`: never.
    pub(super) blocks_seen: Mutex<Option<BTreeSet<u64>>>,
    /// Whether new series were refused, as it has all it may have, since somebody saw to that.
    pub(super) refused: AtomicBool,
}

/// What readers see. Cloning copies pointers.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    pub(super) catalog: Arc<DatabaseCatalog>,
    /// Oldest first; the last one takes what is written.
    pub(super) indexes: Vec<Arc<LiveIndex>>,
    pub(super) policies: BTreeMap<PolicyId, PolicyState>,
    /// Deletes that may hide rows of blocks or memtables.
    pub(super) tombstones: Tombstones,
}

/// What one policy holds.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyState {
    /// Oldest first; the last one takes what is written.
    pub(super) memtables: Vec<Arc<Memtable>>,
    /// In the order of their sequences.
    pub(super) blocks: Vec<Arc<Block>>,
    /// Blocks that cannot be opened.
    pub(super) damaged: Vec<Arc<SetAside>>,
}

/// Definitions that are submitted and not known to be durable: each later write logs them again,
/// so that no row is ever durable before what it needs.
#[derive(Debug, Default)]
struct Unconfirmed {
    next: u64,
    list: Vec<(u64, Arc<Definitions>)>,
    series_count: usize,
}

impl Database {
    /// A database as the manifest has it.
    pub(super) fn new(
        catalog: Arc<DatabaseCatalog>,
        hasher: KeyHasher,
        registry: Registry,
    ) -> Database {
        let ids = catalog.policies().iter().map(|policy| policy.id);
        Database {
            id: catalog.id(),
            hasher,
            registry,
            growth: Mutex::default(),
            unconfirmed: Mutex::default(),
            blocks_seen: Mutex::default(),
            refused: AtomicBool::new(false),
            dropped: Mutex::default(),
            stores: RwLock::new(Stores {
                policies: ids.map(|id| (id, PolicyState::empty())).collect(),
                indexes: vec![Arc::new(LiveIndex::new())],
                tombstones: Tombstones::default(),
                catalog,
            }),
        }
    }

    pub(super) fn stores(&self) -> RwLockReadGuard<'_, Stores> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stores_mut(&self) -> RwLockWriteGuard<'_, Stores> {
        self.stores.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy called `name`, or the default one.
    ///
    /// # Errors
    /// `NotFound`, in the words of `InfluxDB`.
    pub(super) fn policy(&self, name: Option<&str>) -> Result<PolicyInfo> {
        let stores = self.stores();
        let policy = stores.catalog.policy(name).cloned();
        policy.ok_or_else(|| {
            let name = name.unwrap_or(stores.catalog.default_policy());
            let message = format!("retention policy not found: {name}");
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// Where rows of a policy and new series go now.
    pub(super) fn open_stores(&self, policy: PolicyId) -> Option<(Arc<Memtable>, Arc<LiveIndex>)> {
        let stores = self.stores();
        let memtable = stores.policies.get(&policy)?.memtables.last()?;
        let index = stores.indexes.last()?;
        Some((Arc::clone(memtable), Arc::clone(index)))
    }

    /// Takes a write's definitions in and gives all that its rows may rely on, oldest first, with
    /// the number to confirm them by.
    pub(super) fn unconfirmed(&self, new: Definitions) -> (u64, Vec<Arc<Definitions>>) {
        let mut unconfirmed = lock(&self.unconfirmed);
        if !new.is_empty() {
            unconfirmed.next += 1;
            let number = unconfirmed.next;
            unconfirmed.series_count += new.series.len();
            unconfirmed.list.push((number, Arc::new(new)));
        }
        let list = unconfirmed.list.iter().map(|(_, one)| Arc::clone(one));
        (unconfirmed.next, list.collect())
    }

    /// Everything up to `number` is durable.
    pub(super) fn confirm(&self, number: u64) {
        let mut unconfirmed = lock(&self.unconfirmed);
        unconfirmed.list.retain(|(own, _)| *own > number);
        let left = unconfirmed.list.iter().map(|(_, one)| one.series.len());
        unconfirmed.series_count = left.sum();
    }

    /// How many definitions of series are not known to be durable.
    pub(super) fn unconfirmed_count(&self) -> usize {
        lock(&self.unconfirmed).series_count
    }

    /// Series whose definition is not known to be durable, ascending.
    pub(super) fn unconfirmed_series(&self) -> Vec<SeriesId> {
        let unconfirmed = lock(&self.unconfirmed);
        let definitions = unconfirmed.list.iter();
        let mut series: Vec<SeriesId> = definitions
            .flat_map(|(_, one)| one.series.iter().map(|entry| entry.id))
            .collect();
        series.sort_unstable();
        series
    }

    /// Lets a durable delete hide what was written before it.
    pub(super) fn hide(&self, tombstone: Arc<Tombstone>) {
        let mut stores = self.stores_mut();
        let policies = stores.policies.values();
        for memtable in policies.flat_map(|state| &state.memtables) {
            memtable.bar(tombstone.sequence);
        }
        stores.tombstones.put(tombstone);
    }

    /// Of those series, the ones that are `wanted`.
    pub(super) fn unconfirmed_entries(
        &self,
        wanted: &dyn Fn(SeriesId) -> bool,
    ) -> Vec<SeriesEntry> {
        let unconfirmed = lock(&self.unconfirmed);
        let entries = unconfirmed.list.iter().flat_map(|(_, one)| &one.series);
        entries.filter(|entry| wanted(entry.id)).cloned().collect()
    }

    /// Lets readers see names and series that are durable.
    pub(super) fn publish(
        &self,
        catalog: Option<Arc<DatabaseCatalog>>,
        index: &LiveIndex,
        definitions: &[Arc<Definitions>],
    ) {
        for one in definitions {
            index.add_all(one.series.iter().map(|entry| (entry.id, &*entry.key)));
        }
        if let Some(catalog) = catalog {
            self.stores_mut().catalog = catalog;
        }
    }
}

impl PolicyState {
    /// Of a policy that holds nothing and takes rows.
    pub(super) fn empty() -> PolicyState {
        PolicyState {
            memtables: vec![Arc::new(Memtable::new())],
            ..PolicyState::default()
        }
    }

    /// Puts a block in its place.
    pub(super) fn add_block(&mut self, block: Arc<Block>) {
        let order = |block: &Block| {
            let meta = block.meta();
            let SequenceRange { first, last } = meta.info.sequences;
            (first, last, meta.file_id)
        };
        let own = order(&block);
        let at = self.blocks.partition_point(|other| order(other) <= own);
        self.blocks.insert(at, block);
    }
}

/// Leaves in `pending` what a manifest with `known` does not have.
pub(super) fn drop_known(pending: &mut Names, known: &DatabaseCatalog) {
    let last = known.last_ids();
    pending
        .measurements
        .retain(|(id, _)| id.0 > last.measurement);
    pending.tag_keys.retain(|(id, _)| id.0 > last.tag_key);
    pending.fields.retain(|(_, field)| field.id.0 > last.field);
    pending.pairs.retain(|(measurement, key)| {
        let Some(measurement) = known.measurement_by_id(*measurement) else {
            return measurement.0 > last.measurement;
        };
        !measurement.tag_key_ids.contains(key)
    });
}
