//! The public part of a key set, to be stored.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::keys::json::{Document, Members};
use crate::keys::jwk::{PrivateKeys, PublishedKey};
use crate::keys::thumbprint::Thumbprint;
use crate::token::CertificateHashes;

/// Returns the JWK Set of the usable keys of a document for which `is_included` returns true, or `None` if it is no key set.
///
/// A key has only the members that this crate reads for its `kty`, all of them public. So the result contains no private key and no secret,
/// whatever the document contains.
pub(crate) fn public_jwks(document: &[u8], is_included: impl Fn(&Thumbprint) -> bool) -> Option<String> {
    let Ok(Document::Set(keys)) = Document::split(document) else { return None };
    let keys: Vec<String> = keys.into_iter().filter_map(|key| public_jwk(key, &is_included)).collect();
    Some(format!("{{\"keys\":[{}]}}", keys.join(",")))
}

fn public_jwk(key: &RawValue, is_included: impl Fn(&Thumbprint) -> bool) -> Option<String> {
    let published = PublishedKey::from_json(key.get(), PrivateKeys::Accepted).ok()?;
    let members = Members::parse(key.get()).filter(|_| is_included(&published.material.thumbprint()))?;
    let mut jwk = String::new();
    for name in NAMES_AND_USES.iter().chain(published.material.member_names()) {
        // The other members that this crate reads have been checked with the key.
        let value = members.unique(name).ok()?.filter(|value| !name.starts_with("x5t") || is_hash(value));
        if let Some(value) = value {
            let separator = if jwk.is_empty() { '{' } else { ',' };
            write!(jwk, "{separator}\"{name}\":{value}").ok()?;
        }
    }
    jwk.push('}');
    Some(jwk)
}

fn is_hash(json: &str) -> bool {
    serde_json::from_str::<String>(json).is_ok_and(|text| CertificateHashes::is_hash(&text))
}

/// The public members that keys of every type may have.
const NAMES_AND_USES: [&str; 7] = ["kty", "kid", "use", "key_ops", "alg", "x5t", "x5t#S256"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeySet;
    use crate::keys::fixtures::{ED25519, P256, RSA, changed, with_kid};

    fn set_of(keys: &[&str]) -> String {
        format!("{{\"keys\":[{}]}}", keys.join(","))
    }

    fn thumbprints(document: &str) -> Vec<Thumbprint> {
        KeySet::from_jwks(document).expect("a key set").thumbprints().collect()
    }

    #[test]
    fn returns_the_same_usable_keys() {
        let rsa = with_kid(&changed(&changed(RSA, "use", "sig"), "alg", "PS256"), "é\"");
        let rsa = changed(&changed(&rsa, "x5t", "dGh1bWI"), "x5c", serde_json::json!(["MIIB"]));
        let document = set_of(&[&rsa, "null", P256, r#"{"kty":"oct","k":"c2VjcmV0"}"#, ED25519]);
        let exported = public_jwks(document.as_bytes(), |_| true).expect("a key set");
        assert_eq!(thumbprints(&exported), thumbprints(&document));
        let members: serde_json::Value = serde_json::from_str(&exported).expect("JSON");
        assert_eq!(members["keys"].as_array().map(Vec::len), Some(3));
        let first = members["keys"][0].as_object().expect("a key");
        assert_eq!(first.keys().collect::<Vec<_>>(), ["alg", "e", "kid", "kty", "n", "use", "x5t"]);
        assert_eq!((&first["kid"], &first["alg"]), (&"é\"".into(), &"PS256".into()));
        assert_eq!(public_jwks(exported.as_bytes(), |_| true), Some(exported));
    }

    #[test]
    fn contains_no_private_member_and_no_secret() {
        let secret = "c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUtc3RvcmVk";
        let mut keys: Vec<String> = ["d", "p", "q", "dp", "dq", "qi", "k", "priv", "x5t", "note"]
            .iter()
            .map(|name| changed(RSA, name, serde_json::json!({ "x": secret })))
            .collect();
        // Members of another `kty` have no meaning, so they may contain anything.
        keys.extend(["crv", "x", "y"].iter().map(|name| changed(RSA, name, secret)));
        keys.extend(["d", "p", "k", "n", "e", "note"].iter().map(|name| changed(P256, name, secret)));
        keys.extend(["y", "n", "e"].iter().map(|name| changed(ED25519, name, secret)));
        keys.push(format!(r#"{{"kty":"oct","k":"{secret}"}}"#));
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let document = set_of(&keys).replacen('{', &format!("{{\"secret\":\"{secret}\","), 1);
        let exported = public_jwks(document.as_bytes(), |_| true).expect("a key set");
        assert!(!exported.contains(secret), "{exported}");
        assert!(thumbprints(&exported).len() > 1);
    }

    #[test]
    fn omits_other_keys_and_documents_that_are_no_key_set() {
        let document = set_of(&[RSA, P256]);
        let [rsa, p256] = thumbprints(&document)[..] else { panic!("two keys") };
        for key in [rsa, p256] {
            let exported = public_jwks(document.as_bytes(), |thumbprint| *thumbprint == key).expect("a key set");
            assert_eq!(thumbprints(&exported), [key]);
        }
        assert_eq!(public_jwks(document.as_bytes(), |_| false).as_deref(), Some(r#"{"keys":[]}"#));
        for other in ["", "{}", "[]", RSA, "<html>"] {
            assert_eq!(public_jwks(other.as_bytes(), |_| true), None, "{other}");
        }
    }
}
