//! Reads public test vectors, and verifies a JWS with the JWK of a test vector.

use serde_json::Value;

use crate::keys::table::{Found, KeyOrigin, KeyTable};
use crate::keys::verify::VerifyingKey;
use crate::keys::{KeySet, Secret};
use crate::token::Algorithm;
use crate::token::tests::jws;

#[path = "../../../tests/support/exceptions.rs"]
mod exceptions;
#[path = "../../../tests/support/vectors.rs"]
mod vectors;

pub(super) use self::exceptions::CaseResults;

/// Reads a JSON file of the test vectors. Returns `None` if the vectors are not installed.
pub(super) fn json(name: &str) -> Option<Value> {
    vectors::read(name).map(|text| serde_json::from_slice(&text).expect(name))
}

/// Reads a text file of the test vectors. Returns `None` if the vectors are not installed.
pub(super) fn text(name: &str) -> Option<String> {
    vectors::read(name).map(|text| String::from_utf8(text).expect(name).trim().to_owned())
}

/// Returns each case of a Wycheproof file with its group.
pub(super) fn groups(file: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let groups = file["testGroups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["tests"].as_array().expect("tests").iter().map(move |case| (group, case)))
}

/// Converts a JWK or a JWK Set to the key table of an issuer that lists every algorithm. The keys are either all secrets or
/// all public keys.
pub(super) fn table(jwks: &Value) -> KeyTable {
    table_for(jwks, Algorithm::ALL)
}

/// Converts a JWK or a JWK Set to the key table of an issuer that lists these algorithms.
pub(super) fn table_for(jwks: &Value, algorithms: &[Algorithm]) -> KeyTable {
    let keys = jwks["keys"].as_array().map_or_else(|| vec![jwks], |keys| keys.iter().collect());
    if keys.iter().all(|key| key["kty"] == "oct") {
        return KeyTable::from_secrets(keys.into_iter().filter_map(secret).collect());
    }
    let set = KeySet::from_jwks(jwks.to_string());
    set.map_or_else(|_| KeyTable::from_secrets(Vec::new()), |set| set.bind(algorithms, KeyOrigin::Static))
}

fn secret(jwk: &Value) -> Option<VerifyingKey> {
    let mut secret = Secret::from_base64url(jwk["k"].as_str()?).ok()?;
    if let Some(kid) = jwk["kid"].as_str() {
        secret = secret.with_kid(kid).ok()?;
    }
    secret.bind(Algorithm::from_name(jwk["alg"].as_str()?)?).ok()
}

/// Returns the key without its private members.
pub(super) fn public(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    let members = jwk.as_object_mut().expect("a JWK");
    ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().for_each(|name| drop(members.remove(*name)));
    jwk
}

/// Returns whether the signature of a token is valid for one of these keys. The payload is not parsed.
pub(super) fn accepts(keys: &KeyTable, token: &str) -> bool {
    let Ok(jws) = jws::parse(token) else { return false };
    let Found::Keys(mut candidates) = keys.find(jws.header.kid(), jws.header.algorithm()) else { return false };
    candidates.any(|key| key.verify(jws.signing_input, &jws.signature))
}

/// Returns whether a text is rejected because it is not a well-formed JWS.
pub(super) fn is_malformed(token: &str) -> bool {
    jws::parse(token).is_err()
}
