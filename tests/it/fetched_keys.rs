//! A validator that fetches its keys: first fetch, rotation, outage and recovery, on a fake clock.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use tower_bearer::fetch::{Fetch, FetchError};
use tower_bearer::jwks::{InitialFetch, KeyState, RefreshError, RefreshPolicy};
use tower_bearer::rejection::KeyNotFoundError;
use tower_bearer::testing::{FakeClock, Outage, TestIssuer, TestNetwork};
use tower_bearer::token::TokenError;
use tower_bearer::{Algorithm, Api, BuildError, Issuer, Rejection, Validator};

const AUDIENCE: &str = "https://api.test/";
const SECOND: Duration = Duration::from_secs(1);

fn at(clock: &FakeClock) -> TestIssuer {
    TestIssuer::auth0("northwind.eu.auth0.com").with_clock(Arc::new(clock.clone()))
}

fn validator(server: &TestIssuer, clock: &FakeClock) -> Validator {
    with_fetch(Issuer::auth0("northwind.eu.auth0.com"), server.clone(), clock)
}

fn with_fetch(issuer: Issuer, fetch: impl Fetch, clock: &FakeClock) -> Validator {
    let builder = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(fetch).with_clock(clock.clone());
    builder.build().expect("a valid configuration")
}

/// Polls a future once and returns its output; panics if it is pending.
fn poll_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn only_the_first_request_waits_for_the_keys() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    for _ in 0..100 {
        assert!(validator.validate(&server.token().sign()).await.is_ok());
    }
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn unknown_kid_triggers_a_fetch() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    let before = server.token().sign();
    assert!(validator.validate(&before).await.is_ok());
    clock.run_for(2 * SECOND).await;
    server.rotate();
    assert!(validator.validate(&server.token().sign()).await.is_ok(), "the same request succeeds");
    assert_eq!(server.fetches(), 2);
    assert!(validator.validate(&before).await.is_ok(), "the old key is still published");
    server.replace_keys();
    clock.run_for(300 * SECOND).await;
    assert_eq!(
        validator.validate(&before).await.unwrap_err(),
        Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) })
    );
}

/// F40b: a kid of more than 256 bytes triggers no fetch; one of 256 bytes does.
#[tokio::test]
async fn rejects_a_kid_of_more_than_256_bytes_before_the_lookup() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let with_cap = |bytes| {
        let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com")).with_max_token_bytes(bytes);
        Validator::builder(api).with_fetch(server.clone()).with_clock(clock.clone()).build().expect("a configuration")
    };
    let validator = with_cap(1024 * 1024);
    let with_kid = |bytes| server.token().kid(&"k".repeat(bytes)).sign();
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    clock.run_for(2 * SECOND).await;
    for bytes in [257, 65_536] {
        let rejected = validator.validate(&with_kid(bytes)).await.map(drop);
        assert_eq!(rejected, Err(Rejection::Token(TokenError::KidTooLong)), "{bytes}");
    }
    assert_eq!(server.fetches(), 1);
    let rejected = validator.validate(&with_kid(256)).await.map(drop);
    assert_eq!(rejected, Err(Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) })));
    assert_eq!(server.fetches(), 2);

    // With the default limit, such a token is not even parsed.
    let (long, usual) = (with_kid(65_536), 16 * 1024);
    let rejected = with_cap(usual).validate(&long).await.map(drop);
    assert_eq!(rejected, Err(Rejection::Token(TokenError::TooLong { length: long.len(), limit: usual })));
}

/// F14: the signing key is published with its private part.
#[tokio::test]
async fn accepts_a_published_private_key_only_if_configured() {
    let not_for_it = Err(Rejection::Key(KeyNotFoundError::NotForVerification));
    let accepting = || RefreshPolicy::new().dangerous_accept_private_keys();
    for (policy, member, outcome) in [
        (RefreshPolicy::new(), "x", Ok(())),
        (RefreshPolicy::new(), "d", not_for_it.clone()),
        (accepting(), "d", Ok(())),
        (accepting(), "x", Ok(())),
    ] {
        let clock = FakeClock::new();
        let server = at(&clock);
        let mut set: serde_json::Value = serde_json::from_str(&server.jwks()).expect("a key set");
        let other = TestIssuer::named("https://other.test/").jwks();
        let other: serde_json::Value = serde_json::from_str(&other).expect("a key set");
        set["keys"][0][member] = "AAAA".into();
        set["keys"].as_array_mut().expect("keys").push(other["keys"][0].clone());
        server.publish(set.to_string());
        let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
        let builder = Validator::builder(api).with_fetch(server.clone()).with_clock(clock.clone());
        let validator = builder.with_refresh_policy(policy).build().expect("a valid configuration");
        assert_eq!(validator.validate(&server.token().sign()).await.map(drop), outcome, "{member}");
    }
}

/// Includes cached tokens, although the set with the private part is rejected as a whole.
#[tokio::test]
async fn published_private_key_is_evicted_at_once() {
    for accepted in [false, true] {
        let clock = FakeClock::new();
        let server = at(&clock);
        let policy = RefreshPolicy::new();
        let policy = if accepted { policy.dangerous_accept_private_keys() } else { policy };
        let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
        let builder = Validator::builder(api).with_fetch(server.clone());
        let builder = builder.with_clock(clock.clone()).with_refresh_policy(policy);
        let validator = builder.build().expect("a valid configuration");
        let token = server.token().sign();
        assert!(validator.validate(&token).await.is_ok());
        let (_, source) = validator.key_sources().next().expect("one issuer");
        server.publish(server.jwks().replace(r#""kty":"#, r#""d":"AAAA","kty":"#));
        let rejected = Err(RefreshError::NoUsableKeys);
        assert_eq!(source.reload().await, if accepted { Ok(()) } else { rejected });
        let outcome = validator.validate(&token).await.map(drop);
        let cause = Some(RefreshError::NoUsableKeys);
        match outcome {
            Ok(()) => assert!(accepted),
            Err(Rejection::KeysUnavailable { cause: found, .. }) => assert_eq!((accepted, found), (false, cause)),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(validator.is_ready(), accepted);
    }
}

/// A key that exists, but not for verification or not for this algorithm, triggers no fetch.
#[tokio::test]
async fn key_that_is_not_for_verification_triggers_no_fetch() {
    let not_for_it = || Err(Rejection::Key(KeyNotFoundError::NotForVerification));
    for (member, value, outcome, fetches) in [
        ("use", "sig", Ok(()), 1),
        ("use", "enc", not_for_it(), 1),
        ("alg", "PS256", not_for_it(), 1),
        ("kid", "another", Err(Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) })), 2),
    ] {
        let clock = FakeClock::new();
        let server = at(&clock);
        let mut set: serde_json::Value = serde_json::from_str(&server.jwks()).expect("a key set");
        let other = TestIssuer::named("https://other.test/").jwks();
        let other: serde_json::Value = serde_json::from_str(&other).expect("a key set");
        set["keys"][0][member] = value.into();
        set["keys"].as_array_mut().expect("keys").push(other["keys"][0].clone());
        server.publish(set.to_string());
        let validator = validator(&server, &clock);
        let result = validator.validate(&server.token().sign()).await.map(drop);
        assert_eq!((result, server.fetches()), (outcome, fetches), "{member}: {value}");
    }
}

/// An attacker knows every published kid: forged tokens with one of them trigger one fetch a minute.
#[tokio::test]
async fn bad_signature_under_a_known_kid_triggers_one_fetch_a_minute() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    let good = server.token().sign();
    assert!(validator.validate(&good).await.is_ok());
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{first}{}", &signature[1..]);
    assert_eq!(validator.validate(&forged).await.unwrap_err(), Rejection::Signature);
    for _ in 0..100 {
        assert_eq!(poll_once(validator.validate(&forged)).unwrap_err(), Rejection::Signature);
    }
    // Longer than any cool-down, and shorter than the refresh interval of this issuer.
    clock.run_for(20 * SECOND).await;
    assert_eq!(server.fetches(), 2);
    assert!(validator.validate(&server.token().kid("unknown").sign()).await.is_err());
    assert_eq!(server.fetches(), 3, "an unknown key id has its own limit");
}

/// Returns the first published key of an issuer, with one member changed.
fn key_of(server: &TestIssuer, member: &str, value: &str) -> serde_json::Value {
    let set: serde_json::Value = serde_json::from_str(&server.jwks()).expect("a key set");
    let mut key = set["keys"][0].clone();
    key[member] = value.into();
    key
}

/// An issuer that was restarted with another key, whose tokens have the same `kid`, or none.
#[tokio::test]
async fn accepts_the_first_token_of_a_replaced_key() {
    for has_kid in [true, false] {
        let clock = FakeClock::new();
        let (server, restarted) = (at(&clock), at(&clock));
        let keys = [&server, &restarted].map(|server| key_of(server, "kid", "the-key"));
        let publish = |key: &serde_json::Value| server.publish(serde_json::json!({ "keys": [key] }).to_string());
        publish(&keys[0]);
        let validator = validator(&server, &clock);
        let token = |signer: &TestIssuer| {
            let token = signer.token();
            if has_kid { token.kid("the-key").sign() } else { token.without_kid().sign() }
        };
        let (old, new) = (token(&server), token(&restarted));
        assert_eq!(validator.validate(&old).await.map(drop), Ok(()));
        publish(&keys[1]);
        assert_eq!(validator.validate(&new).await.map(drop), Ok(()), "has a kid: {has_kid}");
        assert_eq!(server.fetches(), 2);
        assert_eq!(poll_once(validator.validate(&old)).map(drop), Err(Rejection::Signature), "the key was replaced");
    }
}

/// An issuer that was restarted with a key for another algorithm. A `kid` that is published for one algorithm triggers no fetch
/// for another one.
#[tokio::test]
async fn accepts_the_first_token_of_a_key_for_another_algorithm_without_kid() {
    let missing = Err(Rejection::Key(KeyNotFoundError::NotForVerification));
    for (has_kid, fetches, expected) in [(false, 2, Ok(())), (true, 1, missing)] {
        let clock = FakeClock::new();
        let (server, restarted) = (at(&clock), at(&clock).with_algorithms([Algorithm::ES256]));
        let keys = [&server, &restarted].map(|server| key_of(server, "kid", "the-key"));
        let publish = |key: &serde_json::Value| server.publish(serde_json::json!({ "keys": [key] }).to_string());
        let issuer = Issuer::auth0("northwind.eu.auth0.com").with_algorithms([Algorithm::RS256, Algorithm::ES256]);
        let validator = with_fetch(issuer, server.clone(), &clock);
        let token = |signer: &TestIssuer| {
            let token = signer.token();
            if has_kid { token.kid("the-key").sign() } else { token.without_kid().sign() }
        };
        let (old, new) = (token(&server), token(&restarted));
        publish(&keys[0]);
        assert_eq!(validator.validate(&old).await.map(drop), Ok(()));
        publish(&keys[1]);
        assert_eq!(validator.validate(&new).await.map(drop), expected, "has a kid: {has_kid}");
        assert_eq!(server.fetches(), fetches, "has a kid: {has_kid}");
    }
}

/// One fetch a minute, as for a bad signature. The rejection stays the same.
#[tokio::test]
async fn a_token_without_kid_and_without_a_key_for_its_algorithm_triggers_one_fetch_a_minute() {
    let clock = FakeClock::new();
    let (server, other) = (at(&clock), at(&clock).with_algorithms([Algorithm::ES256]));
    let issuer = Issuer::auth0("northwind.eu.auth0.com").with_algorithms([Algorithm::RS256, Algorithm::ES256]);
    let validator = with_fetch(issuer, server.clone(), &clock);
    assert_eq!(validator.validate(&server.token().sign()).await.map(drop), Ok(()));
    let token = other.token().without_kid().sign();
    let missing = Err(Rejection::Key(KeyNotFoundError::NotForVerification));
    assert_eq!(validator.validate(&token).await.map(drop), missing);
    for _ in 0..100 {
        assert_eq!(poll_once(validator.validate(&token)).map(drop), missing);
    }
    assert_eq!(server.fetches(), 2);
}

/// The issuer publishes a second key, and its tokens have no `kid`: both keys are tried.
#[tokio::test]
async fn accepts_tokens_without_kid_during_a_rotation() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    let token = || server.token().without_kid().sign();
    let first = token();
    assert_eq!(validator.validate(&first).await.map(drop), Ok(()));
    let reload = async || {
        let (_, source) = validator.key_sources().next().expect("one issuer");
        source.reload().await.expect("reloaded");
    };
    for keys in 2..=5 {
        server.rotate();
        reload().await;
        let expected = if keys <= 4 { Ok(()) } else { Err(Rejection::Key(KeyNotFoundError::Ambiguous)) };
        assert_eq!(validator.validate(&token()).await.map(drop), expected, "{keys} keys");
    }
    let rejection = validator.validate(&first).await.unwrap_err();
    assert_eq!(rejection, Rejection::Key(KeyNotFoundError::Ambiguous));
    let hint = validator.hint(&first, &rejection).unwrap_or_default();
    assert!(hint.starts_with("too many keys match a token without kid"), "{hint}");
    server.revoke_previous_keys();
    reload().await;
    assert_eq!(validator.validate(&token()).await.map(drop), Ok(()));
    // A key of another issuer is never tried.
    let other = TestIssuer::named("https://other.test/");
    let foreign = server.token().without_kid().signed_by(&other).sign();
    let rejection = validator.validate(&foreign).await.unwrap_err();
    assert_eq!(rejection, Rejection::Signature);
    let hint = validator.hint(&foreign, &rejection).unwrap_or_default();
    assert!(hint.starts_with("the token has no kid, and no key of the issuer verifies it"), "{hint}");
}

/// `x5t` and `x5t#S256` select a key where there is no `kid`, and one that is unknown triggers a fetch.
#[tokio::test]
async fn finds_a_key_by_the_hash_of_its_certificate() {
    for member in ["x5t", "x5t#S256"] {
        let clock = FakeClock::new();
        let (server, next) = (at(&clock), at(&clock));
        let keys = [key_of(&server, member, "one"), key_of(&next, member, "two")];
        let publish = |keys: &[serde_json::Value]| server.publish(serde_json::json!({ "keys": keys }).to_string());
        let token = |signer: &TestIssuer, hash: &str| signer.token().without_kid().header(member, hash).sign();
        publish(&keys[..1]);
        let validator = validator(&server, &clock);
        assert_eq!(validator.validate(&token(&server, "one")).await.map(drop), Ok(()));
        clock.run_for(2 * SECOND).await;
        publish(&keys);
        assert_eq!(validator.validate(&token(&next, "two")).await.map(drop), Ok(()), "{member}");
        assert_eq!(validator.validate(&token(&server, "one")).await.map(drop), Ok(()), "{member}");
        assert_eq!(server.fetches(), 2, "the unknown hash has triggered a fetch");
        assert_eq!(validator.validate(&token(&next, "one")).await.map(drop), Err(Rejection::Signature), "{member}");
    }
}

#[tokio::test]
async fn unknown_kids_of_an_attacker_trigger_few_fetches() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    let fetched = server.fetches();
    for n in 0..200 {
        let token = server.token().kid(&format!("random-{n}")).sign();
        assert_eq!(
            validator.validate(&token).await.unwrap_err(),
            Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) })
        );
    }
    assert!(server.fetches() <= fetched + 1, "{} fetches", server.fetches());
}

/// A token whose claims can never be valid triggers no fetch, nor does one of another issuer.
#[tokio::test]
async fn starts_no_fetch_for_a_token_with_invalid_claims() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    clock.run_for(60 * SECOND).await;
    let settled = server.fetches();
    for token in [
        server.token().kid("x").audience("https://other.test/"),
        server.token().kid("x").expired(),
        server.token().kid("x").issuer("https://evil.test/"),
        server.token().kid("x").header("jku", "https://evil.test/jwks.json").audience("https://other.test/"),
    ] {
        assert!(validator.validate(&token.sign()).await.is_err());
    }
    assert_eq!(server.fetches(), settled);
    assert!(validator.validate(&server.token().kid("x").sign()).await.is_err());
    assert_eq!(server.fetches(), settled + 1);
}

#[tokio::test]
async fn keeps_stale_keys_during_an_outage_until_max_stale() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    server.set_outage(Outage::Status(StatusCode::INTERNAL_SERVER_ERROR));
    clock.run_for(3_500 * SECOND).await;
    assert!(validator.validate(&server.token().sign()).await.is_ok(), "stale keys are used");
    assert_eq!(
        validator.validate(&server.token().kid("new").sign()).await.unwrap_err(),
        Rejection::Key(KeyNotFoundError::Unknown { age: Some(3_500 * SECOND) }),
        "an unknown kid is no outage, however old the set is"
    );
    assert!(validator.is_ready());
    clock.run_for(200 * SECOND).await;
    let rejection = validator.validate(&server.token().sign()).await.unwrap_err();
    let Rejection::KeysUnavailable { retry_after, unavailable_for, cause, .. } = rejection else {
        panic!("{rejection:?}")
    };
    assert!((SECOND..=15 * SECOND).contains(&retry_after), "{retry_after:?}");
    assert_eq!(
        (unavailable_for, cause),
        (100 * SECOND, Some(RefreshError::Status { status: 500 })),
        "an hour after the start"
    );
    assert!(!validator.is_ready());
    server.set_outage(Outage::None);
    clock.run_for(15 * SECOND).await;
    assert!(validator.validate(&server.token().sign()).await.is_ok(), "it recovers by itself");
}

#[tokio::test]
async fn rejects_with_keys_unavailable_without_keys() {
    let clock = FakeClock::new();
    let server = at(&clock);
    server.set_outage(Outage::NoConnection);
    let validator = validator(&server, &clock);
    let token = server.token().sign();
    let waiting = tokio::spawn({
        let validator = validator.clone();
        async move { validator.validate(&token).await }
    });
    clock.run_for(SECOND).await;
    let rejection = waiting.await.expect("no panic").unwrap_err();
    let Rejection::KeysUnavailable { cause, .. } = rejection else { panic!("{rejection:?}") };
    let down = RefreshError::Network { error: FetchError::Connect };
    assert_eq!(cause, Some(down));
    let invalid = validator.validate(&server.token().expired().sign()).await.unwrap_err();
    assert!(matches!(invalid, Rejection::UnverifiedClaims(_)), "checks that need no key run without keys: {invalid:?}");
}

#[tokio::test]
async fn domains_of_one_issuer_share_one_fetch() {
    let clock = FakeClock::new();
    let tenant = at(&clock);
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let other = TestIssuer::named("https://other.test/").with_clock(Arc::new(clock.clone()));
    let network = TestNetwork::new([&tenant, &other]);
    let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com").with_custom_domain("login.northwind.com"))
        .with_issuer(Issuer::oidc("https://other.test/"));
    let validator = Validator::builder(api).with_fetch(network).with_clock(clock.clone()).build().expect("good");
    for server in [&tenant, &login, &other] {
        assert_eq!(validator.validate(&server.token().sign()).await.unwrap().issuer(), server.issuer());
    }
    assert_eq!((tenant.fetches(), tenant.discovery_fetches()), (1, 0));
    assert_eq!((other.fetches(), other.discovery_fetches()), (1, 1));
    let names: Vec<&str> = validator.key_sources().map(|(name, _)| name).collect();
    assert_eq!(names, ["https://northwind.eu.auth0.com/", "https://other.test/"]);
}

/// All issuers share one HTTP client; one issuer never responds.
#[tokio::test]
async fn accepts_tokens_of_49_issuers_while_one_hangs() {
    let clock = FakeClock::new();
    let named = |n: usize| TestIssuer::named(&format!("https://as{n}.test/")).with_clock(Arc::new(clock.clone()));
    let servers: Vec<TestIssuer> = (0..50).map(named).collect();
    let trusted = |server: &TestIssuer| Issuer::jwks(server.issuer(), server.jwks_uri());
    let api = Api::new(AUDIENCE, trusted(&servers[0]));
    let api = servers[1..].iter().fold(api, |api, server| api.with_issuer(trusted(server)));
    servers[0].set_outage(Outage::Hang);
    let validator = Validator::builder(api).with_fetch(TestNetwork::new(&servers)).with_clock(clock.clone());
    let validator = validator.build().expect("a valid configuration");
    clock.settle().await;
    for _ in 0..10 {
        for server in &servers[1..] {
            let (token, new) = (server.token().sign(), server.token().kid("new").sign());
            assert!(poll_once(validator.validate(&token)).is_ok());
            let rejection = validator.validate(&new).await.unwrap_err();
            assert_eq!(rejection, Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) }));
        }
        clock.run_for(60 * SECOND).await;
    }
    let mut states = validator.key_sources().map(|(_, source)| source.status().state());
    assert_eq!(states.next(), Some(KeyState::Empty));
    assert!(states.all(|state| matches!(state, KeyState::Fresh | KeyState::Aging)));
}

#[tokio::test]
async fn revokes_a_key_and_reloads_the_set() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    let token = server.token().sign();
    assert!(validator.validate(&token).await.is_ok());
    let (_, source) = validator.key_sources().next().expect("one issuer");
    source.revoke_kid(&server.kid());
    assert_eq!(validator.validate(&token).await.unwrap_err(), Rejection::Key(KeyNotFoundError::NotForVerification));
    source.unrevoke_kid(&server.kid());
    assert!(validator.validate(&token).await.is_ok());
    server.replace_keys();
    assert_eq!(source.reload().await, Ok(()));
    assert_eq!(source.status().state(), KeyState::Fresh);
    assert_eq!(
        validator.validate(&token).await.unwrap_err(),
        Rejection::Key(KeyNotFoundError::Unknown { age: Some(Duration::ZERO) })
    );
}

#[tokio::test]
async fn build_ready_returns_an_error_without_keys() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let builder = || {
        let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
        let lazy = RefreshPolicy::new().with_initial_fetch(InitialFetch::Lazy);
        Validator::builder(api).with_fetch(server.clone()).with_clock(clock.clone()).with_refresh_policy(lazy)
    };
    assert!(builder().build_ready(SECOND).await.is_ok_and(|validator| validator.is_ready()));
    server.set_outage(Outage::Hang);
    let waiting = tokio::spawn(builder().build_ready(SECOND));
    clock.run_for(SECOND).await;
    assert!(matches!(waiting.await, Ok(Err(BuildError::NotReady(_)))));
    let wrong = Validator::builder(Api::new("", Issuer::auth0("northwind.eu.auth0.com"))).build_ready(SECOND).await;
    assert!(matches!(wrong, Err(BuildError::Config(error)) if error.errors().len() == 1));
}

#[test]
fn validator_works_in_several_runtimes() {
    let clock = FakeClock::new();
    let server = at(&clock);
    let validator = validator(&server, &clock);
    assert_eq!(server.fetches(), 0);
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert!(runtime.block_on(validator.validate(&server.token().sign())).is_ok());
    }
    assert_eq!(server.fetches(), 1);
}
