//! Custom domains that the application returns while the validator runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use tower::Layer as _;
use tower_bearer::rejection::IssuerError;
use tower_bearer::revocation::{Revocation, Revocations};
use tower_bearer::testing::{FakeClock, TestIssuer};
use tower_bearer::{Api, BearerLayer, BuildError, Issuer, Rejection, RejectionKind, Validator};

use crate::fixture::{AUDIENCE, setting_errors};
use crate::layer_fixture::{bearer_request, send, subject_service};

const TENANT: &str = "northwind.eu.auth0.com";

/// What the source of the application does at its next call.
#[derive(Clone)]
enum Next {
    Return(Vec<String>),
    Fail,
    Hang,
    Panic,
}

/// An API whose tenant has custom domains from a source.
struct Fixture {
    clock: FakeClock,
    server: TestIssuer,
    next: Arc<Mutex<Next>>,
    calls: Arc<AtomicUsize>,
}

fn domains(names: &[&str]) -> Next {
    Next::Return(names.iter().map(|name| (*name).to_owned()).collect())
}

impl Fixture {
    fn new(first: Next) -> Self {
        let clock = FakeClock::new();
        let server = TestIssuer::auth0(TENANT).with_clock(clock.clone());
        Self { clock, server, next: Arc::new(Mutex::new(first)), calls: Arc::default() }
    }

    fn issuer(&self) -> Issuer {
        let (next, calls) = (Arc::clone(&self.next), Arc::clone(&self.calls));
        Issuer::auth0(TENANT).with_custom_domains_from(move || {
            calls.fetch_add(1, Ordering::SeqCst);
            let next = next.lock().expect("the next result").clone();
            async move {
                match next {
                    Next::Return(domains) => Ok(domains),
                    Next::Fail => Err("the database does not respond".into()),
                    Next::Hang => std::future::pending().await,
                    Next::Panic => panic!("a bug of the application"),
                }
            }
        })
    }

    fn validator(&self) -> Validator {
        self.build(Api::new(AUDIENCE, self.issuer()))
    }

    fn build(&self, api: Api) -> Validator {
        let builder = Validator::builder(api).with_fetch(self.server.clone()).with_clock(self.clock.clone());
        builder.build().expect("a valid configuration")
    }

    fn set(&self, next: Next) {
        *self.next.lock().expect("the next result") = next;
    }

    fn token(&self, domain: &str) -> String {
        let token = self.server.token().audience(AUDIENCE).issuer(&format!("https://{domain}/"));
        token.expires_in(Duration::from_secs(24 * 3600)).sign()
    }

    /// Advances the clock in steps, so that every task runs.
    async fn pass(&self, time: Duration) {
        settle().await;
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(1));
            self.clock.advance(step);
            left -= step;
            settle().await;
        }
    }
}

/// Lets every task run that can.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn unknown() -> Result<(), Rejection> {
    Err(Rejection::Issuer(IssuerError::Unknown { difference: None }))
}

fn unavailable() -> Result<(), Rejection> {
    Err(Rejection::Issuer(IssuerError::DomainsUnavailable))
}

async fn outcome(validator: &Validator, token: &str) -> Result<(), Rejection> {
    validator.validate(token).await.map(drop)
}

#[tokio::test]
async fn accepts_the_domains_and_renews_them_every_five_minutes() {
    let fixture = Fixture::new(domains(&["login.northwind.com"]));
    let validator = fixture.validator();
    settle().await;
    let (first, second) = (fixture.token("login.northwind.com"), fixture.token("login.fabrikam.com"));
    for _ in 0..20 {
        assert_eq!(outcome(&validator, &first).await, Ok(()));
        assert_eq!(outcome(&validator, &second).await, unknown());
        assert_eq!(outcome(&validator, &fixture.token(TENANT)).await, Ok(()));
    }
    assert_eq!(fixture.calls.load(Ordering::SeqCst), 1, "requests call nothing");
    fixture.set(domains(&["login.fabrikam.com"]));
    fixture.pass(Duration::from_secs(290)).await;
    assert_eq!((outcome(&validator, &first).await, outcome(&validator, &second).await), (Ok(()), unknown()));
    fixture.pass(Duration::from_secs(20)).await;
    assert_eq!(fixture.calls.load(Ordering::SeqCst), 2);
    assert_eq!((outcome(&validator, &first).await, outcome(&validator, &second).await), (unknown(), Ok(())));
    assert_eq!(validator.key_sources().count(), 1, "the domains share the keys of the tenant");
}

#[tokio::test]
async fn a_removed_domain_is_rejected_at_once_also_from_the_token_cache() {
    let fixture = Fixture::new(domains(&["login.northwind.com", "login.fabrikam.com"]));
    let validator = fixture.validator();
    settle().await;
    fixture.pass(Duration::from_secs(280)).await;
    let (removed, other) = (fixture.token("login.northwind.com"), fixture.token("login.fabrikam.com"));
    let claims = validator.validate(&removed).await.expect("an accepted token");
    assert_eq!(outcome(&validator, &other).await, Ok(()));
    fixture.set(domains(&["login.fabrikam.com"]));
    fixture.pass(Duration::from_secs(30)).await;
    assert_eq!(outcome(&validator, &removed).await, unknown());
    assert_eq!(validator.still_valid(&claims).unwrap_err().kind(), RejectionKind::Issuer);
    assert_eq!(outcome(&validator, &other).await, Ok(()));
}

#[tokio::test]
async fn before_the_first_list_only_names_of_domains_are_unavailable() {
    for first in [Next::Hang, Next::Fail, Next::Panic] {
        let fixture = Fixture::new(first);
        let validator = fixture.validator();
        let token = fixture.token("login.northwind.com");
        settle().await;
        let rejection = outcome(&validator, &token).await;
        assert_eq!(rejection, unavailable());
        assert_eq!(rejection.unwrap_err().kind(), RejectionKind::IssuersUnavailable);
        // The tenant itself and every other name are known.
        assert_eq!(outcome(&validator, &fixture.token(TENANT)).await, Ok(()));
        let other = fixture.server.token().audience(AUDIENCE).issuer("https://login.northwind.com/path").sign();
        assert_eq!(outcome(&validator, &other).await, unknown());
        fixture.set(domains(&["login.northwind.com"]));
        // 2 s until a call counts as failed, and 1 s until the next one.
        fixture.pass(Duration::from_secs(10)).await;
        assert_eq!(outcome(&validator, &token).await, Ok(()));
    }
}

#[tokio::test]
async fn a_domain_that_may_be_trusted_gets_503_with_retry_after() {
    let fixture = Fixture::new(Next::Fail);
    let service = BearerLayer::new(fixture.validator()).layer(subject_service());
    settle().await;
    let response = send(service.clone(), bearer_request(&fixture.token("login.northwind.com"))).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers().get(RETRY_AFTER).map(|value| value.as_bytes()), Some(&b"1"[..]));
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(send(service, bearer_request(&fixture.token(TENANT))).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_source_that_fails_keeps_its_domains_for_one_hour() {
    let fixture = Fixture::new(domains(&["login.northwind.com"]));
    let validator = fixture.validator();
    settle().await;
    let token = fixture.token("login.northwind.com");
    for failure in [Next::Fail, Next::Hang, Next::Panic, domains(&["login.fabrikam.com"; 10_001])] {
        fixture.set(failure);
        fixture.pass(Duration::from_secs(600)).await;
        assert_eq!(outcome(&validator, &token).await, Ok(()));
        assert_eq!(outcome(&validator, &fixture.token("login.fabrikam.com")).await, unknown());
    }
    fixture.set(Next::Fail);
    fixture.pass(Duration::from_secs(1_140)).await;
    assert_eq!(outcome(&validator, &token).await, Ok(()), "59 min after the last success");
    fixture.pass(Duration::from_secs(120)).await;
    assert_eq!(outcome(&validator, &token).await, unavailable());
    assert_eq!(outcome(&validator, &fixture.token(TENANT)).await, Ok(()));
    let before = fixture.calls.load(Ordering::SeqCst);
    fixture.pass(Duration::from_secs(300)).await;
    let calls = fixture.calls.load(Ordering::SeqCst) - before;
    assert!((9..=11).contains(&calls), "one call every 30 s: {calls}");
    fixture.set(domains(&["login.northwind.com"]));
    fixture.pass(Duration::from_secs(40)).await;
    assert_eq!(outcome(&validator, &token).await, Ok(()));
}

#[tokio::test]
async fn build_ready_waits_for_the_domains() {
    let fixture = Fixture::new(Next::Fail);
    let builder = || {
        let api = Api::new(AUDIENCE, fixture.issuer());
        Validator::builder(api).with_fetch(fixture.server.clone()).with_clock(fixture.clock.clone())
    };
    let (limited, ()) =
        tokio::join!(builder().build_ready(Duration::from_secs(5)), fixture.pass(Duration::from_secs(20)));
    assert!(matches!(limited, Err(BuildError::DomainsUnknown)), "{limited:?}");
    let set_later = async {
        fixture.pass(Duration::from_secs(3)).await;
        fixture.set(domains(&["login.northwind.com"]));
        fixture.pass(Duration::from_secs(60)).await;
    };
    let (built, ()) = tokio::join!(builder().build_ready(Duration::from_secs(60)), set_later);
    assert_eq!(outcome(&built.expect("domains"), &fixture.token("login.northwind.com")).await, Ok(()));
}

/// The custom domains are names of the same tenant.
#[tokio::test]
async fn a_revocation_for_the_tenant_applies_to_its_domains() {
    let fixture = Fixture::new(domains(&["login.northwind.com", "login.fabrikam.com"]));
    let list = Revocations::builder().with_clock(fixture.clock.clone()).in_memory().expect("settings in range");
    let builder = Validator::builder(Api::new(AUDIENCE, fixture.issuer())).with_revocations(&list);
    let builder = builder.with_fetch(fixture.server.clone()).with_clock(fixture.clock.clone());
    let validator = builder.build().expect("a valid configuration");
    settle().await;
    let token = |domain: &str, subject: &str| {
        let token = fixture.server.token().audience(AUDIENCE).issuer(&format!("https://{domain}/"));
        token.subject(subject).sign()
    };
    let (ann, bob) = (token("login.northwind.com", "ann"), token("login.northwind.com", "bob"));
    let other = token("login.fabrikam.com", "bob");
    for token in [&ann, &bob, &other] {
        assert_eq!(outcome(&validator, token).await, Ok(()));
    }
    list.revoke(Revocation::subject(fixture.server.issuer(), "ann")).await.expect("room");
    assert_eq!(outcome(&validator, &ann).await.unwrap_err().kind(), RejectionKind::Revoked);
    list.revoke(Revocation::subject("https://login.northwind.com/", "bob")).await.expect("room");
    assert_eq!(outcome(&validator, &bob).await.unwrap_err().kind(), RejectionKind::Revoked);
    assert_eq!(outcome(&validator, &other).await, Ok(()));
}

#[tokio::test]
async fn the_task_ends_with_the_validator() {
    let fixture = Fixture::new(domains(&["login.northwind.com"]));
    let validator = fixture.validator();
    let clone = validator.clone();
    settle().await;
    drop(validator);
    fixture.pass(Duration::from_secs(310)).await;
    assert_eq!((fixture.calls.load(Ordering::SeqCst), Arc::strong_count(&fixture.calls)), (2, 2));
    drop(clone);
    settle().await;
    assert_eq!(Arc::strong_count(&fixture.calls), 1, "the source is dropped");
    fixture.pass(Duration::from_secs(1_000)).await;
    assert_eq!(fixture.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn each_host_of_a_domain_accepts_only_its_tokens() {
    let fixture = Fixture::new(domains(&["login.northwind.com", "login.fabrikam.com"]));
    let validator = fixture.build(Api::new(AUDIENCE, fixture.issuer()).with_issuer_from_host());
    settle().await;
    let token = fixture.token("login.northwind.com");
    for _ in 0..2 {
        let outcome = async |host: &str| validator.validate_for_host(&token, host).await.map(drop);
        assert_eq!(outcome("login.northwind.com").await, Ok(()));
        let unknown_host = Err(Rejection::Issuer(IssuerError::UnknownHost));
        assert_eq!(outcome("login.fabrikam.com").await, unknown_host);
        assert_eq!(outcome(TENANT).await, Err(Rejection::Issuer(IssuerError::NotForHost)));
    }
}

#[test]
fn a_host_can_be_bound_to_a_domain_that_the_source_may_return() {
    let fixture = Fixture::new(domains(&[]));
    let bound = Api::new(AUDIENCE, fixture.issuer()).with_issuer_for_host("api.test", "https://login.northwind.com/");
    assert_eq!(setting_errors(bound), []);
    let path = Api::new(AUDIENCE, fixture.issuer()).with_issuer_for_host("api.test", "https://login.northwind.com/a");
    assert_eq!(setting_errors(path).len(), 1);
}
