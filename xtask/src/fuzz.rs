//! `cargo xtask fuzz`: every fuzz target for a bounded time, coverage-guided, no nightly compiler
//! and no extra tool needed.

use std::process::Command;

use crate::{Outcome, cargo, root, succeed};

/// Seconds each target runs in the gate.
pub(crate) const SECONDS_IN_GATE: u32 = 20;

/// What `-Z` flags ask of a stable compiler.
const FLAGS: &str = "--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Cdebuginfo=line-tables-only -Ccodegen-units=1";

/// Where sanitizers work; said apart, flags do not reach build scripts.
pub(crate) const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds and runs every target.
pub(crate) fn run(seconds: u32) -> Outcome {
    let folder = root().join("fuzz");
    let mut build = cargo();
    build
        .current_dir(&folder)
        .args(["build", "--release", "--locked", "--target", TRIPLE]);
    build.env("RUSTFLAGS", FLAGS).env("RUSTC_BOOTSTRAP", "1");
    succeed(&mut build, "build fuzz targets")?;
    let mut targets = Vec::new();
    let listed = std::fs::read_dir(folder.join("fuzz_targets")).map_err(|e| e.to_string())?;
    for entry in listed {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        targets.extend(
            name.to_string_lossy()
                .strip_suffix(".rs")
                .map(str::to_owned),
        );
    }
    targets.sort_unstable();
    for target in &targets {
        let binary = folder
            .join("target")
            .join(TRIPLE)
            .join("release")
            .join(target);
        let corpus = folder.join("corpus").join(target);
        // New inputs go into a folder outside the repository; what is kept is chosen by hand.
        let found = root().join("target/fuzz-found").join(target);
        for made in [&corpus, &found] {
            std::fs::create_dir_all(made).map_err(|error| error.to_string())?;
        }
        let mut fuzz = Command::new(binary);
        fuzz.arg(&found)
            .arg(&corpus)
            .arg(format!("-max_total_time={seconds}"));
        fuzz.args([
            "-rss_limit_mb=2048",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
        fuzz.arg(format!(
            "-artifact_prefix={}/",
            root().join("target").display()
        ));
        watch(&mut fuzz, &format!("fuzz {target} for {seconds} s"))?;
    }
    println!(
        "{} fuzz targets, {seconds} s each, no failure",
        targets.len()
    );
    Ok(())
}

/// Runs one target; of what it says only the count of runs is shown, or all where it fails.
fn watch(fuzz: &mut Command, what: &str) -> Outcome {
    println!("== {what}");
    let output = fuzz
        .output()
        .map_err(|error| format!("{what} did not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{said}\n{what} failed: {}", output.status));
    }
    let units = said
        .lines()
        .find(|line| line.starts_with("stat::number_of_executed_units"));
    println!(
        "{}",
        units.ok_or_else(|| format!("{what} ran nothing: {said}"))?
    );
    Ok(())
}
