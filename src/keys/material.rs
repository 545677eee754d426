//! Checked public keys (RFC 7518 §6, RFC 8037 §2). Only keys that are safe to verify with are accepted.

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};

use crate::keys::ed25519;
use crate::keys::error::SkipReason;
use crate::keys::rsa;
use crate::keys::thumbprint::Thumbprint;
use crate::token::Algorithm;

/// A public key that meets every rule of its type.
#[derive(Clone)]
pub(super) struct Material {
    public: Public,
    thumbprint: Thumbprint,
}

#[derive(Clone)]
enum Public {
    /// Big-endian, without leading zeros. Parsed for each algorithm, since a parsed key is bound to one algorithm.
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    Ec {
        curve: Curve,
        key: ParsedPublicKey,
    },
    Ed25519 {
        key: ParsedPublicKey,
    },
}

/// A curve of RFC 7518 §6.2.1.1. Each curve has one algorithm (§3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Returns the length of a coordinate in bytes.
    pub(super) const fn length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::P521 => Algorithm::ES512,
        }
    }

    fn parameters(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        }
    }
}

impl Material {
    /// Creates an RSA key from modulus and exponent, both big-endian. Leading zero bytes are removed: RFC 7518 §2 forbids them,
    /// but some implementations write a sign byte (§6.3.1.1), or a fixed length. They do not change the key or its thumbprint.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, SkipReason> {
        Self::rsa_of_form(n, e)?.not_factorable()
    }

    /// Creates an RSA key like [`rsa`](Self::rsa), but does not check whether the modulus can be factored.
    pub(super) fn rsa_of_form(n: &[u8], e: &[u8]) -> Result<Self, SkipReason> {
        let (n, e) = (rsa::without_leading_zeros(n), rsa::without_leading_zeros(e));
        rsa::check_form(n, e)?;
        Ok(Self { public: Public::Rsa { n: n.into(), e: e.into() }, thumbprint: Thumbprint::rsa(n, e) })
    }

    /// Rejects an RSA key whose modulus can be factored.
    pub(super) fn not_factorable(self) -> Result<Self, SkipReason> {
        match &self.public {
            Public::Rsa { n, .. } if rsa::is_factorable(n) => Err(SkipReason::RsaFactorable),
            Public::Rsa { .. } | Public::Ec { .. } | Public::Ed25519 { .. } => Ok(self),
        }
    }

    /// Creates an EC key from its coordinates.
    pub(super) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, SkipReason> {
        if x.len() != curve.length() || y.len() != curve.length() {
            return Err(SkipReason::CoordinateLength);
        }
        let key = Self::ec_key(curve, &[x, y].concat())?;
        Ok(Self { public: Public::Ec { curve, key }, thumbprint: Thumbprint::ec(curve.name(), x, y) })
    }

    /// Imports the key with these coordinates, which have the length of the field.
    pub(super) fn ec_key(curve: Curve, coordinates: &[u8]) -> Result<ParsedPublicKey, SkipReason> {
        // The point is encoded here (SEC 1 §2.3.3), since aws-lc-rs also accepts DER and compressed points. It tries DER first, and
        // checks a point in DER once less.
        let header = if curve == Curve::P256 { &DER_HEADER_OF_P256[..] } else { &[] };
        let point = [header, &[UNCOMPRESSED], coordinates].concat();
        ParsedPublicKey::new(curve.parameters(), point).map_err(|_| SkipReason::NotOnCurve)
    }

    /// Creates an EC key from its uncompressed point (SEC 1 §2.3.3).
    pub(super) fn ec_point(curve: Curve, point: &[u8]) -> Result<Self, SkipReason> {
        let Some((&UNCOMPRESSED, coordinates)) = point.split_first() else { return Err(SkipReason::Encoding) };
        let (x, y) = coordinates.split_at_checked(curve.length()).ok_or(SkipReason::CoordinateLength)?;
        Self::ec(curve, x, y)
    }

    /// Creates an Ed25519 key from its encoded point.
    pub(super) fn ed25519(point: &[u8]) -> Result<Self, SkipReason> {
        let point: &[u8; 32] = point.try_into().map_err(|_| SkipReason::CoordinateLength)?;
        if ed25519::is_weak(point) {
            return Err(SkipReason::WeakPoint);
        }
        let key = ParsedPublicKey::new(&signature::ED25519, point).map_err(|_| SkipReason::NotOnCurve)?;
        Ok(Self { public: Public::Ed25519 { key }, thumbprint: Thumbprint::okp(ED25519, point) })
    }

    pub(super) fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Returns the names of the JWK members of the public key (RFC 7518 §6, RFC 8037 §2).
    pub(super) fn member_names(&self) -> &'static [&'static str] {
        match &self.public {
            Public::Rsa { .. } => &["n", "e"],
            Public::Ec { .. } => &["crv", "x", "y"],
            Public::Ed25519 { .. } => &["crv", "x"],
        }
    }

    /// Returns whether the key type can verify this algorithm.
    pub(super) fn supports(&self, algorithm: Algorithm) -> bool {
        match &self.public {
            Public::Rsa { .. } => rsa_parameters(algorithm).is_some(),
            Public::Ec { curve, .. } => algorithm == curve.algorithm(),
            Public::Ed25519 { .. } => algorithm == Algorithm::EdDSA,
        }
    }

    /// Returns the key parsed for one algorithm, or `None` if the key type does not support it.
    pub(super) fn parsed_for(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        match &self.public {
            Public::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa_parameters(algorithm)?).ok()
            }
            Public::Ec { key, .. } | Public::Ed25519 { key } => self.supports(algorithm).then(|| key.clone()),
        }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

const ED25519: &str = "Ed25519";
pub(super) const UNCOMPRESSED: u8 = 4;

/// What precedes the point of P-256 in a SubjectPublicKeyInfo (RFC 5480 §2).
const DER_HEADER_OF_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixtures::{ED25519, P256, P384, P521, RSA, bytes, published};

    fn error_of(material: Result<Material, SkipReason>) -> SkipReason {
        material.map(drop).expect_err("rejected")
    }

    #[test]
    fn removes_leading_zero_bytes_of_rsa_numbers() {
        let (n, e) = (bytes(RSA, "n"), bytes(RSA, "e"));
        for zeros in [&[0][..], &[0, 0], &[0; 1000]] {
            for (n, e) in [(&[zeros, &n].concat(), &e), (&n, &[zeros, &e].concat())] {
                let key = Material::rsa(n, e).expect("good");
                assert_eq!(key.thumbprint(), published(RSA).material.thumbprint());
            }
        }
        assert_eq!(error_of(Material::rsa(&[0; 256], &e)), SkipReason::RsaModulus);
        assert_eq!(error_of(Material::rsa(&n, &[0; 3])), SkipReason::RsaExponent);
    }

    #[test]
    fn rejects_an_rsa_modulus_that_can_be_factored() {
        // 1 is a power of 65537 modulo each of the primes that the check divides by.
        let product: u128 =
            [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157].into_iter().product();
        let product: Vec<u8> = product.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        let modulus = |last: u8| [&product, &[0; 260][..], &[last]].concat();
        assert_eq!(error_of(Material::rsa(&modulus(1), &[1, 0, 1])), SkipReason::RsaFactorable);
        assert!(Material::rsa(&modulus(3), &[1, 0, 1]).is_ok());
        assert!(Material::rsa_of_form(&modulus(1), &[1, 0, 1]).is_ok());
    }

    #[test]
    fn rejects_coordinates_without_the_full_length_of_their_field() {
        for (jwk, curve) in [(P256, Curve::P256), (P384, Curve::P384), (P521, Curve::P521)] {
            let (x, y) = (bytes(jwk, "x"), bytes(jwk, "y"));
            assert!(Material::ec(curve, &x, &y).is_ok());
            let with_leading_zero = [&[0], x.as_slice()].concat();
            assert_eq!(error_of(Material::ec(curve, &with_leading_zero, &y)), SkipReason::CoordinateLength);
            assert_eq!(error_of(Material::ec(curve, &x[1..], &y)), SkipReason::CoordinateLength);
            assert_eq!(error_of(Material::ec(curve, &x, &[])), SkipReason::CoordinateLength);
            // The same bytes, split at another position.
            let moved = [x.as_slice(), &y[..1]].concat();
            assert_eq!(error_of(Material::ec(curve, &moved, &y[1..])), SkipReason::CoordinateLength);
            for other in Curve::ALL.into_iter().filter(|other| *other != curve) {
                assert_eq!(error_of(Material::ec(other, &x, &y)), SkipReason::CoordinateLength);
            }
        }
    }

    #[test]
    fn rejects_points_that_are_not_on_the_curve() {
        let (x, mut y) = (bytes(P256, "x"), bytes(P256, "y"));
        y[31] ^= 1;
        assert_eq!(error_of(Material::ec(Curve::P256, &x, &y)), SkipReason::NotOnCurve);
        for off in [[0; 32], [0xff; 32]] {
            assert_eq!(error_of(Material::ec(Curve::P256, &off, &off)), SkipReason::NotOnCurve);
        }
    }

    #[test]
    fn accepts_uncompressed_points_only() {
        let (x, y) = (bytes(P256, "x"), bytes(P256, "y"));
        let point = [&[4], x.as_slice(), &y].concat();
        assert!(Material::ec_point(Curve::P256, &point).is_ok());
        for start in [0, 2, 3, 5, 6, 7] {
            let other = [&[start], x.as_slice(), &y].concat();
            assert_eq!(error_of(Material::ec_point(Curve::P256, &other)), SkipReason::Encoding);
        }
        let compressed = [&[3], x.as_slice()].concat();
        assert_eq!(error_of(Material::ec_point(Curve::P256, &compressed)), SkipReason::Encoding);
        assert_eq!(error_of(Material::ec_point(Curve::P256, &point[..20])), SkipReason::CoordinateLength);
        assert_eq!(error_of(Material::ec_point(Curve::P256, &point[..64])), SkipReason::CoordinateLength);
        assert_eq!(error_of(Material::ec_point(Curve::P256, &[])), SkipReason::Encoding);
    }

    #[test]
    fn rejects_ed25519_points_that_are_weak_or_have_another_length() {
        let x = bytes(ED25519, "x");
        assert!(Material::ed25519(&x).is_ok());
        for wrong in [&x[..31], &[&[0], x.as_slice()].concat(), &[]] {
            assert_eq!(error_of(Material::ed25519(wrong)), SkipReason::CoordinateLength);
        }
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(error_of(Material::ed25519(&identity)), SkipReason::WeakPoint);
        assert_eq!(error_of(Material::ed25519(&[0xff; 32])), SkipReason::WeakPoint);
    }

    #[test]
    fn parses_for_exactly_the_supported_algorithms() {
        for jwk in [RSA, P256, P384, P521, ED25519] {
            let material = published(jwk).material;
            for &algorithm in Algorithm::ALL {
                assert_eq!(material.parsed_for(algorithm).is_some(), material.supports(algorithm), "{algorithm}");
            }
        }
    }
}
