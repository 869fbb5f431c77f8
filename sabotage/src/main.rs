//! The engine with one deliberate fault after another: each must be found by a test of the suite, and
//! without a fault none may complain. `cargo xtask sabotage` runs it; with `quick` a few that stand
//! for their kinds.
#![allow(
    dead_code,
    unused_imports,
    reason = "the tests of the suite are used in part"
)]

#[path = "../../engine/storage/tests/proof/crash.rs"]
mod crash;
#[path = "../../engine/storage/tests/proof/damage.rs"]
mod damage;
#[path = "../../engine/storage/tests/support/deletes.rs"]
mod deletes;
#[path = "../../engine/storage/tests/proof/explore.rs"]
mod explore;
#[path = "../../engine/storage/tests/proof/history.rs"]
mod history;
#[path = "../../engine/storage/tests/proof/model.rs"]
mod model;
#[path = "../../engine/storage/tests/proof/names.rs"]
mod names;
#[path = "../../engine/storage/tests/proof/ops.rs"]
mod ops;
#[path = "../../engine/storage/tests/proof/parallel.rs"]
mod parallel;
#[path = "../../engine/storage/tests/proof/scripts.rs"]
mod scripts;
#[path = "../../engine/storage/tests/proof/sequence.rs"]
mod sequence;
#[path = "../../engine/storage/tests/support/mod.rs"]
mod support;
#[path = "../../engine/storage/tests/proof/tail.rs"]
mod tail;
#[path = "../../engine/storage/tests/proof/versions.rs"]
mod versions;
#[path = "../../engine/storage/tests/proof/world.rs"]
mod world;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use silverback_storage::sabotage::{FAULTS, Fault, set};

/// Those that run in the gate, of every kind that is found within seconds.
const QUICK: [Fault; 10] = [
    Fault::AcknowledgedBeforeSync,
    Fault::SyncErrorSwallowed,
    Fault::BlockNotSynced,
    Fault::CurrentNotDurable,
    Fault::LogReleasedBeforeManifest,
    Fault::DefinitionsLoggedOnce,
    Fault::OldestWinsInCompaction,
    Fault::DeleteForgottenByCompaction,
    Fault::DeleteLostAtRestart,
    Fault::NewerVersionOpened,
];

/// A part of the suite, by its name.
type Check = (&'static str, fn());

/// The suite in short, cheapest first.
const CHECKS: [Check; 7] = [
    ("later versions", || {
        versions::refuse_later_versions();
    }),
    ("what a crash leaves behind the log", || {
        tail::leave_tails();
    }),
    ("model lists", || model::lists(1, 1)),
    ("crash images of one script", one_script),
    ("damage", || {
        damage::damage_everything(11);
    }),
    ("failing calls", || {
        for script in &scripts::scripts()[..2] {
            explore::fail_each(script, 1);
        }
    }),
    ("crash images", || {
        for script in scripts::scripts() {
            explore::explore(&script, 12);
        }
    }),
];
/// So many of them find the quick ones.
const CHECKS_QUICK: usize = 4;

/// The script that has everything.
fn one_script() {
    explore::explore(&scripts::scripts()[0], 40);
}

/// As the suite has it, for its helpers.
fn setting(_: &str, standard: u64) -> u64 {
    standard
}

/// The first check that complains, and about what.
fn found_by(checks: &[Check]) -> Option<(&'static str, String)> {
    checks.iter().find_map(|(name, check)| {
        let panic = catch_unwind(check).err()?;
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Some((*name, words.unwrap_or_default()))
    })
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let is_quick = std::env::args().any(|word| word == "quick");
    let (faults, checks): (&[Fault], _) = if is_quick {
        (&QUICK, &CHECKS[..CHECKS_QUICK])
    } else {
        (&FAULTS, &CHECKS[..])
    };
    let mut missed = Vec::new();
    for fault in faults {
        let start = Instant::now();
        set(Some(*fault));
        let found = found_by(checks);
        set(None);
        let seconds = start.elapsed().as_secs();
        match found {
            Some((name, words)) => {
                let words: String = words.chars().take(160).collect();
                println!(
                    "{fault:?}: {name}, {seconds} s: {}",
                    words.replace('\n', " ")
                );
            }
            None => {
                println!("{fault:?}: NOT FOUND, {seconds} s");
                missed.push(*fault);
            }
        }
    }
    if let Some((name, words)) = found_by(checks) {
        println!("without a fault {name} complains: {words}");
        return ExitCode::FAILURE;
    }
    println!(
        "{} of {} faults found",
        faults.len() - missed.len(),
        faults.len()
    );
    ExitCode::from(u8::from(!missed.is_empty()))
}
