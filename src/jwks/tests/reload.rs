//! Tests of the order of `reload()` and `status()`.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use http::StatusCode;

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
