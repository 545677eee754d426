//! Measures the memory of the token cache, as counted by the allocator.

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

mod support;

use support::{api, now, server, token};
use tower_bearer::{Algorithm, Validator};

fn main() {
    // A cache entry has no signature, so the fastest signature algorithm is enough.
    let algorithm = Algorithm::ES256;
    let server = server(algorithm);
    let texts: Vec<String> = (0..40_000).map(|number| token(&server, number).sign()).collect();
    println!("memory of cached tokens of {} bytes", texts[0].len());
    println!("{:>10} {:>16} {:>16} {:>12}", "tokens", "bound", "allocated", "per token");
    for (tokens, bound) in [
        (0, 8 << 20),
        (1_000, 8 << 20),
        (10_000, 16 << 20),
        (20_000, 32 << 20),
        (40_000, 64 << 20),
        (40_000, 8 << 20),
        (40_000, 16 << 20),
    ] {
        let mut validator = None;
        // The memory of the validator itself is included.
        let allocated = allocation_counter::measure(|| {
            let builder = Validator::builder(api(&server, algorithm)).with_token_cache_bytes(bound);
            let validator = validator.insert(builder.build().expect("a valid configuration"));
            for text in &texts[..tokens] {
                drop(now(validator.validate(text)).expect("valid"));
            }
        });
        let allocated = allocated.bytes_current as f64;
        println!("{tokens:>10} {bound:>16} {allocated:>16} {:>12.0}", allocated / tokens.max(1) as f64);
    }
}
