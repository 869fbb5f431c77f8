//! Silverback.
fn main() {}
