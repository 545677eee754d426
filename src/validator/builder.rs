//! From a configuration to a validator.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::config::{Api, ConfigError, KeyOrigin, Policy, SettingErrorKind, SettingErrors};
use crate::defaults;
use crate::fetch::{self, Fetch, Transport};
use crate::jwks::{KeySource, NotReadyError, Origin, RefreshPolicy};
use crate::token::Algorithm;
use crate::validator::application::Application;
use crate::validator::header_cache::HeaderCache;
use crate::validator::key_ring::KeyRing;
use crate::validator::routing::Routes;
use crate::validator::sharing::{PolicyRule, Shareable, SharedSources};
use crate::validator::{Core, IssuerState, Validator};

/// A validator in the making: the API, and what it uses to fetch and to tell time.
#[derive(Clone, Debug)]
pub struct ValidatorBuilder {
    api: Api,
    fetch: Option<Arc<dyn Fetch>>,
    clock: Arc<dyn Clock>,
    refresh: RefreshPolicy,
    token_cache_bytes: usize,
    shared: SharedSources,
}

impl ValidatorBuilder {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            fetch: None,
            clock: Arc::new(SystemClock),
            refresh: RefreshPolicy::new(),
            token_cache_bytes: defaults::TOKEN_CACHE_BYTES,
            shared: SharedSources::default(),
        }
    }

    /// Fetches keys and discovery documents with `fetch`. Default: `ReqwestFetch`, with the feature `reqwest`.
    #[must_use]
    pub fn with_fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Tells time by `clock`. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Renews keys by `policy`, each issuer for itself. Default: [`RefreshPolicy::new`].
    #[must_use]
    pub fn with_refresh_policy(mut self, policy: RefreshPolicy) -> Self {
        self.refresh = policy;
        self
    }

    /// Uses the key sources of `other` for issuers whose keys come from the same place, so that several APIs of one
    /// process fetch a tenant's keys once. Default: every validator fetches for itself.
    ///
    /// Only the source is shared: issuers, algorithms and rules stay each API's own. A source is shared if it serves all
    /// the algorithms that this API lists for the issuer. It fetches with the [`Fetch`], the clock and the refresh policy of
    /// the validator that made it; `with_fetch` of this builder applies to the issuers whose keys are not shared.
    ///
    /// Both validators need the same refresh policy, since that of this builder would have no effect: otherwise
    /// [`build`](Self::build) fails with [`SharedPolicyDiffers`](crate::jwks::RefreshPolicyError::SharedPolicyDiffers). To use the
    /// policy of `other`, share by [`with_keys_and_policy_of`](Self::with_keys_and_policy_of).
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::{Api, Issuer, Validator};
    ///
    /// # fn main() -> Result<(), tower_bearer::ConfigError> {
    /// let server = TestIssuer::auth0("northwind.eu.auth0.com");
    /// let tenant = Issuer::auth0("northwind.eu.auth0.com");
    /// let orders = Validator::builder(Api::new("https://orders.northwind.com", tenant.clone())).with_fetch(server).build()?;
    /// let stock = Validator::builder(Api::new("https://stock.northwind.com", tenant)).with_keys_of(&orders).build()?;
    /// # let _ = stock; Ok(()) }
    /// ```
    #[must_use]
    pub fn with_keys_of<C>(self, other: &Validator<C>) -> Self {
        self.sharing(other, PolicyRule::Same)
    }

    /// Uses the key sources of `other` as [`with_keys_of`](Self::with_keys_of) does, under the refresh policy of `other`, where
    /// it differs from the policy of this builder. The policy of this builder applies to the issuers whose keys are not
    /// shared.
    ///
    /// # Security
    ///
    /// A `dangerous_*` setting is not taken over: if the other policy has one that this builder's policy lacks,
    /// [`build`](Self::build) fails with [`SharedPolicyDangerous`](crate::jwks::RefreshPolicyError::SharedPolicyDangerous).
    #[must_use]
    pub fn with_keys_and_policy_of<C>(self, other: &Validator<C>) -> Self {
        self.sharing(other, PolicyRule::OfSource)
    }

    fn sharing<C>(mut self, other: &Validator<C>, rule: PolicyRule) -> Self {
        self.shared.add(other.core.issuers.iter().filter_map(|issuer| issuer.shareable.clone()), rule);
        self
    }

    /// Remembers verified tokens in about `bytes` of memory; 0 is [`without_token_cache`](Self::without_token_cache). Default: 8 MiB, some
    /// thousand tokens. Once it is full, the tokens that are used most stay. One part in 32, 16 MiB at most, is taken when
    /// the validator is made, the rest as tokens come. What the application's own claims hold outside of themselves cannot be
    /// asked, and is taken to be as long as the token's claims: right for a struct of texts; with a `serde_json::Value` the
    /// whole was seen to take half as much again, and lists of short values take more.
    ///
    /// A token that is seen again costs about a fortieth of a signature check. Its claims are remembered and not its text,
    /// only after full success and only under algorithms with public keys, until `exp` and for at most five minutes. On
    /// every request it is asked again whether the keys are usable and that token's key among them, whether the dates
    /// hold, whether the host is the issuer's, and what the checks of the application say.
    #[must_use]
    pub fn with_token_cache_bytes(mut self, bytes: usize) -> Self {
        self.token_cache_bytes = bytes;
        self
    }

    /// Verifies every token anew. Default: verified tokens are [remembered](Self::with_token_cache_bytes).
    #[must_use]
    pub fn without_token_cache(self) -> Self {
        self.with_token_cache_bytes(0)
    }

    /// Makes the validator. Inside a tokio runtime it starts to fetch at once, else with its first use; that runtime
    /// has to be run, or dropped, from then on: see [`KeySource`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every fault of the configuration at once.
    pub fn build(self) -> Result<Validator, ConfigError> {
        let mut errors = SettingErrors::default();
        for violation in self.refresh.validate().err().unwrap_or_default() {
            errors.push("refresh policy", SettingErrorKind::RefreshPolicy(violation));
        }
        let policy = self.api.resolve(&mut errors);
        let transport = policy.as_ref().and_then(|policy| self.transport(policy, &mut errors));
        let fetch: Option<Arc<dyn Fetch>> = match (&self.fetch, transport) {
            (Some(given), _) => Some(Arc::clone(given)),
            (None, None) => Some(Arc::new(fetch::NoFetch)),
            (None, Some(transport)) => match fetch::default_backend(transport) {
                Some(built) => built.map_err(|error| errors.push("fetch", SettingErrorKind::HttpClient(error))).ok(),
                None => {
                    errors.push("fetch", SettingErrorKind::NoFetch);
                    None
                }
            },
        };
        let (policy, fetch) = errors.or(policy.zip(fetch))?;
        let core = Arc::new(self.assemble(policy, &fetch));
        Ok(Validator { token_cache: core.token_cache(), core, application: Application::none() })
    }

    /// Makes the validator and waits until every issuer's keys are there, but no longer than `limit`: for services that
    /// must not start without.
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] as for [`ValidatorBuilder::build`], and [`BuildError::NotReadyError`] when the time is up.
    pub async fn build_ready(self, limit: Duration) -> Result<Validator, BuildError> {
        let clock = Arc::clone(&self.clock);
        let deadline = clock.monotonic().saturating_add(limit);
        let validator = self.build().map_err(BuildError::Config)?;
        // Whatever the policy says, all sources start now and not one after the other.
        let _started = validator.is_ready();
        for source in validator.core.issuers.iter().filter_map(|issuer| issuer.keys.source()) {
            let left = deadline.saturating_since(clock.monotonic());
            source.ready_within(left).await.map_err(BuildError::NotReadyError)?;
        }
        Ok(validator)
    }

    fn assemble(self, policy: Policy, fetch: &Arc<dyn Fetch>) -> Core {
        let routes = Routes::new(policy.issuers.iter().map(|issuer| &*issuer.domains));
        let issuers = policy.issuers.into_iter().map(|issuer| {
            let (keys, shareable) = match issuer.keys {
                KeyOrigin::Static(table) => (KeyRing::Static(table), None),
                KeyOrigin::SecretSource(secrets) => (KeyRing::SecretSource(secrets), None),
                KeyOrigin::Remote(origin) => {
                    let shared = self.source(origin, &issuer.algorithms, fetch);
                    (KeyRing::Remote(shared.source.clone()), Some(shared))
                }
            };
            let name = issuer.domains.first().cloned().unwrap_or_default();
            IssuerState { name, algorithms: issuer.algorithms, is_auth0: issuer.is_auth0, keys, shareable }
        });
        Core {
            rules: policy.rules,
            hosts: policy.hosts,
            organization_of: policy.organization_of,
            routes,
            issuers: issuers.collect(),
            header_cache: HeaderCache::default(),
            max_token_bytes: policy.max_token_bytes,
            token_cache_bytes: self.token_cache_bytes,
            clock: self.clock,
        }
    }
}

impl ValidatorBuilder {
    /// How the validator's own sources fetch; `None` if it has none. Records where sharing is refused.
    fn transport(&self, policy: &Policy, errors: &mut SettingErrors) -> Option<Transport> {
        let mut transport = None;
        for issuer in &policy.issuers {
            let KeyOrigin::Remote(origin) = &issuer.keys else { continue };
            match self.shared.find(origin, &issuer.algorithms, &self.refresh) {
                Ok(Some(_)) => {}
                Ok(None) if transport == Some(Transport::Https) => {}
                Ok(None) => transport = Some(origin.transport()),
                Err(violation) => {
                    let name = issuer.domains.first().map(|name| &**name).unwrap_or_default();
                    errors.push(&format!("issuer {name:?} refresh policy"), SettingErrorKind::RefreshPolicy(violation));
                }
            }
        }
        transport
    }

    /// Another validator's source for these keys, else a new one.
    fn source(&self, origin: Origin, algorithms: &[Algorithm], fetch: &Arc<dyn Fetch>) -> Shareable {
        if let Ok(Some(shared)) = self.shared.find(&origin, algorithms, &self.refresh) {
            return shared.clone();
        }
        let (fetch, clock) = (Arc::clone(fetch), Arc::clone(&self.clock));
        let source = KeySource::build(origin.clone(), algorithms, self.refresh.clone(), fetch, clock);
        Shareable { origin, algorithms: Box::from(algorithms), source }
    }
}

/// Why a validator did not become ready at start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration has faults.
    Config(ConfigError),
    /// An issuer's keys did not come in time.
    NotReadyError(NotReadyError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::NotReadyError(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}
