//! Rules 52 to 68: published keys, and how they are fetched and stored.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tower_bearer::config::SettingErrorKind;
use tower_bearer::fetch::EndpointError;
use tower_bearer::keys::{KeyError, KeySet, SkipReason};
use tower_bearer::rejection::KeyNotFoundError;
use tower_bearer::testing::{FakeClock, FakeFetch, Outage, Reply, TestIssuer, TestNetwork};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, Validator};

use crate::fixture::{AUDIENCE, block_on, server, setting_errors};

fn published(algorithm: Algorithm) -> Value {
    serde_json::from_str::<Value>(&server(algorithm).jwks()).expect("a set")["keys"][0].clone()
}

/// Returns why the second of two keys is skipped; `None` if it is not.
fn skipped(jwk: &Value) -> Option<SkipReason> {
    let set = json!({ "keys": [published(Algorithm::RS256), jwk] }).to_string();
    let set = KeySet::from_jwks(set).expect("a set");
    let reasons: Vec<_> = set.skipped().map(|key| key.reason()).collect();
    assert_eq!(set.len() + reasons.len(), 2, "a bad key does not affect the other");
    reasons.first().copied()
}

fn changed(jwk: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut jwk = jwk.clone();
    jwk[name] = value.into();
    jwk
}

#[test]
fn rule_052_rejects_keys_that_is_not_one_array_or_has_duplicate_members() {
    for set in ["[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":"x"}"#] {
        assert_eq!(KeySet::from_jwks(set).map(drop), Err(KeyError::NotAKeySet), "{set}");
    }
    assert_eq!(KeySet::from_jwks(r#"{"keys":[],"keys":[]}"#).map(drop), Err(KeyError::DuplicateKeys));
    assert_eq!(KeySet::from_jwks(r#"{"keys":[{"kty":"RSA","kty":"RSA"}]}"#).map(|set| set.len()), Ok(0));
    assert_eq!(KeySet::from_jwks(r#"{"keys":[],"x":[{"y":1}]}"#).map(|set| set.len()), Ok(0));
}

#[test]
fn rule_053_skips_an_unknown_key() {
    let good = published(Algorithm::RS256);
    for (jwk, reason) in [
        (json!(null), SkipReason::NotAnObject),
        (json!(5), SkipReason::NotAnObject),
        (json!({ "kty": "AKP", "alg": "ML-DSA-44" }), SkipReason::KeyType),
        (json!({ "kty": "RSA" }), SkipReason::MissingMember),
        (changed(&good, "kid", 1), SkipReason::MalformedKid),
        (changed(&good, "use", 1), SkipReason::MalformedMember),
        (changed(&good, "n", "not base64!"), SkipReason::Encoding),
    ] {
        assert_eq!(skipped(&jwk), Some(reason), "{jwk}");
    }
    assert_eq!(skipped(&changed(&good, "vendor", json!({ "x": [] }))), None);
}

#[test]
fn rule_054_and_055_skips_keys_that_are_not_for_verification() {
    let good = published(Algorithm::ES256);
    assert_eq!(skipped(&changed(&good, "use", "enc")), Some(SkipReason::Use));
    for operations in [json!([]), json!(["encrypt"]), json!(["verify", "verify"]), json!("verify"), json!([1])] {
        assert_eq!(skipped(&changed(&good, "key_ops", operations)), Some(SkipReason::Operations));
    }
    assert_eq!(skipped(&changed(&good, "key_ops", json!(["verify"]))), None);
}

#[test]
fn rule_056_key_verifies_only_its_alg_or_else_the_listed_ones() {
    let good = published(Algorithm::RS256);
    assert_eq!(skipped(&changed(&good, "alg", "ES256")), Some(SkipReason::AlgorithmMismatch));
    assert_eq!(skipped(&changed(&good, "alg", "none")), Some(SkipReason::Algorithm));
    // CVE-2026-22818: the header's alg does not replace a missing alg of the key.
    let server = server(Algorithm::RS256).without_key_algorithms();
    let keys = KeySet::from_jwks(server.jwks());
    let issuer = Issuer::static_keys(server.issuer(), keys).with_algorithms([Algorithm::PS256]);
    let validator = crate::fixture::validator_for(Api::new(AUDIENCE, issuer));
    let rejection = block_on(validator.validate(&server.token().sign()));
    assert_eq!(rejection.map(drop), Err(Rejection::Algorithm { algorithm: Algorithm::RS256 }));
    let ps256 = server.token().algorithm(Algorithm::PS256).kid(&server.kid()).sign();
    assert!(block_on(validator.validate(&ps256)).is_ok());
}

#[test]
fn rule_057_rejects_short_points_and_points_off_the_curve() {
    let good = published(Algorithm::ES256);
    let x = good["x"].as_str().expect("text");
    assert_eq!(skipped(&changed(&good, "x", &x[..40])), Some(SkipReason::CoordinateLength));
    assert_eq!(skipped(&changed(&good, "x", format!("AAAA{x}"))), Some(SkipReason::CoordinateLength));
    assert_eq!(skipped(&changed(&good, "crv", "P-384")), Some(SkipReason::CoordinateLength));
    assert_eq!(skipped(&changed(&good, "y", x)), Some(SkipReason::NotOnCurve));
    assert_eq!(skipped(&changed(&good, "crv", "secp256k1")), Some(SkipReason::Curve));
}

#[test]
fn rule_058_rejects_ed25519_keys_of_another_length_or_small_order() {
    let good = published(Algorithm::EdDSA);
    let x = good["x"].as_str().expect("text");
    for wrong in ["", &x[..40], &format!("AAAA{x}")] {
        assert_eq!(skipped(&changed(&good, "x", wrong)), Some(SkipReason::CoordinateLength), "{wrong}");
    }
    for weak in ["A".repeat(43), format!("AQ{}", "A".repeat(41))] {
        assert_eq!(skipped(&changed(&good, "x", &*weak)), Some(SkipReason::WeakPoint), "{weak}");
    }
}

#[test]
fn rule_059_removes_leading_zeros_of_a_modulus_and_an_exponent() {
    use base64::Engine as _;
    let base64url = base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let good = published(Algorithm::RS256);
    for (name, reason) in [("n", SkipReason::RsaModulus), ("e", SkipReason::RsaExponent)] {
        let number = base64url.decode(good[name].as_str().expect("text")).expect("base64url");
        for zeros in [0, 1, 2, 100] {
            let longer = base64url.encode([vec![0; zeros], number.clone()].concat());
            assert_eq!(skipped(&changed(&good, name, longer)), None, "{zeros} before {name}");
        }
        assert_eq!(skipped(&changed(&good, name, "AAAA")), Some(reason), "{name} is zero");
    }
}

#[test]
fn rule_060_skips_private_and_symmetric_keys() {
    for (member, algorithm) in
        [("d", Algorithm::RS256), ("p", Algorithm::RS256), ("d", Algorithm::ES256), ("d", Algorithm::EdDSA)]
    {
        assert_eq!(skipped(&changed(&published(algorithm), member, "AAAA")), Some(SkipReason::Private));
    }
    assert_eq!(skipped(&json!({ "kty": "oct", "k": "A".repeat(86) })), Some(SkipReason::Symmetric));
}

#[test]
fn rule_061_two_keys_under_one_kid_are_selected_by_algorithm_or_tried_in_turn() {
    let (rsa, other, ec) = (server(Algorithm::RS256), server(Algorithm::RS256), server(Algorithm::ES256));
    let key = |server: &TestIssuer| {
        let key = serde_json::from_str::<Value>(&server.jwks()).expect("a set")["keys"][0].clone();
        changed(&key, "kid", "same")
    };
    let keys = KeySet::from_jwks(json!({ "keys": [key(&other), key(&ec), key(&rsa)] }).to_string());
    let issuer = Issuer::static_keys("https://issuer.test/", keys);
    let issuer = issuer.with_algorithms([Algorithm::RS256, Algorithm::ES256]);
    let validator = crate::fixture::validator_for(Api::new(AUDIENCE, issuer));
    for server in [rsa, other, ec] {
        assert!(block_on(validator.validate(&server.token().kid("same").sign())).is_ok());
    }
    let other_issuer = server(Algorithm::RS256).token().kid("same").sign();
    assert_eq!(block_on(validator.validate(&other_issuer)).map(drop), Err(Rejection::Signature));
}

#[test]
fn rule_062_ignores_certificates() {
    let good = published(Algorithm::RS256);
    for garbage in [json!("x"), json!(["garbage"]), json!([]), json!(null), json!([1])] {
        assert_eq!(skipped(&changed(&good, "x5c", garbage)), None);
    }
    assert_eq!(skipped(&json!({ "kty": "RSA", "x5c": ["MII="] })), Some(SkipReason::MissingMember));
}

/// A test issuer with remote keys, and a validator that fetches them.
struct Remote {
    clock: FakeClock,
    server: TestIssuer,
    validator: Validator,
}

impl Remote {
    async fn new() -> Self {
        let clock = FakeClock::new();
        let server = TestIssuer::new().with_clock(Arc::new(clock.clone()));
        let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
        let builder = Validator::builder(api).with_clock(clock.clone()).with_fetch(server.clone());
        let validator = builder.build().expect("a valid configuration");
        clock.run_for(Duration::from_secs(1)).await;
        Self { clock, server, validator }
    }

    async fn validate(&self, token: &str) -> Result<(), Rejection> {
        self.validator.validate(token).await.map(drop)
    }

    /// Returns a token that is valid from now for one day.
    fn token(&self) -> String {
        self.server.token().expires_in(Duration::from_secs(86_400)).sign()
    }
}

/// `jwks_sockets` tests redirects, gzip bombs and endless bodies over real sockets.
#[test]
fn rule_064_fetches_keys_over_https_from_the_configured_url_only() {
    let build = |url| setting_errors(Api::new(AUDIENCE, Issuer::jwks("https://as.example/", url)));
    assert_eq!(build("https://as.example/jwks"), []);
    for (url, error) in [
        ("http://as.example/jwks", EndpointError::PlainHttp),
        ("ftp://as.example/", EndpointError::Malformed),
        ("https://u:p@as.example/", EndpointError::UserInfo),
        ("file:///etc/passwd", EndpointError::Malformed),
    ] {
        assert_eq!(build(url), [SettingErrorKind::Url(error)], "{url}");
    }
}

#[tokio::test]
async fn rule_065_rejects_a_discovery_document_of_another_issuer() {
    let clock = FakeClock::new();
    let server = TestIssuer::named("https://as.example/").with_clock(Arc::new(clock.clone()));
    let ready = async |issuer: &str, jwks_uri: &str| {
        let network = FakeFetch::new(&clock);
        let document = json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string();
        network.always("https://as.example/.well-known/openid-configuration", Reply::json(document));
        network.always("https://as.example/jwks", Reply::json(server.jwks()));
        let api = Api::new(AUDIENCE, Issuer::oidc("https://as.example/"));
        let builder = Validator::builder(api).with_clock(clock.clone()).with_fetch(network);
        let validator = builder.build().expect("a valid configuration");
        clock.run_for(Duration::from_secs(1)).await;
        validator.is_ready()
    };
    assert!(ready("https://as.example/", "https://as.example/jwks").await);
    for other in ["https://as.example", "https://AS.example/", "https://evil.example/"] {
        assert!(!ready(other, "https://as.example/jwks").await, "{other}");
    }
    assert!(!ready("https://as.example/", "http://as.example/jwks").await);
}

/// Two issuers publish the same `kid`; keys of one never verify tokens of the other (CVE-2026-49998, CVE-2025-59936).
#[tokio::test]
async fn rule_066_and_072_keys_belong_to_their_issuer() {
    let (a, b) = (TestIssuer::named("https://a.test/x"), TestIssuer::named("https://b.test/x:k"));
    for server in [&a, &b] {
        let mut set: Value = serde_json::from_str(&server.jwks()).expect("a set");
        set["keys"][0]["kid"] = "rs1".into();
        server.publish(set.to_string());
    }
    let api = [&a, &b].map(|server| Issuer::jwks(server.issuer(), server.jwks_uri()));
    let [first, second] = api;
    let api = Api::new(AUDIENCE, first).with_issuer(second);
    let validator = Validator::builder(api).with_fetch(TestNetwork::new([&a, &b])).build().expect("configured");
    for (own, other) in [(&b, &a), (&a, &b)] {
        assert!(validator.validate(&own.token().kid("rs1").sign()).await.is_ok());
        let forged = own.token().kid("rs1").signed_by(other).sign();
        assert_eq!(validator.validate(&forged).await.map(drop), Err(Rejection::Signature));
    }
}

#[tokio::test]
async fn rule_067_unknown_kids_trigger_few_fetches() {
    let remote = Remote::new().await;
    let before = remote.server.fetches();
    for number in 0..1000 {
        let token = remote.server.token().kid(&format!("unknown-{number}")).sign();
        assert_eq!(
            remote.validate(&token).await,
            Err(Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) }))
        );
        assert!(number % 100 != 0 || remote.validate(&remote.token()).await.is_ok(), "valid tokens are accepted");
    }
    assert!(remote.server.fetches() - before <= 3, "{} fetches", remote.server.fetches() - before);
}

#[tokio::test]
async fn rule_068_removed_key_is_evicted_at_the_next_refresh() {
    let remote = Remote::new().await;
    let token = remote.token();
    assert_eq!(remote.validate(&token).await, Ok(()));
    remote.server.replace_keys();
    remote.clock.run_for(Duration::from_secs(600)).await;
    assert!(matches!(remote.validate(&token).await, Err(Rejection::Key(_))));
    assert_eq!(remote.validate(&remote.token()).await, Ok(()), "and the new one verifies");
}

#[tokio::test]
async fn rule_068_keeps_stale_keys_during_an_outage_until_max_stale() {
    for outage in [
        Outage::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Outage::Hang,
        Outage::HtmlPage,
        Outage::EmptySet,
        Outage::Oversized,
        Outage::NoConnection,
    ] {
        let remote = Remote::new().await;
        let token = remote.token();
        remote.server.set_outage(outage);
        remote.clock.run_for(Duration::from_secs(1800)).await;
        assert_eq!(remote.validate(&token).await, Ok(()), "{outage:?}");
        remote.clock.run_for(Duration::from_secs(3600)).await;
        assert!(matches!(remote.validate(&token).await, Err(Rejection::KeysUnavailable { .. })), "{outage:?}");
        remote.server.set_outage(Outage::None);
        remote.clock.run_for(Duration::from_secs(60)).await;
        assert_eq!(remote.validate(&token).await, Ok(()), "{outage:?}");
    }
}
