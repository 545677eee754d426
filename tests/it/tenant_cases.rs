//! Attacks on tenants that are not known at start. The numbers are those of the list of attacks in the design; 118 to 122 are in
//! `many_tenants.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use tower::Layer as _;
use tower_bearer::config::{Tenant, TenantError, Tenants};
use tower_bearer::fetch::{FetchError, ReqwestFetch};
use tower_bearer::introspection::{ClientAuthentication, Introspection};
use tower_bearer::jwks::{KeyStore, KeyStoreFuture, RefreshError, RefreshPolicy};
use tower_bearer::testing::{FakeFetch, Outage, Reply, TestIssuer};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Rejection, RejectionKind, Validator};

use crate::fixture::AUDIENCE;
use crate::layer_fixture::{bearer_request, send, subject_service};
use crate::tenants_fixture::{Answer, Realms, iss, not_matching, outcome, outcome_in_time, unavailable, unknown};

const SECOND: Duration = Duration::from_secs(1);

fn token_of(server: &TestIssuer, issuer: &str) -> String {
    server.token().audience(AUDIENCE).issuer(issuer).sign()
}

fn cause(outcome: Result<(), Rejection>) -> Option<RefreshError> {
    match outcome {
        Err(Rejection::KeysUnavailable { cause, .. }) => cause,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn case_107_calls_no_resolver_for_a_name_that_does_not_match() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let server = realms.server("a");
    for name in [
        "https://evil.test/",
        "https://id.test/",
        "https://id.test/realms/",
        "urn:a",
        "a",
        "",
        "https://id.test/other/a",
    ] {
        assert_eq!(outcome(&validator, &token_of(&server, name)).await, not_matching(), "{name}");
    }
    assert_eq!((realms.calls().len(), realms.urls().len()), (0, 0));
    assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()));
}

#[tokio::test]
async fn cases_108_and_109_call_no_resolver_for_a_similar_name() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let server = realms.server("a");
    for name in [
        "https://id.test.evil/realms/a",
        "https://id.test.evil.test/realms/a",
        "https://evil.test/https://id.test/realms/a",
        "https://id.test/realms/../a",
        "https://id.test/realms/..",
        "https://id.test/realms/%2e%2e",
        "https://id.test/realms/a%2fb",
        "https://id.test/realms/a/b",
        "https://id.test/realms/a/",
        "https://user@id.test/realms/a",
        "https://id.test@evil.test/realms/a",
        "https://id.test:443/realms/a",
        "https://ID.test/realms/a",
        "https://xn--id-test/realms/a",
        "https://іd.test/realms/a",
        "http://id.test/realms/a",
        "https://id.test/realms/a?x",
        "https://id.test/realms/a#x",
        "https://id.test./realms/a",
        "https://id.test:/realms/a",
        "HTTPS://id.test/realms/a",
        "https:/id.test/realms/a",
        "https://id.test//realms/a",
        "https://id.test/./realms/a",
        "https://id.test/realms/x/../a",
        "https://id.test/realms/%61",
        "https://id.test/realms/a%00",
        "https://id.test/realms/a%252fb",
        "https://id.test/realms/a;x",
        "https://id.test/realms/a..b",
        "https://id.test/realms/a ",
        " https://id.test/realms/a",
        "https://id.test/realms/a\n",
        "https://id.test/realms/a\0",
        "https://id.test\\realms\\a",
        "https://id.test/realms/\u{202e}a",
        "https://id.test/realms/\u{ff41}",
        "https://id.test/REALMS/a",
        &format!("https://id.test/realms/{}", "a".repeat(129)),
    ] {
        assert_eq!(outcome(&validator, &token_of(&server, name)).await, not_matching(), "{name:?}");
    }
    assert_eq!((realms.calls().len(), realms.urls().len()), (0, 0));
    // Names that match, but that the resolver does not know.
    for realm in ["A", "-", "_", "a.", ".a", &"a".repeat(128)] {
        assert_eq!(outcome(&validator, &token_of(&server, &iss(realm))).await, unknown(), "{realm}");
    }
    assert_eq!((realms.calls().len(), realms.urls().len()), (6, 0));
    assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()));
}

#[tokio::test]
async fn case_110_answers_503_if_the_resolver_fails_and_calls_it_again_after_a_second() {
    let realms = Realms::new(["a"]);
    let validator = realms.validator();
    let token = realms.token("a");
    for (answer, error) in [(Answer::Fail, TenantError::Resolver), (Answer::Panic, TenantError::Panic)] {
        realms.set("a", answer);
        let calls = realms.calls_for("a");
        for _ in 0..5 {
            assert_eq!(outcome(&validator, &token).await, unavailable(error));
        }
        assert_eq!(realms.calls_for("a"), calls + 1);
        realms.pass(SECOND).await;
    }
    realms.set("a", Answer::Fail);
    let service = BearerLayer::new(validator.clone()).layer(subject_service());
    let response = send(service, bearer_request(&token)).await;
    assert_eq!(
        (response.status(), response.headers()[RETRY_AFTER].as_bytes()),
        (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..])
    );
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(validator.validate(&token).await.unwrap_err().kind(), RejectionKind::IssuersUnavailable);
    // A resolver that does not respond.
    realms.pass(SECOND).await;
    realms.set("a", Answer::Hang);
    let (waiting, text) = (validator.clone(), token.clone());
    let waiting = tokio::spawn(async move { outcome(&waiting, &text).await });
    realms.pass(Duration::from_millis(1_999)).await;
    assert!(!waiting.is_finished());
    realms.pass(Duration::from_millis(1)).await;
    assert_eq!(waiting.await.expect("no panic"), unavailable(TenantError::Timeout));
    realms.set("a", Answer::Known);
    realms.pass(SECOND).await;
    assert_eq!(outcome(&validator, &token).await, Ok(()));
}

#[tokio::test]
async fn case_111_remembers_an_unknown_tenant_for_a_minute() {
    let realms = Realms::new(["a"]);
    realms.set("a", Answer::Unknown);
    let validator = realms.validator();
    let token = realms.token("a");
    for _ in 0..59 {
        assert_eq!(outcome(&validator, &token).await, unknown());
        realms.pass(SECOND).await;
    }
    assert_eq!(realms.calls(), ["a"]);
    let service = BearerLayer::new(validator.clone()).layer(subject_service());
    let response = send(service, bearer_request(&token)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = response.headers()[WWW_AUTHENTICATE].to_str().expect("text");
    assert!(challenge.contains("invalid_token") && !challenge.contains("realms"), "{challenge}");
    realms.set("a", Answer::Known);
    realms.pass(SECOND).await;
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    assert_eq!(realms.urls().len(), 2, "nothing was fetched before");
}

#[tokio::test]
async fn case_112_rejects_a_tenant_that_is_not_the_claimed_issuer() {
    let realms = Realms::new(["a", "b"]);
    let validator = realms.validator();
    let token = realms.token("a");
    let oidc = |name: &str| Issuer::oidc(name).with_algorithms([Algorithm::ES256]);
    let introspection = || {
        let authentication = ClientAuthentication::basic("api", "secret");
        Introspection::at("https://id.test/introspect", authentication)
    };
    type Wrong = Box<dyn Fn(&str) -> Tenant + Send + Sync>;
    let wrong: Vec<Wrong> = vec![
        Box::new(move |_| oidc(&iss("b")).into()),
        Box::new(move |issuer| oidc(&format!("{issuer}/")).into()),
        Box::new(move |issuer| oidc(issuer).with_alias(iss("b")).into()),
        Box::new(move |issuer| oidc(issuer).with_issuer_pattern("https://id.test/{x}").into()),
        Box::new(move |issuer| oidc(issuer).with_algorithms([]).into()),
        Box::new(move |issuer| oidc(issuer).with_introspection(introspection()).into()),
        Box::new(move |issuer| Issuer::jwks(issuer, "http://id.test/jwks").into()),
    ];
    for (at, wrong) in wrong.into_iter().enumerate() {
        realms.set("a", Answer::Return(Arc::from(wrong)));
        assert_eq!(outcome(&validator, &token).await, unavailable(TenantError::Misconfigured), "{at}");
        realms.pass(SECOND).await;
    }
    assert_eq!((realms.urls().len(), validator.tenants().issuers().len()), (0, 0));
    realms.set("a", Answer::Return(Arc::new(move |issuer| oidc(issuer).into())));
    assert_eq!(outcome(&validator, &token).await, Ok(()));
}

/// Returns a validator of one tenant whose documents are scripted.
fn scripted(realms: &Realms, script: impl FnOnce(&FakeFetch), policy: RefreshPolicy) -> (Validator, FakeFetch) {
    let network = FakeFetch::new(&realms.clock);
    script(&network);
    let builder = Validator::builder(realms.api()).with_fetch(network.clone()).with_clock(realms.clock.clone());
    (builder.with_refresh_policy(policy).build().expect("a valid configuration"), network)
}

fn discovery(issuer: &str, jwks_uri: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","jwks_uri":"{jwks_uri}"}}"#)
}

#[tokio::test]
async fn case_113_rejects_a_discovery_document_of_another_issuer() {
    let realms = Realms::new(["a", "b"]);
    let server = realms.server("a");
    for (named, expected) in [(iss("b"), Some(RefreshError::IssuerMismatch)), (iss("a"), None)] {
        let script = |network: &FakeFetch| {
            network.always(&server.discovery_uri(), Reply::json(discovery(&named, &server.jwks_uri())));
            network.always(&server.jwks_uri(), Reply::json(server.jwks()));
        };
        let (validator, _) = scripted(&realms, script, RefreshPolicy::new());
        let outcome = outcome(&validator, &realms.token("a")).await;
        match expected {
            None => assert_eq!(outcome, Ok(())),
            Some(expected) => assert_eq!(cause(outcome), Some(expected)),
        }
    }
}

#[tokio::test]
async fn case_114_fetches_no_keys_from_another_host_than_that_of_the_issuer() {
    let realms = Realms::new(["a"]);
    let server = realms.server("a");
    for url in [
        "https://169.254.169.254/keys",
        "https://127.0.0.1/keys",
        "https://[::1]/keys",
        "https://localhost/keys",
        "https://keys.test/keys",
        "https://id.test:8443/keys",
        "https://id.test.evil.test/keys",
        "http://id.test/keys",
    ] {
        let script = |network: &FakeFetch| {
            network.always(&server.discovery_uri(), Reply::json(discovery(&iss("a"), url)));
            network.always(url, Reply::json(server.jwks()));
        };
        let (validator, network) = scripted(&realms, script, RefreshPolicy::new());
        assert_eq!(
            cause(outcome(&validator, &realms.token("a")).await),
            Some(RefreshError::JwksUriNotAllowed),
            "{url}"
        );
        assert_eq!(network.calls_to(url), 0, "{url}");
    }
    // The same host in another notation, and a host that the policy lists.
    for (url, policy) in [
        ("https://ID.test:443/keys", RefreshPolicy::new()),
        ("https://keys.test/keys", RefreshPolicy::new().with_jwks_hosts(["keys.test"])),
        (&*server.jwks_uri(), RefreshPolicy::new().with_jwks_hosts(["keys.test"])),
    ] {
        let script = |network: &FakeFetch| {
            network.always(&server.discovery_uri(), Reply::json(discovery(&iss("a"), url)));
            network.always(url, Reply::json(server.jwks()));
        };
        let (validator, _) = scripted(&realms, script, policy);
        assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()), "{url}");
    }
}

#[tokio::test]
async fn case_114_follows_no_redirect_to_another_host() {
    let realms = Realms::new(["a"]);
    let server = realms.server("a");
    let metadata = "https://169.254.169.254/latest";
    let script = |network: &FakeFetch| {
        let redirect = Reply::status(StatusCode::FOUND).with_header(LOCATION, metadata);
        network.always(&server.discovery_uri(), redirect);
        network.always(metadata, Reply::json(discovery(&iss("a"), &server.jwks_uri())));
    };
    let (validator, network) = scripted(&realms, script, RefreshPolicy::new());
    assert!(outcome(&validator, &realms.token("a")).await.is_err());
    assert_eq!(network.calls_to(metadata), 0);
}

/// A name that a name server resolves to loopback, and addresses in URLs. The check is made at the connection.
#[tokio::test]
async fn case_114_connects_to_public_addresses_only() {
    let server = TestIssuer::new().serve().await.expect("a port");
    let port = server.address().port();
    for host in ["localhost", "127.0.0.1", "127.1", "[::1]"] {
        let name = format!("http://{host}:{port}");
        let resolved = Tenants::matching(format!("http://localhost:{port}/{{tenant}}"));
        let jwks_uri = format!("{name}/.well-known/jwks.json");
        let resolver = move |claimed: tower_bearer::config::ClaimedIssuer| {
            let issuer = Issuer::jwks(claimed.issuer(), jwks_uri.clone()).dangerous_allow_http();
            async move { Ok(Some(issuer)) }
        };
        let tenants = resolved.resolved_by(resolver);
        let (name, fetches) = (format!("http://localhost:{port}/a"), server.issuer().fetches());
        let token = server.issuer().token().audience(AUDIENCE).issuer(&name).sign();
        let validator = Validator::new(Api::for_tenants(AUDIENCE, tenants.clone())).expect("a valid configuration");
        let refused = cause(outcome(&validator, &token).await);
        assert_eq!(refused, Some(RefreshError::Network { error: FetchError::AddressNotAllowed }), "{host}");
        assert_eq!(server.issuer().fetches(), fetches, "{host}");
        if host == "127.0.0.1" {
            let api = Api::for_tenants(AUDIENCE, tenants.dangerous_allow_private_addresses());
            let validator = Validator::builder(api).with_fetch(ReqwestFetch::new().expect("a client")).build();
            assert_eq!(outcome(&validator.expect("a valid configuration"), &token).await, Ok(()));
        }
    }
}

#[tokio::test]
async fn case_115_ten_thousand_unproven_tenants_displace_no_proven_one() {
    let realms = Realms::new(["a", "b"]);
    let other_realm = realms.server("b");
    let tenants = realms.tenants().with_max_tenants(80).with_new_tenants_per_second(1_000);
    let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
    let token = realms.token("a");
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    let fetches = realms.server("a").fetches();
    for number in 0..10_000 {
        let realm = format!("x{number}");
        realms.set(&realm, Answer::Known);
        // Nobody can sign as this tenant: its server does not exist.
        let forged = token_of(&other_realm, &iss(&realm));
        assert!(outcome(&validator, &forged).await.is_err());
        if number % 1_000 == 999 {
            realms.pass(SECOND).await;
        }
    }
    let counts = validator.tenants().counts();
    assert_eq!((counts.proven(), counts.unproven()), (1, 64), "they have separate room");
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    assert_eq!(realms.server("a").fetches(), fetches, "its keys were not fetched again");
    assert_eq!(realms.calls_for("a"), 1);
}

#[tokio::test]
async fn case_116_a_removed_tenant_is_rejected_from_the_next_request_on() {
    let realms = Realms::new(["a", "b"]);
    let validator = realms.validator();
    let (a, b) = (realms.token("a"), realms.token("b"));
    for _ in 0..2 {
        assert_eq!((outcome(&validator, &a).await, outcome(&validator, &b).await), (Ok(()), Ok(())));
    }
    realms.set("a", Answer::Unknown);
    assert_eq!(outcome(&validator, &a).await, Ok(()), "it is cached");
    assert!(validator.tenants().remove(&iss("a")));
    assert_eq!((outcome(&validator, &a).await, outcome(&validator, &b).await), (unknown(), Ok(())));
    // Its successor has the same name, and its own keys.
    realms.create("a");
    validator.tenants().remove(&iss("a"));
    assert!(outcome(&validator, &a).await.is_err(), "a token of its predecessor");
    assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()));
}

#[tokio::test]
async fn case_117_a_key_of_one_tenant_verifies_no_token_of_another_with_the_same_kid() {
    let realms = Realms::new(["a", "b"]);
    let same_kid = |server: &TestIssuer| server.jwks().replace(&server.kid(), "same");
    for realm in ["a", "b"] {
        realms.server(realm).publish(same_kid(&realms.server(realm)));
    }
    let validator = realms.validator();
    let token = |issuer: &str, signer: &str| {
        let token = realms.server(issuer).token().audience(AUDIENCE).kid("same");
        token.signed_by(&realms.server(signer)).kid("same").sign()
    };
    for _ in 0..2 {
        assert_eq!(outcome(&validator, &token("a", "a")).await, Ok(()));
        assert_eq!(outcome(&validator, &token("b", "b")).await, Ok(()));
        assert_eq!(outcome(&validator, &token("a", "b")).await, Err(Rejection::Signature));
        assert_eq!(outcome(&validator, &token("b", "a")).await, Err(Rejection::Signature));
    }
}

#[tokio::test]
async fn case_123_one_hanging_tenant_of_fifty_delays_no_other_one() {
    let names: Vec<String> = (0..50).map(|number| format!("r{number}")).collect();
    let realms = Realms::new(names.iter().map(String::as_str));
    realms.server("r0").set_outage(Outage::Hang);
    let tenants = realms.tenants().with_new_tenants_per_second(1_000);
    let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
    let hanging: Vec<_> = (0..20)
        .map(|_| {
            let (validator, token) = (validator.clone(), realms.token("r0"));
            tokio::spawn(async move { outcome(&validator, &token).await })
        })
        .collect();
    realms.clock.settle().await;
    // The clock stands still, so nothing else waited for anything.
    for name in &names[1..] {
        assert_eq!(outcome(&validator, &realms.token(name)).await, Ok(()), "{name}");
    }
    assert!(hanging.iter().all(|waiting| !waiting.is_finished()));
    realms.pass(Duration::from_secs(10)).await;
    for waiting in hanging {
        assert!(matches!(waiting.await.expect("no panic"), Err(Rejection::KeysUnavailable { .. })));
    }
}

/// A store with one record for every name.
#[derive(Clone, Debug, Default)]
struct OneRecord {
    record: Arc<Mutex<Option<Bytes>>>,
}

impl KeyStore for OneRecord {
    fn load(&self, _: &str, _: usize) -> KeyStoreFuture<Option<Bytes>> {
        let record = self.record.lock().expect("the record").clone();
        Box::pin(async move { Ok(record) })
    }

    fn save(&self, _: &str, record: Bytes) -> KeyStoreFuture<()> {
        *self.record.lock().expect("the record") = Some(record);
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn case_124_uses_no_stored_keys_of_another_tenant() {
    let realms = Realms::new(["a", "b"]);
    let store = OneRecord::default();
    let build = || realms.builder(realms.api()).with_key_store(store.clone()).build().expect("a valid configuration");
    assert_eq!(outcome(&build(), &realms.token("a")).await, Ok(()));
    realms.pass(SECOND).await;
    let of_a = store.record.lock().expect("the record").clone().expect("a saved record");
    for realm in ["a", "b"] {
        realms.server(realm).set_outage(Outage::NoConnection);
    }
    let set = |record: Bytes| *store.record.lock().expect("the record") = Some(record);
    // Its own record is used while the server is down.
    assert_eq!(outcome(&build(), &realms.token("a")).await, Ok(()));
    set(of_a.clone());
    let signed_by_a = realms.server("b").token().audience(AUDIENCE).signed_by(&realms.server("a"));
    let signed_by_a = signed_by_a.kid(&realms.server("a").kid()).sign();
    let is_unavailable = async |token: String| {
        let outcome = outcome_in_time(&realms, build(), token).await;
        matches!(outcome, Err(Rejection::KeysUnavailable { .. }))
    };
    assert!(is_unavailable(signed_by_a).await);
    let text = String::from_utf8(of_a.to_vec()).expect("text");
    set(Bytes::from(text[..text.len() / 2].to_owned()));
    assert!(is_unavailable(realms.token("a")).await, "truncated");
    let mut later: serde_json::Value = serde_json::from_slice(&of_a).expect("JSON");
    let confirmed_at = later["confirmed_at"].as_i64().expect("a number");
    later["confirmed_at"] = (confirmed_at + 600).into();
    set(later.to_string().into());
    assert!(is_unavailable(realms.token("a")).await, "from the future");
    later["confirmed_at"] = confirmed_at.into();
    set(later.to_string().into());
    assert_eq!(outcome(&build(), &realms.token("a")).await, Ok(()), "the same record with its own time");
    set(of_a.clone());
    realms.clock.suspend(Duration::from_secs(2 * 3600));
    realms.clock.advance(Duration::ZERO);
    assert!(is_unavailable(realms.token("a")).await, "2 h old");
}
