//! Tink's cross-language claim cases. Each claims set gets the `iss`, `aud` and `exp` that every API here requires, if
//! it lacks them, and is signed again.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken_10::EncodingKey;
use serde_json::Value;
use tower_bearer::clock::Timestamp;
use tower_bearer::testing::FakeClock;
use tower_bearer::{Algorithm, Api, Issuer, Secret, Validator};

use crate::exceptions::CaseResults;
use crate::fixture::block_on;
use crate::vectors;

/// Used if a case names no issuer or audience.
const ISSUER: &str = "https://tink.example/";
const AUDIENCE: &str = "https://api.example/";
const NOW: f64 = 1_700_000_000.0;

#[test]
fn every_claim_case_of_tink_returns_the_expected_outcome() {
    let Some(text) = vectors::read("tink/jwt_validation_cases.json") else { return };
    let file: Value = serde_json::from_slice(&text).expect("the cases");
    let secret = file["key"]["k"].as_str().expect("a secret");
    let mut rejections = Vec::new();
    let mut outcomes = CaseResults::new("Tink", include_str!("../data/exceptions/tink.txt"));
    for case in file["cases"].as_array().expect("cases") {
        // One token is too long for the file: {"a":{"a":… 110,000 levels deep.
        let token = case["token"].as_str().map_or_else(|| too_deep(110_000), str::to_owned);
        let token = complete(&token, &case["validator"], secret);
        let id = case["name"].as_str().expect("a name").replace([' ', ','], "_");
        let validator = validator(&case["validator"], secret);
        assert_eq!(validator.is_none(), id == "iss_empty_string", "{id} can be configured");
        let outcome = validator.map(|validator| block_on(validator.validate(&token)));
        if let Some(Err(rejection)) = &outcome {
            rejections.push(format!("{id} {rejection:?}"));
        }
        let accepted = outcome.is_some_and(|outcome| outcome.is_ok());
        outcomes.record(id, case["valid"] == true, accepted);
    }
    outcomes.finish(21, 39);
    // The token must be rejected for the reason of the case.
    let expected: Vec<&str> = include_str!("../data/rejections/tink.txt").lines().collect();
    assert_eq!(rejections, expected);
}

/// Returns the API that a case's validator describes; `None` if it cannot be configured.
fn validator(case: &Value, secret: &str) -> Option<Validator> {
    let issuer = case["expected_issuer"].as_str().unwrap_or(ISSUER).trim_end();
    let issuer = Issuer::shared_secret(issuer, Secret::from_base64url(secret)).with_algorithms([Algorithm::HS256]);
    let audience = case["expected_audience"].as_str().unwrap_or(AUDIENCE).trim_end();
    let skew = Duration::from_secs(case["skew"].as_u64().unwrap_or_default());
    let mut api = Api::new(audience, issuer).with_leeway(skew).with_max_token_bytes(1024 * 1024);
    if case["expect_issued_in_the_past"] == true {
        api = api.with_max_token_age(Duration::from_secs(3600));
    }
    let now = Timestamp::from_nanos((case["now"].as_f64().unwrap_or(NOW) * 1e9) as i128);
    Validator::builder(api).with_clock(FakeClock::from_wall(now)).build().ok()
}

/// Returns the same header and payload bytes, with the missing claims inserted before the first member.
///
/// A setting cannot end with a space: if a case's setting does, the token's value gets the space instead, which is the
/// same comparison.
fn complete(token: &str, validator: &Value, secret: &str) -> String {
    let mut segments = token.split('.');
    let mut next = || segments.next().expect("a segment").to_owned();
    let (header, payload) = (next(), BASE64_URL_SAFE_NO_PAD.decode(next()).expect("base64url"));
    let completed = match payload.split_first() {
        Some((b'{', rest)) => {
            let text = String::from_utf8_lossy(&payload).into_owned();
            let missing = [
                ("iss", format!("\"{ISSUER}\"")),
                ("aud", format!("\"{AUDIENCE}\"")),
                ("exp", "253402300000".to_owned()),
            ];
            let missing = missing.iter().filter(|(name, _)| !text.contains(&format!("\"{name}\":")));
            let added: String = missing.map(|(name, value)| format!("\"{name}\":{value},")).collect();
            let expected = ["expected_issuer", "expected_audience"].iter().filter_map(|name| validator[name].as_str());
            let rest = expected.filter(|expected| expected.ends_with(' ')).fold(rest.to_vec(), |rest, expected| {
                let rest = String::from_utf8(rest).expect("UTF-8");
                rest.replace(&format!("\"{}\"", expected.trim_end()), &format!("\"{expected}\"")).into_bytes()
            });
            [b"{", added.as_bytes(), &rest].concat()
        }
        // Not UTF-8, and rejected for that reason.
        _ => payload,
    };
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(completed));
    let key = EncodingKey::from_base64_secret(&standard(secret)).expect("a secret");
    let mac = jsonwebtoken_10::crypto::sign(signed.as_bytes(), &key, jsonwebtoken_10::Algorithm::HS256).expect("a MAC");
    format!("{signed}.{mac}")
}

fn standard(secret: &str) -> String {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(secret).expect("base64url");
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

fn too_deep(levels: usize) -> String {
    let payload = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.AA", encode(r#"{"alg":"HS256"}"#), encode(&payload))
}
