//! Simulates a day of a fleet of replicas in virtual time, under three refresh policies, and measures the requests to the
//! issuer and the responses to clients.
//!
//! The first policy is this crate: a real `Validator` for each replica, on a fake clock. The two others are common designs,
//! reduced to their fetch schedule, with the same clients and the same issuer. The random seeds are fixed, so that every run
//! writes the same tables and plot into the guide.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, does unchecked arithmetic and panics on errors"
)]

mod day;
mod rng;
mod observations;
mod network;
mod plot;
mod replicas;
mod table;

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::replicas::Policy;

fn main() {
    let days = [Policy::ThisCrate, Policy::FixedInterval, Policy::CoolDown].map(|policy| {
        let start = Instant::now();
        let day = day::simulate(policy);
        println!("{}: {} requests in {:.1} s", policy.name(), day.requests(), start.elapsed().as_secs_f64());
        (policy, day)
    });
    let tables = table::render(&days);
    println!("\n{tables}");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/guide/fleet");
    for (name, text) in [("table.md", tables), ("plot.svg", plot::render(&days))] {
        fs::write(guide.join(name), text).expect("the guide is writable");
        println!("wrote src/guide/fleet/{name}");
    }
}
