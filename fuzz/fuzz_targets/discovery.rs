//! See `tower_bearer::fuzzing::discovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tower_bearer::fuzzing::discovery(octets));
