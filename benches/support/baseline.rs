//! The baseline of a validation: the signature check alone.

use std::hint::black_box;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tower_bearer::Algorithm;
use tower_bearer::testing::TestIssuer;

/// One verification of the decoded signature with a parsed key.
pub struct Baseline {
    key: Key,
    message: Vec<u8>,
    signature: Vec<u8>,
}

#[expect(clippy::large_enum_variant, reason = "there is one value, and a pointer would add to the measured time")]
enum Key {
    Public(ParsedPublicKey),
    Secret(hmac::Key),
}

impl Baseline {
    pub fn new(server: &TestIssuer, algorithm: Algorithm, text: &str) -> Self {
        let (message, signature) = text.rsplit_once('.').expect("three segments");
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        Self { key: Key::new(server, algorithm), message: message.as_bytes().to_vec(), signature }
    }

    pub fn check(&self) {
        match &self.key {
            Key::Public(key) => key.verify_sig(black_box(&self.message), &self.signature).expect("genuine"),
            Key::Secret(key) => hmac::verify(key, black_box(&self.message), &self.signature).expect("genuine"),
        }
    }
}

/// A signed text whose signature is decoded, to be verified by its public key.
pub struct Signed {
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    pub fn new(text: &str) -> Self {
        let (message, signature) = text.rsplit_once('.').expect("three segments");
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        Self { message: message.as_bytes().to_vec(), signature }
    }

    pub fn check(&self, key: &ParsedPublicKey) {
        key.verify_sig(black_box(&self.message), &self.signature).expect("genuine");
    }
}

/// Returns the parsed key of the client that has signed a proof with ES256.
pub fn key_of_proof(proof: &str) -> ParsedPublicKey {
    let (head, _) = proof.split_once('.').expect("three segments");
    let head = BASE64_URL_SAFE_NO_PAD.decode(head).expect("base64url");
    let head: serde_json::Value = serde_json::from_slice(&head).expect("JSON");
    point(&head["jwk"], &signature::ECDSA_P256_SHA256_FIXED)
}

/// Decodes a member of a JWK.
fn number(jwk: &serde_json::Value, name: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("text")).expect("base64url")
}

fn point(jwk: &serde_json::Value, algorithm: &'static dyn VerificationAlgorithm) -> ParsedPublicKey {
    let point = [vec![4], number(jwk, "x"), number(jwk, "y")].concat();
    ParsedPublicKey::new(algorithm, point).expect("a valid key")
}

impl Key {
    fn new(server: &TestIssuer, algorithm: Algorithm) -> Self {
        if algorithm.is_symmetric() {
            let digest = match algorithm {
                Algorithm::HS384 => hmac::HMAC_SHA384,
                Algorithm::HS512 => hmac::HMAC_SHA512,
                _ => hmac::HMAC_SHA256,
            };
            return Self::Secret(hmac::Key::new(digest, server.secret().as_bytes()));
        }
        let jwks: serde_json::Value = serde_json::from_str(&server.jwks()).expect("JSON");
        let decode = |name: &str| number(&jwks["keys"][0], name);
        let rsa = |parameters| {
            let components = RsaPublicKeyComponents { n: decode("n"), e: decode("e") };
            components.to_parsed_public_key(parameters).expect("a valid key")
        };
        let point = |parameters| point(&jwks["keys"][0], parameters);
        Self::Public(match algorithm {
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => point(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => point(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::ES512 => point(&signature::ECDSA_P521_SHA512_FIXED),
            Algorithm::EdDSA => ParsedPublicKey::new(&signature::ED25519, decode("x")).expect("a valid key"),
            other => panic!("no baseline for {other}"),
        })
    }
}
