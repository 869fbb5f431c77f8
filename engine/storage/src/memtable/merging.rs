//! Merges that are due: which runs are to become one, and whoever has time for it takes the next of them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::memtable::run::Run;
use crate::model::MeasurementId;

/// Runs that stand one behind another and are to become one.
pub(super) type Group = Vec<Arc<Run>>;

/// The merges that are due or under way.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// One of a measurement at most: no run is in two groups.
    plans: Mutex<Vec<Plan>>,
    /// Told when a plan is done with.
    ended: Condvar,
}

/// What was found due in one measurement at one time.
#[derive(Debug)]
struct Plan {
    measurement: MeasurementId,
    /// Not begun.
    groups: VecDeque<Group>,
    under_way: usize,
}

impl Plan {
    fn has_ended(&self) -> bool {
        self.groups.is_empty() && self.under_way == 0
    }
}

impl Merging {
    /// Plans what `groups` finds in `measurement`. False where it finds nothing, and, without looking, where a
    /// plan of the measurement is under way.
    pub(super) fn plan(
        &self,
        measurement: MeasurementId,
        groups: impl FnOnce() -> VecDeque<Group>,
    ) -> bool {
        let mut plans = self.plans();
        if plans.iter().any(|plan| plan.measurement == measurement) {
            return false;
        }
        // Under the lock: nobody else replaces what is found.
        let groups = groups();
        if groups.is_empty() {
            return false;
        }
        plans.push(Plan {
            measurement,
            groups,
            under_way: 0,
        });
        true
    }

    /// The next group of the plan of `measurement` that nobody has begun.
    pub(super) fn take(&self, measurement: MeasurementId) -> Option<Taken<'_>> {
        let mut plans = self.plans();
        let plan = plans
            .iter_mut()
            .find(|plan| plan.measurement == measurement)?;
        let group = plan.groups.pop_front()?;
        plan.under_way += 1;
        Some(Taken {
            merging: self,
            measurement,
            group,
        })
    }

    /// Returns when no plan of `measurement` is under way.
    pub(super) fn wait(&self, measurement: MeasurementId) {
        let is_there =
            |plans: &mut Vec<Plan>| plans.iter().any(|plan| plan.measurement == measurement);
        let waited = self.ended.wait_while(self.plans(), is_there);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    // Nothing panics while it is held but for want of memory.
    fn plans(&self) -> MutexGuard<'_, Vec<Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group that whoever holds this merges; let go of when that is done, or has failed.
#[derive(Debug)]
pub(super) struct Taken<'merging> {
    merging: &'merging Merging,
    measurement: MeasurementId,
    pub(super) group: Group,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut plans = self.merging.plans();
        if let Some(plan) = (plans.iter_mut()).find(|plan| plan.measurement == self.measurement) {
            plan.under_way -= 1;
        }
        let before = plans.len();
        plans.retain(|plan| !plan.has_ended());
        if plans.len() < before {
            self.merging.ended.notify_all();
        }
    }
}
