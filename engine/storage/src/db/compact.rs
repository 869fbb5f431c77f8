//! Compaction: which blocks to merge is chosen and done elsewhere; here it is made to count.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::block::Block;
use crate::db::Db;
use crate::db::core::{Core, lock};
use crate::db::database::Database;
use crate::db::flush::open_block;
use crate::db::purge::Purge;
use crate::env::StepOutcome;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::{BlockMeta, LEVEL_FINAL, block_path};
use crate::format::manifest::Edit;
use crate::model::{MeasurementId, PolicyId};
use crate::upkeep::compact::{Compaction, Goal, choose, compact};

/// Blocks to merge, of one database and policy.
struct Job {
    database: Arc<Database>,
    policy: PolicyId,
    partition_ns: i64,
    goal: Goal,
    blocks: Vec<Arc<Block>>,
}

impl Job {
    /// A block by itself, without what deletes hide of it.
    fn of_purge(purge: Purge) -> Option<Job> {
        let catalog = Arc::clone(&purge.database.stores().catalog);
        Some(Job {
            partition_ns: catalog.policy_by_id(purge.policy)?.partition_ns,
            database: purge.database,
            policy: purge.policy,
            goal: match purge.block.meta().info.level {
                LEVEL_FINAL => Goal::Final,
                _ => Goal::Balance,
            },
            blocks: vec![purge.block],
        })
    }
}

impl Db {
    /// Flushes, then merges blocks until the whole store is in its final form.
    ///
    /// # Errors
    /// `Corrupt` where a block to be merged is damaged, `Io`, `NoSpace`, `Closed` where the store is
    /// being closed: nothing is lost.
    pub fn compact(&self) -> Result<()> {
        let core = &self.core;
        core.flush()?;
        let _one = lock(&core.compacting);
        while let Some(job) = core.choose_job(Goal::Final, &|_| true) {
            core.compact_job(&job)?;
        }
        while let Some(purge) = core.next_purge(true)? {
            if let Some(job) = Job::of_purge(purge) {
                core.compact_job(&job)?;
            }
        }
        core.retire_series();
        Ok(())
    }
}

impl Core {
    /// What the background step does: one merge, if there is one to do.
    pub(super) fn compact_step(&self) -> StepOutcome {
        let mut set_aside = lock(&self.compacting);
        let chosen = self.choose_job(Goal::Balance, &|job: &Job| {
            !set_aside.contains(&(job.database.id, job.policy))
        });
        let chosen = match chosen {
            Some(job) => Ok(Some(job)),
            None => self.next_purge(false).map(|purge| {
                let job = Job::of_purge(purge?)?;
                (!set_aside.contains(&(job.database.id, job.policy))).then_some(job)
            }),
        };
        let job = match chosen {
            Ok(Some(job)) => job,
            Ok(None) => {
                self.retire_series();
                return StepOutcome::Idle;
            }
            Err(error) => {
                self.note_outcome("compact", &Err(error));
                return StepOutcome::Idle;
            }
        };
        let done = self.compact_job(&job);
        match done.as_ref().map_err(Error::kind) {
            Err(ErrorKind::Closed) => return StepOutcome::Idle,
            // Trying again would meet the same damage. What is whole is served as it is.
            Err(ErrorKind::Corrupt) => drop(set_aside.insert((job.database.id, job.policy))),
            Ok(()) | Err(_) => {}
        }
        self.note_outcome("compact", &done);
        if done.is_ok() {
            StepOutcome::Again
        } else {
            StepOutcome::Idle
        }
    }

    fn choose_job(&self, goal: Goal, accept: &dyn Fn(&Job) -> bool) -> Option<Job> {
        for database in self.all_databases() {
            let stores = database.stores().clone();
            for (id, state) in &stores.policies {
                let Some(policy) = stores.catalog.policy_by_id(*id) else {
                    continue;
                };
                if !state.damaged.is_empty() {
                    // What cannot be read may lie between what would be merged.
                    continue;
                }
                let metas: Vec<BlockMeta> =
                    state.blocks.iter().map(|block| *block.meta()).collect();
                let Some(chosen) = choose(&metas, policy.partition_ns, goal) else {
                    continue;
                };
                let find = |meta: &BlockMeta| {
                    let found = state
                        .blocks
                        .iter()
                        .find(|block| block.meta().file_id == meta.file_id);
                    found.map(Arc::clone)
                };
                let job = Job {
                    database: Arc::clone(&database),
                    policy: *id,
                    partition_ns: policy.partition_ns,
                    goal,
                    blocks: chosen.iter().filter_map(find).collect(),
                };
                if accept(&job) {
                    return Some(job);
                }
            }
        }
        None
    }

    fn compact_job(&self, job: &Job) -> Result<()> {
        self.settle()?;
        let catalog = Arc::clone(&job.database.stores().catalog);
        let is_live = |id: MeasurementId| catalog.measurement_by_id(id).is_some();
        let tombstones = self.flushed_tombstones(&job.database);
        let compaction = Compaction {
            env: &self.env,
            directory_id: self.directory_id,
            blocks: &job.blocks,
            partition_ns: job.partition_ns,
            goal: job.goal,
            is_live: &is_live,
            has_field: &|measurement, field| catalog.has_field(measurement, field),
            tombstones: &tombstones,
            is_stopped: &|| self.stopping.load(Ordering::Acquire),
        };
        let metas = compact(&compaction, &mut || self.new_file())?;
        let published = self.publish_merged(job, &metas);
        if published.is_ok() {
            self.counters.compactions.fetch_add(1, Ordering::Relaxed);
        }
        published
    }

    fn publish_merged(&self, job: &Job, metas: &[BlockMeta]) -> Result<()> {
        let remove = |metas: &mut dyn Iterator<Item = &BlockMeta>| {
            let files: Vec<PathBuf> = metas.map(|meta| block_path(meta.file_id)).collect();
            self.remove_files(&files);
        };
        let opened = metas.iter().map(|meta| open_block(self, meta));
        let opened = match opened.collect::<Result<Vec<_>>>() {
            Ok(opened) => opened,
            Err(error) => {
                remove(&mut metas.iter());
                return Err(error);
            }
        };
        let mut manifest = self.manifest();
        let live = &manifest.state().blocks;
        let sources = || job.blocks.iter().map(|block| block.meta());
        if !sources().all(|meta| live.get(&meta.file_id) == Some(meta)) {
            // The database or the policy was dropped meanwhile, or retention took some of it.
            drop(manifest);
            remove(&mut metas.iter());
            return Ok(());
        }
        let mut edits: Vec<Edit> = sources()
            .map(|meta| Edit::RemoveBlock(meta.file_id))
            .collect();
        edits.extend(metas.iter().copied().map(Edit::AddBlock));
        if let Err(error) = self.commit(&mut manifest, &edits) {
            if !manifest.is_uncertain() {
                remove(&mut metas.iter());
            }
            return Err(error);
        }
        drop(manifest);
        let mut stores = job.database.stores_mut();
        if let Some(state) = stores.policies.get_mut(&job.policy) {
            let gone = |own: &Arc<Block>| job.blocks.iter().any(|one| Arc::ptr_eq(one, own));
            state.blocks.retain(|own| !gone(own));
            for block in opened {
                state.add_block(block);
            }
        }
        drop(stores);
        remove(&mut sources());
        Ok(())
    }
}
