//! Series found by their keys and by their tags: in memory while they have rows there. It knows no
//! rows.

mod live;
pub mod registry;

pub use crate::index::live::LiveIndex;
