//! `BearerService`: one request, from its headers to a verdict.

use std::any::TypeId;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, COOKIE, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Response, Uri};
use tower_service::Service;

use crate::claims::{Claims, NoCustomClaims};
use crate::middleware::future::ResponseFuture;
use crate::middleware::layer::{Anonymous, BearerLayer, HostSource, Preflight, RawToken};
use crate::middleware::outer_layers::OuterLayers;
use crate::middleware::response::{ErrorBody, refuse};
use crate::rejection::Rejection;
use crate::request::RequestHead;
use crate::request::credential::{self, BearerToken, Credential, CredentialError, SharedCredential};
use crate::request::{Host, HostError};
use crate::response::Protocol;
use crate::telemetry;
use crate::validator::{Decision, PendingKey, RequestContext};

/// The service of a [`BearerLayer`], `L`, around `S`.
pub struct BearerService<S, L> {
    inner: S,
    layer: Arc<L>,
}

impl<S, L> BearerService<S, L> {
    pub(super) fn new(inner: S, layer: Arc<L>) -> Self {
        Self { inner, layer }
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
        let protocol = Protocol::of(request.method(), request.version(), request.headers());
        match self.layer.decide(&request) {
            RequestOutcome::Admitted(admitted) => {
                self.layer.mark(request.extensions_mut(), admitted);
                ResponseFuture::inner(self.inner.call(request))
            }
            RequestOutcome::Refused(rejection) => {
                // What the inner service has reserved for this request is given back.
                self.inner = self.inner.clone();
                ResponseFuture::refused(self.layer.refuse(rejection, protocol))
            }
            RequestOutcome::Waiting(credential, context, key) => {
                let clone = self.inner.clone();
                // The service that was polled ready goes with the request; the clone never was.
                let ready = mem::replace(&mut self.inner, clone);
                // The request carries nothing that somebody else verified.
                BearerLayer::<C, R>::clear(request.extensions_mut());
                let decision = Arc::clone(&self.layer).wait(credential, context, key, protocol);
                ResponseFuture::waiting(Box::pin(decision), ready, request)
            }
        }
    }
}

/// What the headers of a request come to.
enum RequestOutcome<C> {
    /// Passes, with claims or, where that is allowed, without.
    Admitted(Option<Admitted<C>>),
    Refused(Rejection),
    /// Keys have to be waited for.
    Waiting(SharedCredential, RequestContext, PendingKey),
}

impl<C> RequestOutcome<C> {
    /// Of a request that no validator is asked about.
    fn rejected_early(rejection: Rejection) -> Self {
        telemetry::credential_rejected(rejection.kind().name(), rejection.hint());
        Self::Refused(rejection)
    }
}

/// What an authenticated request is to carry.
struct Admitted<C> {
    claims: Claims<C>,
    /// Only where the application asked for it.
    token: Option<BearerToken<'static>>,
}

impl<C: Send + Sync + 'static, R> BearerLayer<C, R> {
    fn decide<B>(&self, request: &Request<B>) -> RequestOutcome<C> {
        let (credential, context) = match self.read(request) {
            Ok(Some(read)) => read,
            Ok(None) => return RequestOutcome::Admitted(None),
            Err(rejection) => return RequestOutcome::rejected_early(rejection),
        };
        match self.validator.try_validate(&credential, &context) {
            Decision::Made(Ok(claims)) => RequestOutcome::Admitted(Some(self.admit(claims, credential))),
            Decision::Made(Err(rejection)) => RequestOutcome::Refused(rejection),
            Decision::Pending(key) => match SharedCredential::new(&credential, request.headers()) {
                Some(credential) => RequestOutcome::Waiting(credential, context, key),
                None => RequestOutcome::rejected_early(Rejection::Credential(CredentialError::Malformed)),
            },
        }
    }

    fn admit(&self, claims: Claims<C>, credential: Credential<'_>) -> Admitted<C> {
        let token = match self.raw_token {
            // What was admitted is in the grammar.
            RawToken::MapEntry => credential.read().ok().map(BearerToken::into_owned),
            RawToken::Dropped => None,
        };
        Admitted { claims, token }
    }

    /// Reads the credential and what else takes part in the verdict; `None` for a request that passes without credential.
    fn read<'r, B>(&self, request: &'r Request<B>) -> Result<Option<(Credential<'r>, RequestContext)>, Rejection> {
        let Some(credential) = self.credential(request.headers())? else {
            let passes = self.anonymous == Anonymous::Passed
                || (self.preflight == Preflight::Passed && is_preflight(request.method(), request.headers()));
            return if passes { Ok(None) } else { Err(Rejection::NoCredential) };
        };
        if !self.validator.needs_host() {
            return Ok(Some((credential, RequestContext::default())));
        }
        let host = self.host_source.find(request.uri(), request.headers()).map_err(Rejection::Host)?;
        let context = self.validator.context(&RequestHead::with_host(request, host));
        Ok(Some((credential, context)))
    }

    /// The one credential, wherever it may stand.
    fn credential<'h>(&self, headers: &'h HeaderMap) -> Result<Option<Credential<'h>>, Rejection> {
        let field = credential::extract_unchecked(headers).map_err(Rejection::Credential)?;
        if let Some(octets) = field {
            self.validator.check_length(octets.len())?;
        }
        if self.token_source.is_none() && !self.validator.needs_host() {
            return Ok(field.map(Credential::Field));
        }
        // A fault of the field comes before those of whatever else is looked at.
        let field = field.map(BearerToken::from_bytes).transpose().map_err(Rejection::Credential)?;
        let elsewhere = self.token_source.as_ref().map_or(Ok(None), |source| source(headers));
        let token = match (field, elsewhere.map_err(Rejection::Credential)?) {
            // RFC 6750 §2: a request brings its token in one way only.
            (Some(_), Some(_)) => return Err(Rejection::Credential(CredentialError::Multiple)),
            (token, None) | (None, token) => token,
        };
        if let Some(token) = &token {
            self.validator.check_length(token.as_str().len())?;
        }
        Ok(token.map(Credential::Token))
    }

    /// Keeps credentials out of logs of headers.
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

    /// Puts into the extensions what this layer knows, and removes what another one knew.
    fn mark(&self, extensions: &mut Extensions, admitted: Option<Admitted<C>>) {
        extensions.remove::<BearerToken<'static>>();
        // Where there are claims, they say by themselves that this layer ran.
        if admitted.is_none() || !self.response_options.is_plain() {
            extensions.insert(OuterLayers::new(Arc::clone(&self.response_options)));
        } else {
            extensions.remove::<OuterLayers>();
        }
        match admitted {
            Some(Admitted { claims, token }) => {
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

    /// Removes what any layer knows.
    fn clear(extensions: &mut Extensions) {
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
            let waited = self.validator.wait_for(&key).await;
            let credential = credential.credential();
            match self.validator.decide_after(&credential, &context, waited) {
                Ok(claims) => {
                    let mut extensions = Extensions::new();
                    self.mark(&mut extensions, Some(self.admit(claims, credential)));
                    Ok(extensions)
                }
                Err(rejection) => Err(self.refuse(rejection, protocol)),
            }
        }
    }

    fn refuse<ResB>(&self, rejection: Rejection, protocol: Protocol) -> Response<ResB>
    where
        R: ErrorBody<ResB>,
    {
        refuse(&self.body, self.response_options.challenges.answer(&rejection), protocol, rejection)
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

/// The value of a field that stands at most once.
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
