//! `Validator`: order of the checks, selection of the issuer, hosts, custom claims, custom checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tower_bearer::claims::{ClaimError, ClaimErrorReason, CustomClaimsError, Profile};
use tower_bearer::keys::KeySet;
use tower_bearer::rejection::{CheckError, IssuerDifference, IssuerError, KeyNotFoundError};
use tower_bearer::request::HostError;
use tower_bearer::requirement::UnmetRequirement;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::token::{Header, Segment, TokenError};
use tower_bearer::{Algorithm, Api, Claims, Issuer, Rejection, RejectionKind, Requirement, Secret, Validator};

/// The default audience of the test issuer's tokens.
const AUDIENCE: &str = "https://api.test/";

/// Returns an issuer with the test issuer's public keys as static keys.
fn trusted(server: &TestIssuer) -> Issuer {
    Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
}

fn validator(server: &TestIssuer) -> Validator {
    Validator::new(Api::new(AUDIENCE, trusted(server))).expect("a valid configuration")
}

async fn rejected(validator: &Validator, token: TokenBuilder) -> Rejection {
    validator.validate(&token.sign()).await.expect_err("a rejection")
}

#[tokio::test]
async fn every_algorithm_verifies_and_rejects_a_changed_signature() {
    for &algorithm in Algorithm::ALL {
        let server = TestIssuer::new().with_algorithms([algorithm]);
        let issuer = if algorithm.is_symmetric() {
            Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()))
        } else {
            trusted(&server)
        };
        let validator =
            Validator::new(Api::new(AUDIENCE, issuer.with_algorithms([algorithm]))).expect("a valid configuration");
        let claims = validator.validate(&server.token().sign()).await;
        assert_eq!(claims.map(|claims| claims.header().map(Header::algorithm)), Ok(Some(algorithm)));
        assert_eq!(
            rejected(&validator, server.token().with_broken_signature()).await,
            Rejection::Signature,
            "{algorithm}"
        );
        let other_issuer = TestIssuer::new().with_algorithms([algorithm]);
        assert_eq!(
            rejected(&validator, server.token().signed_by(&other_issuer)).await,
            Rejection::Signature,
            "{algorithm}"
        );
    }
}

/// Tokens of one issuer have the same header, and a header that was parsed before is not parsed again.
#[tokio::test]
async fn cached_header_changes_no_decision() {
    let server = TestIssuer::new();
    let other_issuer = TestIssuer::named(server.issuer());
    let genuine = || server.token().subject("ann");
    let warm = Validator::builder(Api::new(AUDIENCE, trusted(&server))).without_token_cache().build().expect("good");
    let good = genuine().sign();
    let first = warm.validate(&good).await.expect("a valid token").header().cloned();
    for token in [
        genuine(),
        genuine().expired(),
        genuine().audience("https://other.test/"),
        genuine().with_broken_signature(),
        genuine().signed_by(&other_issuer),
        genuine().raw_payload("[]"),
        genuine().typ("logout+jwt"),
        genuine().typ("at+jwt"),
        genuine().kid("another"),
        genuine().without_kid(),
        genuine().header("crit", ["exp"]),
        genuine().header("x", 1),
        genuine().with_duplicate_header("alg", "RS256"),
        genuine().algorithm(Algorithm::PS256),
        genuine().hs256_with_public_key(),
        genuine().unsigned(),
    ] {
        let text = token.sign();
        let fresh = validator(&server).validate(&text).await.map(|claims| claims.header().cloned());
        for time in ["the first time", "again"] {
            let cached = warm.validate(&text).await.map(|claims| claims.header().cloned());
            assert_eq!(cached, fresh, "{text} {time}");
        }
    }
    assert_eq!(warm.validate(&good).await.map(|claims| claims.header().cloned()), Ok(first));
}

#[tokio::test]
async fn returns_the_first_failure_in_the_fixed_order() {
    let server = TestIssuer::new();
    let other_issuer = TestIssuer::named("https://other.test/");
    let validator = validator(&server);
    // Each line has the error of one stage and those of all later stages.
    let all_errors = || other_issuer.token().audience("https://other.test/").expired().with_broken_signature();
    let ours = || all_errors().issuer(server.issuer());
    let long = "x".repeat(20_000);
    assert_eq!(
        validator.validate(&long).await.unwrap_err(),
        Rejection::Token(TokenError::TooLong { length: 20_000, limit: 16_384 })
    );
    assert_eq!(
        rejected(&validator, all_errors().header("crit", ["exp"])).await,
        Rejection::Token(TokenError::CriticalHeader)
    );
    assert_eq!(
        rejected(&validator, all_errors().header("alg", "HS256")).await,
        Rejection::Issuer(IssuerError::Unknown { difference: None })
    );
    assert_eq!(
        rejected(&validator, ours().header("alg", "HS256")).await,
        Rejection::Algorithm { algorithm: Algorithm::HS256 }
    );
    assert_eq!(
        rejected(&validator, ours().kid("nobody")).await,
        Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Mismatch))
    );
    assert_eq!(
        rejected(&validator, ours().audience(AUDIENCE).kid("nobody")).await,
        Rejection::UnverifiedClaims(ClaimError::Expired)
    );
    let current = || ours().audience(AUDIENCE).expires_in(Duration::from_secs(60)).claim("nbf", "no date");
    assert_eq!(
        rejected(&validator, current().kid("nobody")).await,
        Rejection::Key(KeyNotFoundError::Unknown { age: None })
    );
    assert_eq!(rejected(&validator, current().kid(&server.kid())).await, Rejection::Signature);
    let genuine = || server.token().claim("nbf", "no date").claim("at_hash", "x");
    assert_eq!(rejected(&validator, genuine().typ("logout+jwt")).await, Rejection::Claims(ClaimError::TokenType));
    assert_eq!(rejected(&validator, genuine()).await, Rejection::Claims(ClaimError::NotBefore));
    assert_eq!(
        rejected(&validator, genuine().without("nbf")).await,
        Rejection::Claims(ClaimError::IdToken { marker: "at_hash" })
    );
    assert!(validator.validate(&server.token().sign()).await.is_ok());
}

#[tokio::test]
async fn rejection_shows_whether_the_signature_was_checked() {
    let server = TestIssuer::new();
    let validator = validator(&server);
    for (token, checked) in [
        (server.token().expired(), false),
        (server.token().kid("nobody"), false),
        (server.token().with_broken_signature(), true),
        (server.token().typ("x"), true),
    ] {
        assert_eq!(rejected(&validator, token).await.signature_checked(), checked);
    }
}

#[tokio::test]
async fn hint_names_common_mistakes() {
    let server = TestIssuer::new();
    let validator = validator(&server);
    let opaque = validator.validate("2YotnFZFEjr1zCsicMWpAA").await.unwrap_err();
    assert_eq!(opaque, Rejection::Token(TokenError::NotAJwt));
    let expected = "opaque: the client requested no audience, the server issues no JWTs, or the JWT was cut off";
    assert_eq!(opaque.hint(), Some(expected));
    for (iss, difference, hint) in [
        ("https://issuer.test", IssuerDifference::MissingSlash, "iss lacks the trailing slash"),
        ("https://ISSUER.test/", IssuerDifference::Case, "iss differs"),
        ("http://issuer.test/", IssuerDifference::Scheme, "iss differs"),
    ] {
        let rejection = rejected(&validator, server.token().issuer(iss)).await;
        assert_eq!(rejection, Rejection::Issuer(IssuerError::Unknown { difference: Some(difference) }), "{iss}");
        assert!(rejection.hint().is_some_and(|text| text.starts_with(hint)), "{iss}");
    }
    assert_eq!(rejected(&validator, server.token().issuer("https://other.test/")).await.hint(), None);
}

#[tokio::test]
async fn rejects_ambiguous_tokens() {
    let server = TestIssuer::new();
    let validator = validator(&server);
    for (token, error) in [
        (
            server.token().with_duplicate_claim("sub", "admin"),
            TokenError::DuplicateMember { segment: Segment::Payload },
        ),
        (
            server.token().claim("unregistered", 2).with_duplicate_claim("unregistered", 1),
            TokenError::DuplicateMember { segment: Segment::Payload },
        ),
        (server.token().with_duplicate_header("kid", "x"), TokenError::DuplicateMember { segment: Segment::Header }),
        (server.token().raw_payload("[]"), TokenError::Json { segment: Segment::Payload }),
        (server.token().encrypted(), TokenError::Encrypted),
        (server.token().unsigned(), TokenError::Empty { segment: Segment::Signature }),
        (server.token().unsigned().with_signature(*b"x"), TokenError::UnknownAlgorithm),
    ] {
        assert_eq!(rejected(&validator, token).await, Rejection::Token(error));
    }
}

/// The layer decides which characters a header may contain (RFC 6750 §2.1).
#[tokio::test]
async fn rejects_text_that_no_header_can_carry() {
    let server = TestIssuer::new();
    let validator = validator(&server);
    let token = server.token().sign();
    assert!(validator.validate(&token).await.is_ok());
    let (signing_input, _) = token.rsplit_once('.').expect("a token");
    let encoding = TokenError::Encoding { segment: Segment::Signature };
    for (text, expected) in [
        (String::new(), TokenError::NoToken),
        ("a b".to_owned(), TokenError::WhiteSpace),
        (format!("{token} "), TokenError::WhiteSpace),
        (format!("Bearer {token}"), TokenError::WhiteSpace),
        (format!("{token}="), encoding),
        (format!("{signing_input}.ü"), encoding),
    ] {
        let explanation = validator.explain(&text).await;
        assert!(!explanation.is_accepted(), "{text}");
        assert_eq!(validator.validate(&text).await.map(drop), Err(Rejection::Token(expected)), "{text}");
    }
}

#[tokio::test]
async fn rejects_a_token_signed_with_the_public_key_as_secret() {
    let server = TestIssuer::new();
    let rejection = rejected(&validator(&server), server.token().hs256_with_public_key()).await;
    assert_eq!(rejection, Rejection::Algorithm { algorithm: Algorithm::HS256 });
}

#[tokio::test]
async fn rejects_a_token_signed_by_another_configured_issuer() {
    let (a, b) = (TestIssuer::named("https://a.test/"), TestIssuer::named("https://b.test/"));
    let api = Api::new(AUDIENCE, trusted(&a)).with_issuer(trusted(&b));
    let validator = Validator::new(api).expect("a valid configuration");
    assert_eq!(validator.validate(&a.token().sign()).await.unwrap().issuer(), "https://a.test/");
    assert_eq!(validator.validate(&b.token().sign()).await.unwrap().issuer(), "https://b.test/");
    assert_eq!(
        rejected(&validator, b.token().issuer("https://a.test/")).await,
        Rejection::Key(KeyNotFoundError::Unknown { age: None })
    );
    assert_eq!(rejected(&validator, a.token().signed_by(&b)).await, Rejection::Signature);
}

#[tokio::test]
async fn accepts_only_listed_domains_of_a_tenant() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let validator =
        Validator::new(Api::new(AUDIENCE, trusted(&tenant).with_alias(login.issuer()))).expect("a valid configuration");
    for domain in [&tenant, &login] {
        assert_eq!(validator.validate(&domain.token().sign()).await.unwrap().issuer(), domain.issuer());
    }
    let unlisted = tenant.add_custom_domain("https://shop.northwind.com/");
    assert_eq!(
        rejected(&validator, unlisted.token()).await,
        Rejection::Issuer(IssuerError::Unknown { difference: None })
    );
}

#[tokio::test]
async fn host_selects_the_domain() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let issuer = trusted(&tenant).with_alias(login.issuer());
    let bound =
        Api::new(AUDIENCE, issuer.clone()).with_issuer_for_host("api.brand-a.com", "https://login.northwind.com/");
    let validator = Validator::new(bound).expect("a valid configuration");
    let token = login.token().sign();
    for host in ["api.brand-a.com", "API.Brand-A.com:8443"] {
        assert!(validator.validate_for_host(&token, host).await.is_ok(), "{host}");
    }
    let canonical = tenant.token().sign();
    assert_eq!(
        validator.validate_for_host(&canonical, "api.brand-a.com").await.unwrap_err(),
        Rejection::Issuer(IssuerError::NotForHost)
    );
    assert_eq!(
        validator.validate_for_host(&token, "api.brand-b.com").await.unwrap_err(),
        Rejection::Issuer(IssuerError::UnknownHost)
    );
    assert_eq!(validator.validate(&token).await.unwrap_err(), Rejection::Issuer(IssuerError::UnknownHost));
    assert_eq!(
        validator.validate_for_host(&token, "api brand").await.unwrap_err(),
        Rejection::Host(HostError::Malformed)
    );

    let identity = Validator::new(Api::new(AUDIENCE, issuer).with_issuer_from_host()).expect("a valid configuration");
    assert!(identity.validate_for_host(&token, "login.northwind.com").await.is_ok());
    assert!(identity.validate_for_host(&canonical, "northwind.eu.auth0.com").await.is_ok());
    assert_eq!(
        identity.validate_for_host(&canonical, "login.northwind.com").await.unwrap_err(),
        Rejection::Issuer(IssuerError::NotForHost)
    );
}

#[derive(Debug, Deserialize)]
struct Northwind {
    #[serde(rename = "https://northwind.com/department")]
    department: String,
}

#[tokio::test]
async fn custom_claims_are_parsed_last() {
    let server = TestIssuer::new();
    let typed = validator(&server).with_custom_claims::<Northwind>();
    let good = server.token().claim("https://northwind.com/department", "sales");
    assert_eq!(typed.validate(&good.clone().sign()).await.unwrap().custom().department, "sales");
    let wrong = good.claim("https://northwind.com/department", 7);
    let reason = "invalid type: integer, expected a string";
    let mismatch = CustomClaimsError::new(Some("https://northwind.com/department"), reason);
    let rejection = typed.validate(&wrong.clone().sign()).await.unwrap_err();
    assert_eq!(rejection, Rejection::CustomClaims(mismatch.clone()));
    let source = std::error::Error::source(&rejection).expect("a source");
    assert_eq!(source.to_string(), format!("claim \"https://northwind.com/department\": {reason}"));
    let explanation = typed.explain(&wrong.clone().sign()).await;
    let finding = explanation.findings().last().expect("findings");
    assert_eq!((finding.check(), finding.found()), ("application", Some(&*mismatch.to_string())));
    assert_eq!(finding.rejection(), Some(&rejection));
    let missing = typed.validate(&server.token().sign()).await.unwrap_err();
    let reason = "missing field `https://northwind.com/department`";
    assert_eq!(missing, Rejection::CustomClaims(CustomClaimsError::new(None, reason)));
    assert_eq!(typed.validate(&wrong.with_broken_signature().sign()).await.unwrap_err(), Rejection::Signature);
}

#[tokio::test]
async fn runs_custom_checks_last_and_after_a_change_of_the_claims_type() {
    let server = TestIssuer::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let checked = validator(&server)
        .with_check(move |claims: &Claims| {
            count.fetch_add(1, Ordering::Relaxed);
            if claims.subject() == Some("banned") { Err(CheckError::new()) } else { Ok(()) }
        })
        .with_custom_claims::<serde_json::Map<String, serde_json::Value>>();
    assert!(checked.validate(&server.token().subject("ann").sign()).await.is_ok());
    let banned = checked.validate(&server.token().subject("banned").sign()).await.unwrap_err();
    assert_eq!((banned.kind(), banned), (RejectionKind::Check, Rejection::Check(CheckError::new())));
    let expired = checked.validate(&server.token().subject("banned").expired().sign()).await.unwrap_err();
    assert_eq!(expired.kind(), RejectionKind::Expired);
    assert_eq!(seen.load(Ordering::Relaxed), 2, "a check runs only over claims that held");
}

#[tokio::test]
async fn settings_of_the_api_are_applied() {
    let server = TestIssuer::new();
    let with = |change: fn(Api) -> Api| {
        Validator::new(change(Api::new(AUDIENCE, trusted(&server)))).expect("a valid configuration")
    };
    let strict = with(|api| api.with_profile(Profile::Rfc9068));
    assert!(strict.validate(&server.token().rfc9068().sign()).await.is_ok());
    assert_eq!(rejected(&strict, server.token()).await, Rejection::Claims(ClaimError::TokenType));
    let required = with(|api| api.with_required_claims(["org_id"]));
    assert!(required.validate(&server.token().organization("org_1").sign()).await.is_ok());
    assert_eq!(
        rejected(&required, server.token()).await,
        Rejection::Claims(ClaimError::Required { claim: Arc::from("org_id"), reason: ClaimErrorReason::Missing })
    );
    let bound = server.token().claim("cnf", serde_json::json!({ "jkt": "x" }));
    assert_eq!(rejected(&with(|api| api), bound.clone()).await, Rejection::Claims(ClaimError::Confirmation));
    assert!(with(Api::dangerous_ignore_confirmation).validate(&bound.sign()).await.is_ok());
    let short = with(|api| api.with_max_token_bytes(256));
    assert!(matches!(rejected(&short, server.token()).await, Rejection::Token(TokenError::TooLong { limit: 256, .. })));
    let second = with(|api| api.with_audience("https://second.test/"));
    assert!(second.validate(&server.token().audience("https://second.test/").sign()).await.is_ok());
}

#[tokio::test]
async fn accepts_tokens_of_several_secrets() {
    let (old, new) =
        (TestIssuer::new().with_algorithms([Algorithm::HS256]), TestIssuer::new().with_algorithms([Algorithm::HS256]));
    let issuer = Issuer::shared_secret(old.issuer(), Secret::from_text(old.secret()))
        .with_secret(Secret::from_text(new.secret()));
    let validator = Validator::new(Api::new(AUDIENCE, issuer)).expect("a valid configuration");
    for server in [&old, &new] {
        assert!(validator.validate(&server.token().sign()).await.is_ok());
        assert!(
            validator.validate(&server.token().kid("any").sign()).await.is_ok(),
            "a secret without kid verifies a token with one"
        );
    }
    let third = TestIssuer::new().with_algorithms([Algorithm::HS256]);
    assert_eq!(rejected(&validator, third.token()).await, Rejection::Signature);
}

#[tokio::test]
async fn requirements_are_checked_on_verified_claims() {
    let server = TestIssuer::new();
    let claims = validator(&server).validate(&server.token().scope("read:orders").sign()).await.expect("a valid token");
    let now = tower_bearer::clock::Timestamp::from_secs(0);
    assert_eq!(Requirement::scope("read:orders").check(&claims, now), Ok(()));
    let unmet = Requirement::scope("write:orders").check(&claims, now);
    let Err(UnmetRequirement::Scope { missing, scope, .. }) = unmet else { panic!("{unmet:?}") };
    assert_eq!((&*missing, &*scope), ("write:orders", "write:orders"));
}

#[test]
fn validator_is_send_sync_and_debug_shows_no_secret() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let issuer =
        Issuer::shared_secret("https://hs.example/", Secret::from_text("a secret of more than thirty-two bytes."));
    let validator = Validator::new(Api::new(AUDIENCE, issuer.clone())).expect("a valid configuration");
    shared(&validator);
    shared(&validator.clone().with_custom_claims::<Northwind>());
    let shown = format!("{validator:?} {issuer:?}");
    assert!(shown.contains("https://hs.example/") && !shown.contains("thirty-two"), "{shown}");
}
