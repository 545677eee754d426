//! `Authenticator`: a validator with all settings about requests. The layers and code for other frameworks call it.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use tower_bearer::authenticator::{Authenticator, Outcome};
//! use tower_bearer::request::RequestHead;
//! use tower_bearer::testing::TestIssuer;
//! use tower_bearer::{Api, Issuer, Requirement, Validator};
//!
//! /// Any handler of any server: only types of the crate `http`.
//! async fn list_orders<B>(authenticator: &Authenticator, request: Request<B>) -> Response<Bytes> {
//!     let user = match authenticator.authenticate(&RequestHead::new(&request)).await {
//!         Outcome::Authenticated(user) => user,
//!         Outcome::Rejected(rejected) => return rejected.to_response(),
//!         Outcome::Anonymous => unreachable!("`with_anonymous` is not set"),
//!     };
//!     if let Err(rejected) = user.require(&Requirement::scope("read:orders")) {
//!         return rejected.to_response();
//!     }
//!     let mut response = Response::new(Bytes::from(format!("orders of {}", user.claims().subject().unwrap_or("nobody"))));
//!     response.headers_mut().extend(user.response_headers().clone());
//!     response
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TestIssuer::auth0("northwind.eu.auth0.com");
//! let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
//! let validator = Validator::builder(api).with_fetch(server.clone()).build()?;
//! let authenticator = Authenticator::new(validator).with_realm("northwind");
//!
//! let token = server.token().audience("https://api.northwind.com").subject("ann");
//! let request = |token: String| Request::get("/orders").header("authorization", format!("Bearer {token}")).body(());
//! let response = list_orders(&authenticator, request(token.clone().scope("read:orders").sign())?).await;
//! assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"orders of ann"[..]));
//!
//! let response = list_orders(&authenticator, request(token.sign())?).await;
//! let challenge = r#"Bearer realm="northwind", error="insufficient_scope", scope="read:orders""#;
//! assert_eq!((response.status().as_u16(), &response.headers()["www-authenticate"]), (403, &challenge.parse()?));
//! # Ok(()) }
//! ```

mod decide;
mod outcome;
mod rejected;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response};

pub(crate) use self::decide::{Accepted, PendingRequest, RequestDecision};
pub use self::outcome::{Authenticated, Outcome};
pub use self::rejected::Rejected;
use self::rejected::Responder;
use crate::claims::NoCustomClaims;
use crate::dpop;
use crate::metadata::ProtectedResourceMetadata;
use crate::rejection::Rejection;
use crate::request::{BearerToken, CredentialError, HostSource, RequestHead};
use crate::response::{
    AcceptedSchemes, BearerScheme, ChallengeError, Challenges, DpopScheme, EmptyBody, ErrorBody, ErrorResponse,
    JsonBody, Protocol, RequestKind, ResponseHook, ResponseOptions, error_response,
};
use crate::telemetry;
use crate::validator::{Possession, Validator, record_unmet};

/// Decides whether a request is authenticated, and how a rejected one is answered.
///
/// A [`BearerLayer`](crate::BearerLayer) is this type, used as a tower layer. Call [`authenticate`](Self::authenticate) where no
/// tower layer fits: in a server that does not use tower, a WebSocket handshake, or a gateway. The decision and the response
/// are the same.
///
/// `R` creates the body of the response to a rejected request. By default, the body is empty.
pub struct Authenticator<C = NoCustomClaims, R = EmptyBody> {
    validator: Validator<C>,
    token_sources: Vec<TokenSource>,
    host_source: HostSource,
    anonymous: Anonymous,
    preflight: Preflight,
    raw_token: RawToken,
    /// Shared with inner layers and handlers, which respond in the same way.
    response_options: Arc<ResponseOptions<R>>,
}

/// How a request without credential is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anonymous {
    Reject,
    Accept,
}

/// How a CORS preflight without credential is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preflight {
    Authenticate,
    Accept,
}

/// Whether the token itself is part of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RawToken {
    Omit,
    Return,
}

/// Reads a token from another place than `Authorization`.
type TokenSource =
    Arc<dyn for<'r> Fn(&RequestHead<'r>) -> Result<Option<BearerToken<'r>>, CredentialError> + Send + Sync>;

impl<C> Authenticator<C> {
    /// Creates an authenticator that rejects every request without a token, and every request whose token `validator` rejects.
    #[must_use]
    pub fn new(validator: Validator<C>) -> Self {
        let accepted = accepted_schemes(validator.possession());
        Self {
            validator,
            token_sources: Vec::new(),
            host_source: HostSource::Request,
            anonymous: Anonymous::Reject,
            preflight: Preflight::Authenticate,
            raw_token: RawToken::Omit,
            response_options: Arc::new(ResponseOptions {
                challenges: Challenges::default().with_accepted(accepted),
                body: EmptyBody::default(),
            }),
        }
    }
}

impl<C: Send + Sync + 'static, R: ErrorBody<Bytes>> Authenticator<C, R> {
    /// Authenticates a request.
    ///
    /// The future waits in the same cases as that of [`Validator::validate_request`]. It can be dropped at any time.
    pub async fn authenticate(&self, request: &RequestHead<'_>) -> Outcome<C> {
        match self.decide(request) {
            RequestDecision::Pending(pending) => {
                let awaited = match pending.key() {
                    Some(key) => Some(self.validator.wait_for_keys(key).await),
                    None => None,
                };
                let result = self.resume(pending, awaited).await;
                self.outcome(request, result.map(Some))
            }
            RequestDecision::Accepted(accepted) => self.outcome(request, Ok(accepted)),
            RequestDecision::Rejected(rejection) => self.outcome(request, Err(rejection)),
        }
    }

    /// Authenticates a request without waiting. Returns `None` if [`authenticate`](Self::authenticate) would wait, for example
    /// because no keys are usable yet.
    ///
    /// This method starts no fetch, so a caller that cannot wait must start it earlier, with [`Validator::is_ready`] or
    /// [`ValidatorBuilder::build_ready`](crate::ValidatorBuilder::build_ready). A new key of the issuer is found only by
    /// `authenticate` or the periodic refresh.
    #[must_use]
    pub fn try_authenticate(&self, request: &RequestHead<'_>) -> Option<Outcome<C>> {
        match self.decide(request) {
            RequestDecision::Pending(_) => None,
            RequestDecision::Accepted(accepted) => Some(self.outcome(request, Ok(accepted))),
            RequestDecision::Rejected(rejection) => Some(self.outcome(request, Err(rejection))),
        }
    }

    /// Rejects a request for a reason of the application, with the response that this authenticator would send.
    ///
    /// An example is a route that requires a token where [`with_anonymous`](Self::with_anonymous) is set:
    /// [`Rejection::NoCredential`]. To reject an authenticated request, call [`Authenticated::require`] or
    /// [`Authenticated::reject`], which need no head of the request.
    #[must_use]
    pub fn reject(&self, request: &RequestHead<'_>, rejection: Rejection) -> Rejected {
        record_unmet(&rejection, None);
        self.responder(self.request_kind(request)).reject(rejection, None)
    }

    fn outcome(&self, request: &RequestHead<'_>, result: Result<Option<Accepted<C>>, Rejection>) -> Outcome<C> {
        match result {
            Ok(Some(accepted)) => {
                // The claims know the scheme, so the headers are not read again.
                let schemes = accepted.claims.used_schemes();
                let kind = RequestKind { protocol: Protocol::from_request(request), schemes };
                Outcome::Authenticated(Authenticated::new(accepted, self.responder(kind)))
            }
            Ok(None) => Outcome::Anonymous,
            Err(rejection) => Outcome::Rejected(self.responder(self.request_kind(request)).reject(rejection, None)),
        }
    }

    fn responder(&self, request: RequestKind) -> Responder {
        Responder::new(request, self.validator.current_nonces(), self.response_options.clone())
    }
}

impl<C: Send + Sync + 'static, R> Authenticator<C, R> {
    /// Returns the properties of a request on which the response to it depends.
    pub(crate) fn request_kind(&self, request: &RequestHead<'_>) -> RequestKind {
        RequestKind { protocol: Protocol::from_request(request), schemes: self.validator.used_schemes(request) }
    }

    /// Returns the nonce that clients receive now, if the API requires nonces.
    pub(crate) fn current_nonce(&self) -> Option<HeaderValue> {
        self.validator.current_nonces().map(|nonces| nonces.next())
    }

    /// Returns the response to a rejected request.
    pub(crate) fn respond<B>(&self, rejection: Rejection, request: RequestKind) -> Response<B>
    where
        R: ErrorBody<B>,
    {
        let parts = self.response_options.error_parts(&rejection, request, || self.issue_nonce());
        error_response(&self.response_options.body, parts, rejection)
    }

    /// Returns the nonce that clients receive now for a response, and counts it.
    fn issue_nonce(&self) -> Option<HeaderValue> {
        self.current_nonce().inspect(|_| telemetry::nonce_issued())
    }
}

impl<C, R> Authenticator<C, R> {
    /// Accepts requests without a credential: the outcome is [`Outcome::Anonymous`], and a layer inserts no claims. A request
    /// with an invalid credential is still rejected.
    ///
    /// Default: requests without credential are rejected, so that a forgotten check does not open a route.
    #[must_use]
    pub fn with_anonymous(mut self) -> Self {
        self.anonymous = Anonymous::Accept;
        self
    }

    /// Accepts CORS preflights without a credential, as [`with_anonymous`](Self::with_anonymous) does for all requests. A
    /// preflight is an `OPTIONS` request with `Origin` and `Access-Control-Request-Method`. Use this if the CORS layer of the
    /// application is inside this layer.
    ///
    /// Default: a preflight is rejected like any other request. It is better to put the CORS layer outside of this layer.
    #[must_use]
    pub fn with_preflight_passthrough(mut self) -> Self {
        self.preflight = Preflight::Accept;
        self
    }

    /// Reads the host of the request from the header `X-Forwarded-Host`, if it is present. If it is present more than once, or
    /// is not exactly one well-formed host, the request is rejected with 400. The host of a request matters only for an API
    /// that binds issuers to hosts, derives the organization from the request, or has several public URLs for DPoP.
    ///
    /// Default: the host is the authority of the request target (`:authority` in HTTP/2) or, without an authority, the `Host`
    /// header.
    ///
    /// # Security
    ///
    /// Use this only behind a proxy that sets or removes the header in every request. Otherwise clients can choose the host.
    #[must_use]
    pub fn with_trusted_forwarded_host(mut self) -> Self {
        self.host_source = HostSource::ForwardedHost;
        self
    }

    /// Reads the host of the request from the first value of `X-Forwarded-Host`, for a chain of proxies in which each proxy
    /// appends its own value. Otherwise like [`with_trusted_forwarded_host`](Self::with_trusted_forwarded_host).
    ///
    /// # Security
    ///
    /// Use this only if the proxy that clients reach replaces the header. If that proxy appends to the value of a client, the
    /// first value is that of the client.
    #[must_use]
    pub fn with_first_trusted_forwarded_host(mut self) -> Self {
        self.host_source = HostSource::FirstForwardedHost;
        self
    }

    /// Adds another place from which the token is read, besides the `Authorization` header: a cookie
    /// ([`BearerToken::from_cookie`]), a WebSocket subprotocol ([`BearerToken::from_subprotocol`]), or an application-defined
    /// header. Each call adds a place. A request with a token in more than one place is rejected with 400 (RFC 6750 §2).
    ///
    /// Default: the `Authorization` header only.
    ///
    /// ```
    /// # fn layer(validator: tower_bearer::Validator) -> tower_bearer::BearerLayer {
    /// use tower_bearer::BearerLayer;
    /// use tower_bearer::request::BearerToken;
    ///
    /// BearerLayer::new(validator)
    ///     .with_token_source(|request| BearerToken::from_cookie(request.headers(), "__Host-access"))
    ///     .with_token_source(|request| BearerToken::from_subprotocol(request.headers(), "bearer."))
    /// # }
    /// ```
    ///
    /// # Security
    ///
    /// The layer marks `Authorization`, `Cookie` and `Sec-WebSocket-Protocol` as sensitive, so that they do not appear in logs
    /// of headers. It does not mark an application-defined header.
    ///
    /// Browsers send cookies also with cross-site requests. An API that reads tokens from cookies needs protection against
    /// cross-site request forgery (`SameSite`, `Sec-Fetch-Site`), which this crate does not provide.
    ///
    /// This crate does not read tokens from the query (RFC 9700 §4.3.2): a URL is stored in access logs, in the history of the
    /// browser and in `Referer` headers, and everyone who reads it there can use the token. The
    /// [guide](crate::guide::howto#read-the-token-from-the-query-for-eventsource) shows what an application must consider that
    /// does it nevertheless.
    #[must_use]
    pub fn with_token_source(
        mut self,
        source: impl for<'r> Fn(&RequestHead<'r>) -> Result<Option<BearerToken<'r>>, CredentialError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.token_sources.push(Arc::new(source));
        self
    }

    /// Returns the token with the claims of an accepted request, for calls to other APIs: [`Authenticated::token`]. A layer
    /// inserts it into the extensions as [`BearerToken<'static>`](BearerToken). Default: the token is only in the request.
    ///
    /// # Security
    ///
    /// A service that receives the token can use it until it expires, at every API in its `aud`. Send it only to services
    /// that `aud` names, and prefer a token exchange (RFC 8693).
    #[must_use]
    pub fn with_raw_token(mut self) -> Self {
        self.raw_token = RawToken::Return;
        self
    }

    /// Sends a JSON body in the response to each rejected request. The type of the response body must implement `From<Bytes>`.
    #[must_use]
    pub fn with_json_body(self) -> Authenticator<C, JsonBody> {
        self.with_body(JsonBody::default())
    }

    /// Calls `hook` for each rejected request, and sends the body and the additional headers of the response that it returns.
    /// `B` is the type of the response body: that of the inner service of a layer, `Bytes` for
    /// [`authenticate`](Self::authenticate).
    ///
    /// The hook cannot change the status, `WWW-Authenticate` or `Retry-After`. It can set `Cache-Control` only if the status
    /// is 500 or higher.
    ///
    /// The extractors and `claims.require(..)?` need a hook that returns `axum::body::Body`. If a layer between this layer and
    /// the handler changes the type of the response body, they cannot call the hook, and their rejections have an empty body.
    #[must_use]
    pub fn with_response_hook<B: 'static>(
        self,
        hook: impl Fn(&ErrorResponse<'_>) -> Response<B> + Send + Sync + 'static,
    ) -> Authenticator<C, ResponseHook<B>> {
        self.with_body(ResponseHook::new(hook))
    }

    fn with_body<Other>(self, body: Other) -> Authenticator<C, Other> {
        let challenges = self.response_options.challenges.clone();
        Authenticator {
            validator: self.validator,
            token_sources: self.token_sources,
            host_source: self.host_source,
            anonymous: self.anonymous,
            preflight: self.preflight,
            raw_token: self.raw_token,
            response_options: Arc::new(ResponseOptions { challenges, body }),
        }
    }

    /// Returns the options by which inner layers and handlers respond to rejected requests.
    pub(crate) fn response_options(&self) -> &Arc<ResponseOptions<R>> {
        &self.response_options
    }
}

/// The settings of the challenges.
impl<C, R: Clone> Authenticator<C, R> {
    /// Adds the URL of the resource metadata to every challenge, so that a client can find the authorization server from the
    /// challenge (RFC 9728 §5.1). Default: none.
    #[must_use]
    pub fn with_resource_metadata(self, metadata: &ProtectedResourceMetadata) -> Self {
        let challenges = self.response_options.challenges.clone().with_resource_metadata(metadata.url());
        self.with_challenges(challenges)
    }

    /// Adds `realm`, the name of the protection space, to every challenge (RFC 9110 §11.5). Default: no realm.
    ///
    /// # Panics
    ///
    /// Panics if `realm` contains control characters or is not ASCII. For a realm that is not a constant of the program, use
    /// [`try_with_realm`](Self::try_with_realm).
    #[must_use]
    #[track_caller]
    pub fn with_realm(self, realm: &str) -> Self {
        or_panic(realm, self.try_with_realm(realm))
    }

    /// Adds `realm` to every challenge, or returns an error if it is malformed.
    ///
    /// # Errors
    ///
    /// Returns [`ChallengeError::Realm`] if `realm` contains control characters or is not ASCII.
    pub fn try_with_realm(self, realm: &str) -> Result<Self, ChallengeError> {
        let challenges = self.response_options.challenges.clone().with_realm(realm)?;
        Ok(self.with_challenges(challenges))
    }

    /// Adds `scope` to the challenge for requests without credential: the scopes, space-delimited, that the client should
    /// request (RFC 6750 §3). This is only a hint for clients; [`RequireLayer`](crate::RequireLayer) and
    /// [`Authenticated::require`] check scopes. Default: none.
    ///
    /// # Panics
    ///
    /// Panics if `scope` is not one or more scope-tokens (RFC 6749 §3.3) with single spaces between them. For scopes that are
    /// not a constant of the program, use [`try_with_challenge_scope`](Self::try_with_challenge_scope).
    #[must_use]
    #[track_caller]
    pub fn with_challenge_scope(self, scope: &str) -> Self {
        or_panic(scope, self.try_with_challenge_scope(scope))
    }

    /// Adds `scope` to the challenge for requests without credential, or returns an error if it is malformed.
    ///
    /// # Errors
    ///
    /// Returns [`ChallengeError::Scope`] if `scope` is not one or more scope-tokens with single spaces between them.
    pub fn try_with_challenge_scope(self, scope: &str) -> Result<Self, ChallengeError> {
        let challenges = self.response_options.challenges.clone().with_scope(scope)?;
        Ok(self.with_challenges(challenges))
    }

    fn with_challenges(mut self, challenges: Challenges) -> Self {
        Arc::make_mut(&mut self.response_options).challenges = challenges;
        self
    }
}

fn accepted_schemes(possession: &Possession) -> AcceptedSchemes {
    let algorithms = possession.dpop().map(|dpop| dpop::algorithm_names(dpop.policy.algorithms()));
    AcceptedSchemes {
        bearer: match possession.mutual_tls() {
            Some(_) => BearerScheme::CertificateBound,
            None if possession.is_required() => BearerScheme::Rejected,
            None => BearerScheme::Unbound,
        },
        dpop: match algorithms {
            Some(algorithms) => DpopScheme::WithProof(Arc::from(algorithms.collect::<Vec<_>>().join(" "))),
            None if possession.accepts_certificates_under_dpop() => DpopScheme::WithoutProof,
            None => DpopScheme::Rejected,
        },
    }
}

#[expect(clippy::panic, reason = "documented at the callers: a constant of the program is malformed")]
#[track_caller]
fn or_panic<A>(text: &str, authenticator: Result<A, ChallengeError>) -> A {
    match authenticator {
        Ok(authenticator) => authenticator,
        Err(error) => panic!("{text:?}: {error}"),
    }
}

impl<C, R> Clone for Authenticator<C, R> {
    fn clone(&self) -> Self {
        Self {
            validator: self.validator.clone(),
            token_sources: self.token_sources.clone(),
            host_source: self.host_source,
            anonymous: self.anonymous,
            preflight: self.preflight,
            raw_token: self.raw_token,
            response_options: Arc::clone(&self.response_options),
        }
    }
}

impl<C, R: fmt::Debug> fmt::Debug for Authenticator<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("validator", &self.validator)
            .field("token_sources", &self.token_sources.len())
            .field("host_source", &self.host_source)
            .field("anonymous", &self.anonymous)
            .field("preflight", &self.preflight)
            .field("raw_token", &self.raw_token)
            .field("challenges", &self.response_options.challenges)
            .field("body", &self.response_options.body)
            .finish()
    }
}
