//! See `tower_bearer::fuzzing::cache_control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tower_bearer::fuzzing::cache_control(bytes));
