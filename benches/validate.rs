//! Measures one validation, as a multiple of the raw signature check of the same token (the baseline).

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, does unchecked arithmetic and panics on errors"
)]

mod support;

use std::hint::black_box;

use aws_lc_rs::digest;
use support::baseline::Baseline;
use support::tenants::{Dynamic, dynamic};
use support::{Custom, api, compare, heading, now, row, server, token};
use tower_bearer::{Algorithm, Validator};

fn main() {
    Algorithm::ALL.iter().copied().for_each(measure);
    compare_with_digest();
    compare_with_listed_issuer();
}

fn measure(algorithm: Algorithm) {
    let server = server(algorithm);
    let text = token(&server, 0).sign();
    let warm =
        Validator::builder(api(&server, algorithm)).without_token_cache().build().expect("a valid configuration");
    let custom = warm.clone().with_custom_claims::<Custom>();
    let baseline = Baseline::new(&server, algorithm, &text);
    let rsa_budget = |budget: f64| matches!(algorithm, Algorithm::RS256 | Algorithm::PS256).then_some(budget);
    heading(&format!("validate {algorithm}, {} bytes", text.len()), "baseline");

    let mut validate = || drop(black_box(now(warm.validate(black_box(&text))).expect("valid")));
    let budget = match algorithm {
        Algorithm::ES256 | Algorithm::EdDSA => Some(1.05),
        Algorithm::HS256 => Some(3.0),
        _ => rsa_budget(1.10),
    };
    row("warm, without token cache", compare(&mut || baseline.check(), &mut validate), budget);
    let mut validate = || drop(black_box(now(custom.validate(black_box(&text))).expect("valid")));
    row("warm, without token cache, custom claims", compare(&mut || baseline.check(), &mut validate), rsa_budget(1.12));
    let mut start = || {
        let fresh =
            Validator::builder(api(&server, algorithm)).without_token_cache().build().expect("a valid configuration");
        drop(black_box(now(fresh.validate(black_box(&text))).expect("valid")));
    };
    row("cold: configuration, key import, one token", compare(&mut || baseline.check(), &mut start), None);
    if algorithm.is_symmetric() {
        return;
    }

    let texts: Vec<String> = (0..1_000).map(|number| token(&server, number).sign()).collect();
    let fresh = || Validator::new(api(&server, algorithm)).expect("a valid configuration");
    let (mut validator, mut next) = (fresh(), 0);
    let mut first_use = || {
        if next == texts.len() {
            (validator, next) = (fresh(), 0);
        }
        drop(black_box(now(validator.validate(&texts[next])).expect("valid")));
        next += 1;
    };
    row("first use of a token, with token cache", compare(&mut || baseline.check(), &mut first_use), rsa_budget(1.18));

    let validator = fresh();
    for text in &texts {
        drop(now(validator.validate(text)).expect("valid"));
    }
    let mut next = 0;
    let mut hit = || {
        // The stride is coprime to the number of tokens: every token is used, in an order without cache locality.
        next = (next + 379) % texts.len();
        drop(black_box(now(validator.validate(&texts[next])).expect("valid")));
    };
    row("token cache hit, 1,000 tokens", compare(&mut || baseline.check(), &mut hit), None);
}

/// Compares a token cache hit with the SHA-256 digest that a cache keyed by SHA-256 would have to compute.
fn compare_with_digest() {
    let server = server(Algorithm::RS256);
    let texts: Vec<String> = (0..1_000).map(|number| token(&server, number).sign()).collect();
    let validator = Validator::new(api(&server, Algorithm::RS256)).expect("a valid configuration");
    let custom = validator.clone().with_custom_claims::<Custom>();
    for text in &texts {
        drop(now(validator.validate(text)).expect("valid"));
        drop(now(custom.validate(text)).expect("valid"));
    }
    let (mut at, mut other) = (0, 0);
    let mut sha256 = || {
        at = (at + 379) % texts.len();
        black_box(digest::digest(&digest::SHA256, texts[at].as_bytes()));
    };
    heading("token cache hit, RS256", "SHA-256 of the token");
    let mut hit = || {
        other = (other + 379) % texts.len();
        drop(black_box(now(validator.validate(&texts[other])).expect("valid")));
    };
    row("1,000 tokens", compare(&mut sha256, &mut hit), Some(0.75));
    let mut hit = || {
        other = (other + 379) % texts.len();
        drop(black_box(now(custom.validate(&texts[other])).expect("valid")));
    };
    row("1,000 tokens, custom claims", compare(&mut sha256, &mut hit), Some(0.75));
}

/// Compares the tokens of a tenant that was looked up with those of an issuer that is listed in the configuration.
fn compare_with_listed_issuer() {
    let server = server(Algorithm::RS256);
    let listed = token(&server, 0).sign();
    let validate = |validator: &Validator, text: &str| {
        drop(black_box(now(validator.validate(black_box(text))).expect("valid")));
    };
    heading("tenants that were looked up, RS256", "a listed issuer");
    let validator = Validator::new(api(&server, Algorithm::RS256)).expect("a valid configuration");
    for tenants in [1, 1_000] {
        let tenant = dynamic(&server, tenants, |builder| builder);
        let (mut listed, mut looked_up) =
            (|| validate(&validator, &listed), || validate(&tenant.validator, &tenant.text));
        row(&format!("cached token, one of {tenants}"), compare(&mut listed, &mut looked_up), Some(1.05));
    }
    let uncached = Validator::builder(api(&server, Algorithm::RS256)).without_token_cache().build();
    let validator = uncached.expect("a valid configuration");
    let Dynamic { validator: tenants, text, .. } = &dynamic(&server, 1_000, |builder| builder.without_token_cache());
    let (mut listed, mut looked_up) = (|| validate(&validator, &listed), || validate(tenants, text));
    row("without token cache, one of 1,000", compare(&mut listed, &mut looked_up), Some(1.05));
}
