//! A background step on a thread of its own, called every interval and whenever woken.
//!
//! A wake that comes while the step runs is not lost: the step is called once more.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::env::real::place::Place;
use crate::env::{StepHandle, StepOutcome};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug, Default)]
struct Asked {
    wake: bool,
    stop: bool,
}

struct Signal {
    asked: Mutex<Asked>,
    changed: Condvar,
    place: Place,
}

impl Signal {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked());
        self.changed.notify_all();
    }
}

pub(super) struct RealStep {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for RealStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RealStep").finish_non_exhaustive()
    }
}

pub(super) fn start(
    name: &str,
    interval: Duration,
    step: Box<dyn FnMut() -> StepOutcome + Send>,
) -> io::Result<RealStep> {
    let signal = Arc::new(Signal {
        asked: Mutex::default(),
        changed: Condvar::new(),
        place: Place::new(),
    });
    let shared = Arc::clone(&signal);
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(&shared, interval, step))?;
    Ok(RealStep {
        signal,
        thread: Mutex::new(Some(thread)),
    })
}

fn run(signal: &Signal, interval: Duration, mut step: Box<dyn FnMut() -> StepOutcome + Send>) {
    loop {
        let mut asked = signal.asked();
        let mut is_time = false;
        signal.place.sleep();
        while !asked.wake && !asked.stop && !is_time {
            let waited = signal.changed.wait_timeout(asked, interval);
            let (now, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            asked = now;
            is_time = outcome.timed_out();
        }
        asked.wake = false;
        if asked.stop {
            return;
        }
        drop(asked);
        signal.place.awake();
        match step() {
            StepOutcome::Idle => {}
            StepOutcome::Again => signal.asked().wake = true,
            StepOutcome::Finished => return,
        }
    }
}

impl StepHandle for RealStep {
    fn wake(&self) {
        self.signal.ask(|asked| asked.wake = true);
    }

    fn wake_beside(&self) {
        self.signal.place.avoid_callers_core();
        self.wake();
    }

    fn stop(&self) {
        self.signal.ask(|asked| asked.stop = true);
        // Held while joining, so that a second caller returns no earlier than the first.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if thread.as_ref().is_some_and(own) {
            return;
        }
        if let Some(thread) = thread.take() {
            // A step that panicked has printed why; there is nothing left to stop.
            drop(thread.join());
        }
    }
}

impl Drop for RealStep {
    fn drop(&mut self) {
        self.stop();
    }
}
