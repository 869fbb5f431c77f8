#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silverback_storage::fuzzing::fuzz_index(data));
