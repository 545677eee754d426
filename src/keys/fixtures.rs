//! Public keys from examples of the RFCs, and functions that change one member of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::keys::jwk::{PrivateKeys, PublishedKey};
use crate::keys::set::KeySet;
use crate::keys::table::{Found, KeyOrigin, KeyTable};
use crate::keys::verify::VerifyingKey;
use crate::token::Algorithm;

/// RFC 7515 §A.2.
pub(super) const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;

/// RFC 7520 §3.3.
pub(super) const RSA_7520: &str = r#"{"kty":"RSA","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}"#;

/// RFC 7638 §3.1.
pub(super) const RSA_7638: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

/// RFC 7515 §A.3.
pub(super) const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

pub(super) const P384: &str = r#"{"kty":"EC","crv":"P-384","x":"KnZ7IlXiwwMM-f0sD5O_J_Ars1_Q8EsRgalPVA9bns0lzrLg6qYy9nuGTAZgV5Jy","y":"jFKSMLa7VPuRCzXtUYA0aWzbkkznRtXFxoIezGrfLLW_JlasA8R14lfyY6SK016G"}"#;

/// RFC 7515 §A.4.
pub(super) const P521: &str = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;

/// RFC 8037 §A.2.
pub(super) const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// Returns the text of a member.
pub(super) fn member(jwk: &str, name: &str) -> String {
    serde_json::from_str::<Value>(jwk).expect("a fixture")[name].as_str().expect("text").to_owned()
}

/// Returns the bytes of a member in base64url.
pub(super) fn bytes(jwk: &str, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(member(jwk, name)).expect("base64url")
}

/// Returns a key with one member set to another value.
pub(super) fn changed(jwk: &str, member: &str, value: impl Into<Value>) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).expect("a fixture");
    jwk[member] = value.into();
    jwk.to_string()
}

/// Returns a key without one member.
pub(super) fn lacking(jwk: &str, member: &str) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).expect("a fixture");
    jwk.as_object_mut().expect("an object").remove(member).expect("the member");
    jwk.to_string()
}

pub(super) fn with_kid(jwk: &str, kid: &str) -> String {
    changed(jwk, "kid", kid)
}

pub(super) fn key_set<K: AsRef<str>>(keys: &[K]) -> KeySet {
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    KeySet::from_jwks(format!("{{\"keys\":[{}]}}", keys.join(","))).expect("a key set")
}

pub(super) fn remote<K: AsRef<str>>(keys: &[K], algorithms: &[Algorithm]) -> KeyTable {
    key_set(keys).bind(algorithms, KeyOrigin::Remote)
}

/// Returns the only key of a document, bound to an algorithm.
pub(super) fn verifying(jwk: &str, algorithm: Algorithm) -> VerifyingKey {
    let table = KeySet::from_jwks(jwk).expect("a key").bind(&[algorithm], KeyOrigin::Static);
    let Found::Keys(mut keys) = table.find(None, algorithm) else { panic!("{algorithm} is not supported") };
    keys.next().expect("one key").clone()
}

/// Parses a JWK.
pub(super) fn published(jwk: &str) -> PublishedKey {
    PublishedKey::from_json(jwk, PrivateKeys::Skipped).map_err(|skipped| skipped.reason).expect("a good key")
}
