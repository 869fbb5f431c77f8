//! InfluxDB line protocol: one pass over a request body into a columnar batch.
//!
//! A line's key (measurement and tags) is only found and hashed; storage parses it, through
//! [`Keys`], the first time it sees that hash. So the tags of a known series cost no parsing, and a
//! bad key is reported when it is resolved. Numbers go straight into typed columns.
//!
//! # Source
//! What InfluxDB 1.x accepts and answers, line by line, plus unsigned values (`1u`) as 2.x takes them.

mod columns;
mod error;
mod key;
mod line;
mod number;
#[cfg(test)]
mod tests;

pub use error::{LineError, LineErrorKind};
pub use key::{Keys, escape_key, escape_measurement, key_fault};
pub use line::line_text;

use silverback_storage::model::{Batch, KeyHasher};

/// The unit of a body's timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 1 ns.
    #[default]
    Nanosecond,
    /// 1000 ns.
    Microsecond,
    /// 10^6 ns.
    Millisecond,
    /// 10^9 ns.
    Second,
    /// 60 s.
    Minute,
    /// 3600 s.
    Hour,
}

impl Precision {
    /// The unit in ns.
    pub fn nanoseconds(self) -> i64 {
        match self {
            Precision::Nanosecond => 1,
            Precision::Microsecond => 1_000,
            Precision::Millisecond => 1_000_000,
            Precision::Second => 1_000_000_000,
            Precision::Minute => 60_000_000_000,
            Precision::Hour => 3_600_000_000_000,
        }
    }

    /// The precision that a v1 request calls `name`, if there is one.
    pub fn from_v1(name: &str) -> Option<Precision> {
        Some(match name {
            "" | "n" | "ns" => Precision::Nanosecond,
            "u" | "us" => Precision::Microsecond,
            "ms" => Precision::Millisecond,
            "s" => Precision::Second,
            "m" => Precision::Minute,
            "h" => Precision::Hour,
            _ => return None,
        })
    }

    /// The precision that a v2 request calls `name`, if there is one.
    pub fn from_v2(name: &str) -> Option<Precision> {
        matches!(name, "" | "ns" | "us" | "ms" | "s")
            .then(|| Precision::from_v1(name))
            .flatten()
    }
}

/// How a body is read.
#[derive(Clone, Copy, Debug)]
pub struct ParseOptions {
    /// The hasher of the data directory the batch is for.
    pub hasher: KeyHasher,
    /// The unit of timestamps.
    pub precision: Precision,
    /// The time of a line without one, ns UTC; truncated to the precision.
    pub now_ns: i64,
}

/// A body, read.
#[derive(Debug)]
pub struct Parsed<'text> {
    /// The good lines. Their keys are not yet known to be keys: see [`Keys`].
    pub batch: Batch<'text>,
    /// The bad lines, in order.
    pub errors: Vec<LineError>,
}

/// Bytes of a body at most: offsets in a batch have 32 bits, and errors are counted in them.
pub const BODY_BYTES_MAX: usize = 1 << 31;

/// Reads a body. Never fails as a whole: bad lines are listed, the others are in the batch.
///
/// # Panics
/// If the body is larger than [`BODY_BYTES_MAX`]; callers bound bodies far below.
///
/// # Source
/// docs: `https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/`.
pub fn parse(text: &[u8], options: ParseOptions) -> Parsed<'_> {
    assert!(
        text.len() <= BODY_BYTES_MAX,
        "a body is bounded before it is parsed"
    );
    let mut groups = columns::Groups::default();
    let mut errors = Vec::new();
    line::Reader::new(text, options).read(&mut groups, &mut errors);
    Parsed {
        batch: Batch {
            text,
            rows: groups.into_rows(),
        },
        errors,
    }
}
