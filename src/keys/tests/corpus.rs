//! Public corpora: the reader, and the way from a corpus's JWK to a verdict over a JWS.

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

pub(super) use self::exceptions::Verdicts;

/// Reads a JSON file of the vectors; `None` where there are none.
pub(super) fn json(name: &str) -> Option<Value> {
    vectors::read(name).map(|text| serde_json::from_slice(&text).expect(name))
}

/// Reads a text file of the vectors; `None` where there are none.
pub(super) fn text(name: &str) -> Option<String> {
    vectors::read(name).map(|text| String::from_utf8(text).expect(name).trim().to_owned())
}

/// The groups of a Wycheproof file, and their cases.
pub(super) fn groups(file: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let groups = file["testGroups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["tests"].as_array().expect("tests").iter().map(move |case| (group, case)))
}

/// A JWK or a JWK set as an issuer would be given it, for every algorithm that there is: shared secrets on one side,
/// public keys on the other, never both.
pub(super) fn table(jwks: &Value) -> KeyTable {
    table_for(jwks, &Algorithm::ALL)
}

/// The same for an API that lists these algorithms.
pub(super) fn table_for(jwks: &Value, algorithms: &[Algorithm]) -> KeyTable {
    let keys = jwks["keys"].as_array().map_or_else(|| vec![jwks], |keys| keys.iter().collect());
    if keys.iter().all(|key| key["kty"] == "oct") {
        return KeyTable::of_secrets(keys.into_iter().filter_map(secret).collect());
    }
    let set = KeySet::from_jwks(jwks.to_string());
    set.map_or_else(|_| KeyTable::of_secrets(Vec::new()), |set| set.bind(algorithms, KeyOrigin::Static))
}

fn secret(jwk: &Value) -> Option<VerifyingKey> {
    let mut secret = Secret::from_base64url(jwk["k"].as_str()?).ok()?;
    if let Some(kid) = jwk["kid"].as_str() {
        secret = secret.with_kid(kid).ok()?;
    }
    secret.bind(Algorithm::from_name(jwk["alg"].as_str()?)?).ok()
}

/// The same key without its private members, which no key set may hold.
pub(super) fn public(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    let members = jwk.as_object_mut().expect("a JWK");
    ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().for_each(|name| drop(members.remove(*name)));
    jwk
}

/// Says whether a token's signature holds under one of these keys; its payload may be anything.
pub(super) fn accepts(keys: &KeyTable, token: &str) -> bool {
    let Ok(jws) = jws::take_apart(token) else { return false };
    let Found::Keys(mut candidates) = keys.find(jws.header.kid(), jws.header.algorithm()) else { return false };
    candidates.any(|key| key.verify(jws.signing_input, &jws.signature))
}

/// Says whether a text is refused already for its form.
pub(super) fn take_apart_fails(token: &str) -> bool {
    jws::take_apart(token).is_err()
}
