//! Compaction: which blocks to merge is chosen and done elsewhere; here it is made to count.

mod publish;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use crate::block::Block;
use crate::budget::Class;
use crate::db::Db;
use crate::db::core::{Core, lock};
use crate::db::database::{Database, PolicyState};
use crate::db::purge::Purge;
use crate::db::room::RoomLook;
use crate::env::StepOutcome;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::{BlockMeta, LEVEL_FINAL, block_path};
use crate::format::sealed::PIECE_BYTES;
use crate::manifest::catalog::DatabaseCatalog;
use crate::model::{DatabaseId, MeasurementId, PolicyId};
use crate::upkeep::compact::{
    Choice, Compaction, Goal, Layout, Memory, Pace, QUIET, Situation, Taken, choose, compact, debt,
    partition,
};

/// What the one compaction that runs knows of blocks.
#[derive(Debug, Default)]
pub(super) struct Compacting {
    /// Damaged ones: trying again would meet the same damage.
    set_aside: BTreeSet<u64>,
    /// When each was seen first, by the monotonic clock.
    seen: BTreeMap<u64, Duration>,
    /// Databases that refused series.
    pub(super) rooms: BTreeMap<DatabaseId, RoomLook>,
}

/// Blocks to merge, of one database and policy.
struct Job {
    database: Arc<Database>,
    policy: PolicyId,
    partition_ns: i64,
    goal: Goal,
    layout: Layout,
    blocks: Vec<Arc<Block>>,
}

/// How fast a job may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speed {
    /// Somebody waits for it.
    Full,
    /// By what there is to merge.
    Paced,
}

impl Job {
    /// A block by itself, without what deletes hide of it.
    fn of_purge(purge: Purge) -> Option<Job> {
        let catalog = Arc::clone(&purge.database.stores().catalog);
        let partition_ns = catalog.policy_by_id(purge.policy)?.partition_ns;
        let meta = purge.block.meta();
        let of = |time| partition(time, partition_ns);
        let spans = meta.info.level == 0 || of(meta.range.start) != of(meta.range.end - 1);
        Some(Job {
            partition_ns,
            database: purge.database,
            policy: purge.policy,
            goal: match meta.info.level {
                LEVEL_FINAL => Goal::Final,
                _ => Goal::Balance,
            },
            layout: if spans {
                Layout::Together
            } else {
                Layout::Split(BTreeSet::new())
            },
            blocks: vec![purge.block],
        })
    }
}

impl Db {
    /// Flushes, then merges blocks until the whole store is in its final form. What is damaged is left
    /// as it is, and all the rest merged.
    ///
    /// # Errors
    /// `Corrupt` where a block to be merged is damaged, `Io`, `NoSpace`, `Closed` where the store is
    /// being closed: nothing is lost.
    pub fn compact(&self) -> Result<()> {
        let core = &self.core;
        core.flush()?;
        let waiting = &core.counters.compaction.waiting;
        waiting.fetch_add(1, Relaxed);
        let mut compacting = lock(&core.compacting);
        waiting.fetch_sub(1, Relaxed);
        // Disks are changed and files put back.
        compacting.set_aside.clear();
        let mut met = None;
        while let Some(job) = core.next_job(Goal::Final, &compacting)? {
            match core.compact_job(&job, Speed::Full) {
                Ok(()) => {}
                Err(error) if compacting.set_aside(&job, &error) => {
                    met.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        core.retire_series();
        let left = "what is damaged was left as it is, the rest is merged";
        met.map_or(Ok(()), |error| Err(error.context(left)))
    }
}

impl Core {
    /// What the background step does: one merge, if there is one to do.
    pub(super) fn compact_step(&self) -> StepOutcome {
        let mut compacting = lock(&self.compacting);
        compacting.look(self.env.monotonic(), &self.all_databases());
        self.make_series_room(&mut compacting);
        let job = match self.next_job(Goal::Balance, &compacting) {
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
        let done = self.compact_job(&job, Speed::Paced);
        let (outcome, next) = match done {
            Err(error) if error.kind() == ErrorKind::Closed => return StepOutcome::Idle,
            Err(error) if compacting.set_aside(&job, &error) => {
                let is_reported = |block: &Arc<Block>| !block.file().problems().is_empty();
                // A block that reports itself does so for as long as it is there.
                let is_told = job.blocks.iter().any(is_reported);
                (
                    if is_told { Ok(()) } else { Err(error) },
                    StepOutcome::Again,
                )
            }
            Err(error) => (Err(error), StepOutcome::Idle),
            Ok(()) => (Ok(()), StepOutcome::Again),
        };
        self.note_outcome("compact", &outcome);
        next
    }

    /// What to merge next, or where there is nothing, a block to be written anew for the sake of a delete or a drop.
    fn next_job(&self, goal: Goal, compacting: &Compacting) -> Result<Option<Job>> {
        let mut owed = 0;
        let mut next = None;
        for database in self.all_databases() {
            let stores = database.stores().clone();
            for (id, state) in &stores.policies {
                let Some(policy) = stores.catalog.policy_by_id(*id) else {
                    continue;
                };
                let width = policy.partition_ns;
                let chosen = compacting.choose(self, state, (width, &stores.catalog), goal);
                owed += chosen.1;
                let Some(choice) = chosen.0.filter(|_| next.is_none()) else {
                    continue;
                };
                let chosen = choice.blocks.iter();
                let find = |meta: &BlockMeta| {
                    let mut all = state.blocks.iter();
                    all.find(|block| block.meta().file_id == meta.file_id)
                };
                next = Some(Job {
                    database: Arc::clone(&database),
                    policy: *id,
                    partition_ns: width,
                    goal: choice.goal,
                    layout: choice.layout,
                    blocks: chosen.filter_map(find).map(Arc::clone).collect(),
                });
            }
        }
        self.counters.compaction.debt_bytes.store(owed, Relaxed);
        if next.is_some() {
            return Ok(next);
        }
        self.next_purge_job(goal, compacting)
    }

    /// A block to be written anew for the sake of a delete or a drop.
    fn next_purge_job(&self, goal: Goal, compacting: &Compacting) -> Result<Option<Job>> {
        let is_set_aside = |block: &Block| compacting.set_aside.contains(&block.meta().file_id);
        let purge = self.next_purge(goal == Goal::Final, &is_set_aside)?;
        let purge = purge.or_else(|| self.next_with_dropped(&is_set_aside));
        Ok(purge.and_then(Job::of_purge))
    }

    /// Writes all blocks anew that hold what was deleted or dropped. What is damaged is left as it is.
    pub(super) fn purge_all(&self, compacting: &mut Compacting) -> Result<()> {
        while let Some(job) = self.next_purge_job(Goal::Final, compacting)? {
            match self.compact_job(&job, Speed::Full) {
                Ok(()) => {}
                Err(error) if compacting.set_aside(&job, &error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn compact_job(&self, job: &Job, speed: Speed) -> Result<()> {
        self.settle()?;
        let counters = &self.counters.compaction;
        // By calls of its own into buffers of its own: what queries have mapped stays in memory, and
        // every checksum is compared again.
        let sources = job.blocks.iter().map(|block| {
            Block::open_unmapped(&*self.env, self.directory_id, block.meta()).map(Arc::new)
        });
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let metas = || sources.iter().map(|block| block.meta());
        let catalog = Arc::clone(&job.database.stores().catalog);
        let is_live = |id: MeasurementId| catalog.measurement_by_id(id).is_some();
        let tombstones = self.flushed_tombstones(&job.database);
        let memory = self.merge_memory();
        let _charge = self.budget.charge(Class::Upkeep, memory.bytes);
        let debt = counters.debt_bytes.load(Relaxed);
        let pace = Cell::new(Pace::new(self.env.monotonic(), debt));
        counters
            .job_rows
            .store(metas().map(|meta| meta.row_count).sum(), Relaxed);
        counters.job_rows_done.store(0, Relaxed);
        let proceed = |taken: Taken| {
            counters.rows.fetch_add(taken.rows, Relaxed);
            counters.job_rows_done.fetch_add(taken.rows, Relaxed);
            if speed == Speed::Paced && taken.rows > 0 {
                self.keep_pace(&pace, taken);
            }
            !self.stopping.load(Acquire)
        };
        let compaction = Compaction {
            env: &self.env,
            directory_id: self.directory_id,
            blocks: &sources,
            partition_ns: job.partition_ns,
            goal: job.goal,
            layout: &job.layout,
            is_live: &is_live,
            has_field: &|measurement, field| catalog.has_field(measurement, field),
            tombstones: &tombstones,
            memory,
            proceed: &proceed,
        };
        let merged = compact(&compaction, &mut || self.new_file());
        counters.job_rows.store(0, Relaxed);
        counters.job_rows_done.store(0, Relaxed);
        let merged = merged?;
        let published = self.publish_merged(job, &merged);
        if published.is_ok() {
            let size = |metas: &mut dyn Iterator<Item = &BlockMeta>| {
                metas.map(|meta| meta.size_bytes).sum::<u64>()
            };
            counters.merges.fetch_add(1, Relaxed);
            counters.bytes_read.fetch_add(size(&mut metas()), Relaxed);
            counters
                .bytes_written
                .fetch_add(size(&mut merged.iter()), Relaxed);
        }
        published
    }

    fn merge_memory(&self) -> Memory {
        Memory::of_budget(self.budget.limit_bytes())
    }

    fn keep_pace(&self, pace: &Cell<Pace>, taken: Taken) {
        let mut own = pace.get();
        let pause = own.pause(self.env.monotonic(), taken.bytes);
        pace.set(own);
        let is_waited_for = self.counters.compaction.waiting.load(Relaxed) > 0;
        if !pause.is_zero() && !is_waited_for {
            let us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
            self.counters.compaction.paused_us.fetch_add(us, Relaxed);
            self.env.pause(pause);
        }
    }
}

impl Compacting {
    /// Notes which blocks there are.
    fn look(&mut self, now: Duration, databases: &[Arc<Database>]) {
        let mut live = BTreeSet::new();
        for database in databases {
            for state in database.stores().policies.values() {
                live.extend(state.blocks.iter().map(|block| block.meta().file_id));
            }
        }
        self.seen.retain(|file, _| live.contains(file));
        self.set_aside.retain(|file| live.contains(file));
        for file in live {
            self.seen.entry(file).or_insert(now);
        }
    }

    /// What to merge of a policy, and how much there is to merge, bytes.
    fn choose(
        &self,
        core: &Core,
        state: &PolicyState,
        (partition_ns, catalog): (i64, &DatabaseCatalog),
        goal: Goal,
    ) -> (Option<Choice>, u64) {
        let metas = state.blocks.iter().map(|block| *block.meta());
        let (mut barriers, blocks): (Vec<BlockMeta>, Vec<BlockMeta>) =
            metas.partition(|meta| self.set_aside.contains(&meta.file_id));
        barriers.extend(state.damaged.iter().map(|block| block.meta));
        let now = core.env.monotonic();
        let is_quiet = |block: &BlockMeta| {
            let seen = self.seen.get(&block.file_id);
            seen.is_some_and(|since| now.saturating_sub(*since) >= QUIET)
        };
        let situation = Situation {
            blocks: &blocks,
            barriers: &barriers,
            partition_ns,
            now_ns: core.env.now_ns(),
            is_quiet: &is_quiet,
            inputs_max: Situation::inputs_max(fields_max(catalog), core.merge_memory()),
        };
        (choose(&situation, goal), debt(&situation))
    }

    /// Takes blocks that `error` says are damaged or gone out of what is merged; false where it says
    /// nothing of the kind.
    fn set_aside(&mut self, job: &Job, error: &Error) -> bool {
        if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) {
            return false;
        }
        let place = error.place();
        let is_at_fault = |block: &&Arc<Block>| {
            let path = block_path(block.meta().file_id);
            place.is_some_and(|place| place.file == path)
        };
        if let (Some(block), Some(place)) = (job.blocks.iter().find(is_at_fault), place) {
            // Readers' own file learns of it, so that it is reported as long as it lasts.
            block.file().scrub_frame().ok();
            let piece = place.offset / PIECE_BYTES as u64;
            if piece < block.file().piece_count() {
                block.file().scrub_piece(piece).ok();
            }
            self.set_aside.insert(block.meta().file_id);
        } else {
            let files = job.blocks.iter().map(|block| block.meta().file_id);
            self.set_aside.extend(files);
        }
        true
    }
}

/// Fields of the measurement that has most.
fn fields_max(catalog: &DatabaseCatalog) -> usize {
    let measurements = catalog.measurements().iter();
    measurements.map(|own| own.fields.len()).max().unwrap_or(0)
}
