//! Verifies a proof: no panic, and nothing that the client's key has not signed is accepted.
#![no_main]

use std::sync::OnceLock;

use http::Method;
use libfuzzer_sys::fuzz_target;
use tower_bearer::Algorithm;
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{AccessTokenHash, Expected, ProofPolicy, verify};
use tower_bearer::request::PublicUrl;
use tower_bearer::testing::ProofKey;

fuzz_target!(|text: &str| {
    static KEY: OnceLock<ProofKey> = OnceLock::new();
    let key = KEY.get_or_init(|| ProofKey::with_algorithm(Algorithm::EdDSA));
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let policy = ProofPolicy::new();
    let expected = Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new("token"), key.thumbprint());
    let now = Timestamp::from_secs(1_800_000_000);
    assert!(verify(text, &expected, &policy, now).is_err());
    // The same text as the parts of a proof whose signature is genuine: only the claims and the header decide.
    let (header, claims) = text.split_once('\n').unwrap_or((text, ""));
    let proof = key.proof("GET", "https://api.test/me", "token").raw_header(header).raw_payload(claims).sign();
    let _no_panic = verify(&proof, &expected, &policy, now);
});
