//! Conversions from and to the types of `jsonwebtoken` 12.
//!
//! Only its types are used. Its functions need a process-global crypto provider and panic without one.

use std::fmt;

use jsonwebtoken_12::jwk::{Jwk, JwkSet};
use jsonwebtoken_12::{AlgorithmFamily, DecodingKey, DecodingKeyKind};

use crate::defaults;
use crate::keys::der;
use crate::keys::error::{KeyError, SkipReason};
use crate::keys::jwk::{PrivateKeys, PublishedKey};
use crate::keys::material::{Curve, Material, UNCOMPRESSED};
use crate::keys::secret::{Secret, SecretError};
use crate::keys::set::KeySet;
use crate::token::Algorithm;

/// Checks each key separately, like [`KeySet::from_jwks`], as far as `jsonwebtoken` has preserved its members.
///
/// # Security
///
/// When `jsonwebtoken` parses an RSA, EC or OKP key, it drops the private members, and the first of two members with the same
/// name. So this conversion cannot detect a key that was published with its private key; `from_jwks` skips such a key. If
/// you have the document, pass it to [`KeySet::from_jwks`].
impl TryFrom<JwkSet> for KeySet {
    type Error = KeyError;

    fn try_from(set: JwkSet) -> Result<Self, KeyError> {
        let keys: Vec<String> = set.keys.iter().map(to_json).collect::<Result<_, _>>()?;
        Self::import(keys.iter().map(String::as_str), defaults::MAX_KEYS, PrivateKeys::Skipped)
    }
}

/// Checks one key, as far as `jsonwebtoken` has preserved its members.
///
/// # Security
///
/// This conversion cannot detect a key that was published with its private key: see the conversion from [`JwkSet`].
impl TryFrom<Jwk> for KeySet {
    type Error = KeyError;

    fn try_from(key: Jwk) -> Result<Self, KeyError> {
        let key = PublishedKey::from_json(&to_json(&key)?, PrivateKeys::Skipped).map_err(|skipped| skipped.reason)?;
        Ok(Self::from_key(key))
    }
}

/// Checks a public key. A shared secret is [`KeyError::Secret`]; convert it to a [`Secret`] instead. A private key is
/// [`KeyError::PrivateKey`], as in [`KeySet::from_pem`].
impl TryFrom<DecodingKey> for KeySet {
    type Error = KeyError;

    fn try_from(key: DecodingKey) -> Result<Self, KeyError> {
        let material = match (key.family(), key.kind()) {
            (AlgorithmFamily::Hmac, _) => Err(KeyError::Secret),
            (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => Ok(Material::rsa(n, e)?),
            (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => rsa(der),
            (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(bytes)) => ec(bytes),
            (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(bytes)) => ed25519(bytes),
            (_, DecodingKeyKind::RsaModulusExponent { .. }) => Err(SkipReason::KeyType.into()),
        };
        Ok(Self::from_materials(vec![material?]))
    }
}

/// Converts a shared secret. A public key is [`SecretError::NotSymmetric`]; convert it to a [`KeySet`] instead.
impl TryFrom<DecodingKey> for Secret {
    type Error = SecretError;

    fn try_from(key: DecodingKey) -> Result<Self, SecretError> {
        match (key.family(), key.kind()) {
            (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(bytes)) => Self::new(bytes.as_slice()),
            _ => Err(SecretError::NotSymmetric),
        }
    }
}

impl TryFrom<jsonwebtoken_12::Algorithm> for Algorithm {
    type Error = UnsupportedAlgorithmError;

    fn try_from(other: jsonwebtoken_12::Algorithm) -> Result<Self, UnsupportedAlgorithmError> {
        ALGORITHMS.iter().find(|(_, theirs)| *theirs == other).map(|(ours, _)| *ours).ok_or(UnsupportedAlgorithmError)
    }
}

/// `jsonwebtoken` has no ES512.
impl TryFrom<Algorithm> for jsonwebtoken_12::Algorithm {
    type Error = UnsupportedAlgorithmError;

    fn try_from(algorithm: Algorithm) -> Result<Self, UnsupportedAlgorithmError> {
        ALGORITHMS
            .iter()
            .find(|(ours, _)| *ours == algorithm)
            .map(|(_, theirs)| *theirs)
            .ok_or(UnsupportedAlgorithmError)
    }
}

/// The other library has no such algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UnsupportedAlgorithmError;

impl fmt::Display for UnsupportedAlgorithmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other library has no such algorithm")
    }
}

impl std::error::Error for UnsupportedAlgorithmError {}

fn to_json(key: &Jwk) -> Result<String, KeyError> {
    serde_json::to_string(key).map_err(|_| KeyError::Json)
}

fn rsa(der: &[u8]) -> Result<Material, KeyError> {
    der::rsa_public_key(der)
        .or_else(|error| if error == KeyError::Der { der::subject_public_key(der) } else { Err(error) })
}

/// Parses a point, whose length determines the curve, or DER: `DecodingKey::from_ec_der` accepts any bytes.
fn ec(bytes: &[u8]) -> Result<Material, KeyError> {
    let is_point_of = |curve: &Curve| {
        bytes.strip_prefix(&[UNCOMPRESSED]).is_some_and(|point| point.len() == curve.length().saturating_mul(2))
    };
    match Curve::ALL.into_iter().find(is_point_of) {
        Some(curve) => Ok(Material::ec_point(curve, bytes)?),
        None => der::subject_public_key(bytes),
    }
}

fn ed25519(bytes: &[u8]) -> Result<Material, KeyError> {
    if bytes.len() == 32 { Ok(Material::ed25519(bytes)?) } else { der::subject_public_key(bytes) }
}

const ALGORITHMS: [(Algorithm, jsonwebtoken_12::Algorithm); 12] = [
    (Algorithm::RS256, jsonwebtoken_12::Algorithm::RS256),
    (Algorithm::RS384, jsonwebtoken_12::Algorithm::RS384),
    (Algorithm::RS512, jsonwebtoken_12::Algorithm::RS512),
    (Algorithm::PS256, jsonwebtoken_12::Algorithm::PS256),
    (Algorithm::PS384, jsonwebtoken_12::Algorithm::PS384),
    (Algorithm::PS512, jsonwebtoken_12::Algorithm::PS512),
    (Algorithm::ES256, jsonwebtoken_12::Algorithm::ES256),
    (Algorithm::ES384, jsonwebtoken_12::Algorithm::ES384),
    (Algorithm::EdDSA, jsonwebtoken_12::Algorithm::EdDSA),
    (Algorithm::HS256, jsonwebtoken_12::Algorithm::HS256),
    (Algorithm::HS384, jsonwebtoken_12::Algorithm::HS384),
    (Algorithm::HS512, jsonwebtoken_12::Algorithm::HS512),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::fixtures::{ED25519, P256, P384, P521, RSA, changed, member, published, with_kid};

    macro_rules! pem {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/data/keys/", $name, ".pem"))
        };
    }

    fn jwk(json: &str) -> Jwk {
        serde_json::from_str(json).expect("a JWK")
    }

    fn verifies_as(set: Result<KeySet, KeyError>, expected: &str) {
        let table = set.expect("a key").bind(Algorithm::ALL, crate::keys::table::KeyOrigin::Static);
        assert!(table.usable() == 1 && table.contains(&published(expected).material.thumbprint()));
    }

    #[test]
    fn checks_each_jwk_of_a_set_separately() {
        for key in [RSA, P256, P384, P521, ED25519] {
            verifies_as(KeySet::try_from(jwk(key)), key);
        }
        let encryption = changed(&with_kid(RSA, "2"), "use", "enc");
        let set = JwkSet { keys: vec![jwk(RSA), jwk(&encryption), jwk(r#"{"kty":"oct","k":"AAAA"}"#), jwk(P256)] };
        let set = KeySet::try_from(set).expect("a set");
        let skipped: Vec<_> = set.skipped().map(|key| (key.position(), key.reason(), key.kid())).collect();
        assert_eq!(set.len(), 2);
        assert_eq!(skipped, [(1, SkipReason::Use, Some("2")), (2, SkipReason::Symmetric, None)]);
    }

    #[test]
    fn applies_the_checks_of_from_jwks() {
        for (key, reason) in [
            (changed(RSA, "e", "AQ"), SkipReason::RsaExponent),
            (changed(RSA, "key_ops", json!(["encrypt"])), SkipReason::Operations),
            (changed(RSA, "alg", "RSA-OAEP"), SkipReason::Algorithm),
            (changed(RSA, "alg", "ES256"), SkipReason::AlgorithmMismatch),
            (changed(ED25519, "x", "AAAA"), SkipReason::CoordinateLength),
            (changed(ED25519, "crv", "P-256"), SkipReason::Curve),
        ] {
            assert_eq!(KeySet::try_from(jwk(&key)).map(drop), Err(KeyError::Unusable { reason }), "{key}");
        }
    }

    #[test]
    fn accepts_decoding_keys_from_every_constructor() {
        for (key, expected) in [
            (DecodingKey::from_rsa_components(&member(RSA, "n"), &member(RSA, "e")), RSA),
            (DecodingKey::from_rsa_pem(pem!("rsa-2048.spki")), RSA),
            (DecodingKey::from_rsa_pem(pem!("rsa-2048.pkcs1")), RSA),
            (DecodingKey::from_ec_components(&member(P256, "x"), &member(P256, "y")), P256),
            (DecodingKey::from_ec_pem(pem!("p384.spki")), P384),
            (DecodingKey::from_ed_components(&member(ED25519, "x")), ED25519),
            (DecodingKey::from_ed_pem(pem!("ed25519.spki")), ED25519),
            (DecodingKey::from_jwk(&jwk(P521)), P521),
        ] {
            verifies_as(KeySet::try_from(key.expect("a key")), expected);
        }
    }

    /// `jsonwebtoken` parses a private key as its public key, as the conversions document. If this test fails, `jsonwebtoken`
    /// preserves the private members, and the conversions can reject such a key.
    #[test]
    fn jsonwebtoken_drops_the_private_members_of_a_key() {
        for key in [RSA, P256, ED25519] {
            let private = changed(key, "d", "AQAB");
            assert_eq!(KeySet::from_jwks(&private).map(drop), Err(KeyError::Unusable { reason: SkipReason::Private }));
            assert_eq!(jwk(&private), jwk(key));
        }
        // It preserves all members of an unknown key type.
        let private = r#"{"kty":"AKP","priv":"AAAA"}"#;
        for skipped in [KeySet::from_jwks(private), KeySet::try_from(jwk(private))] {
            assert_eq!(skipped.map(drop), Err(KeyError::Unusable { reason: SkipReason::Private }));
        }
    }

    /// `DecodingKey::from_rsa_pem` accepts a private key, and `from_*_der` accepts any bytes.
    #[test]
    fn detects_private_keys_in_decoding_keys() {
        let pem = private_rsa_pem();
        assert_eq!(KeySet::from_pem(&pem).map(drop), Err(KeyError::PrivateKey));
        let pem = DecodingKey::from_rsa_pem(pem.as_bytes()).expect("jsonwebtoken accepts it");
        let version_and_key = [0x30, 7, 2, 1, 1, 4, 2, 1, 2];
        for key in [pem, DecodingKey::from_ec_der(&version_and_key), DecodingKey::from_ed_der(&version_and_key)] {
            assert_eq!(KeySet::try_from(key).map(drop), Err(KeyError::PrivateKey));
        }
    }

    /// An RSAPrivateKey with small numbers, in PEM. Only its structure matters.
    fn private_rsa_pem() -> String {
        let mut der = vec![0x30, 27, 2, 1, 0];
        (1..9).for_each(|number| der.extend([2, 1, number]));
        let base64 = base64::engine::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        format!("-----BEGIN RSA PRIVATE KEY-----\n{base64}\n-----END RSA PRIVATE KEY-----\n")
    }

    #[test]
    fn rejects_unusable_decoding_keys() {
        let unusable = |reason| Err(KeyError::Unusable { reason });
        let x = member(P256, "x");
        let not_uncompressed = DecodingKey::from_ec_der(&[&[6], [7; 64].as_slice()].concat());
        for (key, error) in [
            (DecodingKey::from_rsa_raw_components(&[0xff; 128], &[1, 0, 1]), unusable(SkipReason::RsaSize)),
            (DecodingKey::from_rsa_raw_components(&[], &[]), unusable(SkipReason::RsaModulus)),
            (DecodingKey::from_rsa_der(b"junk"), Err(KeyError::Der)),
            (DecodingKey::from_ec_components(&x, &x).expect("a key"), unusable(SkipReason::NotOnCurve)),
            (DecodingKey::from_ec_der(&[]), Err(KeyError::Der)),
            (not_uncompressed, Err(KeyError::Der)),
            (DecodingKey::from_ed_der(&[0; 32]), unusable(SkipReason::WeakPoint)),
            (DecodingKey::from_ed_der(&[1; 31]), Err(KeyError::Der)),
            (DecodingKey::from_secret(&[7; 32]).expect("a key"), Err(KeyError::Secret)),
        ] {
            assert_eq!(KeySet::try_from(key).map(drop), error);
        }
    }

    #[test]
    fn converts_secrets_and_rejects_public_keys_as_secrets() {
        let secret = |bytes: &[u8]| Secret::try_from(DecodingKey::from_secret(bytes).expect("not empty"));
        assert!(secret(&[7; 32]).expect("a secret").bind(Algorithm::HS256).is_ok());
        assert_eq!(secret(pem!("p256.spki")).map(drop), Err(SecretError::KeyFile));
        let public = DecodingKey::from_ed_der(&[7; 32]);
        assert_eq!(Secret::try_from(public).map(drop), Err(SecretError::NotSymmetric));
    }

    #[test]
    fn algorithms_convert_to_algorithms_with_the_same_name() {
        for algorithm in Algorithm::ALL.iter().copied().filter(|algorithm| *algorithm != Algorithm::ES512) {
            let other = jsonwebtoken_12::Algorithm::try_from(algorithm).expect("supported");
            assert_eq!(format!("{other:?}"), algorithm.name());
            assert_eq!(Algorithm::try_from(other), Ok(algorithm));
        }
        assert_eq!(jsonwebtoken_12::Algorithm::try_from(Algorithm::ES512), Err(UnsupportedAlgorithmError));
    }
}
