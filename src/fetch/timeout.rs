//! Combinators for futures: a timeout, and catching a panic.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::clock::Sleep;

/// Runs `future` until `timer` fires; returns `None` if it does. If both are ready, the output of `future` is returned.
pub(crate) fn within<F: Future>(future: F, timer: Sleep) -> Within<F> {
    Within { future, timer }
}

pin_project! {
    /// The future of [`within`]. This is a named type because an `async fn` stores its arguments twice, and each waiting
    /// request owns one such future.
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        timer: Sleep,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => this.timer.as_mut().poll(context).map(|()| None),
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
