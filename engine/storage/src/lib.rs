//! Silverback's storage engine: points in, points out.
//!
//! It knows databases, retention policies, measurements, series and typed fields; it knows no text
//! protocol, no query language, no async runtime and no network. The modules stand on floors and
//! use lower floors only (`tests/floors.rs` holds the list).

pub mod block;
pub mod budget;
pub mod codec;
pub mod db;
pub mod env;
pub mod error;
pub mod format;
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
pub mod manifest;
pub mod memtable;
pub mod model;
#[doc(hidden)]
pub mod sabotage;
pub mod scan;
pub mod snapshot;
mod sync;
pub mod upkeep;
pub mod wal;
pub mod workers;

pub use error::{Error, ErrorKind, Place, Result};
