//! `AsyncRequireLayer`: checks the verified claims of a request with a rule that needs I/O.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::claims::{Claims, NoCustomClaims};
use crate::clock::{Clock as _, SystemClock};
use crate::middleware::async_requirement::AsyncRequirement;
use crate::middleware::future::{Continue, ResponseFuture, take_ready};
use crate::middleware::responder::Responder;
use crate::request::RequestHead;
use crate::requirement::{ChallengeParams, Facts, RequirementError};
use crate::response::{EmptyBody, ErrorBody, ErrorResponse, JsonBody, ResponseHook};

/// Accepts only requests that an asynchronous rule of the application allows.
///
/// The layer must be inside a [`BearerLayer`](crate::BearerLayer), like a [`RequireLayer`](crate::RequireLayer), and it responds,
/// logs and counts like that layer: see [`RequirementError`] for the responses. If a rule needs no I/O, use
/// [`Requirement::predicate`](crate::Requirement::predicate): it can be combined with other requirements.
///
/// Put the scopes of a route into a `RequireLayer` around this layer. Requests without the scope are then rejected before the
/// rule is evaluated, and the challenge of this layer names these scopes. A challenge of a layer inside this one does not name
/// scopes that only the rule requires.
///
/// ```
/// use std::time::Duration;
///
/// use http::request::Parts;
/// use tower_bearer::Claims;
/// use tower_bearer::middleware::AsyncRequireLayer;
/// use tower_bearer::requirement::RequirementError;
/// # async fn owner_of(_: &str) -> Result<String, std::io::Error> { Ok("ann".to_owned()) }
///
/// /// Only the owner of a document can read it.
/// async fn is_owner(claims: &Claims, request: &Parts) -> Result<(), RequirementError> {
///     match owner_of(request.uri.path()).await {
///         Ok(owner) if claims.subject() == Some(&owner) => Ok(()),
///         Ok(_) => Err(RequirementError::forbidden(claims, "owner of the document")),
///         Err(_) => Err(RequirementError::unavailable(claims, Duration::from_secs(5))),
///     }
/// }
///
/// let owners = AsyncRequireLayer::new(is_owner);
/// # let _ = owners;
/// ```
pub struct AsyncRequireLayer<C = NoCustomClaims, R = EmptyBody> {
    rule: Arc<Rule<C>>,
    body: Arc<R>,
}

/// A rule, without its type. It returns the head of the request, so that the head is not cloned.
type Rule<C> = dyn Fn(Claims<C>, Parts) -> Pin<Box<dyn Future<Output = Checked> + Send>> + Send + Sync;

/// The head of a request, and the result of the rule.
type Checked = (Parts, Result<(), RequirementError>);

impl<C: Send + Sync + 'static> AsyncRequireLayer<C> {
    /// Creates a layer that enforces a rule. `C` is the type of the custom claims that the `BearerLayer` provides.
    #[must_use]
    pub fn new(rule: impl AsyncRequirement<C>) -> Self {
        let rule = Arc::new(rule);
        Self {
            rule: Arc::new(move |claims, request| {
                let rule = Arc::clone(&rule);
                Box::pin(async move {
                    let result = rule.check(&claims, &request).await;
                    (request, result)
                })
            }),
            body: Arc::default(),
        }
    }
}

impl<C, R> AsyncRequireLayer<C, R> {
    /// Sends a JSON body in the response to each rejected request. The type of the response body must implement `From<Bytes>`.
    #[must_use]
    pub fn with_json_body(self) -> AsyncRequireLayer<C, JsonBody> {
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
    ) -> AsyncRequireLayer<C, ResponseHook<B>> {
        self.with_body(ResponseHook::new(hook))
    }

    fn with_body<Other>(self, body: Other) -> AsyncRequireLayer<C, Other> {
        AsyncRequireLayer { rule: self.rule, body: Arc::new(body) }
    }

    /// Returns the claims of a request, or the response to a request without them.
    fn claims<B>(&self, request: &RequestHead<'_>) -> Result<Claims<C>, Response<B>>
    where
        C: Send + Sync + 'static,
        R: ErrorBody<B>,
    {
        let responder = || Responder::new(request, &*self.body);
        let Some(registered) = request.extensions().get::<Claims>() else {
            return Err(responder().without_claims::<Self, B>(ChallengeParams::default(), NO_LAYER));
        };
        match request.extensions().get::<Claims<C>>() {
            Some(claims) if claims.is_same_claims_set(registered) => Ok(claims.clone()),
            // They belong to an outer layer, which validated another token.
            Some(_) | None => Err(responder().misconfigured::<Claims<C>, B>(OTHER_CLAIMS)),
        }
    }
}

/// Evaluates the rule. The future borrows nothing, because the body of the request is not part of it.
async fn decide<C, R, B>(
    layer: Arc<AsyncRequireLayer<C, R>>,
    claims: Claims<C>,
    request: Parts,
) -> Result<Continue<Response<B>>, Response<B>>
where
    R: ErrorBody<B>,
{
    let registered = claims.registered();
    let (request, result) = (layer.rule)(claims, request).await;
    match result {
        Ok(()) => Ok(Continue::WithHead(Box::new(request))),
        Err(error) => {
            let facts = Facts { claims: &registered, now: SystemClock.now() };
            Err(Responder::new(&RequestHead::from_parts(&request), &*layer.body).unmet(error, &facts))
        }
    }
}

impl<S, C, R> Layer<S> for AsyncRequireLayer<C, R> {
    type Service = AsyncRequireService<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        AsyncRequireService { inner, layer: Arc::new(self.clone()) }
    }
}

impl<C, R> Clone for AsyncRequireLayer<C, R> {
    fn clone(&self) -> Self {
        Self { rule: Arc::clone(&self.rule), body: Arc::clone(&self.body) }
    }
}

impl<C, R: fmt::Debug> fmt::Debug for AsyncRequireLayer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRequireLayer").field("body", &self.body).finish_non_exhaustive()
    }
}

/// The service of an [`AsyncRequireLayer`], `L`, around `S`.
pub struct AsyncRequireService<S, L> {
    inner: S,
    layer: Arc<L>,
}

impl<S, C, R, ReqB, ResB> Service<Request<ReqB>> for AsyncRequireService<S, AsyncRequireLayer<C, R>>
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

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let ready = take_ready(&mut self.inner);
        match self.layer.claims(&RequestHead::new(&request)) {
            Ok(claims) => {
                let (head, body) = request.into_parts();
                let decision = decide(Arc::clone(&self.layer), claims, head);
                ResponseFuture::pending(Box::pin(decision), ready, Request::new(body))
            }
            Err(response) => ResponseFuture::rejected(response),
        }
    }
}

impl<S: Clone, L> Clone for AsyncRequireService<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S: fmt::Debug, L: fmt::Debug> fmt::Debug for AsyncRequireService<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRequireService").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

const NO_LAYER: &str = "an AsyncRequireLayer runs without a BearerLayer";
const OTHER_CLAIMS: &str = "an AsyncRequireLayer needs claims of another type than its BearerLayer provides";
