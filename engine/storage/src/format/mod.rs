//! Byte layout of every file and record: encode, decode, size. Slices in, slices out; no file is
//! opened here and nothing is decided. Each page of `docs/format` stands in one file.

pub mod definitions;
