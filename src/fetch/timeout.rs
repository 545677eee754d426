//! Combinators for futures: a timeout, and catching a panic.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Runs `future` until `stop` ends, which usually is a timer; returns `None` if it does. If both are ready, the output of `future` is
/// returned.
pub(crate) fn within<F: Future, S: Future<Output = ()>>(future: F, stop: S) -> Within<F, S> {
    Within { future, stop }
}

pin_project! {
    /// The future of [`within`]. This is a named type because an `async fn` stores its arguments twice, and each waiting
    /// request owns one such future.
    pub(crate) struct Within<F, S> {
        #[pin]
        future: F,
        #[pin]
        stop: S,
    }
}

impl<F: Future, S: Future<Output = ()>> Future for Within<F, S> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => this.stop.poll(context).map(|()| None),
        }
    }
}

/// Runs `future`; returns `None` if it panics. It is not polled again after a panic, so its broken state is never seen.
pub(crate) async fn catch_panic<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_panic) => Poll::Ready(None),
    })
    .await
}
