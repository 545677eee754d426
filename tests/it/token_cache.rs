//! The token cache: which tokens it stores, and which it must never store or use.
//!
//! Custom claims are deserialized once per full validation, so their count tells hits from full validations.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tower_bearer::claims::ClaimError;
use tower_bearer::clock::{Clock as _, Timestamp};
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::keys::KeySet;
use tower_bearer::rejection::{CheckError, IssuerError, KeyNotFoundError};
use tower_bearer::testing::{FakeClock, Outage, TestIssuer};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, RejectionKind, Secret, Validator, ValidatorBuilder};

const AUDIENCE: &str = "https://api.test/";

/// Custom claims that count how often they are deserialized on this thread.
struct Counted;

thread_local! {
    static FULL_VALIDATIONS: Cell<usize> = const { Cell::new(0) };
}

impl<'j> Deserialize<'j> for Counted {
    fn deserialize<D: Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        FULL_VALIDATIONS.set(FULL_VALIDATIONS.get() + 1);
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Returns the number of full validations during `work`.
async fn count_full_validations<T>(work: impl Future<Output = T>) -> (usize, T) {
    let before = FULL_VALIDATIONS.get();
    let outcome = work.await;
    (FULL_VALIDATIONS.get() - before, outcome)
}

/// An issuer, a clock, and a validator that uses both.
struct Fixture {
    clock: FakeClock,
    server: TestIssuer,
    validator: Validator<Counted>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(ValidatorBuilder) -> ValidatorBuilder) -> Self {
        let clock = FakeClock::new();
        let server = TestIssuer::new().with_algorithms([Algorithm::ES256]).with_clock(Arc::new(clock.clone()));
        let issuer = Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms([Algorithm::ES256]);
        let builder = Validator::builder(Api::new(AUDIENCE, issuer));
        let builder = change(builder.with_fetch(server.clone()).with_clock(clock.clone()));
        let validator = builder.build().expect("a valid configuration").with_custom_claims();
        Self { clock, server, validator }
    }

    fn token_for(&self, seconds: u64) -> String {
        self.server.token().expires_in(Duration::from_secs(seconds)).sign()
    }

    /// Returns the number of full validations for a valid token.
    async fn full_validations(&self, token: &str) -> usize {
        let (count_full_validations, outcome) = count_full_validations(self.validator.validate(token)).await;
        assert_eq!(outcome.map(drop), Ok(()));
        count_full_validations
    }

    async fn rejection(&self, token: &str) -> Rejection {
        self.validator.validate(token).await.map(drop).expect_err("a rejection")
    }
}

/// Returns a validator with the issuer's keys as static keys.
fn fixed(server: &TestIssuer, audience: &str) -> Validator<Counted> {
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let api = Api::new(audience, issuer.with_algorithms([Algorithm::ES256]));
    Validator::new(api).expect("a valid configuration").with_custom_claims()
}

fn es256() -> TestIssuer {
    TestIssuer::new().with_algorithms([Algorithm::ES256])
}

#[tokio::test]
async fn verifies_a_token_once_and_returns_the_same_claims() {
    let fixture = Fixture::new();
    let token = fixture.server.token().subject("ann").scope("read:orders").sign();
    let (full, first) = count_full_validations(fixture.validator.validate(&token)).await;
    let (again, second) = count_full_validations(fixture.validator.validate(&token)).await;
    assert_eq!((full, again), (1, 0));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((second.subject(), second.json()), (Some("ann"), first.json()));
    assert_eq!(second.header(), first.header());
    assert!(second.scopes().contains("read:orders"));
}

#[tokio::test]
async fn verifies_every_time_without_token_cache() {
    for off in [ValidatorBuilder::without_token_cache, |builder: ValidatorBuilder| builder.with_token_cache_bytes(0)] {
        let fixture = Fixture::with(off);
        let token = fixture.token_for(3600);
        assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 1));
    }
}

#[tokio::test]
async fn clones_share_the_token_cache_and_other_validators_do_not() {
    let server = es256();
    let token = server.token().sign();
    let one = fixed(&server, AUDIENCE);
    let (clone, other) = (one.clone(), fixed(&server, AUDIENCE));
    let (count_full_validations, _) = count_full_validations(async {
        for validator in [&one, &clone, &other, &other] {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(count_full_validations, 2);
}

#[tokio::test]
async fn another_claims_type_has_its_own_token_cache() {
    let server = es256();
    let token = server.token().sign();
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let plain =
        Validator::new(Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256]))).expect("a valid configuration");
    assert!(plain.validate(&token).await.is_ok());
    let custom = plain.clone().with_custom_claims::<Counted>();
    let (count_full_validations, outcome) = count_full_validations(custom.validate(&token)).await;
    assert_eq!((count_full_validations, outcome.is_ok()), (1, true));
}

#[tokio::test]
async fn cache_entry_of_one_api_is_not_used_by_another() {
    let server = es256();
    let (one, other) = (fixed(&server, AUDIENCE), fixed(&server, "https://other.test/"));
    let token = server.token().audience(AUDIENCE).sign();
    for _ in 0..2 {
        assert!(one.validate(&token).await.is_ok());
        assert_eq!(other.validate(&token).await.map(drop).unwrap_err().kind(), RejectionKind::Audience);
    }
}

#[tokio::test]
async fn entry_is_not_used_after_exp() {
    let fixture = Fixture::new();
    let token = fixture.token_for(60);
    assert_eq!(fixture.full_validations(&token).await, 1);
    fixture.clock.advance(Duration::from_secs(59));
    assert_eq!(fixture.full_validations(&token).await, 0);
    // Within the leeway the token is valid, and each call verifies it again.
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 1));
    fixture.clock.advance(Duration::from_secs(5));
    assert_eq!(fixture.rejection(&token).await, Rejection::UnverifiedClaims(ClaimError::Expired));
}

#[tokio::test]
async fn evicts_an_expired_entry() {
    let fixture = Fixture::new();
    let start = fixture.clock.now();
    let token = fixture.token_for(60);
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
    // If no request arrived in between, setting the clock back removes no entry.
    fixture.clock.set_wall(start.saturating_add(Duration::from_secs(66)));
    fixture.clock.set_wall(start);
    assert_eq!(fixture.full_validations(&token).await, 0);
    fixture.clock.set_wall(start.saturating_add(Duration::from_secs(66)));
    assert_eq!(fixture.rejection(&token).await, Rejection::UnverifiedClaims(ClaimError::Expired));
    fixture.clock.set_wall(start);
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
}

#[tokio::test]
async fn entry_is_not_used_after_five_minutes() {
    let fixture = Fixture::new();
    let token = fixture.token_for(3600);
    assert_eq!(fixture.full_validations(&token).await, 1);
    fixture.clock.advance(Duration::from_secs(299));
    assert_eq!(fixture.full_validations(&token).await, 0);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
}

#[tokio::test]
async fn wall_clock_set_back_extends_no_entry() {
    let fixture = Fixture::new();
    let start = fixture.clock.now();
    let token = fixture.server.token().expires_in(Duration::from_secs(3600)).not_before(start).sign();
    assert_eq!(fixture.full_validations(&token).await, 1);
    fixture.clock.advance(Duration::from_secs(200));
    fixture.clock.set_wall(start.saturating_add(Duration::from_secs(1)));
    assert_eq!(fixture.full_validations(&token).await, 0);
    fixture.clock.advance(Duration::from_secs(100));
    assert_eq!(fixture.full_validations(&token).await, 1);
    // Before the time of the entry, its checks of dates are not used.
    fixture.clock.set_wall(start.saturating_sub(Duration::from_secs(60)));
    assert_eq!(fixture.rejection(&token).await, Rejection::Claims(ClaimError::NotYetValid));
}

#[tokio::test]
async fn max_age_is_checked_on_every_hit() {
    let clock = FakeClock::new();
    let server = es256().with_clock(Arc::new(clock.clone()));
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let api =
        Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256])).with_max_token_age(Duration::from_secs(30));
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a valid configuration");
    let validator = validator.with_custom_claims::<Counted>();
    let token = server.token().issued_at(clock.now()).sign();
    // From the maximum age on, each call verifies the token. The leeway of five seconds applies there.
    for (seconds, expected) in [(0, 1), (0, 0), (29, 0), (1, 1), (4, 1)] {
        clock.advance(Duration::from_secs(seconds));
        let (full, outcome) = count_full_validations(validator.validate(&token)).await;
        assert_eq!((full, outcome.is_ok()), (expected, true), "after {seconds} s more");
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(validator.validate(&token).await.map(drop).unwrap_err(), Rejection::Claims(ClaimError::TooOld));
}

#[tokio::test]
async fn removed_key_evicts_cached_token() {
    let fixture = Fixture::new();
    let token = fixture.token_for(3600);
    assert_eq!(fixture.full_validations(&token).await, 1);
    let (_, source) = fixture.validator.key_sources().next().expect("keys are fetched");
    fixture.server.rotate();
    source.reload().await.expect("the server answers");
    // A new epoch, with the same key.
    assert_eq!(fixture.full_validations(&token).await, 0);
    fixture.server.revoke_previous_keys();
    source.reload().await.expect("the server answers");
    let rejection = tokio::spawn({
        let (validator, token) = (fixture.validator.clone(), token.clone());
        async move { validator.validate(&token).await.map(drop) }
    });
    fixture.clock.run_for(Duration::from_secs(30)).await;
    assert_eq!(
        rejection.await.expect("no panic"),
        Err(Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) }))
    );
}

#[tokio::test]
async fn revoked_kid_evicts_at_once() {
    let fixture = Fixture::new();
    let token = fixture.token_for(3600);
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
    let (_, source) = fixture.validator.key_sources().next().expect("keys are fetched");
    source.revoke_kid(&fixture.server.kid());
    assert_eq!(fixture.rejection(&token).await, Rejection::Key(KeyNotFoundError::NotForVerification));
    source.unrevoke_kid(&fixture.server.kid());
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
}

#[tokio::test]
async fn same_key_under_another_kid_restores_no_entry() {
    let fixture = Fixture::new();
    let token = fixture.token_for(3600);
    let (kid, jwks) = (fixture.server.kid(), fixture.server.jwks());
    let twice = jwks.replace("]}", &format!(",{}]}}", key_of(&jwks).replace(&kid, "alias")));
    fixture.server.publish(twice);
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
    let (_, source) = fixture.validator.key_sources().next().expect("keys are fetched");
    source.revoke_kid(&kid);
    assert_eq!(fixture.rejection(&token).await, Rejection::Key(KeyNotFoundError::NotForVerification));
}

/// The revoked kid names a key, so tokens that name the same key by another kid are rejected as well.
#[tokio::test]
async fn revoked_key_evicts_at_once_under_every_kid() {
    let fixture = Fixture::new();
    let (kid, jwks) = (fixture.server.kid(), fixture.server.jwks());
    let twice = jwks.replace("]}", &format!(",{}]}}", key_of(&jwks).replace(&kid, "alias")));
    fixture.server.publish(twice);
    let token = fixture.server.token().kid("alias").expires_in(Duration::from_secs(3600)).sign();
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
    let (_, source) = fixture.validator.key_sources().next().expect("keys are fetched");
    source.revoke_kid(&kid);
    assert_eq!(fixture.rejection(&token).await, Rejection::Key(KeyNotFoundError::NotForVerification));
    source.unrevoke_kid(&kid);
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
    let key = KeySet::from_jwks(jwks).expect("a key set").thumbprints().next().expect("a key");
    source.revoke_key(key);
    assert_eq!(fixture.rejection(&token).await, Rejection::Key(KeyNotFoundError::NotForVerification));
    source.unrevoke_key(key);
    assert_eq!(fixture.full_validations(&token).await, 1);
}

#[tokio::test]
async fn another_key_under_the_same_kid_restores_no_entry() {
    let fixture = Fixture::new();
    let token = fixture.token_for(3600);
    let ours = fixture.server.jwks();
    let other = es256();
    let theirs = other.jwks().replace(&other.kid(), &fixture.server.kid());
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
    let (_, source) = fixture.validator.key_sources().next().expect("keys are fetched");
    fixture.server.publish(theirs);
    source.reload().await.expect("the server answers");
    assert_eq!(fixture.rejection(&token).await, Rejection::Signature);
    fixture.server.publish(ours);
    source.reload().await.expect("the server answers");
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
}

/// Returns the text of the only key in a set.
fn key_of(jwks: &str) -> &str {
    let (start, end) = (jwks.find("[{").expect("an array") + 1, jwks.rfind("}]").expect("an array") + 1);
    &jwks[start..end]
}

#[tokio::test]
async fn expired_keys_disable_their_entries() {
    let policy =
        RefreshPolicy::new().with_refresh_interval(Duration::from_secs(60)).with_max_stale(Duration::from_secs(120));
    let fixture = Fixture::with(|builder| builder.with_refresh_policy(policy));
    let token = fixture.token_for(3600);
    assert_eq!(fixture.full_validations(&token).await, 1);
    fixture.server.set_outage(Outage::Status(http::StatusCode::BAD_GATEWAY));
    fixture.clock.run_for(Duration::from_secs(110)).await;
    assert_eq!(fixture.full_validations(&token).await, 0);
    fixture.clock.run_for(Duration::from_secs(30)).await;
    let rejection = tokio::spawn({
        let (validator, token) = (fixture.validator.clone(), token.clone());
        async move { validator.validate(&token).await.map(drop) }
    });
    fixture.clock.run_for(Duration::from_secs(10)).await;
    assert_eq!(rejection.await.expect("no panic").unwrap_err().kind(), RejectionKind::KeysUnavailable);
    // Once the keys are loaded again, the entry is used again: the key is the same, and the entry has not expired.
    fixture.server.set_outage(Outage::None);
    fixture.clock.run_for(Duration::from_secs(20)).await;
    assert_eq!(fixture.full_validations(&token).await, 0);
}

#[tokio::test]
async fn closed_source_disables_its_entries() {
    let fixture = Fixture::new();
    let token = fixture.token_for(3600);
    assert_eq!(fixture.full_validations(&token).await, 1);
    fixture.validator.key_sources().for_each(|(_, source)| source.close());
    assert_eq!(fixture.rejection(&token).await.kind(), RejectionKind::KeysUnavailable);
}

#[tokio::test]
async fn custom_checks_run_on_every_hit() {
    let server = es256();
    let denied = Arc::new(AtomicBool::new(false));
    let is_denied = Arc::clone(&denied);
    let validator = fixed(&server, AUDIENCE)
        .with_check(move |_| if is_denied.load(Ordering::Relaxed) { Err(CheckError::new()) } else { Ok(()) });
    let token = server.token().sign();
    assert!(validator.validate(&token).await.is_ok());
    denied.store(true, Ordering::Relaxed);
    let (full, outcome) = count_full_validations(validator.validate(&token)).await;
    assert_eq!((full, outcome.map(drop).unwrap_err().kind()), (0, RejectionKind::Check));
    denied.store(false, Ordering::Relaxed);
    let (full, outcome) = count_full_validations(validator.validate(&token)).await;
    assert_eq!((full, outcome.is_ok()), (0, true));
}

#[tokio::test]
async fn host_is_checked_on_every_hit() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com").with_algorithms([Algorithm::ES256]);
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let issuer = Issuer::static_keys(tenant.issuer(), KeySet::from_jwks(tenant.jwks()))
        .with_algorithms([Algorithm::ES256])
        .with_alias(login.issuer());
    let api = Api::new(AUDIENCE, issuer)
        .with_issuer_for_host("api.brand-a.com", "https://login.northwind.com/")
        .with_issuer_for_host("api.brand-b.com", tenant.issuer());
    let validator = Validator::new(api).expect("a valid configuration").with_custom_claims::<Counted>();
    let token = login.token().sign();
    assert!(validator.validate_for_host(&token, "api.brand-a.com").await.is_ok());
    let (full, outcome) = count_full_validations(validator.validate_for_host(&token, "api.brand-a.com:443")).await;
    assert_eq!((full, outcome.is_ok()), (0, true));
    for (host, error) in [("api.brand-b.com", IssuerError::NotForHost), ("api.brand-c.com", IssuerError::UnknownHost)] {
        let rejection = validator.validate_for_host(&token, host).await.map(drop);
        assert_eq!(rejection, Err(Rejection::Issuer(error)), "{host}");
    }
    assert_eq!(validator.validate(&token).await.map(drop), Err(Rejection::Issuer(IssuerError::UnknownHost)));
}

#[tokio::test]
async fn token_that_differs_in_one_bit_is_no_hit() {
    let server = es256();
    let validator = fixed(&server, AUDIENCE);
    let token = server.token().sign();
    assert!(validator.validate(&token).await.is_ok());
    for at in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let other = String::from_utf8(bytes).expect("ASCII");
            assert!(validator.validate(&other).await.is_err(), "byte {at}, bit {bit}");
        }
    }
    assert!(validator.validate(&token[..token.len() - 1]).await.is_err());
    assert!(validator.validate(&format!("{token}A")).await.is_err());
    assert!(validator.validate(&token).await.is_ok());
}

#[tokio::test]
async fn tokens_of_shared_secrets_are_not_cached() {
    let server = TestIssuer::new().with_algorithms([Algorithm::HS256, Algorithm::ES256]);
    let secret = Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()));
    let public = es256();
    let keys = Issuer::static_keys("https://public.test/", KeySet::from_jwks(public.jwks()));
    let api = Api::new(AUDIENCE, secret).with_issuer(keys.with_algorithms([Algorithm::ES256]));
    let validator = Validator::new(api).expect("a valid configuration").with_custom_claims::<Counted>();
    let token = server.token().sign();
    let (full, ()) = count_full_validations(async {
        for _ in 0..2 {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(full, 2);
    let token = public.token().issuer("https://public.test/").sign();
    let (full, ()) = count_full_validations(async {
        for _ in 0..2 {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(full, 1);
}

#[tokio::test]
async fn rejections_are_never_cached() {
    let fixture = Fixture::new();
    let soon = fixture.clock.now().saturating_add(Duration::from_secs(60));
    let token = fixture.server.token().expires_in(Duration::from_secs(3600)).not_before(soon).sign();
    assert_eq!(fixture.rejection(&token).await, Rejection::Claims(ClaimError::NotYetValid));
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!((fixture.full_validations(&token).await, fixture.full_validations(&token).await), (1, 0));
    let forged = fixture.server.token().with_broken_signature().sign();
    for _ in 0..2 {
        assert_eq!(fixture.rejection(&forged).await, Rejection::Signature);
    }
}

/// Without requests, no token is stored, so that nothing else would remove the entry.
#[tokio::test]
async fn refresh_removes_expired_entries_of_an_idle_service() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let entries = || {
        let text = recorder.handle().render();
        let line = text.lines().find_map(|line| line.strip_prefix("jwt_token_cache_entries ").map(str::to_owned));
        line.expect("a gauge")
    };
    let fixture = Fixture::new();
    assert_eq!(fixture.full_validations(&fixture.token_for(3600)).await, 1);
    // The first refresh comes before the entry is five minutes old, the second one after.
    fixture.clock.run_for(Duration::from_secs(299)).await;
    assert_eq!(entries(), "1");
    fixture.clock.run_for(Duration::from_secs(301)).await;
    assert_eq!(entries(), "0");
}

#[test]
fn token_cache_memory_is_bounded_by_bytes() {
    const BOUND: usize = 1024 * 1024;
    const TOKENS: usize = 3_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let server = es256();
    let tokens: Vec<String> = (0..TOKENS).map(|n| server.token().subject(&format!("user-{n}")).sign()).collect();
    let allocated_with = |bound: usize| {
        let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
        let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256]));
        let mut stored = None;
        // The count includes the validator.
        let allocated = allocation_counter::measure(|| {
            let validator =
                Validator::builder(api).with_token_cache_bytes(bound).build().expect("a valid configuration");
            let validator = stored.insert(validator);
            for token in &tokens {
                assert!(runtime.block_on(validator.validate(token)).is_ok());
            }
        });
        usize::try_from(allocated.bytes_current).expect("more is allocated than freed")
    };
    let (without, bounded, unbounded) = (allocated_with(0), allocated_with(BOUND), allocated_with(64 * BOUND));
    assert!(unbounded > 2 * BOUND, "the tokens need more than the bound: {unbounded}");
    let bounded = bounded - without;
    assert!(bounded <= BOUND && bounded > BOUND * 9 / 10, "{bounded} bytes are allocated with a bound of {BOUND}");
}

#[tokio::test]
async fn caches_at_the_unix_epoch() {
    let clock = FakeClock::from_wall(Timestamp::UNIX_EPOCH);
    let server = es256().with_clock(Arc::new(clock.clone()));
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256]));
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a valid configuration");
    let validator = validator.with_custom_claims::<Counted>();
    let token = server.token().expires_in(Duration::from_secs(10)).sign();
    let (full, ()) = count_full_validations(async {
        for _ in 0..2 {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(full, 1);
}
