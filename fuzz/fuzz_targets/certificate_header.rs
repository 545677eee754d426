//! See `tower_bearer::fuzzing::certificate_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tower_bearer::fuzzing::certificate_header(bytes));
