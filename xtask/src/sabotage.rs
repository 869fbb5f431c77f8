//! `cargo xtask sabotage`: the engine with one deliberate fault after another, each of which the tests
//! must find. The faults are switches at run time of one build, which has a package of its own.

use crate::{cargo, root};

/// How many of the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Some that are found within seconds: the gate's.
    Quick,
    All,
}

/// Builds the package and runs it; its last line.
pub(crate) fn run(which: Which) -> Result<String, String> {
    let mut command = cargo();
    command
        .current_dir(root().join("sabotage"))
        .args(["run", "--quiet", "--release", "--locked", "--target-dir"])
        // Most of what it depends on has been built there for the product.
        .arg(root().join("target"))
        // A failing list need not be made short.
        .env("PROPTEST_MAX_SHRINK_ITERS", "0");
    if which == Which::Quick {
        command.args(["--", "quick"]);
    }
    println!("== sabotage, {which:?}");
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{said}");
    if output.status.success() {
        Ok(said.lines().last().unwrap_or_default().to_owned())
    } else {
        Err(format!("sabotage: {}\n{said}", output.status))
    }
}

/// A word that the engine's code carries where faults are compiled in.
const MARK: &str = "silverback is sabotaged";

/// Whether the shipped binary is without them.
pub(crate) fn check_absent() -> Result<(), String> {
    let path = root().join("target/release/silverback");
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes
        .windows(MARK.len())
        .any(|window| window == MARK.as_bytes())
    {
        return Err(format!(
            "{} has deliberate faults compiled in",
            path.display()
        ));
    }
    println!("the binary has no deliberate fault compiled in");
    Ok(())
}
