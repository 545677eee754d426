//! Public keys in DER: SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) and RSAPublicKey (RFC 8017 §A.1.1).

use spki::der::asn1::{AnyRef, UintRef};
use spki::der::oid::ObjectIdentifier;
use spki::der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::keys::error::{KeyError, SkipReason};
use crate::keys::material::{Curve, Material};

/// Parses a SubjectPublicKeyInfo.
pub(super) fn subject_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| not_public(der))?;
    let key = info.subject_public_key.as_bytes().ok_or(KeyError::Der)?;
    match KeyType::from_algorithm(&info.algorithm)? {
        KeyType::Rsa => rsa_public_key(key),
        KeyType::Ec(curve) => Ok(Material::ec_point(curve, key)?),
        KeyType::Ed25519 => Ok(Material::ed25519(key)?),
    }
}

/// Parses an RSAPublicKey.
pub(super) fn rsa_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let (n, e) = modulus_and_exponent(der).map_err(|_| not_public(der))?;
    Ok(Material::rsa(n.as_bytes(), e.as_bytes())?)
}

/// Returns whether these bytes are the encoding of a public key, usable or not.
pub(super) fn is_public_key(der: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::from_der(der).is_ok() || modulus_and_exponent(der).is_ok()
}

/// Returns whether these bytes have the form of a certificate (RFC 5280 §4.1): the part that is signed, the algorithm, and the signature.
pub(crate) fn is_certificate(der: &[u8]) -> bool {
    let tags = || {
        let mut reader = SliceReader::new(der)?;
        let tags = reader.sequence(|parts| {
            let mut tag = || AnyRef::decode(parts).map(|part| part.tag());
            Ok([tag()?, tag()?, tag()?])
        })?;
        reader.finish(tags)
    };
    let tags: spki::der::Result<[Tag; 3]> = tags();
    tags == Ok([Tag::Sequence, Tag::Sequence, Tag::BitString])
}

/// Returns why these bytes are no public key.
///
/// Each form of a private key is a sequence that starts with a version of 0 or 1: RSAPrivateKey (RFC 8017 §A.1.2),
/// ECPrivateKey (RFC 5915 §3), OneAsymmetricKey (RFC 5958 §2). A public key starts with its algorithm or its modulus.
fn not_public(der: &[u8]) -> KeyError {
    let version = AnyRef::from_der(der).and_then(|any| {
        any.tag().assert_eq(Tag::Sequence)?;
        u8::decode(&mut SliceReader::new(any.value())?)
    });
    if matches!(version, Ok(0 | 1)) { KeyError::PrivateKey } else { KeyError::Der }
}

/// The key type of an algorithm identifier.
enum KeyType {
    Rsa,
    Ec(Curve),
    Ed25519,
}

impl KeyType {
    fn from_algorithm(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Self, KeyError> {
        match (algorithm.oid, algorithm.parameters) {
            // RFC 3279 §2.3.1 requires NULL parameters. In practice they are also absent.
            (RSA_ENCRYPTION, parameters) if parameters.is_none_or(|any| any.is_null()) => Ok(Self::Rsa),
            (EC_PUBLIC_KEY, Some(parameters)) => {
                // RFC 5480 §2.1.1: a named curve, never explicit parameters.
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

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519_SPKI: &str =
        "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn knows_the_form_of_a_certificate() {
        let part = sequence(&[&[2, 1, 1]]);
        let certificate = sequence(&[&part, &part, &[3, 2, 0, 1]]);
        assert!(is_certificate(&certificate));
        for other in [
            Vec::new(),
            b"text".to_vec(),
            bytes(ED25519_SPKI),
            rsa_key(),
            sequence(&[&part, &part, &[4, 2, 0, 1]]),
            sequence(&[&part, &part]),
            sequence(&[&certificate]),
            [certificate.clone(), vec![0]].concat(),
            [certificate.clone(), certificate.clone()].concat(),
            certificate.split_last().expect("bytes").1.to_vec(),
            sequence(&[&part, &part, &[3, 2, 0, 1], &[5, 0]]),
        ] {
            assert!(!is_certificate(&other), "{other:?}");
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("hex")).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte")).collect()
    }

    fn error_of(der: &[u8]) -> KeyError {
        subject_public_key(der).map(drop).expect_err("rejected")
    }

    /// Encodes a sequence, with a length of one byte if it is short, else of two bytes.
    fn sequence(parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let [high, low] = u16::try_from(content.len()).expect("short").to_be_bytes();
        let header = if content.len() < 128 { vec![0x30, low] } else { vec![0x30, 0x82, high, low] };
        [header, content].concat()
    }

    /// An RSAPublicKey with a modulus of 2048 set bits.
    fn rsa_key() -> Vec<u8> {
        sequence(&[&[2, 0x82, 1, 1, 0], &[0xff; 256], &[2, 3, 1, 0, 1]])
    }

    fn rsa_spki(parameters: &[u8]) -> Vec<u8> {
        let algorithm = sequence(&[&bytes("06092a864886f70d010101"), parameters]);
        let key = rsa_key();
        let [high, low] = u16::try_from(key.len().saturating_add(1)).expect("short").to_be_bytes();
        sequence(&[&algorithm, &[3, 0x82, high, low, 0], &key])
    }

    #[test]
    fn accepts_one_encoding_and_rejects_trailing_bytes() {
        let good = bytes(ED25519_SPKI);
        assert!(subject_public_key(&good).is_ok());
        assert!(rsa_public_key(&rsa_key()).is_ok());
        assert_eq!(error_of(&[good.as_slice(), &[0]].concat()), KeyError::Der);
        assert_eq!(error_of(&good[..43]), KeyError::Der);
        assert_eq!(error_of(&[]), KeyError::Der);
        let longer = [rsa_key().as_slice(), &[0]].concat();
        assert_eq!(rsa_public_key(&longer).map(drop), Err(KeyError::Der));
        let negative = sequence(&[&[2, 1, 0xff], &[2, 1, 3]]);
        assert_eq!(rsa_public_key(&negative).map(drop), Err(KeyError::Der));
        // A bit string with seven unused bits.
        assert_eq!(error_of(&bytes(&ED25519_SPKI.replace("032100", "032107"))), KeyError::Der);
    }

    #[test]
    fn detects_private_keys_in_every_form() {
        let algorithm = sequence(&[&bytes("06032b6570")]);
        for private in [
            // RSAPrivateKey: version, n, e, d, ...
            sequence(&[&[2, 1, 0], &[2, 1, 3], &[2, 1, 5], &[2, 1, 7]]),
            // ECPrivateKey, and OneAsymmetricKey with and without the public key.
            sequence(&[&[2, 1, 1], &[4, 2, 1, 2]]),
            sequence(&[&[2, 1, 0], &algorithm, &[4, 2, 1, 2]]),
            sequence(&[&[2, 1, 1], &algorithm, &[4, 2, 1, 2], &[0x81, 1, 0]]),
        ] {
            assert_eq!(error_of(&private), KeyError::PrivateKey);
            assert_eq!(rsa_public_key(&private).map(drop), Err(KeyError::PrivateKey));
        }
        let other_version = sequence(&[&[2, 1, 2], &[2, 1, 3], &[2, 1, 5]]);
        for der in [&[][..], b"junk", &sequence(&[]), &sequence(&[&[4, 1, 0]]), &other_version, &[2, 1, 0]] {
            assert_eq!((error_of(der), rsa_public_key(der).map(drop)), (KeyError::Der, Err(KeyError::Der)), "{der:?}");
        }
    }

    #[test]
    fn rejects_parameters_that_do_not_match_the_key_type() {
        assert!(subject_public_key(&rsa_spki(&[5, 0])).is_ok());
        assert!(subject_public_key(&rsa_spki(&[])).is_ok());
        let key_type = KeyError::Unusable { reason: SkipReason::KeyType };
        assert_eq!(error_of(&rsa_spki(&[2, 1, 0])), key_type);
        let with_null = ED25519_SPKI.replace("302a300506032b6570", "302c300706032b65700500");
        assert_eq!(error_of(&bytes(&with_null)), key_type);
        // id-RSASSA-PSS: its parameters restrict the key, and they are not supported.
        let pss = sequence(&[&sequence(&[&bytes("06092a864886f70d01010a")]), &[3, 2, 0, 0]]);
        assert_eq!(error_of(&pss), key_type);
        let curve = KeyError::Unusable { reason: SkipReason::Curve };
        // Explicit curve parameters (CVE-2020-0601), abbreviated.
        let explicit = sequence(&[&sequence(&[&bytes("06072a8648ce3d0201"), &sequence(&[&[2, 1, 1]])]), &[3, 2, 0, 4]]);
        assert_eq!(error_of(&explicit), curve);
        let no_curve = sequence(&[&sequence(&[&bytes("06072a8648ce3d0201")]), &[3, 2, 0, 4]]);
        assert_eq!(error_of(&no_curve), key_type);
    }
}
