//! The data sets of the side-by-side runs, each from a seed, as bodies of line protocol.

pub mod devops;
mod many;
mod plain;
mod telegraf;

pub use devops::Devops;

/// Lines of a request, as Telegraf and TSBS send them by default, to the nearest whole step.
pub const LINES: usize = 5000;

/// A data set: what it is called, what is in it, and who cannot take it as it is.
#[derive(Clone, Copy, Debug)]
pub struct DataSet {
    /// The word of the command line and of the tables.
    pub name: &'static str,
    /// What stands in it, for the tables.
    pub about: &'static str,
    /// Whether values are strings, which not every peer stores.
    pub strings: bool,
    /// Whether each series' lines come in the order of their times, which not every peer lets go.
    pub in_order: bool,
    make: fn(usize) -> Load,
}

/// The bodies of a data set, and what they hold.
#[derive(Debug, Default)]
pub struct Load {
    /// Bodies of requests, in the order in which they are sent.
    pub bodies: Vec<Vec<u8>>,
    /// Values of fields in them.
    pub values: usize,
    /// Series that differ in measurement or tags.
    pub series: usize,
}

/// All data sets.
pub const DATA_SETS: [DataSet; 8] = [
    set(
        "devops",
        "TSBS cpu: 10 tags, 10 integer gauges",
        devops::load,
    ),
    set(
        "telegraf",
        "host mix: counters, loads of two decimals, percentages, constants",
        telegraf::load,
    ),
    set("doubles", "10 doubles of 52 random bits", plain::doubles),
    DataSet {
        strings: true,
        ..set(
            "strings",
            "log lines, states, ids, booleans",
            plain::strings,
        )
    },
    set("series-2e5", "200,000 series of 5 points", many::series_2e5),
    set(
        "series-1e6",
        "1,000,000 series of 3 points",
        many::series_1e6,
    ),
    set(
        "jitter",
        "4 gauges, times off by 2 ms, in ns",
        plain::jitter,
    ),
    DataSet {
        in_order: false,
        ..set("late", "devops in shuffled order", devops::late)
    },
];

const fn set(name: &'static str, about: &'static str, make: fn(usize) -> Load) -> DataSet {
    DataSet {
        name,
        about,
        strings: false,
        in_order: true,
        make,
    }
}

impl DataSet {
    /// The data set called `name`.
    pub fn named(name: &str) -> Option<DataSet> {
        DATA_SETS.into_iter().find(|set| set.name == name)
    }

    /// Makes it, smaller by `divisor`.
    pub fn load(&self, divisor: usize) -> Load {
        (self.make)(divisor)
    }
}

/// Collects lines into bodies of [`LINES`].
#[derive(Debug, Default)]
struct Bodies {
    load: Load,
    body: String,
    lines: usize,
}

impl Bodies {
    /// The text that the next line is appended to; it has `values` fields.
    fn line(&mut self, values: usize) -> &mut String {
        if self.lines == LINES {
            self.close();
        }
        self.lines += 1;
        self.load.values += values;
        &mut self.body
    }

    fn close(&mut self) {
        if self.lines > 0 {
            self.load
                .bodies
                .push(std::mem::take(&mut self.body).into_bytes());
            self.lines = 0;
        }
    }

    fn finish(mut self, series: usize) -> Load {
        self.close();
        self.load.series = series;
        self.load
    }
}
