//! Series found by their tags: in memory while they have rows there.

mod live;

pub use crate::index::live::LiveIndex;
