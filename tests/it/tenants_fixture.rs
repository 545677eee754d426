//! A server with realms that come and go, and an application that knows some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tower_bearer::config::{Tenant, TenantError, TenantEvent, TenantEventKind, Tenants};
use tower_bearer::fetch::{Fetch, FetchFuture, FetchRequest, FetchResponse};
use tower_bearer::rejection::IssuerError;
use tower_bearer::testing::{FakeClock, TestIssuer};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, Validator, ValidatorBuilder};

use crate::fixture::AUDIENCE;

pub(crate) const PATTERN: &str = "https://id.test/realms/{realm}";

/// What the resolver of the application does for a realm.
#[derive(Clone)]
pub(crate) enum Answer {
    Known,
    Unknown,
    Fail,
    Hang,
    Panic,
    Return(Arc<dyn Fn(&str) -> Tenant + Send + Sync>),
}

/// Realms, a network in which they can be reached, and a resolver.
#[derive(Clone)]
pub(crate) struct Realms {
    pub(crate) clock: FakeClock,
    algorithm: Algorithm,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    servers: BTreeMap<String, TestIssuer>,
    answers: BTreeMap<String, Answer>,
    calls: Vec<String>,
    urls: Vec<String>,
    events: Vec<(String, TenantEventKind)>,
}

pub(crate) fn iss(realm: &str) -> String {
    format!("https://id.test/realms/{realm}")
}

impl Realms {
    pub(crate) fn new<'r>(realms: impl IntoIterator<Item = &'r str>) -> Self {
        Self::signing_with(Algorithm::ES256, realms)
    }

    pub(crate) fn signing_with<'r>(algorithm: Algorithm, realms: impl IntoIterator<Item = &'r str>) -> Self {
        let this = Self { clock: FakeClock::new(), algorithm, inner: Arc::default() };
        realms.into_iter().for_each(|realm| this.create(realm));
        this
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("the realms")
    }

    /// Creates a realm at the server that the application knows.
    pub(crate) fn create(&self, realm: &str) {
        let server = TestIssuer::named(&iss(realm)).with_algorithms([self.algorithm]).with_clock(self.clock.clone());
        self.inner().servers.insert(realm.to_owned(), server);
        self.set(realm, Answer::Known);
    }

    /// Removes a realm from the application. The server still has it.
    pub(crate) fn set(&self, realm: &str, answer: Answer) {
        self.inner().answers.insert(realm.to_owned(), answer);
    }

    pub(crate) fn server(&self, realm: &str) -> TestIssuer {
        self.inner().servers.get(realm).expect("a realm").clone()
    }

    pub(crate) fn token(&self, realm: &str) -> String {
        let token = self.server(realm).token().audience(AUDIENCE).subject(realm);
        token.expires_in(Duration::from_secs(48 * 3600)).sign()
    }

    /// Returns the realms for which the resolver was called.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.inner().calls.clone()
    }

    pub(crate) fn calls_for(&self, realm: &str) -> usize {
        self.inner().calls.iter().filter(|called| *called == realm).count()
    }

    /// Returns the URLs that were fetched.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.inner().urls.clone()
    }

    pub(crate) fn events_of(&self, realm: &str) -> Vec<TenantEventKind> {
        let name = iss(realm);
        self.inner().events.iter().filter(|(issuer, _)| *issuer == name).map(|(_, kind)| *kind).collect()
    }

    pub(crate) fn tenants(&self) -> Tenants {
        self.tenants_matching(PATTERN)
    }

    pub(crate) fn tenants_matching(&self, pattern: &str) -> Tenants {
        let (resolving, reporting, algorithm) = (self.clone(), self.clone(), self.algorithm);
        let tenants = Tenants::matching(pattern).resolved_by(move |claimed| {
            let realm = claimed.capture("realm").expect("a capture").to_owned();
            let answer = {
                let mut inner = resolving.inner();
                inner.calls.push(realm.clone());
                inner.answers.get(&realm).cloned().unwrap_or(Answer::Unknown)
            };
            async move {
                match answer {
                    Answer::Known => Ok(Some(Tenant::new(Issuer::oidc(claimed.issuer()).with_algorithms([algorithm])))),
                    Answer::Unknown => Ok(None),
                    Answer::Fail => Err("the database does not respond".into()),
                    Answer::Hang => std::future::pending().await,
                    Answer::Panic => panic!("a bug of the application"),
                    Answer::Return(tenant) => Ok(Some(tenant(claimed.issuer()))),
                }
            }
        });
        tenants.with_event_hook(move |event: &TenantEvent| {
            reporting.inner().events.push((event.issuer().to_owned(), event.kind()));
        })
    }

    pub(crate) fn api(&self) -> Api {
        Api::for_tenants(AUDIENCE, self.tenants())
    }

    pub(crate) fn validator(&self) -> Validator {
        self.build(self.api())
    }

    pub(crate) fn builder(&self, api: Api) -> ValidatorBuilder {
        Validator::builder(api).with_fetch(self.clone()).with_clock(self.clock.clone())
    }

    pub(crate) fn build(&self, api: Api) -> Validator {
        self.builder(api).build().expect("a valid configuration")
    }

    /// Advances the clock in steps of a second, so that every task runs.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.settle().await;
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(1));
            self.clock.advance(step);
            left -= step;
            self.clock.settle().await;
        }
    }
}

impl Fetch for Realms {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        let url = request.endpoint.as_str().to_owned();
        let server = {
            let mut inner = self.inner();
            inner.urls.push(url.clone());
            let realm = url.strip_prefix("https://id.test/realms/").and_then(|rest| rest.split('/').next());
            realm.and_then(|realm| inner.servers.get(realm)).cloned()
        };
        match server {
            Some(server) => server.fetch(request),
            None => {
                let missing = FetchResponse::new(StatusCode::NOT_FOUND, HeaderMap::new(), Bytes::new());
                Box::pin(std::future::ready(Ok(missing)))
            }
        }
    }

    fn connects_to_public_addresses_only(&self) -> bool {
        true
    }
}

impl fmt::Debug for Realms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Realms")
    }
}

/// Returns whether a token is accepted, while the clock goes on.
pub(crate) async fn outcome_in_time(realms: &Realms, validator: Validator, token: String) -> Result<(), Rejection> {
    let waiting = tokio::spawn(async move { outcome(&validator, &token).await });
    realms.pass(Duration::from_secs(10)).await;
    waiting.await.expect("no panic")
}

/// Returns whether a token is accepted.
pub(crate) async fn outcome(validator: &Validator, token: &str) -> Result<(), Rejection> {
    validator.validate(token).await.map(drop)
}

pub(crate) fn unknown() -> Result<(), Rejection> {
    Err(Rejection::Issuer(IssuerError::UnknownTenant))
}

pub(crate) fn not_matching() -> Result<(), Rejection> {
    Err(Rejection::Issuer(IssuerError::Unknown { difference: None }))
}

pub(crate) fn unavailable(error: TenantError) -> Result<(), Rejection> {
    Err(Rejection::Issuer(IssuerError::TenantUnavailable { error }))
}

/// Returns the names as a set.
pub(crate) fn set<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}
