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

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http::header::AUTHORIZATION;
use support::floor::Floor;
use support::{api, now, server, token};
use tower::Service as _;
use tower_bearer::{Algorithm, BearerLayer, Claims, Validator};

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (Some(what), Some(times)) = (arguments.next(), arguments.next()) else {
        println!(
            "instructions: {{floor|validate|memo|refuse|open|layer}} {{times}}, under callgrind; see .ci/instructions"
        );
        return;
    };
    let times: u32 = times.parse().expect("a number");
    let server = server(Algorithm::RS256);
    let text = token(&server, 0).sign();
    let builder = || Validator::builder(api(&server, Algorithm::RS256));
    let remembering = builder().build().expect("a good configuration");
    let forgetful = builder().without_token_cache().build().expect("a good configuration");
    let open = Router::new().route("/", get(async || "hello"));
    let greet = async |claims: Claims| if claims.subject().is_some() { "hello" } else { "who" };
    let guarded = Router::new().route("/", get(greet)).layer(BearerLayer::new(remembering.clone()));
    match &*what {
        "floor" => {
            let floor = Floor::of(&server, Algorithm::RS256, &text);
            repeat(times, || floor.check());
        }
        "validate" => repeat(times, || drop(black_box(now(forgetful.validate(black_box(&text))).expect("valid")))),
        "memo" => repeat(times, || drop(black_box(now(remembering.validate(black_box(&text))).expect("valid")))),
        "refuse" => {
            let text = token(&server, 0).expired().sign();
            repeat(times, || drop(black_box(now(remembering.validate(black_box(&text))).expect_err("expired"))));
        }
        "open" => requests(times, open, &text),
        "layer" => requests(times, guarded, &text),
        other => panic!("what is {other}?"),
    }
}

fn requests(times: u32, router: Router, text: &str) {
    // As `axum::serve` does for every connection.
    let mut router = router.with_state(());
    let field = http::HeaderValue::try_from(format!("Bearer {text}")).expect("a field value");
    repeat(times, || {
        let request = Request::get("/").header(AUTHORIZATION, field.clone()).body(Body::empty()).expect("a request");
        drop(black_box(now(router.call(request)).expect("infallible")));
    });
}

fn repeat(times: u32, mut work: impl FnMut()) {
    (0..times).for_each(|_| work());
}
