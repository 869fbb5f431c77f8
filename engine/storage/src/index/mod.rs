//! Series found by their keys and by their tags: in memory while they have rows there, in blocks
//! once they are there. It knows no rows.

mod inverted;
mod live;
mod numbered;
pub mod registry;
mod sorted;
mod table;

pub use crate::index::inverted::{IndexBuilder, InvertedIndex, SeriesWalk, TagKeyNames};
pub use crate::index::live::{Handed, LiveIndex, LiveSelection};
pub(crate) use crate::index::sorted::sorted_packed;
