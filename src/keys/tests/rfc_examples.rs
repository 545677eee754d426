//! The examples of RFC 7515, 7517, 7520, 7638, 7797 and 8037, read from the test vectors.

use serde_json::{Value, json};

use crate::keys::fixtures::published;
use crate::keys::tests::corpus::{self, accepts, json as read, public, table, text};
use crate::keys::thumbprint::Thumbprint;
use crate::keys::{KeyError, KeySet, SkipReason};
use crate::token::{TokenError, UnverifiedToken};

/// Returns the key of an example, with `alg`. The keys of RFC 7520 and the secret of RFC 7515 have no `alg`.
fn key(name: &str, algorithm: &str) -> Option<Value> {
    let mut jwk = public(&read(name)?);
    jwk["alg"] = json!(algorithm);
    Some(jwk)
}

#[test]
fn verifies_compact_examples_with_their_own_key_only() {
    let examples = [
        ("rfc7515_A.1", "HS256"),
        ("rfc7515_A.2", "RS256"),
        ("rfc7515_A.3", "ES256"),
        ("rfc7515_A.4", "ES512"),
        ("rfc7520_4.1", "RS256"),
        ("rfc7520_4.2", "PS384"),
        ("rfc7520_4.3", "ES512"),
        ("rfc7520_4.4", "HS256"),
    ];
    for (example, algorithm) in examples {
        let Some(token) = text(&format!("latchset-jose/{example}.jwsc")) else { return };
        for (other, alg) in examples {
            let Some(jwk) = key(&format!("latchset-jose/{other}.jwk"), alg) else { return };
            // RFC 7520 signs 4.1 and 4.2 with one key.
            let same = other == example;
            assert_eq!(accepts(&table(&jwk), &token), same, "{example} ({algorithm}) with the key of {other}");
        }
    }
}

#[test]
fn verifies_the_tokens_of_the_cookbook() {
    for (file, algorithm) in [
        ("jws/4_1.rsa_v15_signature", "RS256"),
        ("jws/4_2.rsa-pss_signature", "PS384"),
        ("jws/4_3.ecdsa_signature", "ES512"),
        ("jws/4_4.hmac-sha2_integrity_protection", "HS256"),
        ("curve25519/jws", "EdDSA"),
    ] {
        let Some(example) = read(&format!("cookbook/{file}.json")) else { return };
        let mut jwk = public(&example["input"]["key"]);
        jwk["alg"] = json!(algorithm);
        let token = example["output"]["compact"].as_str().expect("a token");
        assert!(accepts(&table(&jwk), token), "{file}");
    }
}

/// Rules 28, 29, 35, 38, 39, 47 and 48: every other serialization, detached or unencoded payloads, no signature.
#[test]
fn rejects_everything_that_is_no_compact_jws() {
    let mut tried = 0;
    for name in [
        "rfc7515_A.5.jwsc",
        "rfc7515_A.6.jwsg",
        "rfc7515_A.7.jwsf",
        "rfc7520_4.1.jwsf",
        "rfc7520_4.1.jwsg",
        "rfc7520_4.2.jwsf",
        "rfc7520_4.2.jwsg",
        "rfc7520_4.3.jwsf",
        "rfc7520_4.3.jwsg",
        "rfc7520_4.4.jwsf",
        "rfc7520_4.4.jwsg",
        "rfc7520_4.5.jwsc",
        "rfc7520_4.5.jwsf",
        "rfc7520_4.5.jwsg",
        "rfc7520_4.6.jwsf",
        "rfc7520_4.6.jwsg",
        "rfc7520_4.7.jwsf",
        "rfc7520_4.7.jwsg",
        "rfc7520_4.8.jwsg",
        "rfc7520_5.1.jwef",
        "rfc7520_5.2.jwef",
        "rfc7520_5.3.jwef",
        "rfc7520_5.4.jwef",
        "rfc7520_5.7.jwef",
        "rfc7520_5.8.jwef",
        "rfc7520_5.9.jwef",
        "rfc7520_5.10.jwef",
        "rfc7520_5.10.jweg",
        "rfc7520_5.11.jwef",
        "rfc7520_5.11.jweg",
        "rfc7520_5.12.jwef",
        "rfc7520_5.12.jweg",
        "rfc7520_5.13.jweg",
    ] {
        let Some(token) = text(&format!("latchset-jose/{name}")) else { return };
        assert!(corpus::is_malformed(&token), "{name}");
        tried += 1;
    }
    for number in 1..=9 {
        for (end, compact) in [("jwec", true), ("jweg", false)] {
            let Some(token) = text(&format!("latchset-jose/rfc7520_5.{number}.{end}")) else { return };
            let error = UnverifiedToken::parse(&token).map(drop).expect_err("a JWE");
            assert!(!compact || error == TokenError::Encrypted, "5.{number}.{end}: {error}");
            tried += 1;
        }
    }
    for file in ["rfc7797/4.2.hmac-sha2_b64_false", "rfc7797/hmac-sha2_b64_false", "curve25519/ecdh-es"] {
        let Some(example) = read(&format!("cookbook/{file}.json")) else { return };
        for (form, token) in example["output"].as_object().expect("outputs") {
            let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            assert!(corpus::is_malformed(&token), "{file} {form}");
            tried += 1;
        }
    }
    let Some(nested) = read("cookbook/6.nesting_signatures_and_encryption.json") else { return };
    let token = nested["encrypt"]["output"]["compact"].as_str().expect("a token");
    assert_eq!(UnverifiedToken::parse(token).map(drop), Err(TokenError::Encrypted));
    assert_eq!(tried, 59);
}

/// Rules 54 and 60.
#[test]
fn accepts_only_the_public_signature_keys_of_rfc_7517() {
    let expected: [(&str, &[Option<SkipReason>]); 3] = [
        ("A.1", &[Some(SkipReason::Use), None]),
        ("A.2", &[Some(SkipReason::Private), Some(SkipReason::Private)]),
        ("A.3", &[Some(SkipReason::Symmetric), Some(SkipReason::Symmetric)]),
    ];
    for (example, keys) in expected {
        let Some(set) = text(&format!("latchset-jose/rfc7517_{example}.jwkset")) else { return };
        let set = KeySet::from_jwks(set).expect("a set");
        assert_eq!(set.len(), keys.iter().filter(|reason| reason.is_none()).count(), "{example}");
        let reasons: Vec<_> = set.skipped().map(|key| Some(key.reason())).collect();
        let expected_reasons: Vec<_> = keys.iter().copied().filter(Option::is_some).collect();
        assert_eq!(reasons, expected_reasons, "{example}");
    }
    let Some(with_certificate) = text("latchset-jose/rfc7517_B.jwk") else { return };
    assert_eq!(KeySet::from_jwks(with_certificate).expect("a key").len(), 1);
}

/// Rules 46, 54 and 60: each key of RFC 7520 §3.
#[test]
fn skips_private_and_symmetric_keys_of_rfc_7520() {
    for (file, outcome) in [
        ("3_1.ec_public_key", None),
        ("3_2.ec_private_key", Some(SkipReason::Private)),
        ("3_3.rsa_public_key", None),
        ("3_4.rsa_private_key", Some(SkipReason::Private)),
        ("3_5.symmetric_key_mac_computation", Some(SkipReason::Symmetric)),
        ("3_6.symmetric_key_encryption", Some(SkipReason::Symmetric)),
    ] {
        let Some(jwk) = text(&format!("cookbook/jwk/{file}.json")) else { return };
        let expected = outcome.map(|reason| KeyError::Unusable { reason });
        assert_eq!(KeySet::from_jwks(jwk).map(drop).err(), expected, "{file}");
    }
}

/// Rule 63.
#[test]
fn computes_the_thumbprint_of_rfc_7638() {
    let (Some(jwk), Some(expected)) = (text("latchset-jose/rfc7638_3.1.jwk"), text("latchset-jose/rfc7638_3.1.thp"))
    else {
        return;
    };
    let thumbprint: Thumbprint = published(&jwk).material.thumbprint();
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, thumbprint.as_bytes());
    assert_eq!(encoded, expected);
}
