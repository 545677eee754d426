//! A fixed number of validations and nothing else: run under callgrind, it tells instructions for one validation, a figure
//! that does not depend on the machine's mood. `.ci/run` prints it.
//!
//! The first argument says what to run, the second how often; two counts and a subtraction leave out the preparation.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints and ends where it cannot go on"
)]

#[allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a bench counts freely"
)]
mod support;

use std::env;
use std::hint::black_box;

use support::floor::Floor;
use support::{api, now, server, token};
use tower_bearer::{Algorithm, Validator};

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (Some(what), Some(times)) = (arguments.next(), arguments.next()) else {
        println!("instructions: {{floor|validate|memo}} {{times}}, under callgrind; see .ci/instructions");
        return;
    };
    let times: u32 = times.parse().expect("a number");
    let server = server(Algorithm::RS256);
    let text = token(&server, 0).sign();
    let builder = Validator::builder(api(&server, Algorithm::RS256));
    let validator =
        if what == "memo" { builder } else { builder.without_memo() }.build().expect("a good configuration");
    let floor = Floor::of(&server, Algorithm::RS256, &text);
    for _ in 0..times {
        if what == "floor" {
            floor.check();
        } else {
            drop(black_box(now(validator.validate(black_box(&text))).expect("valid")));
        }
    }
}
