//! Atomics, locks and threads of the parts that take no lock, or hand work from thread to thread:
//! those of std, or of loom where `cargo xtask models` runs the models of these parts in every order
//! that the language allows.

#[cfg(feature = "loom")]
pub(crate) use loom::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};
#[cfg(not(feature = "loom"))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};

/// How often, in one order of a model, a thread that could go on gives way to another, unless
/// `LOOM_MAX_PREEMPTIONS` says so. What goes wrong at all mostly does with two.
#[cfg(all(test, feature = "loom"))]
const PREEMPTIONS_MAX: usize = 3;

/// Times that a model runs as an ordinary test; an interpreter takes long, and mixes the threads itself.
#[cfg(all(test, not(feature = "loom")))]
const RUNS: usize = if cfg!(miri) { 5 } else { 300 };

/// Runs `body`, whose threads and memory are this module's, in every order of them; without loom some
/// times as it comes.
#[cfg(all(test, feature = "loom"))]
pub(crate) fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let stated = builder.preemption_bound;
    builder.preemption_bound = stated.or(Some(PREEMPTIONS_MAX));
    builder.check(body);
}

/// See above.
#[cfg(all(test, not(feature = "loom")))]
pub(crate) fn model(body: impl Fn() + Send + Sync + 'static) {
    for _ in 0..RUNS {
        body();
    }
}

/// Runs `jobs` at the same time, each on a thread of its own but the last, and waits for all of them.
#[cfg(test)]
pub(crate) fn together(mut jobs: Vec<Box<dyn FnOnce() + Send>>) {
    let last = jobs.pop();
    #[expect(clippy::disallowed_methods, reason = "a model has no env")]
    let threads: Vec<_> = jobs.into_iter().map(thread::spawn).collect();
    if let Some(last) = last {
        last();
    }
    for thread in threads {
        thread.join().expect("a thread of a model has not failed");
    }
}
