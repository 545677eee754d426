//! `BearerService`: authenticates one request.

use std::any::TypeId;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, COOKIE, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Response, Uri};
use tower_layer::Layer;
use tower_service::Service;

use crate::claims::{Claims, NoCustomClaims};
use crate::middleware::future::ResponseFuture;
use crate::middleware::layer::{Anonymous, BearerLayer, HostSource, Preflight, RawToken};
use crate::middleware::outer_layers::OuterLayers;
use crate::rejection::Rejection;
use crate::request::RequestHead;
use crate::request::credential::{self, BearerToken, Credential, CredentialError, SharedCredential};
use crate::request::{Host, HostError};
use crate::response::{ErrorBody, Protocol, error_response};
use crate::telemetry;
use crate::validator::{Decision, PendingKey, RequestContext};

/// The service of a [`BearerLayer`], `L`, around `S`.
pub struct BearerService<S, L> {
    inner: S,
    layer: Arc<L>,
}

impl<S, C, R: Clone> Layer<S> for BearerLayer<C, R> {
    type Service = BearerService<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerService { inner, layer: Arc::new(self.clone()) }
    }
}

impl<S, C, R, ReqB, ResB> Service<Request<ReqB>> for BearerService<S, BearerLayer<C, R>>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone,
    C: Send + Sync + 'static,
    R: ErrorBody<ResB>,
    ResB: 'static,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        self.layer.hide_credentials(request.headers_mut());
        let protocol = Protocol::from_request(request.method(), request.version(), request.headers());
        match self.layer.decide(&request) {
            RequestOutcome::Accepted(accepted) => {
                self.layer.write_extensions(request.extensions_mut(), accepted);
                ResponseFuture::inner(self.inner.call(request))
            }
            RequestOutcome::Rejected(rejection) => {
                // Releases what `poll_ready` of the inner service has reserved for this request.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(self.layer.error_response(rejection, protocol))
            }
            RequestOutcome::Pending(credential, context, key) => {
                let clone = self.inner.clone();
                // The future needs the service that was polled ready; the clone was not polled.
                let ready = mem::replace(&mut self.inner, clone);
                // Removes what an outer layer inserted, as an accepted request does.
                BearerLayer::<C, R>::clear_extensions(request.extensions_mut());
                let decision = Arc::clone(&self.layer).wait(credential, context, key, protocol);
                ResponseFuture::pending(Box::pin(decision), ready, request)
            }
        }
    }
}

/// The outcome of authentication, before any wait.
enum RequestOutcome<C> {
    /// The request is accepted, with claims or, if the layer allows it, without.
    Accepted(Option<Accepted<C>>),
    Rejected(Rejection),
    /// The decision needs keys that are not available.
    Pending(SharedCredential, RequestContext, PendingKey),
}

impl<C> RequestOutcome<C> {
    /// Rejects a request before the validator is called.
    fn rejected_early(rejection: Rejection) -> Self {
        telemetry::credential_rejected(rejection.kind().name(), rejection.hint());
        Self::Rejected(rejection)
    }
}

/// What the layer inserts into the extensions of an authenticated request.
struct Accepted<C> {
    claims: Claims<C>,
    /// Only with `with_raw_token`.
    token: Option<BearerToken<'static>>,
}

impl<C: Send + Sync + 'static, R> BearerLayer<C, R> {
    fn decide<B>(&self, request: &Request<B>) -> RequestOutcome<C> {
        let (credential, context) = match self.read(request) {
            Ok(Some(read)) => read,
            Ok(None) => return RequestOutcome::Accepted(None),
            Err(rejection) => return RequestOutcome::rejected_early(rejection),
        };
        match self.validator.try_validate(&credential, &context) {
            Decision::Made(Ok(claims)) => RequestOutcome::Accepted(Some(self.accept(claims, credential))),
            Decision::Made(Err(rejection)) => RequestOutcome::Rejected(rejection),
            Decision::Pending(key) => match SharedCredential::new(&credential, request.headers()) {
                Some(credential) => RequestOutcome::Pending(credential, context, key),
                None => RequestOutcome::rejected_early(Rejection::Credential(CredentialError::Malformed)),
            },
        }
    }

    fn accept(&self, claims: Claims<C>, credential: Credential<'_>) -> Accepted<C> {
        let token = match self.raw_token {
            // An accepted credential matches the grammar.
            RawToken::Insert => credential.read().ok().map(BearerToken::into_owned),
            RawToken::Omit => None,
        };
        Accepted { claims, token }
    }

    /// Reads the credential and the request context; returns `None` if the request is accepted without credential.
    fn read<'r, B>(&self, request: &'r Request<B>) -> Result<Option<(Credential<'r>, RequestContext)>, Rejection> {
        let Some(credential) = self.credential(request.headers())? else {
            let is_accepted = self.anonymous == Anonymous::Accept
                || (self.preflight == Preflight::Accept && is_preflight(request.method(), request.headers()));
            return if is_accepted { Ok(None) } else { Err(Rejection::NoCredential) };
        };
        if !self.validator.needs_host() {
            return Ok(Some((credential, RequestContext::default())));
        }
        let host = self.host_source.find(request.uri(), request.headers()).map_err(Rejection::Host)?;
        let context = self.validator.context(&RequestHead::with_host(request, host));
        Ok(Some((credential, context)))
    }

    /// Returns the only credential, from `Authorization` or the token source.
    fn credential<'h>(&self, headers: &'h HeaderMap) -> Result<Option<Credential<'h>>, Rejection> {
        let field = credential::extract_unchecked(headers).map_err(Rejection::Credential)?;
        if let Some(bytes) = field {
            self.validator.check_length(bytes.len())?;
        }
        if self.token_source.is_none() && !self.validator.needs_host() {
            return Ok(field.map(Credential::Field));
        }
        // Errors of `Authorization` are reported before errors of the token source and the host.
        let field = field.map(BearerToken::from_bytes).transpose().map_err(Rejection::Credential)?;
        let from_source = self.token_source.as_ref().map_or(Ok(None), |source| source(headers));
        let token = match (field, from_source.map_err(Rejection::Credential)?) {
            // RFC 6750 §2: a request must use only one method to send the token.
            (Some(_), Some(_)) => return Err(Rejection::Credential(CredentialError::Multiple)),
            (token, None) | (None, token) => token,
        };
        if let Some(token) = &token {
            self.validator.check_length(token.as_str().len())?;
        }
        Ok(token.map(Credential::Token))
    }

    /// Marks credentials as sensitive, so that they do not appear in logs of headers.
    fn hide_credentials(&self, headers: &mut HeaderMap) {
        if let Some(credential) = headers.get_mut(AUTHORIZATION) {
            credential.set_sensitive(true);
        }
        if self.token_source.is_some() {
            for name in [COOKIE, SEC_WEBSOCKET_PROTOCOL] {
                if let http::header::Entry::Occupied(mut fields) = headers.entry(name) {
                    fields.iter_mut().for_each(|field| field.set_sensitive(true));
                }
            }
        }
    }

    /// Inserts the claims and options of this layer into the extensions, and removes those of an outer layer.
    fn write_extensions(&self, extensions: &mut Extensions, accepted: Option<Accepted<C>>) {
        extensions.remove::<BearerToken<'static>>();
        // With default options, the claims show that this layer ran; `OuterLayers` is not needed.
        if accepted.is_none() || !self.response_options.is_default() {
            extensions.insert(OuterLayers::new(Arc::clone(&self.response_options)));
        } else {
            extensions.remove::<OuterLayers>();
        }
        match accepted {
            Some(Accepted { claims, token }) => {
                if let Some(token) = token {
                    extensions.insert(token);
                }
                if TypeId::of::<C>() != TypeId::of::<NoCustomClaims>() {
                    extensions.insert(claims.registered());
                }
                extensions.insert(claims);
            }
            None => {
                extensions.remove::<Claims>();
                extensions.remove::<Claims<C>>();
            }
        }
    }

    /// Removes what outer layers have inserted, except `Claims` with another `C`.
    fn clear_extensions(extensions: &mut Extensions) {
        extensions.remove::<BearerToken<'static>>();
        extensions.remove::<OuterLayers>();
        extensions.remove::<Claims>();
        extensions.remove::<Claims<C>>();
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` takes memory for its arguments twice, in each waiting request"
    )]
    fn wait<ResB>(
        self: Arc<Self>,
        credential: SharedCredential,
        context: RequestContext,
        key: PendingKey,
        protocol: Protocol,
    ) -> impl Future<Output = Result<Extensions, Response<ResB>>> + Send
    where
        R: ErrorBody<ResB>,
    {
        async move {
            let awaited = self.validator.wait_for_keys(&key).await;
            let credential = credential.credential();
            match self.validator.decide_with_keys(&credential, &context, awaited) {
                Ok(claims) => {
                    let mut extensions = Extensions::new();
                    self.write_extensions(&mut extensions, Some(self.accept(claims, credential)));
                    Ok(extensions)
                }
                Err(rejection) => Err(self.error_response(rejection, protocol)),
            }
        }
    }

    fn error_response<ResB>(&self, rejection: Rejection, protocol: Protocol) -> Response<ResB>
    where
        R: ErrorBody<ResB>,
    {
        error_response(&self.body, self.response_options.challenges.error_parts(&rejection), protocol, rejection)
    }
}

impl HostSource {
    fn find(self, target: &Uri, headers: &HeaderMap) -> Result<Option<Host>, HostError> {
        match self {
            Self::Request => Host::from_request(target, headers),
            Self::ForwardedHost => match single(headers, &FORWARDED_HOST)? {
                Some(forwarded) => Host::parse(forwarded).map(Some),
                None => Host::from_request(target, headers),
            },
        }
    }
}

/// Returns the value of a field that may be present only once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, HostError> {
    let mut fields = headers.get_all(name).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(HostError::Multiple);
    }
    field.map(|field| field.to_str().map_err(|_| HostError::Malformed)).transpose()
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl<S: Clone, L> Clone for BearerService<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S: fmt::Debug, L: fmt::Debug> fmt::Debug for BearerService<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerService").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
