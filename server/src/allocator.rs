//! The allocator, and how soon it gives freed memory back.
//!
//! A budget of memory is worth little where freed pages stay resident for seconds: with 40 writers
//! of 400 KB each, a budget of 128 MiB became 174 MiB resident. Given back after 10 ms it is 120.
#![expect(
    unsafe_code,
    reason = "options of the allocator are set by a C function"
)]

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Places in `mi_option_t`.
///
/// # Source
/// `mimalloc.h`, the same in its versions 2 and 3.
const PURGE_DELAY: c_int = 15;
const ARENA_PURGE_FACTOR: c_int = 24;

/// How long a freed page waits to be used again, ms.
const DELAY_MS: c_long = 10;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// Has freed pages given back soon, those of the arenas no later than others.
pub(crate) fn give_back_soon() {
    // SAFETY: it stores a number in a table of options, whose places these are.
    unsafe { mi_option_set(PURGE_DELAY, DELAY_MS) };
    // SAFETY: as above.
    unsafe { mi_option_set(ARENA_PURGE_FACTOR, 1) };
}
