//! Starting and stopping the real binary.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::http::Connection;

/// A server that is not ready or not gone after this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);

/// A running process that answers HTTP, ended when the value goes.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Waits until `GET path` is answered by a 2xx.
    pub(crate) fn start(command: &mut Command, address: SocketAddr, path: &str) -> Server {
        let child = command.spawn().unwrap();
        let mut server = Server { child, address };
        let start = Instant::now();
        loop {
            let answer = Connection::new(address).send("GET", path, &[], b"");
            if answer.is_ok_and(|answer| answer.status / 100 == 2) {
                return server;
            }
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("{command:?} ended: {status}");
            }
            assert!(start.elapsed() < PATIENCE, "{command:?} is not ready");
            std::thread::sleep(POLL);
        }
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Connection {
        Connection::new(self.address)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end and waits.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        signal(&self.child, "TERM");
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(POLL);
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal by its name to a process this test started.
pub(crate) fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let status = Command::new("kill")
        .args(["-s", name, &id])
        .status()
        .unwrap();
    assert!(status.success(), "kill -s {name} {id}: {status}");
}

/// An address on loopback that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Silverback with its data in `data`, listening on `address`; its log goes to `data.log`.
pub(crate) fn silverback(data: &Path, address: SocketAddr) -> Server {
    let log = log_path(data);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_silverback"));
    command
        .arg("--data-dir")
        .arg(data)
        .arg("--http-bind")
        .arg(address.to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Server::start(&mut command, address, "/ready")
}

/// Where [`silverback`] writes its log.
pub(crate) fn log_path(data: &Path) -> PathBuf {
    data.with_extension("log")
}
