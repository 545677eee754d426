//! See `tower_bearer::fuzzing::introspection_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| tower_bearer::fuzzing::introspection_answer(body));
