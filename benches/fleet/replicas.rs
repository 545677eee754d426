//! A replica under each policy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::Mutex;
use tower_bearer::clock::{Clock as _, Monotonic};
use tower_bearer::fetch::{Endpoint, Fetch as _, FetchRequest};
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::testing::{FakeClock, TestIssuer};
use tower_bearer::{Api, Issuer, Rejection, Validator};

use crate::day::AUDIENCE;
use crate::network::Network;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// This crate with its defaults.
    ThisCrate,
    /// A set is used for five minutes; the first request after that fetches the next set.
    FixedInterval,
    /// A set is used for ten minutes; an unknown key id also starts a fetch, but not within 30 s after the last set.
    CoolDown,
}

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Self::ThisCrate => "this crate",
            Self::FixedInterval => "fixed interval of 5 min",
            Self::CoolDown => "10 min, cool-down of 30 s",
        }
    }
}

/// The token of a request.
pub struct Token {
    kid: String,
    text: String,
}

impl Token {
    pub fn new(server: &TestIssuer) -> Self {
        let token = server.token().audience(AUDIENCE).expires_in(Duration::from_secs(3_600));
        Self { kid: server.kid(), text: token.sign() }
    }

    /// Returns the token with another key id. No key verifies it, but its signature is only checked if the key id is known.
    pub fn with_kid(&self, kid: String) -> Self {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{kid}"}}"#));
        let (_, rest) = self.text.split_once('.').expect("three parts");
        Self { kid, text: format!("{header}.{rest}") }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// 401.
    Rejected,
    /// 503.
    Unavailable,
}

pub enum Replica {
    ThisCrate(Validator),
    Common(Arc<Common>),
}

impl Replica {
    pub fn start(policy: Policy, number: usize, server: &TestIssuer, network: &Network, clock: &FakeClock) -> Self {
        let common = |interval, cool_down| {
            let endpoint = Endpoint::new(&server.jwks_uri()).expect("a URL");
            let set = Mutex::new(Set { kids: Vec::new(), loaded_at: None, failed_at: None });
            Self::Common(Arc::new(Common {
                interval,
                cool_down,
                endpoint,
                network: network.clone(),
                clock: clock.clone(),
                set,
            }))
        };
        match policy {
            Policy::ThisCrate => {
                let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
                let seed = u64::try_from(number).expect("a small number");
                let validator = Validator::builder(api)
                    .with_fetch(network.clone())
                    .with_clock(clock.clone())
                    .with_refresh_policy(RefreshPolicy::new().with_jitter_seed(seed));
                Self::ThisCrate(validator.build().expect("a valid configuration"))
            }
            Policy::FixedInterval => common(Duration::from_secs(300), None),
            Policy::CoolDown => common(Duration::from_secs(600), Some(Duration::from_secs(30))),
        }
    }

    pub fn validate(&self, token: Arc<Token>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        match self {
            Self::ThisCrate(validator) => {
                let validator = validator.clone();
                Box::pin(async move {
                    match validator.validate(&token.text).await {
                        Ok(_) => Outcome::Accepted,
                        Err(Rejection::Key(_)) => Outcome::Rejected,
                        Err(Rejection::KeysUnavailable { .. }) => Outcome::Unavailable,
                        Err(other) => panic!("a token can be rejected only because of its key: {other:?}"),
                    }
                })
            }
            Self::Common(common) => {
                let common = Arc::clone(common);
                Box::pin(async move { common.validate(&token.kid).await })
            }
        }
    }
}

/// The two common designs. Signatures are not verified, which does not affect the counts.
pub struct Common {
    interval: Duration,
    cool_down: Option<Duration>,
    endpoint: Endpoint,
    network: Network,
    clock: FakeClock,
    /// Locked during a fetch, so that other requests wait for the same fetch and share its result.
    set: Mutex<Set>,
}

struct Set {
    kids: Vec<String>,
    loaded_at: Option<Monotonic>,
    failed_at: Option<Monotonic>,
}

impl Common {
    async fn validate(&self, kid: &str) -> Outcome {
        let arrived_at = self.clock.monotonic();
        let mut set = self.set.lock().await;
        if set.failed_at > Some(arrived_at) {
            return Outcome::Unavailable;
        }
        let is_older_than =
            |set: &Set, span| set.loaded_at.is_none_or(|at| self.clock.monotonic().saturating_since(at) >= span);
        let has_kid = |set: &Set| set.kids.iter().any(|known| known == kid);
        let is_expired = is_older_than(&set, self.interval);
        let may_fetch = !has_kid(&set) && self.cool_down.is_some_and(|cool_down| is_older_than(&set, cool_down));
        if (is_expired || may_fetch) && !self.load(&mut set).await {
            return Outcome::Unavailable;
        }
        if has_kid(&set) { Outcome::Accepted } else { Outcome::Rejected }
    }

    /// Fetches a set within five seconds, and returns whether it was loaded.
    async fn load(&self, set: &mut Set) -> bool {
        let deadline = self.clock.sleep_until(self.clock.monotonic().saturating_add(Duration::from_secs(5)));
        let fetch = self.network.fetch(FetchRequest::new(self.endpoint.clone(), 1 << 20));
        let response = tokio::select! {
            biased;
            response = fetch => response.ok().filter(|response| response.status == StatusCode::OK),
            () = deadline => None,
        };
        let Some(response) = response else {
            set.failed_at = Some(self.clock.monotonic());
            return false;
        };
        let document: Value = serde_json::from_slice(&response.body).expect("a key set");
        let keys = document["keys"].as_array().expect("keys");
        set.kids = keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect();
        set.loaded_at = Some(self.clock.monotonic());
        true
    }
}
