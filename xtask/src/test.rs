//! `cargo xtask test`: every test binary, each under a time limit, with the real clients at hand.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Outcome, cargo, root, succeed, tools};

/// A test binary that takes longer hangs.
const BINARY_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How often a running test binary is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Runs every test, or those whose name contains `filter`.
pub(crate) fn run(filter: Option<&str>) -> Outcome {
    let tools = tools::install()?;
    tools.print();
    let build = "build --release --locked --workspace --bins --examples";
    succeed(cargo().args(build.split(' ')), "build")?;
    let mut failed = Vec::new();
    let mut slowest = Vec::new();
    for binary in binaries()? {
        let start = Instant::now();
        println!("== {}", binary.name);
        if let Err(why) = run_binary(&binary, filter, &tools) {
            println!("{}: {why}", binary.name);
            failed.push(binary.name.clone());
        }
        slowest.push((start.elapsed().as_secs(), binary.name));
    }
    let doctests = "test --release --locked --doc --workspace";
    if filter.is_none() && succeed(cargo().args(doctests.split(' ')), "doctests").is_err() {
        failed.push("doctests".into());
    }
    slowest.sort_unstable_by(|a, b| b.cmp(a));
    for (seconds, name) in slowest.iter().take(8) {
        println!("{seconds:>6} s  {name}");
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

/// A compiled test binary.
struct Binary {
    name: String,
    executable: PathBuf,
    package: PathBuf,
}

/// Compiles all tests and lists their binaries.
fn binaries() -> Result<Vec<Binary>, String> {
    println!("== build tests");
    let output = cargo()
        .args("test --release --locked --workspace --no-run --message-format=json".split(' '))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not build".into());
    }
    let mut binaries = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let Some(executable) = message["executable"].as_str() else {
            continue;
        };
        if message["profile"]["test"] != true {
            continue;
        }
        let manifest = PathBuf::from(message["manifest_path"].as_str().unwrap_or_default());
        let package = manifest.parent().map_or_else(root, PathBuf::from);
        let folder = package
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let target = message["target"]["name"].as_str().unwrap_or_default();
        binaries.push(Binary {
            name: format!("{}/{target}", folder.unwrap_or_default()),
            executable: executable.into(),
            package,
        });
    }
    if binaries.is_empty() {
        return Err("cargo built no test".into());
    }
    Ok(binaries)
}

fn run_binary(binary: &Binary, filter: Option<&str>, tools: &tools::Tools) -> Outcome {
    let mut command = Command::new(&binary.executable);
    // Tests say how much they looked at: images opened, queries compared, points found.
    command
        .arg("--show-output")
        .args(filter)
        .current_dir(&binary.package)
        .envs(tools.variables());
    let child = command
        .spawn()
        .map_err(|error| format!("did not start: {error}"))?;
    wait(child)
}

/// Waits for `child` and ends it when its time is up.
fn wait(mut child: Child) -> Outcome {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("failed: {status}")),
            Ok(None) if start.elapsed() < BINARY_LIMIT => std::thread::sleep(POLL),
            Ok(None) => {
                let killed = child.kill().and_then(|()| child.wait());
                return Err(format!(
                    "ended after {} s: {killed:?}",
                    BINARY_LIMIT.as_secs()
                ));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    }
}
