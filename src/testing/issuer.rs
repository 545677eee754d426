//! `TestIssuer`: an authorization server in memory.

use std::fmt;
use std::sync::{Arc, MutexGuard};

use http::HeaderValue;

use crate::clock::Clock;
use crate::testing::signer::TestKey;
use crate::testing::tenant::{IssuerEndpoint, State, Tenant};
use crate::token::Algorithm;

/// An authorization server in memory: it has keys, publishes them, and signs any token it is asked for.
///
/// It signs with RS256 unless told otherwise. It is a [`Fetch`] that answers at its own URLs, and
/// [`TestIssuer::serve`] puts it onto loopback. Clones are handles on the same server; no two servers share a key.
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
    tenant: Arc<Tenant>,
    face: IssuerEndpoint,
    named: bool,
}

/// What it is.
impl TestIssuer {
    /// A server named `https://issuer.test/`, or by its own URL once it is served.
    #[must_use]
    pub fn new() -> Self {
        Self { named: false, ..Self::named(DEFAULT_ISSUER) }
    }

    /// An Auth0 tenant: `iss` is `https://{domain}/`.
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

    /// A server with exactly this `iss`, which it keeps when it is served.
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
        let face = IssuerEndpoint::new(issuer);
        Self { tenant: Arc::new(Tenant::new(face.clone())), face, named: true }
    }

    /// Publishes keys of these algorithms, and signs with the first. Default: RS256; so does an empty list.
    ///
    /// All RSA algorithms share one key pair, under a `kid` each: a token that names the wrong one of them is genuine
    /// but for its `alg`. Shared secrets are not published.
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

    /// Leaves `alg` out of the published keys, as an Auth0 tenant can be told to.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// assert!(!TestIssuer::new().without_key_algorithms().jwks().contains("alg"));
    /// ```
    #[must_use]
    pub fn without_key_algorithms(self) -> Self {
        self.state().names_algorithms = false;
        self
    }

    /// Sends this `Cache-Control` with the documents. Default: what Auth0 sends,
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

    /// Sends neither `Cache-Control` nor `ETag`, and answers no conditional request with 304.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new().without_caching();
    /// ```
    #[must_use]
    pub fn without_caching(self) -> Self {
        self.state().cache_control = None;
        self
    }

    /// Dates tokens by this clock. Default: [`SystemClock`](crate::clock::SystemClock).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tower_bearer::clock::SystemClock;
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::new().with_clock(Arc::new(SystemClock));
    /// ```
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.state().clock = clock;
        self
    }

    /// The same server under one more domain: the same keys, clients and counters, another `iss`.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    /// let login = tenant.custom_domain("https://login.northwind.com/");
    /// assert_eq!(login.issuer(), "https://login.northwind.com/");
    /// assert_eq!(login.jwks(), tenant.jwks());
    /// ```
    #[must_use]
    pub fn custom_domain(&self, issuer: &str) -> Self {
        let face = IssuerEndpoint::new(issuer);
        let mut state = self.state();
        if !state.faces.contains(&face) {
            state.faces.push(face.clone());
        }
        Self { tenant: Arc::clone(&self.tenant), face, named: true }
    }
}

impl TestIssuer {
    pub(super) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.tenant.state()
    }

    pub(super) fn face(&self) -> &IssuerEndpoint {
        &self.face
    }

    pub(super) fn url(&self, path: &str) -> String {
        self.face.url(path)
    }

    /// The handle on this server as it listens at `base`.
    pub(super) fn served_at(&self, base: &str) -> Self {
        let face = IssuerEndpoint {
            issuer: if self.named { Arc::clone(&self.face.issuer) } else { Arc::from(base) },
            base: Arc::from(base),
        };
        let mut state = self.state();
        state.faces.retain(|present| self.named || *present != self.face);
        state.faces.push(face.clone());
        Self { tenant: Arc::clone(&self.tenant), face, named: true }
    }

    /// The handle with the name of the domain that was asked, at the address of this one.
    pub(super) fn at_host(&self, host: Option<&str>) -> Self {
        let asked = self.faces().into_iter().find(|face| Some(face.host()) == host);
        let issuer = asked.map_or_else(|| Arc::clone(&self.face.issuer), |face| face.issuer);
        Self { face: IssuerEndpoint { issuer, base: Arc::clone(&self.face.base) }, ..self.clone() }
    }

    pub(super) fn faces(&self) -> Vec<IssuerEndpoint> {
        self.state().faces.clone()
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
