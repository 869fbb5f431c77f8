//! Reading: snapshots, and what there is.

use std::sync::Arc;

use crate::db::Db;
use crate::db::core::Core;
use crate::db::database::PolicyState;
use crate::model::KeyHasher;
use crate::snapshot::{PolicyStores, Snapshot};
use crate::workers::Workers;

impl Db {
    /// The names of the databases, sorted.
    pub fn databases(&self) -> Vec<Box<str>> {
        self.core.database_names()
    }

    /// The database as of now, or `None` where there is none of that name. Takes pointers only; what
    /// it holds stays readable while writes, flushes and drops go on.
    pub fn snapshot(&self, database: &str) -> Option<Arc<Snapshot>> {
        self.core.snapshot(database)
    }

    /// The threads that may share a scan.
    pub fn workers(&self) -> Arc<Workers> {
        self.core
            .workers
            .get()
            .cloned()
            .unwrap_or_else(Workers::none)
    }

    /// What parsers hash key texts with.
    pub fn hasher(&self) -> KeyHasher {
        self.core.hasher
    }
}

impl Core {
    pub(super) fn snapshot(&self, database: &str) -> Option<Arc<Snapshot>> {
        let database = self.database(database).ok()?;
        // Before the stores: what is durable by now is in them.
        let sequence = self.durable();
        let stores = database.stores().clone();
        let policies = stores.policies.into_iter();
        let policies = policies.map(|(id, state)| (id, policy_stores(state)));
        let snapshot = Snapshot::new(sequence, stores.catalog, policies.collect(), stores.indexes);
        let snapshot = snapshot.with_tombstones(stores.tombstones);
        Some(Arc::new(snapshot.with_names(&self.names)))
    }
}

fn policy_stores(state: PolicyState) -> PolicyStores {
    PolicyStores {
        blocks: state.blocks,
        memtables: state.memtables,
        set_aside: state.damaged,
    }
}
