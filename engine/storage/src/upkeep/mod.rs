//! What keeps a store in shape: flush and compaction. Doing stands here, wiring in `db`; nothing
//! here edits the manifest or knows which files live.

pub mod backup;
pub mod compact;
mod deep;
pub mod flush;
pub mod retention;

pub use deep::{DeepCount, FindSeries, Registered, deep_check};
