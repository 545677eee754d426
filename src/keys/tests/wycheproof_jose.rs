//! Wycheproof's JOSE files: signatures (rules 28 to 48), keys (rules 42 to 61), and encrypted tokens, which are rejected.

use serde_json::{Value, json};

use crate::keys::tests::corpus::{self, CaseResults};
use crate::keys::{KeySet, Secret, SkippedKey};
use crate::token::{Algorithm, TokenError, UnverifiedToken};

fn keys_of(group: &Value) -> &Value {
    if group["public"].is_null() { &group["private"] } else { &group["public"] }
}

/// Verifies each signed case of a file. Encrypted cases have another test.
fn check_signed(file: &str, exceptions: &str, finish: impl FnOnce(CaseResults), name: &'static str) {
    let Some(file) = corpus::json(file) else { return };
    let mut results = CaseResults::new(name, exceptions);
    for (group, case) in corpus::groups(&file) {
        if case["jws"].is_null() {
            continue;
        }
        // One case is in the JSON serialization.
        let token = case["jws"].as_str().map_or_else(|| case["jws"].to_string(), str::to_owned);
        let accepted = corpus::accepts(&corpus::table(keys_of(group)), &token);
        results.record(&case["tcId"], case["result"] == "valid", accepted);
    }
    finish(results);
}

#[test]
fn verifies_the_json_web_signature_vectors() {
    let exceptions = include_str!("../../../tests/data/exceptions/wycheproof_json_web_signature.txt");
    let finish = |results: CaseResults| results.finish(36, 365);
    check_signed("wycheproof/json_web_signature_test.json", exceptions, finish, "json_web_signature");
}

#[test]
fn verifies_the_json_web_key_vectors() {
    let exceptions = include_str!("../../../tests/data/exceptions/wycheproof_json_web_key.txt");
    let finish = |results: CaseResults| results.finish(6, 20);
    check_signed("wycheproof/json_web_key_test.json", exceptions, finish, "json_web_key");
}

/// Unusable keys of that file are skipped for the right reason, and not only because the signature is invalid.
#[test]
fn skips_unusable_keys_for_the_expected_reason() {
    let Some(file) = corpus::json("wycheproof/json_web_key_test.json") else { return };
    let mut rejected = Vec::new();
    for (group, case) in corpus::groups(&file) {
        for key in keys_of(group)["keys"].as_array().expect("keys") {
            if let Some(reason) = skip_reason(key) {
                rejected.push(format!("{} {reason}", case["tcId"]));
            }
        }
    }
    let expected: Vec<&str> =
        include_str!("../../../tests/data/rejections/wycheproof_json_web_key.txt").lines().collect();
    assert_eq!(rejected, expected);
}

/// Returns why a key set skips a public key, or why a secret is rejected.
fn skip_reason(key: &Value) -> Option<String> {
    if let Some(secret) = key["k"].as_str() {
        let Some(algorithm) = Algorithm::from_name(key["alg"].as_str()?) else {
            return Some("no algorithm of a signature".to_owned());
        };
        let bound = Secret::from_base64url(secret).and_then(|secret| secret.bind(algorithm));
        return bound.err().map(|error| format!("{error:?}"));
    }
    let set = KeySet::from_jwks(json!({ "keys": [key] }).to_string()).expect("a set");
    set.skipped().next().map(|skipped| format!("{:?}", skipped.reason()))
}

#[test]
fn verifies_the_json_web_crypto_vectors() {
    let finish = |results: CaseResults| results.finish(4, 45);
    check_signed("wycheproof/json_web_crypto_test.json", "", finish, "json_web_crypto");
}

/// Rules 47 and 51: a JWE is rejected without parsing, whatever its `alg`, `zip` or `p2c`.
#[test]
fn rejects_encrypted_tokens_without_parsing_them() {
    let mut tried = 0;
    for file in ["json_web_encryption_test", "json_web_crypto_test"] {
        let Some(file) = corpus::json(&format!("wycheproof/{file}.json")) else { return };
        for case in corpus::groups(&file).map(|(_, case)| &case["jwe"]).filter(|jwe| !jwe.is_null()) {
            tried += 1;
            let token = case.as_str().map_or_else(|| case.to_string(), str::to_owned);
            let error = UnverifiedToken::parse(&token).map(drop).expect_err("rejected");
            let expected = match token.matches('.').count() {
                _ if token.contains([' ', '\n']) => TokenError::WhiteSpace,
                4 => TokenError::Encrypted,
                _ => TokenError::NotAJwt,
            };
            assert_eq!(error, expected, "{token}");
        }
    }
    assert_eq!(tried, 139 + 34);
}

/// Rule 46: a key for key agreement does not verify signatures.
#[test]
fn skips_x25519_keys() {
    let Some(file) = corpus::json("wycheproof/x25519_jwk_test.json") else { return };
    let (mut skipped, mut others) = (0, 0);
    for (_, case) in corpus::groups(&file) {
        let key = &case["public"];
        let set = KeySet::from_jwks(json!({ "keys": [key] }).to_string()).expect("a set");
        match set.skipped().next().map(SkippedKey::reason) {
            Some(_) => skipped += 1,
            // A few cases have a key of another type instead of X25519. That key may verify.
            None => {
                assert!(key["crv"] != "X25519" && key["crv"] != "X448", "{key}");
                others += 1;
            }
        }
        let private = json!({ "keys": [&case["private"]] }).to_string();
        assert!(KeySet::from_jwks(private).expect("a set").is_empty(), "{}", case["tcId"]);
    }
    assert_eq!((skipped, others), (528, 3));
}
