//! Which core a sleeping thread is woken on. Kernels that see no cache which cores share put a thread on
//! the core that it slept on, though the one who wakes it is at work there and another core is idle: two
//! threads then take turns on one core for as long as twenty milliseconds, which is most queries.
//!
//! What is narrowed here is the set of cores that the thread may run on, and for no longer than until it
//! runs. Nothing of it is needed: where the system refuses, threads wake where they did.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::thread::{self, CpuSet, Pid};

/// No core is known.
const UNKNOWN: usize = usize::MAX;

/// Where a thread sleeps.
pub(super) struct Place {
    thread: OnceLock<Pid>,
    /// The core that it went to sleep on.
    core: AtomicUsize,
    /// All cores that it may run on, while it is kept from one.
    all: Mutex<Option<CpuSet>>,
}

impl Place {
    pub(super) fn new() -> Place {
        Place {
            thread: OnceLock::new(),
            core: AtomicUsize::new(UNKNOWN),
            all: Mutex::new(None),
        }
    }

    /// The calling thread, which is always the same, is going to sleep.
    pub(super) fn sleep(&self) {
        let core = callers_core();
        if core != UNKNOWN {
            self.thread.get_or_init(thread::gettid);
            self.core.store(core, Ordering::Relaxed);
        }
    }

    /// The calling thread, the one that slept, is awake.
    pub(super) fn awake(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = all.take() {
            // A control group may have lost all of these cores meanwhile, and has set others then.
            thread::sched_setaffinity(None, &all).unwrap_or_default();
        }
    }

    /// Keeps the thread from the caller's core until it is awake, if that is where it sleeps and there is
    /// another that it may run on. Costs three calls of the system then, and none else.
    pub(super) fn avoid_callers_core(&self) {
        let own = callers_core();
        let Some(thread) = self.thread.get() else {
            return;
        };
        // One that has slept is on a core that is known.
        if self.core.load(Ordering::Relaxed) != own {
            return;
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_some() {
            return;
        }
        // Fails where there are more cores than a set has.
        let Ok(mut cores) = thread::sched_getaffinity(Some(*thread)) else {
            return;
        };
        let before = cores;
        cores.unset(own);
        if cores.count() > 0 && thread::sched_setaffinity(Some(*thread), &cores).is_ok() {
            *all = Some(before);
        }
    }
}

/// An interpreter has no cores, and models have one thread for all.
fn callers_core() -> usize {
    if cfg!(any(miri, feature = "loom")) {
        UNKNOWN
    } else {
        thread::sched_getcpu()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no cores")]
    fn a_thread_wakes_beside_its_waker_and_then_anywhere() {
        let all = thread::sched_getaffinity(None).unwrap();
        let place = Place::new();
        let (wake, woken) = mpsc::channel::<()>();
        let (say, said) = mpsc::channel();
        let mut moved = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (woken, say) = (woken, say);
                for () in [(); 100] {
                    place.sleep();
                    let slept = place.core.load(Ordering::Relaxed);
                    say.send(slept).unwrap();
                    woken.recv().unwrap();
                    let core = thread::sched_getcpu();
                    let narrow = thread::sched_getaffinity(None).unwrap();
                    place.awake();
                    assert_eq!(thread::sched_getaffinity(None).unwrap(), all);
                    assert!(narrow == all || !narrow.is_set(slept));
                    say.send(core).unwrap();
                }
            });
            for () in [(); 100] {
                let slept = said.recv().unwrap();
                // The waker goes where the other sleeps.
                let mut here = CpuSet::new();
                here.set(slept);
                thread::sched_setaffinity(None, &here).unwrap();
                place.avoid_callers_core();
                wake.send(()).unwrap();
                moved += usize::from(said.recv().unwrap() != slept);
            }
        });
        let others = all.count() > 1;
        assert_eq!(moved, if others { 100 } else { 0 });
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no cores")]
    fn a_thread_that_sleeps_elsewhere_is_left_alone() {
        let place = Place::new();
        place.avoid_callers_core();
        place.sleep();
        place.core.store(UNKNOWN, Ordering::Relaxed);
        let all = thread::sched_getaffinity(None).unwrap();
        place.avoid_callers_core();
        assert_eq!(thread::sched_getaffinity(None).unwrap(), all);
    }
}
