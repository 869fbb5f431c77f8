//! What keeps a store in shape: compaction. Doing stands here, wiring in `db`; nothing here edits
//! the manifest or knows which files live.

pub mod compact;
