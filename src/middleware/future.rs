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
    decision: RequestOutcome<S::Response>,
    call: Option<(S, Request<B>)>,
}

/// Completes with what the request is to carry, or with the answer to it.
pub(super) type RequestOutcome<R> = Pin<Box<dyn Future<Output = Result<Extensions, R>> + Send>>;

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn refused(response: S::Response) -> Self {
        Self { state: State::Refused { response: ready(response) } }
    }

    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(super) fn waiting(decision: RequestOutcome<S::Response>, service: S, request: Request<B>) -> Self {
        Self { state: State::Waiting { parked: Box::new(Parked { decision, call: Some((service, request)) }) } }
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
        let decision = await_ready!(self.decision.as_mut().poll(context));
        Poll::Ready(match (decision, self.call.take()) {
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::oneshot;

    use super::*;

    /// Answers with the number that the request carries; panics when it is called without having been polled ready.
    #[derive(Debug, Default)]
    struct Strict {
        ready: bool,
    }

    impl Service<Request<()>> for Strict {
        type Response = Option<u8>;
        type Error = Infallible;
        type Future = Ready<Result<Option<u8>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.ready = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            assert!(std::mem::take(&mut self.ready), "called without having been polled ready");
            ready(Ok(request.extensions().get().copied()))
        }
    }

    type Sent = Result<Extensions, Option<u8>>;

    fn parked() -> (oneshot::Sender<Sent>, ResponseFuture<Strict, ()>) {
        let (sender, receiver) = oneshot::channel::<Sent>();
        let decision = Box::pin(async move { receiver.await.expect("the verdict comes") });
        let mut request = Request::new(());
        request.extensions_mut().insert(1_u8);
        (sender, ResponseFuture::waiting(decision, Strict { ready: true }, request))
    }

    #[tokio::test]
    async fn a_good_verdict_calls_the_ready_service_with_what_the_request_is_to_carry() {
        let (sender, future) = parked();
        assert_eq!(format!("{future:?}"), "ResponseFuture { state: \"waiting\", .. }");
        let waiting = tokio::spawn(future);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let mut carried = Extensions::new();
        carried.insert(2_u8);
        sender.send(Ok(carried)).expect("the future lives");
        assert_eq!(waiting.await.expect("no panic"), Ok(Some(2)));
    }

    #[tokio::test]
    async fn a_bad_verdict_answers_without_calling_the_service() {
        let (sender, future) = parked();
        sender.send(Err(Some(9))).expect("the future lives");
        assert_eq!(future.await, Ok(Some(9)));
    }

    #[tokio::test]
    async fn a_dropped_request_drops_its_verdict() {
        let (sender, future) = parked();
        drop(future);
        assert!(sender.is_closed());
    }

    #[test]
    fn waiting_doesnt_make_every_future_large() {
        let inner = size_of::<<Strict as Service<Request<()>>>::Future>();
        assert!(size_of::<ResponseFuture<Strict, ()>>() <= inner + 2 * size_of::<usize>());
    }
}
