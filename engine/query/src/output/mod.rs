//! Answers as bytes: `InfluxDB`'s JSON and CSV, and how times and numbers are written in both.

mod csv;
mod json;
mod value;

pub use csv::{CsvSink, error_csv};
pub use json::{JsonOptions, JsonSink};
pub use value::{Epoch, time_text};
