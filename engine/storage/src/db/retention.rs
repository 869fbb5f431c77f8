//! Retention: what is past its time is found and judged elsewhere; here it is dropped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::db::Db;
use crate::db::core::{Core, lock};
use crate::db::database::Database;
use crate::db::flush::open_block;
use crate::db::stats::Problem;
use crate::env::StepOutcome;
use crate::error::Result;
use crate::format::block::{BlockMeta, block_path};
use crate::format::manifest::Edit;
use crate::model::PolicyId;
use crate::snapshot::SetAside;
use crate::upkeep::retention::{Expired, Share, WaitReason, expired};

/// A pass over a database that waits before it drops anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionWait {
    /// The database.
    pub database: Box<str>,
    /// Why it waits.
    pub reason: WaitReason,
    /// How long it goes on waiting, unless it is confirmed.
    pub left: Duration,
}

impl Db {
    /// The passes of retention that wait: they would drop more than half of a database's
    /// partitions, or the clock has jumped ahead by more than a day.
    pub fn retention_waits(&self) -> Vec<RetentionWait> {
        let core = &self.core;
        let now = core.env.monotonic();
        let databases = core.all_databases();
        let guard = lock(&core.retention);
        let waits = guard.waiting().filter_map(|(id, wait)| {
            let database = databases.iter().find(|one| one.id == id)?;
            Some(RetentionWait {
                database: database.stores().catalog.name().into(),
                reason: wait.reason,
                left: wait.until.saturating_sub(now),
            })
        });
        waits.collect()
    }

    /// Drops now what waits to be dropped: the clock is right, and it is meant. Returns how many
    /// blocks went or were cut.
    ///
    /// # Errors
    /// `Io` or `NoSpace` where the manifest cannot be written: it is tried again by itself.
    pub fn confirm_retention(&self) -> Result<u64> {
        let core = &self.core;
        lock(&core.retention).confirm();
        core.drop_past_time()
    }
}

impl Core {
    /// What the background step does: one pass.
    pub(super) fn retention_step(&self) -> StepOutcome {
        self.note_outcome("retention", &self.drop_past_time().map(drop));
        StepOutcome::Idle
    }

    /// Drops what is past its time, where that need not wait. How many blocks that changed.
    fn drop_past_time(&self) -> Result<u64> {
        self.settle()?;
        let (now, monotonic) = (self.env.now_ns(), self.env.monotonic());
        let databases = self.all_databases();
        let mut guard = lock(&self.retention);
        guard.look(now, monotonic);
        guard.forget(|id| databases.iter().any(|database| database.id == id));
        let mut changed = 0;
        for database in databases {
            let (expired, share) = past_time(&database, now);
            if !guard.allows(database.id, share, monotonic) {
                continue;
            }
            for (policy, expired) in expired {
                changed += self.drop_expired(&database, policy, expired)?;
            }
        }
        Ok(changed)
    }

    /// One edit of the manifest for one policy; files go once nobody reads them any more.
    fn drop_expired(
        &self,
        database: &Database,
        policy: PolicyId,
        mut expired: Expired,
    ) -> Result<u64> {
        let mut manifest = self.manifest();
        let live = &manifest.state().blocks;
        // Another pass or a merge may have changed them meanwhile: what is left comes next time.
        let is_live = |meta: &BlockMeta| live.get(&meta.file_id) == Some(meta);
        expired.dropped.retain(is_live);
        expired.clipped.retain(|(meta, _)| is_live(meta));
        let mut edits = Vec::new();
        for meta in &expired.dropped {
            edits.push(Edit::RemoveBlock(meta.file_id));
        }
        for (meta, range) in &expired.clipped {
            let range = *range;
            edits.push(Edit::RemoveBlock(meta.file_id));
            edits.push(Edit::AddBlock(BlockMeta { range, ..*meta }));
        }
        if edits.is_empty() {
            return Ok(0);
        }
        self.commit(&mut manifest, &edits)?;
        drop(manifest);
        self.hide_expired(database, policy, &expired);
        let paths = expired.dropped.iter().map(|meta| block_path(meta.file_id));
        let files: Vec<PathBuf> = paths.collect();
        self.remove_files(&files);
        let changed = expired.dropped.len() + expired.clipped.len();
        let counters = &self.counters;
        counters
            .retention_blocks
            .fetch_add(changed as u64, Ordering::Relaxed);
        Ok(changed as u64)
    }

    /// Lets readers see what the manifest says now.
    fn hide_expired(&self, database: &Database, policy: PolicyId, expired: &Expired) {
        let cut = expired.clipped.iter().map(|(meta, range)| BlockMeta {
            range: *range,
            ..*meta
        });
        let cut: Vec<_> = cut.map(|meta| (meta, open_block(self, &meta))).collect();
        let is_dropped = |file: u64| expired.dropped.iter().any(|meta| meta.file_id == file);
        let mut stores = database.stores_mut();
        let Some(state) = stores.policies.get_mut(&policy) else {
            return;
        };
        state
            .blocks
            .retain(|block| !is_dropped(block.meta().file_id));
        state
            .damaged
            .retain(|block| !is_dropped(block.meta.file_id));
        for (meta, opened) in cut {
            let place = |file: u64| file == meta.file_id;
            let was_open = state.blocks.iter().any(|own| place(own.meta().file_id));
            state.blocks.retain(|own| !place(own.meta().file_id));
            state.damaged.retain(|own| !place(own.meta.file_id));
            match opened {
                Ok(block) => state.add_block(block),
                Err(error) => {
                    if was_open {
                        self.report(Problem::from_error(&error));
                    }
                    state.damaged.push(Arc::new(SetAside { meta, error }));
                }
            }
        }
    }
}

/// What is past its time in each policy of a database, and the share of all partitions that it is.
fn past_time(database: &Database, now: i64) -> (Vec<(PolicyId, Expired)>, Share) {
    let stores = database.stores().clone();
    let mut all = Vec::new();
    let mut share = Share::default();
    for (id, state) in &stores.policies {
        let Some(policy) = stores.catalog.policy_by_id(*id) else {
            continue;
        };
        let open = state.blocks.iter().map(|block| *block.meta());
        let damaged = state.damaged.iter().map(|block| block.meta);
        let metas: Vec<BlockMeta> = open.chain(damaged).collect();
        let cutoff = policy.cutoff(now);
        share = share.plus(Share::of(&metas, policy.partition_ns, cutoff));
        if let Some(cutoff) = cutoff {
            all.push((*id, expired(&metas, cutoff)));
        }
    }
    (all, share)
}
