//! `cargo xtask check`: what can be seen without running the product.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cargo, metadata, root, succeed};

/// Lines of a source file at most, tests apart: house rule.
const FILE_LINES_MAX: usize = 800;

/// Every step of the check, in order of cost.
pub(crate) fn run() -> Outcome {
    succeed(cargo().args(["fmt", "--all", "--check"]), "format")?;
    sources()?;
    metadata::check()?;
    let clippy = "clippy --release --locked --workspace --all-targets -- -D warnings";
    succeed(cargo().args(clippy.split(' ')), "lints")?;
    let doc = "doc --release --locked --workspace --no-deps";
    succeed(
        cargo()
            .args(doc.split(' '))
            .env("RUSTDOCFLAGS", "-D warnings"),
        "docs",
    )
}

/// Source files are ASCII, of bounded length, and carry no mark of unfinished work.
fn sources() -> Outcome {
    println!("== sources");
    let listed = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.rs",
        ])
        .current_dir(root())
        .output()
        .map_err(|error| format!("git did not start: {error}"))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut faults = Vec::new();
    let mut count = 0;
    for name in listed.lines().map(PathBuf::from) {
        // A file that git still lists may just have been removed.
        if let Ok(text) = std::fs::read(root().join(&name)) {
            count += 1;
            source(&name, &String::from_utf8_lossy(&text), &mut faults);
        }
    }
    if count == 0 {
        return Err("no source file was found: is this a git checkout?".into());
    }
    println!("{count} source files");
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

/// The marks are put together here so that this file does not carry them.
fn marks() -> [String; 4] {
    [
        ["FIX", "ME"],
        ["XX", "X"],
        ["#[ign", "ore"],
        ["unimpl", "emented!"],
    ]
    .map(|part| part.concat())
}

fn source(name: &Path, text: &str, faults: &mut Vec<String>) {
    let shown = name.display();
    for (index, line) in text.lines().enumerate() {
        if !line.is_ascii() {
            faults.push(format!(
                "{shown}:{}: not ASCII: write it as an escape",
                index + 1
            ));
        }
        if let Some(mark) = marks().iter().find(|mark| line.contains(*mark)) {
            faults.push(format!(
                "{shown}:{}: {mark}: finish it or say what is missing",
                index + 1
            ));
        }
    }
    let tests = name.components().any(|part| part.as_os_str() == "tests")
        || name.file_name().is_some_and(|file| file == "tests.rs");
    let lines = text
        .lines()
        .take_while(|line| *line != "mod tests {")
        .count();
    if !tests && lines > FILE_LINES_MAX {
        faults.push(format!(
            "{shown}: {lines} lines: split it by what it is about"
        ));
    }
}
