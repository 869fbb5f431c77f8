//! More than the server can take: memory stays in its budget, what is accepted is stored, what is
//! refused is told to come back, and nothing acknowledged is lost.

mod bomb;
mod cgroup;
mod slow_disk;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use silverback_benches::Random;

use crate::http::Connection;
use crate::product::{Server, free_address, log_path};

/// The smallest budget: reached soon.
const BUDGET: u64 = 256 << 20;
/// How much of the budget may be resident.
const RESIDENT_PERCENT: u64 = 110;

/// Lines of a request, and fields of a line.
const LINES: u64 = 2000;
const FIELDS: u64 = 10;

/// Limits of bodies: of one, and of all in memory, which a few writers reach and forty pass.
const BODIES: [&str; 6] = [
    "--body-bytes-max",
    "1000000",
    "--inflated-bytes-max",
    "1000000",
    "--bodies-bytes-max",
    "2000000",
];

/// Connections that keep the server busy, and those that overwhelm it: each sends its next request
/// as soon as the last one is answered, whatever it is told.
const BUSY: u64 = 4;
const FLOOD: u64 = 40;
/// The number of the first request of the flood: behind all that came before.
const FLOOD_FIRST: u64 = 1000;
const BUSY_FOR: Duration = Duration::from_secs(2);
const FLOOD_FOR: Duration = Duration::from_secs(8);

/// A server's memory that no file backs, and the most that was seen of it.
#[derive(Debug)]
struct Watched {
    most: AtomicU64,
    stop: AtomicBool,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            most: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// Looks until it is told to stop.
    fn watch(&self, id: u32) {
        while !self.stop.load(Ordering::Relaxed) {
            self.most.fetch_max(resident_bytes(id), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.most.load(Ordering::Relaxed)
    }
}

/// `RssAnon` of a process.
fn resident_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.map_or(0, |number| number.parse::<u64>().unwrap() * 1024)
}

/// The server on `data` with more arguments, started by `wrapper` where there is one.
fn server(data: &Path, arguments: &[&str], group: Option<&cgroup::Group>) -> Server {
    let address = free_address();
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log_path(data));
    let mut command = match group {
        Some(group) => group.command(),
        None => Command::new(env!("CARGO_BIN_EXE_silverback")),
    };
    command.arg("--data-dir").arg(data);
    command.arg("--http-bind").arg(address.to_string());
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log.unwrap());
    Server::start(&mut command, address, "/ready")
}

/// What one connection sent, and what it was told.
#[derive(Debug, Default)]
struct Sent {
    /// Requests that were acknowledged, by number.
    acknowledged: Vec<u64>,
    refused: u64,
    slowest: Duration,
}

/// The lines of a request; each number follows from its place, so that sums prove them.
fn body(writer: u64, request: u64, lines: u64) -> String {
    let mut random = Random(writer << 32 | request);
    let mut text = String::new();
    for line in 0..lines {
        write!(text, "m,w=w{writer},s=s{} n={}i", line % 20, request + line).unwrap();
        for field in 1..FIELDS {
            write!(text, ",f{field}={}i", random.bits() >> 40).unwrap();
        }
        writeln!(text, " {}", request * lines + line).unwrap();
    }
    text
}

/// Sends requests one after another until `end`; refusals must tell when to come back.
fn send(address: SocketAddr, (writer, lines): (u64, u64), first: u64, end: Instant) -> Sent {
    let mut sent = Sent::default();
    let mut connection = Connection::new(address);
    let mut request = first;
    while Instant::now() < end {
        let text = body(writer, request, lines);
        let begun = Instant::now();
        let answer = connection.send("POST", "/write?db=d", &[], text.as_bytes());
        let answer = answer.expect("every request is answered");
        sent.slowest = sent.slowest.max(begun.elapsed());
        match answer.status {
            204 => sent.acknowledged.push(request),
            503 => {
                sent.refused += 1;
                let seconds = answer.header("retry-after").unwrap();
                assert!(seconds.parse::<u32>().unwrap() > 0);
                assert!(answer.text().contains("memory"), "{}", answer.text());
            }
            status => panic!("{status} {}", answer.text()),
        }
        request += 1;
    }
    sent
}

/// Many connections at once.
fn flood(address: SocketAddr, (count, lines): (u64, u64), first: u64, time: Duration) -> Vec<Sent> {
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..count)
            .map(|writer| scope.spawn(move || send(address, (writer, lines), first, end)))
            .collect();
        let writers = writers.into_iter();
        writers.map(|writer| writer.join().unwrap()).collect()
    })
}

/// Compares what one connection was told with what the server has: whole requests, to the sum.
fn verify(connection: &mut Connection, writer: u64, (sent, lines): (&Sent, u64)) {
    let end = sent.acknowledged.last().map_or(1, |last| last + 1000) * lines;
    let query = format!(
        "SELECT count(n), sum(n) FROM m WHERE w = 'w{writer}' AND time >= 0 AND time < {end} \
         GROUP BY time({lines}ns) fill(none)"
    );
    let answer = connection.query("d", &query);
    assert!(answer["results"][0]["error"].is_null(), "{answer}");
    let rows = answer["results"][0]["series"][0]["values"].as_array();
    let mut found: Vec<(u64, u64, u64)> = rows
        .into_iter()
        .flatten()
        .map(|row| {
            let number = |at: usize| row[at].as_u64().unwrap();
            (number(0) / lines, number(1), number(2))
        })
        .collect();
    found.sort_unstable();
    let expected = |request: &u64| {
        let sum = lines * request + lines * (lines - 1) / 2;
        (*request, lines, sum)
    };
    let expected: Vec<_> = sent.acknowledged.iter().map(expected).collect();
    assert_eq!(found, expected, "writer {writer}");
}

#[test]
fn ten_times_what_it_can_take_stays_in_the_budget_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let budget = BUDGET.to_string();
    let arguments = [&["--memory-budget", &budget], &BODIES[..]].concat();
    let mut server = server(&data, &arguments, None);
    server.connect().query("", "CREATE DATABASE d");
    let watched = Watched::new();
    let (busy, flooded) = std::thread::scope(|scope| {
        scope.spawn(|| watched.watch(server.id()));
        let busy = flood(server.address, (BUSY, LINES), 0, BUSY_FOR);
        let flooded = flood(server.address, (FLOOD, LINES), FLOOD_FIRST, FLOOD_FOR);
        watched.end();
        (busy, flooded)
    });
    let most = watched.end();
    let acknowledged = |sent: &[Sent]| sent.iter().map(|one| one.acknowledged.len()).sum::<usize>();
    let refused = flooded.iter().map(|one| one.refused).sum::<u64>();
    println!(
        "{BUSY} connections: {} requests in {BUSY_FOR:?}; {FLOOD} connections: {} and {refused} \
         refused in {FLOOD_FOR:?}, the slowest answer after {:?}; RssAnon {} of {} MiB",
        acknowledged(&busy),
        acknowledged(&flooded),
        flooded.iter().map(|one| one.slowest).max().unwrap(),
        most >> 20,
        BUDGET >> 20,
    );
    assert!(acknowledged(&busy) > 0 && acknowledged(&flooded) > 0);
    assert!(refused > 0, "it was never too much");
    assert!(
        most < BUDGET / 100 * RESIDENT_PERCENT,
        "{most} bytes resident"
    );
    // Killed, so that what is read back was acknowledged from the disk.
    server.kill();
    server = self::server(&data, &arguments, None);
    let mut connection = server.connect();
    for (writer, flooded) in flooded.iter().enumerate() {
        let mut all = Sent::default();
        if let Some(busy) = busy.get(writer) {
            all.acknowledged.extend(&busy.acknowledged);
        }
        all.acknowledged.extend(&flooded.acknowledged);
        verify(&mut connection, writer as u64, (&all, LINES));
    }
    connection.write("d", "m,w=again n=1i 1");
    assert!(server.terminate().success());
}
