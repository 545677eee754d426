//! A day of a fleet in virtual time: what the issuer sees of it and what callers see, under three policies.
//!
//! Ours is the crate itself: a real `Validator` for each replica, on a clock that the bench turns. The two others are the
//! common designs, reduced to when they fetch; they see the same callers and the same issuer. Chance starts from fixed
//! seeds, so that every run writes the same page and the same plot into the guide.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, counts freely and ends where it cannot go on"
)]

mod day;
mod rng;
mod ledger;
mod network;
mod plot;
mod replicas;
mod table;

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::replicas::Policy;

fn main() {
    let days = [Policy::Ours, Policy::FixedPeriod, Policy::CoolDown].map(|policy| {
        let start = Instant::now();
        let ledger = day::live(policy);
        println!("{}: {} requests in {:.1} s", policy.name(), ledger.asked(), start.elapsed().as_secs_f64());
        (policy, ledger)
    });
    let table = table::of(&days);
    println!("\n{table}");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/guide/fleet");
    for (name, text) in [("table.md", table), ("plot.svg", plot::of(&days))] {
        fs::write(guide.join(name), text).expect("the guide can be written to");
        println!("wrote src/guide/fleet/{name}");
    }
}
