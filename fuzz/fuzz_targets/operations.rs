//! Lists of operations against a naive map: eight bytes stand for one operation. The body is the one of
//! the storage engine's test of lists.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "the tests of the suite are used in part"
)]

#[path = "../../engine/storage/tests/support/deletes.rs"]
mod deletes;
#[path = "../../engine/storage/tests/proof/history.rs"]
mod history;
#[path = "../../engine/storage/tests/proof/names.rs"]
mod names;
#[path = "../../engine/storage/tests/proof/ops.rs"]
mod ops;
#[path = "../../engine/storage/tests/proof/sequence.rs"]
mod sequence;
#[path = "../../engine/storage/tests/support/mod.rs"]
mod support;
#[path = "../../engine/storage/tests/proof/world.rs"]
mod world;

/// Operations of a list at most.
const OPS_MAX: usize = 40;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let numbers: Vec<u64> = data
        .chunks_exact(8)
        .take(OPS_MAX)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
        .collect();
    sequence::run(&numbers);
});
