//! Conversions from and to the types of `jsonwebtoken`, which applications may already hold.
//!
//! Only its types are used: its functions need a process-global crypto provider and panic without one.

use std::fmt;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind};

use crate::defaults;
use crate::keys::der;
use crate::keys::error::{KeyError, SkipReason};
use crate::keys::jwk::PublishedKey;
use crate::keys::material::{Curve, Material};
use crate::keys::secret::{Secret, SecretError};
use crate::keys::set::KeySet;
use crate::token::Algorithm;

/// Vets the keys of a set one by one, as [`KeySet::from_jwks`] does.
impl TryFrom<JwkSet> for KeySet {
    type Error = KeyError;

    fn try_from(set: JwkSet) -> Result<Self, KeyError> {
        let keys: Vec<String> = set.keys.iter().map(to_json).collect::<Result<_, _>>()?;
        Self::import(keys.iter().map(String::as_str), defaults::MAX_KEYS)
    }
}

/// Vets one key.
impl TryFrom<Jwk> for KeySet {
    type Error = KeyError;

    fn try_from(key: Jwk) -> Result<Self, KeyError> {
        let key = PublishedKey::from_json(&to_json(&key)?).map_err(|refused| refused.reason)?;
        Ok(Self::of_key(key))
    }
}

/// Vets a public key; a shared secret is refused here and becomes a [`Secret`].
impl TryFrom<DecodingKey> for KeySet {
    type Error = KeyError;

    fn try_from(key: DecodingKey) -> Result<Self, KeyError> {
        let material = match (key.family(), key.kind()) {
            (AlgorithmFamily::Hmac, _) => Err(KeyError::Secret),
            (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => Ok(Material::rsa(n, e)?),
            (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => rsa(der),
            (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(octets)) => ec(octets),
            (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(octets)) => ed25519(octets),
            (_, DecodingKeyKind::RsaModulusExponent { .. }) => Err(SkipReason::KeyType.into()),
        };
        Ok(Self::of_materials(vec![material?]))
    }
}

/// Takes a shared secret over; public keys are refused here and become a [`KeySet`].
impl TryFrom<DecodingKey> for Secret {
    type Error = SecretError;

    fn try_from(key: DecodingKey) -> Result<Self, SecretError> {
        match (key.family(), key.kind()) {
            (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(octets)) => Self::bytes(octets.as_slice()),
            _ => Err(SecretError::NotSymmetric),
        }
    }
}

impl TryFrom<jsonwebtoken::Algorithm> for Algorithm {
    type Error = NoCounterpart;

    fn try_from(other: jsonwebtoken::Algorithm) -> Result<Self, NoCounterpart> {
        COUNTERPARTS.iter().find(|(_, theirs)| *theirs == other).map(|(ours, _)| *ours).ok_or(NoCounterpart)
    }
}

/// `jsonwebtoken` has no ES512.
impl TryFrom<Algorithm> for jsonwebtoken::Algorithm {
    type Error = NoCounterpart;

    fn try_from(algorithm: Algorithm) -> Result<Self, NoCounterpart> {
        COUNTERPARTS.iter().find(|(ours, _)| *ours == algorithm).map(|(_, theirs)| *theirs).ok_or(NoCounterpart)
    }
}

/// The other library has no such algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCounterpart;

impl fmt::Display for NoCounterpart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other library has no such algorithm")
    }
}

impl std::error::Error for NoCounterpart {}

fn to_json(key: &Jwk) -> Result<String, KeyError> {
    serde_json::to_string(key).map_err(|_| KeyError::Json)
}

fn rsa(der: &[u8]) -> Result<Material, KeyError> {
    der::rsa_public_key(der)
        .or_else(|error| if error == KeyError::Der { der::subject_public_key(der) } else { Err(error) })
}

/// `jsonwebtoken` holds the bare point, whose length tells the curve; `from_ec_der` may hold DER as well.
fn ec(octets: &[u8]) -> Result<Material, KeyError> {
    match Curve::of_point(octets) {
        Some(curve) => Ok(Material::ec_point(curve, octets)?),
        None => der::subject_public_key(octets),
    }
}

fn ed25519(octets: &[u8]) -> Result<Material, KeyError> {
    if octets.len() == 32 { Ok(Material::ed25519(octets)?) } else { der::subject_public_key(octets) }
}

const COUNTERPARTS: [(Algorithm, jsonwebtoken::Algorithm); 12] = [
    (Algorithm::RS256, jsonwebtoken::Algorithm::RS256),
    (Algorithm::RS384, jsonwebtoken::Algorithm::RS384),
    (Algorithm::RS512, jsonwebtoken::Algorithm::RS512),
    (Algorithm::PS256, jsonwebtoken::Algorithm::PS256),
    (Algorithm::PS384, jsonwebtoken::Algorithm::PS384),
    (Algorithm::PS512, jsonwebtoken::Algorithm::PS512),
    (Algorithm::ES256, jsonwebtoken::Algorithm::ES256),
    (Algorithm::ES384, jsonwebtoken::Algorithm::ES384),
    (Algorithm::EdDSA, jsonwebtoken::Algorithm::EdDSA),
    (Algorithm::HS256, jsonwebtoken::Algorithm::HS256),
    (Algorithm::HS384, jsonwebtoken::Algorithm::HS384),
    (Algorithm::HS512, jsonwebtoken::Algorithm::HS512),
];
