//! `BearerLayer`: which requests pass, and what the refused ones are told.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Response};
use tower_layer::Layer;

use crate::claims::NoCustomClaims;
use crate::metadata::ProtectedResourceMetadata;
use crate::middleware::outer_layers::ResponseOptions;
use crate::middleware::response::{EmptyBody, ErrorResponse, JsonBody, ResponseHook};
use crate::middleware::service::BearerService;
use crate::request::credential::{BearerToken, CredentialError};
use crate::response::{ChallengeError, Challenges};
use crate::validator::Validator;

/// Lets a request pass only with a valid access token, whose claims it puts into the request's extensions.
///
/// The inner service finds `Claims<C>` there, and always [`Claims`](crate::Claims) without custom claims, which is what
/// [`RequireLayer`](crate::RequireLayer) reads. Claims that were there before are replaced or removed, but for those of
/// another `C` from a layer further out: axum's extractors never hand those out once another token was judged, or none;
/// who reads extensions directly, and lets credentials change between layers, reads `Claims`. The `Authorization` value is
/// marked sensitive, so that it doesn't show in logs of headers.
///
/// A refused request is answered with status and `WWW-Authenticate` after RFC 6750 §3, without body unless
/// [`with_json_body`](BearerLayer::with_json_body) or [`with_response_hook`](BearerLayer::with_response_hook) say
/// otherwise. The method makes no difference: `HEAD` and `OPTIONS` need a token too.
///
/// ```
/// use tower_bearer::{Api, BearerLayer, Issuer, Secret, Validator};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::shared_secret("https://id.northwind.com/", Secret::from_text("thirty-two octets or more, please"));
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
    /// Realm, metadata and body, for layers and handlers further in.
    pub(super) response_options: Arc<ResponseOptions>,
    pub(super) body: R,
}

/// What becomes of a request without credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anonymous {
    Refused,
    Passed,
}

/// What becomes of a CORS preflight without credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preflight {
    LikeOthers,
    Passed,
}

/// Where the host of a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostSource {
    Request,
    ForwardedHost,
}

/// Whether the token itself goes on with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RawToken {
    Dropped,
    MapEntry,
}

/// Finds a credential elsewhere than in `Authorization`.
pub(super) type TokenSource =
    Arc<dyn for<'h> Fn(&'h HeaderMap) -> Result<Option<BearerToken<'h>>, CredentialError> + Send + Sync>;

impl<C> BearerLayer<C> {
    /// Refuses every request whose token `validator` refuses, and every request without one.
    #[must_use]
    pub fn new(validator: Validator<C>) -> Self {
        Self {
            validator,
            anonymous: Anonymous::Refused,
            preflight: Preflight::LikeOthers,
            host_source: HostSource::Request,
            token_source: None,
            raw_token: RawToken::Dropped,
            response_options: Arc::new(ResponseOptions::new(Challenges::default(), EmptyBody::default())),
            body: EmptyBody::default(),
        }
    }
}

impl<C, R> BearerLayer<C, R> {
    /// Lets requests without credential pass, without claims. A bad credential is refused all the same.
    ///
    /// Default: they are refused, so that a forgotten check doesn't open a route.
    #[must_use]
    pub fn with_anonymous(mut self) -> Self {
        self.anonymous = Anonymous::Passed;
        self
    }

    /// Lets CORS preflights pass without claims: `OPTIONS` with `Origin` and `Access-Control-Request-Method`, and
    /// without credential. For the case that CORS is answered further in.
    ///
    /// Default: refused like any other request. Better than this is a CORS layer outside of this one.
    #[must_use]
    pub fn with_preflight_passthrough(mut self) -> Self {
        self.preflight = Preflight::Passed;
        self
    }

    /// Takes the request's host from `X-Forwarded-Host` where it is present: one field with one well-formed host, else
    /// the request is malformed. Where it is absent, the request's own host counts. Matters only for an API that binds
    /// issuers to hosts.
    ///
    /// Default: the request target's authority, else `Host`.
    ///
    /// # Security
    ///
    /// Only behind a proxy that sets or removes this field in every request; else a client chooses it at will.
    #[must_use]
    pub fn with_trusted_forwarded_host(mut self) -> Self {
        self.host_source = HostSource::ForwardedHost;
        self
    }

    /// Looks for the token elsewhere too: in a cookie, in a WebSocket subprotocol, by
    /// [`credential::from_cookie`](crate::credential::from_cookie) and
    /// [`credential::from_subprotocol`](crate::credential::from_subprotocol), or in a header of the application's own. A request
    /// that brings a token there and in `Authorization` is malformed (RFC 6750 §2).
    ///
    /// Default: the `Authorization` header only. Query and form are not offered (RFC 9700 §4.3.2).
    ///
    /// ```
    /// # fn layer(validator: tower_bearer::Validator) -> tower_bearer::BearerLayer {
    /// use tower_bearer::BearerLayer;
    /// use tower_bearer::request::credential;
    ///
    /// BearerLayer::new(validator).with_token_source(|headers| credential::from_cookie(headers, "__Host-access"))
    /// # }
    /// ```
    ///
    /// # Security
    ///
    /// `Authorization`, `Cookie` and `Sec-WebSocket-Protocol` are marked sensitive, and so kept out of logs of headers; a
    /// header of the application's own is not.
    ///
    /// Browsers send cookies with requests that other sites cause: such an API needs a defence against cross-site request
    /// forgery (`SameSite`, `Sec-Fetch-Site`), which this crate does not bring.
    #[must_use]
    pub fn with_token_source(
        mut self,
        source: impl for<'h> Fn(&'h HeaderMap) -> Result<Option<BearerToken<'h>>, CredentialError> + Send + Sync + 'static,
    ) -> Self {
        self.token_source = Some(Arc::new(source));
        self
    }

    /// Puts the token itself into the extensions of a request that passes, as
    /// [`BearerToken<'static>`](crate::bearer::BearerToken), for calls to other APIs. Default: it stays where the client put
    /// it, and nowhere else.
    ///
    /// # Security
    ///
    /// Whoever is handed the token can use it until it expires, here and wherever it is meant for: pass it on only to
    /// services that it names in `aud`, and prefer a token exchange (RFC 8693).
    #[must_use]
    pub fn with_raw_token(mut self) -> Self {
        self.raw_token = RawToken::MapEntry;
        self
    }

    /// Names the place of the resource's metadata in every challenge, so that a client finds the authorization server from
    /// the refusal alone (RFC 9728 §5.1). Default: none.
    #[must_use]
    pub fn with_resource_metadata(self, metadata: &ProtectedResourceMetadata) -> Self {
        let challenges = self.response_options.challenges.clone().with_resource_metadata(metadata.url());
        self.with_challenges(challenges)
    }

    /// Names the protection space in every challenge (RFC 9110 §11.5). Default: none.
    ///
    /// # Panics
    ///
    /// If `realm` holds control characters or is not ASCII, which is a fault of the program; for realms that come from
    /// outside there is [`BearerLayer::try_with_realm`].
    #[must_use]
    #[track_caller]
    pub fn with_realm(self, realm: &str) -> Self {
        or_panic(realm, self.try_with_realm(realm))
    }

    /// Names the protection space, where the realm is not known to be well-formed.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::Realm`] if it holds control characters or is not ASCII.
    pub fn try_with_realm(self, realm: &str) -> Result<Self, ChallengeError> {
        let challenges = self.response_options.challenges.clone().with_realm(realm)?;
        Ok(self.with_challenges(challenges))
    }

    /// Names the scopes, space-delimited, that a client without token should ask for (RFC 6750 §3). A hint for clients:
    /// nothing checks it, which is the business of [`RequireLayer`](crate::RequireLayer). Default: none.
    ///
    /// # Panics
    ///
    /// If `scope` is not one or more scope-tokens of RFC 6749 §3.3, one space apart, which is a fault of the program;
    /// for scopes that come from outside there is [`BearerLayer::try_with_challenge_scope`].
    #[must_use]
    #[track_caller]
    pub fn with_challenge_scope(self, scope: &str) -> Self {
        or_panic(scope, self.try_with_challenge_scope(scope))
    }

    /// Names the scopes that a client without token should ask for, where they are not known to be well-formed.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::Scope`] if `scope` is not one or more scope-tokens, one space apart.
    pub fn try_with_challenge_scope(self, scope: &str) -> Result<Self, ChallengeError> {
        let challenges = self.response_options.challenges.clone().with_scope(scope)?;
        Ok(self.with_challenges(challenges))
    }

    /// Answers refused requests with a JSON body, for response bodies that are made from `Bytes`.
    #[must_use]
    pub fn with_json_body(self) -> BearerLayer<C, JsonBody> {
        self.with_body(JsonBody::default())
    }

    /// Answers refused requests with the body and the further headers of a response that `hook` makes.
    ///
    /// Status, `WWW-Authenticate`, `Retry-After` and, below 500, `Cache-Control` stay what they are without a hook.
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

#[expect(clippy::panic, reason = "documented at the callers: the program holds a malformed text")]
#[track_caller]
fn or_panic<L>(text: &str, layer: Result<L, ChallengeError>) -> L {
    match layer {
        Ok(layer) => layer,
        Err(error) => panic!("{text:?}: {error}"),
    }
}

impl<S, C, R: Clone> Layer<S> for BearerLayer<C, R> {
    type Service = BearerService<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerService::new(inner, Arc::new(self.clone()))
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
