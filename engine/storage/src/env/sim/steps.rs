//! Background steps that run when the test says, one at a time, in an order that follows from the
//! seed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use super::Random;
use crate::env::{StepHandle, StepOutcome};

type Step = Box<dyn FnMut() -> StepOutcome + Send>;

#[derive(Default)]
struct Slot {
    /// None once it is finished or stopped. Locked while it runs, so that `stop` waits for it.
    step: Mutex<Option<Step>>,
    /// Where it runs now: a step that stops itself must not wait for itself.
    runs_on: Mutex<Option<ThreadId>>,
    stopped: std::sync::atomic::AtomicBool,
}

pub(super) struct Steps {
    inner: Mutex<(Vec<Arc<Slot>>, Random)>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Steps {
    pub(super) fn new(seed: u64) -> Steps {
        Steps {
            inner: Mutex::new((Vec::new(), Random(!seed))),
        }
    }

    pub(super) fn add(&self, step: Step) -> Box<dyn StepHandle> {
        let slot = Arc::new(Slot {
            step: Mutex::new(Some(step)),
            ..Slot::default()
        });
        locked(&self.inner).0.push(Arc::clone(&slot));
        Box::new(SimStep(slot))
    }

    /// Calls one step; false where there is none.
    pub(super) fn run_one(&self) -> bool {
        let slot = {
            let mut inner = locked(&self.inner);
            let (slots, random) = &mut *inner;
            slots.retain(|slot| !slot.is_over());
            if slots.is_empty() {
                return false;
            }
            let picked = random.below(slots.len() as u64);
            let picked = usize::try_from(picked).expect("an index of the list");
            Arc::clone(&slots[picked])
        };
        slot.run();
        true
    }
}

impl Slot {
    fn is_over(&self) -> bool {
        self.stopped.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn over(&self) {
        self.stopped
            .store(true, std::sync::atomic::Ordering::SeqCst);
    }

    fn run(&self) {
        let mut step = locked(&self.step);
        *locked(&self.runs_on) = Some(std::thread::current().id());
        let call = step.as_mut().filter(|_| !self.is_over());
        if call.is_some_and(|call| call() == StepOutcome::Finished) {
            self.over();
        }
        if self.is_over() {
            *step = None;
        }
        *locked(&self.runs_on) = None;
    }
}

struct SimStep(Arc<Slot>);

impl fmt::Debug for SimStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SimStep").finish_non_exhaustive()
    }
}

impl StepHandle for SimStep {
    fn wake(&self) {}

    fn wake_beside(&self) {}

    fn stop(&self) {
        self.0.over();
        if *locked(&self.0.runs_on) != Some(std::thread::current().id()) {
            *locked(&self.0.step) = None;
        }
    }
}

impl Drop for SimStep {
    fn drop(&mut self) {
        self.stop();
    }
}
