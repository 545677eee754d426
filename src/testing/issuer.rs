//! `TestIssuer`: an in-memory authorization server.

use std::fmt;
use std::sync::{Arc, MutexGuard};

use http::HeaderValue;

use crate::clock::Clock;
use crate::testing::shared::{IssuerEndpoint, SharedState, State};
use crate::testing::signer::TestKey;
use crate::token::Algorithm;

/// An in-memory authorization server, which has keys, publishes them, and signs the tokens that a test needs.
///
/// By default, tokens are signed with RS256. The issuer implements [`Fetch`](crate::fetch::Fetch) for its own URLs, and
/// [`TestIssuer::serve`] starts an HTTP server on loopback. Clones are handles to the same issuer. Two issuers never share a
/// key.
///
/// ```
/// use tower_bearer::testing::TestIssuer;
/// use tower_bearer::token::UnverifiedToken;
///
/// let issuer = TestIssuer::new();
/// let token = issuer.token().scope("read:orders").sign();
///
/// let parsed = UnverifiedToken::parse(&token)?;
/// assert_eq!(parsed.header().kid(), Some(issuer.kid().as_str()));
/// assert!(issuer.jwks().contains(&issuer.kid()));
/// # Ok::<(), tower_bearer::token::TokenError>(())
/// ```
#[derive(Clone)]
pub struct TestIssuer {
    shared: Arc<SharedState>,
    endpoint: IssuerEndpoint,
    has_fixed_name: bool,
}

/// Constructors and configuration.
impl TestIssuer {
    /// Creates an issuer with the `iss` `https://issuer.test/`. After [`serve`](TestIssuer::serve), its `iss` is the URL of the
    /// server.
    #[must_use]
    pub fn new() -> Self {
        Self { has_fixed_name: false, ..Self::named(DEFAULT_ISSUER) }
    }

    /// Creates an Auth0 tenant, with the `iss` `https://{domain}/`.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    /// assert_eq!(issuer.issuer(), "https://northwind.eu.auth0.com/");
    /// assert_eq!(issuer.jwks_uri(), "https://northwind.eu.auth0.com/.well-known/jwks.json");
    /// ```
    #[must_use]
    pub fn auth0(domain: &str) -> Self {
        Self::named(&format!("https://{domain}/"))
    }

    /// Creates an issuer with exactly this `iss`, which stays the same after [`serve`](TestIssuer::serve).
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::named("https://idp.test/realms/a");
    /// assert_eq!(issuer.issuer(), "https://idp.test/realms/a");
    /// assert_eq!(issuer.jwks_uri(), "https://idp.test/realms/a/.well-known/jwks.json");
    /// ```
    #[must_use]
    pub fn named(issuer: &str) -> Self {
        let endpoint = IssuerEndpoint::new(issuer);
        Self { shared: Arc::new(SharedState::new(endpoint.clone())), endpoint, has_fixed_name: true }
    }

    /// Sets the algorithms. The issuer publishes a key for each algorithm, and signs with the first one. The default, also for
    /// an empty list, is RS256.
    ///
    /// All RSA algorithms share one key pair, with a different `kid` for each algorithm. So a test can sign a token with the
    /// right key and the wrong `alg`: for an API that accepts RS256 only,
    /// `issuer.token().algorithm(Algorithm::PS256).kid(&issuer.kid())` has nothing wrong except its `alg`. Shared secrets are
    /// not published.
    ///
    /// ```
    /// use tower_bearer::Algorithm;
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::new().with_algorithms([Algorithm::ES256, Algorithm::RS256]);
    /// assert!(issuer.jwks().contains("P-256"));
    /// ```
    #[must_use]
    pub fn with_algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let algorithms: Vec<Algorithm> = algorithms.into_iter().collect();
        self.state().algorithms = if algorithms.is_empty() { vec![Algorithm::RS256] } else { algorithms };
        self
    }

    /// Omits `alg` in the published keys, which is an option of Auth0 tenants.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// assert!(!TestIssuer::new().without_key_algorithms().jwks().contains("alg"));
    /// ```
    #[must_use]
    pub fn without_key_algorithms(self) -> Self {
        self.state().publishes_alg = false;
        self
    }

    /// Sets the `Cache-Control` header of the documents. The default is that of Auth0,
    /// `public, max-age=15, stale-while-revalidate=15, stale-if-error=86400`.
    ///
    /// ```
    /// use http::HeaderValue;
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::new().with_cache_control(HeaderValue::from_static("max-age=3600"));
    /// ```
    #[must_use]
    pub fn with_cache_control(self, value: HeaderValue) -> Self {
        self.state().cache_control = Some(value);
        self
    }

    /// Disables `Cache-Control`, `ETag` and the response 304 to conditional requests.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new().without_caching();
    /// ```
    #[must_use]
    pub fn without_caching(self) -> Self {
        self.state().cache_control = None;
        self
    }

    /// Sets the clock for the dates in tokens. The default is [`SystemClock`](crate::clock::SystemClock).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tower_bearer::clock::SystemClock;
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::new().with_clock(SystemClock);
    /// ```
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.state().clock = Arc::new(clock);
        self
    }

    /// Adds a custom domain and returns a handle for it: the same keys, clients and counters, but another `iss`.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    /// let login = tenant.add_custom_domain("https://login.northwind.com/");
    /// assert_eq!(login.issuer(), "https://login.northwind.com/");
    /// assert_eq!(login.jwks(), tenant.jwks());
    /// ```
    #[must_use]
    pub fn add_custom_domain(&self, issuer: &str) -> Self {
        let endpoint = IssuerEndpoint::new(issuer);
        let mut state = self.state();
        if !state.endpoints.contains(&endpoint) {
            state.endpoints.push(endpoint.clone());
        }
        Self { shared: Arc::clone(&self.shared), endpoint, has_fixed_name: true }
    }
}

impl TestIssuer {
    pub(super) fn shared(&self) -> &Arc<SharedState> {
        &self.shared
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    pub(super) fn endpoint(&self) -> &IssuerEndpoint {
        &self.endpoint
    }

    pub(super) fn url(&self, path: &str) -> String {
        self.endpoint.url(path)
    }

    /// Returns a handle for the server that listens at `base`.
    pub(super) fn served_at(&self, base: &str) -> Self {
        let endpoint = IssuerEndpoint {
            issuer: if self.has_fixed_name { Arc::clone(&self.endpoint.issuer) } else { Arc::from(base) },
            base: Arc::from(base),
        };
        let mut state = self.state();
        state.endpoints.retain(|present| self.has_fixed_name || *present != self.endpoint);
        state.endpoints.push(endpoint.clone());
        Self { shared: Arc::clone(&self.shared), endpoint, has_fixed_name: true }
    }

    /// Returns a handle with the `iss` of the domain in the `Host` header, and the address of this handle.
    pub(super) fn at_host(&self, host: Option<&str>) -> Self {
        let by_host = self.endpoints().into_iter().find(|endpoint| Some(endpoint.host()) == host);
        let issuer = by_host.map_or_else(|| Arc::clone(&self.endpoint.issuer), |endpoint| endpoint.issuer);
        Self { endpoint: IssuerEndpoint { issuer, base: Arc::clone(&self.endpoint.base) }, ..self.clone() }
    }

    pub(super) fn endpoints(&self) -> Vec<IssuerEndpoint> {
        self.state().endpoints.clone()
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.state().clock)
    }

    pub(super) fn key(&self, algorithm: Algorithm) -> Arc<TestKey> {
        self.state().key(algorithm)
    }

    pub(super) fn current_key(&self) -> Arc<TestKey> {
        let mut state = self.state();
        let algorithm = state.algorithm();
        state.key(algorithm)
    }
}

impl Default for TestIssuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

/// `.test` never resolves (RFC 6761 §6.2).
const DEFAULT_ISSUER: &str = "https://issuer.test/";
