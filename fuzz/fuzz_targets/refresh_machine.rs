//! See `tower_bearer::fuzzing::refresh_machine`.
#![no_main]

use tower_bearer::fuzzing::{Step, refresh_machine};

libfuzzer_sys::fuzz_target!(|steps: Vec<(u8, u32, (u32, u32), Option<u32>)>| {
    refresh_machine(steps.into_iter().map(|(event, pause, sample, span)| Step { event, pause, sample, span }));
});
