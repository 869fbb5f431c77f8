//! `InfluxQL`: text to a tree with spans and back. Knows the language, never data: which names exist
//! and what they mean is for whoever runs a statement.

pub mod ast;
