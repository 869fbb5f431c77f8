//! Silverback and its peers on the same data in the same run: the rate of durable ingest over HTTP,
//! the CPU time it takes, memory, and what stays on disk.
//!
//! `cargo run --release -p silverback-benches --bin compare -- --help`
#![expect(
    clippy::print_stdout,
    reason = "a command line tool speaks on standard output"
)]
#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures on the machine's own clock"
)]

mod load;
mod peer;
mod proc;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use peer::{Peer, PeerKind};

const USAGE: &str = "\
usage: compare [--steps N] [--hosts N] [--rounds N] [--connections N] NAME=BINARY ...

NAME is silverback, influxdb or victoria-metrics. Each round runs every peer in turn, with a fresh
directory on loopback, and writes hosts x steps x 10 values of TSBS's devops shape.";

/// What is measured, by flags.
#[derive(Debug)]
struct Settings {
    hosts: usize,
    steps: usize,
    rounds: usize,
    connections: usize,
    peers: Vec<(PeerKind, PathBuf)>,
}

fn settings() -> Option<Settings> {
    let mut settings = Settings {
        hosts: 400,
        steps: 3750,
        rounds: 3,
        connections: 4,
        peers: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse().ok();
        match word.as_str() {
            "--hosts" => settings.hosts = number()?,
            "--steps" => settings.steps = number()?,
            "--rounds" => settings.rounds = number()?,
            "--connections" => settings.connections = number()?,
            peer => {
                let (name, binary) = peer.split_once('=')?;
                settings.peers.push((PeerKind::named(name)?, binary.into()));
            }
        }
    }
    (!settings.peers.is_empty()).then_some(settings)
}

/// What one run of one peer showed.
#[derive(Clone, Debug)]
struct Run {
    wall_s: f64,
    cpu_s: f64,
    settled_cpu_s: f64,
    peak_anonymous_mb: f64,
    disk_bytes: u64,
}

fn main() -> std::process::ExitCode {
    let Some(settings) = settings() else {
        println!("{USAGE}");
        return std::process::ExitCode::from(2);
    };
    let bodies = load::devops(settings.hosts, settings.steps);
    let values = settings.hosts * settings.steps * 10;
    let size: usize = bodies.iter().map(Vec::len).sum();
    println!(
        "devops: {} hosts, {} steps, {values} values, {} requests, {} MB; {} connections",
        settings.hosts,
        settings.steps,
        bodies.len(),
        size / 1_000_000,
        settings.connections
    );
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); settings.peers.len()];
    for round in 1..=settings.rounds {
        for ((kind, binary), runs) in settings.peers.iter().zip(&mut runs) {
            let run = measure(*kind, binary, &bodies, settings.connections);
            println!("round {round}: {} {run:?}", kind.name());
            runs.push(run);
        }
    }
    report(&settings, &runs, values);
    std::process::ExitCode::SUCCESS
}

fn measure(kind: PeerKind, binary: &Path, bodies: &[Vec<u8>], connections: usize) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let mut peer = Peer::start(kind, binary, folder.path());
    let before = peer.cpu_seconds();
    let start = std::time::Instant::now();
    let peak_anonymous_mb = watched(&peer, || load::send(peer.address(), bodies, connections));
    let wall_s = start.elapsed().as_secs_f64();
    let cpu_s = peer.cpu_seconds() - before;
    peer.settle();
    let settled_cpu_s = peer.cpu_seconds() - before;
    peer.stop();
    Run {
        wall_s,
        cpu_s,
        settled_cpu_s,
        peak_anonymous_mb,
        disk_bytes: proc::disk(folder.path()),
    }
}

/// The most anonymous memory a peer has while `work` goes on, MB.
fn watched(peer: &Peer, work: impl FnOnce()) -> f64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0.0_f64;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(peer.anonymous_mb());
                std::thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        work();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    })
}

/// The middle one.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
fn report(settings: &Settings, runs: &[Vec<Run>], values: usize) {
    println!(
        "| peer | M values/s | M values per CPU s | with settling | bytes/value | peak anonymous MB |"
    );
    println!("|---|---|---|---|---|---|");
    for ((kind, _), runs) in settings.peers.iter().zip(runs) {
        let of = |pick: fn(&Run) -> f64| median(runs.iter().map(pick).collect());
        let millions = values as f64 / 1e6;
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.3} | {:.0} |",
            kind.name(),
            millions / of(|run| run.wall_s),
            millions / of(|run| run.cpu_s),
            millions / of(|run| run.settled_cpu_s),
            of(|run| run.disk_bytes as f64) / values as f64,
            of(|run| run.peak_anonymous_mb),
        );
    }
}
