//! `Introspection`: the settings of introspection at one issuer.

use std::time::Duration;

use crate::claims::{AnswerRules, MissingAudience, MissingExpiry};
use crate::defaults;
use crate::event_hook::EventHook;
use crate::introspection::authentication::ClientAuthentication;
use crate::introspection::event::IntrospectionEvent;

/// The settings of token introspection (RFC 7662) at one authorization server. A setting of an [`Issuer`](crate::Issuer).
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::Issuer;
/// use tower_bearer::introspection::{ClientAuthentication, Introspection};
///
/// // JWTs are verified locally; opaque tokens are introspected. The discovery document names the endpoint.
/// let authentication = ClientAuthentication::basic("orders-api", "secret");
/// let both = Issuer::oidc("https://id.example.com").with_introspection(Introspection::discovered(authentication.clone()));
///
/// // JWTs are introspected as well, so that a revocation takes effect within ten seconds.
/// let introspection = Introspection::at("https://id.example.com/introspect", authentication.clone())
///     .with_every_jwt()
///     .with_ttl(Duration::from_secs(10));
/// let strict = Issuer::oidc("https://id.example.com").with_introspection(introspection);
///
/// // A server without JWTs needs no keys.
/// let opaque = Issuer::opaque(
///     "https://legacy.example.com",
///     Introspection::at("https://legacy.example.com/introspect", authentication).with_token_prefix("lgc_"),
/// );
/// # let _ = (both, strict, opaque);
/// ```
///
/// # Security
///
/// A token is sent only to the server of one issuer, in the body of a `POST` over TLS. Which issuer that is depends on the
/// configuration and, with several issuers, on the [prefix](Self::with_token_prefix) of the token.
#[derive(Clone, Debug)]
pub struct Introspection {
    pub(crate) endpoint: EndpointSetting,
    pub(crate) authentication: ClientAuthentication,
    pub(crate) prefix: Option<String>,
    pub(crate) introspected_tokens: IntrospectedTokens,
    pub(crate) form: AnswerForm,
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) grace: Duration,
    pub(crate) failure_mode: FailureMode,
    pub(crate) claims_from: ClaimsFrom,
    pub(super) event_hook: Option<EventHook<IntrospectionEvent>>,
    pub(crate) missing_audience: MissingAudience,
    pub(crate) missing_expiry: MissingExpiry,
    pub(crate) timeout: Duration,
    pub(crate) max_calls: usize,
    pub(crate) max_answer_bytes: usize,
}

/// The introspection endpoint as it was configured.
#[derive(Clone, Debug)]
pub(crate) enum EndpointSetting {
    At(String),
    Discovered,
}

/// Which tokens are introspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntrospectedTokens {
    OpaqueOnly,
    OpaqueAndJwt,
}

/// The form of the answers that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerForm {
    Plain,
    Signed,
}

/// How a signed token is treated if the server does not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureMode {
    FailClosed,
    FailOpen,
}

/// Which claims of an introspected JWT are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimsFrom {
    Token,
    Answer,
}

impl Introspection {
    /// Introspects at the endpoint with this URL: https, or http on loopback.
    #[must_use]
    pub fn at(endpoint: impl Into<String>, authentication: ClientAuthentication) -> Self {
        Self::new(EndpointSetting::At(endpoint.into()), authentication)
    }

    /// Introspects at the `introspection_endpoint` of the issuer's discovery document (RFC 8414 §2), which is found and
    /// checked like the `jwks_uri` of [`Issuer::oidc`](crate::Issuer::oidc). The document is read before the first call and
    /// then once a day.
    ///
    /// # Security
    ///
    /// Tokens and the credentials of this API are sent to the https URL that the document names, at any host. With
    /// [`RefreshPolicy::with_jwks_hosts`](crate::jwks::RefreshPolicy::with_jwks_hosts), only at the listed hosts and at
    /// the host and port of the issuer.
    #[must_use]
    pub fn discovered(authentication: ClientAuthentication) -> Self {
        Self::new(EndpointSetting::Discovered, authentication)
    }

    fn new(endpoint: EndpointSetting, authentication: ClientAuthentication) -> Self {
        Self {
            endpoint,
            authentication,
            prefix: None,
            introspected_tokens: IntrospectedTokens::OpaqueOnly,
            form: AnswerForm::Plain,
            ttl: defaults::INTROSPECTION_TTL,
            negative_ttl: defaults::INTROSPECTION_NEGATIVE_TTL,
            grace: Duration::ZERO,
            failure_mode: FailureMode::FailClosed,
            claims_from: ClaimsFrom::Token,
            event_hook: None,
            missing_audience: MissingAudience::Rejected,
            missing_expiry: MissingExpiry::Rejected,
            timeout: defaults::INTROSPECTION_TIMEOUT,
            max_calls: defaults::INTROSPECTION_MAX_CALLS,
            max_answer_bytes: defaults::INTROSPECTION_MAX_ANSWER_BYTES,
        }
    }

    /// Accepts only opaque tokens that begin with this text, compared byte by byte. Required for each issuer if several
    /// issuers of an API have introspection: a token is never sent to more than one server. Default: every opaque
    /// token.
    #[must_use]
    pub fn with_token_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Introspects each JWT of the issuer as well, after its signature and claims are checked, so that a revoked token is
    /// rejected within the [ttl](Self::with_ttl). Default: only opaque tokens are introspected.
    ///
    /// The claims are those of the token. An answer in which `iss`, `sub`, `client_id`, `jti`, `exp` or `cnf` differs is
    /// rejected, and one whose `token_type`, `token_use` or `typ` says that the token is no access token. `aud` and `exp` may be missing
    /// in the answer.
    #[must_use]
    pub fn with_every_jwt(mut self) -> Self {
        self.introspected_tokens = IntrospectedTokens::OpaqueAndJwt;
        self
    }

    /// Hands on the claims of the answer instead of those of the JWT, for example because the server shortens the scope in
    /// the answer. Only with [`with_every_jwt`](Self::with_every_jwt). Default: the claims of the JWT.
    ///
    /// Registered claims that the answer lacks, such as `exp` or `aud`, are those of the JWT, except for `scope`, `scp` and
    /// `permissions`. The result passes the same checks as the JWT. There are no calls in the background: at the end of the ttl, the next
    /// request waits for a newer answer. With
    /// [`dangerous_fail_open`](Self::dangerous_fail_open), the claims are those of the JWT if there is no answer.
    #[must_use]
    pub fn with_claims_from_introspection(mut self) -> Self {
        self.claims_from = ClaimsFrom::Answer;
        self
    }

    /// Calls `hook` with each [`IntrospectionEvent`], for alerts. The same events are also logged. Default: none.
    ///
    /// The hook must not block: requests may wait for it. No lock is held during the call. A hook that panics is called
    /// again for the next event.
    ///
    /// ```
    /// use tower_bearer::introspection::{ClientAuthentication, Introspection, IntrospectionEventKind};
    ///
    /// let authentication = ClientAuthentication::basic("orders-api", "secret");
    /// let introspection = Introspection::discovered(authentication).with_event_hook(|event| {
    ///     if event.kind() == IntrospectionEventKind::CredentialsRefused {
    ///         eprintln!("{} refuses the credentials of this API", event.issuer());
    ///     }
    /// });
    /// # let _ = introspection;
    /// ```
    #[must_use]
    pub fn with_event_hook(mut self, hook: impl Fn(&IntrospectionEvent) + Send + Sync + 'static) -> Self {
        self.event_hook = Some(EventHook::new(hook));
        self
    }

    /// Accepts only answers that the issuer has signed (RFC 9701), with its keys and algorithms. Default: JSON answers,
    /// which TLS protects.
    ///
    /// # Security
    ///
    /// A signed answer does not name the token that it is about. It proves what the server said, not that it said it
    /// about this token, so TLS is required as well. An answer is accepted for 60 s.
    #[must_use]
    pub fn with_signed_answers(mut self) -> Self {
        self.form = AnswerForm::Signed;
        self
    }

    /// Sets how long a positive answer is used, at most until the token expires. Default: 30 s, since a revoked token
    /// is accepted for this time. Maximum: 300 s. With zero, each request causes a call, and concurrent
    /// requests with one token share one.
    ///
    /// In the last fifth of this time, a request starts a call in the background, so that tokens in constant use never
    /// wait. Cache headers of the server are not used: all servers send `no-store`.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long a negative answer is used, at most as long as a positive one. Default: 5 s, because the answer may
    /// come from a replica of the server that does not know a new token yet. Maximum: 60 s.
    #[must_use]
    pub fn with_negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// Uses the last positive answer about a token for this additional time while the server does not respond: no
    /// connection, a timeout, or 5xx while the calls about all tokens are stopped because of 5xx, if the server answered a
    /// random text before. Such a text is sent after the first answer, and at most once an hour. Default: zero, so that
    /// requests get 503. Maximum: one hour.
    ///
    /// # Security
    ///
    /// A token that is revoked during an outage is accepted for this time. A wrong response is no outage, and after a
    /// negative answer no earlier answer is used.
    #[must_use]
    pub fn with_revocation_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Accepts a JWT because of its signature while the server does not respond, unless the last answer about it was
    /// negative or was rejected by this API, or the application has [evicted](crate::Validator::evict_token) it in the last
    /// minutes. Only with [`with_every_jwt`](Self::with_every_jwt). Default: without an answer, requests get 503.
    ///
    /// # Security
    ///
    /// During an outage of the server, revoked tokens are accepted until they expire. The last 16,384 negative answers
    /// about JWTs are stored for a day.
    #[must_use]
    pub fn dangerous_fail_open(mut self) -> Self {
        self.failure_mode = FailureMode::FailOpen;
        self
    }

    /// Accepts answers without `aud` about opaque tokens. Like
    /// [`Api::dangerous_allow_missing_audience`](crate::Api::dangerous_allow_missing_audience), it requires client ids
    /// or a check.
    ///
    /// # Security
    ///
    /// The server may answer about tokens that were issued for other APIs.
    #[must_use]
    pub fn dangerous_allow_missing_audience(mut self) -> Self {
        self.missing_audience = MissingAudience::Accepted;
        self
    }

    /// Accepts answers without `exp` about opaque tokens. The [expiration time](crate::Claims::expires_at) of the
    /// claims is then the end of the [ttl](Self::with_ttl).
    ///
    /// # Security
    ///
    /// Whether the token has expired is then known only to the server.
    #[must_use]
    pub fn dangerous_allow_missing_expiry(mut self) -> Self {
        self.missing_expiry = MissingExpiry::Accepted;
        self
    }

    /// Sets the longest time for one call, and for which a request waits. Default: 3 s. From 100 ms to 10 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the number of concurrent calls. Default: 64. A quarter of them is reserved for tokens that the server has
    /// called active before, so that unknown tokens cannot delay them.
    #[must_use]
    pub fn with_max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Sets the largest accepted answer in bytes. Default: 64 KiB, which a thousand scopes need. From 1 KiB to 1 MiB.
    #[must_use]
    pub fn with_max_answer_bytes(mut self, bytes: usize) -> Self {
        self.max_answer_bytes = bytes;
        self
    }

    /// Returns what the claims of an answer about an opaque token may lack.
    pub(crate) fn answer_rules(&self) -> AnswerRules {
        AnswerRules { missing_audience: self.missing_audience, missing_expiry: self.missing_expiry }
    }
}
