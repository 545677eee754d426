//! Tenants that are not known at start, each with its own keys: their life from the first token to the last.

use std::time::Duration;

use http::StatusCode;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use tower::Layer as _;
use tower_bearer::config::{
    IssuerPatternError, SettingErrorKind, Tenant, TenantError, TenantEventKind, TenantSettingError, Tenants,
};
use tower_bearer::fetch::ReqwestFetch;
use tower_bearer::jwks::KeyState;
use tower_bearer::keys::KeySet;
use tower_bearer::rejection::IssuerError;
use tower_bearer::revocation::{Revocation, Revocations};
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Rejection, RejectionKind, Secret, Validator};

use crate::fixture::{AUDIENCE, setting_errors};
use crate::layer_fixture::{bearer_request, send, subject_service};
use crate::tenants_fixture::{Answer, PATTERN, Realms, iss, outcome, set, unavailable, unknown};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn accepts_the_tokens_of_each_tenant_with_its_own_keys() {
    let realms = Realms::new(["a", "b"]);
    let validator = realms.validator();
    assert!(validator.is_ready(), "tenants are looked up when a token arrives");
    assert_eq!(realms.urls().len(), 0);
    for _ in 0..3 {
        for realm in ["a", "b"] {
            let claims = validator.validate(&realms.token(realm)).await.expect("an accepted token");
            assert_eq!((claims.issuer(), claims.subject()), (&*iss(realm), Some(realm)));
        }
    }
    assert_eq!(realms.calls(), ["a", "b"], "the resolver is called once for each tenant");
    let forged = realms.server("a").token().audience(AUDIENCE).signed_by(&realms.server("b")).sign();
    assert!(matches!(outcome(&validator, &forged).await, Err(Rejection::Key(_) | Rejection::Signature)));
    let counts = validator.tenants().counts();
    assert_eq!((counts.proven(), counts.unproven(), counts.idle()), (2, 0, 0));
    assert_eq!(set(validator.tenants().issuers().iter().map(|name| &**name)), set([&*iss("a"), &*iss("b")]));
    let keys = validator.tenants().key_source(&iss("a")).expect("a tenant");
    assert_eq!(keys.status().state(), KeyState::Fresh);
    assert!(validator.tenants().key_source(&iss("c")).is_none());
    assert_eq!(validator.key_sources().count(), 0);
}

#[tokio::test]
async fn a_configured_issuer_has_precedence_over_tenants() {
    let realms = Realms::new(["a", "b"]);
    let configured = Issuer::static_keys(iss("a"), KeySet::from_jwks(realms.server("b").jwks()));
    let api = realms.api().with_issuer(configured.with_algorithms([Algorithm::ES256]));
    let validator = realms.build(api);
    let token = realms.server("a").token().audience(AUDIENCE).signed_by(&realms.server("b"));
    assert_eq!(outcome(&validator, &token.kid(&realms.server("b").kid()).sign()).await, Ok(()));
    assert!(outcome(&validator, &realms.token("a")).await.is_err());
    assert_eq!(realms.calls().len(), 0);
    assert_eq!(outcome(&validator, &realms.token("b")).await, Ok(()));
}

#[tokio::test]
async fn checks_what_needs_no_key_before_it_looks_a_tenant_up() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let token = || realms.server("a").token().audience(AUDIENCE);
    for (wrong, kind) in [
        (token().expired(), RejectionKind::Expired),
        (token().audience("https://other.test/"), RejectionKind::Audience),
    ] {
        assert_eq!(validator.validate(&wrong.sign()).await.unwrap_err().kind(), kind);
    }
    assert_eq!(realms.calls().len(), 0);
}

#[tokio::test]
async fn concurrent_first_requests_share_one_call_that_outlives_its_leader() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let token = realms.token("a");
    let request = || {
        let (validator, token) = (validator.clone(), token.clone());
        tokio::spawn(async move { validator.validate(&token).await.map(drop) })
    };
    let leader = request();
    tokio::task::yield_now().await;
    leader.abort();
    let others: Vec<_> = (0..100).map(|_| request()).collect();
    for other in others {
        assert_eq!(other.await.expect("no panic"), Ok(()));
    }
    assert_eq!(realms.calls(), ["a"]);
    assert_eq!(realms.server("a").fetches(), 1);
}

#[tokio::test]
async fn looks_a_tenant_up_again_within_five_minutes_and_removes_it_at_once() {
    let realms = Realms::new(["a", "b"]);
    let validator = realms.validator();
    let (a, b) = (realms.token("a"), realms.token("b"));
    assert_eq!((outcome(&validator, &a).await, outcome(&validator, &b).await), (Ok(()), Ok(())));
    realms.pass(Duration::from_secs(300)).await;
    assert_eq!((realms.calls_for("a"), realms.calls_for("b")), (2, 2));
    assert_eq!(outcome(&validator, &a).await, Ok(()));
    assert_eq!(realms.server("a").discovery_fetches(), 1, "the keys are the same source");
    realms.set("a", Answer::Unknown);
    realms.pass(Duration::from_secs(300)).await;
    assert_eq!(outcome(&validator, &a).await, unknown());
    assert_eq!(outcome(&validator, &b).await, Ok(()));
    assert_eq!(realms.events_of("a"), [TenantEventKind::Added, TenantEventKind::Proven, TenantEventKind::Removed]);
}

#[tokio::test]
async fn a_tenant_with_other_settings_gets_new_keys() {
    let realms = Realms::new(["a", "b"]);
    let validator = realms.validator();
    let token = realms.token("a");
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    let jwks_uri = realms.server("b").jwks_uri();
    let moved = move |issuer: &str| -> Tenant {
        Issuer::jwks(issuer, jwks_uri.clone()).with_algorithms([Algorithm::ES256]).into()
    };
    realms.set("a", Answer::Return(std::sync::Arc::new(moved)));
    realms.pass(Duration::from_secs(300)).await;
    // The cached token was verified with keys that are no longer those of the tenant.
    assert!(outcome(&validator, &token).await.is_err());
    let server = realms.server("b");
    let signed = realms.server("a").token().audience(AUDIENCE).signed_by(&server).kid(&server.kid()).sign();
    assert_eq!(outcome(&validator, &signed).await, Ok(()));
    assert_eq!(realms.events_of("a"), [TenantEventKind::Added, TenantEventKind::Proven, TenantEventKind::Replaced]);
}

#[tokio::test]
async fn a_tenant_stays_in_use_for_an_hour_while_the_resolver_fails() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let token = realms.token("a");
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    realms.set("a", Answer::Fail);
    for _ in 0..59 {
        realms.pass(Duration::from_secs(60)).await;
        assert_eq!(outcome(&validator, &token).await, Ok(()));
    }
    realms.pass(Duration::from_secs(120)).await;
    assert_eq!(outcome(&validator, &token).await, unavailable(TenantError::Resolver));
    let events = realms.events_of("a");
    let is_failure = |kind| matches!(kind, TenantEventKind::RenewalFailed { error: TenantError::Resolver, .. });
    assert!(events.iter().copied().any(is_failure), "{events:?}");
    assert_eq!(events.last(), Some(&TenantEventKind::Expired));
    realms.set("a", Answer::Known);
    realms.pass(SECOND).await;
    assert_eq!(outcome(&validator, &token).await, Ok(()));
}

#[tokio::test]
async fn an_idle_tenant_causes_no_fetch_and_returns_with_its_next_token() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let token = realms.token("a");
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    realms.pass(HOUR + Duration::from_secs(61)).await;
    let counts = validator.tenants().counts();
    assert_eq!((counts.proven(), counts.idle()), (0, 1));
    let (calls, fetches) = (realms.calls_for("a"), realms.urls().len());
    realms.pass(HOUR).await;
    assert_eq!((realms.calls_for("a"), realms.urls().len()), (calls, fetches));
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    assert_eq!(validator.tenants().counts().proven(), 1);
    let events = realms.events_of("a");
    assert_eq!(events[events.len() - 2..], [TenantEventKind::Idle, TenantEventKind::Added]);
}

#[tokio::test]
async fn a_tenant_in_use_is_not_idle_with_and_without_the_token_cache() {
    for bytes in [0, 1 << 20] {
        let realms = Realms::new(["a"]);
        let builder = realms.builder(realms.api()).with_token_cache_bytes(bytes);
        let validator = builder.build().expect("a valid configuration");
        let token = realms.token("a");
        for _ in 0..65 {
            assert_eq!(outcome(&validator, &token).await, Ok(()));
            realms.pass(Duration::from_secs(60)).await;
        }
        assert_eq!(validator.tenants().counts().proven(), 1, "{bytes}");
        assert!(!realms.events_of("a").contains(&TenantEventKind::Idle), "{bytes}");
    }
}

#[tokio::test]
async fn more_than_ten_new_tenants_a_second_are_rejected_with_503_and_affect_no_other_token() {
    let names: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    let realms = Realms::new(names.iter().map(String::as_str));
    let server = TestIssuer::new().with_clock(realms.clock.clone());
    let configured = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
    let validator = realms.build(realms.api().with_issuer(configured));
    for name in &names[..10] {
        assert_eq!(outcome(&validator, &realms.token(name)).await, Ok(()));
    }
    assert_eq!(outcome(&validator, &realms.token("r10")).await, unavailable(TenantError::TooManyTenants));
    let service = BearerLayer::new(validator.clone()).layer(subject_service());
    let response = send(service, bearer_request(&realms.token("r11"))).await;
    assert_eq!(
        (response.status(), response.headers()[RETRY_AFTER].as_bytes()),
        (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..])
    );
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(outcome(&validator, &realms.token("r0")).await, Ok(()));
    assert_eq!(outcome(&validator, &server.token().audience(AUDIENCE).sign()).await, Ok(()));
    assert_eq!(validator.validate(&realms.token("r10")).await.unwrap_err().kind(), RejectionKind::IssuersUnavailable);
    realms.pass(SECOND).await;
    assert_eq!(outcome(&validator, &realms.token("r10")).await, Ok(()));
}

#[tokio::test]
async fn more_than_32_calls_in_flight_are_rejected_with_503() {
    let names: Vec<String> = (0..33).map(|number| format!("r{number}")).collect();
    let realms = Realms::new(names.iter().map(String::as_str));
    for name in &names[..32] {
        realms.set(name, Answer::Hang);
    }
    let validator = realms.validator();
    let waiting: Vec<_> = names[..32]
        .iter()
        .map(|name| {
            let (validator, token) = (validator.clone(), realms.token(name));
            tokio::spawn(async move { outcome(&validator, &token).await })
        })
        .collect();
    realms.clock.settle().await;
    assert_eq!(outcome(&validator, &realms.token("r32")).await, unavailable(TenantError::TooManyCalls));
    realms.pass(2 * SECOND).await;
    for waiting in waiting {
        assert_eq!(waiting.await.expect("no panic"), unavailable(TenantError::Timeout));
    }
    assert_eq!(outcome(&validator, &realms.token("r32")).await, Ok(()));
}

#[tokio::test]
async fn a_tenant_that_is_removed_during_a_wait_is_not_accepted() {
    let realms = Realms::new(["a", "b"]);
    let validator = realms.validator();
    // While the resolver runs.
    realms.set("a", Answer::Hang);
    let (task_validator, token) = (validator.clone(), realms.token("a"));
    let waiting = tokio::spawn(async move { outcome(&task_validator, &token).await });
    realms.clock.settle().await;
    assert!(validator.tenants().remove(&iss("a")));
    realms.pass(2 * SECOND).await;
    assert_eq!(waiting.await.expect("no panic"), unavailable(TenantError::Timeout));
    // While the keys are fetched.
    realms.server("b").set_outage(Outage::Hang);
    let (task_validator, token) = (validator.clone(), realms.token("b"));
    let waiting = tokio::spawn(async move { outcome(&task_validator, &token).await });
    realms.clock.settle().await;
    assert_eq!(validator.tenants().counts().unproven(), 1);
    assert!(validator.tenants().remove(&iss("b")));
    assert_eq!(waiting.await.expect("no panic"), unknown());
    assert!(!validator.tenants().remove(&iss("b")), "nothing is left");
    assert!(!validator.tenants().remove(&iss("c")));
}

#[tokio::test]
async fn removing_a_name_forgets_that_it_was_unknown() {
    let realms = Realms::new(["a"]);
    realms.set("a", Answer::Unknown);
    let validator = realms.validator();
    let token = realms.token("a");
    assert_eq!(outcome(&validator, &token).await, unknown());
    realms.set("a", Answer::Known);
    assert_eq!(outcome(&validator, &token).await, unknown(), "for 60 s");
    validator.tenants().remove(&iss("a"));
    assert_eq!(outcome(&validator, &token).await, Ok(()));
}

#[tokio::test]
async fn a_tenant_may_have_static_keys_or_a_secret() {
    let realms = Realms::new(["a", "b"]);
    let keys = realms.server("a").jwks();
    let with_keys = move |issuer: &str| -> Tenant {
        Issuer::static_keys(issuer, KeySet::from_jwks(&keys)).with_algorithms([Algorithm::ES256]).into()
    };
    realms.set("a", Answer::Return(std::sync::Arc::new(with_keys)));
    let server = TestIssuer::named(&iss("b")).with_algorithms([Algorithm::HS256]).with_clock(realms.clock.clone());
    let secret = server.secret();
    let with_secret =
        move |issuer: &str| -> Tenant { Issuer::shared_secret(issuer, Secret::from_text(&secret)).into() };
    realms.set("b", Answer::Return(std::sync::Arc::new(with_secret)));
    let validator = realms.validator();
    assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()));
    assert_eq!(outcome(&validator, &server.token().audience(AUDIENCE).sign()).await, Ok(()));
    let wrong_kind = outcome(&validator, &realms.token("b")).await;
    assert_eq!(wrong_kind, Err(Rejection::Algorithm { algorithm: Algorithm::ES256 }));
    assert_eq!(realms.urls().len(), 0);
    assert!(validator.tenants().key_source(&iss("a")).is_none(), "its keys are not fetched");
    // The same settings replace nothing.
    realms.pass(Duration::from_secs(300)).await;
    assert_eq!((realms.calls_for("a"), realms.calls_for("b")), (2, 2));
    for realm in ["a", "b"] {
        assert_eq!(realms.events_of(realm), [TenantEventKind::Added, TenantEventKind::Proven], "{realm}");
    }
}

#[tokio::test]
async fn a_tenant_may_be_bound_to_the_host_of_the_request() {
    let realms = Realms::new(["a", "b"]);
    for (realm, host) in [("a", "a.api.test"), ("b", "b.api.test:8443")] {
        let bound = move |issuer: &str| {
            Tenant::new(Issuer::oidc(issuer).with_algorithms([Algorithm::ES256])).with_request_host(host)
        };
        realms.set(realm, Answer::Return(std::sync::Arc::new(bound)));
    }
    let validator = realms.build(Api::for_tenants(AUDIENCE, realms.tenants().with_request_hosts()));
    let (a, b) = (realms.token("a"), realms.token("b"));
    // For new tokens and for cached ones.
    for _ in 0..2 {
        assert!(validator.validate_for_host(&a, "a.api.test").await.is_ok());
        assert!(validator.validate_for_host(&b, "B.api.test").await.is_ok());
        let other = validator.validate_for_host(&a, "b.api.test").await.map(drop);
        assert_eq!(other, Err(Rejection::Issuer(IssuerError::NotForHost)));
        assert_eq!(outcome(&validator, &a).await, Err(Rejection::Issuer(IssuerError::UnknownHost)));
    }
    // Without the setting, a host is a mistake of the application; with it, the lack of one is.
    let unbound = realms.validator();
    assert_eq!(outcome(&unbound, &a).await, unavailable(TenantError::Misconfigured));
    realms.set("a", Answer::Known);
    let validator = realms.build(Api::for_tenants(AUDIENCE, realms.tenants().with_request_hosts()));
    let missing = validator.validate_for_host(&a, "a.api.test").await.map(drop);
    assert_eq!(missing, unavailable(TenantError::Misconfigured));
}

#[tokio::test]
async fn bindings_of_hosts_apply_to_tenants_before_they_are_looked_up() {
    let realms = Realms::new(["a", "b"]);
    let validator = realms.build(realms.api().with_issuer_for_host("a.api.test", iss("a")));
    let (a, b) = (realms.token("a"), realms.token("b"));
    let other = validator.validate_for_host(&b, "a.api.test").await.map(drop);
    assert_eq!(other, Err(Rejection::Issuer(IssuerError::NotForHost)));
    let unknown = validator.validate_for_host(&a, "b.api.test").await.map(drop);
    assert_eq!(unknown, Err(Rejection::Issuer(IssuerError::UnknownHost)));
    assert_eq!(realms.calls().len(), 0);
    assert!(validator.validate_for_host(&a, "a.api.test").await.is_ok());
}

#[tokio::test]
async fn a_predicate_decides_which_names_are_looked_up() {
    let realms = Realms::new(["a"]);
    let resolving = realms.clone();
    let tenants = Tenants::allowed_by(|issuer| issuer == iss("a") || issuer == iss("b")).resolved_by(move |claimed| {
        assert_eq!(claimed.capture("realm"), None);
        let is_known = resolving.calls().is_empty() && claimed.issuer() == iss("a");
        async move { Ok(is_known.then(|| Issuer::oidc(claimed.issuer()).with_algorithms([Algorithm::ES256]))) }
    });
    let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
    assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()));
    let named = |name: &str| realms.server("a").token().audience(AUDIENCE).issuer(name).sign();
    assert_eq!(outcome(&validator, &named(&iss("b"))).await, unknown());
    let any = Tenants::allowed_by(|issuer| {
        assert!(issuer.len() <= 512 && !issuer.contains(['\n', ' ']), "{issuer:?}");
        false
    });
    let validator = realms.build(Api::for_tenants(AUDIENCE, any.resolved_by(|_| async { Ok(None::<Issuer>) })));
    for name in [&*format!("https://id.test/{}", "x".repeat(600)), "https://id.test/a\nb", "a b", "", "urn:x"] {
        assert!(matches!(outcome(&validator, &named(name)).await, Err(Rejection::Issuer(_))), "{name:?}");
    }
}

#[tokio::test]
async fn revocations_are_per_tenant() {
    let realms = Realms::new(["a", "b"]);
    let revocations = Revocations::builder().with_clock(realms.clock.clone()).in_memory().expect("a list");
    let builder = realms.builder(realms.api()).with_revocations(&revocations);
    let validator = builder.build().expect("a valid configuration");
    let token = |realm| {
        let token = realms.server(realm).token().audience(AUDIENCE).claim("jti", "1");
        token.expires_in(HOUR).sign()
    };
    let (a, b) = (token("a"), token("b"));
    assert_eq!((outcome(&validator, &a).await, outcome(&validator, &b).await), (Ok(()), Ok(())));
    revocations.revoke(Revocation::jwt_id(&iss("a"), "1")).await.expect("room");
    assert!(matches!(outcome(&validator, &a).await, Err(Rejection::Revoked { .. })));
    assert_eq!(outcome(&validator, &b).await, Ok(()));
}

#[tokio::test]
async fn explains_and_rechecks_tokens_of_tenants() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let token = realms.token("a");
    let explanation = validator.explain(&token).await;
    assert!(explanation.is_accepted(), "{explanation}");
    let claims = validator.validate(&token).await.expect("an accepted token");
    assert_eq!(validator.still_valid(&claims), Ok(()));
    assert_eq!(realms.calls(), ["a"]);
    validator.tenants().remove(&iss("a"));
    // It cannot wait for the resolver.
    assert_eq!(validator.still_valid(&claims), unavailable(TenantError::NotResolved));
    realms.set("a", Answer::Unknown);
    let explanation = validator.explain(&token).await;
    assert!(!explanation.is_accepted(), "{explanation}");
    assert_eq!(validator.still_valid(&claims), unknown());
    let text = explanation.to_string();
    assert!(text.contains(PATTERN) && text.contains("the resolver of the tenants does not know"), "{text}");
}

#[tokio::test]
async fn shares_one_rule_among_the_layers_of_a_validator() {
    let realms = Realms::new(["a"]);
    let service = BearerLayer::new(realms.validator()).layer(subject_service());
    for _ in 0..2 {
        let response = send(service.clone(), bearer_request(&realms.token("a"))).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(realms.calls(), ["a"]);
}

#[tokio::test]
async fn the_first_of_several_rules_that_allow_a_name_is_used() {
    let (first, second) = (Realms::new(["a"]), Realms::new(["b"]));
    second.set("a", Answer::Known);
    let other = second.tenants_matching("https://id.test/{kind}/{realm}");
    let api = first.api().with_tenants(other);
    let validator = first.build(api);
    assert_eq!(outcome(&validator, &first.token("a")).await, Ok(()));
    assert_eq!((first.calls(), second.calls().len()), (vec!["a".to_owned()], 0));
}

#[test]
fn rejects_settings_that_cannot_work() {
    let tenants = |pattern: &str| Tenants::matching(pattern).resolved_by(|_| async { Ok(None::<Issuer>) });
    let errors = |tenants: Tenants| setting_errors(Api::for_tenants(AUDIENCE, tenants));
    assert_eq!(errors(tenants(PATTERN)), []);
    let no_capture = SettingErrorKind::IssuerPattern(IssuerPatternError::NoCapture);
    assert_eq!(errors(tenants("https://id.test/realms/a")), [no_capture]);
    let host = SettingErrorKind::IssuerPattern(IssuerPatternError::Host);
    assert_eq!(errors(tenants("https://{host}/")), [host]);
    assert!(matches!(*errors(tenants("http://id.test/{realm}")), [SettingErrorKind::Url(_)]));
    for max in [0, 100_001] {
        assert_eq!(
            errors(tenants(PATTERN).with_max_tenants(max)),
            [SettingErrorKind::Tenants(TenantSettingError::Max)]
        );
    }
    for rate in [0, 1_001] {
        let errors = errors(tenants(PATTERN).with_new_tenants_per_second(rate));
        assert_eq!(errors, [SettingErrorKind::Tenants(TenantSettingError::NewPerSecond)]);
    }
    let twice = Api::for_tenants(AUDIENCE, tenants(PATTERN)).with_tenants(tenants(PATTERN));
    assert_eq!(setting_errors(twice), [SettingErrorKind::DuplicateIssuer]);
}

#[test]
fn requires_a_client_that_connects_to_public_addresses_only() {
    let tenants = || Tenants::matching(PATTERN).resolved_by(|_| async { Ok(None::<Issuer>) });
    let build = |tenants: Tenants, fetch: ReqwestFetch| {
        let built = Validator::builder(Api::for_tenants(AUDIENCE, tenants)).with_fetch(fetch).build();
        built.err().map(|error| error.errors()[0].kind().clone())
    };
    let any = || ReqwestFetch::new().expect("a client");
    let public = || ReqwestFetch::builder().with_public_addresses_only().build().expect("a client");
    assert_eq!(build(tenants(), any()), Some(SettingErrorKind::Tenants(TenantSettingError::Fetch)));
    assert_eq!(build(tenants(), public()), None);
    assert_eq!(build(tenants().dangerous_allow_private_addresses(), any()), None);
    let both = Validator::builder(Api::for_tenants(AUDIENCE, tenants()));
    assert!(both.with_fetch(any()).with_tenant_fetch(public()).build().is_ok());
    assert!(Validator::new(Api::for_tenants(AUDIENCE, tenants())).is_ok(), "the default client is one");
}
