//! What keeps a store in shape: flush and compaction. Doing stands here, wiring in `db`; nothing
//! here edits the manifest or knows which files live.

pub mod compact;
pub mod flush;
