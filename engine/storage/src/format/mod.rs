//! Byte layout of every file and record: encode, decode, size; and the framing of files that are
//! finished. Nothing is decided here. Each page of `docs/format` stands in one file.

pub mod backup;
pub mod block;
pub mod definitions;
pub mod header;
pub mod manifest;
pub mod registry;
pub mod rows;
pub mod sealed;
pub mod tombstone;
pub mod wal;
