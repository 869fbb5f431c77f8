//! The only truth about live files, and what exists: databases, policies, names and their ids.
//! It knows no rows and never opens a block.
//!
//! Invariants: an edit is durable when `commit` returns, all of it or nothing; the state in memory
//! never holds what the disk does not; a file that an edit may name is not reused.

pub mod catalog;
mod log;
mod state;

pub use log::{CURRENT, FOLDER, Manifest, Standing, export, import, make_current, manifest_path};
pub use state::State;
