//! Tests of the order of `reload()` and `status()`.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use http::StatusCode;

use crate::jwks::after_fetch::AfterFetch;
use crate::jwks::error::RefreshError;
use crate::jwks::source::KeySource;
use crate::jwks::status::KeyStatus;
use crate::jwks::tests::kit::{Fixture, MINUTE, SECOND, jwks};
use crate::testing::Reply;

/// Reads the status of a source when the task is woken: as early as a thread of another worker could.
struct StatusAtWake {
    source: KeySource,
    status: Mutex<Option<KeyStatus>>,
}

impl Wake for StatusAtWake {
    fn wake(self: Arc<Self>) {
        *self.status.lock().expect("unpoisoned") = Some(self.source.status());
    }
}

/// Returns the result of a reload, and the status of the source at the time at which it returned.
async fn reload(fixture: &Fixture) -> (Result<(), RefreshError>, KeyStatus) {
    let at_wake = Arc::new(StatusAtWake { source: fixture.source.clone(), status: Mutex::new(None) });
    let waker = Waker::from(Arc::clone(&at_wake));
    let mut call = Box::pin(fixture.source.reload());
    assert_eq!(call.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    fixture.run(10 * SECOND).await;
    let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the reload is pending")
    };
    let status = at_wake.status.lock().expect("unpoisoned").take();
    (result, status.expect("the call was woken"))
}

/// Found by a test with several threads: the call returned before the status was published, in 98 of 100 runs.
#[tokio::test]
async fn status_shows_the_result_when_a_reload_returns() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.publish(&["a", "b"]);
    let (result, status) = reload(&fixture).await;
    assert_eq!((result, status.usable_keys(), status.last_error()), (Ok(()), 2, None));
    assert!(status.next_refresh() > Some(MINUTE), "the fetch has ended: {status:?}");

    for (reply, error) in [
        (Reply::status(StatusCode::BAD_GATEWAY), RefreshError::Status { status: 502 }),
        (Reply::json(jwks(&[])), RefreshError::NoUsableKeys),
        (Reply::hang(), RefreshError::Timeout),
    ] {
        let failures = fixture.source.status().consecutive_failures();
        fixture.answer(reply);
        let (result, status) = reload(&fixture).await;
        assert_eq!((result, status.last_error()), (Err(error), Some(error)));
        assert_eq!(status.consecutive_failures(), failures + 1, "{error}");
        fixture.publish(&["a", "b"]);
        fixture.run(2 * MINUTE).await;
    }
}

/// Work of 100 portions, during which the keys are fetched again.
struct Work {
    source: KeySource,
    starts: AtomicUsize,
    portions: AtomicUsize,
}

impl AfterFetch for Work {
    fn run_portion(&self, portion: usize) -> ControlFlow<()> {
        if portion == 0 && self.starts.fetch_add(1, Ordering::Relaxed) == 0 {
            let source = self.source.clone();
            drop(tokio::spawn(async move { source.reload().await }));
        }
        self.portions.fetch_add(1, Ordering::Relaxed);
        if portion == 99 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[tokio::test]
async fn work_after_a_fetch_continues_if_another_fetch_ends() {
    let fixture = Fixture::loaded(&["a"]).await;
    let (starts, portions) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = Arc::new(Work { source: fixture.source.clone(), starts, portions });
    let of_work = Arc::downgrade(&work);
    fixture.source.after_fetch(of_work);
    fixture.source.reload().await.expect("reloaded");
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    fixture.clock.settle().await;
    assert_eq!(fixture.network.calls(), 3, "two fetches besides the first one");
    assert_eq!([&work.starts, &work.portions].map(|count| count.load(Ordering::Relaxed)), [1, 100]);
}
