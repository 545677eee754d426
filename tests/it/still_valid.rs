//! `Validator::still_valid`: claims of a connection that outlives its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tower_bearer::claims::ClaimError;
use tower_bearer::clock::Timestamp;
use tower_bearer::jwks::{RefreshPolicy, SecretSource};
use tower_bearer::keys::KeySet;
use tower_bearer::rejection::{CheckError, IssuerError, KeyNotFoundError};
use tower_bearer::testing::{FakeClock, TestIssuer, claims};
use tower_bearer::{Algorithm, Api, Claims, Issuer, Rejection, RejectionKind, Secret, Validator};

use crate::fixture::{AUDIENCE, NOW, server, trusted, validator_for};

const LEEWAY: Duration = Duration::from_secs(5);

/// Returns a test issuer and a validator that fetches its keys.
fn fetching(clock: &FakeClock, policy: RefreshPolicy) -> (TestIssuer, Validator) {
    let server = TestIssuer::new().with_clock(Arc::new(clock.clone()));
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    let builder = Validator::builder(api).with_fetch(server.clone()).with_clock(clock.clone());
    (server, builder.with_refresh_policy(policy).build().expect("a valid configuration"))
}

#[tokio::test]
async fn rejects_claims_from_the_end_of_the_leeway_on() {
    let clock = crate::fixture::clock();
    let server = TestIssuer::new().with_clock(Arc::new(clock.clone()));
    let api = Api::new(AUDIENCE, trusted(&server, Algorithm::RS256)).with_leeway(LEEWAY);
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a valid configuration");
    let claims = validator.validate(&server.token().claim("exp", NOW + 60).sign()).await.expect("a valid token");
    for (seconds, expected) in [(60 + 4, Ok(())), (60 + 5, Err(Rejection::Claims(ClaimError::Expired)))] {
        clock.set_wall(Timestamp::from_secs(NOW + seconds));
        assert_eq!(validator.still_valid(&claims), expected, "after {seconds} s");
    }
}

#[tokio::test]
async fn rejects_claims_of_a_revoked_key() {
    let (server, validator) = fetching(&FakeClock::new(), RefreshPolicy::new());
    let claims = validator.validate(&server.token().sign()).await.expect("a valid token");
    assert_eq!(validator.still_valid(&claims), Ok(()));
    let (_, keys) = validator.key_sources().next().expect("one issuer");
    keys.revoke_kid(&server.kid());
    assert_eq!(validator.still_valid(&claims), Err(Rejection::Key(KeyNotFoundError::NotForVerification)));
    keys.unrevoke_kid(&server.kid());
    assert_eq!(validator.still_valid(&claims), Ok(()));
}

#[tokio::test]
async fn rejects_claims_of_a_removed_key_and_accepts_those_of_a_kept_one() {
    let (server, validator) = fetching(&FakeClock::new(), RefreshPolicy::new());
    let old = validator.validate(&server.token().sign()).await.expect("a valid token");
    let (_, keys) = validator.key_sources().next().expect("one issuer");
    server.rotate();
    server.revoke_previous_keys();
    keys.reload().await.expect("keys");
    let new = validator.validate(&server.token().sign()).await.expect("a valid token");
    let kinds = [&old, &new].map(|claims| validator.still_valid(claims).map_err(|rejection| rejection.kind()));
    assert_eq!(kinds, [Err(RejectionKind::KeyNotFound), Ok(())]);
}

/// The `kid` of a key does not identify it.
#[tokio::test]
async fn rejects_claims_whose_key_was_replaced_under_the_same_kid() {
    let server = server(Algorithm::RS256);
    let other = TestIssuer::new();
    let kid = KeySet::from_jwks(other.jwks().replace(&other.kid(), &server.kid()));
    let replaced = validator_for(Api::new(AUDIENCE, Issuer::static_keys(server.issuer(), kid)));
    let original = validator_for(Api::new(AUDIENCE, trusted(&server, Algorithm::RS256)));
    let claims = original.validate(&server.token().sign()).await.expect("a valid token");
    assert_eq!(replaced.still_valid(&claims), Err(Rejection::Signature));
    assert_eq!(original.still_valid(&claims), Ok(()));
}

#[tokio::test]
async fn rejects_claims_of_a_replaced_secret() {
    let server = server(Algorithm::HS256);
    let secret = || Secret::from_text(server.secret()).expect("a secret");
    let secrets = SecretSource::new(secret());
    let validator = validator_for(Api::new(AUDIENCE, Issuer::secret_source(server.issuer(), &secrets)));
    let claims = validator.validate(&server.token().sign()).await.expect("a valid token");
    let next = || Secret::from_text("the next secret, which has more than 32 bytes").expect("a secret");
    secrets.replace([secret(), next()]).expect("two secrets");
    assert_eq!(validator.still_valid(&claims), Ok(()));
    secrets.replace([next()]).expect("one secret");
    assert_eq!(validator.still_valid(&claims), Err(Rejection::Signature));
}

#[tokio::test]
async fn runs_the_checks_of_the_application() {
    let server = server(Algorithm::RS256);
    let revoked = Arc::new(AtomicBool::new(false));
    let check = {
        let revoked = Arc::clone(&revoked);
        move |_: &Claims| if revoked.load(Ordering::Relaxed) { Err(CheckError::new()) } else { Ok(()) }
    };
    let validator = validator_for(Api::new(AUDIENCE, trusted(&server, Algorithm::RS256))).with_check(check);
    let claims = validator.validate(&server.token().sign()).await.expect("a valid token");
    assert_eq!(validator.still_valid(&claims), Ok(()));
    revoked.store(true, Ordering::Relaxed);
    assert_eq!(validator.still_valid(&claims), Err(Rejection::Check(CheckError::new())));
}

#[tokio::test]
async fn rejects_claims_while_no_keys_are_usable() {
    let clock = FakeClock::new();
    let (server, validator) = fetching(&clock, RefreshPolicy::new());
    let claims = validator.validate(&server.token().expires_in(Duration::from_secs(100_000)).sign()).await;
    let claims = claims.expect("a valid token");
    let (_, keys) = validator.key_sources().next().expect("one issuer");
    assert_eq!(validator.still_valid(&claims), Ok(()));
    keys.close();
    let kind = validator.still_valid(&claims).map_err(|rejection| rejection.kind());
    assert_eq!(kind, Err(RejectionKind::KeysUnavailable));
}

/// The claims are checked against the configuration of this validator, whichever validator created them.
#[tokio::test]
async fn rejects_claims_that_this_validator_would_not_accept() {
    let server = server(Algorithm::RS256);
    let validator = |audience: &str| validator_for(Api::new(audience, trusted(&server, Algorithm::RS256)));
    let claims = validator(AUDIENCE).validate(&server.token().sign()).await.expect("a valid token");
    let kind = |validator: &Validator| validator.still_valid(&claims).map_err(|rejection| rejection.kind());
    assert_eq!(kind(&validator(AUDIENCE)), Ok(()));
    assert_eq!(kind(&validator("https://other.test/")), Err(RejectionKind::Audience));
    let other_server = TestIssuer::named("https://other.test/");
    let other_issuer = validator_for(Api::new(AUDIENCE, trusted(&other_server, Algorithm::RS256)));
    assert_eq!(other_issuer.still_valid(&claims), Err(Rejection::Issuer(IssuerError::Unknown { difference: None })));
    let secret = Secret::from_text("a secret of more than thirty-two bytes");
    let symmetric = validator_for(Api::new(AUDIENCE, Issuer::shared_secret(server.issuer(), secret)));
    assert_eq!(symmetric.still_valid(&claims), Err(Rejection::Algorithm { algorithm: Algorithm::RS256 }));
}

#[test]
fn rejects_claims_without_a_signature() {
    let server = server(Algorithm::RS256);
    let validator = validator_for(Api::new(AUDIENCE, trusted(&server, Algorithm::RS256)));
    assert_eq!(
        validator.still_valid(&claims().issuer(server.issuer()).audience(AUDIENCE).build()),
        Err(Rejection::Signature)
    );
}
