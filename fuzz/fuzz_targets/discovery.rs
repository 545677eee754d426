//! See `tower_bearer::fuzzing::discovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tower_bearer::fuzzing::discovery(bytes));
