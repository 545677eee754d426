//! Tests of signature verification, with the examples of the RFCs and with generated keys.

mod corpus;
mod rfc_examples;
mod spring;
mod wycheproof_jose;
mod wycheproof_primitives;

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::{any, prop_assert, proptest};

use super::fixtures::{ED25519, P256, P521, RSA, RSA_7520, RSA_7638, changed, verifying};
use super::verify::VerifyingKey;
use super::*;
use crate::token::{Algorithm, UnverifiedToken};

/// RFC 7515 §A.1, §A.2 and §A.3.
const HS256_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const RS256_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const ES256_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const HS256_SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

fn rfc_secret() -> VerifyingKey {
    Secret::from_base64url(HS256_SECRET).and_then(|secret| secret.bind(Algorithm::HS256)).expect("a secret")
}

fn verified(token: &str, keys: &[VerifyingKey]) -> Option<SignedToken> {
    SignedToken::verify(UnverifiedToken::parse(token).expect("well-formed"), keys.iter()).ok()
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

#[test]
fn verifies_the_examples_of_rfc_7515() {
    let keys = [rfc_secret(), verifying(RSA, Algorithm::RS256), verifying(P256, Algorithm::ES256)];
    for (token, key) in [HS256_TOKEN, RS256_TOKEN, ES256_TOKEN].into_iter().zip(&keys) {
        let signed = verified(token, &keys).expect("verified");
        assert_eq!(signed.thumbprint(), key.thumbprint());
        assert_eq!(signed.header().algorithm(), key.algorithm());
        assert!(signed.payload().json().contains("joe"));
    }
}

#[test]
fn verifies_examples_whose_payload_is_no_claims_set() {
    // RFC 8037 §A.4
    let ed25519 = verifying(ED25519, Algorithm::EdDSA);
    let signature = decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    assert!(ed25519.verify(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", &signature));
    // RFC 7515 §A.4
    let p521 = verifying(P521, Algorithm::ES512);
    let signature = decode(
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    );
    assert!(p521.verify(b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA", &signature));
    assert!(!p521.verify(b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZB", &signature));
}

/// The payload of RFC 7520 §4.1 and §4.2.
const COOKBOOK_PAYLOAD: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";

#[test]
fn verifies_the_rsa_examples_of_rfc_7520() {
    let examples = [
        // §4.1
        (
            Algorithm::RS256,
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
        ),
        // §4.2
        (
            Algorithm::PS384,
            "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
        ),
    ];
    for (algorithm, header, signature) in examples {
        let (key, signature) = (verifying(RSA_7520, algorithm), decode(signature));
        assert!(key.verify(format!("{header}.{COOKBOOK_PAYLOAD}").as_bytes(), &signature), "{algorithm}");
        assert!(!key.verify(format!("{header}.{COOKBOOK_PAYLOAD}x").as_bytes(), &signature), "{algorithm}");
    }
}

#[test]
fn returns_the_token_if_no_key_verifies_it() {
    let others = [verifying(RSA_7638, Algorithm::RS256), verifying(P256, Algorithm::ES256), rfc_secret()];
    let token = UnverifiedToken::parse(RS256_TOKEN).expect("well-formed");
    let token = SignedToken::verify(token, others.iter()).expect_err("another key");
    let token = SignedToken::verify(token, [].iter()).expect_err("no key");
    assert!(SignedToken::verify(token, [verifying(RSA, Algorithm::RS256)].iter()).is_ok());
}

#[test]
fn never_uses_a_key_for_another_algorithm_than_its_own() {
    // The RS256 token with the right key, bound to another algorithm.
    for algorithm in [Algorithm::RS384, Algorithm::PS256] {
        assert!(verified(RS256_TOKEN, &[verifying(RSA, algorithm)]).is_none());
    }
    // A valid RS256 signature, with headers that name another algorithm.
    for &algorithm in Algorithm::ALL {
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
        let (key, signature) = sign_rsa(Algorithm::RS256, input.as_bytes());
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(verified(&token, &[key]).is_some(), algorithm == Algorithm::RS256, "{algorithm}");
    }
}

#[test]
fn rejects_signatures_that_anyone_can_forge() {
    // Zero, and the order of the curve, as R or S (CVE-2022-21449).
    let p256 = verifying(P256, Algorithm::ES256);
    let order = decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
    for half in [&[0; 32][..], &order, &[0xff; 32]] {
        assert!(!p256.verify(b"any", &[half, half].concat()));
    }
    let rsa = verifying(RSA, Algorithm::RS256);
    for signature in [vec![], vec![0; 256], vec![1; 256], [vec![0; 255], vec![1]].concat(), vec![0xff; 256]] {
        assert!(!rsa.verify(b"any", &signature));
    }
    // With the neutral point as the key, R = B and S = 1 is a valid signature of any message.
    let neutral = changed(ED25519, "x", URL_SAFE_NO_PAD.encode([&[1], &[0; 31][..]].concat()));
    assert_eq!(KeySet::from_jwks(neutral).map(drop), Err(KeyError::Unusable { reason: SkipReason::WeakPoint }));
}

#[test]
fn secrets_verify_the_full_tag_only() {
    let key = rfc_secret();
    let (message, tag) = HS256_TOKEN.rsplit_once('.').expect("dots");
    let tag = decode(tag);
    assert!(key.verify(message.as_bytes(), &tag));
    for wrong in [&tag[..31], &tag[..16], &[], &[tag.as_slice(), &[0]].concat(), &[0; 32]] {
        assert!(!key.verify(message.as_bytes(), wrong));
    }
}

#[test]
fn several_secrets_are_all_tried() {
    let secrets = (1..=4).map(|byte| Secret::new([byte; 64]).expect("a secret"));
    let bound: Vec<VerifyingKey> = secrets.map(|secret| secret.bind(Algorithm::HS512).expect("bound")).collect();
    let table = KeyTable::from_secrets(bound);
    let Found::Keys(keys) = table.find(Some("any"), Algorithm::HS512) else { panic!("no keys") };
    let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA512, &[4; 64]);
    let tag = aws_lc_rs::hmac::sign(&hmac, b"message");
    let proving: Vec<bool> = keys.map(|key| key.verify(b"message", tag.as_ref())).collect();
    assert_eq!(proving, [false, false, false, true]);
    assert!(matches!(table.find(None, Algorithm::HS256), Found::NotForVerification));
    assert!(matches!(table.find(Some("any"), Algorithm::HS256), Found::Unknown));
}

/// A generated key for each algorithm, with its signature of [`MESSAGE`].
struct Signed {
    key: VerifyingKey,
    signature: Vec<u8>,
}

const MESSAGE: &[u8] = b"header.payload";

static SIGNED: LazyLock<Vec<Signed>> = LazyLock::new(|| {
    Algorithm::ALL
        .iter()
        .map(|&algorithm| {
            let (key, signature) = match algorithm {
                Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => sign_ec(algorithm),
                Algorithm::EdDSA => sign_ed25519(),
                Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => sign_hmac(algorithm),
                _ => sign_rsa(algorithm, MESSAGE),
            };
            Signed { key, signature }
        })
        .collect()
});

static RSA_PAIR: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key pair"));

fn sign_rsa(algorithm: Algorithm, message: &[u8]) -> (VerifyingKey, Vec<u8>) {
    let encoding: &'static dyn RsaEncoding = match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_SHA384,
        _ => &signature::RSA_PSS_SHA512,
    };
    let mut signature = vec![0; 256];
    RSA_PAIR.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("signed");
    let material = der::rsa_public_key(RSA_PAIR.public_key().as_ref()).expect("a good key");
    (bound(material, algorithm), signature)
}

fn sign_ec(algorithm: Algorithm) -> (VerifyingKey, Vec<u8>) {
    let (signing, curve) = match algorithm {
        Algorithm::ES256 => (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, material::Curve::P256),
        Algorithm::ES384 => (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, material::Curve::P384),
        _ => (&signature::ECDSA_P521_SHA512_FIXED_SIGNING, material::Curve::P521),
    };
    let pair = EcdsaKeyPair::generate(signing).expect("a key pair");
    let signature = pair.sign(&SystemRandom::new(), MESSAGE).expect("signed").as_ref().to_vec();
    let material = material::Material::ec_point(curve, pair.public_key().as_ref()).expect("a good key");
    (bound(material, algorithm), signature)
}

fn sign_ed25519() -> (VerifyingKey, Vec<u8>) {
    let pair = Ed25519KeyPair::generate().expect("a key pair");
    let material = material::Material::ed25519(pair.public_key().as_ref()).expect("a good key");
    (bound(material, Algorithm::EdDSA), pair.sign(MESSAGE).as_ref().to_vec())
}

fn sign_hmac(algorithm: Algorithm) -> (VerifyingKey, Vec<u8>) {
    let hash = match algorithm {
        Algorithm::HS256 => aws_lc_rs::hmac::HMAC_SHA256,
        Algorithm::HS384 => aws_lc_rs::hmac::HMAC_SHA384,
        _ => aws_lc_rs::hmac::HMAC_SHA512,
    };
    let tag = aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(hash, &[7; 64]), MESSAGE);
    let secret = Secret::new([7; 64]).expect("a secret");
    (secret.bind(algorithm).expect("bound"), tag.as_ref().to_vec())
}

fn bound(material: material::Material, algorithm: Algorithm) -> VerifyingKey {
    let table = KeySet::from_materials(vec![material]).bind(&[algorithm], KeyOrigin::Static);
    let Found::Keys(mut keys) = table.find(None, algorithm) else { panic!("{algorithm} is not supported") };
    keys.next().expect("one key").clone()
}

#[test]
fn every_algorithm_verifies_its_own_signatures_and_no_others() {
    for signed in SIGNED.iter() {
        for other in SIGNED.iter() {
            let same = signed.key.algorithm() == other.key.algorithm();
            assert_eq!(other.key.verify(MESSAGE, &signed.signature), same, "{:?} by {:?}", signed.key, other.key);
        }
    }
}

#[test]
fn rejects_signatures_of_another_length() {
    for Signed { key, signature } in SIGNED.iter() {
        let half = signature.len() / 2;
        let (first, second) = signature.split_at(half);
        for wrong in [
            &signature[1..],
            &signature[..signature.len() - 1],
            &[signature.as_slice(), &[0]].concat(),
            &[&[0], signature.as_slice()].concat(),
            // A zero byte before both halves: for ECDSA, the numbers are the same.
            &[&[0], first, &[0], second].concat(),
            first,
            &[],
        ] {
            assert!(!key.verify(MESSAGE, wrong), "{key:?}");
        }
    }
}

proptest! {
    #[test]
    fn rejects_a_signature_or_message_with_a_flipped_bit(which in 0..SIGNED.len(), at in any::<proptest::sample::Index>(), bit in 0..8_u32) {
        let Signed { key, signature } = &SIGNED[which];
        prop_assert!(key.verify(MESSAGE, signature));
        let flip = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            bytes
        };
        prop_assert!(!key.verify(MESSAGE, &flip(signature)));
        prop_assert!(!key.verify(&flip(MESSAGE), signature));
    }

    #[test]
    fn parsing_a_document_never_panics(bytes in any::<Vec<u8>>(), at in any::<proptest::sample::Index>()) {
        let _ = KeySet::from_jwks(&bytes);
        let _ = KeySet::from_pem(&bytes);
        let _ = Secret::new(bytes.as_slice());
        let mut set = format!("{{\"keys\":[{RSA},{P256},{ED25519}]}}").into_bytes();
        let index = at.index(set.len());
        set[index] = bytes.first().copied().unwrap_or_default();
        if let Ok(set) = KeySet::from_jwks(&set) {
            prop_assert!(set.len() <= 3 && set.skipped().len() <= 3);
        }
    }
}
