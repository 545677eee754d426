//! What the memo of verified tokens takes, as an allocator counts it.

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

mod support;

use support::{api, now, server, token};
use tower_bearer::{Algorithm, Validator};

fn main() {
    // A verdict holds no signature, so the algorithm that signs fastest will do.
    let algorithm = Algorithm::ES256;
    let server = server(algorithm);
    let texts: Vec<String> = (0..40_000).map(|number| token(&server, number).sign()).collect();
    println!("memory held for remembered tokens of {} octets", texts[0].len());
    println!("{:>10} {:>16} {:>16} {:>12}", "tokens", "bound", "held", "per token");
    for (tokens, bound) in [
        (0, 8 << 20),
        (1_000, 8 << 20),
        (10_000, 16 << 20),
        (20_000, 32 << 20),
        (40_000, 64 << 20),
        (40_000, 8 << 20),
        (40_000, 16 << 20),
    ] {
        let mut kept = None;
        // The validator itself is part of it.
        let held = allocation_counter::measure(|| {
            let builder = Validator::builder(api(&server, algorithm)).with_token_cache_bytes(bound);
            let validator = kept.insert(builder.build().expect("a good configuration"));
            for text in &texts[..tokens] {
                drop(now(validator.validate(text)).expect("valid"));
            }
        });
        let held = held.bytes_current as f64;
        println!("{tokens:>10} {bound:>16} {held:>16} {:>12.0}", held / tokens.max(1) as f64);
    }
}
