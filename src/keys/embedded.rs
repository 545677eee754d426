//! `EmbeddedJwk` and `EmbeddedKey`: the public key that a JWS contains in its own header (`jwk`, RFC 7515 §4.1.3).

use crate::defaults;
use crate::keys::error::SkipReason;
use crate::keys::json::Members;
use crate::keys::jwk::{bytes, check_use, key_algorithm, material_of_form, required_text, text};
use crate::keys::material::Material;
use crate::keys::thumbprint::Thumbprint;
use crate::keys::verify::{Verifier, VerifyingKey};
use crate::token::Algorithm;

/// The public key in the header of a JWS, for the algorithm of the same header. It has passed the checks that cost little.
///
/// The rules are stricter than for a key set, because the sender writes the key for this purpose only: no private member,
/// whatever its value; no leading zero bytes, no padding; RSA keys of at most 4096 bits, because the cost of a verification
/// grows with the square of the size. So a key has only one encoding. `kid` and the members for certificates are ignored, and no
/// URL is read.
pub(crate) struct EmbeddedJwk {
    material: Material,
    algorithm: Algorithm,
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
    /// Parses and checks a JWK.
    pub(crate) fn parse(json: &str, algorithm: Algorithm) -> Result<Self, SkipReason> {
        let members = Members::parse(json).ok_or(SkipReason::NotAnObject)?;
        if PRIVATE_MEMBERS.into_iter().any(|name| members.has(name)) {
            return Err(SkipReason::Private);
        }
        if members.has_duplicate() {
            return Err(SkipReason::DuplicateMember);
        }
        let key_type = required_text(&members, "kty")?;
        if key_type == "oct" {
            return Err(SkipReason::Symmetric);
        }
        check_use(&members)?;
        check_numbers(&members)?;
        let own = key_algorithm(&members)?;
        let material = material_of_form(&members, &key_type)?;
        if own.is_some_and(|own| own != algorithm) || !material.supports(algorithm) {
            return Err(SkipReason::AlgorithmMismatch);
        }
        Ok(Self { material, algorithm })
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        self.material.thumbprint()
    }

    /// Makes the checks of an RSA key that cost as much as a verification, and prepares the key.
    pub(crate) fn into_key(self) -> Result<EmbeddedKey, SkipReason> {
        let material = self.material.not_factorable()?;
        let key = material.parsed_for(self.algorithm).ok_or(SkipReason::AlgorithmMismatch)?;
        Ok(EmbeddedKey(VerifyingKey::new(None, self.algorithm, material.thumbprint(), Verifier::Public(key))))
    }
}

impl EmbeddedKey {
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
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA => CURVE_KEY_BYTES,
            _ => RSA_KEY_BYTES,
        }
    }
}

/// Checks that no number is padded, and that RSA numbers have no leading zero bytes and at most 4096 bits.
fn check_numbers(members: &Members<'_>) -> Result<(), SkipReason> {
    for name in ["n", "e", "x", "y"] {
        if text(members, name)?.is_some_and(|number| number.ends_with('=')) {
            return Err(SkipReason::Encoding);
        }
    }
    for (name, reason) in [("n", SkipReason::RsaModulus), ("e", SkipReason::RsaExponent)] {
        if !members.has(name) {
            continue;
        }
        let number = bytes(members, name)?;
        if number.first() == Some(&0) {
            return Err(reason);
        }
        if number.len() > defaults::MAX_PROOF_RSA_BITS / 8 {
            return Err(SkipReason::RsaSize);
        }
    }
    Ok(())
}

/// The memory of a parsed key on a curve.
const CURVE_KEY_BYTES: usize = 1_024;

/// The memory of a parsed RSA key of 4096 bits, with the values that the library computes for its modulus.
const RSA_KEY_BYTES: usize = 4_096;

/// The members of RFC 7518 §6.2.2, §6.3.2 and §6.4.1, and of the key type `AKP`, that must not be public.
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::fixtures::{ED25519, P256, P384, RSA, changed, published};

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
            for name in PRIVATE_MEMBERS {
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
        let member = |jwk: &str, name: &str| -> String {
            let jwk: Value = serde_json::from_str(jwk).expect("a fixture");
            jwk[name].as_str().expect("text").to_owned()
        };
        for (jwk, name, algorithm, reason) in [
            (RSA, "n", Algorithm::PS256, SkipReason::RsaModulus),
            (RSA, "e", Algorithm::PS256, SkipReason::RsaExponent),
        ] {
            use base64::Engine as _;
            let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let number = engine.decode(member(jwk, name)).expect("base64url");
            for zeros in [&[0][..], &[0, 0], &[0, 0, 0]] {
                let longer = engine.encode([zeros, &number].concat());
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
        use base64::Engine as _;
        let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
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
