use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::keys::{Secret, SkipReason};
use crate::request::PublicUrl;
use crate::testing::{FakeClock, ProofBuilder, ProofKey};
use crate::token::Algorithm;

const URL: &str = "https://api.test/me";
const TOKEN: &str = "a.bound.token";
const NOW: i64 = 1_800_000_000;

fn client() -> ProofKey {
    ProofKey::new().with_clock(FakeClock::from_wall(Timestamp::from_secs(NOW)))
}

fn check_at(key: &ProofKey, proof: &str, policy: &ProofPolicy, now: Timestamp) -> Result<VerifiedProof, ProofError> {
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let expected = Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new(TOKEN), key.thumbprint());
    verify(proof, &expected, policy, now)
}

fn check(key: &ProofKey, proof: ProofBuilder) -> Result<VerifiedProof, ProofError> {
    check_at(key, &proof.sign(), &ProofPolicy::new(), Timestamp::from_secs(NOW))
}

fn proof(key: &ProofKey) -> ProofBuilder {
    key.proof("GET", URL, TOKEN)
}

#[test]
fn accepts_a_proof_of_each_default_algorithm_only() {
    for algorithm in Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_symmetric()) {
        let key = ProofKey::with_algorithm(algorithm).with_clock(FakeClock::from_wall(Timestamp::from_secs(NOW)));
        let is_default = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256].contains(&algorithm);
        let expected = if is_default { Ok(()) } else { Err(ProofError::AlgorithmNotAccepted { algorithm }) };
        assert_eq!(check(&key, proof(&key)).map(drop), expected, "{algorithm}");
        let policy = ProofPolicy::new().with_algorithms([algorithm]);
        assert!(check_at(&key, &proof(&key).sign(), &policy, Timestamp::from_secs(NOW)).is_ok(), "{algorithm}");
    }
}

#[test]
fn a_verified_proof_is_accepted_until_the_end_of_its_lifetime() {
    let key = client();
    let verified = check(&key, proof(&key).jti("j")).expect("valid");
    assert_eq!(verified.created_at(), Timestamp::from_secs(NOW));
    assert_eq!(verified.accepted_until(), Timestamp::from_secs(NOW + 90));
    assert_eq!(verified.id(), check(&key, proof(&key).jti("j").claim("x", 1)).expect("valid").id());
    assert_ne!(verified.id(), check(&key, proof(&key).jti("k")).expect("valid").id());
    let other = client();
    assert_ne!(verified.id(), check(&other, proof(&other).jti("j")).expect("valid").id());
}

#[test]
fn includes_both_ends_of_the_time() {
    let key = client();
    let text = proof(&key).sign();
    let at = |nanos: i128| {
        let now = Timestamp::from_nanos(i128::from(NOW) * 1_000_000_000 + nanos);
        check_at(&key, &text, &ProofPolicy::new(), now).map(drop)
    };
    let second = 1_000_000_000;
    assert_eq!(at(90 * second), Ok(()));
    assert_eq!(at(-30 * second), Ok(()));
    let by = |seconds, nanos| Duration::new(seconds, nanos);
    assert_eq!(at(90 * second + 1), Err(ProofError::TooOld { by: by(90, 1) }));
    assert_eq!(at(-30 * second - 1), Err(ProofError::IssuedInFuture { by: by(30, 1) }));
    assert_eq!(ProofError::TooOld { by: by(90, 1) }.off_by(), Some(by(90, 1)));
    assert_eq!(ProofError::Method.off_by(), None);
}

#[test]
fn checks_the_header_before_the_claims_and_the_nonce_before_the_signature() {
    let key = client();
    let all = |proof: ProofBuilder| proof.claim("htm", "PUT").claim("htu", "x").claim("ath", "x").claim("iat", 0);
    let bad = all(proof(&key)).with_broken_signature();
    assert_eq!(check(&key, bad.clone().header("typ", "JWT")), Err(ProofError::Type));
    assert_eq!(
        check(&key, bad.clone().header("alg", "RS256")),
        Err(ProofError::AlgorithmNotAccepted { algorithm: Algorithm::RS256 })
    );
    assert_eq!(check(&client(), bad.clone()), Err(ProofError::OtherKey));
    assert_eq!(check(&key, bad.clone().without("jti")), Err(ProofError::MissingClaim(ProofClaim::Jti)));
    assert_eq!(check(&key, bad.clone()), Err(ProofError::Method));
    let bad = bad.claim("htm", "GET");
    assert_eq!(check(&key, bad.clone()), Err(ProofError::Url { near_miss: None }));
    let bad = bad.claim("htu", URL);
    assert_eq!(check(&key, bad.clone()), Err(ProofError::TokenHash));
    let bad = bad.token(TOKEN);
    assert!(matches!(check(&key, bad.clone()), Err(ProofError::TooOld { .. })));
    let bad = bad.issued_at(Timestamp::from_secs(NOW)).claim("exp", 1);
    assert_eq!(check(&key, bad.clone()), Err(ProofError::Expired));
    assert_eq!(check(&key, bad.without("exp")), Err(ProofError::Signature));
}

#[test]
fn a_nonce_replaces_the_comparison_of_iat() {
    let secret = Nonces::shared(Secret::new(vec![1; 32]).expect("a secret"));
    let nonces = secret.current("a", Timestamp::from_secs(NOW)).expect("32 bytes");
    let nonce = nonces.next().to_str().expect("ASCII").to_owned();
    let (key, url) = (client(), PublicUrl::parse("https://api.test").expect("a URL"));
    let expected =
        Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new(TOKEN), key.thumbprint()).with_nonces(&nonces);
    let check =
        |proof: ProofBuilder, policy: &ProofPolicy| verify(&proof.sign(), &expected, policy, Timestamp::from_secs(NOW));
    let (policy, strict) = (ProofPolicy::new(), ProofPolicy::new().with_issued_at_too());
    let old = proof(&key).claim("iat", NOW - 3_600);
    let verified = check(old.clone().nonce(&nonce), &policy).expect("valid");
    assert_eq!((verified.created_at(), verified.nonce_age()), (Timestamp::from_secs(NOW), Some(NonceAge::Current)));
    assert_eq!(verified.accepted_until(), Timestamp::from_secs(NOW + 120));
    assert!(matches!(check(old.clone().nonce(&nonce), &strict), Err(ProofError::TooOld { .. })));
    assert!(check(proof(&key).nonce(&nonce), &strict).is_ok());
    for (missing, error) in [
        (proof(&key), NonceError::Missing),
        (proof(&key).nonce("x"), NonceError::NotCurrent),
        (proof(&key).nonce(""), NonceError::NotCurrent),
        (proof(&key).claim("nonce", 7), NonceError::NotCurrent),
    ] {
        assert_eq!(check(missing.with_broken_signature(), &policy), Err(ProofError::Nonce(error)));
    }
    assert_eq!(check(proof(&key).nonce("x").claim("htm", "PUT"), &policy), Err(ProofError::Method));
    assert_eq!(check(old.without("iat").nonce(&nonce), &policy), Err(ProofError::MissingClaim(ProofClaim::Iat)));
}

/// A head that was parsed before replaces only work: the result for every proof is the same.
#[test]
fn a_known_head_changes_no_result() {
    let (key, other) = (client(), client());
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let expected = Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new(TOKEN), key.thumbprint());
    let (policy, now) = (ProofPolicy::new(), Timestamp::from_secs(NOW));
    let first = proof(&key).sign();
    let first = UnverifiedProof::parse(first.as_bytes()).expect("well-formed");
    let (_, head) = verify_with_known_head(&first, None, &expected, &policy, now).expect("valid");
    let head = head.expect("a new head");
    for text in [
        proof(&key).sign(),
        proof(&key).header("x", 1).sign(),
        proof(&key).with_broken_signature().sign(),
        proof(&key).signed_by(&other).sign(),
        proof(&other).sign(),
        proof(&key).claim("htm", "PUT").sign(),
    ] {
        let parsed = UnverifiedProof::parse(text.as_bytes()).expect("well-formed");
        let with_head = verify_with_known_head(&parsed, Some(&head), &expected, &policy, now);
        assert_eq!(with_head.as_ref().map(|(proof, _)| proof), verify(&text, &expected, &policy, now).as_ref());
        let is_same = text.split('.').next() == proof(&key).sign().split('.').next();
        assert!(with_head.is_err() || with_head.is_ok_and(|(_, new)| new.is_none() == is_same));
    }
    // The token is bound to another key than that of the known head.
    let expected = Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new(TOKEN), other.thumbprint());
    let result = verify_with_known_head(&first, Some(&head), &expected, &policy, now);
    assert_eq!(result.map(|(proof, _)| proof), Err(ProofError::OtherKey));
}

#[test]
fn reports_a_point_that_is_not_on_the_curve_also_for_another_key() {
    let (key, other) = (client(), client());
    let jwk: serde_json::Value = serde_json::from_str(&other.jwk()).expect("JSON");
    let swapped = json!({ "kty": "EC", "crv": "P-256", "x": jwk["y"], "y": jwk["x"] });
    assert_eq!(check(&key, proof(&key).header("jwk", &jwk)), Err(ProofError::OtherKey));
    let error = ProofError::Key(SkipReason::NotOnCurve);
    assert_eq!(check(&key, proof(&key).header("jwk", &swapped)), Err(error));
}

proptest! {
    /// A proof is split again without the checks of its form.
    #[test]
    fn splits_a_checked_proof_as_parse_does(segments in prop::array::uniform3(prop::collection::vec(any::<u8>(), 1..80))) {
        let text = segments.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).join(".");
        let parsed = UnverifiedProof::parse(text.as_bytes()).expect("well-formed");
        let split = UnverifiedProof::from_checked(text.as_bytes(), parsed.segments()).expect("the same text");
        let parts = |proof: UnverifiedProof<'_>| {
            (proof.encoded_header().to_vec(), proof.signing_input().to_vec(), proof.signature().expect("base64url"))
        };
        prop_assert_eq!(parts(split), parts(parsed));
        prop_assert_eq!(split.claims().ok(), parsed.claims().ok());
    }
}

/// The checks of an RSA key that cost as much as a verification are made only for the key of the token.
#[test]
fn compares_the_key_before_it_checks_whether_an_rsa_modulus_can_be_factored() {
    let key = ProofKey::with_algorithm(Algorithm::PS256).with_clock(FakeClock::from_wall(Timestamp::from_secs(NOW)));
    // One more than a multiple of each of the primes that the check divides by.
    let product: u128 =
        [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157].into_iter().product();
    let product: Vec<u8> = product.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    let jwk =
        json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([&product, &[0; 260][..], &[1]].concat()), "e": "AQAB" });
    let text = proof(&key).header("jwk", &jwk).sign();
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    // RFC 7638: the members in the order of their names.
    let hash = crate::keys::sha256(format!(r#"{{"e":"AQAB","kty":"RSA","n":{}}}"#, jwk["n"]).as_bytes());
    for (thumbprint, error) in
        [(key.thumbprint(), ProofError::OtherKey), (hash.into(), ProofError::Key(SkipReason::RsaFactorable))]
    {
        let expected = Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new(TOKEN), thumbprint);
        assert_eq!(verify(&text, &expected, &ProofPolicy::new(), Timestamp::from_secs(NOW)), Err(error));
    }
}

#[test]
fn errors_read_as_sentences_and_have_a_word_for_the_log() {
    for error in [
        ProofError::Missing,
        ProofError::TooLong { length: 5_000 },
        ProofError::Key(SkipReason::Private),
        ProofError::MissingClaim(ProofClaim::Ath),
        ProofError::Nonce(NonceError::Missing),
        ProofError::Replayed,
    ] {
        let text = error.to_string();
        assert!(!text.ends_with('.') && text.contains("DPoP"), "{text}");
        assert!(error.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", error.name());
    }
}

#[test]
fn constants_are_the_fields_of_rfc_9449() {
    assert_eq!((DPOP.as_str(), DPOP_NONCE.as_str()), ("dpop", "dpop-nonce"));
    assert!(REQUEST_HEADERS.contains(&DPOP) && RESPONSE_HEADERS.contains(&DPOP_NONCE));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Any change of any byte of a valid proof is rejected.
    #[test]
    fn rejects_every_mutation_of_a_proof(at in 0_usize..4_096, kind in 0_u8..4, byte in 0x20_u8..0x7f, count in 1_usize..8) {
        thread_local! {
            static VALID: (ProofKey, String) = {
                let key = client();
                let text = proof(&key).sign();
                (key, text)
            };
        }
        VALID.with(|(key, valid)| {
            let length = valid.len();
            let at = at.checked_rem(length).expect("not empty");
            let end = at.saturating_add(count);
            let mut bytes = valid.clone().into_bytes();
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(at..end.min(length))),
                _ => bytes.swap(at, end.checked_rem(length).expect("not empty")),
            }
            let mutated = String::from_utf8(bytes).expect("ASCII");
            let result = check_at(key, &mutated, &ProofPolicy::new(), Timestamp::from_secs(NOW));
            prop_assert_eq!(result.is_ok(), mutated == *valid);
            Ok(())
        })?;
    }

    #[test]
    fn never_panics(text in "\\PC{0,200}", header in "\\PC{0,60}", claims in "\\PC{0,60}") {
        let (key, now) = (ProofKey::with_algorithm(Algorithm::EdDSA), Timestamp::UNIX_EPOCH);
        let encoded = [&header, &claims].map(|text| URL_SAFE_NO_PAD.encode(text)).join(".") + ".AA";
        for text in [text, encoded] {
            prop_assert!(check_at(&key, &text, &ProofPolicy::new(), now).is_err());
        }
    }
}

#[test]
fn claims_have_their_types() {
    let key = client();
    for (name, claim) in
        [("jti", ProofClaim::Jti), ("htm", ProofClaim::Htm), ("htu", ProofClaim::Htu), ("ath", ProofClaim::Ath)]
    {
        for value in [json!(7), json!(null), json!(["x"]), json!({})] {
            assert_eq!(check(&key, proof(&key).claim(name, value)), Err(ProofError::MalformedClaim(claim)), "{name}");
        }
        assert_eq!(check(&key, proof(&key).without(name)), Err(ProofError::MissingClaim(claim)), "{name}");
    }
    for (name, claim) in [("iat", ProofClaim::Iat), ("exp", ProofClaim::Exp), ("nbf", ProofClaim::Nbf)] {
        for value in ["\"1\"", "null", "1e400", "-1", "253402300800", "253402300799.5"] {
            assert_eq!(
                check(&key, proof(&key).raw_claim(name, value)),
                Err(ProofError::MalformedClaim(claim)),
                "{name} {value}"
            );
        }
    }
}
