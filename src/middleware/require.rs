//! `RequireLayer`: checks the verified claims of a request against a requirement.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::claims::Claims;
use crate::clock::{Clock, SystemClock};
use crate::middleware::future::{ResponseFuture, take_ready};
use crate::middleware::outer_layers::OuterLayers;
use crate::middleware::responder::Responder;
use crate::request::RequestHead;
use crate::requirement::{Facts, Requirement, RequirementError};
use crate::response::{EmptyBody, ErrorBody, ErrorResponse, JsonBody, ResponseHook};

/// Accepts only requests whose verified claims meet a [`Requirement`].
///
/// The layer must be inside a [`BearerLayer`](crate::BearerLayer). Its challenges have the realm and the metadata URL of that
/// layer. Without an outer `BearerLayer`, every response is 500 and an error is logged, because the program is misconfigured.
///
/// If the claims do not meet the requirement, the response is 403 `insufficient_scope`. If the authentication of the user is
/// too weak or too old, the response is 401 `insufficient_user_authentication` (RFC 9470). If the requirement is
/// [`Requirement::sender_constrained`] and the request has a bearer token, the response is 401 `invalid_token`. If the
/// `BearerLayer` accepted the request without a credential, the response is 401 with a challenge.
///
/// A challenge names all required scopes, including scopes that the token already has (RFC 6750 §3.1). These are the scopes of
/// this layer and of every `RequireLayer` between this layer and the `BearerLayer`. If a requirement has alternatives, the
/// challenge names one of them; see [`Requirement::any_of`].
///
/// A challenge does not name the scopes of a `RequireLayer` inside this layer. After a client has met the requirement of this
/// layer, it may then receive a second challenge from the inner layer. To avoid this, put all requirements of a route into one
/// layer, with [`Requirement::all_of`].
///
/// ```
/// use tower_bearer::{Requirement, RequireLayer};
///
/// let read = RequireLayer::scope("read:orders");
/// let write = RequireLayer::new(Requirement::any_of([
///     Requirement::scope("write:orders"),
///     Requirement::permission("write:orders"),
/// ]));
/// # let _ = (read, write);
/// ```
pub struct RequireLayer<R = EmptyBody> {
    requirement: Arc<Requirement>,
    /// Whether a challenge can express any part of the requirement.
    has_challenge_params: bool,
    clock: Arc<dyn Clock>,
    body: Arc<R>,
}

impl RequireLayer {
    /// Creates a layer that requires `requirement`.
    #[must_use]
    pub fn new(requirement: Requirement) -> Self {
        Self {
            has_challenge_params: requirement.has_challenge_params(),
            requirement: Arc::new(requirement),
            clock: Arc::new(SystemClock),
            body: Arc::new(EmptyBody::default()),
        }
    }

    /// Requires one scope.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`Requirement::scope`].
    #[must_use]
    #[track_caller]
    pub fn scope(name: &str) -> Self {
        Self::new(Requirement::scope(name))
    }

    /// Requires at least one of several scopes. A challenge names the first of these scopes.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`Requirement::scope`], and if `names` is empty.
    #[must_use]
    #[track_caller]
    pub fn any_scope<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::new(Requirement::any_of(scopes(names)))
    }

    /// Requires all of several scopes.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`Requirement::scope`], and if `names` is empty.
    #[must_use]
    #[track_caller]
    pub fn all_scopes<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::new(Requirement::all_of(scopes(names)))
    }

    /// Requires one permission (Auth0's `permissions`).
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`Requirement::permission`].
    #[must_use]
    #[track_caller]
    pub fn permission(name: &str) -> Self {
        Self::new(Requirement::permission(name))
    }
}

/// Uses a loop, because `#[track_caller]` does not work through a closure.
#[track_caller]
fn scopes<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<Requirement> {
    let mut scopes = Vec::new();
    for name in names {
        scopes.push(Requirement::scope(name));
    }
    scopes
}

impl<R> RequireLayer<R> {
    /// Sets the clock for the age of an authentication. Default: the system clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sends a JSON body in the response to each rejected request. The type of the response body must implement `From<Bytes>`.
    #[must_use]
    pub fn with_json_body(self) -> RequireLayer<JsonBody> {
        self.with_body(JsonBody::default())
    }

    /// Calls `hook` for each rejected request, and sends the body and the additional headers of the response that it returns.
    ///
    /// The hook cannot change the status or `WWW-Authenticate`. It can set `Cache-Control` only if the status is 500 or
    /// higher.
    #[must_use]
    pub fn with_response_hook<B>(
        self,
        hook: impl Fn(&ErrorResponse<'_>) -> Response<B> + Send + Sync + 'static,
    ) -> RequireLayer<ResponseHook<B>> {
        self.with_body(ResponseHook::new(hook))
    }

    fn with_body<Other>(self, body: Other) -> RequireLayer<Other> {
        RequireLayer {
            requirement: self.requirement,
            has_challenge_params: self.has_challenge_params,
            clock: self.clock,
            body: Arc::new(body),
        }
    }

    /// Returns the response to a request whose claims do not meet the requirement.
    fn decide<B>(&self, request: &RequestHead<'_>) -> Result<(), Response<B>>
    where
        R: ErrorBody<B>,
    {
        let responder = || Responder::new(request, &*self.body);
        let Some(claims) = request.extensions().get::<Claims>() else {
            let params = self.requirement.challenge_params(None);
            return Err(responder().without_claims::<Self, B>(params, "a RequireLayer runs without a BearerLayer"));
        };
        let facts = Facts { claims, now: self.clock.now() };
        let outcome = self.requirement.check(claims, facts.now);
        outcome.map_err(|unmet| responder().unmet(RequirementError::from_unmet(unmet, claims), &facts))
    }
}

impl<S, R> Layer<S> for RequireLayer<R> {
    type Service = RequireService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireService { inner, layer: Arc::new(self.clone()) }
    }
}

impl<R> Clone for RequireLayer<R> {
    fn clone(&self) -> Self {
        Self {
            requirement: Arc::clone(&self.requirement),
            has_challenge_params: self.has_challenge_params,
            clock: Arc::clone(&self.clock),
            body: Arc::clone(&self.body),
        }
    }
}

impl<R: fmt::Debug> fmt::Debug for RequireLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireLayer")
            .field("requirement", &self.requirement)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The service of a [`RequireLayer`] around `S`.
pub struct RequireService<S, R = EmptyBody> {
    inner: S,
    layer: Arc<RequireLayer<R>>,
}

impl<S, R, ReqB, ResB> Service<Request<ReqB>> for RequireService<S, R>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone,
    R: ErrorBody<ResB>,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        match self.layer.decide(&RequestHead::new(&request)) {
            Ok(()) => {
                if self.layer.has_challenge_params {
                    OuterLayers::record(request.extensions_mut(), &self.layer.requirement);
                }
                ResponseFuture::inner(self.inner.call(request), None)
            }
            Err(response) => {
                drop(take_ready(&mut self.inner));
                ResponseFuture::rejected(response)
            }
        }
    }
}

impl<S: Clone, R> Clone for RequireService<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S: fmt::Debug, R: fmt::Debug> fmt::Debug for RequireService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireService").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}
