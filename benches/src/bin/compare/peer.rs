//! The servers: how each is started, told to settle, and stopped.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use silverback_benches::data::DataSet;

use crate::http::{Client, escaped};
use crate::proc;

/// How long a server may take until it is ready, on a machine that has other work.
const READY_MAX: Duration = Duration::from_secs(120);

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerKind {
    Silverback,
    InfluxDb,
    VictoriaMetrics,
    QuestDb,
    Prometheus,
}

impl PeerKind {
    pub(crate) fn named(name: &str) -> Option<PeerKind> {
        let all = [
            PeerKind::Silverback,
            PeerKind::InfluxDb,
            PeerKind::VictoriaMetrics,
            PeerKind::QuestDb,
            PeerKind::Prometheus,
        ];
        all.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            PeerKind::Silverback => "silverback",
            PeerKind::InfluxDb => "influxdb",
            PeerKind::VictoriaMetrics => "victoria-metrics",
            PeerKind::QuestDb => "questdb",
            PeerKind::Prometheus => "prometheus",
        }
    }

    /// Whether it can take part: not everybody stores strings and booleans as they are, and Prometheus takes the
    /// samples of a series in their order only, as it is set up by default.
    pub(crate) fn takes(self, set: &DataSet) -> bool {
        match self {
            PeerKind::Silverback | PeerKind::InfluxDb | PeerKind::QuestDb => true,
            PeerKind::VictoriaMetrics => !set.strings,
            PeerKind::Prometheus => !set.strings && set.in_order,
        }
    }

    /// The command with its documented production settings and its files in `folder`. `binary` is
    /// the jar where the server is one.
    fn command(self, binary: &Path, folder: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new(binary);
        let data = folder.join("data");
        match self {
            PeerKind::Silverback => {
                command.arg("--data-dir").arg(data);
                command.arg("--http-bind").arg(address.to_string());
            }
            PeerKind::InfluxDb => {
                let config = folder.join("influxdb.conf");
                std::fs::write(&config, influxdb_settings(folder, address)).unwrap();
                command.arg("run").arg("-config").arg(config);
            }
            PeerKind::VictoriaMetrics => {
                command.arg(format!("-storageDataPath={}", data.display()));
                command.arg(format!("-httpListenAddr={address}"));
                command.arg("-retentionPeriod=100y");
            }
            PeerKind::Prometheus => {
                let config = folder.join("prometheus.yml");
                std::fs::write(&config, "global: {}\n").unwrap();
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.tsdb.path={}", data.display()));
                command.arg(format!("--web.listen-address={address}"));
                command.arg("--web.enable-remote-write-receiver");
                command.arg("--storage.tsdb.retention.time=100y");
            }
            PeerKind::QuestDb => {
                std::fs::create_dir_all(&data).unwrap();
                command = Command::new("java");
                command.arg("-p").arg(binary);
                command.args(["-m", "io.questdb/io.questdb.ServerMain", "-d"]);
                command.arg(data);
                command.env("QDB_HTTP_BIND_TO", address.to_string());
                for other in ["HTTP_MIN", "PG", "LINE_TCP", "TELEMETRY"] {
                    command.env(format!("QDB_{other}_ENABLED"), "false");
                }
            }
        }
        command
    }

    fn ready_path(self) -> &'static str {
        match self {
            PeerKind::Silverback => "/ready",
            PeerKind::InfluxDb | PeerKind::QuestDb => "/ping",
            PeerKind::VictoriaMetrics => "/health",
            PeerKind::Prometheus => "/-/ready",
        }
    }
}

/// InfluxDB with its index on disk, as its documents ask for in production.
fn influxdb_settings(folder: &Path, address: SocketAddr) -> String {
    let place = folder.display();
    format!(
        "reporting-disabled = true\nbind-address = \"{}\"\n\
         [meta]\n dir = \"{place}/meta\"\n[data]\n dir = \"{place}/data\"\n\
         wal-dir = \"{place}/wal\"\n index-version = \"tsi1\"\n max-series-per-database = 0\n\
         [monitor]\n store-enabled = false\n\
         [http]\n bind-address = \"{address}\"\n log-enabled = false\n",
        free_address()
    )
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
    folder: tempfile::TempDir,
}

impl Peer {
    /// Starts one with a fresh directory; gives it when it is ready.
    pub(crate) fn start(kind: PeerKind, binary: &Path) -> Peer {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = kind.command(binary, folder.path(), address);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut peer = Peer {
            kind,
            child,
            address,
            folder,
        };
        let start = Instant::now();
        while !matches!(peer.request("GET", kind.ready_path()), Some((200..300, _))) {
            let waited = start.elapsed() < READY_MAX;
            assert!(waited, "{} is not ready", kind.name());
            let ended = peer.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", kind.name());
            std::thread::sleep(Duration::from_millis(20));
        }
        if matches!(kind, PeerKind::Silverback | PeerKind::InfluxDb) {
            let made = peer.request("POST", "/query?q=CREATE%20DATABASE%20bench");
            assert!(matches!(made, Some((200, _))), "{}: {made:?}", kind.name());
        }
        peer
    }

    pub(crate) fn kind(&self) -> PeerKind {
        self.kind
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request without a body on a connection of its own.
    fn request(&self, method: &str, target: &str) -> Option<(u16, String)> {
        let mut client = Client::connect(self.address).ok()?;
        let (status, body) = client.send(method, target, b"").ok()?;
        Some((status, String::from_utf8_lossy(body).into_owned()))
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        proc::cpu_seconds(self.child.id())
    }

    pub(crate) fn thread_seconds(&self) -> f64 {
        proc::thread_seconds(self.child.id())
    }

    pub(crate) fn anonymous_mb(&self) -> f64 {
        proc::anonymous_mb(self.child.id())
    }

    /// Waits until everything that was sent can be read, where the server acknowledges before.
    pub(crate) fn apply(&self) {
        let waiting = "SELECT count() FROM wal_tables() WHERE sequencerTxn <> writerTxn";
        let target = format!("/exec?query={}", escaped(waiting));
        if self.kind != PeerKind::QuestDb {
            return;
        }
        loop {
            let (status, answer) = self.request("GET", &target).unwrap();
            assert_eq!(status, 200, "{answer}");
            if answer.contains("\"dataset\":[[0]]") {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the server has put everything into its final form, by its own command where it
    /// has one, and until it has been idle for a while.
    pub(crate) fn settle(&self) {
        self.apply();
        match self.kind {
            PeerKind::Silverback => {
                let done = self.request("POST", "/admin/compact");
                assert!(matches!(done, Some((200..300, _))), "{done:?}");
            }
            PeerKind::VictoriaMetrics => {
                std::thread::sleep(Duration::from_secs(6));
                let merged = self.request("GET", "/internal/force_merge");
                assert!(matches!(merged, Some((200, _))), "{merged:?}");
            }
            PeerKind::InfluxDb | PeerKind::QuestDb | PeerKind::Prometheus => {}
        }
        let mut before = self.cpu_seconds();
        for _ in 0..30 {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.cpu_seconds();
            if now - before < 0.05 {
                return;
            }
            before = now;
        }
    }

    /// Asks the server to end, waits, and gives the bytes that its files take on disk.
    pub(crate) fn stop(mut self) -> u64 {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        self.child.wait().unwrap();
        proc::disk(self.folder.path())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
