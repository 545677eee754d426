//! `TestIssuer`: an authorization server in memory.

use std::fmt;
use std::sync::{Arc, MutexGuard};

use http::HeaderValue;

use crate::clock::Clock;
use crate::fetch::Fetch;
use crate::testing::outage::Outage;
use crate::testing::respond::{KEY_SET, OPENID_CONFIGURATION, TOKEN};
use crate::testing::signer::TestKey;
use crate::testing::tenant::{IssuerEndpoint, State, Tenant};
use crate::testing::token::TokenBuilder;
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

/// What it says of itself.
impl TestIssuer {
    /// The `iss` of its tokens.
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().issuer(), "https://issuer.test/");
    /// ```
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.face.issuer
    }

    /// The URL of its key set.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.jwks_uri(), "https://issuer.test/.well-known/jwks.json");
    /// ```
    #[must_use]
    pub fn jwks_uri(&self) -> String {
        self.face.url(KEY_SET)
    }

    /// The URL of its discovery document.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.discovery_uri(), "https://issuer.test/.well-known/openid-configuration");
    /// ```
    #[must_use]
    pub fn discovery_uri(&self) -> String {
        self.face.url(OPENID_CONFIGURATION)
    }

    /// The URL of its token endpoint, which answers once it is served.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.token_endpoint(), "https://issuer.test/oauth/token");
    /// ```
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        self.face.url(TOKEN)
    }

    /// Its key set as JSON: public keys only, the current ones first, each with `kid`, `use` and `alg`.
    ///
    /// It is the same text that a fetch gets, whatever the outage.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.jwks().starts_with(r#"{"keys":[{"#));
    /// ```
    #[must_use]
    pub fn jwks(&self) -> String {
        self.state().key_set()
    }

    /// Its discovery document as JSON.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.discovery().contains(r#""issuer":"https://issuer.test/""#));
    /// ```
    #[must_use]
    pub fn discovery(&self) -> String {
        self.face.discovery()
    }

    /// The id of the key that signs now; empty if it signs with its secret.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.kid().len(), 22);
    /// ```
    #[must_use]
    pub fn kid(&self) -> String {
        self.current_key().kid().unwrap_or_default().to_owned()
    }

    /// The public key that belongs to [`TestIssuer::kid`] as `PUBLIC KEY` PEM text; empty if it signs with its secret.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
    /// ```
    #[must_use]
    pub fn public_key_pem(&self) -> String {
        self.current_key().public_key_pem()
    }

    /// The secret of its HS256, HS384 and HS512 tokens: 64 characters, whose octets are the key.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.secret().len(), 64);
    /// ```
    #[must_use]
    pub fn secret(&self) -> String {
        self.state().secret()
    }

    /// A token that is valid now; see [`TokenBuilder`] for what it says.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().sign();
    /// assert_eq!(token.split('.').count(), 3);
    /// ```
    pub fn token(&self) -> TokenBuilder {
        TokenBuilder::new(self)
    }

    /// This server as a network: what [`Arc::new`] of a clone gives, with its type erased.
    ///
    /// ```
    /// use tower_bearer::fetch::{Endpoint, FetchRequest};
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let issuer = TestIssuer::new();
    /// let keys = FetchRequest::new(Endpoint::new(&issuer.jwks_uri())?, 65_536);
    /// let response = issuer.fetcher().fetch(keys).await?;
    /// assert_eq!(response.body, issuer.jwks());
    /// assert_eq!(issuer.fetches(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fetcher(&self) -> Arc<dyn Fetch> {
        Arc::new(self.clone())
    }
}

/// What happens to it.
impl TestIssuer {
    /// Signs with new keys and a new secret from now on; publishes the old keys after the new ones.
    ///
    /// A validator is not notified. It fetches the keys at the first token of a new key, unless it has fetched for an unknown
    /// `kid` shortly before: during that cool-down (1 to 15 s by the validator's clock) it refuses the token. Let a
    /// [`FakeClock`](crate::testing::FakeClock) pass the cool-down, or call [`KeySource::reload`](crate::jwks::KeySource::reload).
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let old = issuer.kid();
    /// issuer.rotate();
    /// assert_ne!(issuer.kid(), old);
    /// assert!(issuer.jwks().contains(&old));
    /// issuer.revoke_previous_keys();
    /// assert!(!issuer.jwks().contains(&old));
    /// ```
    pub fn rotate(&self) {
        self.state().rotate();
    }

    /// Publishes the current keys only.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// issuer.rotate();
    /// issuer.revoke_previous_keys();
    /// assert_eq!(issuer.jwks().matches("kid").count(), 1);
    /// ```
    pub fn revoke_previous_keys(&self) {
        self.state().revoke_previous_keys();
    }

    /// Signs with new keys and a new secret, and publishes nothing else: "rotate and revoke".
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let old = issuer.kid();
    /// issuer.replace_keys();
    /// assert!(!issuer.jwks().contains(&old));
    /// ```
    pub fn replace_keys(&self) {
        let mut state = self.state();
        state.rotate();
        state.revoke_previous_keys();
    }

    /// Publishes this text instead of its key set, whatever it is; the keys that sign stay.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// issuer.publish(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#);
    /// assert!(issuer.jwks().contains("oct"));
    /// ```
    pub fn publish(&self, key_set: impl Into<String>) {
        self.state().published = Some(key_set.into());
    }

    /// Acts out a fault until told otherwise.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_bearer::testing::{Outage, TestIssuer};
    ///
    /// let issuer = TestIssuer::new();
    /// issuer.outage(Outage::Status(StatusCode::SERVICE_UNAVAILABLE));
    /// ```
    pub fn outage(&self, outage: Outage) {
        self.state().outage = outage;
    }

    /// How often the key set was asked for, under every domain, in memory and over loopback, with or without success.
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().fetches(), 0);
    /// ```
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.tenant.key_set_requests.value()
    }

    /// How often a discovery document was asked for, counted like [`TestIssuer::fetches`].
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().discovery_fetches(), 0);
    /// ```
    #[must_use]
    pub fn discovery_fetches(&self) -> usize {
        self.tenant.discovery_requests.value()
    }

    /// How often the token endpoint was asked for a token, counted like [`TestIssuer::fetches`].
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().token_requests(), 0);
    /// ```
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.tenant.token_requests.value()
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

    fn current_key(&self) -> Arc<TestKey> {
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
