//! `BearerService`: authenticates one request.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderValue, Request, Response, StatusCode};
use tower_service::Service;

use crate::authenticator::{Accepted, Authenticator, PendingRequest, RequestDecision};
use crate::claims::{Claims, NoCustomClaims};
use crate::dpop::NonceAge;
use crate::middleware::future::{Continue, ResponseChange, ResponseFuture, take_ready};
use crate::middleware::outer_layers::OuterLayers;
use crate::request::{BearerToken, RequestHead};
use crate::response::{ErrorBody, RequestKind, ResponseOptions, is_unauthenticated_call, nonce_headers};
use crate::telemetry;

/// The service of a [`BearerLayer`](crate::BearerLayer), `L`, around `S`.
pub struct BearerService<S, L> {
    pub(super) inner: S,
    pub(super) layer: Arc<L>,
}

impl<S, C, R, ReqB, ResB> Service<Request<ReqB>> for BearerService<S, Authenticator<C, R>>
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
        self.layer.mark_sensitive(request.headers_mut());
        let head = RequestHead::new(&request);
        match self.layer.decide(&head) {
            RequestDecision::Accepted(accepted) => {
                let nonce = next_nonce(&self.layer, accepted.as_ref());
                write_extensions(request.extensions_mut(), self.layer.response_options(), accepted);
                ResponseFuture::inner(self.inner.call(request), nonce)
            }
            RequestDecision::Rejected(rejection) => {
                let kind = self.layer.request_kind(&head);
                drop(take_ready(&mut self.inner));
                ResponseFuture::rejected(self.layer.respond(rejection, kind))
            }
            RequestDecision::Pending(pending) => {
                let kind = self.layer.request_kind(&head);
                let ready = take_ready(&mut self.inner);
                // Removes what an outer layer inserted, as an accepted request does.
                clear_extensions::<C>(request.extensions_mut());
                let decision = wait(Arc::clone(&self.layer), pending, kind);
                ResponseFuture::pending(Box::pin(decision), ready, request)
            }
        }
    }
}

/// Completes with the extensions of an accepted request, or with the response to a rejected one.
#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` takes memory for its arguments twice, in each waiting request"
)]
fn wait<C, R, ResB>(
    layer: Arc<Authenticator<C, R>>,
    pending: PendingRequest<C>,
    kind: RequestKind,
) -> impl Future<Output = Result<Continue<Response<ResB>>, Response<ResB>>> + Send
where
    C: Send + Sync + 'static,
    R: ErrorBody<ResB>,
{
    async move {
        let awaited = match pending.key() {
            Some(key) => Some(layer.wait_for_keys(key).await),
            None => None,
        };
        // Boxed, so that a request that waits for keys takes no memory for what follows.
        match Box::pin(layer.resume(pending, awaited)).await {
            Ok(accepted) => {
                let nonce = next_nonce(&layer, Some(&accepted));
                let mut extensions = Extensions::new();
                write_extensions(&mut extensions, layer.response_options(), Some(accepted));
                Ok(Continue::WithExtensions { extensions, nonce })
            }
            Err(rejection) => Err(layer.respond(rejection, kind)),
        }
    }
}

/// Returns the change of the response to an accepted request, if the API requires nonces.
fn next_nonce<C, R, ResB>(
    layer: &Authenticator<C, R>,
    accepted: Option<&Accepted<C>>,
) -> Option<ResponseChange<Response<ResB>>>
where
    C: Send + Sync + 'static,
{
    let apply = match accepted.and_then(|accepted| accepted.nonce) {
        Some(NonceAge::Previous) => add_nonce,
        Some(NonceAge::Current | NonceAge::Next) | None => add_nonce_if_unauthorized,
    };
    Some(ResponseChange::new(layer.current_nonce()?, apply))
}

/// Adds the nonce, and replaces one of the handler (RFC 9449 §8.2).
fn add_nonce<ResB>(response: &mut Response<ResB>, nonce: HeaderValue) {
    telemetry::nonce_issued();
    for (name, value) in nonce_headers(nonce) {
        response.headers_mut().insert(name, value);
    }
}

/// Adds the nonce if an inner layer has rejected the request.
fn add_nonce_if_unauthorized<ResB>(response: &mut Response<ResB>, nonce: HeaderValue) {
    let is_unauthorized = match response.status() {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::OK => is_unauthenticated_call(response.headers()),
        _ => false,
    };
    if is_unauthorized {
        add_nonce(response, nonce);
    }
}

/// Inserts the claims and options of this layer into the extensions, and removes those of an outer layer.
fn write_extensions<C, R>(
    extensions: &mut Extensions,
    response_options: &Arc<ResponseOptions<R>>,
    accepted: Option<Accepted<C>>,
) where
    C: Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    extensions.remove::<BearerToken<'static>>();
    // With default options, the claims show that this layer ran; `OuterLayers` is not needed.
    if accepted.is_none() || !response_options.is_default() {
        extensions.insert(OuterLayers::new(response_options.clone()));
    } else {
        extensions.remove::<OuterLayers>();
    }
    match accepted {
        Some(Accepted { claims, token, nonce: _ }) => {
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
fn clear_extensions<C: Send + Sync + 'static>(extensions: &mut Extensions) {
    extensions.remove::<BearerToken<'static>>();
    extensions.remove::<OuterLayers>();
    extensions.remove::<Claims>();
    extensions.remove::<Claims<C>>();
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
