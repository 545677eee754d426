//! Two issuers of one `iss`, one with public keys and one with a shared secret: the kind of `alg` selects the keys, and no key
//! is tried for the other kind.

use std::sync::Arc;
use std::time::Duration;

use tower_bearer::keys::KeySet;
use tower_bearer::rejection::{IssuerError, KeyNotFoundError};
use tower_bearer::testing::{FakeClock, Outage, TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, CheckOutcome, Issuer, Rejection, RejectionKind, Secret, Validator};

use crate::fixture::AUDIENCE;

const ISS: &str = "https://project.supabase.test/auth/v1";

/// The server during its migration: new tokens have ES256, old ones HS256.
struct Migration {
    clock: FakeClock,
    /// Signs with the published keys.
    public: TestIssuer,
    /// Signs with the secret.
    secret: TestIssuer,
}

impl Migration {
    fn new(algorithm: Algorithm) -> Self {
        let clock = FakeClock::new();
        let named = |algorithm| TestIssuer::named(ISS).with_algorithms([algorithm]).with_clock(Arc::new(clock.clone()));
        Self { public: named(algorithm), secret: named(Algorithm::HS256), clock }
    }

    /// Returns the two issuers.
    fn issuers(&self, algorithm: Algorithm) -> [Issuer; 2] {
        let keys = Issuer::jwks(ISS, self.public.jwks_uri()).with_algorithms([algorithm]);
        [keys, Issuer::shared_secret(ISS, Secret::from_text(self.secret.secret()))]
    }

    fn validator(&self, [first, second]: [Issuer; 2]) -> Validator {
        let api = Api::new(AUDIENCE, first).with_issuer(second);
        let builder = Validator::builder(api).with_fetch(self.public.clone()).with_clock(self.clock.clone());
        builder.build().expect("a valid configuration")
    }
}

async fn outcome(validator: &Validator, token: TokenBuilder) -> Result<(), Rejection> {
    validator.validate(&token.sign()).await.map(drop)
}

#[tokio::test]
async fn accepts_tokens_of_both_kinds_whatever_the_order_of_the_issuers() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let migration = Migration::new(algorithm);
        let [keys, secret] = migration.issuers(algorithm);
        for issuers in [[keys.clone(), secret.clone()], [secret, keys]] {
            let validator = migration.validator(issuers);
            for _ in ["fetched keys", "cached token"] {
                assert_eq!(outcome(&validator, migration.public.token()).await, Ok(()), "{algorithm}");
                assert_eq!(outcome(&validator, migration.secret.token()).await, Ok(()), "{algorithm}");
            }
            assert_eq!(validator.key_sources().map(|(name, _)| name).collect::<Vec<_>>(), [ISS]);
        }
    }
}

/// The published key is known to everybody, so its text must not work as a secret (RFC 8725 §3.1).
#[tokio::test]
async fn rejects_tokens_that_confuse_the_kinds() {
    let migration = Migration::new(Algorithm::RS256);
    let [keys, secret] = migration.issuers(Algorithm::RS256);
    for issuers in [[keys.clone(), secret.clone()], [secret, keys]] {
        let validator = migration.validator(issuers);
        assert_eq!(outcome(&validator, migration.public.token()).await, Ok(()));
        let fetches = migration.public.fetches();
        let public = || migration.public.token();
        // Signed with HMAC, whose secret is the public key.
        assert_eq!(outcome(&validator, public().hs256_with_public_key()).await, Err(Rejection::Signature));
        assert_eq!(
            outcome(&validator, public().hs256_with_public_key().without_kid()).await,
            Err(Rejection::Signature)
        );
        // Another secret.
        let other_secret = TestIssuer::named(ISS).with_algorithms([Algorithm::HS256]);
        assert_eq!(
            outcome(&validator, other_secret.token().expires_in(Duration::from_secs(600))).await,
            Err(Rejection::Signature)
        );
        // Signed with the secret, with the algorithm of the other kind, and the other way round.
        let algorithm = |token: TokenBuilder, algorithm| token.header("alg", algorithm);
        let renamed = algorithm(migration.secret.token(), "RS256").kid(&migration.public.kid());
        assert_eq!(outcome(&validator, renamed).await, Err(Rejection::Signature));
        assert_eq!(outcome(&validator, algorithm(public(), "HS256")).await, Err(Rejection::Signature));
        // An algorithm that neither issuer lists.
        for (name, algorithm) in [("HS384", Algorithm::HS384), ("PS256", Algorithm::PS256), ("ES256", Algorithm::ES256)]
        {
            let token = public().header("alg", name);
            assert_eq!(outcome(&validator, token).await, Err(Rejection::Algorithm { algorithm }), "{name}");
        }
        assert_eq!(
            outcome(&validator, public().unsigned()).await.map_err(|error| error.kind()),
            Err(RejectionKind::MalformedToken)
        );
        // Only the signature of an RS256 token, whose key may have been replaced, is a reason to fetch, at most once a minute.
        assert!(migration.public.fetches() <= fetches + 1, "{}", migration.public.fetches() - fetches);
    }
}

#[tokio::test]
async fn tokens_with_a_secret_start_no_fetch_and_wait_for_none() {
    let migration = Migration::new(Algorithm::ES256);
    let validator = migration.validator(migration.issuers(Algorithm::ES256));
    assert_eq!(outcome(&validator, migration.public.token()).await, Ok(()));
    let fetches = migration.public.fetches();
    for number in 0..50 {
        let unknown = migration.secret.token().kid(&format!("unknown-{number}")).with_broken_signature();
        assert_eq!(outcome(&validator, unknown).await, Err(Rejection::Signature));
        // The secret has no `kid`.
        assert_eq!(outcome(&validator, migration.secret.token().kid(&format!("unknown-{number}"))).await, Ok(()));
    }
    migration.clock.run_for(Duration::from_secs(5)).await;
    assert_eq!(migration.public.fetches(), fetches);
    // The budget for unknown keys is untouched: the first unknown `kid` of the public kind is looked up at once.
    migration.public.rotate();
    assert_eq!(outcome(&validator, migration.public.token()).await, Ok(()));
    assert_eq!(migration.public.fetches(), fetches + 1);
}

#[tokio::test]
async fn tokens_with_a_secret_are_accepted_while_the_keys_are_down() {
    let migration = Migration::new(Algorithm::ES256);
    migration.public.set_outage(Outage::NoConnection);
    let validator = migration.validator(migration.issuers(Algorithm::ES256));
    assert_eq!(outcome(&validator, migration.secret.token()).await, Ok(()));
    let waiting = tokio::spawn({
        let (validator, token) = (validator.clone(), migration.public.token());
        async move { outcome(&validator, token).await }
    });
    migration.clock.run_for(Duration::from_secs(1)).await;
    let kind = waiting.await.expect("no panic").map_err(|rejection| rejection.kind());
    assert_eq!(kind, Err(RejectionKind::KeysUnavailable));
}

/// A shared secret is always usable, so it must not make an API ready whose new tokens cannot be verified.
#[tokio::test]
async fn is_ready_when_the_keys_of_both_kinds_are_usable() {
    let migration = Migration::new(Algorithm::ES256);
    let [keys, secret] = migration.issuers(Algorithm::ES256);
    for issuers in [[keys.clone(), secret.clone()], [secret.clone(), keys.clone()]] {
        let validator = migration.validator(issuers);
        assert!(!validator.is_ready());
        let (_, source) = validator.key_sources().next().expect("the public keys");
        source.ready().await.expect("keys");
        assert!(validator.is_ready());
    }
    // Another `iss` is enough.
    let other = Issuer::shared_secret("https://other.test/", Secret::from_text(migration.secret.secret()));
    let api = Api::new(AUDIENCE, keys).with_issuer(secret).with_issuer(other);
    let validator = Validator::builder(api).with_fetch(migration.public.clone()).build().expect("valid");
    assert!(validator.is_ready());
}

#[tokio::test]
async fn still_valid_uses_the_keys_of_the_kind() {
    let migration = Migration::new(Algorithm::ES256);
    let validator = migration.validator(migration.issuers(Algorithm::ES256));
    let public = validator.validate(&migration.public.token().sign()).await.expect("a valid token");
    let secret = validator.validate(&migration.secret.token().sign()).await.expect("a valid token");
    let (_, source) = validator.key_sources().next().expect("the public keys");
    source.revoke_kid(&migration.public.kid());
    let revoked = Rejection::Key(KeyNotFoundError::NotForVerification);
    assert_eq!(validator.still_valid(&public), Err(revoked));
    assert_eq!(validator.still_valid(&secret), Ok(()));
}

#[tokio::test]
async fn explain_and_hints_name_the_algorithms_of_both_issuers() {
    let migration = Migration::new(Algorithm::RS256);
    let validator = migration.validator(migration.issuers(Algorithm::RS256));
    for token in [migration.public.token(), migration.secret.token()] {
        assert!(validator.explain(&token.sign()).await.is_accepted());
    }
    for name in ["HS384", "ES256"] {
        let token = migration.public.token().header("alg", name).sign();
        let explanation = validator.explain(&token).await;
        let finding = explanation.findings().iter().find(|finding| finding.check() == "alg").expect("the check");
        assert_eq!((finding.outcome(), finding.expected()), (CheckOutcome::Failed, Some("RS256 or HS256")), "{name}");
        assert_eq!(finding.hint(), Some("the issuer's configured algorithms do not include the token's"), "{name}");
        assert_eq!(explanation.rejection(), validator.validate(&token).await.err().as_ref());
    }
    let unknown = migration.public.token().issuer("https://unknown.test/").sign();
    let explanation = validator.explain(&unknown).await;
    let finding = explanation.findings().iter().find(|finding| finding.check() == "iss").expect("the check");
    assert_eq!(finding.expected(), Some(ISS));
    assert_eq!(finding.rejection(), Some(&Rejection::Issuer(IssuerError::Unknown { difference: None })));
}

/// The secret belongs to one domain of a tenant only.
#[tokio::test]
async fn a_secret_for_one_domain_verifies_no_tokens_of_the_others() {
    let server = TestIssuer::named(ISS);
    let secret = TestIssuer::named(ISS).with_algorithms([Algorithm::HS256]);
    let keys = Issuer::static_keys(ISS, KeySet::from_jwks(server.jwks())).with_alias("https://login.test/");
    let api = Api::new(AUDIENCE, keys).with_issuer(Issuer::shared_secret(ISS, Secret::from_text(secret.secret())));
    let validator = Validator::new(api).expect("a valid configuration");
    assert_eq!(outcome(&validator, secret.token()).await, Ok(()));
    assert_eq!(outcome(&validator, server.token().issuer("https://login.test/")).await, Ok(()));
    let other = secret.token().issuer("https://login.test/");
    assert_eq!(outcome(&validator, other).await, Err(Rejection::Algorithm { algorithm: Algorithm::HS256 }));
}
