//! Hostile input costs at most its length and at most the configured limits (rules 11, 29, 42, 50, 52).

use std::fmt::Write as _;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tower_bearer::keys::{KeyError, KeySet};
use tower_bearer::rejection::IssuerError;
use tower_bearer::testing::{FakeClock, TestIssuer};
use tower_bearer::token::{Segment, TokenError, UnverifiedToken};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, Validator};

use crate::fixture::{AUDIENCE, TestApi, block_on, server, trusted, validator, validator_for};

const MEGABYTE: usize = 1024 * 1024;

/// Returns a validator for tokens of up to a megabyte, so that the test measures the parser's own limits.
fn large_token_validator(server: &TestIssuer) -> Validator {
    validator_for(Api::new(AUDIENCE, trusted(server, Algorithm::EdDSA)).with_max_token_bytes(MEGABYTE))
}

/// Returns the allocations of one rejection, without those of a thread's first rejection and of the token cache's first
/// lookups in each segment.
fn rejection_cost(validator: &Validator, token: &str) -> (AllocationInfo, Rejection) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    (0..2).for_each(|_| assert!(runtime.block_on(validator.validate(token)).is_err()));
    let mut outcome = None;
    let info = measure(|| outcome = Some(runtime.block_on(validator.validate(token))));
    (info, outcome.expect("a result").expect_err("a rejection"))
}

fn token(header: &str, payload: &str) -> String {
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", encode(header), encode(payload), encode("signature"))
}

const HEADER: &str = r#"{"alg":"EdDSA"}"#;

#[test]
fn megabyte_of_dots_allocates_nothing() {
    let server = server(Algorithm::EdDSA);
    let dots = ".".repeat(MEGABYTE);
    let (info, rejection) = rejection_cost(&large_token_validator(&server), &dots);
    assert_eq!(rejection, Rejection::Token(TokenError::NotAJwt));
    assert!(info.bytes_total < 1024, "{info:?}");
    let info = measure(|| assert_eq!(UnverifiedToken::parse(&dots).map(drop), Err(TokenError::NotAJwt)));
    assert_eq!(info.count_total, 0);
}

#[test]
fn token_over_the_limit_is_not_parsed() {
    let server = server(Algorithm::EdDSA);
    for length in [16 * 1024 + 1, MEGABYTE, 16 * MEGABYTE] {
        let long = "a".repeat(length);
        let (info, rejection) = rejection_cost(&validator(&server, Algorithm::EdDSA), &long);
        assert_eq!(rejection, Rejection::Token(TokenError::TooLong { length, limit: 16 * 1024 }));
        assert!(info.bytes_total < 1024, "{length}: {info:?}");
    }
    let twin = "a".repeat(16 * 1024);
    assert_eq!(rejection_cost(&validator(&server, Algorithm::EdDSA), &twin).1, Rejection::Token(TokenError::NotAJwt));
}

/// The decoder makes one copy of the text; it checks the depth before it recurses.
#[test]
fn deeply_nested_json_costs_at_most_its_length() {
    let server = server(Algorithm::EdDSA);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"x\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
        for (header, payload, segment) in [(HEADER, &*deep, Segment::Payload), (&*deep, "{}", Segment::Header)] {
            let token = token(header, payload);
            let (info, rejection) = rejection_cost(&large_token_validator(&server), &token);
            assert_eq!(rejection, Rejection::Token(TokenError::TooDeep { segment }));
            let allowed = token.len() as u64 + 4096;
            assert!(info.bytes_max <= allowed, "{info:?} for {} bytes", token.len());
        }
        let set = format!("{{\"keys\":[{}1{}]}}", open.repeat(100_000), close.repeat(100_000));
        let info = measure(|| assert_eq!(KeySet::from_jwks(&set).map(drop), Err(KeyError::TooDeep)));
        assert_eq!(info.count_total, 0);
    }
}

/// serde_json reads an object with one of its private names as the value of the text inside it, without a limit on the
/// total depth.
#[test]
fn rejects_reserved_member_names_at_any_depth() {
    let test_api = TestApi::new();
    let token = || test_api.server.token();
    let raw = |claim: &str, inner: &str| {
        let text = serde_json::to_string(inner).expect("a string");
        token().raw_claim(claim, &format!("{{\"$serde_json::private::RawValue\":{text}}}"))
    };
    let mut nested = String::from("1");
    for _ in 0..6 {
        let text = serde_json::to_string(&nested).expect("a string");
        nested = format!("{}{{\"$serde_json::private::RawValue\":{text}}}{}", "[".repeat(28), "]".repeat(28));
    }
    let payload = Rejection::Token(TokenError::ReservedMember { segment: Segment::Payload });
    for disguised in [
        raw("role", "\"admin\""),
        raw("https://northwind.com/roles", "[\"admin\"]"),
        token().raw_claim("x", r#"[{"a":{"$serde_json::private::Number":"1"}}]"#),
        token().raw_claim("x", r#"{"\u0024serde_json::private::RawValue":"1"}"#),
        token().claim("$serde_json::private::RawValue", "1"),
        token().raw_claim("x", &nested),
    ] {
        assert_eq!(test_api.rejection(disguised), payload);
    }
    let header = Rejection::Token(TokenError::ReservedMember { segment: Segment::Header });
    assert_eq!(test_api.rejection(token().header("$serde_json::private::RawValue", "1")), header);
    assert_eq!(test_api.rejection(token().header("jwk", json!({ "$serde_json::private::Number": "1" }))), header);
    let near = token().claim("x", json!({ "$serde_json": "$serde_json::private::RawValue" })).claim("$ref", 1);
    assert_eq!(test_api.validate(near).map(drop), Ok(()));
}

#[test]
fn ten_thousand_members_cost_at_most_their_length() {
    let server = server(Algorithm::EdDSA);
    for names in [plain as Make, escaped] {
        let payload = members(10_000, names);
        let token = token(HEADER, &payload);
        let (info, rejection) = rejection_cost(&large_token_validator(&server), &token);
        assert_eq!(rejection, Rejection::Issuer(IssuerError::Unknown { difference: None }));
        // Names are stored to find duplicates: one fat pointer each, and a copy if they contain escapes.
        let allowed = token.len() as u64 * 8;
        assert!(info.bytes_max <= allowed && info.bytes_total <= allowed * 2, "{info:?} for {} bytes", token.len());
        let twice = payload.replacen("\"n9\":", "\"n8\":", 1).replacen("\"\\u006e9\":", "\"n8\":", 1);
        let (_, rejection) = rejection_cost(&large_token_validator(&server), &self::token(HEADER, &twice));
        assert_eq!(rejection, Rejection::Token(TokenError::DuplicateMember { segment: Segment::Payload }));
    }
}

/// Returns the text of the given number of parts.
type Make = fn(usize) -> String;

fn plain(number: usize) -> String {
    format!("n{number}")
}

fn escaped(number: usize) -> String {
    format!("\\u006e{number}")
}

fn members(count: usize, name: Make) -> String {
    let mut json = String::from("{\"iss\":\"nobody\"");
    for number in 0..count {
        write!(json, ",\"{}\":[{number},\"\\u00e9\"]", name(number)).expect("writing to a string succeeds");
    }
    json + "}"
}

/// The bytes that are allocated before the signature check grow at most linearly with the token, for any content.
#[test]
fn allocations_are_linear_in_the_token_length() {
    let server = server(Algorithm::EdDSA);
    let validator = large_token_validator(&server);
    let shapes: [(&str, Make); 6] = [
        ("members", |size| members(size, plain)),
        ("escaped members", |size| members(size, escaped)),
        ("array", |size| format!("{{\"x\":[{}1]}}", "1,".repeat(size * 8))),
        ("nested", |size| format!("{{\"x\":[{}1]}}", "[[[[[[\"\\u00e9\"]]]]]],".repeat(size))),
        ("text", |size| format!("{{\"iss\":\"{}\"}}", "\\u00e9".repeat(size * 3))),
        ("audiences", |size| format!("{{\"iss\":\"i\",\"aud\":[{}\"a\"]}}", "\"a\\u0062\",".repeat(size))),
    ];
    for (shape, make) in shapes {
        let measured = [1_000, 4_000, 16_000].map(|size| {
            let token = token(HEADER, &make(size));
            (token.len() as u64, rejection_cost(&validator, &token).0)
        });
        for (length, info) in measured {
            // The peak, and the total.
            assert!(info.bytes_max <= length * 10 && info.bytes_total <= length * 20, "{shape}: {info:?} for {length}");
        }
    }
}

/// Rule 41: a kid is limited in length and compared as text.
#[test]
fn kid_length_is_bounded() {
    let server = server(Algorithm::EdDSA);
    let validator = validator(&server, Algorithm::EdDSA);
    let long = server.token().kid(&"k".repeat(257)).sign();
    assert_eq!(block_on(validator.validate(&long)).map(drop), Err(Rejection::Token(TokenError::KidTooLong)));
    for kid in ["../../../../dev/null", "' OR 1=1 --", "http://169.254.169.254/", "%00", "*", "\0"] {
        let rejection = block_on(validator.validate(&server.token().kid(kid).sign())).expect_err("unknown");
        assert!(matches!(rejection, Rejection::Key(_)), "{kid}: {rejection}");
    }
}

/// Rules 52 and 64: a key set is limited in length and number of keys, and costs at most its length.
#[test]
fn key_set_size_is_bounded() {
    let many = |count: usize| format!("{{\"keys\":[{}]}}", vec!["{}"; count].join(","));
    let error = KeyError::TooManyKeys { count: 100_000, limit: 100 };
    let set = many(100_000);
    let info = measure(|| assert_eq!(KeySet::from_jwks(&set).map(drop), Err(error)));
    assert!(info.bytes_max <= set.len() as u64 * 20, "{info:?}");
    assert_eq!(KeySet::from_jwks(many(100)).map(|set| set.skipped().len()), Ok(100));
    let wide = json!({ "keys": [{ "kty": "RSA", "x5c": vec!["A"; 50_000] }] }).to_string();
    let info = measure(|| assert_eq!(KeySet::from_jwks(&wide).map(|set| set.len()), Ok(0)));
    assert!(info.bytes_max < 64 * 1024, "{info:?}");
}

/// Rule 64: a document over the limit adds no keys and removes none.
#[test]
fn rejects_a_document_over_the_limit() {
    block_on(async {
        let clock = FakeClock::new();
        let server = TestIssuer::new().with_clock(std::sync::Arc::new(clock.clone()));
        let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
        let validator = Validator::builder(api).with_clock(clock.clone()).with_fetch(server.clone());
        let validator = validator.build().expect("a valid configuration");
        clock.run_for(Duration::from_secs(1)).await;
        let token = server.token().expires_in(Duration::from_secs(3600)).sign();
        assert!(validator.validate(&token).await.is_ok());
        server.publish(format!("{{\"x\":\"{}\",\"keys\":[]}}", "x".repeat(4 * MEGABYTE)));
        clock.run_for(Duration::from_secs(600)).await;
        assert!(validator.validate(&token).await.is_ok(), "the loaded keys stay");
        let (_, source) = validator.key_sources().next().expect("one source");
        assert!(source.status().consecutive_failures() > 0);
    });
}
