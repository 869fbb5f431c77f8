//! The servers: how each is started, told to settle, and stopped.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::proc;

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerKind {
    Silverback,
    InfluxDb,
    VictoriaMetrics,
}

impl PeerKind {
    pub(crate) fn named(name: &str) -> Option<PeerKind> {
        let all = [
            PeerKind::Silverback,
            PeerKind::InfluxDb,
            PeerKind::VictoriaMetrics,
        ];
        all.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            PeerKind::Silverback => "silverback",
            PeerKind::InfluxDb => "influxdb",
            PeerKind::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// The command with its documented production settings and its files in `folder`.
    fn command(self, binary: &Path, folder: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new(binary);
        match self {
            PeerKind::Silverback => {
                command.arg("--data-dir").arg(folder.join("data"));
                command.arg("--http-bind").arg(address.to_string());
            }
            PeerKind::InfluxDb => {
                let config = folder.join("influxdb.conf");
                let place = folder.display();
                let text = format!(
                    "reporting-disabled = true\nbind-address = \"{}\"\n\
                     [meta]\n dir = \"{place}/meta\"\n[data]\n dir = \"{place}/data\"\n\
                     wal-dir = \"{place}/wal\"\n index-version = \"tsi1\"\n\
                     [monitor]\n store-enabled = false\n\
                     [http]\n bind-address = \"{address}\"\n log-enabled = false\n",
                    free_address()
                );
                std::fs::write(&config, text).unwrap();
                command.arg("run").arg("-config").arg(config);
            }
            PeerKind::VictoriaMetrics => {
                command.arg(format!(
                    "-storageDataPath={}",
                    folder.join("data").display()
                ));
                command.arg(format!("-httpListenAddr={address}"));
                command.arg("-retentionPeriod=100y");
            }
        }
        command
    }

    fn ready_path(self) -> &'static str {
        match self {
            PeerKind::Silverback => "/ready",
            PeerKind::InfluxDb => "/ping",
            PeerKind::VictoriaMetrics => "/health",
        }
    }
}

/// An address on loopback that nobody listens on.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Peer {
    kind: PeerKind,
    child: Child,
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn start(kind: PeerKind, binary: &Path, folder: &Path) -> Peer {
        let address = free_address();
        let mut command = kind.command(binary, folder, address);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut peer = Peer {
            kind,
            child: command.spawn().unwrap(),
            address,
        };
        let start = Instant::now();
        while !matches!(peer.request("GET", kind.ready_path()), Some(200..300)) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{} is not ready",
                kind.name()
            );
            assert!(
                peer.child.try_wait().unwrap().is_none(),
                "{} ended",
                kind.name()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        if kind != PeerKind::VictoriaMetrics {
            let status = peer.request("POST", "/query?q=CREATE%20DATABASE%20bench");
            assert_eq!(status, Some(200), "{}", kind.name());
        }
        peer
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request without a body on a connection of its own. Gives the status.
    fn request(&self, method: &str, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        proc::cpu_seconds(self.child.id())
    }

    pub(crate) fn anonymous_mb(&self) -> f64 {
        proc::anonymous_mb(self.child.id())
    }

    /// Waits until the server has put everything into its final form, by its own command where it
    /// has one, and until it has been idle for a while.
    pub(crate) fn settle(&mut self) {
        match self.kind {
            PeerKind::Silverback => {
                let status = self.request("POST", "/admin/compact");
                assert!(status.is_some_and(|status| status / 100 == 2), "{status:?}");
            }
            PeerKind::VictoriaMetrics => {
                std::thread::sleep(Duration::from_secs(6));
                let merged = self.request("GET", "/internal/force_merge");
                assert_eq!(merged, Some(200));
            }
            PeerKind::InfluxDb => {}
        }
        let mut before = self.cpu_seconds();
        for _ in 0..30 {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.cpu_seconds();
            if now - before < 0.02 {
                return;
            }
            before = now;
        }
    }

    /// Asks the server to end and waits.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
