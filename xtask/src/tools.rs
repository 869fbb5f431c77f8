//! The real clients and peers that tests run against: found where they are installed, else
//! installed; what cannot be had is an error that says how to get it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, root, succeed};

/// The Telegraf that tests run, from its own sources.
const TELEGRAF: &str = "github.com/influxdata/telegraf/cmd/telegraf@v1.39.3";
/// The plugins it is built with: the inputs and outputs that tests configure, nothing else.
const TELEGRAF_TAGS: &str = "custom,inputs.cpu,inputs.mem,inputs.disk,inputs.diskio,inputs.net,\
     inputs.system,inputs.processes,outputs.influxdb,outputs.influxdb_v2,outputs.file,\
     parsers.influx,serializers.influx";
/// The Python clients, exact versions.
const PYTHON_CLIENTS: [&str; 2] = ["influxdb==5.3.2", "influxdb-client==1.50.0"];

/// Where each tool is.
#[derive(Debug)]
pub(crate) struct Tools {
    influxd: PathBuf,
    influx: PathBuf,
    telegraf: PathBuf,
    python: PathBuf,
}

impl Tools {
    /// The environment that tests find the tools by.
    pub(crate) fn variables(&self) -> [(&'static str, &Path); 4] {
        [
            ("SILVERBACK_TEST_INFLUXD", &self.influxd),
            ("SILVERBACK_TEST_INFLUX", &self.influx),
            ("SILVERBACK_TEST_TELEGRAF", &self.telegraf),
            ("SILVERBACK_TEST_PYTHON", &self.python),
        ]
    }

    /// Says where each tool is.
    pub(crate) fn print(&self) {
        for (name, path) in self.variables() {
            println!("{name}={}", path.display());
        }
    }
}

/// Finds or installs every tool.
pub(crate) fn install() -> Result<Tools, String> {
    let folder = root().join("target/tools");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Tools {
        influxd: influxd()?,
        influx: find("influx").ok_or("influx is not on the PATH")?,
        telegraf: telegraf(&folder)?,
        python: python(&folder)?,
    })
}

/// InfluxDB of Debian, with its client.
pub(crate) fn influxd() -> Result<PathBuf, String> {
    if find("influxd").is_none() || find("influx").is_none() {
        debian(&["influxdb", "influxdb-client"])?;
    }
    find("influxd").ok_or_else(|| "influxd is not on the PATH".into())
}

/// Prometheus of Debian.
pub(crate) fn prometheus() -> Result<PathBuf, String> {
    if find("prometheus").is_none() {
        debian(&["prometheus"])?;
    }
    find("prometheus").ok_or_else(|| "prometheus is not on the PATH".into())
}

/// The program `name` on the PATH.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Installs Debian packages without starting their services.
fn debian(packages: &[&str]) -> Outcome {
    let hint = format!(
        "install {} (Debian packages) and try again",
        packages.join(" and ")
    );
    if find("apt-get").is_none() {
        return Err(hint);
    }
    let update = ["-qq", "update"];
    succeed(Command::new("apt-get").args(update), "package lists")
        .map_err(|why| format!("{why}; {hint}"))?;
    let install = ["-qq", "-y", "--no-install-recommends", "install"];
    let mut command = Command::new("apt-get");
    command
        .args(install)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    // Debian starts a service it installs unless told otherwise; tests start their own.
    command.env("RUNLEVEL", "1");
    succeed(&mut command, "Debian packages").map_err(|why| format!("{why}; {hint}"))
}

/// Builds Telegraf with Go, once.
fn telegraf(folder: &Path) -> Result<PathBuf, String> {
    let binary = folder.join("telegraf");
    if binary.is_file() {
        return Ok(binary);
    }
    if find("go").is_none() {
        return Err("install Go 1.26 or newer: tests build Telegraf with it".into());
    }
    let mut command = Command::new("go");
    command
        .args(["install", "-tags", TELEGRAF_TAGS, TELEGRAF])
        .env("GOBIN", folder);
    succeed(&mut command, "Telegraf (two minutes)")?;
    Ok(binary)
}

/// Makes a Python environment with the client libraries, once.
fn python(folder: &Path) -> Result<PathBuf, String> {
    let environment = folder.join("python");
    let python = environment.join("bin/python");
    let done = folder.join(format!("python-{}.done", PYTHON_CLIENTS.join("-")));
    if done.is_file() && python.is_file() {
        return Ok(python);
    }
    let base = find("python3").ok_or("install Python 3.9 or newer with venv")?;
    succeed(
        Command::new(base).args(["-m", "venv"]).arg(&environment),
        "Python environment",
    )?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    succeed(
        Command::new(&python).args(pip).args(PYTHON_CLIENTS),
        "Python clients",
    )?;
    std::fs::write(&done, "").map_err(|error| format!("{}: {error}", done.display()))?;
    Ok(python)
}
