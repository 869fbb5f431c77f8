//! How a submission learns its fate: a thread sleeps on it, or a waker is set on it. Whoever waits
//! with a thread may be asked to lead: to write what is queued.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::commit::Acknowledged;
use crate::error::{Error, Result};

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<Acknowledged>>,
    waker: Option<Waker>,
    /// A thread sleeps on it.
    sleeping: bool,
    /// The sleeper is to lead.
    lead: bool,
}

/// Shared by a submission and its ticket.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

/// Why a sleeper woke.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Done,
    Lead,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_done(&self) -> bool {
        self.state().outcome.is_some()
    }

    /// The first outcome stays.
    pub(super) fn complete(&self, outcome: Result<Acknowledged>) {
        let mut state = self.state();
        if state.outcome.is_some() {
            return;
        }
        state.outcome = Some(outcome);
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Asks the thread that sleeps here to lead; false if none does.
    pub(super) fn ask_to_lead(&self) -> bool {
        let mut state = self.state();
        if !state.sleeping || state.outcome.is_some() {
            return false;
        }
        state.lead = true;
        drop(state);
        self.changed.notify_all();
        true
    }

    pub(super) fn sleep(&self) -> Woken {
        let mut state = self.state();
        state.sleeping = true;
        let waits = |state: &mut State| state.outcome.is_none() && !state.lead;
        let waited = self.changed.wait_while(state, waits);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.sleeping = false;
        // Leading was handed over and cannot be declined, even where the outcome came too.
        if std::mem::take(&mut state.lead) {
            Woken::Lead
        } else {
            Woken::Done
        }
    }

    pub(super) fn outcome(&self) -> Option<Result<Acknowledged>> {
        self.state().outcome.as_ref().map(copy)
    }

    pub(super) fn poll(&self, waker: &Waker) -> Poll<Result<Acknowledged>> {
        let mut state = self.state();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(copy(outcome));
        }
        match &mut state.waker {
            Some(old) => old.clone_from(waker),
            none @ None => *none = Some(waker.clone()),
        }
        Poll::Pending
    }
}

fn copy(outcome: &Result<Acknowledged>) -> Result<Acknowledged> {
    match outcome {
        Ok(given) => Ok(*given),
        Err(error) => Err(Error::duplicate(error)),
    }
}

pub(super) type SharedSlot = Arc<Slot>;
