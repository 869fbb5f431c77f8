//! Silverback and its peers on the same data in the same run: ingest over HTTP, memory, disk, and
//! queries, each peer in turn. `cargo xtask compare` installs the peers and runs it.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool speaks on standard output"
)]
#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures on the machine's own clock"
)]

mod answer;
mod ask;
mod dashboard;
mod http;
mod ingest;
mod peer;
mod proc;
mod question;
mod report;
mod sending;

use std::path::PathBuf;

use ask::Latencies;
use dashboard::Dashboard;
use ingest::Ingest;
use peer::{Peer, PeerKind};
use silverback_benches::data::{DATA_SETS, DataSet, devops};

const USAGE: &str = "\
usage: compare [--rounds N] [--quick] [--connections N] [--out FOLDER] [--set NAME]... NAME=BINARY ...

NAME of a binary is silverback, influxdb, victoria-metrics, questdb (its jar) or prometheus. Each round starts every
peer afresh on loopback, sends it each data set (default: devops; all: every one), lets it settle, asks the queries and
shows dashboards where the set is devops, and stops it. --quick: a tenth of the data. --out: figures as Markdown and SVG.";

/// What is measured, by flags.
#[derive(Debug)]
pub(crate) struct Settings {
    rounds: usize,
    /// By how much the data sets are made smaller.
    divisor: usize,
    connections: usize,
    out: Option<PathBuf>,
    sets: Vec<DataSet>,
    peers: Vec<(PeerKind, PathBuf)>,
}

fn settings() -> Option<Settings> {
    let mut settings = Settings {
        rounds: 5,
        divisor: 1,
        connections: 4,
        out: None,
        sets: Vec::new(),
        peers: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => {
                settings.rounds = words.next()?.parse().ok().filter(|count| *count > 0)?;
            }
            "--connections" => settings.connections = words.next()?.parse().ok()?,
            "--quick" => settings.divisor = 10,
            "--out" => settings.out = Some(words.next()?.into()),
            "--set" => match words.next()?.as_str() {
                "all" => settings.sets = DATA_SETS.to_vec(),
                name => settings.sets.push(DataSet::named(name)?),
            },
            peer => {
                let (name, binary) = peer.split_once('=')?;
                settings.peers.push((PeerKind::named(name)?, binary.into()));
            }
        }
    }
    if settings.sets.is_empty() {
        settings.sets.extend(DataSet::named("devops"));
    }
    (!settings.peers.is_empty()).then_some(settings)
}

/// What all rounds of a data set showed, by peer in the order of the command line.
#[derive(Debug)]
pub(crate) struct Measured {
    set: DataSet,
    values: usize,
    series: usize,
    size_bytes: usize,
    ingest: Vec<Vec<Ingest>>,
    latencies: Latencies,
    /// By peer, for each round one.
    dashboards: Vec<Vec<Dashboard>>,
}

fn main() -> std::process::ExitCode {
    let Some(settings) = settings() else {
        println!("{USAGE}");
        return std::process::ExitCode::from(2);
    };
    let mut all = Vec::new();
    for set in &settings.sets {
        let measured = measure(&settings, *set);
        println!("{}", report::markdown(&settings, &measured));
        all.push(measured);
    }
    if let Some(folder) = &settings.out {
        report::write(folder, &settings, &all);
    }
    std::process::ExitCode::SUCCESS
}

/// All rounds of a data set.
fn measure(settings: &Settings, set: DataSet) -> Measured {
    let load = set.load(settings.divisor);
    let mut measured = Measured {
        set,
        values: load.values,
        series: load.series,
        size_bytes: load.bodies.iter().map(Vec::len).sum(),
        ingest: vec![Vec::new(); settings.peers.len()],
        latencies: Latencies::new(),
        dashboards: vec![Vec::new(); settings.peers.len()],
    };
    for round in 1..=settings.rounds {
        let mut asked = Vec::new();
        for ((kind, binary), runs) in settings.peers.iter().zip(&mut measured.ingest) {
            if !kind.takes(&set) {
                continue;
            }
            let (peer, run) = ingest::run((*kind, binary), &load.bodies, settings.connections);
            println!("{} round {round}: {} {run:?}", set.name, kind.name());
            runs.push(run);
            // Peers that live together would share memory and disk with the next one's ingest: only
            // those that are asked stay.
            if set.name == "devops" {
                asked.push(peer);
            } else {
                set_disk(runs, peer.stop());
            }
        }
        if !asked.is_empty() {
            let hosts = (devops::HOSTS / settings.divisor) as u64;
            ask::round(&asked, hosts, &mut measured.latencies);
            dashboards(&asked, hosts, &mut measured);
        }
        for (peer, runs) in asked.into_iter().zip(&mut measured.ingest) {
            set_disk(runs, peer.stop());
        }
    }
    measured
}

/// Shows dashboards of each peer, of which nobody else is asked meanwhile.
#[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
fn dashboards(peers: &[Peer], hosts: u64, measured: &mut Measured) {
    let hosts = usize::try_from(hosts).unwrap();
    for (place, peer) in peers.iter().enumerate() {
        let wall_s = measured.ingest[place].last().map_or(1.0, |run| run.wall_s);
        let shown = dashboard::run(peer, hosts, measured.values as f64 / wall_s);
        println!("dashboards: {} {shown:?}", peer.kind().name());
        measured.dashboards[place].push(shown);
        if let Some(run) = measured.ingest[place].last_mut() {
            run.stored += shown.values / measured.values as f64;
        }
    }
}

/// Notes what the last run left on disk.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "rounded for people anyway"
)]
fn set_disk(runs: &mut [Ingest], disk_bytes: u64) {
    if let Some(run) = runs.last_mut() {
        run.disk_bytes = (disk_bytes as f64 / run.stored) as u64;
    }
}

/// The middle one.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
