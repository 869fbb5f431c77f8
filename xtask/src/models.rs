//! `cargo xtask models`: the parts of the storage engine that take no lock, or hand work from thread to
//! thread, in every order of their threads that a bound allows (loom).

use crate::{Outcome, cargo, succeed};

/// How often, in one order, a thread that could go on gives way to another: what the gate allows.
pub(crate) const PREEMPTIONS_IN_GATE: u32 = 3;

/// Runs the models. Without optimisation: they are built sooner than they would run faster.
pub(crate) fn run(preemptions: u32) -> Outcome {
    let words = "test --locked -p silverback-storage --features loom --lib models::";
    let mut command = cargo();
    command
        .args(words.split(' '))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    succeed(&mut command, "models of lock-free code")
}
