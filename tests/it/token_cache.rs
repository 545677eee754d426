//! The memo of verified tokens: what it saves, and what it must never save.
//!
//! Custom claims are read once for each full validation, so counting the readings tells hits from full validations.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tower_bearer::claims::ClaimError;
use tower_bearer::clock::{Clock as _, Timestamp};
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::keys::KeySet;
use tower_bearer::rejection::{CheckError, IssuerError, KeyNotFound};
use tower_bearer::testing::{FakeClock, Outage, TestIssuer};
use tower_bearer::token::TokenError;
use tower_bearer::{Algorithm, Api, Issuer, Rejection, RejectionKind, Secret, Validator, ValidatorBuilder};

const AUDIENCE: &str = "https://api.test/";

/// Custom claims that count how often they were read on this thread.
struct Counted;

thread_local! {
    static READINGS: Cell<usize> = const { Cell::new(0) };
}

impl<'j> Deserialize<'j> for Counted {
    fn deserialize<D: Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        READINGS.set(READINGS.get() + 1);
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// How many full validations `work` needs.
async fn readings<T>(work: impl Future<Output = T>) -> (usize, T) {
    let before = READINGS.get();
    let outcome = work.await;
    (READINGS.get() - before, outcome)
}

/// A server, a clock, and a validator that goes by both.
struct Bench {
    clock: FakeClock,
    server: TestIssuer,
    validator: Validator<Counted>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(ValidatorBuilder) -> ValidatorBuilder) -> Self {
        let clock = FakeClock::new();
        let server = TestIssuer::new().with_algorithms([Algorithm::ES256]).with_clock(Arc::new(clock.clone()));
        let issuer = Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms([Algorithm::ES256]);
        let builder = Validator::builder(Api::new(AUDIENCE, issuer));
        let builder = change(builder.with_fetch(server.clone()).with_clock(clock.clone()));
        let validator = builder.build().expect("a good configuration").with_custom_claims();
        Self { clock, server, validator }
    }

    fn token_for(&self, seconds: u64) -> String {
        self.server.token().expires_in(Duration::from_secs(seconds)).sign()
    }

    /// Whether a good token needed a full validation.
    async fn reads(&self, token: &str) -> usize {
        let (readings, outcome) = readings(self.validator.validate(token)).await;
        assert_eq!(outcome.map(drop), Ok(()));
        readings
    }

    async fn refusal(&self, token: &str) -> Rejection {
        self.validator.validate(token).await.map(drop).expect_err("a refusal")
    }
}

/// A validator with the server's keys given by hand.
fn fixed(server: &TestIssuer, audience: &str) -> Validator<Counted> {
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let api = Api::new(audience, issuer.with_algorithms([Algorithm::ES256]));
    Validator::new(api).expect("a good configuration").with_custom_claims()
}

fn es256() -> TestIssuer {
    TestIssuer::new().with_algorithms([Algorithm::ES256])
}

#[tokio::test]
async fn a_token_is_verified_once_and_its_claims_stay_the_same() {
    let bench = Bench::new();
    let token = bench.server.token().subject("ann").scope("read:orders").sign();
    let (full, first) = readings(bench.validator.validate(&token)).await;
    let (again, second) = readings(bench.validator.validate(&token)).await;
    assert_eq!((full, again), (1, 0));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((second.subject(), second.json()), (Some("ann"), first.json()));
    assert_eq!(second.header(), first.header());
    assert!(second.scopes().contains("read:orders"));
}

#[tokio::test]
async fn without_memo_every_token_is_verified_anew() {
    for off in [ValidatorBuilder::without_token_cache, |builder: ValidatorBuilder| builder.with_token_cache_bytes(0)] {
        let bench = Bench::with(off);
        let token = bench.token_for(3600);
        assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 1));
    }
}

#[tokio::test]
async fn clones_share_what_they_remember_and_other_validators_nothing() {
    let server = es256();
    let token = server.token().sign();
    let one = fixed(&server, AUDIENCE);
    let (clone, other) = (one.clone(), fixed(&server, AUDIENCE));
    let (readings, _) = readings(async {
        for validator in [&one, &clone, &other, &other] {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(readings, 2);
}

#[tokio::test]
async fn another_reading_of_the_claims_remembers_for_itself() {
    let server = es256();
    let token = server.token().sign();
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let plain =
        Validator::new(Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256]))).expect("a good configuration");
    assert!(plain.validate(&token).await.is_ok());
    let custom = plain.clone().with_custom_claims::<Counted>();
    let (readings, outcome) = readings(custom.validate(&token)).await;
    assert_eq!((readings, outcome.is_ok()), (1, true));
}

#[tokio::test]
async fn no_verdict_of_one_api_counts_for_another() {
    let server = es256();
    let (one, other) = (fixed(&server, AUDIENCE), fixed(&server, "https://other.test/"));
    let token = server.token().audience(AUDIENCE).sign();
    for _ in 0..2 {
        assert!(one.validate(&token).await.is_ok());
        assert_eq!(other.validate(&token).await.map(drop).unwrap_err().kind(), RejectionKind::Audience);
    }
}

#[tokio::test]
async fn nothing_is_remembered_past_exp() {
    let bench = Bench::new();
    let token = bench.token_for(60);
    assert_eq!(bench.reads(&token).await, 1);
    bench.clock.advance(Duration::from_secs(59));
    assert_eq!(bench.reads(&token).await, 0);
    // Within the leeway the token is good, and each time it is verified anew.
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 1));
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.refusal(&token).await, Rejection::UnverifiedClaims(ClaimError::Expired));
}

#[tokio::test]
async fn a_verdict_that_has_ended_is_let_go() {
    let bench = Bench::new();
    let start = bench.clock.now();
    let token = bench.token_for(60);
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
    // A clock that is set back without anybody having asked in between ends nothing.
    bench.clock.set_wall(start.saturating_add(Duration::from_secs(66)));
    bench.clock.set_wall(start);
    assert_eq!(bench.reads(&token).await, 0);
    bench.clock.set_wall(start.saturating_add(Duration::from_secs(66)));
    assert_eq!(bench.refusal(&token).await, Rejection::UnverifiedClaims(ClaimError::Expired));
    bench.clock.set_wall(start);
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
}

#[tokio::test]
async fn nothing_is_remembered_past_five_minutes() {
    let bench = Bench::new();
    let token = bench.token_for(3600);
    assert_eq!(bench.reads(&token).await, 1);
    bench.clock.advance(Duration::from_secs(299));
    assert_eq!(bench.reads(&token).await, 0);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_prolongs_nothing() {
    let bench = Bench::new();
    let start = bench.clock.now();
    let token = bench.server.token().expires_in(Duration::from_secs(3600)).not_before(start).sign();
    assert_eq!(bench.reads(&token).await, 1);
    bench.clock.advance(Duration::from_secs(200));
    bench.clock.set_wall(start.saturating_add(Duration::from_secs(1)));
    assert_eq!(bench.reads(&token).await, 0);
    bench.clock.advance(Duration::from_secs(100));
    assert_eq!(bench.reads(&token).await, 1);
    // Before the verdict itself, nothing that it said about dates counts.
    bench.clock.set_wall(start.saturating_sub(Duration::from_secs(60)));
    assert_eq!(bench.refusal(&token).await, Rejection::Claims(ClaimError::NotYetValid));
}

#[tokio::test]
async fn the_age_of_a_token_counts_on_every_hit() {
    let clock = FakeClock::new();
    let server = es256().with_clock(Arc::new(clock.clone()));
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256])).with_max_age(Duration::from_secs(30));
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a good configuration");
    let token = server.token().issued_at(clock.now()).sign();
    assert!(validator.validate(&token).await.is_ok());
    clock.advance(Duration::from_secs(34));
    assert!(validator.validate(&token).await.is_ok());
    clock.advance(Duration::from_secs(1));
    assert_eq!(validator.validate(&token).await.unwrap_err(), Rejection::Claims(ClaimError::TooOld));
}

#[tokio::test]
async fn removed_key_evicts_cached_token() {
    let bench = Bench::new();
    let token = bench.token_for(3600);
    assert_eq!(bench.reads(&token).await, 1);
    let (_, source) = bench.validator.key_sources().next().expect("keys are fetched");
    bench.server.rotate();
    source.reload().await.expect("the server answers");
    // Another epoch, and the key is still there.
    assert_eq!(bench.reads(&token).await, 0);
    bench.server.revoke_previous_keys();
    source.reload().await.expect("the server answers");
    let refusal = tokio::spawn({
        let (validator, token) = (bench.validator.clone(), token.clone());
        async move { validator.validate(&token).await.map(drop) }
    });
    bench.clock.run_for(Duration::from_secs(30)).await;
    assert_eq!(
        refusal.await.expect("no panic"),
        Err(Rejection::Key(KeyNotFound::Unknown { age: Some(Duration::ZERO) }))
    );
}

#[tokio::test]
async fn a_revoked_key_id_counts_at_once() {
    let bench = Bench::new();
    let token = bench.token_for(3600);
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
    let (_, source) = bench.validator.key_sources().next().expect("keys are fetched");
    source.revoke_kid(&bench.server.kid());
    assert_eq!(bench.refusal(&token).await, Rejection::Key(KeyNotFound::NotForVerification));
    source.unrevoke_kid(&bench.server.kid());
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
}

#[tokio::test]
async fn the_same_key_under_another_id_revives_nothing() {
    let bench = Bench::new();
    let token = bench.token_for(3600);
    let (kid, jwks) = (bench.server.kid(), bench.server.jwks());
    let twice = jwks.replace("]}", &format!(",{}]}}", key_of(&jwks).replace(&kid, "alias")));
    bench.server.publish(twice);
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
    let (_, source) = bench.validator.key_sources().next().expect("keys are fetched");
    source.revoke_kid(&kid);
    assert_eq!(bench.refusal(&token).await, Rejection::Key(KeyNotFound::NotForVerification));
}

/// The revoked id names a key, so the tokens that name the key otherwise are refused as well.
#[tokio::test]
async fn a_revoked_key_counts_at_once_under_every_id() {
    let bench = Bench::new();
    let (kid, jwks) = (bench.server.kid(), bench.server.jwks());
    let twice = jwks.replace("]}", &format!(",{}]}}", key_of(&jwks).replace(&kid, "alias")));
    bench.server.publish(twice);
    let token = bench.server.token().kid("alias").expires_in(Duration::from_secs(3600)).sign();
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
    let (_, source) = bench.validator.key_sources().next().expect("keys are fetched");
    source.revoke_kid(&kid);
    assert_eq!(bench.refusal(&token).await, Rejection::Key(KeyNotFound::NotForVerification));
    source.unrevoke_kid(&kid);
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
    let key = KeySet::from_jwks(jwks).expect("a key set").thumbprints().next().expect("a key");
    source.revoke_key(key);
    assert_eq!(bench.refusal(&token).await, Rejection::Key(KeyNotFound::NotForVerification));
    source.unrevoke_key(key);
    assert_eq!(bench.reads(&token).await, 1);
}

#[tokio::test]
async fn another_key_under_the_same_id_revives_nothing() {
    let bench = Bench::new();
    let token = bench.token_for(3600);
    let ours = bench.server.jwks();
    let other = es256();
    let theirs = other.jwks().replace(&other.kid(), &bench.server.kid());
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
    let (_, source) = bench.validator.key_sources().next().expect("keys are fetched");
    bench.server.publish(theirs);
    source.reload().await.expect("the server answers");
    assert_eq!(bench.refusal(&token).await, Rejection::Signature);
    bench.server.publish(ours);
    source.reload().await.expect("the server answers");
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
}

/// The text of the one key in a set.
fn key_of(jwks: &str) -> &str {
    let (start, end) = (jwks.find("[{").expect("an array") + 1, jwks.rfind("}]").expect("an array") + 1);
    &jwks[start..end]
}

#[tokio::test]
async fn keys_that_have_expired_answer_for_nothing() {
    let policy =
        RefreshPolicy::new().with_refresh_every(Duration::from_secs(60)).with_max_stale(Duration::from_secs(120));
    let bench = Bench::with(|builder| builder.with_refresh_policy(policy));
    let token = bench.token_for(3600);
    assert_eq!(bench.reads(&token).await, 1);
    bench.server.outage(Outage::Status(http::StatusCode::BAD_GATEWAY));
    bench.clock.run_for(Duration::from_secs(110)).await;
    assert_eq!(bench.reads(&token).await, 0);
    bench.clock.run_for(Duration::from_secs(30)).await;
    let refusal = tokio::spawn({
        let (validator, token) = (bench.validator.clone(), token.clone());
        async move { validator.validate(&token).await.map(drop) }
    });
    bench.clock.run_for(Duration::from_secs(10)).await;
    assert_eq!(refusal.await.expect("no panic").unwrap_err().kind(), RejectionKind::KeysUnavailable);
    // Once the keys are back, the verdict counts again: the same key is there, and its time is not over.
    bench.server.outage(Outage::None);
    bench.clock.run_for(Duration::from_secs(20)).await;
    assert_eq!(bench.reads(&token).await, 0);
}

#[tokio::test]
async fn a_closed_source_answers_for_nothing() {
    let bench = Bench::new();
    let token = bench.token_for(3600);
    assert_eq!(bench.reads(&token).await, 1);
    bench.validator.key_sources().for_each(|(_, source)| source.close());
    assert_eq!(bench.refusal(&token).await.kind(), RejectionKind::KeysUnavailable);
}

#[tokio::test]
async fn checks_are_asked_on_every_hit() {
    let server = es256();
    let denied = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&denied);
    let validator = fixed(&server, AUDIENCE)
        .with_check(move |_| if asked.load(Ordering::Relaxed) { Err(CheckError::new()) } else { Ok(()) });
    let token = server.token().sign();
    assert!(validator.validate(&token).await.is_ok());
    denied.store(true, Ordering::Relaxed);
    let (full, outcome) = readings(validator.validate(&token)).await;
    assert_eq!((full, outcome.map(drop).unwrap_err().kind()), (0, RejectionKind::Check));
    denied.store(false, Ordering::Relaxed);
    let (full, outcome) = readings(validator.validate(&token)).await;
    assert_eq!((full, outcome.is_ok()), (0, true));
}

#[tokio::test]
async fn the_host_decides_on_every_hit() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com").with_algorithms([Algorithm::ES256]);
    let login = tenant.custom_domain("https://login.northwind.com/");
    let issuer = Issuer::static_keys(tenant.issuer(), KeySet::from_jwks(tenant.jwks()))
        .with_algorithms([Algorithm::ES256])
        .with_domain(login.issuer());
    let api = Api::new(AUDIENCE, issuer)
        .with_issuer_for_host("api.brand-a.com", "https://login.northwind.com/")
        .with_issuer_for_host("api.brand-b.com", tenant.issuer());
    let validator = Validator::new(api).expect("a good configuration").with_custom_claims::<Counted>();
    let token = login.token().sign();
    assert!(validator.validate_for(&token, "api.brand-a.com").await.is_ok());
    let (full, outcome) = readings(validator.validate_for(&token, "api.brand-a.com:443")).await;
    assert_eq!((full, outcome.is_ok()), (0, true));
    for (host, error) in [("api.brand-b.com", IssuerError::NotForHost), ("api.brand-c.com", IssuerError::UnknownHost)] {
        let refusal = validator.validate_for(&token, host).await.map(drop);
        assert_eq!(refusal, Err(Rejection::Issuer(error)), "{host}");
    }
    assert_eq!(validator.validate(&token).await.map(drop), Err(Rejection::Issuer(IssuerError::UnknownHost)));
}

#[tokio::test]
async fn a_token_that_differs_in_one_bit_is_another_token() {
    let server = es256();
    let validator = fixed(&server, AUDIENCE);
    let token = server.token().sign();
    assert!(validator.validate(&token).await.is_ok());
    for at in 0..token.len() {
        for bit in 0..7 {
            let mut octets = token.clone().into_bytes();
            octets[at] ^= 1 << bit;
            let other = String::from_utf8(octets).expect("ASCII");
            assert!(validator.validate(&other).await.is_err(), "octet {at}, bit {bit}");
        }
    }
    assert!(validator.validate(&token[..token.len() - 1]).await.is_err());
    assert!(validator.validate(&format!("{token}A")).await.is_err());
    assert!(validator.validate(&token).await.is_ok());
}

#[tokio::test]
async fn the_size_comes_before_the_memo() {
    let server = es256();
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256])).with_max_token_bytes(600);
    let validator = Validator::new(api).expect("a good configuration");
    let long = server.token().claim("padding", "x".repeat(600)).sign();
    for _ in 0..2 {
        let expected = TokenError::TooLong { length: long.len(), limit: 600 };
        assert_eq!(validator.validate(&long).await.unwrap_err(), Rejection::Token(expected));
    }
}

#[tokio::test]
async fn shared_secrets_are_not_remembered() {
    let server = TestIssuer::new().with_algorithms([Algorithm::HS256, Algorithm::ES256]);
    let secret = Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()));
    let public = es256();
    let keys = Issuer::static_keys("https://public.test/", KeySet::from_jwks(public.jwks()));
    let api = Api::new(AUDIENCE, secret).with_issuer(keys.with_algorithms([Algorithm::ES256]));
    let validator = Validator::new(api).expect("a good configuration").with_custom_claims::<Counted>();
    let token = server.token().sign();
    let (full, ()) = readings(async {
        for _ in 0..2 {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(full, 2);
    let token = public.token().issuer("https://public.test/").sign();
    let (full, ()) = readings(async {
        for _ in 0..2 {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(full, 1);
}

#[tokio::test]
async fn refusals_are_never_remembered() {
    let bench = Bench::new();
    let soon = bench.clock.now().saturating_add(Duration::from_secs(60));
    let token = bench.server.token().expires_in(Duration::from_secs(3600)).not_before(soon).sign();
    assert_eq!(bench.refusal(&token).await, Rejection::Claims(ClaimError::NotYetValid));
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!((bench.reads(&token).await, bench.reads(&token).await), (1, 0));
    let forged = bench.server.token().with_broken_signature().sign();
    for _ in 0..2 {
        assert_eq!(bench.refusal(&forged).await, Rejection::Signature);
    }
}

#[test]
fn memory_is_bounded_by_bytes() {
    // What is evicted is freed by whichever thread of the process comes next, so one thread's count says what is held
    // only where no other thread uses a cache.
    alone("token_cache::memory_is_bounded_by_bytes", measure_the_bound);
}

fn measure_the_bound() {
    const BOUND: usize = 1024 * 1024;
    const TOKENS: usize = 3_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let server = es256();
    let tokens: Vec<String> = (0..TOKENS).map(|n| server.token().subject(&format!("user-{n}")).sign()).collect();
    let held_under = |bound: usize| {
        let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
        let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256]));
        let mut kept = None;
        // The validator is part of it.
        let held = allocation_counter::measure(|| {
            let validator =
                Validator::builder(api).with_token_cache_bytes(bound).build().expect("a good configuration");
            let validator = kept.insert(validator);
            for token in &tokens {
                assert!(runtime.block_on(validator.validate(token)).is_ok());
            }
        });
        usize::try_from(held.bytes_current).expect("more is allocated than freed")
    };
    let (bounded, unbounded) = (held_under(BOUND), held_under(64 * BOUND));
    assert!(unbounded > 2 * BOUND, "the tokens need more than the bound: {unbounded}");
    // What waits to be evicted comes on top, whatever the bound.
    assert!(bounded < BOUND + BOUND / 4, "{bounded} octets are held under a bound of {BOUND}");
}

/// Runs the test of this name in a process of its own.
fn alone(name: &str, work: fn()) {
    const ALONE: &str = "TOWER_BEARER_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let binary = std::env::current_exe().expect("this test's binary");
    let output = std::process::Command::new(binary).args([name, "--exact"]).env(ALONE, "1").output().expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn the_epoch_of_a_timestamp_is_no_special_case() {
    let clock = FakeClock::at(Timestamp::EPOCH);
    let server = es256().with_clock(Arc::new(clock.clone()));
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256]));
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a good configuration");
    let validator = validator.with_custom_claims::<Counted>();
    let token = server.token().expires_in(Duration::from_secs(10)).sign();
    let (full, ()) = readings(async {
        for _ in 0..2 {
            assert!(validator.validate(&token).await.is_ok());
        }
    })
    .await;
    assert_eq!(full, 1);
}
