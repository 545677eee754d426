//! Measures requests with DPoP proofs, as a multiple of the raw ES256 signature check (the floor), and the replay store.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, does unchecked arithmetic and panics on errors"
)]

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::Request;
use http::header::AUTHORIZATION;
use support::baseline::Baseline;
use support::{AUDIENCE, api, compare, heading, now, row, server, token};
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{
    AccessTokenHash, Claiming, DPOP, Dpop, Expected, MemoryReplayStore, ProofPolicy, ReplayStore as _, verify,
};
use tower_bearer::request::{PublicUrl, RequestHead};
use tower_bearer::testing::ProofKey;
use tower_bearer::{Algorithm, Validator};

fn main() {
    requests();
    replay();
}

fn requests() {
    let server = server(Algorithm::ES256);
    let client = ProofKey::new();
    let baseline = Baseline::new(&server, Algorithm::ES256, &token(&server, 0).sign());
    let configured = |dpop: Dpop| {
        let validator = Validator::new(api(&server, Algorithm::ES256).with_dpop(dpop)).expect("a valid configuration");
        Authenticator::new(validator)
    };
    let with_dpop = configured(Dpop::new(AUDIENCE.trim_end_matches('/')));
    let without = Authenticator::new(Validator::new(api(&server, Algorithm::ES256)).expect("a valid configuration"));
    let bound = token(&server, 1).bound_to(&client).sign();
    let url = format!("{AUDIENCE}me");
    let proofs: Vec<String> = (0..20_000).map(|_| client.proof("GET", &url, &bound).sign()).collect();
    let other_heads: Vec<String> =
        (0..20_000).map(|number| client.proof("GET", &url, &bound).header("x", number).sign()).collect();
    let request = |scheme: &str, token: &str, proof: &str| {
        let request = Request::get("/me").header(AUTHORIZATION, format!("{scheme} {token}")).header(DPOP, proof);
        request.body(()).expect("a request")
    };
    let authenticate = |authenticator: &Authenticator, request: &Request<()>| {
        matches!(now(authenticator.authenticate(&RequestHead::new(request))), Outcome::Authenticated(_))
    };
    assert!(authenticate(&with_dpop, &request("DPoP", &bound, &client.proof("GET", &url, &bound).sign())));

    heading("requests", "ES256 baseline");
    let mut next = proofs.iter().map(|proof| request("DPoP", &bound, proof)).collect::<Vec<_>>().into_iter();
    let mut known = || assert!(authenticate(&with_dpop, &next.next().expect("enough proofs")));
    row("cached token, known proof header", compare(&mut || baseline.check(), &mut known), Some(1.04));
    let mut next = other_heads.iter().map(|proof| request("DPoP", &bound, proof)).collect::<Vec<_>>().into_iter();
    let mut new = || assert!(authenticate(&with_dpop, &next.next().expect("enough proofs")));
    row("cached token, new proof header", compare(&mut || baseline.check(), &mut new), Some(1.10));
    let used = request("DPoP", &bound, &proofs[0]);
    let mut replayed = || assert!(!authenticate(&with_dpop, &used));
    row("replayed proof", compare(&mut || baseline.check(), &mut replayed), Some(1.04));
    for (name, proof) in [
        ("refused before its signature: method", client.proof("PUT", &url, &bound).sign()),
        ("refused before its signature: key", ProofKey::new().proof("GET", &url, &bound).sign()),
    ] {
        let refused = request("DPoP", &bound, &proof);
        let mut refuse = || assert!(!authenticate(&with_dpop, &refused));
        row(name, compare(&mut || baseline.check(), &mut refuse), Some(0.03));
    }
    let bearer = token(&server, 2).sign();
    let bearer = request("Bearer", &bearer, "x");
    assert!(authenticate(&with_dpop, &bearer) && authenticate(&without, &bearer));
    heading("bearer request with DPoP configured", "without");
    let outcome = compare(&mut || assert!(authenticate(&without, black_box(&bearer))), &mut || {
        assert!(authenticate(&with_dpop, black_box(&bearer)))
    });
    row("cached token", outcome, Some(1.02));
}

/// Inserts a million proofs and prints the slowest of a thousand insertions, and the memory.
fn replay() {
    let store = MemoryReplayStore::new(48 << 20, Duration::from_secs(120));
    let client = ProofKey::with_algorithm(Algorithm::EdDSA);
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let method = http::Method::GET;
    let (policy, time) = (ProofPolicy::new().with_lifetime(Duration::from_secs(300)), 1_800_000_000_i64);
    let hash = AccessTokenHash::new("token");
    let mut nanos = Vec::new();
    for number in 0..200_000_i64 {
        let at = Timestamp::from_secs(time + number % 5 * 30 - 90);
        let proof = client.proof("GET", "https://api.test/me", "token").issued_at(at).sign();
        let expected = Expected::new(&method, &url, "/me", hash, client.thumbprint());
        let proof = verify(&proof, &expected, &policy, Timestamp::from_secs(time)).expect("valid");
        let start = Instant::now();
        let claimed = store.claim(&proof, Timestamp::from_secs(time));
        nanos.push(start.elapsed().as_nanos() as u64);
        assert!(matches!(claimed, Claiming::Now(Ok(_))));
    }
    nanos.sort_unstable();
    let entries = store.entries();
    println!("\nreplay store: {entries} proofs in {} bytes, {} each", store.bytes(), store.bytes() / entries);
    for (name, rank) in [("median", entries / 2), ("p99", entries * 99 / 100), ("p99.9", entries * 999 / 1000)] {
        println!("{name}: {} ns", nanos[rank]);
    }
}
