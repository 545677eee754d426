//! Tests of `TokenBuilder`.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken_10::errors::ErrorKind;
use jsonwebtoken_10::{DecodingKey, Validation};
use serde_json::{Value, json};

use super::{segment, verified};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::testing::{TestIssuer, TokenBuilder};
use crate::token::{Algorithm, TokenError, UnverifiedToken};

const PUBLIC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn claims(token: &str) -> Value {
    serde_json::from_str(&segment(token, 1)).expect("JSON")
}

#[test]
fn is_valid_by_default() {
    let issuer = TestIssuer::new();
    let before = SystemClock.now().as_secs();
    let token = issuer.token().sign();
    let claims = verified(&issuer, &token).expect("valid");
    let iat = claims["iat"].as_i64().expect("a number");
    assert!((before..=SystemClock.now().as_secs()).contains(&iat));
    assert_eq!(
        claims,
        json!({
            "iss": "https://issuer.test/", "sub": "auth0|user", "aud": "https://api.test/", "iat": iat,
            "exp": iat + 3600, "azp": "test-client",
        })
    );
    assert_eq!(segment(&token, 0), format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{}"}}"#, issuer.kid()));
}

#[test]
fn signs_with_every_algorithm_that_jsonwebtoken_supports() {
    let issuer = TestIssuer::new().with_algorithms(PUBLIC);
    for algorithm in PUBLIC {
        let token = issuer.token().algorithm(algorithm).sign();
        assert_eq!(UnverifiedToken::parse(&token).expect("well-formed").header().algorithm(), algorithm);
        verified(&issuer, &token).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        let broken = issuer.token().algorithm(algorithm).with_broken_signature().sign();
        let error = verified(&issuer, &broken).expect_err("broken");
        assert_eq!(*error.kind(), ErrorKind::InvalidSignature, "{algorithm}");
    }
}

#[test]
fn signs_es512_in_the_fixed_form() {
    let issuer = TestIssuer::new().with_algorithms([Algorithm::ES512]);
    let token = issuer.token().sign();
    let keys: Value = serde_json::from_str(&issuer.jwks()).expect("JSON");
    let coordinate =
        |name: &str| URL_SAFE_NO_PAD.decode(keys["keys"][0][name].as_str().expect("text")).expect("base64");
    let (x, y) = (coordinate("x"), coordinate("y"));
    assert_eq!((x.len(), y.len()), (66, 66));
    let point = [vec![4], x, y].concat();
    let parsed = UnverifiedToken::parse(&token).expect("well-formed");
    assert_eq!(parsed.signature().len(), 132);
    let key = UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point);
    key.verify(parsed.signing_input(), parsed.signature()).expect("valid");
}

#[test]
fn signs_hmacs_with_the_secret_and_without_kid() {
    let issuer = TestIssuer::new().with_algorithms([Algorithm::HS256]);
    for (algorithm, theirs) in [
        (Algorithm::HS256, jsonwebtoken_10::Algorithm::HS256),
        (Algorithm::HS384, jsonwebtoken_10::Algorithm::HS384),
        (Algorithm::HS512, jsonwebtoken_10::Algorithm::HS512),
    ] {
        let token = issuer.token().algorithm(algorithm).sign();
        let mut validation = Validation::new(theirs);
        validation.set_audience(&["https://api.test/"]);
        let key = DecodingKey::from_secret(issuer.secret().as_bytes());
        jsonwebtoken_10::decode::<Value>(&token, &key, &validation).expect("valid");
        assert_eq!(segment(&token, 0), format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
    }
    assert_eq!(issuer.jwks(), r#"{"keys":[]}"#);
    assert_eq!((issuer.kid(), issuer.public_key_pem()), (String::new(), String::new()));
}

#[test]
fn reads_the_key_once_so_that_a_concurrent_rotation_breaks_no_token() {
    let algorithm = Algorithm::EdDSA;
    let issuer = TestIssuer::new().with_algorithms([algorithm]);
    let theirs = TestIssuer::new().with_algorithms([algorithm]);
    let named = issuer.key(algorithm);
    issuer.rotate();
    // The same key makes the same signature (RFC 8032 §5.1.6).
    let (own, foreign) = (named.sign(b"message"), theirs.key(algorithm).sign(b"message"));
    let signature = |builder: TokenBuilder| builder.signature(&named, b"message");
    assert_eq!(signature(issuer.token()), own);
    assert_eq!(signature(issuer.token().signed_by(&issuer.add_custom_domain("https://login.test/"))), own);
    assert_eq!(signature(issuer.token().signed_by(&theirs)), foreign);
    assert_ne!(signature(issuer.token().with_broken_signature()), own);
    verified(&issuer, &issuer.token().sign()).expect("valid");
}

#[test]
fn each_claim_method_changes_that_claim_only() {
    type Change = fn(TokenBuilder) -> TokenBuilder;
    let changes: [(&str, Change, Value); 14] = [
        ("iss", |t| t.issuer("x"), json!("x")),
        ("sub", |t| t.subject("x"), json!("x")),
        ("aud", |t| t.audience("x"), json!("x")),
        ("aud", |t| t.audiences(["x", "y"]), json!(["x", "y"])),
        ("scope", |t| t.scope("a b"), json!("a b")),
        ("permissions", |t| t.permissions(["p"]), json!(["p"])),
        ("org_id", |t| t.organization("org_1"), json!("org_1")),
        ("nbf", |t| t.not_before(Timestamp::from_secs(7)), json!(7)),
        ("iat", |t| t.issued_at(Timestamp::from_secs(7)), json!(7)),
        ("exp", |t| t.expires_at(Timestamp::from_secs(7)), json!(7)),
        ("n", |t| t.claim("n", [1, 2]), json!([1, 2])),
        ("n", |t| t.raw_claim("n", "[ 1.50 ]"), json!([1.5])),
        ("azp", |t| t.without("azp"), Value::Null),
        ("azp", |t| t.claim("azp", ()), Value::Null),
    ];
    let builder = TestIssuer::new().token();
    let base = claims(&builder.clone().sign());
    for (name, change, value) in changes {
        let token = change(builder.clone()).sign();
        let mut changed = claims(&token);
        assert_eq!(changed[name], value, "{name}");
        changed[name].clone_from(&base[name]);
        let mut base = base.clone();
        base[name].clone_from(&changed[name]);
        assert_eq!(changed, base, "{name}");
        assert_eq!(segment(&token, 0), segment(&builder.clone().sign(), 0), "{name}");
    }
}

#[test]
fn dates_are_relative_to_now() {
    let builder = TestIssuer::new().token();
    let iat = claims(&builder.clone().sign())["iat"].as_i64().expect("a number");
    let exp = |builder: TokenBuilder| claims(&builder.sign())["exp"].as_i64().expect("a number");
    assert_eq!(exp(builder.clone().expires_in(Duration::from_secs(60))), iat + 60);
    assert_eq!(exp(builder.expired()), iat - 3600);
}

#[test]
fn each_header_method_changes_that_member_only() {
    let issuer = TestIssuer::new();
    let kid = issuer.kid();
    for (builder, header) in [
        (issuer.token().kid("x"), r#"{"alg":"RS256","typ":"JWT","kid":"x"}"#.to_owned()),
        (issuer.token().without_kid(), r#"{"alg":"RS256","typ":"JWT"}"#.to_owned()),
        (issuer.token().typ("at+jwt"), format!(r#"{{"alg":"RS256","typ":"at+jwt","kid":"{kid}"}}"#)),
        (issuer.token().without_header("typ"), format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#)),
        (issuer.token().header("alg", "rs256"), format!(r#"{{"alg":"rs256","typ":"JWT","kid":"{kid}"}}"#)),
        (
            issuer.token().with_duplicate_header("alg", "none"),
            format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{kid}","alg":"none"}}"#),
        ),
        (issuer.token().raw_header("[ 1 ]"), "[ 1 ]".to_owned()),
    ] {
        let token = builder.sign();
        assert_eq!(segment(&token, 0), header);
        let message = token.rsplit_once('.').expect("dots").0.as_bytes();
        let key = DecodingKey::from_rsa_pem(issuer.public_key_pem().as_bytes()).expect("a PEM key");
        let signature = token.rsplit_once('.').expect("dots").1;
        let is_valid = jsonwebtoken_10::crypto::verify(signature, message, &key, jsonwebtoken_10::Algorithm::RS256);
        assert_eq!(is_valid, Ok(true), "{header}");
    }
}

#[test]
fn writes_duplicates_and_raw_payloads_unchanged() {
    let issuer = TestIssuer::new();
    let token = issuer.token().with_duplicate_claim("sub", "b").sign();
    assert!(segment(&token, 1).ends_with(r#","sub":"b"}"#));
    assert_eq!(segment(&token, 1).matches(r#""sub":"#).count(), 2);
    assert!(UnverifiedToken::parse(&token).is_err());
    assert_eq!(segment(&issuer.token().raw_payload("{ }").sign(), 1), "{ }");
}

#[test]
fn forged_tokens_are_rejected_for_the_expected_reason() {
    let (ours, theirs) = (TestIssuer::new(), TestIssuer::new());
    let forged = ours.token().signed_by(&theirs).sign();
    assert_eq!(segment(&forged, 0), segment(&ours.token().sign(), 0));
    assert_eq!(*verified(&ours, &forged).expect_err("forged").kind(), ErrorKind::InvalidSignature);
    let swapped = ours.token().with_signature([1, 2, 3]).sign();
    assert!(swapped.ends_with(".AQID"));

    let unsigned = ours.token().unsigned().sign();
    assert!(unsigned.ends_with('.') && segment(&unsigned, 0).starts_with(r#"{"alg":"none","typ":"JWT","kid":"#));
    assert_eq!(UnverifiedToken::parse(&ours.token().encrypted().sign()).expect_err("JWE"), TokenError::Encrypted);
}

#[test]
fn a_naive_verifier_accepts_the_public_key_as_secret() {
    let issuer = TestIssuer::new();
    let token = issuer.token().hs256_with_public_key().sign();
    let mut naive = Validation::new(jsonwebtoken_10::Algorithm::HS256);
    naive.set_audience(&["https://api.test/"]);
    let key = DecodingKey::from_secret(issuer.public_key_pem().as_bytes());
    jsonwebtoken_10::decode::<Value>(&token, &key, &naive).expect("accepted");
    assert!(segment(&token, 0).contains(&issuer.kid()));
}

#[test]
fn rfc9068_has_its_own_claims_and_a_new_jti_each_time() {
    let issuer = TestIssuer::new();
    let (first, second) = (issuer.token().rfc9068().sign(), issuer.token().rfc9068().sign());
    let first = claims(&first);
    assert_eq!((&first["client_id"], &first["azp"]), (&json!("test-client"), &Value::Null));
    assert_ne!(first["jti"], claims(&second)["jti"]);
    assert!(first["jti"].is_string());
}
