//! `EmbeddedJwk` and `EmbeddedKey`: the public key that a JWS contains in its own header (`jwk`, RFC 7515 §4.1.3).

use std::borrow::Cow;

use crate::defaults;
use crate::keys::curve;
use crate::keys::error::SkipReason;
use crate::keys::jwk::{check_usage, key_algorithm};
use crate::keys::material::{Curve, Material};
use crate::keys::thumbprint::Thumbprint;
use crate::keys::verify::{Verifier, VerifyingKey};
use crate::token::{self, Algorithm, Segment, TokenError};

/// The public key in the header of a JWS, for the algorithm of the same header. It has passed the checks that cost little.
///
/// The rules are stricter than for a key set, because the sender writes the key for this purpose only: no private member,
/// whatever its value; no leading zero bytes, no padding; RSA keys of at most 4096 bits, because the cost of a verification
/// grows with the square of the size. So a key has only one encoding. `kid` and the members for certificates are ignored, and no
/// URL is read.
pub(crate) struct EmbeddedJwk {
    public: Public,
    thumbprint: Thumbprint,
    algorithm: Algorithm,
}

/// The public members of a key.
enum Public {
    /// The point may not be on the curve.
    Ec {
        curve: Curve,
        /// The coordinates, one after the other.
        coordinates: Vec<u8>,
    },
    Other(Material),
}

/// A public key out of the header of a JWS.
///
/// # Security
///
/// The sender chooses the key, so a signature by it proves only that the sender has the private key. The caller compares the
/// [thumbprint](EmbeddedJwk::thumbprint) with that of a key that it expects.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddedKey(VerifyingKey);

impl EmbeddedJwk {
    /// Parses a JWK, and makes the checks that cost little.
    pub(crate) fn parse(json: &str, algorithm: Algorithm) -> Result<Self, SkipReason> {
        let members = Members::parse(json)?;
        let key_type = required(members.kty)?;
        if key_type == "oct" {
            return Err(SkipReason::Symmetric);
        }
        check_usage(text(members.usage)?.as_deref(), members.operations)?;
        members.check_rsa_numbers()?;
        let own = key_algorithm(text(members.alg)?.as_deref())?;
        let (public, thumbprint) = members.public(&key_type)?;
        if own.is_some_and(|own| own != algorithm) || !public.supports(algorithm) {
            return Err(SkipReason::AlgorithmMismatch);
        }
        Ok(Self { public, thumbprint, algorithm })
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Checks that the point of an EC key is on its curve, for a key whose signature is not verified. The import makes the same check, but
    /// takes about six times as many instructions. Other keys are not checked.
    pub(crate) fn check_point(&self) -> Result<(), SkipReason> {
        match &self.public {
            Public::Ec { curve, coordinates } if !curve::has_point(*curve, coordinates) => Err(SkipReason::NotOnCurve),
            Public::Ec { .. } | Public::Other(_) => Ok(()),
        }
    }

    /// Makes the checks that cost as much as a verification, and prepares the key.
    pub(crate) fn into_key(self) -> Result<EmbeddedKey, SkipReason> {
        let key = match self.public {
            Public::Ec { curve, coordinates } => Material::ec_key(curve, &coordinates)?,
            Public::Other(material) => {
                let material = material.not_factorable()?;
                material.parsed_for(self.algorithm).ok_or(SkipReason::AlgorithmMismatch)?
            }
        };
        Ok(EmbeddedKey(VerifyingKey::new(None, self.algorithm, self.thumbprint, Verifier::Public(key))))
    }
}

impl Public {
    fn supports(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Ec { curve, .. } => algorithm == curve.algorithm(),
            Self::Other(material) => material.supports(algorithm),
        }
    }
}

impl EmbeddedKey {
    /// The estimated memory of a parsed key on a curve, in bytes.
    pub(crate) const CURVE_FOOTPRINT: usize = 1_024;

    /// The estimated memory of a parsed RSA key of 4096 bits, with the values that the library computes for its modulus.
    const RSA_FOOTPRINT: usize = 4_096;

    /// Returns whether `signature` is valid for `message` and this key.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature)
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        *self.0.thumbprint()
    }

    /// Returns the estimated memory of the key in bytes, outside of this value.
    pub(crate) fn footprint(&self) -> usize {
        match self.0.algorithm() {
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA => Self::CURVE_FOOTPRINT,
            _ => Self::RSA_FOOTPRINT,
        }
    }
}

/// The members of a JWK that matter: numbers in base64url without padding, others as JSON texts.
struct Members<'j> {
    kty: Option<&'j str>,
    crv: Option<&'j str>,
    x: Option<Cow<'j, str>>,
    y: Option<Cow<'j, str>>,
    n: Option<Cow<'j, str>>,
    e: Option<Cow<'j, str>>,
    usage: Option<&'j str>,
    operations: Option<&'j str>,
    alg: Option<&'j str>,
}

impl<'j> Members<'j> {
    /// Parses one object without private members.
    fn parse(json: &'j str) -> Result<Self, SkipReason> {
        let members = token::json_members(Segment::Header, json, MEMBERS).map_err(|error| match error {
            TokenError::DuplicateMember { .. } => SkipReason::DuplicateMember,
            _ => SkipReason::NotAnObject,
        })?;
        let [kty, crv, x, y, n, e, usage, operations, alg, private @ ..] = members;
        if private.iter().any(Option::is_some) {
            return Err(SkipReason::Private);
        }
        let [x, y, n, e] = [number(x)?, number(y)?, number(n)?, number(e)?];
        Ok(Self { kty, crv, x, y, n, e, usage, operations, alg })
    }

    /// Checks that RSA numbers have no leading zero bytes and at most 4096 bits.
    fn check_rsa_numbers(&self) -> Result<(), SkipReason> {
        for (number, reason) in [(&self.n, SkipReason::RsaModulus), (&self.e, SkipReason::RsaExponent)] {
            let Some(number) = number else { continue };
            let bytes = bytes(number)?;
            if bytes.first() == Some(&0) {
                return Err(reason);
            }
            if bytes.len() > defaults::MAX_PROOF_RSA_BITS / 8 {
                return Err(SkipReason::RsaSize);
            }
        }
        Ok(())
    }

    /// Parses the public members of a key type.
    fn public(&self, key_type: &str) -> Result<(Public, Thumbprint), SkipReason> {
        let material = match key_type {
            "EC" => {
                let curve = Curve::from_name(&required(self.crv)?).ok_or(SkipReason::Curve)?;
                return self.ec(curve);
            }
            "RSA" => Material::rsa_of_form(&bytes(present(&self.n)?)?, &bytes(present(&self.e)?)?)?,
            "OKP" if required(self.crv)? == "Ed25519" => Material::ed25519(&bytes(present(&self.x)?)?)?,
            "OKP" => return Err(SkipReason::Curve),
            _ => return Err(SkipReason::KeyType),
        };
        let thumbprint = material.thumbprint();
        Ok((Public::Other(material), thumbprint))
    }

    fn ec(&self, curve: Curve) -> Result<(Public, Thumbprint), SkipReason> {
        let (x, y) = (present(&self.x)?, present(&self.y)?);
        let mut coordinates = Vec::with_capacity(curve.length().saturating_mul(2));
        for (number, length) in [(x, curve.length()), (y, curve.length().saturating_mul(2))] {
            token::decode(Segment::Header, number.as_bytes(), &mut coordinates).map_err(|_| SkipReason::Encoding)?;
            if coordinates.len() != length {
                return Err(SkipReason::CoordinateLength);
            }
        }
        // Canonical base64url without padding, which is what a thumbprint is computed from.
        Ok((Public::Ec { curve, coordinates }, Thumbprint::of_ec_members(curve.name(), x, y)))
    }
}

/// Returns the text of a member that must be a string.
fn text(json: Option<&str>) -> Result<Option<Cow<'_, str>>, SkipReason> {
    json.map(|json| token::unquote(json).ok_or(SkipReason::MalformedMember)).transpose()
}

fn required(json: Option<&str>) -> Result<Cow<'_, str>, SkipReason> {
    text(json)?.ok_or(SkipReason::MissingMember)
}

/// Returns the text of a number, which must not be padded.
fn number(json: Option<&str>) -> Result<Option<Cow<'_, str>>, SkipReason> {
    let number = text(json)?;
    if number.as_deref().is_some_and(|number| number.ends_with('=')) { Err(SkipReason::Encoding) } else { Ok(number) }
}

fn present<'n>(number: &'n Option<Cow<'_, str>>) -> Result<&'n str, SkipReason> {
    number.as_deref().ok_or(SkipReason::MissingMember)
}

fn bytes(number: &str) -> Result<Vec<u8>, SkipReason> {
    token::decode_bytes(Segment::Header, number.as_bytes()).map_err(|_| SkipReason::Encoding)
}

/// The members in the order of [`Members`]. Those after `alg` are the members of RFC 7518 §6.2.2, §6.3.2 and §6.4.1, and of the key type
/// `AKP`, that must not be public.
const MEMBERS: [&str; 18] =
    ["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::fixtures::{self, ED25519, P256, P384, P521, RSA, changed, member, published};

    fn parse(jwk: &str, algorithm: Algorithm) -> Result<EmbeddedKey, SkipReason> {
        EmbeddedJwk::parse(jwk, algorithm)?.into_key()
    }

    fn error_of(jwk: &str, algorithm: Algorithm) -> SkipReason {
        parse(jwk, algorithm).map(drop).expect_err(jwk)
    }

    #[test]
    fn accepts_a_public_key_for_its_algorithm() {
        for (jwk, algorithm) in [
            (RSA, Algorithm::PS256),
            (RSA, Algorithm::RS256),
            (P256, Algorithm::ES256),
            (P384, Algorithm::ES384),
            (ED25519, Algorithm::EdDSA),
        ] {
            let key = parse(jwk, algorithm).expect("a good key");
            assert_eq!(key.thumbprint(), published(jwk).material.thumbprint());
        }
        for (jwk, algorithm) in [
            (RSA, Algorithm::ES256),
            (P384, Algorithm::ES256),
            (P256, Algorithm::EdDSA),
            (ED25519, Algorithm::ES256),
            (P256, Algorithm::HS256),
        ] {
            assert_eq!(error_of(jwk, algorithm), SkipReason::AlgorithmMismatch, "{jwk}");
        }
    }

    #[test]
    fn rejects_a_point_that_is_not_on_the_curve() {
        let check = |jwk: &str, algorithm| EmbeddedJwk::parse(jwk, algorithm).expect("well-formed").check_point();
        for (jwk, algorithm, length) in
            [(P256, Algorithm::ES256, 32), (P384, Algorithm::ES384, 48), (P521, Algorithm::ES512, 66)]
        {
            let members: Value = serde_json::from_str(jwk).expect("a fixture");
            assert_eq!(check(jwk, algorithm), Ok(()));
            for (name, other) in [("x", "y"), ("y", "x")] {
                let moved = changed(jwk, name, members[other].clone());
                assert_eq!(check(&moved, algorithm), Err(SkipReason::NotOnCurve), "{name} of {algorithm}");
            }
            // Neither (0, 0) nor numbers above the prime are a point.
            for byte in [0x00, 0xff] {
                let number = URL_SAFE_NO_PAD.encode(vec![byte; length]);
                let moved = changed(&changed(jwk, "x", &*number), "y", &*number);
                assert_eq!(check(&moved, algorithm), Err(SkipReason::NotOnCurve), "{byte} of {algorithm}");
            }
        }
        for (jwk, algorithm) in [(RSA, Algorithm::PS256), (ED25519, Algorithm::EdDSA)] {
            assert_eq!(check(jwk, algorithm), Ok(()));
        }
    }

    #[test]
    fn ignores_members_that_do_not_describe_the_key() {
        let members: [(&str, Value); 8] = [
            ("kid", json!(7)),
            ("x5c", json!(["MIIB"])),
            ("x5t", json!(1)),
            ("x5u", json!("https://elsewhere.example/")),
            ("jku", json!("https://elsewhere.example/")),
            ("use", json!("sig")),
            ("key_ops", json!(["verify"])),
            ("alg", json!("ES256")),
        ];
        for (name, value) in members {
            let key = parse(&changed(P256, name, value), Algorithm::ES256).expect(name);
            assert_eq!(key.thumbprint(), published(P256).material.thumbprint());
        }
        assert!(parse(&changed(ED25519, "alg", "Ed25519"), Algorithm::EdDSA).is_ok());
    }

    #[test]
    fn rejects_private_members_of_any_value() {
        for jwk in [RSA, P256, ED25519] {
            let algorithm = if jwk == RSA { Algorithm::PS256 } else { Algorithm::ES256 };
            for name in &MEMBERS[9..] {
                for value in [json!("AQAB"), json!(""), json!(null), json!([]), json!(0)] {
                    assert_eq!(error_of(&changed(jwk, name, value), algorithm), SkipReason::Private, "{name}");
                }
            }
        }
        assert_eq!(error_of(r#"{"kty":"oct","k":"c2VjcmV0"}"#, Algorithm::HS256), SkipReason::Private);
        assert_eq!(error_of(r#"{"kty":"oct"}"#, Algorithm::ES256), SkipReason::Symmetric);
    }

    #[test]
    fn rejects_a_second_encoding_of_a_number() {
        for (jwk, name, algorithm, reason) in [
            (RSA, "n", Algorithm::PS256, SkipReason::RsaModulus),
            (RSA, "e", Algorithm::PS256, SkipReason::RsaExponent),
        ] {
            let number = fixtures::bytes(jwk, name);
            for zeros in [&[0][..], &[0, 0], &[0, 0, 0]] {
                let longer = URL_SAFE_NO_PAD.encode([zeros, &number].concat());
                assert_eq!(error_of(&changed(jwk, name, longer), algorithm), reason, "{name}");
            }
            assert_eq!(error_of(&changed(jwk, name, "AA"), algorithm), reason, "{name}");
        }
        for (jwk, name, algorithm) in [
            (RSA, "e", Algorithm::PS256),
            (P256, "x", Algorithm::ES256),
            (P256, "y", Algorithm::ES256),
            (ED25519, "x", Algorithm::EdDSA),
        ] {
            let padded = member(jwk, name) + "=";
            assert_eq!(error_of(&changed(jwk, name, padded), algorithm), SkipReason::Encoding, "{name}");
            for value in ["", "AA", "+/+/"] {
                let error = error_of(&changed(jwk, name, value), algorithm);
                let reasons = [SkipReason::CoordinateLength, SkipReason::RsaExponent, SkipReason::Encoding];
                assert!(reasons.contains(&error), "{name} {error:?}");
            }
        }
    }

    #[test]
    fn rejects_rsa_keys_below_2048_and_above_4096_bits() {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        for (bytes, expected) in [(128, false), (255, false), (256, true), (512, true), (513, false), (1024, false)] {
            let jwk = changed(RSA, "n", encode(&vec![0xff; bytes]));
            assert_eq!(parse(&jwk, Algorithm::PS256).is_ok(), expected, "{bytes}");
            if !expected {
                assert_eq!(error_of(&jwk, Algorithm::PS256), SkipReason::RsaSize, "{bytes}");
            }
        }
    }

    #[test]
    fn rejects_keys_that_a_key_set_would_skip() {
        for (jwk, algorithm, reason) in [
            ("null".to_owned(), Algorithm::ES256, SkipReason::NotAnObject),
            ("[]".to_owned(), Algorithm::ES256, SkipReason::NotAnObject),
            ("{}".to_owned(), Algorithm::ES256, SkipReason::MissingMember),
            (changed(P256, "use", "enc"), Algorithm::ES256, SkipReason::Use),
            (changed(P256, "key_ops", json!(["sign"])), Algorithm::ES256, SkipReason::Operations),
            (changed(P256, "key_ops", json!(["verify", "verify"])), Algorithm::ES256, SkipReason::Operations),
            (changed(P256, "alg", "ES384"), Algorithm::ES256, SkipReason::AlgorithmMismatch),
            (changed(P256, "alg", "ES256K"), Algorithm::ES256, SkipReason::Algorithm),
            (changed(P256, "crv", "secp256k1"), Algorithm::ES256, SkipReason::Curve),
            (changed(ED25519, "crv", "X25519"), Algorithm::EdDSA, SkipReason::Curve),
            (changed(P256, "y", "A".repeat(43)), Algorithm::ES256, SkipReason::NotOnCurve),
            (changed(ED25519, "x", "A".repeat(43)), Algorithm::EdDSA, SkipReason::WeakPoint),
            (P256.replacen('{', r#"{"x":"","#, 1), Algorithm::ES256, SkipReason::DuplicateMember),
        ] {
            assert_eq!(error_of(&jwk, algorithm), reason, "{jwk}");
        }
    }
}
