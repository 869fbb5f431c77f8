//! Answers as bytes: `InfluxDB`'s JSON and CSV, and how times and numbers are written in both.

mod value;

pub use value::{Epoch, time_text};
