//! The examples of RFC 7515, 7517, 7520, 7638, 7797 and 8037, as files beside the checkout.

use serde_json::{Value, json};

use crate::keys::fixtures::published;
use crate::keys::tests::corpus::{self, accepts, json as read, public, table, text};
use crate::keys::thumbprint::Thumbprint;
use crate::keys::{KeyError, KeySet, SkipReason};
use crate::token::{TokenError, UnverifiedToken};

/// The key of an example. RFC 7520 names none of its algorithms in the key, RFC 7515 no algorithm for its secret.
fn key(name: &str, algorithm: &str) -> Option<Value> {
    let mut jwk = public(&read(name)?);
    jwk["alg"] = json!(algorithm);
    Some(jwk)
}

#[test]
fn compact_examples_hold_under_their_key_and_no_other() {
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
        for (of, alg) in examples {
            let Some(jwk) = key(&format!("latchset-jose/{of}.jwk"), alg) else { return };
            // RFC 7520 signs 4.1 and 4.2 with one key.
            let same = of == example;
            assert_eq!(accepts(&table(&jwk), &token), same, "{example} ({algorithm}) under the key of {of}");
        }
    }
}

#[test]
fn cookbook_examples_are_the_same_tokens() {
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
fn everything_that_is_no_compact_jws_is_refused() {
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
        assert!(corpus::take_apart_fails(&token), "{name}");
        tried += 1;
    }
    for number in 1..=9 {
        for (end, compact) in [("jwec", true), ("jweg", false)] {
            let Some(token) = text(&format!("latchset-jose/rfc7520_5.{number}.{end}")) else { return };
            let refusal = UnverifiedToken::parse(&token).map(drop).expect_err("a JWE");
            assert!(!compact || refusal == TokenError::Encrypted, "5.{number}.{end}: {refusal}");
            tried += 1;
        }
    }
    for file in ["rfc7797/4.2.hmac-sha2_b64_false", "rfc7797/hmac-sha2_b64_false", "curve25519/ecdh-es"] {
        let Some(example) = read(&format!("cookbook/{file}.json")) else { return };
        for (form, token) in example["output"].as_object().expect("outputs") {
            let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            assert!(corpus::take_apart_fails(&token), "{file} {form}");
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
fn key_sets_of_rfc_7517_keep_public_keys_for_signatures() {
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
        let wanted: Vec<_> = keys.iter().copied().filter(Option::is_some).collect();
        assert_eq!(reasons, wanted, "{example}");
    }
    let Some(with_certificate) = text("latchset-jose/rfc7517_B.jwk") else { return };
    assert_eq!(KeySet::from_jwks(with_certificate).expect("a key").len(), 1);
}

/// Rules 46, 54 and 60: the keys of RFC 7520 §3 and RFC 7517 appendices, one by one.
#[test]
fn private_and_symmetric_keys_never_become_public_ones() {
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
fn the_thumbprint_of_rfc_7638() {
    let (Some(jwk), Some(expected)) = (text("latchset-jose/rfc7638_3.1.jwk"), text("latchset-jose/rfc7638_3.1.thp"))
    else {
        return;
    };
    let thumbprint: Thumbprint = published(&jwk).material.thumbprint();
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, thumbprint.as_bytes());
    assert_eq!(encoded, expected);
}
