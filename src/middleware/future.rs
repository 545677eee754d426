//! The response future of the services: a rejection, the inner service's future, or a decision that has to wait.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready as await_ready};

use http::request::Parts;
use http::{Extensions, HeaderValue, Request};
use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// The response future of [`BearerService`](super::BearerService), [`RequireService`](super::RequireService) and
    /// [`AsyncRequireService`](super::AsyncRequireService).
    ///
    /// Allocates only if the decision has to wait, for keys or for an asynchronous rule.
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
        Rejected { #[pin] response: Ready<S::Response> },
        Inner { #[pin] future: S::Future },
        Changed { changed: Pin<Box<ChangedFuture<S::Future, S::Response>>> },
        Pending { pending: Box<PendingCall<S, B>> },
    }
}

/// A request whose decision is pending, with the service that is ready for it.
struct PendingCall<S, B>
where
    S: Service<Request<B>>,
{
    decision: DecisionFuture<S::Response>,
    call: Option<(S, Request<B>)>,
}

pin_project! {
    /// The future of the inner service, with a change of its response.
    struct ChangedFuture<F, R> {
        #[pin]
        future: F,
        change: Option<ResponseChange<R>>,
    }
}

impl<F: Future<Output = Result<R, E>>, R, E> Future for ChangedFuture<F, R> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = await_ready!(this.future.poll(context));
        if let (Ok(response), Some(change)) = (&mut result, this.change.take()) {
            change.apply(response);
        }
        Poll::Ready(result)
    }
}

/// A nonce that is added to the response of the inner service.
pub(super) struct ResponseChange<R> {
    nonce: HeaderValue,
    apply: fn(&mut R, HeaderValue),
}

impl<R> ResponseChange<R> {
    pub(super) fn new(nonce: HeaderValue, apply: fn(&mut R, HeaderValue)) -> Self {
        Self { nonce, apply }
    }

    fn apply(self, response: &mut R) {
        (self.apply)(response, self.nonce);
    }
}

/// Returns the service that was polled ready, and leaves a clone, which was not polled. To drop the returned service releases what
/// `poll_ready` has reserved for the request.
pub(super) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    mem::replace(service, clone)
}

/// Continues an accepted request.
pub(super) enum Continue<R> {
    /// Adds extensions to the request, and changes the response.
    WithExtensions { extensions: Extensions, nonce: Option<ResponseChange<R>> },
    /// Restores the head of the request, which the decision has taken.
    WithHead(Box<Parts>),
}

/// Completes with the continuation of an accepted request, or with the response to a rejected one.
pub(super) type DecisionFuture<R> = Pin<Box<dyn Future<Output = Result<Continue<R>, R>> + Send>>;

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn rejected(response: S::Response) -> Self {
        Self { state: State::Rejected { response: ready(response) } }
    }

    pub(super) fn inner(future: S::Future, change: Option<ResponseChange<S::Response>>) -> Self {
        Self { state: State::inner(future, change) }
    }

    pub(super) fn pending(decision: DecisionFuture<S::Response>, service: S, request: Request<B>) -> Self {
        Self { state: State::Pending { pending: Box::new(PendingCall { decision, call: Some((service, request)) }) } }
    }
}

impl<S: Service<Request<B>>, B> State<S, B> {
    fn inner(future: S::Future, change: Option<ResponseChange<S::Response>>) -> Self {
        match change {
            None => Self::Inner { future },
            Some(change) => Self::Changed { changed: Box::pin(ChangedFuture { future, change: Some(change) }) },
        }
    }
}

impl<S: Service<Request<B>>, B> Future for ResponseFuture<S, B> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Rejected { response } => return response.poll(context).map(Ok),
                StateProjection::Inner { future } => return future.poll(context),
                StateProjection::Changed { changed } => return changed.as_mut().poll(context),
                StateProjection::Pending { pending } => await_ready!(pending.poll(context)),
            };
            state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B> PendingCall<S, B> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<State<S, B>> {
        let decision = await_ready!(self.decision.as_mut().poll(context));
        Poll::Ready(match (decision, self.call.take()) {
            (Ok(Continue::WithExtensions { extensions, nonce }), Some((mut service, mut request))) => {
                request.extensions_mut().extend(extensions);
                State::inner(service.call(request), nonce)
            }
            (Ok(Continue::WithHead(head)), Some((mut service, request))) => {
                let request = Request::from_parts(*head, request.into_body());
                State::inner(service.call(request), None)
            }
            (Err(response), _) => State::Rejected { response: ready(response) },
            (Ok(_), None) => unreachable!("the state is replaced once the decision is made"),
        })
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Rejected { .. } => "rejected",
            State::Inner { .. } | State::Changed { .. } => "inner",
            State::Pending { .. } => "pending",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::oneshot;

    use super::*;

    /// Responds with the number in the request's extensions. Panics if it is called before it was polled ready.
    #[derive(Debug, Default)]
    struct ReadyCheckedService {
        ready: bool,
    }

    impl Service<Request<()>> for ReadyCheckedService {
        type Response = Option<u8>;
        type Error = Infallible;
        type Future = Ready<Result<Option<u8>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.ready = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            assert!(std::mem::take(&mut self.ready), "called before it was polled ready");
            ready(Ok(request.extensions().get().copied()))
        }
    }

    type SentDecision = Result<Continue<Option<u8>>, Option<u8>>;

    fn pending_future() -> (oneshot::Sender<SentDecision>, ResponseFuture<ReadyCheckedService, ()>) {
        let (sender, receiver) = oneshot::channel::<SentDecision>();
        let decision = Box::pin(async move { receiver.await.expect("the decision is sent") });
        let mut request = Request::new(());
        request.extensions_mut().insert(1_u8);
        (sender, ResponseFuture::pending(decision, ReadyCheckedService { ready: true }, request))
    }

    #[tokio::test]
    async fn calls_the_ready_service_with_the_extensions_of_an_accepted_request() {
        let (sender, future) = pending_future();
        assert_eq!(format!("{future:?}"), "ResponseFuture { state: \"pending\", .. }");
        let waiting = tokio::spawn(future);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let mut extensions = Extensions::new();
        extensions.insert(2_u8);
        sender.send(Ok(Continue::WithExtensions { extensions, nonce: None })).ok().expect("the future is alive");
        assert_eq!(waiting.await.expect("no panic"), Ok(Some(2)));
    }

    #[tokio::test]
    async fn returns_the_rejection_without_calling_the_service() {
        let (sender, future) = pending_future();
        sender.send(Err(Some(9))).ok().expect("the future is alive");
        assert_eq!(future.await, Ok(Some(9)));
    }

    #[tokio::test]
    async fn drops_the_decision_with_the_request() {
        let (sender, future) = pending_future();
        drop(future);
        assert!(sender.is_closed());
    }

    #[test]
    fn is_small_although_a_request_may_wait() {
        let inner = size_of::<<ReadyCheckedService as Service<Request<()>>>::Future>();
        assert!(size_of::<ResponseFuture<ReadyCheckedService, ()>>() <= inner + 2 * size_of::<usize>());
    }
}
