//! `ValidatorBuilder`: builds a validator from a configuration.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::{Claims, NoCustomClaims};
use crate::clock::{Clock, SystemClock};
use crate::config::{
    AddressRule, Api, ConfigError, IssuerKeys, Policy, SettingErrorKind, SettingErrors, TenantPolicy,
    TenantSettingError,
};
use crate::defaults;
use crate::fetch::{self, Fetch, Transport};
use crate::introspection::{Client, ClientParts};
use crate::jwks::{Imports, KeyRing, KeySource, KeyStore, NotReadyError, Origin, RefreshPolicy};
use crate::keys::KeyTable;
use crate::rejection::CheckError;
use crate::revocation::Revocations;
use crate::telemetry;
use crate::token::Algorithm;
use crate::validator::application::Application;
use crate::validator::custom_domains::CustomDomains;
use crate::validator::header_cache::HeaderCache;
use crate::validator::log_limit::LogLimit;
use crate::validator::possession::Possession;
use crate::validator::revocation::RevocationList;
use crate::validator::routing::Routes;
use crate::validator::sharing::{PolicyRule, SharedSource, SharedSources};
use crate::validator::tenants::{TenantGroup, TenantParts};
use crate::validator::{Core, IssuerState, Validator};

/// Builds a [`Validator`] from an API, an HTTP client, a clock, a refresh policy and the size of a token cache.
#[derive(Clone, Debug)]
pub struct ValidatorBuilder {
    api: Api,
    fetch: Option<Arc<dyn Fetch>>,
    tenant_fetch: Option<Arc<dyn Fetch>>,
    clock: Arc<dyn Clock>,
    refresh: RefreshPolicy,
    key_store: Option<Arc<dyn KeyStore>>,
    token_cache_bytes: usize,
    revocations: Option<Revocations>,
    shared: SharedSources,
    application: Application<NoCustomClaims>,
}

impl ValidatorBuilder {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            fetch: None,
            tenant_fetch: None,
            clock: Arc::new(SystemClock),
            refresh: RefreshPolicy::new(),
            key_store: None,
            token_cache_bytes: defaults::TOKEN_CACHE_BYTES,
            revocations: None,
            shared: SharedSources::default(),
            application: Application::new(),
        }
    }

    /// Sets the client that fetches keys and discovery documents and introspects tokens. Default: `ReqwestFetch`, if the feature
    /// `reqwest` is enabled.
    #[must_use]
    pub fn with_fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Sets the client that fetches the keys of [`Tenants`](crate::config::Tenants), which are not known at start. It must [connect to
    /// public addresses only](Fetch::connects_to_public_addresses_only), or the configuration is an error.
    ///
    /// Default: the client of [`with_fetch`](Self::with_fetch), if it does so; without that client, a `ReqwestFetch` that does. With
    /// [`dangerous_allow_private_addresses`](crate::config::Tenants::dangerous_allow_private_addresses), the client of the other
    /// issuers.
    #[must_use]
    pub fn with_tenant_fetch(mut self, fetch: impl Fetch) -> Self {
        self.tenant_fetch = Some(Arc::new(fetch));
        self
    }

    /// Sets the clock. Default: the system clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the policy by which the keys of each issuer are refreshed. Default: [`RefreshPolicy::new`].
    #[must_use]
    pub fn with_refresh_policy(mut self, policy: RefreshPolicy) -> Self {
        self.refresh = policy;
        self
    }

    /// Stores the fetched keys of every issuer, and uses the stored ones after a restart until the first fetch has succeeded.
    /// Then requests are served also if the process starts while an issuer does not respond. Default: keys are not stored.
    ///
    /// Loaded keys are stale from the start, and expire [`max_stale`](RefreshPolicy::with_max_stale) (1 h by default) after the
    /// issuer confirmed them. Keys are saved after every successful fetch. A key source that is [shared](Self::with_keys_of) uses
    /// the store of the validator that created it.
    ///
    /// ```no_run
    /// use tower_bearer::jwks::FileKeyStore;
    /// use tower_bearer::{Api, Issuer, Validator};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    /// let validator = Validator::builder(api).with_key_store(FileKeyStore::new("/var/lib/orders/keys")?).build()?;
    /// # let _ = validator;
    /// # Ok(()) }
    /// ```
    ///
    /// # Security
    ///
    /// Anyone who can write to the store can sign tokens, see [`KeyStore`].
    #[must_use]
    pub fn with_key_store(mut self, store: impl KeyStore) -> Self {
        self.key_store = Some(Arc::new(store));
        self
    }

    /// Shares the key sources of `other` for issuers whose keys come from the same URL, so that several APIs in one process
    /// fetch the keys of a tenant only once. Default: every validator fetches its own keys.
    ///
    /// Only the source is shared: each API has its own issuers, algorithms and rules. A source is shared only if the validator
    /// that created it lists all the algorithms that this API lists for the issuer; otherwise this validator creates its own
    /// source. A shared source uses the [`Fetch`], the clock, the refresh policy, the key store and the [initial
    /// keys](crate::Issuer::with_initial_keys) of the validator that created it. Those of this builder are used only for issuers
    /// whose keys are not shared.
    ///
    /// The policy of this builder has no effect on a shared source, so both validators need the same refresh policy. If the
    /// policies differ, [`build`](Self::build) fails with
    /// [`SharedPolicyDiffers`](crate::jwks::RefreshPolicyError::SharedPolicyDiffers). To use the policy of `other`, call
    /// [`with_keys_and_policy_of`](Self::with_keys_and_policy_of) instead.
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
        self.share_keys(other, PolicyRule::Same)
    }

    /// Shares the key sources of `other` as [`with_keys_of`](Self::with_keys_of) does, but allows the refresh policy of `other`
    /// to differ. The policy of this builder applies to the issuers whose keys are not shared.
    ///
    /// # Security
    ///
    /// `dangerous_*` settings are not adopted: if the policy of `other` has one that the policy of this builder does not have,
    /// [`build`](Self::build) fails with [`SharedPolicyDangerous`](crate::jwks::RefreshPolicyError::SharedPolicyDangerous).
    #[must_use]
    pub fn with_keys_and_policy_of<C>(self, other: &Validator<C>) -> Self {
        self.share_keys(other, PolicyRule::UseSource)
    }

    fn share_keys<C>(mut self, other: &Validator<C>, rule: PolicyRule) -> Self {
        self.shared.add(other.core.issuers.iter().filter_map(|issuer| issuer.shared_source.clone()), rule);
        self
    }

    /// Sets the size of the token cache in bytes. Default: 8 MiB, enough for a few thousand tokens; 0 is the same as
    /// [`without_token_cache`](Self::without_token_cache).
    ///
    /// The size is approximate. A full cache evicts the entries that are used least, and a token that takes more than 1/64 of the
    /// limit is not stored: with a limit below 64 KiB, a typical token of 1 KB is never cached. When the validator is built, the
    /// cache allocates 1/32 of the limit, but at most 16 MiB, which is enough for 1,048,576 entries; entries allocate memory when
    /// they are stored. The cache cannot measure the heap memory of custom claims and estimates it by the
    /// length of the token's claims. This is accurate for a struct of strings. With `serde_json::Value`, the measured total was
    /// about 1.5 times the limit; lists of short values take more.
    ///
    /// Validation of a cached token costs about 1/40 of a signature check. An entry contains the claims but not the text of the
    /// token. Only accepted tokens are stored, and only if the algorithm is asymmetric or the token was
    /// [introspected](crate::introspection). An entry expires at `exp`, at the end of
    /// [`Api::with_max_token_age`](crate::Api::with_max_token_age) if it is set, and after at most five minutes. With
    /// [`Introspection::with_revocation_grace`](crate::introspection::Introspection::with_revocation_grace), it expires only after the
    /// ttl of the answer and the grace period, if they are longer; after the ttl, it is used only while the server is down.
    ///
    /// Each lookup checks again what may have changed: the dates, the trust in the issuer, that the keys are usable and include the
    /// token's key, the age of the server's answer, the host, possession, the organization, the list of revocations, and the
    /// application's checks. An entry is removed when a lookup finds it invalid, when the server calls the token inactive, when the
    /// API rejects a newer answer, and by [`Validator::evict_token`].
    ///
    /// After a fetch of keys, all entries that have expired are removed from memory, at most every ten seconds, and each token that
    /// is stored removes a few of them. A validator that fetches no keys does not do the former: its issuers only have static keys or
    /// only introspection, its key sources were [closed](KeySource::close), or its last tenant was removed. While it
    /// stores no token, the claims of expired entries stay in memory, up to the limit, until it is dropped.
    #[must_use]
    pub fn with_token_cache_bytes(mut self, bytes: usize) -> Self {
        self.token_cache_bytes = bytes;
        self
    }

    /// Disables the token cache: the signature of every token is verified. Default: the cache has
    /// [8 MiB](Self::with_token_cache_bytes).
    #[must_use]
    pub fn without_token_cache(self) -> Self {
        self.with_token_cache_bytes(0)
    }

    /// Rejects tokens that are in a list of [revocations](crate::revocation), also tokens that are in the token cache. Default: no
    /// list, so every token is valid until `exp`.
    ///
    /// The rejection is [`Rejection::Revoked`](crate::Rejection::Revoked); the client gets the same 401 as for an expired token.
    /// Several validators can use one list.
    #[must_use]
    pub fn with_revocations(mut self, revocations: &Revocations) -> Self {
        self.revocations = Some(revocations.clone());
        self
    }

    /// Adds an application-defined check, as [`Validator::with_check`] does for a validator that is built. A check that is added
    /// here is part of the configuration:
    /// [`Api::dangerous_allow_missing_audience`](crate::Api::dangerous_allow_missing_audience) requires one, or client ids.
    #[must_use]
    pub fn with_check(mut self, check: impl Fn(&Claims) -> Result<(), CheckError> + Send + Sync + 'static) -> Self {
        self.application.add_check(Arc::new(check));
        self
    }

    /// Builds the validator.
    ///
    /// Inside a tokio runtime, the first fetch starts at once. Outside of a runtime, and with
    /// [`InitialFetch::Lazy`](crate::jwks::InitialFetch::Lazy), the first use of the validator inside a runtime starts the
    /// fetch. The runtime in which the fetch starts must keep running or be dropped; see [`KeySource`].
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`], which lists all errors of the configuration.
    pub fn build(self) -> Result<Validator, ConfigError> {
        let mut errors = SettingErrors::default();
        for error in self.refresh.errors() {
            errors.push("refresh policy", SettingErrorKind::RefreshPolicy(error));
        }
        let policy = self.api.resolve(self.application.checks(), &mut errors);
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
        let fetchers = policy.as_ref().zip(fetch.as_ref());
        let tenant_fetch = fetchers.and_then(|(policy, fetch)| self.tenant_fetch(&policy.tenants, fetch, &mut errors));
        let ((policy, fetch), tenant_fetch) = errors.or(policy.zip(fetch).zip(tenant_fetch))?;
        let application = self.application.clone();
        let core = Arc::new(self.assemble(policy, &fetch, &tenant_fetch));
        if core.possession.is_replay_detection_local() {
            telemetry::replay_detection_is_local();
        }
        Ok(Validator { token_cache: core.token_cache(), core, application })
    }

    /// Builds the validator and waits until the keys of every issuer are usable and all custom domains are known, but no longer than `limit`. Use it in a
    /// service that must not start without keys.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::Config`] in the same cases as [`ValidatorBuilder::build`], and [`BuildError::NotReady`] or
    /// [`BuildError::DomainsUnknown`] if `limit` elapses first, or outside a tokio runtime.
    pub async fn build_ready(self, limit: Duration) -> Result<Validator, BuildError> {
        let clock = Arc::clone(&self.clock);
        let deadline = clock.monotonic().saturating_add(limit);
        let validator = self.build().map_err(BuildError::Config)?;
        // Starts all fetches now and in parallel, also if the policy says `InitialFetch::Lazy`.
        let _started = validator.is_ready();
        for source in validator.core.issuers.iter().filter_map(|issuer| issuer.keys.source()) {
            let left = deadline.saturating_since(clock.monotonic());
            source.ready_within(left).await.map_err(BuildError::NotReady)?;
        }
        for domains in &validator.core.custom_domains {
            if !domains.known_before(deadline).await {
                return Err(BuildError::DomainsUnknown);
            }
        }
        Ok(validator)
    }

    fn assemble(self, policy: Policy, fetch: &Arc<dyn Fetch>, tenant_fetch: &TenantFetch) -> Core {
        let routes =
            Routes::new(policy.issuers.iter().map(|issuer| (&*issuer.domains, &*issuer.rules, &*issuer.algorithms)));
        let revocations = self.revocation_list(&policy);
        let (leeway, claims_settings) = (policy.rules.leeway, Arc::clone(&policy.claims_settings));
        let lists = policy.issuers.iter().filter_map(|issuer| issuer.custom_domains().cloned());
        let custom_domains = lists.map(|list| CustomDomains::new(list, Arc::clone(&self.clock))).collect();
        let tenants = self.tenant_groups(policy.tenants, &policy.rules.audiences, tenant_fetch);
        let issuers = policy.issuers.into_iter().map(|issuer| {
            let (name, entra) = (Box::from(issuer.name()), issuer.entra().cloned());
            let (keys, shared_source) = match issuer.keys {
                IssuerKeys::Static(table) => (KeyRing::fixed(table), None),
                IssuerKeys::SecretSource(secrets) => (KeyRing::secrets(secrets), None),
                IssuerKeys::Remote { origin, initial_keys } => {
                    let shared = self.source(origin, initial_keys, &issuer.algorithms, fetch);
                    (KeyRing::fetched(shared.source.clone()), Some(shared))
                }
            };
            let introspection = issuer.introspection.map(|policy| {
                let parts = ClientParts {
                    issuers: issuer.domains.clone(),
                    settings: policy.settings,
                    keys: keys.clone(),
                    algorithms: issuer.algorithms.clone(),
                    leeway,
                    claims_settings: Arc::clone(&claims_settings),
                    fetch: Arc::clone(fetch),
                    clock: Arc::clone(&self.clock),
                };
                Arc::new(Client::new(parts, policy.location, self.refresh.clone()))
            });
            IssuerState {
                introspection,
                name,
                algorithms: issuer.algorithms,
                is_auth0: issuer.is_auth0,
                entra,
                keys,
                shared_source,
            }
        });
        Core {
            rules: policy.rules,
            hosts: policy.hosts,
            organization_of: policy.organization_of,
            possession: Possession::new(policy.possession),
            certificate_log: LogLimit::default(),
            revocations,
            claims_settings: policy.claims_settings,
            routes,
            issuers: issuers.collect(),
            tenants,
            custom_domains,
            header_cache: HeaderCache::default(),
            max_token_bytes: policy.max_token_bytes,
            token_cache_bytes: self.token_cache_bytes,
            clock: self.clock,
        }
    }
}

impl ValidatorBuilder {
    /// Registers the names of the issuers at the list of revocations.
    fn revocation_list(&self, policy: &Policy) -> Option<RevocationList> {
        self.revocations.as_ref().map(|list| {
            let names = policy.issuers.iter().map(|issuer| &*issuer.domains);
            let has_rules = policy.issuers.iter().any(|issuer| !issuer.rules.is_empty()) || !policy.tenants.is_empty();
            RevocationList::new(list.clone(), list.register(names, has_rules, policy.rules.leeway))
        })
    }

    fn tenant_groups(
        &self,
        tenants: Vec<TenantPolicy>,
        audiences: &[Box<str>],
        fetch: &TenantFetch,
    ) -> Box<[TenantGroup]> {
        let scope: Arc<str> = audiences.first().map_or("", |first| &**first).into();
        let group = |(group, policy): (usize, TenantPolicy)| {
            TenantGroup::new(TenantParts {
                group,
                refresh: self.refresh.clone(),
                fetch: fetch.of(&policy),
                clock: Arc::clone(&self.clock),
                key_store: self.key_store.clone(),
                scope: Arc::clone(&scope),
                policy,
            })
        };
        tenants.into_iter().enumerate().map(group).collect()
    }

    /// Returns the clients for the keys of tenants.
    fn tenant_fetch(
        &self,
        tenants: &[TenantPolicy],
        fetch: &Arc<dyn Fetch>,
        errors: &mut SettingErrors,
    ) -> Option<TenantFetch> {
        let own = self.tenant_fetch.as_ref().or(self.fetch.as_ref());
        let any = self.tenant_fetch.as_ref().unwrap_or(fetch);
        let Some(public) = tenants.iter().find(|tenants| tenants.addresses == AddressRule::PublicOnly) else {
            return Some(TenantFetch { public: None, any: Arc::clone(any) });
        };
        let setting = format!("tenants {:?}", public.label);
        let public = match own {
            Some(own) if own.connects_to_public_addresses_only() => Some(Arc::clone(own)),
            Some(_) => {
                errors.push(&setting, SettingErrorKind::Tenants(TenantSettingError::Fetch));
                None
            }
            None => match fetch::public_backend() {
                Some(built) => built.map_err(|error| errors.push(&setting, SettingErrorKind::HttpClient(error))).ok(),
                None => {
                    errors.push(&setting, SettingErrorKind::NoFetch);
                    None
                }
            },
        };
        Some(TenantFetch { public: Some(public?), any: Arc::clone(any) })
    }

    /// Returns the transport that the validator's own sources need, or `None` if all sources are shared or static. Records an
    /// error for each source that cannot be shared because of its policy.
    fn transport(&self, policy: &Policy, errors: &mut SettingErrors) -> Option<Transport> {
        let mut transport = policy.tenants.iter().filter_map(TenantPolicy::transport).max();
        for issuer in &policy.issuers {
            if let Some(introspection) = &issuer.introspection
                && transport != Some(Transport::Https)
            {
                transport = Some(introspection.location.transport());
            }
            let IssuerKeys::Remote { origin, .. } = &issuer.keys else { continue };
            match self.shared.find(origin, &issuer.algorithms, &self.refresh) {
                Ok(Some(_)) => {}
                Ok(None) if transport == Some(Transport::Https) => {}
                Ok(None) => transport = Some(origin.transport()),
                Err(error) => {
                    let name = issuer.name();
                    errors.push(&format!("issuer {name:?} refresh policy"), SettingErrorKind::RefreshPolicy(error));
                }
            }
        }
        transport
    }

    /// Returns a shared source for these keys, or a new one.
    fn source(
        &self,
        origin: Origin,
        initial_keys: Option<KeyTable>,
        algorithms: &[Algorithm],
        fetch: &Arc<dyn Fetch>,
    ) -> SharedSource {
        if let Ok(Some(shared)) = self.shared.find(&origin, algorithms, &self.refresh) {
            return shared.clone();
        }
        let (fetch, clock) = (Arc::clone(fetch), Arc::clone(&self.clock));
        let imports = Imports { initial_keys, key_store: self.key_store.clone(), ..Imports::default() };
        let source = KeySource::build(origin.clone(), algorithms, self.refresh.clone(), fetch, clock, imports);
        SharedSource { origin, algorithms: Box::from(algorithms), source }
    }
}

/// The clients for the keys of tenants.
struct TenantFetch {
    /// Connects to public addresses only; `None` if no tenants need it.
    public: Option<Arc<dyn Fetch>>,
    any: Arc<dyn Fetch>,
}

impl TenantFetch {
    fn of(&self, policy: &TenantPolicy) -> Arc<dyn Fetch> {
        match (policy.addresses, &self.public) {
            (AddressRule::Any, _) => Arc::clone(&self.any),
            (AddressRule::PublicOnly, Some(public)) => Arc::clone(public),
            (AddressRule::PublicOnly, None) => Arc::new(fetch::NoFetch),
        }
    }
}

/// The reason why [`ValidatorBuilder::build_ready`] failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration has errors.
    Config(ConfigError),
    /// The keys of an issuer were not usable in time.
    NotReady(NotReadyError),
    /// The source of [`Issuer::with_custom_domains_from`](crate::Issuer::with_custom_domains_from) has not returned the domains in
    /// time.
    DomainsUnknown,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::NotReady(error) => error.fmt(f),
            Self::DomainsUnknown => f.write_str("the custom domains of an issuer are not known"),
        }
    }
}

impl std::error::Error for BuildError {
    /// Returns the source of the error in it, whose text `Display` writes.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::NotReady(error) => error.source(),
            Self::DomainsUnknown => None,
        }
    }
}
