//! The public part of a key, vetted (RFC 7518 §6, RFC 8037 §2): only what is safe to verify with gets in.

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};

use crate::defaults;
use crate::keys::error::SkipReason;
use crate::keys::thumbprint::Thumbprint;
use crate::token::Algorithm;

/// A public key that has passed every rule of its type.
#[derive(Clone)]
pub(super) struct Material {
    public: Public,
    thumbprint: Thumbprint,
}

#[derive(Clone)]
enum Public {
    /// Big-endian, without leading zeros. Parsed once for each algorithm, since a parsed key is bound to one.
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

/// A curve of RFC 7518 §6.2.1.1; each has one algorithm (§3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The curve whose uncompressed points are as long as this.
    pub(super) fn of_point(point: &[u8]) -> Option<Self> {
        let length = point.strip_prefix(&[UNCOMPRESSED])?.len();
        Self::ALL.into_iter().find(|curve| length == curve.length().saturating_mul(2))
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Octets of one coordinate.
    const fn length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn algorithm(self) -> Algorithm {
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
    /// An RSA key of its modulus and exponent, both big-endian.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, SkipReason> {
        // RFC 7518 §6.3.1.1: some implementations put one zero octet before the modulus.
        let n = n.strip_prefix(&[0]).unwrap_or(n);
        let (Some(1..), Some(last)) = (n.first(), n.last()) else { return Err(SkipReason::RsaModulus) };
        if !(defaults::MIN_RSA_BITS..=defaults::MAX_RSA_BITS).contains(&bits(n)) {
            return Err(SkipReason::RsaSize);
        }
        if last.is_multiple_of(2) {
            return Err(SkipReason::RsaModulus);
        }
        if !is_safe_exponent(e) {
            return Err(SkipReason::RsaExponent);
        }
        Ok(Self { public: Public::Rsa { n: n.into(), e: e.into() }, thumbprint: Thumbprint::rsa(n, e) })
    }

    /// An EC key of its coordinates.
    pub(super) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, SkipReason> {
        if x.len() != curve.length() || y.len() != curve.length() {
            return Err(SkipReason::CoordinateLength);
        }
        // SEC 1 §2.3.3, written here: the backend would take DER and compressed points too.
        let point = [&[UNCOMPRESSED], x, y].concat();
        let key = ParsedPublicKey::new(curve.parameters(), point).map_err(|_| SkipReason::NotOnCurve)?;
        Ok(Self { public: Public::Ec { curve, key }, thumbprint: Thumbprint::ec(curve.name(), x, y) })
    }

    /// An EC key of its uncompressed point (SEC 1 §2.3.3).
    pub(super) fn ec_point(curve: Curve, point: &[u8]) -> Result<Self, SkipReason> {
        let Some((&UNCOMPRESSED, coordinates)) = point.split_first() else { return Err(SkipReason::Encoding) };
        let (x, y) = coordinates.split_at_checked(curve.length()).ok_or(SkipReason::CoordinateLength)?;
        Self::ec(curve, x, y)
    }

    /// An Ed25519 key.
    pub(super) fn ed25519(point: &[u8]) -> Result<Self, SkipReason> {
        let point: &[u8; 32] = point.try_into().map_err(|_| SkipReason::CoordinateLength)?;
        if is_weak_point(point) {
            return Err(SkipReason::WeakPoint);
        }
        let key = ParsedPublicKey::new(&signature::ED25519, point).map_err(|_| SkipReason::NotOnCurve)?;
        Ok(Self { public: Public::Ed25519 { key }, thumbprint: Thumbprint::okp(ED25519, point) })
    }

    pub(super) fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Says whether the key can verify this algorithm at all.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        match &self.public {
            Public::Rsa { .. } => rsa_parameters(algorithm).is_some(),
            Public::Ec { curve, .. } => algorithm == curve.algorithm(),
            Public::Ed25519 { .. } => algorithm == Algorithm::EdDSA,
        }
    }

    /// The key parsed for one algorithm; `None` if it does not fit.
    pub(super) fn parsed_for(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        match &self.public {
            Public::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa_parameters(algorithm)?).ok()
            }
            Public::Ec { key, .. } | Public::Ed25519 { key } => self.fits(algorithm).then(|| key.clone()),
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

/// The length of a big-endian number that has no leading zero octet.
fn bits(number: &[u8]) -> usize {
    let leading = number.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or_default());
    number.len().saturating_mul(8).saturating_sub(leading)
}

/// An odd number of at least 3 and less than 2³³, in as few octets as it needs: `e` of 1 makes every signature its own
/// message, and large ones burn our time.
fn is_safe_exponent(e: &[u8]) -> bool {
    if !matches!(e.first(), Some(1..)) || e.len() > 8 {
        return false;
    }
    let value = e.iter().fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
    (3..1 << 33).contains(&value) && !value.is_multiple_of(2)
}

/// Says whether an encoded Ed25519 point has small order or is not in canonical form (RFC 8032 §5.1.3).
///
/// Under a point of small order some signatures hold for almost any message: anybody can make them.
fn is_weak_point(encoded: &[u8; 32]) -> bool {
    let mut y = *encoded;
    // The highest bit is the sign of x, and each of these y is as weak with either sign.
    y[31] &= 0x7f;
    let is_canonical = y.iter().rev().lt(FIELD_PRIME.iter().rev());
    !is_canonical || SMALL_ORDER_Y.contains(&y)
}

/// 2²⁵⁵ − 19, little-endian.
const FIELD_PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

/// The y of the eight points of small order: 1, −1, 0 and the two of order eight (order 1, 2, 4, 8, 8).
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = FIELD_PRIME;
        minus_one[0] = 0xec;
        minus_one
    },
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const ED25519: &str = "Ed25519";
const UNCOMPRESSED: u8 = 4;
