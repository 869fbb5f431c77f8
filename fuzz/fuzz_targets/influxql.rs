#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silverback_query::fuzzing::fuzz_influxql(data));
