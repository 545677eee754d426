//! `BearerService`: one request, from its headers to a verdict.

use std::any::TypeId;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, ORIGIN};
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Response, Uri};
use tower_service::Service;

use crate::bearer::{self, BearerToken};
use crate::challenge::Challenges;
use crate::claims::{Claims, NoCustomClaims};
use crate::host::{Host, HostError};
use crate::middleware::future::ResponseFuture;
use crate::middleware::layer::{Anonymous, BearerLayer, HostSource, Preflight};
use crate::middleware::response::{Respond, refuse};
use crate::rejection::Rejection;
use crate::telemetry;

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
    R: Respond<ResB>,
    ResB: 'static,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        if let Some(credential) = request.headers_mut().get_mut(AUTHORIZATION) {
            credential.set_sensitive(true);
        }
        match self.layer.judge(&request) {
            Verdict::Admitted(claims) => {
                self.layer.mark(request.extensions_mut(), claims);
                ResponseFuture::inner(self.inner.call(request))
            }
            Verdict::Refused(rejection) => {
                // What the inner service has reserved for this request is given back.
                self.inner = self.inner.clone();
                ResponseFuture::refused(self.layer.refuse(rejection))
            }
            Verdict::Waiting(token, host) => {
                let clone = self.inner.clone();
                // The service that was polled ready goes with the request; the clone never was.
                let ready = mem::replace(&mut self.inner, clone);
                // Until the verdict, the request carries nothing that somebody else verified.
                self.layer.mark(request.extensions_mut(), None);
                let verdict = Arc::clone(&self.layer).wait(token, host);
                ResponseFuture::waiting(Box::pin(verdict), ready, request)
            }
        }
    }
}

/// What the headers of a request come to.
enum Verdict<C> {
    /// Passes, with claims or, where that is allowed, without.
    Admitted(Option<Claims<C>>),
    Refused(Rejection),
    /// Keys have to be waited for.
    Waiting(BearerToken<'static>, Option<Host>),
}

impl<C: Send + Sync + 'static, R> BearerLayer<C, R> {
    fn judge<B>(&self, request: &Request<B>) -> Verdict<C> {
        let (token, host) = match self.read(request) {
            Ok(Some(read)) => read,
            Ok(None) => return Verdict::Admitted(None),
            Err(rejection) => {
                telemetry::credential_refused(rejection.kind().name());
                return Verdict::Refused(rejection);
            }
        };
        match self.validator.decide(token.as_str(), host.as_ref()) {
            Some(Ok(claims)) => Verdict::Admitted(Some(claims)),
            Some(Err(rejection)) => Verdict::Refused(rejection),
            None => Verdict::Waiting(token.into_owned(), host),
        }
    }

    /// Reads the credential and, where it matters, the host; `None` for a request that passes without credential.
    fn read<'r, B>(&self, request: &'r Request<B>) -> Result<Option<(BearerToken<'r>, Option<Host>)>, Rejection> {
        let Some(token) = bearer::extract(request.headers()).map_err(Rejection::Credential)? else {
            let passes = self.anonymous == Anonymous::Passed
                || (self.preflight == Preflight::Passed && is_preflight(request.method(), request.headers()));
            return if passes { Ok(None) } else { Err(Rejection::NoCredential) };
        };
        let host = if self.validator.binds_hosts() {
            self.host_source.find(request.uri(), request.headers()).map_err(Rejection::Host)?
        } else {
            None
        };
        Ok(Some((token, host)))
    }

    /// Puts into the extensions what this layer knows, and removes what another one knew.
    fn mark(&self, extensions: &mut Extensions, claims: Option<Claims<C>>) {
        extensions.remove::<Challenges>();
        // Where there are claims, they say by themselves that this layer ran.
        if claims.is_none() || !self.challenges.is_plain() {
            extensions.insert(self.challenges.clone());
        }
        match claims {
            Some(claims) => {
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

    async fn wait<ResB>(
        self: Arc<Self>,
        token: BearerToken<'static>,
        host: Option<Host>,
    ) -> Result<Extensions, Response<ResB>>
    where
        R: Respond<ResB>,
    {
        match self.validator.validate_under(token.as_str(), host.as_ref()).await {
            Ok(claims) => {
                let mut extensions = Extensions::new();
                self.mark(&mut extensions, Some(claims));
                Ok(extensions)
            }
            Err(rejection) => Err(self.refuse(rejection)),
        }
    }

    fn refuse<ResB>(&self, rejection: Rejection) -> Response<ResB>
    where
        R: Respond<ResB>,
    {
        refuse(&self.body, self.challenges.answer(&rejection), rejection)
    }
}

impl HostSource {
    fn find(self, target: &Uri, headers: &HeaderMap) -> Result<Option<Host>, HostError> {
        match self {
            Self::Request => Host::of_request(target, headers),
            Self::ForwardedHost => match single(headers, &FORWARDED_HOST)? {
                Some(forwarded) => Host::parse(forwarded).map(Some),
                None => Host::of_request(target, headers),
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
