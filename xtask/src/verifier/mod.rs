//! The independent checker: a process of its own with a ledger of its own, which knows the product as
//! a client does and no line of its code. A load process writes; it and the server are killed, or the
//! disk below the server loses power; then everything is compared with the ledger.

mod check;
mod disk;
mod grpc;
mod http;
mod ledger;
mod load;
mod points;
mod restart;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use check::Counts;
use disk::Disk;
use http::Connection;
use points::Random;
use server::{Process, check_directory, start};

pub(crate) use load::run as load;
pub(crate) use restart::{Shape, measure as restart};

/// How a cycle ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `kill -9` of the server; sometimes of the load process before it.
    Kill,
    /// A power cut of the file system below the server.
    PowerCut,
}

/// The server lives this long at most before its end, ms.
const LIFE_MAX_MS: u64 = 60;
/// Of so many cycles one is followed by a comparison.
const CHECK_EVERY: u64 = 10;
/// So many cycles go to one data directory.
const CYCLES_PER_DIRECTORY: u64 = 50;
/// The program that runs, whatever has become of its path: cargo links xtask anew, under the same name, when
/// the tests of the workspace ask more features of what it depends on.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Of so many cycles one flushes while it is ended, and one ends the load process first.
const FLUSH_EVERY: u64 = 3;
const KILL_LOAD_EVERY: u64 = 7;

/// What all cycles came to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) cycles: u64,
    pub(crate) requests: u64,
    pub(crate) acknowledged: u64,
    pub(crate) deleted: u64,
    pub(crate) unknown_done: u64,
    pub(crate) unknown_not_done: u64,
    pub(crate) restart_max: Duration,
}

impl Summary {
    /// In words, for people.
    pub(crate) fn words(&self) -> String {
        format!(
            "{} cycles, {} requests, {} points acknowledged and found, {} deleted and away, {} unknown \
             requests done, {} not done, slowest restart {} ms",
            self.cycles,
            self.requests,
            self.acknowledged,
            self.deleted,
            self.unknown_done,
            self.unknown_not_done,
            self.restart_max.as_millis()
        )
    }

    fn add(&mut self, requests: usize, counts: Counts) {
        self.requests += requests as u64;
        self.acknowledged += counts.acknowledged;
        self.deleted += counts.deleted;
        self.unknown_done += counts.unknown_done;
        self.unknown_not_done += counts.unknown_not_done;
    }
}

/// Whether this machine can mount a disk to cut the power of; else why not.
pub(crate) fn can_cut_power() -> Outcome {
    let place = Place::new("probe")?;
    Disk::make(&place.0).and_then(|disk| disk.power_off(&place.0.join("ledger")))
}

/// A folder in the system's folder of temporary files, removed when the value goes.
#[derive(Debug)]
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Result<Place, String> {
        let folder = format!("silverback-verifier-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Place(folder))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Runs `cycles` cycles.
pub(crate) fn run(mode: Mode, cycles: u64, seed: u64) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let mut round = 0;
    while summary.cycles < cycles {
        let count = CYCLES_PER_DIRECTORY.min(cycles - summary.cycles);
        let place = Place::new(&format!("{mode:?}-{round}"))?;
        let seed = seed.wrapping_add(round);
        let directory = Directory::new(mode, &place.0, seed)?;
        directory
            .cycles(count, &mut summary)
            .map_err(|why| format!("{mode:?}, seed {seed}, cycle {}: {why}", summary.cycles))?;
        round += 1;
    }
    Ok(summary)
}

/// One data directory with its ledger.
#[derive(Debug)]
struct Directory {
    seed: u64,
    disk: Option<Disk>,
    data: PathBuf,
    log: PathBuf,
    ledger: PathBuf,
}

impl Directory {
    fn new(mode: Mode, place: &Path, seed: u64) -> Result<Directory, String> {
        let disk = match mode {
            Mode::Kill => None,
            Mode::PowerCut => Some(Disk::make(place)?),
        };
        let folder = disk.as_ref().map_or(place, Disk::folder);
        Ok(Directory {
            seed,
            data: folder.join("data"),
            log: place.join("server.log"),
            ledger: place.join("ledger"),
            disk,
        })
    }

    fn start(&self, summary: &mut Summary) -> Result<(Process, SocketAddr), String> {
        let (server, address, took) = start(&self.data, &self.log)?;
        summary.restart_max = summary.restart_max.max(took);
        Ok((server, address))
    }

    fn cycles(mut self, count: u64, summary: &mut Summary) -> Outcome {
        let mut random = Random(self.seed);
        let (mut server, mut address) = self.start(summary)?;
        Connection::new(address).query("*/*", "CREATE DATABASE k")?;
        for cycle in 1..=count {
            self.cycle(server, address, &mut random)?;
            (server, address) = self.start(summary)?;
            summary.cycles += 1;
            if cycle % CHECK_EVERY == 0 || cycle == count {
                self.check(address)?;
            }
        }
        // Opened once more, it shows the same, and nothing on disk is damaged or left over.
        let (requests, counts) = self.check(address)?;
        server.kill()?;
        check_directory(&self.data)?;
        let (server, address) = self.start(summary)?;
        let again = self.check(address)?;
        if again != (requests, counts) {
            return Err(format!(
                "opened again it shows {again:?}, before {counts:?}"
            ));
        }
        server.kill()?;
        summary.add(requests, counts);
        Ok(())
    }

    fn check(&self, address: SocketAddr) -> Result<(usize, Counts), String> {
        let requests = ledger::read(&self.ledger)?;
        let counts = check::check(&mut Connection::new(address), self.seed, &requests)?;
        Ok((requests.len(), counts))
    }

    /// Load, and the end of the server in the middle of it.
    fn cycle(&mut self, server: Process, address: SocketAddr, random: &mut Random) -> Outcome {
        let load = Command::new(OWN_PROGRAM)
            .args(["verifier-load", &address.to_string()])
            .arg(&self.ledger)
            .arg(self.seed.to_string())
            .stdin(Stdio::null())
            .spawn();
        let load = Process(load.map_err(|error| format!("the load process: {error}"))?);
        let life = Duration::from_millis(random.below(LIFE_MAX_MS));
        if random.below(FLUSH_EVERY) == 0 {
            // A flush under way is the other thing to be ended in.
            let flush =
                move || drop(Connection::new(address).send("POST", "/admin/flush", "*/*", ""));
            std::thread::spawn(flush);
        }
        std::thread::sleep(life);
        let load = if random.below(KILL_LOAD_EVERY) == 0 {
            load.kill()?;
            None
        } else {
            Some(load)
        };
        if let Some(disk) = &self.disk {
            disk.power_off(&self.ledger)?;
        }
        server.kill()?;
        if let Some(load) = load {
            load.wait("the load process")?;
        }
        if let Some(disk) = &mut self.disk {
            disk.power_on()?;
            ledger::power_on(&self.ledger)?;
        }
        Ok(())
    }
}
