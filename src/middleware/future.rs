//! The future of both services: an answer, the inner service's future, or a verdict that waits for keys.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready as await_ready};

use http::{Extensions, Request};
use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// The response future of [`BearerService`](super::BearerService) and [`RequireService`](super::RequireService).
    ///
    /// Boxes nothing unless the verdict has to wait for keys.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Refused { #[pin] response: Ready<S::Response> },
        Inner { #[pin] future: S::Future },
        Waiting { parked: Box<Parked<S, B>> },
    }
}

/// A request that waits for its verdict, with the service that was ready for it.
struct Parked<S, B>
where
    S: Service<Request<B>>,
{
    verdict: Verdict<S::Response>,
    call: Option<(S, Request<B>)>,
}

/// Completes with what the request is to carry, or with the answer to it.
pub(super) type Verdict<R> = Pin<Box<dyn Future<Output = Result<Extensions, R>> + Send>>;

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn refused(response: S::Response) -> Self {
        Self { state: State::Refused { response: ready(response) } }
    }

    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(super) fn waiting(verdict: Verdict<S::Response>, service: S, request: Request<B>) -> Self {
        Self { state: State::Waiting { parked: Box::new(Parked { verdict, call: Some((service, request)) }) } }
    }
}

impl<S: Service<Request<B>>, B> Future for ResponseFuture<S, B> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Refused { response } => return response.poll(context).map(Ok),
                StateProjection::Inner { future } => return future.poll(context),
                StateProjection::Waiting { parked } => await_ready!(parked.poll(context)),
            };
            state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B> Parked<S, B> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<State<S, B>> {
        let verdict = await_ready!(self.verdict.as_mut().poll(context));
        Poll::Ready(match (verdict, self.call.take()) {
            (Ok(carried), Some((mut service, mut request))) => {
                request.extensions_mut().extend(carried);
                State::Inner { future: service.call(request) }
            }
            (Err(response), _) => State::Refused { response: ready(response) },
            (Ok(_), None) => unreachable!("the state is replaced once the verdict is there"),
        })
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Refused { .. } => "refused",
            State::Inner { .. } => "inner",
            State::Waiting { .. } => "waiting",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
