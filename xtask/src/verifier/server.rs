//! Starting and stopping the product.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http::Connection;
use crate::{Outcome, root};

/// A server that is not ready after this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);

/// The built binary.
pub(crate) fn binary() -> PathBuf {
    root().join("target/release/silverback")
}

/// A running process, ended when the value goes.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Ends it at once.
    pub(crate) fn kill(mut self) -> Outcome {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        killed.map(drop).map_err(|error| format!("kill: {error}"))
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self, what: &str) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.0.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("{what} ended: {status}")),
                Ok(None) => std::thread::sleep(POLL),
                Err(error) => return Err(format!("{what}: {error}")),
            }
        }
        Err(format!("{what} does not end"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The product on the directory `data`, ready to answer; its log goes to `log`.
pub(crate) fn start(data: &Path, log: &Path) -> Result<(Process, SocketAddr, Duration), String> {
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no port is free: {error}"))?;
    let stderr = std::fs::File::options().create(true).append(true).open(log);
    let stderr = stderr.map_err(|error| format!("{}: {error}", log.display()))?;
    let start = Instant::now();
    let child = Command::new(binary())
        .arg("--data-dir")
        .arg(data)
        .args(["--http-bind", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("{}: {error}", binary().display()))?;
    let mut process = Process(child);
    while start.elapsed() < PATIENCE {
        let answer = Connection::new(address).send("GET", "/ready", "*/*", "");
        if answer.is_ok_and(|(status, _)| status / 100 == 2) {
            return Ok((process, address, start.elapsed()));
        }
        if let Ok(Some(status)) = process.0.try_wait() {
            return Err(format!("the server ended: {status}; see {}", log.display()));
        }
        std::thread::sleep(POLL);
    }
    Err(format!("the server is not ready; see {}", log.display()))
}

/// Reads every byte of a directory that no server has open, and decodes every value.
pub(crate) fn check_directory(data: &Path) -> Outcome {
    let output = Command::new(binary())
        .args(["check", "--deep"])
        .arg(data)
        .output();
    let output = output.map_err(|error| format!("check: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("check {}: {said}{failed}", data.display()))
}
