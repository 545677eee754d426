//! `BearerLayer`: the tower layer that authenticates requests, and its options.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Response};

use crate::claims::NoCustomClaims;
use crate::metadata::ProtectedResourceMetadata;
use crate::middleware::outer_layers::ResponseOptions;
use crate::request::{BearerToken, CredentialError};
use crate::response::{ChallengeError, Challenges, EmptyBody, ErrorResponse, JsonBody, ResponseHook};
use crate::validator::Validator;

/// Accepts only requests with a valid access token, and inserts the claims into the request's extensions.
///
/// The extensions then contain `Claims<C>` with the custom claims, and also [`Claims`](crate::Claims) without custom claims,
/// which [`RequireLayer`](crate::RequireLayer) reads. The layer marks the `Authorization` value as sensitive, so that it does
/// not appear in logs of headers.
///
/// The response to a rejected request has the status and `WWW-Authenticate` header of RFC 6750 §3, and no body unless
/// [`with_json_body`](BearerLayer::with_json_body) or [`with_response_hook`](BearerLayer::with_response_hook) is set. All
/// methods need a token, also `HEAD` and `OPTIONS`.
///
/// If one `BearerLayer` is inside another, the inner layer wins. It replaces the claims of the outer layer or, if it accepts
/// the request without a credential, removes them. There is one exception: if the layers have different types of custom
/// claims, `A` outside and `B` inside, `Claims<A>` of the outer layer stay in the extensions. If a layer in between changes
/// the credential, `Claims<A>` and `Claims<B>` belong to different tokens. The axum extractors then do not return `Claims<A>`.
/// Code that reads the extensions itself must read `Claims` without custom claims, which always belong to the inner layer.
///
/// ```
/// use tower_bearer::{Api, BearerLayer, Issuer, Secret, Validator};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::shared_secret("https://id.northwind.com/", Secret::from_text("thirty-two bytes or more, please"));
/// let validator = Validator::new(Api::new("https://api.northwind.com", issuer))?;
/// let layer = BearerLayer::new(validator).with_realm("northwind").with_challenge_scope("read:orders");
/// assert!(layer.try_with_realm("north\r\nwind").is_err());
/// # Ok(()) }
/// ```
pub struct BearerLayer<C = NoCustomClaims, R = EmptyBody> {
    pub(super) validator: Validator<C>,
    pub(super) anonymous: Anonymous,
    pub(super) preflight: Preflight,
    pub(super) host_source: HostSource,
    pub(super) token_source: Option<TokenSource>,
    pub(super) raw_token: RawToken,
    /// Realm, metadata and body, for inner layers and handlers.
    pub(super) response_options: Arc<ResponseOptions>,
    pub(super) body: R,
}

/// How the layer treats a request without credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anonymous {
    Reject,
    Accept,
}

/// How the layer treats a CORS preflight without credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preflight {
    Authenticate,
    Accept,
}

/// Where the host of a request is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostSource {
    Request,
    ForwardedHost,
}

/// Whether the layer inserts the token into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RawToken {
    Omit,
    Insert,
}

/// Reads a token from other headers than `Authorization`.
pub(super) type TokenSource =
    Arc<dyn for<'h> Fn(&'h HeaderMap) -> Result<Option<BearerToken<'h>>, CredentialError> + Send + Sync>;

impl<C> BearerLayer<C> {
    /// Creates a layer that rejects every request without a token, and every request whose token `validator` rejects.
    #[must_use]
    pub fn new(validator: Validator<C>) -> Self {
        Self {
            validator,
            anonymous: Anonymous::Reject,
            preflight: Preflight::Authenticate,
            host_source: HostSource::Request,
            token_source: None,
            raw_token: RawToken::Omit,
            response_options: Arc::new(ResponseOptions::new(Challenges::default(), EmptyBody::default())),
            body: EmptyBody::default(),
        }
    }
}

impl<C, R> BearerLayer<C, R> {
    /// Accepts requests without a credential, and inserts no claims for them. A request with an invalid credential is still
    /// rejected.
    ///
    /// Default: requests without credential are rejected, so that a forgotten check does not open a route.
    #[must_use]
    pub fn with_anonymous(mut self) -> Self {
        self.anonymous = Anonymous::Accept;
        self
    }

    /// Accepts CORS preflights without a credential, and inserts no claims for them. A preflight is an `OPTIONS` request with
    /// `Origin` and `Access-Control-Request-Method`. Use this if the CORS layer of the application is inside this layer.
    ///
    /// Default: a preflight is rejected like any other request. It is better to put the CORS layer outside of this layer.
    #[must_use]
    pub fn with_preflight_passthrough(mut self) -> Self {
        self.preflight = Preflight::Accept;
        self
    }

    /// Reads the host of the request from the header `X-Forwarded-Host`. Default: the host is the authority of the request
    /// target (`:authority` in HTTP/2) or, without an authority, the `Host` header.
    ///
    /// If `X-Forwarded-Host` is absent, the default applies. If it is present more than once, or is not exactly one well-formed
    /// host, the request is rejected with 400. The host of a request matters only for an API that binds issuers to hosts or
    /// derives the organization from the request.
    ///
    /// Default: the authority of the request target, otherwise `Host`.
    ///
    /// # Security
    ///
    /// Use this only behind a proxy that sets or removes the header in every request. Otherwise clients can choose the host.
    #[must_use]
    pub fn with_trusted_forwarded_host(mut self) -> Self {
        self.host_source = HostSource::ForwardedHost;
        self
    }

    /// Adds another place from which the layer reads the token, besides the `Authorization` header: a cookie
    /// ([`BearerToken::from_cookie`]), a WebSocket subprotocol ([`BearerToken::from_subprotocol`]), or an application-defined
    /// header. A request with a token in both places is rejected with 400 (RFC 6750 §2).
    ///
    /// Default: the `Authorization` header only. Query and form parameters are not supported (RFC 9700 §4.3.2).
    ///
    /// ```
    /// # fn layer(validator: tower_bearer::Validator) -> tower_bearer::BearerLayer {
    /// use tower_bearer::BearerLayer;
    /// use tower_bearer::request::BearerToken;
    ///
    /// BearerLayer::new(validator).with_token_source(|headers| BearerToken::from_cookie(headers, "__Host-access"))
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
    #[must_use]
    pub fn with_token_source(
        mut self,
        source: impl for<'h> Fn(&'h HeaderMap) -> Result<Option<BearerToken<'h>>, CredentialError> + Send + Sync + 'static,
    ) -> Self {
        self.token_source = Some(Arc::new(source));
        self
    }

    /// Inserts the token into the extensions of an accepted request, as [`BearerToken<'static>`](crate::request::BearerToken),
    /// for calls to other APIs. Default: the token is only in the request's headers.
    ///
    /// # Security
    ///
    /// A service that receives the token can use it until it expires, at every API in its `aud`. Send it only to services
    /// that `aud` names, and prefer a token exchange (RFC 8693).
    #[must_use]
    pub fn with_raw_token(mut self) -> Self {
        self.raw_token = RawToken::Insert;
        self
    }

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
    /// [`BearerLayer::try_with_realm`].
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
    /// request (RFC 6750 §3). This is only a hint for clients; [`RequireLayer`](crate::RequireLayer) checks scopes. Default: none.
    ///
    /// # Panics
    ///
    /// Panics if `scope` is not one or more scope-tokens (RFC 6749 §3.3) with single spaces between them. For scopes that are
    /// not a constant of the program, use [`BearerLayer::try_with_challenge_scope`].
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

    /// Sends a JSON body in the response to each rejected request. The type of the response body must implement `From<Bytes>`.
    #[must_use]
    pub fn with_json_body(self) -> BearerLayer<C, JsonBody> {
        self.with_body(JsonBody::default())
    }

    /// Calls `hook` for each rejected request, and sends the body and the additional headers of the response that it returns.
    /// `B` is the type of the response body of the inner service.
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
    ) -> BearerLayer<C, ResponseHook<B>> {
        self.with_body(ResponseHook::new(hook))
    }

    fn with_challenges(mut self, challenges: Challenges) -> Self {
        Arc::make_mut(&mut self.response_options).challenges = challenges;
        self
    }

    fn with_body<Other: Clone + Send + Sync + 'static>(self, body: Other) -> BearerLayer<C, Other> {
        BearerLayer {
            validator: self.validator,
            anonymous: self.anonymous,
            preflight: self.preflight,
            host_source: self.host_source,
            token_source: self.token_source,
            raw_token: self.raw_token,
            response_options: Arc::new(ResponseOptions::new(self.response_options.challenges.clone(), body.clone())),
            body,
        }
    }
}

#[expect(clippy::panic, reason = "documented at the callers: a constant of the program is malformed")]
#[track_caller]
fn or_panic<L>(text: &str, layer: Result<L, ChallengeError>) -> L {
    match layer {
        Ok(layer) => layer,
        Err(error) => panic!("{text:?}: {error}"),
    }
}

impl<C, R: Clone> Clone for BearerLayer<C, R> {
    fn clone(&self) -> Self {
        Self {
            validator: self.validator.clone(),
            anonymous: self.anonymous,
            preflight: self.preflight,
            host_source: self.host_source,
            token_source: self.token_source.clone(),
            raw_token: self.raw_token,
            response_options: Arc::clone(&self.response_options),
            body: self.body.clone(),
        }
    }
}

impl<C, R: fmt::Debug> fmt::Debug for BearerLayer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerLayer")
            .field("validator", &self.validator)
            .field("anonymous", &self.anonymous)
            .field("preflight", &self.preflight)
            .field("host_source", &self.host_source)
            .field("token_source", &self.token_source.is_some())
            .field("raw_token", &self.raw_token)
            .field("challenges", &self.response_options.challenges)
            .field("body", &self.body)
            .finish()
    }
}
