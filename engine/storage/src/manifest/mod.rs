//! The only truth about live files, and what exists: databases, policies, names and their ids.
//! It knows no rows and never opens a block.

pub mod catalog;
