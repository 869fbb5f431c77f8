//! Immutable files of points: written once, front to back, then read in place by many.
//!
//! It must never know what else holds points, which block is newer, or what a query wants of the
//! rows. Invariants: rows of a block are sorted by (canonical key, time), one per series and time;
//! whatever its bytes are, reading ends in the rows that were written or in an error that says where.

mod cursor;
mod decoded;
mod group;
mod measure;
mod pages;
mod reader;
#[cfg(test)]
pub(crate) mod tests;
mod times;
mod weight;
mod writer;

pub use cursor::{AloneChunk, BlockCursor, BlockRows, Chunk, ChunkColumn, FieldStats};
pub use decoded::{Decoded, DecodedPages};
pub use reader::{Block, Measurement};
pub use times::Times;
pub use writer::BlockWriter;
