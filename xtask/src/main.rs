//! The gate, for people and for continuous integration: `cargo xtask check` and `cargo xtask test`.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool speaks on standard output"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the gate is outside the engine and its env"
)]

mod check;
mod compare;
mod fuzz;
mod metadata;
mod models;
mod sabotage;
mod test;
mod tools;
mod torture;
mod verifier;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use sabotage::Which;
use verifier::{Mode, Shape};

/// What a step of the gate gives: nothing, or why it failed, in a sentence.
pub(crate) type Outcome = Result<(), String>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check           format, lints, docs, dependencies, licences and sizes of files
  test            every test; installs or names the real clients that tests need
  test FILTER     tests whose name contains FILTER
  fuzz [SECONDS]  every fuzz target for SECONDS seconds (default 20)
  models          lock-free code in every order of its threads
  sabotage        every deliberate fault of the engine, which the tests must find
  verify          kills and power cuts under load, checked by a ledger
  restart         how long a start takes after a kill with a full log, of few series and of many
  torture [--minutes N]  the long forms of all of it for N minutes (default 60)
  compare [FLAGS] side by side with peers, which it installs (--quick, --rounds N, --set NAME, --out DIR)
  tools           installs the real clients only, and says where they are";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["check"] => check::run(),
        ["test"] => test::run(None)
            .and_then(|()| models::run(models::PREEMPTIONS_IN_GATE))
            .and_then(|()| verify(SEED_IN_GATE))
            .and_then(|()| sabotage::check_absent())
            .and_then(|()| sabotage::run(Which::Quick).map(drop))
            .and_then(|()| fuzz::run(fuzz::SECONDS_IN_GATE)),
        ["test", filter] => test::run(Some(filter)),
        ["fuzz"] => fuzz::run(fuzz::SECONDS_IN_GATE),
        ["fuzz", seconds] => match seconds.parse() {
            Ok(seconds) => fuzz::run(seconds),
            Err(_) => Err(format!("\"{seconds}\" is no number of seconds")),
        },
        ["models"] => models::run(models::PREEMPTIONS_IN_GATE),
        ["sabotage"] => sabotage::run(Which::All).map(drop),
        ["verify"] => verify(SEED_IN_GATE),
        ["restart"] => restart(),
        ["verifier-load", address, ledger, seed] => verifier::load(address, ledger, seed),
        ["torture"] => torture::run(60),
        ["torture", "--minutes", minutes] => match minutes.parse() {
            Ok(minutes) => torture::run(minutes),
            Err(_) => Err(format!("\"{minutes}\" is no number of minutes")),
        },
        ["compare", ref flags @ ..] => compare::run(flags),
        ["tools"] => tools::install().map(|tools| tools.print()),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Cycles that the gate runs.
const KILLS_IN_GATE: u64 = 300;
const POWER_CUTS_IN_GATE: u64 = 200;
const SEED_IN_GATE: u64 = 4711;

/// The independent checker, as the gate runs it.
fn verify(seed: u64) -> Outcome {
    verify_one(Mode::Kill, KILLS_IN_GATE, seed)?;
    verify_one(Mode::PowerCut, POWER_CUTS_IN_GATE, seed)
}

fn verify_one(mode: Mode, cycles: u64, seed: u64) -> Outcome {
    println!("== verify: {cycles} cycles of {mode:?}");
    if mode == Mode::PowerCut
        && let Err(why) = verifier::can_cut_power()
    {
        println!("NOT RUN: {cycles} power cuts of a real ext4: {why}");
        return Ok(());
    }
    let start = Instant::now();
    let summary = verifier::run(mode, cycles, seed)?;
    println!("{}, {} s", summary.words(), start.elapsed().as_secs());
    Ok(())
}

fn restart() -> Outcome {
    for shape in [Shape::FEW_SERIES, Shape::MILLION_SERIES, Shape::MANY_SERIES] {
        let took = verifier::restart(shape)?;
        println!(
            "{} MiB of log, {} rows: a write is accepted after {} ms, all rows are counted after {} ms, \
             and those with a tag, if they are asked for first, after {} ms",
            took.log_bytes >> 20,
            took.rows,
            took.first_write.as_millis(),
            took.all_answered.as_millis(),
            took.tag_answered.as_millis()
        );
    }
    Ok(())
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}

/// The same cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Runs `command` to its end; `what` names it where it fails.
pub(crate) fn succeed(command: &mut Command, what: &str) -> Outcome {
    println!("== {what}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(error) => Err(format!("{what} did not start: {error}")),
    }
}
