//! Public keys in DER: SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) and RSAPublicKey (RFC 8017 §A.1.1).

use spki::der::asn1::UintRef;
use spki::der::oid::ObjectIdentifier;
use spki::der::{Decode as _, Reader as _, SliceReader};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::keys::error::{KeyError, SkipReason};
use crate::keys::material::{Curve, Material};

/// Reads a SubjectPublicKeyInfo.
pub(super) fn subject_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Der)?;
    let key = info.subject_public_key.as_bytes().ok_or(KeyError::Der)?;
    match Kind::of(&info.algorithm)? {
        Kind::Rsa => rsa_public_key(key),
        Kind::Ec(curve) => Ok(Material::ec_point(curve, key)?),
        Kind::Ed25519 => Ok(Material::ed25519(key)?),
    }
}

/// Reads an RSAPublicKey.
pub(super) fn rsa_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let (n, e) = modulus_and_exponent(der).map_err(|_| KeyError::Der)?;
    Ok(Material::rsa(n.as_bytes(), e.as_bytes())?)
}

/// Says whether these octets are a public key, be it good or bad.
pub(super) fn is_public_key(der: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::from_der(der).is_ok() || modulus_and_exponent(der).is_ok()
}

/// What an algorithm identifier names.
enum Kind {
    Rsa,
    Ec(Curve),
    Ed25519,
}

impl Kind {
    fn of(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Self, KeyError> {
        match (algorithm.oid, algorithm.parameters) {
            // RFC 3279 §2.3.1 wants the parameters NULL; they are also met absent.
            (RSA_ENCRYPTION, parameters) if parameters.is_none_or(|any| any.is_null()) => Ok(Self::Rsa),
            (EC_PUBLIC_KEY, Some(parameters)) => {
                // RFC 5480 §2.1.1: a named curve, never parameters of the sender's own.
                let curve = parameters.decode_as::<ObjectIdentifier>().map_err(|_| SkipReason::Curve)?;
                Ok(Self::Ec(named_curve(curve).ok_or(SkipReason::Curve)?))
            }
            // RFC 8410 §3: no parameters.
            (ED25519, None) => Ok(Self::Ed25519),
            _ => Err(SkipReason::KeyType.into()),
        }
    }
}

fn named_curve(curve: ObjectIdentifier) -> Option<Curve> {
    Some(match curve {
        SECP256R1 => Curve::P256,
        SECP384R1 => Curve::P384,
        SECP521R1 => Curve::P521,
        _ => return None,
    })
}

fn modulus_and_exponent(der: &[u8]) -> spki::der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(der)?;
    let numbers = reader.sequence(|sequence| Ok((UintRef::decode(sequence)?, UintRef::decode(sequence)?)))?;
    reader.finish(numbers)
}

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
