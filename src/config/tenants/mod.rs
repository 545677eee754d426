//! `Tenants`: issuers that are not known at start, each with its own keys.

mod claimed;
mod error;
mod event;
mod policy;

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use crate::config::issuer::Issuer;
use crate::defaults;
use crate::event_hook::EventHook;

pub use self::claimed::ClaimedIssuer;
pub use self::error::TenantError;
pub use self::event::{TenantEvent, TenantEventKind};
pub(crate) use self::policy::{AddressRule, ResolvedTenant, TenantPolicy};

/// Issuers that the application looks up when a token of one arrives, for [`Api::for_tenants`](crate::Api::for_tenants): the realms
/// of a Keycloak server, Cognito user pools, the identity providers of customers.
///
/// The tenants of Entra ID, the custom domains of an Auth0 tenant, and other tenants that share the keys of their server need no
/// lookup: see the [guide](crate::guide::tenants).
///
/// ```
/// use tower_bearer::config::Tenants;
/// use tower_bearer::{Api, Issuer, Validator};
///
/// # async fn is_customer(realm: &str) -> std::io::Result<bool> { Ok(realm == "acme") }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let realms = Tenants::matching("https://id.example.com/realms/{realm}").resolved_by(|claimed| async move {
///     let realm = claimed.capture("realm").unwrap_or_default();
///     Ok(is_customer(realm).await?.then(|| Issuer::oidc(claimed.issuer())))
/// });
/// let validator = Validator::new(Api::for_tenants("https://api.example.com", realms))?;
/// # let _ = validator; Ok(()) }
/// ```
///
/// # How a token finds its issuer
///
/// 1. A configured [`Issuer`] with the token's `iss`.
/// 2. A tenant that is known already.
/// 3. If the `iss` matches, the resolver is called, once at a time for each `iss`. It returns the issuer, or `None`.
///
/// | the resolver | the token |
/// |---|---|
/// | returns an issuer | is verified with the keys of this issuer |
/// | returns `None` | is rejected with 401; the answer is remembered for 60 s |
/// | returns an error, panics, or takes longer than 2 s | is rejected with 503; the resolver is called again after 1 s |
///
/// It is called again every 5 min for each tenant in use. If it then returns `None`, the tenant is removed at once, also for tokens in
/// the token cache. If the call fails, the tenant stays in use, for at most one hour.
///
/// # Security
///
/// Anyone can write any `iss` into a token. Nothing is fetched, and the resolver is not called, for an `iss` that does not match. The
/// resolver gets nothing else of the token. Its issuer must have exactly this `iss`. The number of tenants is limited, and one whose
/// keys have verified no token yet never evicts one whose keys have. Keys are fetched from [public
/// addresses](Self::dangerous_allow_private_addresses) only. The `jwks_uri` in a discovery document must have the host and port of the
/// issuer, unless [`with_jwks_hosts`](crate::jwks::RefreshPolicy::with_jwks_hosts) lists its host.
#[derive(Clone)]
pub struct Tenants {
    names: Names,
    resolver: Resolver,
    max: usize,
    new_per_second: u32,
    addresses: AddressRule,
    binds_hosts: bool,
    event_hook: Option<EventHook<TenantEvent>>,
}

/// The `iss` values of [`Tenants`], without the resolver.
#[derive(Clone, Debug)]
#[must_use = "call `resolved_by`"]
pub struct TenantNames(Names);

/// Which `iss` values are looked up, as configured.
#[derive(Clone)]
enum Names {
    Pattern(String),
    Predicate(Predicate),
}

type Predicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The function of the application that looks a tenant up.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<dyn Fn(ClaimedIssuer) -> ResolverFuture + Send + Sync>);

/// The future of a [`Resolver`].
pub(crate) type ResolverFuture = Pin<Box<dyn Future<Output = Result<Option<Tenant>, ResolverError>> + Send>>;

/// The error of the application.
type ResolverError = Box<dyn Error + Send + Sync>;

/// What the resolver of [`Tenants`] returns: an [`Issuer`], and possibly the host of the requests that may have its tokens.
///
/// An `Issuer` converts to it, so the resolver can return one directly.
#[derive(Clone, Debug)]
pub struct Tenant {
    issuer: Issuer,
    host: Option<String>,
}

impl Tenant {
    /// Creates a tenant whose tokens are accepted in every request.
    #[must_use]
    pub fn new(issuer: Issuer) -> Self {
        Self { issuer, host: None }
    }

    /// Accepts the tokens of this tenant only in requests to `host`, with or without a port. The tenants need
    /// [`Tenants::with_request_hosts`].
    ///
    /// # Security
    ///
    /// As for [`Api::with_issuer_for_host`](crate::Api::with_issuer_for_host).
    #[must_use]
    pub fn with_request_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }
}

impl From<Issuer> for Tenant {
    fn from(issuer: Issuer) -> Self {
        Self::new(issuer)
    }
}

impl Tenants {
    /// Looks up every `iss` that matches a pattern, such as `https://id.example.com/realms/{realm}`.
    ///
    /// The syntax is that of [`Issuer::with_issuer_pattern`](crate::Issuer::with_issuer_pattern): each `{name}` stands for 1 to 128
    /// letters, digits, `.`, `_` and `-`, and the rest is compared byte for byte. The resolver gets the text of each as
    /// [`ClaimedIssuer::capture`].
    pub fn matching(pattern: impl Into<String>) -> TenantNames {
        TenantNames(Names::Pattern(pattern.into()))
    }

    /// Looks up every `iss` for which `is_allowed` returns `true`. Use it if a pattern cannot describe them, for example for the
    /// identity providers of customers, at any host.
    ///
    /// `is_allowed` is called in the path of requests and must not block: let it read a set that the application updates. A tenant that
    /// it no longer allows is removed within 5 min; [`TenantList::remove`](crate::TenantList::remove) removes it at once. The `iss` has
    /// at most 512 bytes, without white space and control characters.
    ///
    /// # Security
    ///
    /// A client chooses the argument. Compare it as a whole: `https://id.example.com.evil.test/` begins with
    /// `https://id.example.com`, and `https://evil-example.com` ends with `example.com`.
    pub fn allowed_by(is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> TenantNames {
        TenantNames(Names::Predicate(Arc::new(is_allowed)))
    }

    /// Sets the largest number of tenants that are known at a time, from 1 to 100,000. Default: 1,000. A tenant takes about
    /// 9 KB with a key set of one RSA key, and 75 KB more from the first token with an unknown `kid` on, which anyone can send.
    ///
    /// If there are more, the tenant that was not used for the longest time is evicted
    /// ([`Displaced`](TenantEventKind::Displaced)). It is looked up again at its next token.
    ///
    /// The number does not include tenants whose keys have not verified a token yet. There may be an eighth of this number of
    /// them, but at least `min(64, 6 * n)`, where `n` is the number of
    /// [`with_new_tenants_per_second`](Self::with_new_tenants_per_second). They evict only each other.
    #[must_use]
    pub fn with_max_tenants(mut self, tenants: usize) -> Self {
        self.max = tenants;
        self
    }

    /// Sets how many tenants may be added in one second, from 1 to 1,000. Default: 10. A token of a further one is rejected with 503
    /// and `Retry-After: 1`.
    ///
    /// A tenant that returns after an idle hour is not counted, nor is one whose settings change. Ten times as many idle tenants may
    /// return in one second.
    ///
    /// Each tenant that is added causes requests to its server. A process that starts under load adds its tenants at
    /// this rate: with 1,000 tenants and the default, the last one waits for 100 s.
    #[must_use]
    pub fn with_new_tenants_per_second(mut self, tenants: u32) -> Self {
        self.new_per_second = tenants;
        self
    }

    /// Allows tenants that are bound to the host of a request: every [`Tenant`] that the resolver returns then needs a
    /// [request host](Tenant::with_request_host). Default: the tokens of all tenants are accepted for every host that no issuer is
    /// [bound](crate::Api::with_issuer_for_host) to.
    #[must_use]
    pub fn with_request_hosts(mut self) -> Self {
        self.binds_hosts = true;
        self
    }

    /// Calls `hook` for each [event](TenantEvent) of a tenant, such as its addition and removal. Default: no hook.
    ///
    /// It is called by background tasks, and by the task of a request whose token was the first of its tenant. It must not block. A
    /// panic in it is caught and logged.
    #[must_use]
    pub fn with_event_hook(mut self, hook: impl Fn(&TenantEvent) + Send + Sync + 'static) -> Self {
        self.event_hook = Some(EventHook::new(hook));
        self
    }

    /// Allows that keys of these tenants are fetched from every address. Default: only from public ones, with the client of
    /// [`ValidatorBuilder::with_tenant_fetch`](crate::ValidatorBuilder::with_tenant_fetch).
    ///
    /// # Security
    ///
    /// If third parties choose the issuers, or run their name servers, they can make this process send requests to internal services
    /// (SSRF). Use it only if the resolver returns nothing but servers of your own.
    #[must_use]
    pub fn dangerous_allow_private_addresses(mut self) -> Self {
        self.addresses = AddressRule::Any;
        self
    }
}

impl TenantNames {
    /// Sets the resolver: a function that looks an `iss` up, for example in a database, and returns its issuer, or `None` if it is not
    /// that of a tenant.
    ///
    /// The issuer must have the claimed `iss`, byte for byte: [`Issuer::oidc`] of [`ClaimedIssuer::issuer`] has it. Its keys can come
    /// from anywhere: discovery, a JWKS URL, static keys, a shared secret. It must have no introspection, patterns or further names. An
    /// issuer that breaks a rule is an error of the application: it is logged, and the token is rejected with 503.
    ///
    /// The resolver runs in a separate task: a client that disconnects does not interrupt it. At most 32 calls for unknown `iss`
    /// values are in flight; further ones are rejected with 503.
    ///
    /// # Security
    ///
    /// Anyone can cause calls with any `iss` that matches, one for each `iss` and minute. Errors of the resolver are not logged, since
    /// their text may contain credentials.
    #[must_use]
    pub fn resolved_by<F, T>(self, resolver: impl Fn(ClaimedIssuer) -> F + Send + Sync + 'static) -> Tenants
    where
        F: Future<Output = Result<Option<T>, Box<dyn Error + Send + Sync>>> + Send + 'static,
        T: Into<Tenant>,
    {
        let resolve = move |claimed| -> ResolverFuture {
            let mut resolving = Box::pin(resolver(claimed));
            let convert = |result: Result<Option<T>, ResolverError>| result.map(|found| found.map(Into::into));
            Box::pin(poll_fn(move |context| resolving.as_mut().poll(context).map(convert)))
        };
        Tenants {
            names: self.0,
            resolver: Resolver(Arc::new(resolve)),
            max: defaults::MAX_TENANTS,
            new_per_second: defaults::NEW_TENANTS_PER_SECOND,
            addresses: AddressRule::PublicOnly,
            binds_hosts: false,
            event_hook: None,
        }
    }
}

impl Resolver {
    /// Calls the resolver.
    pub(crate) fn call(&self, claimed: ClaimedIssuer) -> ResolverFuture {
        (self.0)(claimed)
    }
}

impl Names {
    /// Returns the name of the tenants in errors, logs and metrics.
    fn label(&self) -> &str {
        match self {
            Self::Pattern(pattern) => pattern,
            Self::Predicate(_) => "tenants",
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::Predicate(_) => f.write_str("predicate"),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("names", &self.names).field("max", &self.max).finish_non_exhaustive()
    }
}
