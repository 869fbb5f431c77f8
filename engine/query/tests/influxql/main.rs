//! The language against what a real influxd 1.6.7 was seen to do.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise"
)]

mod parse;
mod queries;
mod responses;
mod running;
mod select;
mod statements;
