//! Key sets, and key sources on a fake clock and a fake network, for the tests of this module.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinHandle;

use crate::fetch::Endpoint;
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::shared::Imports;
use crate::jwks::snapshot::Snapshot;
use crate::jwks::source::{KeySource, View};
use crate::keys::{Found, KeyOrigin, KeySet, KeyTable, PrivateKeys};
use crate::testing::{FakeClock, FakeFetch, Reply};
use crate::token::Algorithm;

pub(in crate::jwks) const URL: &str = "https://login.example/jwks";
pub(in crate::jwks) const ISSUER: &str = "https://login.example";
const OPENID: &str = "https://login.example/.well-known/openid-configuration";
const MOVED: &str = "https://keys.example/two";
pub(in crate::jwks) const SECOND: Duration = Duration::from_secs(1);
pub(in crate::jwks) const MINUTE: Duration = Duration::from_secs(60);
pub(in crate::jwks) const HOUR: Duration = Duration::from_secs(3600);

/// A time after the load at which a source has made its first scheduled refresh, and not yet the second.
pub(in crate::jwks) const ONE_REFRESH: Duration = Duration::from_secs(256);

/// Points on P-256: the public keys of these tests, one for each of the kids `a` to `e`.
const POINTS: [(&str, &str); 5] = [
    ("Qo-thZ_V7Pgyh7pEJ4pcpdtpdZ8gknJ2_AORFz6CuSM", "zfNwxUMw0drlM8R80zUJwGnXW59K1l0yptXf3EDfgkE"),
    ("Vv0IU6itthhFgPm1YLVOoT-692xR8rz8BWiIAT1jWRA", "EG6ySLET9-FxQcpbIJ31o9SV6CDbWuYslhEOFnhP0w4"),
    ("FPSa5RjqdhvpsQKp-2XHcT-5PVB_Vibrx4gJ8Wyygbg", "ucTiG98iHQjqjQo2qOBShT4F8E7kFnyxBtcmtFb_qyE"),
    ("7qfBVKsbtLnBgLogYcbXWsFgTlGxlbwAWbPkVF7R4aE", "UiSNCj2dhgeuUoUlAoaoUs45dFkBFT3WKMgJP2OKpVM"),
    ("v6y67EtUX0N_ESQELOclHR-9Yu-UAAPjGr-bMtokS38", "VDAvuz7MZHklKG0kYRcu_26Ub7YzpyNh9U3bmFaSz8o"),
];

/// Registers a subscriber that stays alive, before a test captures the log.
///
/// With only one subscriber, `tracing` enables a new callsite if the subscriber of the current thread enables it. A test
/// without a subscriber that is the first to reach a callsite would disable it for the test that captures the log.
pub(in crate::jwks) fn register_second_subscriber() {
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()));
}

/// Returns a JWK with this `kid` and the key material `of`.
pub(in crate::jwks) fn jwk(kid: &str, of: &str) -> String {
    let point = usize::from(of.as_bytes()[0] - b'a') % POINTS.len();
    let (x, y) = POINTS[point];
    format!(r#"{{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"{kid}","x":"{x}","y":"{y}"}}"#)
}

/// Returns a key set with these kids.
pub(in crate::jwks) fn jwks(kids: &[&str]) -> String {
    let keys: Vec<String> = kids.iter().map(|kid| jwk(kid, kid)).collect();
    set_of(&keys)
}

/// Returns a key set of these JWKs.
pub(in crate::jwks) fn set_of(keys: &[impl AsRef<str>]) -> String {
    let mut document = String::from(r#"{"keys":["#);
    for (position, key) in keys.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write!(document, "{comma}{}", key.as_ref()).expect("writing to a string does not fail");
    }
    document.push_str("]}");
    document
}

fn discovery_document(jwks_uri: &str) -> Reply {
    Reply::json(format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{jwks_uri}"}}"#))
}

pub(in crate::jwks) fn table(document: &str) -> KeyTable {
    let set = KeySet::parse_remote(document.as_bytes(), 100, PrivateKeys::Skipped).expect("a key set");
    set.bind(&[Algorithm::ES256], KeyOrigin::Remote)
}

pub(in crate::jwks) fn has(table: &KeyTable, kid: &str) -> bool {
    matches!(table.find(Some(kid), Algorithm::ES256), Found::Keys(_))
}

/// A key source on a fake clock and a fake network.
pub(in crate::jwks) struct Fixture {
    pub(in crate::jwks) clock: FakeClock,
    pub(in crate::jwks) network: FakeFetch,
    pub(in crate::jwks) source: KeySource,
}

impl Fixture {
    /// Creates a source whose URL answers `reply`; the first fetch is in flight.
    pub(in crate::jwks) fn new(reply: Reply) -> Self {
        Self::with(RefreshPolicy::new(), reply)
    }

    pub(in crate::jwks) fn with(policy: RefreshPolicy, reply: Reply) -> Self {
        Self::at(Origin::jwks(URL, Endpoint::new(URL).expect("url")), policy, |network| network.always(URL, reply))
    }

    pub(in crate::jwks) fn at(origin: Origin, policy: RefreshPolicy, script: impl FnOnce(&FakeFetch)) -> Self {
        let clock = FakeClock::new();
        let network = FakeFetch::new(&clock);
        script(&network);
        let source = Self::source(origin, policy, &network, &clock);
        Self { clock, network, source }
    }

    /// Creates a source with initial or stored keys.
    pub(in crate::jwks) fn importing(policy: RefreshPolicy, reply: Reply, imports: Imports) -> Self {
        let origin = Origin::jwks(URL, Endpoint::new(URL).expect("url"));
        Self::importing_at(origin, policy, |network| network.always(URL, reply), imports)
    }

    pub(in crate::jwks) fn importing_at(
        origin: Origin,
        policy: RefreshPolicy,
        script: impl FnOnce(&FakeFetch),
        imports: Imports,
    ) -> Self {
        assert_eq!(policy.errors(), []);
        let clock = FakeClock::new();
        let network = FakeFetch::new(&clock);
        script(&network);
        let backends = (Arc::new(network.clone()), Arc::new(clock.clone()));
        let source = KeySource::build(origin, &[Algorithm::ES256], policy, backends.0, backends.1, imports);
        Self { clock, network, source }
    }

    pub(in crate::jwks) fn source(
        origin: Origin,
        policy: RefreshPolicy,
        network: &FakeFetch,
        clock: &FakeClock,
    ) -> KeySource {
        assert_eq!(policy.errors(), []);
        let (fetch, clock) = (Arc::new(network.clone()), Arc::new(clock.clone()));
        KeySource::build(origin, &[Algorithm::ES256], policy, fetch, clock, Imports::default())
    }

    /// Creates a source that has loaded `reply`.
    pub(in crate::jwks) async fn at_url(reply: Reply) -> Self {
        let fixture = Self::new(reply);
        fixture.clock.settle().await;
        assert!(fixture.source.status().is_ready());
        fixture
    }

    /// Creates a source that has loaded the keys `kids`.
    pub(in crate::jwks) async fn loaded(kids: &[&str]) -> Self {
        Self::loaded_with(RefreshPolicy::new(), kids).await
    }

    pub(in crate::jwks) async fn loaded_with(policy: RefreshPolicy, kids: &[&str]) -> Self {
        let fixture = Self::with(policy, Reply::json(jwks(kids)));
        fixture.clock.settle().await;
        assert_eq!(fixture.network.calls(), 1);
        fixture
    }

    /// Creates a source whose discovery document names [`URL`] with the key `a`, and runs it until the document has been read.
    pub(in crate::jwks) async fn discovered(policy: RefreshPolicy) -> Self {
        let fixture = Self::at(Origin::discovery(ISSUER).expect("issuer"), policy, |network| {
            network.always(OPENID, discovery_document(URL));
            network.always(URL, Reply::json(jwks(&["a"])));
            network.always(MOVED, Reply::json(jwks(&["b"])));
        });
        fixture.run(6 * MINUTE).await;
        fixture
    }

    /// Removes the key set of [`discovered`](Self::discovered) and the discovery document, and reloads.
    pub(in crate::jwks) async fn remove_keys(&self) {
        self.answer(Reply::status(StatusCode::NOT_FOUND));
        self.network.always(OPENID, Reply::status(StatusCode::BAD_GATEWAY));
        self.source.reload().await.expect_err("the keys are removed");
        self.run(SECOND).await;
    }

    /// Points the discovery document to another URL, which has the key `b`.
    pub(in crate::jwks) async fn move_keys(&self) {
        self.network.always(OPENID, discovery_document(MOVED));
        self.run(2 * MINUTE).await;
        assert!(self.serves("b"));
    }

    pub(in crate::jwks) fn publish(&self, kids: &[&str]) {
        self.network.always(URL, Reply::json(jwks(kids)));
    }

    pub(in crate::jwks) fn answer(&self, reply: Reply) {
        self.network.always(URL, reply);
    }

    pub(in crate::jwks) async fn run(&self, span: Duration) {
        self.clock.run_for(span).await;
    }

    /// Returns whether a request with this kid is served without waiting.
    pub(in crate::jwks) fn serves(&self, kid: &str) -> bool {
        match self.source.snapshot() {
            View::Usable(snapshot) => has(&snapshot.table, kid),
            View::Unavailable => false,
        }
    }

    pub(in crate::jwks) fn epoch(&self) -> u64 {
        self.source.status().epoch()
    }

    /// Starts a request on its own task.
    pub(in crate::jwks) fn spawn(&self, kid: impl Into<String>) -> JoinHandle<Outcome> {
        let (source, kid) = (self.source.clone(), kid.into());
        tokio::spawn(async move { Self::request(&source, &kid).await })
    }

    /// Returns the outcome of one request, which must complete without a wait.
    pub(in crate::jwks) async fn request_now(&self, kid: impl Into<String>) -> Outcome {
        let request = self.spawn(kid);
        self.clock.settle().await;
        assert!(request.is_finished(), "the request waits");
        request.await.expect("no panic")
    }

    /// Looks up a key as a validator does for a token with this kid. A wait needs the fake clock to advance.
    pub(in crate::jwks) async fn request(source: &KeySource, kid: &str) -> Outcome {
        let (snapshot, since): (Arc<Snapshot>, _) = match source.snapshot() {
            View::Usable(snapshot) => (Arc::clone(&snapshot), None),
            View::Unavailable => match (source.now(), source.ready_snapshot().await) {
                (since, Ok(snapshot)) => (snapshot, Some(since)),
                (_, Err(unavailable)) => return Outcome::Unavailable(unavailable.retry_after),
            },
        };
        if has(&snapshot.table, kid) {
            return Outcome::Served;
        }
        match source.newer_keys(snapshot.epoch, since, kid, |table| has(table, kid)).await {
            Ok(Some(newer)) if has(&newer.table, kid) => Outcome::Served,
            Ok(_) => Outcome::NotFound,
            Err(unavailable) => Outcome::Unavailable(unavailable.retry_after),
        }
    }
}

/// The result of a key lookup for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Outcome {
    Served,
    NotFound,
    Unavailable(Duration),
}
