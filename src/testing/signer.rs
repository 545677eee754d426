//! Signing keys of a test issuer: one per algorithm, generated at the first use.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::testing::rsa_pool::PooledKey;
use crate::token::Algorithm;

/// A signing key that is bound to one algorithm, with the `kid` under which it is published.
#[derive(Debug)]
pub(super) struct TestKey {
    kid: Option<String>,
    algorithm: Algorithm,
    pair: Pair,
}

impl TestKey {
    /// Creates a key for `algorithm` with a unique `kid`.
    pub(super) fn new(algorithm: Algorithm, material: &Material) -> Self {
        let kid = (!algorithm.is_symmetric()).then(|| random_text(KID_BYTES));
        Self { kid, algorithm, pair: Pair::new(algorithm, material) }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the `kid`, or `None` for a shared secret, which is not published.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message)
    }

    /// Returns the public key as a JWK of only the members that describe the key; `None` for a shared secret.
    pub(super) fn bare_jwk(&self) -> Option<Value> {
        self.pair.jwk()
    }

    /// Returns the public key as JWK members, or `None` for a shared secret.
    pub(super) fn jwk(&self) -> Option<Value> {
        let mut jwk = self.bare_jwk()?;
        let members = jwk.as_object_mut()?;
        members.insert("use".to_owned(), json!("sig"));
        members.insert("kid".to_owned(), json!(self.kid));
        members.insert("alg".to_owned(), json!(self.algorithm.name()));
        Some(jwk)
    }

    /// Returns the public key as `PUBLIC KEY` PEM text (RFC 7468 §13), or an empty string for a shared secret.
    pub(super) fn public_key_pem(&self) -> String {
        self.pair.spki().map(|der| pem(&der)).unwrap_or_default()
    }
}

/// The RSA key pair and the secret that all keys between two rotations share.
///
/// All RSA algorithms share one key pair, so a token with the wrong RSA algorithm is valid except for its `alg`.
#[derive(Debug)]
pub(super) struct Material {
    rsa: OnceLock<Arc<PooledKey>>,
    secret: String,
}

impl Material {
    pub(super) fn new() -> Self {
        Self { rsa: OnceLock::new(), secret: random_text(SECRET_BYTES) }
    }

    /// Returns the shared secret: 64 characters, enough for HS512 (RFC 7518 §3.2).
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

enum Pair {
    Rsa { key: Arc<PooledKey>, encoding: &'static dyn RsaEncoding },
    Ecdsa { pair: EcdsaKeyPair, curve: &'static str },
    Ed25519(Ed25519KeyPair),
    Secret(Box<hmac::Key>),
}

impl Pair {
    fn new(algorithm: Algorithm, material: &Material) -> Self {
        let rsa = |encoding| Self::Rsa {
            key: Arc::clone(material.rsa.get_or_init(|| Arc::new(PooledKey::acquire()))),
            encoding,
        };
        let secret = |hash| Self::Secret(Box::new(hmac::Key::new(hash, material.secret.as_bytes())));
        match algorithm {
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::ES256 => Self::ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            Algorithm::ES384 => Self::ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            Algorithm::ES512 => Self::ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            Algorithm::EdDSA => Self::ed25519(),
            Algorithm::HS256 => secret(hmac::HMAC_SHA256),
            Algorithm::HS384 => secret(hmac::HMAC_SHA384),
            Algorithm::HS512 => secret(hmac::HMAC_SHA512),
        }
    }

    #[expect(clippy::expect_used, reason = "generating a key fails only without memory or entropy")]
    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        Self::Ecdsa { pair: EcdsaKeyPair::generate(algorithm).expect("memory and entropy suffice"), curve }
    }

    #[expect(clippy::expect_used, reason = "generating a key fails only without memory or entropy")]
    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect("memory and entropy suffice"))
    }

    #[expect(clippy::expect_used, reason = "a generated key signs messages of any length")]
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa { key, encoding } => {
                let mut signature = vec![0; key.pair().public_modulus_len()];
                let signed = key.pair().sign(*encoding, &SystemRandom::new(), message, &mut signature);
                signed.expect("2048 bits are enough for every padding");
                signature
            }
            Self::Ecdsa { pair, .. } => {
                pair.sign(&SystemRandom::new(), message).expect("the pair is whole").as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Secret(secret) => hmac::sign(secret, message).as_ref().to_vec(),
        }
    }

    /// Returns the members of RFC 7518 §6.2 and §6.3, RFC 8037 §2.
    fn jwk(&self) -> Option<Value> {
        match self {
            Self::Rsa { key, .. } => {
                let n = URL_SAFE_NO_PAD.encode(modulus(key.pair().public_key().as_ref())?);
                Some(json!({ "kty": "RSA", "n": n, "e": "AQAB" }))
            }
            Self::Ecdsa { pair, curve } => {
                let (_, point) = pair.public_key().as_ref().split_first()?;
                let (x, y) = point.split_at_checked(point.len().checked_div(2)?)?;
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                Some(json!({ "kty": "EC", "crv": curve, "x": x, "y": y }))
            }
            Self::Ed25519(pair) => {
                let x = URL_SAFE_NO_PAD.encode(pair.public_key());
                Some(json!({ "kty": "OKP", "crv": "Ed25519", "x": x }))
            }
            Self::Secret(_) => None,
        }
    }

    fn spki(&self) -> Option<Vec<u8>> {
        let der = match self {
            Self::Rsa { key, .. } => key.pair().public_key().as_der(),
            Self::Ecdsa { pair, .. } => pair.public_key().as_der(),
            Self::Ed25519(pair) => pair.public_key().as_der(),
            Self::Secret(_) => return None,
        };
        der.ok().map(|der| der.as_ref().to_vec())
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(..)")
    }
}

/// Computes an HMAC with SHA-256 and any bytes as the key.
pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Returns random bytes as base64url.
#[expect(clippy::expect_used, reason = "a system without entropy runs no tests")]
pub(super) fn random_text(length: usize) -> String {
    let mut random = vec![0; length];
    rand::fill(&mut random).expect("the system has entropy");
    URL_SAFE_NO_PAD.encode(random)
}

/// Returns the modulus of an `RSAPublicKey` (RFC 8017 §A.1.1), or `None` unless it has 2048 bits and the exponent is 65537.
fn modulus(der: &[u8]) -> Option<&[u8]> {
    der.strip_prefix(RSA_2048_PREFIX)?.strip_suffix(EXPONENT_65537)
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for (index, letter) in text.chars().enumerate() {
        if index != 0 && index % PEM_LINE == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END PUBLIC KEY-----\n");
    pem
}

/// RFC 7468 §2: lines of 64 characters.
const PEM_LINE: usize = 64;

/// The start of a sequence of 266 bytes with an integer of 257 bytes, whose first byte is zero.
const RSA_2048_PREFIX: &[u8] = &[0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];

/// An integer of three bytes.
const EXPONENT_65537: &[u8] = &[0x02, 0x03, 0x01, 0x00, 0x01];

/// 22 characters, about as long as the kids of Auth0.
const KID_BYTES: usize = 16;

/// 64 characters of base64url.
const SECRET_BYTES: usize = 48;
