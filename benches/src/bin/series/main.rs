//! What series cost: memory, CPU, disk and the time of lookups, at 10^4, 10^5 and 10^6 series of ten
//! tags, in a store of its own under the temporary folder.
//!
//! `cargo run --release -p silverback-benches --bin series -- --series 1000000`
#![expect(
    clippy::print_stdout,
    reason = "a command line tool speaks on standard output"
)]
#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures on the machine's own clock"
)]
#![expect(
    clippy::cast_precision_loss,
    reason = "figures are shown with three digits"
)]

mod process;
mod terms;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use silverback::{Options, Silverback};
use silverback_benches::{Random, START_NS};

use process::Process;

/// As in the server: what is measured is its memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: series [--series N] [--points N] [--fields N] [--terms 1]

Writes N series of TSBS's ten devops tags with a few points each and shows what they cost: at a
hundredth, a tenth and the whole of N, then after flush, compaction and restart. With --terms 1
nothing is written: the terms of their index are compared with an fst.";

/// Lines in one write, about a mebibyte.
const LINES: usize = 5000;
/// Stores of few series, one after another.
const STORES: usize = 21;
/// The folder of a store to open again, in the environment of a second process.
const REOPEN: &str = "SERIES_REOPEN";
/// How soon the allocator gives freed pages back, ms, in the environment.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Between two points of a series, ns.
const STEP_NS: usize = 10_000_000_000;

/// What is measured, by flags.
#[derive(Clone, Copy, Debug)]
struct Settings {
    series: usize,
    points: usize,
    fields: usize,
    terms: usize,
}

fn settings() -> Option<Settings> {
    let mut settings = Settings {
        series: 1_000_000,
        points: 3,
        fields: 1,
        terms: 0,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next()?.parse().ok()?;
        match word.as_str() {
            "--series" => settings.series = number,
            "--points" => settings.points = number,
            "--fields" => settings.fields = number,
            "--terms" => settings.terms = number,
            _ => return None,
        }
    }
    Some(settings)
}

/// The lines of series `range` at point `point`.
fn lines(settings: Settings, range: std::ops::Range<usize>, point: usize, body: &mut String) {
    const REGIONS: [&str; 4] = ["eu-west-1", "us-east-1", "ap-southeast-2", "sa-east-1"];
    body.clear();
    let time = usize::try_from(START_NS).unwrap() + point * STEP_NS;
    for host in range {
        let mut random = Random(host as u64);
        let region = REGIONS[host % REGIONS.len()];
        write!(
            body,
            "cpu,arch=x{},datacenter={region}{},hostname=host_{host},os=Ubuntu16.{},rack={},\
             region={region},service={},service_environment={},service_version={},team={}",
            [64, 86][usize::try_from(random.below(2)).unwrap()],
            ["a", "b", "c"][host % 3],
            4 + random.below(7),
            random.below(100),
            random.below(20),
            ["production", "staging", "test"][usize::try_from(random.below(3)).unwrap()],
            random.below(2),
            ["SF", "NYC", "LON", "CHI"][usize::try_from(random.below(4)).unwrap()],
        )
        .unwrap();
        for field in 0..settings.fields {
            let separator = if field == 0 { ' ' } else { ',' };
            write!(body, "{separator}usage_{field}={}i", random.below(101)).unwrap();
        }
        writeln!(body, " {time}").unwrap();
    }
}

fn main() {
    let Some(settings) = settings() else {
        println!("{USAGE}");
        std::process::exit(2);
    };
    if std::env::var_os(PURGE_DELAY).is_none() {
        give_back_soon();
        return;
    }
    if settings.terms > 0 {
        return terms::compare(settings);
    }
    if let Some(folder) = std::env::var_os(REOPEN) {
        return reopen(Path::new(&folder), settings);
    }
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    db.create_database("devops").unwrap();
    // A first write makes what every store has.
    db.write_lines("devops", b"warm up=1i 1").unwrap();
    let empty = Process::now();
    println!("{settings:?}; memory in MiB above an empty store, which has {empty}");
    ingest(&db, settings, empty);
    db.flush().unwrap();
    show("flush", &db, empty);
    lookups(&db, settings);
    db.compact().unwrap();
    show("compaction", &db, empty);
    db.close().unwrap();
    drop(db);
    disk(folder.path(), settings);
    few(settings);
    // What an allocator holds back is the process's: a restart is one.
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let again = again
        .args(std::env::args().skip(1))
        .env(REOPEN, folder.path());
    assert!(again.status().unwrap().success());
}

/// What a series costs where there are few: a hundredth of all takes too little time to be measured once.
fn few(settings: Settings) {
    let series = settings.series / 100;
    let mut body = String::new();
    let mut costs: Vec<f64> = Vec::new();
    for () in [(); STORES] {
        let folder = tempfile::tempdir().unwrap();
        let db = open(folder.path());
        db.create_database("devops").unwrap();
        let mut cpu = 0.0;
        for start in (0..series).step_by(LINES) {
            for point in 0..settings.points {
                let own = start..(start + LINES).min(series);
                lines(settings, own, point, &mut body);
                let before = process::cpu_seconds();
                db.write_lines("devops", body.as_bytes()).unwrap();
                cpu += process::cpu_seconds() - before;
            }
        }
        costs.push(cpu / series.max(1) as f64 * 1e6);
    }
    costs.sort_by(f64::total_cmp);
    let median = costs[STORES / 2];
    println!(
        "{STORES} stores of {series} series: CPU {median:.2} us a series with its points, the median"
    );
}

/// Starts this program with the allocator's options as the server sets them.
fn give_back_soon() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(std::env::args().skip(1))
        .env(PURGE_DELAY, "10")
        .env("MIMALLOC_ARENA_PURGE_MULT", "1")
        .status();
    assert!(status.unwrap().success());
}

/// What a store costs that was closed.
fn reopen(folder: &Path, settings: Settings) {
    let other = tempfile::tempdir().unwrap();
    let db = open(other.path());
    db.create_database("devops").unwrap();
    db.write_lines("devops", b"warm up=1i 1").unwrap();
    let empty = Process::now();
    drop(db);
    let start = Instant::now();
    let db = open(folder);
    println!("opened in {:.1} ms", ms(start.elapsed()));
    show("restart", &db, empty);
    lookups(&db, settings);
    show("lookups", &db, empty);
    let mut body = String::new();
    let mut slowest = Slowest::default();
    for start in (0..settings.series).step_by(LINES) {
        let end = (start + LINES).min(settings.series);
        lines(settings, start..end, settings.points, &mut body);
        slowest.time(|| db.write_lines("devops", body.as_bytes()).unwrap());
    }
    show("a point more of each", &db, empty);
    println!("slowest write {slowest}");
}

fn open(path: &Path) -> Silverback {
    Silverback::open(Options::new(path).map_files(true)).unwrap()
}

fn ingest(db: &Silverback, settings: Settings, empty: Process) {
    let mut body = String::new();
    let (mut done, mut cpu, mut last_cpu) = (0, 0.0, 0.0);
    let marks = [settings.series / 100, settings.series / 10, settings.series];
    let (mut slowest, mut single) = (Slowest::default(), Slowest::default());
    for mark in marks {
        let from = done;
        while done < mark {
            let end = (done + LINES).min(mark);
            for point in 0..settings.points {
                lines(settings, done..end, point, &mut body);
                let before = process::cpu_seconds();
                slowest.time(|| db.write_lines("devops", body.as_bytes()).unwrap());
                cpu += process::cpu_seconds() - before;
            }
            // One line of one new series: what a single writer waits.
            let own = format!("single,host={done} v=1i {START_NS}");
            single.time(|| db.write_lines("devops", own.as_bytes()).unwrap());
            done = end;
        }
        let per_series = (cpu - last_cpu) / (done - from).max(1) as f64 * 1e6;
        last_cpu = cpu;
        show(&format!("{done} series"), db, empty);
        println!("  CPU {per_series:.2} us a series with its points");
    }
    println!("slowest write of {LINES} lines {slowest}, of one new series {single}");
}

/// The longest that any of some calls took, by the clock and on the processor: on a busy machine,
/// or a slow disk, only the second is the store's own.
#[derive(Clone, Copy, Debug, Default)]
struct Slowest {
    clock: Duration,
    processor: Duration,
}

impl Slowest {
    fn time<T>(&mut self, work: impl FnOnce() -> T) {
        let before = process::thread_time();
        self.clock = self.clock.max(timed(|| drop(work())));
        self.processor = self
            .processor
            .max(process::thread_time().saturating_sub(before));
    }
}

impl std::fmt::Display for Slowest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (clock, processor) = (ms(self.clock), ms(self.processor));
        write!(out, "{clock:.1} ms ({processor:.1} of a processor)")
    }
}

fn show(what: &str, db: &Silverback, empty: Process) {
    let now = Process::now();
    let stats = db.stats();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{what}: anonymous {:.1}, at the most {:.1} with {:.1} of files; memtables {:.1}, index {:.1}, blocks on disk {:.1}, \
         registry files {}",
        (now.anonymous - empty.anonymous) as f64 / 1024.0,
        (now.peak - empty.anonymous - empty.file) as f64 / 1024.0,
        (now.file - empty.file) as f64 / 1024.0,
        mib(stats.memtable_bytes),
        mib(stats.index_bytes),
        mib(stats.block_bytes),
        stats.registry_files,
    );
    process::forget_peak();
}

/// The best of three runs of each query, and how many rows it answers.
fn lookups(db: &Silverback, settings: Settings) {
    let host = settings.series / 2;
    let queries = [
        (
            "one tag",
            format!("SELECT usage_0 FROM cpu WHERE hostname='host_{host}'"),
        ),
        (
            "two tags",
            format!("SELECT usage_0 FROM cpu WHERE hostname='host_{host}' AND region!=''"),
        ),
        (
            "set by regex",
            format!("SELECT usage_0 FROM cpu WHERE hostname=~/^(host_1|host_{host})$/"),
        ),
        (
            "regex with prefix",
            format!(
                "SELECT usage_0 FROM cpu WHERE hostname=~/^host_{}[0-9]$/",
                host / 10
            ),
        ),
        (
            "regex without",
            format!("SELECT usage_0 FROM cpu WHERE hostname=~/t_{host}$/"),
        ),
        (
            "negative",
            "SHOW SERIES EXACT CARDINALITY FROM cpu WHERE hostname!~/^host_1/".to_owned(),
        ),
        (
            "values of a small tag",
            "SHOW TAG VALUES FROM cpu WITH KEY=region".to_owned(),
        ),
        (
            "values of a large tag",
            "SHOW TAG VALUES FROM cpu WITH KEY=hostname LIMIT 10".to_owned(),
        ),
        (
            "values under a condition",
            "SHOW TAG VALUES FROM cpu WITH KEY=team WHERE region='eu-west-1'".to_owned(),
        ),
        ("tag keys", "SHOW TAG KEYS FROM cpu".to_owned()),
        ("cardinality", "SHOW SERIES CARDINALITY".to_owned()),
    ];
    for (name, text) in queries {
        let mut best = Duration::MAX;
        let mut rows = 0;
        for _ in 0..3 {
            best = best.min(timed(|| {
                let answer = db.query("devops", &text).unwrap();
                let series = answer.statements.iter().flat_map(|one| &one.series);
                rows = series.map(|one| one.rows.len()).sum();
            }));
        }
        println!("  {:>10.3} ms  {name}, {rows} rows", ms(best));
    }
    println!("  memory {}", Process::now());
}

/// What lies in the folders of a closed store.
fn disk(path: &Path, settings: Settings) {
    for folder in ["blocks", "registry", "wal", "manifest"] {
        let files = std::fs::read_dir(path.join(folder)).into_iter().flatten();
        let bytes: u64 = files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        let each = bytes as f64 / settings.series as f64;
        println!("{folder}: {bytes} bytes, {each:.1} a series");
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
