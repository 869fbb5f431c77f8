//! `cargo xtask compare`: installs the peers, builds the server, and runs both side by side.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cargo, root, succeed, tools};

/// The newest VictoriaMetrics that was compared with.
const VICTORIA_METRICS: &str =
    "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.150.0";
/// The newest QuestDB, an artifact of Maven.
const QUESTDB: &str = "org.questdb:questdb:9.3.4";
const QUESTDB_JAR: &str = "questdb-9.3.4.jar";

/// Runs the comparison with `flags` of the bench `compare`.
pub(crate) fn run(flags: &[&str]) -> Outcome {
    let folder = root().join("target/tools");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let build = "build --release --locked -p silverback-server -p silverback-benches --bins";
    succeed(cargo().args(build.split(' ')), "build")?;
    let release = root().join("target/release");
    let peers = [
        ("silverback", release.join("silverback")),
        ("influxdb", tools::influxd()?),
        ("victoria-metrics", victoria_metrics(&folder)?),
        ("questdb", questdb(&folder)?),
        ("prometheus", tools::prometheus()?),
    ];
    let mut command = Command::new(release.join("compare"));
    if !flags.contains(&"--out") {
        command.arg("--out").arg(root().join("target/compare"));
    }
    command.args(flags);
    for (name, binary) in peers {
        command.arg(format!("{name}={}", binary.display()));
    }
    succeed(&mut command, "side by side")
}

/// Builds VictoriaMetrics with Go, once.
fn victoria_metrics(folder: &Path) -> Result<PathBuf, String> {
    let binary = folder.join("victoria-metrics");
    if !binary.is_file() {
        let mut command = Command::new("go");
        command.args(["install", VICTORIA_METRICS]);
        command.env("GOBIN", folder);
        succeed(&mut command, "VictoriaMetrics (a minute)")
            .map_err(|why| format!("{why}; install Go 1.26 or newer"))?;
    }
    Ok(binary)
}

/// Has Maven copy QuestDB's jar, once. It runs on Java 17.
fn questdb(folder: &Path) -> Result<PathBuf, String> {
    let jar = folder.join(QUESTDB_JAR);
    if !jar.is_file() {
        let mut command = Command::new("mvn");
        command.args(["-q", "dependency:copy", "-Dmdep.useBaseVersion=true"]);
        command.arg(format!("-Dartifact={QUESTDB}"));
        command.arg(format!("-DoutputDirectory={}", folder.display()));
        command.current_dir(folder);
        succeed(&mut command, "QuestDB's jar")
            .map_err(|why| format!("{why}; install Maven and Java 17"))?;
    }
    Ok(jar)
}
