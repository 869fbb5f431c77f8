//! `cargo xtask torture`: the long forms of the tests of reliability in rotation, each time with
//! another seed, until the time is up. What ran, how much it looked at and what it found is appended
//! to the ledger, a line of JSON each.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::verifier::{self, Mode};
use crate::{Outcome, cargo, fuzz, models, root, sabotage, succeed};

/// The ledger of runs.
const LEDGER: &str = "docs/torture.jsonl";
/// Seconds of each fuzz target in one turn.
const FUZZ_SECONDS: u32 = 10;
/// Cycles of kills, and of power cuts, in one turn.
const CYCLES: u64 = 100;
/// As [`models::PREEMPTIONS_IN_GATE`]; 30 s of two cores.
const PREEMPTIONS: u32 = 5;

/// A test by its name in the ledger; it gets a seed.
type Test = (&'static str, fn(u64) -> Turn);

/// One turn of one test: what it came to, or why it failed.
type Turn = Result<Value, String>;

/// Runs for `minutes`, at least each test once.
pub(crate) fn run(minutes: u64) -> Outcome {
    let build = "build --release --locked --package silverback-server --bins";
    succeed(cargo().args(build.split(' ')), "build the server")?;
    let deadline = Instant::now() + Duration::from_secs(minutes * 60);
    let mut failed = Vec::new();
    let commit = commit();
    let mut turn = 0;
    loop {
        // Another seed each time, in the ledger for whoever wants to run it again.
        let seed = now_s() << 8 | turn & 0xff;
        for (name, test) in TESTS {
            println!("== torture: {name}, seed {seed}, turn {turn}");
            let start = Instant::now();
            let outcome = test(seed);
            let (counts, violation) = match outcome {
                Ok(counts) => (counts, None),
                Err(why) => (Value::Null, Some(why)),
            };
            let line = json!({
                "date": date(), "commit": commit, "test": name, "seed": seed,
                "seconds": start.elapsed().as_secs(), "counts": counts,
                "violations": u64::from(violation.is_some()), "violation": violation,
            });
            append(&line)?;
            println!("{line}");
            failed.extend(violation.map(|why| format!("{name}, seed {seed}: {why}")));
            if turn > 0 && Instant::now() >= deadline {
                break;
            }
        }
        turn += 1;
        if Instant::now() >= deadline {
            break;
        }
    }
    if failed.is_empty() {
        println!("torture: {turn} turns, no violation; see {LEDGER}");
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}

/// Every test, by its name in the ledger.
const TESTS: [Test; 11] = [
    ("sabotage", |_| {
        sabotage::run(sabotage::Which::All).map(|said| json!(said))
    }),
    ("kill -9", |seed| cycles(Mode::Kill, seed)),
    ("ext4 power cuts", |seed| cycles(Mode::PowerCut, seed)),
    ("crash images", |seed| proof("every_disk", seed, 10)),
    ("model lists", |seed| proof("a_store_shows", seed, 50)),
    ("lock-free models", |_| {
        models::run(PREEMPTIONS).map(|()| json!({"preemptions": PREEMPTIONS}))
    }),
    ("overload", overload),
    ("fuzz", |_| {
        fuzz::run(FUZZ_SECONDS).map(|()| json!({"seconds_per_target": FUZZ_SECONDS}))
    }),
    ("overflow checks", checked),
    ("address sanitizer", sanitized),
    ("miri", interpreted),
];

/// The tests of what programs embed, where each sum that leaves its type ends in a panic, and with all assertions: as
/// such a program sees it whose author builds it for debugging.
fn checked(_: u64) -> Turn {
    let mut command = cargo();
    command
        .args(
            "test --release --locked -p silverback-storage -p silverback-query -p silverback"
                .split(' '),
        )
        .arg("--target-dir")
        .arg(root().join("target/checked"))
        .env("RUSTFLAGS", "-Coverflow-checks=on -Cdebug-assertions=on");
    let counts = said(&mut command)?;
    Ok(json!({"tests": counts}))
}

/// Leaks that are meant: the table of mappings lives as long as the process, so each model of it has one that is
/// never given back.
const LEAKS: &str = "leak:map::table::models\n";

/// The unit tests of the storage engine, which has all `unsafe` code below the server, with every
/// access checked.
fn sanitized(_: u64) -> Turn {
    let folder = root().join("target/sanitized");
    let known = folder.join("known-leaks");
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&known, LEAKS));
    written.map_err(|error| format!("{}: {error}", known.display()))?;
    let mut command = cargo();
    command
        .args("test --release --locked -p silverback-storage --lib".split(' '))
        .args(["--target", fuzz::TRIPLE, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("LSAN_OPTIONS", format!("suppressions={}", known.display()))
        // The store has a handler of its own, and its test sees the process die of the signal.
        .env("ASAN_OPTIONS", "handle_sigbus=0")
        .env("RUSTC_BOOTSTRAP", "1");
    let counts = said(&mut command)?;
    Ok(json!({"tests": counts}))
}

/// Tests of `unsafe` code that neither maps a file nor calls the system, and of lock-free code, whose threads
/// and stale reads it has, too: an interpreter sees every access that a rule of the language forbids.
const INTERPRETED: [&str; 3] = ["scan::numbers::", "entropy::ans::", "::models::"];

/// [`INTERPRETED`] as a processor of today runs them, where a nightly compiler with Miri is installed.
fn interpreted(_: u64) -> Turn {
    let miri = || {
        let mut rustup = Command::new("rustup");
        rustup
            .args(["run", "nightly", "cargo", "miri"])
            .current_dir(root());
        rustup
    };
    let found = miri().arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        let why = "no nightly compiler with Miri is installed";
        println!("NOT RUN: Miri: {why}");
        return Ok(json!({"not_run": why}));
    }
    let mut command = miri();
    command
        .args("test --locked -p silverback-storage --lib --".split(' '))
        .args(INTERPRETED)
        .env("RUSTFLAGS", "-Ctarget-feature=+avx2,+bmi1,+bmi2")
        // The table of mappings only grows: what it takes is never given back.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks");
    let counts = said(&mut command)?;
    Ok(json!({"tests": counts}))
}

/// A test of the storage engine with `runs` times its own unit of work. The figures are what it says.
fn proof(name: &str, seed: u64, runs: u64) -> Turn {
    let mut command = cargo();
    command
        .args("test --release --locked -p silverback-storage --test proof".split(' '))
        .args([name, "--", "--show-output"])
        .env("SILVERBACK_SEED", seed.to_string())
        .env("SILVERBACK_RUNS", runs.to_string());
    said(&mut command)
}

fn cycles(mode: Mode, seed: u64) -> Turn {
    if mode == Mode::PowerCut
        && let Err(why) = verifier::can_cut_power()
    {
        println!("NOT RUN: {CYCLES} power cuts of a real ext4: {why}");
        return Ok(json!({"not_run": why}));
    }
    let summary = verifier::run(mode, CYCLES, seed)?;
    println!("{}", summary.words());
    Ok(json!({
        "cycles": summary.cycles, "requests": summary.requests,
        "acknowledged": summary.acknowledged, "deleted": summary.deleted,
        "unknown_done": summary.unknown_done, "unknown_not_done": summary.unknown_not_done,
        "slowest_restart_ms": u64::try_from(summary.restart_max.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// The server at many times what it can take, with little memory, and on a slow disk.
fn overload(_: u64) -> Turn {
    let mut command = cargo();
    command
        .args("test --release --locked -p silverback-server overload -- --show-output".split(' '))
        .env("SILVERBACK_TORTURE", "1");
    said(&mut command)
}

/// Runs a test; what it printed about its counts.
fn said(command: &mut Command) -> Turn {
    let output = command
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        // Sanitizers and the compiler speak on standard error.
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}\n{}", end_of(&text), end_of(&errors)));
    }
    // Of what the test binaries print, lines with figures that are not the harness's own.
    let is_own = |line: &&str| {
        line.chars().any(|letter| letter.is_ascii_digit())
            && (!line.starts_with("test ") || line.starts_with("test result"))
            && !line.starts_with("running ")
            && !line.starts_with("----")
    };
    let lines: Vec<&str> = text.lines().filter(is_own).collect();
    Ok(json!(lines))
}

/// The last 4,000 bytes of what a program said.
fn end_of(text: &str) -> &str {
    let end = text.len().saturating_sub(4000);
    let end = (end..text.len()).find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(end..)).unwrap_or_default()
}

fn append(line: &Value) -> Outcome {
    let path = root().join(LEDGER);
    let file = File::options().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"])
        .current_dir(root());
    let said = git
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_default()
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Now, as `2026-01-31T12:00:00Z`.
fn date() -> String {
    let said = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    said.map_or_else(
        |_| "unknown".into(),
        |said| String::from_utf8_lossy(&said.stdout).trim().to_owned(),
    )
}
