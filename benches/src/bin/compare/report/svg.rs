//! Plots: groups of horizontal bars on a logarithmic scale, a bar for each peer.

use std::fmt::Write as _;

use super::wall;
use crate::question::QUESTIONS;
use crate::{Measured, Settings, median};

const WIDTH: f64 = 860.0;
/// Where bars begin, behind the names.
const LEFT: f64 = 190.0;
/// Room behind the longest bar for its figure.
const RIGHT: f64 = 70.0;
const BAR: f64 = 11.0;
const GAP: f64 = 8.0;
/// What a peer takes in the line that says which colour is whose: five of them fit.
const NAME: f64 = 130.0;
const COLOURS: [&str; 5] = ["#1b6ca8", "#c9a227", "#7a9e7e", "#a23b3b", "#6b5b95"];

/// A plot: its title, the names of its bars, and groups of them (a figure that is missing is NaN).
struct Plot {
    title: String,
    peers: Vec<&'static str>,
    groups: Vec<(String, Vec<f64>)>,
}

/// The plots of a data set, by name of their file.
#[expect(clippy::cast_precision_loss, reason = "a pixel is wide enough")]
pub(super) fn plots(settings: &Settings, measured: &Measured) -> Vec<(String, String)> {
    let peers: Vec<&str> = settings.peers.iter().map(|(kind, _)| kind.name()).collect();
    let name = measured.set.name;
    let of_runs = |pick: fn(&crate::Ingest) -> f64| -> Vec<f64> {
        let all = measured.ingest.iter();
        all.map(|runs| median(runs.iter().map(pick).collect()))
            .collect()
    };
    let values = measured.values as f64;
    let rate = |seconds: Vec<f64>| seconds.iter().map(|time| values / 1e6 / time).collect();
    let sizes = of_runs(|run| run.disk_bytes as f64);
    let ingest = Plot {
        title: format!("{name}: ingest and disk (logarithmic)"),
        peers: peers.clone(),
        groups: vec![
            ("M values/s".into(), rate(of_runs(|run| run.wall_s))),
            ("M values/CPU s".into(), rate(of_runs(|run| run.cpu_s))),
            (
                "bytes/value".into(),
                sizes.iter().map(|size| size / values).collect(),
            ),
            ("peak MB".into(), of_runs(|run| run.peak_anonymous_mb)),
        ],
    };
    let mut plots = vec![(format!("ingest-{name}.svg"), ingest.draw())];
    if !measured.latencies.is_empty() {
        let questions = QUESTIONS.iter().zip(&measured.latencies);
        let groups = questions
            .map(|(question, all)| (question.name.into(), all.iter().map(wall).collect()))
            .collect();
        let queries = Plot {
            title: format!("{name}: milliseconds a query (logarithmic)"),
            peers,
            groups,
        };
        plots.push((format!("queries-{name}.svg"), queries.draw()));
    }
    plots
}

impl Plot {
    #[expect(clippy::cast_precision_loss, reason = "a pixel is wide enough")]
    fn draw(&self) -> String {
        let figures = || {
            self.groups
                .iter()
                .flat_map(|(_, figures)| figures.iter().copied())
        };
        let least = figures().fold(f64::NAN, f64::min).max(1e-6) / 1.5;
        let most = figures().fold(f64::NAN, f64::max);
        let scale = (WIDTH - LEFT - RIGHT) / (most / least).ln();
        let group_height = BAR * self.peers.len() as f64 + GAP;
        let height = 44.0 + group_height * self.groups.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n<text x=\"8\" y=\"16\" font-size=\"13\">{}</text>\n",
            self.title
        );
        for (index, peer) in self.peers.iter().enumerate() {
            let x = LEFT + NAME * index as f64;
            let colour = COLOURS[index % COLOURS.len()];
            writeln!(
                out,
                "<rect x=\"{x}\" y=\"23\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"32\">{peer}</text>",
                x + 14.0
            )
            .unwrap();
        }
        for (index, (name, figures)) in self.groups.iter().enumerate() {
            let top = 42.0 + group_height * index as f64;
            let middle = top + group_height / 2.0;
            writeln!(out, "<text x=\"8\" y=\"{middle}\">{name}</text>").unwrap();
            for (row, figure) in figures
                .iter()
                .enumerate()
                .filter(|(_, figure)| !figure.is_nan())
            {
                let (y, colour) = (top + BAR * row as f64, COLOURS[row % COLOURS.len()]);
                let width = (figure / least).ln().max(0.0) * scale;
                writeln!(
                    out,
                    "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" \
                     fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\">{figure:.2}</text>",
                    BAR - 1.0,
                    LEFT + width + 4.0,
                    y + BAR - 2.0
                )
                .unwrap();
            }
        }
        out.push_str("</svg>\n");
        out
    }
}
