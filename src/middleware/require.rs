//! `RequireLayer`: what a route asks of the claims that a `BearerLayer` has verified.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::claims::Claims;
use crate::clock::{Clock, SystemClock};
use crate::defaults;
use crate::middleware::future::ResponseFuture;
use crate::middleware::outer_layers::OuterLayers;
use crate::middleware::response::{
    EmptyBody, ErrorBody, ErrorResponse, JsonBody, ResponseHook, misconfigured, note_unmet, refuse,
};
use crate::rejection::Rejection;
use crate::requirement::{Facts, Requirement};
use crate::response::Protocol;
use crate::telemetry;
use crate::validator;

/// Lets a request pass only if its verified claims meet a [`Requirement`]. It stands inside a
/// [`BearerLayer`](crate::BearerLayer), whose realm its challenges carry.
///
/// Where the claims don't suffice, the client gets 403 `insufficient_scope`, or 401
/// `insufficient_user_authentication` (RFC 9470); where the `BearerLayer` let the request pass without credential, 401
/// with a challenge. Each names the scopes that a token for the route needs, also those that this one has (RFC 6750
/// §3.1): those of this layer together with those of every `RequireLayer` between it and its `BearerLayer`. Of
/// alternatives one is named, see [`Requirement::any_of`].
///
/// What is asked further in, no layer knows: a client that lacks something here and there has to come back twice. Where
/// that matters, ask for all of a route in one layer, by [`Requirement::all_of`].
///
/// Without a `BearerLayer` further out every request gets 500: the program is wrong, not the client.
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
    /// Whether a challenge can say anything of it.
    is_told: bool,
    clock: Arc<dyn Clock>,
    leeway: Duration,
    body: R,
}

impl RequireLayer {
    /// Asks for whatever `requirement` says.
    #[must_use]
    pub fn new(requirement: Requirement) -> Self {
        Self {
            is_told: requirement.has_challenge_params(),
            requirement: Arc::new(requirement),
            clock: Arc::new(SystemClock),
            leeway: defaults::LEEWAY,
            body: EmptyBody::default(),
        }
    }

    /// Asks for one scope.
    ///
    /// # Panics
    ///
    /// As [`Requirement::scope`].
    #[must_use]
    #[track_caller]
    pub fn scope(name: &str) -> Self {
        Self::new(Requirement::scope(name))
    }

    /// Asks for at least one of several scopes. A challenge names the first.
    ///
    /// # Panics
    ///
    /// As [`Requirement::scope`], and if there are none.
    #[must_use]
    #[track_caller]
    pub fn any_scope<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::new(Requirement::any_of(scopes(names)))
    }

    /// Asks for every one of several scopes.
    ///
    /// # Panics
    ///
    /// As [`Requirement::scope`], and if there are none.
    #[must_use]
    #[track_caller]
    pub fn all_scopes<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::new(Requirement::all_of(scopes(names)))
    }

    /// Asks for one permission (Auth0's `permissions`).
    ///
    /// # Panics
    ///
    /// As [`Requirement::permission`].
    #[must_use]
    #[track_caller]
    pub fn permission(name: &str) -> Self {
        Self::new(Requirement::permission(name))
    }
}

/// A loop, since a closure would lose the place of the caller.
#[track_caller]
fn scopes<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<Requirement> {
    let mut scopes = Vec::new();
    for name in names {
        scopes.push(Requirement::scope(name));
    }
    scopes
}

impl<R> RequireLayer<R> {
    /// Tells time by `clock`, for the age of an authentication. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets how much clock skew is forgiven in the age of an authentication; more than 300 s are taken as 300 s.
    /// Default 5 s, enough for clocks that are kept by NTP.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(defaults::MAX_LEEWAY);
        self
    }

    /// Answers refused requests with a JSON body, for response bodies that are made from `Bytes`.
    #[must_use]
    pub fn with_json_body(self) -> RequireLayer<JsonBody> {
        self.with_body(JsonBody::default())
    }

    /// Answers refused requests with the body and the further headers of a response that `hook` makes.
    ///
    /// Status, `WWW-Authenticate` and, below 500, `Cache-Control` stay what they are without a hook.
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
            is_told: self.is_told,
            clock: self.clock,
            leeway: self.leeway,
            body,
        }
    }

    /// Answers a request whose claims don't suffice.
    fn decide<B>(&self, extensions: &Extensions, protocol: Protocol) -> Result<(), Response<B>>
    where
        R: ErrorBody<B>,
    {
        let outer_layers = extensions.get::<OuterLayers>();
        let response_options = outer_layers.and_then(OuterLayers::response_options);
        let challenges =
            || response_options.map(|response_options| response_options.challenges.clone()).unwrap_or_default();
        let (rejection, hint, challenges) = match (extensions.get::<Claims>(), outer_layers) {
            (Some(claims), _) => {
                let now = self.clock.now();
                let Err(unmet) = self.requirement.check(claims, now, self.leeway) else { return Ok(()) };
                let facts = Facts { claims, now, leeway: self.leeway };
                let unmet = match outer_layers {
                    Some(outer_layers) => unmet.with_outer_params(outer_layers.demand(Some(&facts))),
                    None => unmet,
                };
                let hint = validator::hint_of_unmet(&unmet, claims);
                (Rejection::Requirement(unmet), hint, challenges())
            }
            (None, Some(outer_layers)) => {
                let asked = outer_layers.demand(None).merge(self.requirement.challenge_params(None));
                (Rejection::NoCredential, None, challenges().asking_for(asked.scope))
            }
            (None, None) => {
                telemetry::misconfigured("a RequireLayer has no BearerLayer around it");
                return Err(misconfigured(&self.body, protocol));
            }
        };
        note_unmet(&rejection, hint);
        Err(refuse(&self.body, challenges.answer(&rejection), protocol, rejection))
    }
}

impl<S, R: Clone> Layer<S> for RequireLayer<R> {
    type Service = RequireService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireService { inner, layer: Arc::new(self.clone()) }
    }
}

impl<R: Clone> Clone for RequireLayer<R> {
    fn clone(&self) -> Self {
        Self {
            requirement: Arc::clone(&self.requirement),
            is_told: self.is_told,
            clock: Arc::clone(&self.clock),
            leeway: self.leeway,
            body: self.body.clone(),
        }
    }
}

impl<R: fmt::Debug> fmt::Debug for RequireLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireLayer")
            .field("requirement", &self.requirement)
            .field("leeway", &self.leeway)
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
        let protocol = Protocol::of(request.method(), request.version(), request.headers());
        match self.layer.decide(request.extensions(), protocol) {
            Ok(()) => {
                if self.layer.is_told {
                    OuterLayers::leave(request.extensions_mut(), &self.layer.requirement);
                }
                ResponseFuture::inner(self.inner.call(request))
            }
            Err(response) => {
                // What the inner service has reserved for this request is given back.
                self.inner = self.inner.clone();
                ResponseFuture::refused(response)
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
