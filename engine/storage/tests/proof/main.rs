//! The store against a naive model, whatever happens to the machine: power fails at every moment,
//! every call of the disk fails, operations come in any order. Longer runs of the same tests set
//! `SILVERBACK_SEED` and `SILVERBACK_RUNS`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helpers may stop the test, and say how much they looked at"
)]

mod crash;
mod damage;
#[path = "../support/deletes.rs"]
mod deletes;
mod explore;
mod history;
mod lying;
mod model;
mod names;
mod ops;
mod parallel;
mod scripts;
mod sequence;
#[path = "../support/mod.rs"]
mod support;
mod tail;
mod versions;
mod world;

/// A number from the environment, or the one that stands for a run of minutes.
fn setting(name: &str, standard: u64) -> u64 {
    std::env::var(name).map_or(standard, |text| text.parse().unwrap())
}
