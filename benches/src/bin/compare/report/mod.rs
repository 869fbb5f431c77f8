//! The figures as Markdown tables and SVG plots.

mod svg;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::ask::Latency;
use crate::dashboard::Dashboard;
use crate::ingest::Ingest;
use crate::question::QUESTIONS;
use crate::{Measured, Settings, median};

/// Writes `performance-figures.md` and the plots into `folder`.
pub(crate) fn write(folder: &Path, settings: &Settings, all: &[Measured]) {
    std::fs::create_dir_all(folder).unwrap();
    let mut text = String::from("# Figures of a side-by-side run\n\n");
    text.push_str(&machine(settings));
    for measured in all {
        text.push_str(&markdown(settings, measured));
        for (name, plot) in svg::plots(settings, measured) {
            std::fs::write(folder.join(&name), plot).unwrap();
            write!(text, "\n![{name}]({name})\n").unwrap();
        }
    }
    std::fs::write(folder.join("performance-figures.md"), text).unwrap();
}

/// Where and with what it was measured.
fn machine(settings: &Settings) -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or_default().trim_matches([' ', '\t', ':']);
    let memory = file("/proc/meminfo");
    let memory = memory.lines().next().unwrap_or_default();
    let memory = memory.trim_start_matches("MemTotal:").trim();
    let kernel = file("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!(
        "{model}, {cores} cores, {memory}, Linux {}; {} rounds, {} connections, everything on loopback.\n\
         Command: `cargo xtask compare`.\n\n",
        kernel.trim(),
        settings.rounds,
        settings.connections,
    );
    for (kind, binary) in &settings.peers {
        writeln!(text, "- {}: {}", kind.name(), version(binary)).unwrap();
    }
    text
}

/// What a program says of its version, or the name of its jar.
fn version(binary: &Path) -> String {
    let name = binary.file_name().unwrap_or_default().to_string_lossy();
    let flag = match &*name {
        "influxd" => "version",
        "victoria-metrics" => "-version",
        "silverback" => "--version",
        _ => return name.into_owned(),
    };
    let output = Command::new(binary).arg(flag).output();
    let text = output.map_or(Vec::new(), |output| output.stdout);
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    if text.is_empty() {
        name.into_owned()
    } else {
        text
    }
}

/// The tables of one data set.
pub(crate) fn markdown(settings: &Settings, measured: &Measured) -> String {
    let mut text = format!("\n## {}: {}\n\n", measured.set.name, measured.set.about);
    writeln!(
        text,
        "{} values, {} series, {} MB of line protocol.\n",
        measured.values,
        measured.series,
        measured.size_bytes / 1_000_000
    )
    .unwrap();
    ingest(settings, measured, &mut text);
    if !measured.latencies.is_empty() {
        queries(settings, measured, &mut text);
        dashboards(settings, measured, &mut text);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
fn ingest(settings: &Settings, measured: &Measured, text: &mut String) {
    text.push_str(
        "| peer | M values/s | M values/CPU s | with settling | bytes/value | bytes/series | peak \
         anonymous MB | settled MB |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let (values, series) = (measured.values as f64, measured.series as f64);
    for ((kind, _), runs) in settings.peers.iter().zip(&measured.ingest) {
        let of = |pick: fn(&Ingest) -> f64| median(runs.iter().map(pick).collect());
        let disk = of(|run| run.disk_bytes as f64);
        writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.3} | {:.0} | {:.0} | {:.0} |",
            kind.name(),
            values / 1e6 / of(|run| run.wall_s),
            values / 1e6 / of(|run| run.cpu_s),
            values / 1e6 / of(|run| run.settled_cpu_s),
            disk / values,
            disk / series,
            of(|run| run.peak_anonymous_mb),
            of(|run| run.settled_anonymous_mb),
        )
        .unwrap();
    }
}

/// Wall and CPU milliseconds a query, and the first peer's part of the best other one's.
fn queries(settings: &Settings, measured: &Measured, text: &mut String) {
    text.push_str(
        "\nMilliseconds a query, wall (CPU of the server), medians; the last column is the first \
                   peer's wall time over the fastest other one's.\n\n| query |",
    );
    for (kind, _) in &settings.peers {
        write!(text, " {} |", kind.name()).unwrap();
    }
    text.push_str(" ratio |\n|---|");
    text.push_str(&"---:|".repeat(settings.peers.len() + 1));
    text.push('\n');
    for (question, latencies) in QUESTIONS.iter().zip(&measured.latencies) {
        write!(text, "| {} |", question.name).unwrap();
        for latency in latencies {
            match wall(latency) {
                wall if wall.is_nan() => text.push_str(" - |"),
                wall => {
                    let cpu = median(latency.cpu_ms.clone());
                    write!(text, " {wall:.2} ({cpu:.2}) |").unwrap();
                }
            }
        }
        let best = latencies[1..].iter().map(wall).fold(f64::NAN, f64::min);
        writeln!(text, " {:.2} |", wall(&latencies[0]) / best).unwrap();
    }
}

/// Milliseconds a panel of a dashboard, with and without ingest.
fn dashboards(settings: &Settings, measured: &Measured, text: &mut String) {
    text.push_str(
        "\nDashboards of twenty panels, four a second over six connections: milliseconds a panel, alone \
         and while data comes in.\n\n| peer | median alone | p99 alone | median | p99 | M values/s \
         meanwhile |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for ((kind, _), runs) in settings.peers.iter().zip(&measured.dashboards) {
        let of = |pick: fn(&Dashboard) -> f64| median(runs.iter().map(pick).collect());
        writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            kind.name(),
            of(|run| run.idle_ms[0]),
            of(|run| run.idle_ms[1]),
            of(|run| run.busy_ms[0]),
            of(|run| run.busy_ms[1]),
            of(|run| run.values_per_s) / 1e6,
        )
        .unwrap();
    }
}

fn wall(latency: &Latency) -> f64 {
    median(latency.wall_ms.clone())
}
