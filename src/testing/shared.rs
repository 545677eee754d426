//! The shared state of all handles to one test issuer: keys, domains, counters, the current outage.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{iter, mem};

use http::HeaderValue;
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};
use crate::testing::issued::IssuedTokens;
use crate::testing::outage::Outage;
use crate::testing::registry::Registry;
use crate::testing::signer::{Material, TestKey};
use crate::token::Algorithm;

/// One test issuer with all its domains.
#[derive(Debug)]
pub(super) struct SharedState {
    state: Mutex<State>,
    pub(super) key_set_requests: Counter,
    pub(super) discovery_requests: Counter,
    pub(super) token_requests: Counter,
    pub(super) introspections: Counter,
}

/// The state that a test can change while requests are handled.
#[derive(Debug)]
pub(super) struct State {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) publishes_alg: bool,
    pub(super) endpoints: Vec<IssuerEndpoint>,
    pub(super) outage: Outage,
    pub(super) published: Option<String>,
    pub(super) cache_control: Option<HeaderValue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) registry: Registry,
    pub(super) issued: IssuedTokens,
    current: Generation,
    /// The newest first.
    previous: Vec<Generation>,
}

/// One domain: the `iss` of its tokens, and the base URL of its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssuerEndpoint {
    pub(super) issuer: Arc<str>,
    /// Ends with a slash.
    pub(super) base: Arc<str>,
}

impl IssuerEndpoint {
    /// Creates a domain whose documents are at its own URL.
    pub(super) fn new(issuer: &str) -> Self {
        let base = if issuer.ends_with('/') { Arc::from(issuer) } else { Arc::from(format!("{issuer}/")) };
        Self { issuer: Arc::from(issuer), base }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl SharedState {
    pub(super) fn new(endpoint: IssuerEndpoint) -> Self {
        Self {
            state: Mutex::new(State {
                algorithms: vec![Algorithm::RS256],
                publishes_alg: true,
                endpoints: vec![endpoint],
                outage: Outage::None,
                published: None,
                cache_control: Some(HeaderValue::from_static(AUTH0_CACHE_CONTROL)),
                clock: Arc::new(SystemClock),
                registry: Registry::default(),
                issued: IssuedTokens::default(),
                current: Generation::new(),
                previous: Vec::new(),
            }),
            key_set_requests: Counter::default(),
            discovery_requests: Counter::default(),
            token_requests: Counter::default(),
            introspections: Counter::default(),
        }
    }

    /// Locks the state. It stays usable if another thread panics.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the current key for the algorithm. It is generated at the first call.
    pub(super) fn key(&mut self, algorithm: Algorithm) -> Arc<TestKey> {
        self.current.key(algorithm)
    }

    pub(super) fn secret(&self) -> String {
        self.current.material.secret().to_owned()
    }

    /// Returns the default algorithm for tokens.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithms.first().copied().unwrap_or(Algorithm::RS256)
    }

    pub(super) fn rotate(&mut self) {
        self.previous.insert(0, mem::replace(&mut self.current, Generation::new()));
    }

    pub(super) fn revoke_previous_keys(&mut self) {
        self.previous.clear();
    }

    /// Returns the JWK Set document: the current keys first, without shared secrets.
    pub(super) fn key_set(&mut self) -> String {
        if let Some(published) = &self.published {
            return published.clone();
        }
        let mut keys = Vec::new();
        for generation in iter::once(&mut self.current).chain(&mut self.previous) {
            keys.extend(self.algorithms.iter().filter_map(|&algorithm| generation.key(algorithm).jwk()));
        }
        if !self.publishes_alg {
            keys.iter_mut().filter_map(Value::as_object_mut).for_each(|key| drop(key.remove("alg")));
        }
        json!({ "keys": keys }).to_string()
    }
}

/// The keys that are current between two rotations.
#[derive(Debug)]
struct Generation {
    material: Material,
    keys: Vec<Arc<TestKey>>,
}

impl Generation {
    fn new() -> Self {
        Self { material: Material::new(), keys: Vec::new() }
    }

    fn key(&mut self, algorithm: Algorithm) -> Arc<TestKey> {
        if let Some(key) = self.keys.iter().find(|key| key.algorithm() == algorithm) {
            return Arc::clone(key);
        }
        let key = Arc::new(TestKey::new(algorithm, &self.material));
        self.keys.push(Arc::clone(&key));
        key
    }
}

/// Counts requests.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicUsize);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn value(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The `Cache-Control` header of Auth0 for its key set.
const AUTH0_CACHE_CONTROL: &str = "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400";
