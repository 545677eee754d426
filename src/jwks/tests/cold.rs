//! Tests of the first fetch: eager and lazy, waiting requests, failures, missing runtimes.

use std::time::Duration;

use http::StatusCode;
use http::header::{DATE, RETRY_AFTER};
use tokio::task::JoinHandle;

use crate::clock::Timestamp;
use crate::jwks::error::RefreshError;
use crate::jwks::policy::{InitialFetch, RefreshPolicy};
use crate::jwks::source::{KeySource, View};
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Fixture, MINUTE, ONE_REFRESH, Outcome, SECOND, URL, jwks};
use crate::testing::Reply;

const LONG_AGO: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

fn requests(source: &KeySource, count: usize, kid: &'static str) -> Vec<JoinHandle<Outcome>> {
    (0..count)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { Fixture::request(&source, kid).await })
        })
        .collect()
}

async fn outcomes(requests: Vec<JoinHandle<Outcome>>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for request in requests {
        outcomes.push(request.await.expect("no panic"));
    }
    outcomes
}

#[tokio::test]
async fn fetches_before_the_first_request_when_eager() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])));
    fixture.clock.settle().await;
    assert!(fixture.serves("a"));
    assert_eq!(fixture.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn fetches_at_the_first_use_when_lazy() {
    let policy = RefreshPolicy::new().with_initial_fetch(InitialFetch::Lazy);
    let fixture = Fixture::with(policy.clone(), Reply::json(jwks(&["a"])));
    fixture.run(MINUTE).await;
    assert_eq!(fixture.network.calls(), 0);
    assert_eq!(Fixture::request(&fixture.source, "a").await, Outcome::Served);

    let probed = Fixture::with(policy, Reply::json(jwks(&["a"])));
    assert_eq!(probed.source.status().state(), KeyState::Empty);
    probed.clock.settle().await;
    assert!(probed.source.status().is_ready());
}

#[tokio::test]
async fn starts_one_fetch_for_10_000_waiting_requests() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])).with_delay(SECOND));
    let requests = requests(&fixture.source, 10_000, "a");
    fixture.run(SECOND).await;
    assert!(outcomes(requests).await.iter().all(|outcome| *outcome == Outcome::Served));
    assert_eq!(fixture.network.calls(), 1);
}

#[tokio::test]
async fn shares_one_failed_fetch_among_10_000_waiting_requests() {
    let fixture = Fixture::new(Reply::hang());
    let waiting = requests(&fixture.source, 10_000, "a");
    fixture.run(3 * SECOND).await;
    for outcome in outcomes(waiting).await {
        assert!(matches!(outcome, Outcome::Unavailable(wait) if wait == SECOND), "{outcome:?}");
    }
    assert_eq!(fixture.network.calls(), 1);
    // Requests do not wait for the retry.
    let late = requests(&fixture.source, 100, "a");
    fixture.clock.settle().await;
    assert!(late.iter().all(JoinHandle::is_finished));
    assert_eq!(fixture.network.calls(), 1);
}

#[tokio::test]
async fn waits_for_at_most_cold_wait() {
    let policy = RefreshPolicy::new().with_cold_wait(2 * SECOND);
    let fixture = Fixture::with(policy, Reply::hang());
    let waiting = requests(&fixture.source, 1, "a");
    fixture.run(Duration::from_millis(1999)).await;
    assert!(!waiting[0].is_finished());
    fixture.run(Duration::from_millis(1)).await;
    assert_eq!(outcomes(waiting).await, [Outcome::Unavailable(SECOND)]);
}

#[tokio::test]
async fn rejects_requests_above_max_waiters() {
    let policy = RefreshPolicy::new().with_max_waiters(3);
    let fixture = Fixture::with(policy, Reply::json(jwks(&["a"])).with_delay(SECOND));
    let waiting = requests(&fixture.source, 5, "a");
    fixture.clock.settle().await;
    assert_eq!(waiting.iter().filter(|request| request.is_finished()).count(), 2);
    fixture.run(SECOND).await;
    let served = outcomes(waiting).await.into_iter().filter(|outcome| *outcome == Outcome::Served).count();
    assert_eq!(served, 3);
    // The permits are free again.
    assert_eq!(Fixture::request(&fixture.source, "a").await, Outcome::Served);
}

#[tokio::test]
async fn fetches_at_most_12_times_a_minute_from_a_failing_issuer_and_recovers_within_15_s() {
    let fixture = Fixture::new(Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    fixture.run(MINUTE).await;
    assert!((7..=12).contains(&fixture.network.calls()), "{}", fixture.network.calls());
    assert_eq!(usize::try_from(fixture.source.status().consecutive_failures()), Ok(fixture.network.calls()));
    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    assert!(fixture.serves("a"));
    assert_eq!(fixture.source.status().consecutive_failures(), 0);
}

/// A first set without a usable key is not used: the keys are unavailable, and no kid counts as unknown.
#[tokio::test]
async fn rejects_an_empty_first_set() {
    let fixture = Fixture::new(Reply::json(r#"{"keys":[]}"#));
    for kid in ["a", "zz"] {
        assert!(matches!(Fixture::request(&fixture.source, kid).await, Outcome::Unavailable(_)), "{kid}");
    }
    assert_eq!(fixture.source.status().last_error(), Some(RefreshError::NoUsableKeys));
    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    assert_eq!(fixture.request_now("a").await, Outcome::Served);
}

#[tokio::test]
async fn returns_the_remaining_retry_after_without_keys() {
    for retry_after in ["30", "Wed, 21 Oct 2015 07:28:30 GMT"] {
        let reply = Reply::status(StatusCode::SERVICE_UNAVAILABLE);
        let fixture = Fixture::new(reply.with_header(RETRY_AFTER, retry_after).with_header(DATE, LONG_AGO));
        fixture.run(10 * SECOND).await;
        assert_eq!(Fixture::request(&fixture.source, "a").await, Outcome::Unavailable(20 * SECOND), "{retry_after}");
        assert_eq!(fixture.network.calls_to(URL), 1);
    }
}

#[tokio::test]
async fn limits_retry_after_to_300_s() {
    for retry_after in ["86400", "Thu, 22 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let reply = Reply::status(StatusCode::TOO_MANY_REQUESTS);
        let fixture = Fixture::new(reply.with_header(RETRY_AFTER, retry_after).with_header(DATE, LONG_AGO));
        fixture.run(299 * SECOND).await;
        assert_eq!(fixture.network.calls(), 1, "{retry_after}");
        fixture.run(SECOND).await;
        assert_eq!(fixture.network.calls(), 2, "{retry_after}");
    }
}

/// A date in `Retry-After` is compared with the response's `Date` only. The local wall clock may be wrong by years.
#[tokio::test]
async fn ignores_retry_after_as_a_date_without_a_date_header() {
    for date in [None, Some("now"), Some("Thu, 22 Oct 2015 07:28:00 GMT")] {
        let reply = Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, LONG_AGO);
        let fixture = Fixture::new(match date {
            Some(date) => reply.with_header(DATE, date),
            None => reply,
        });
        fixture.clock.set_wall(Timestamp::UNIX_EPOCH);
        fixture.run(SECOND).await;
        assert_eq!(fixture.network.calls(), 2, "{date:?}: after the default backoff");
    }
}

#[tokio::test]
async fn ready_waits_through_failures_up_to_its_limit() {
    let fixture = Fixture::new(Reply::status(StatusCode::NOT_FOUND));
    let long_wait = tokio::spawn(fixture.source.ready());
    let short_wait = tokio::spawn(fixture.source.ready_within(SECOND));
    fixture.run(SECOND).await;
    let not_ready = short_wait.await.expect("no panic").expect_err("no keys yet");
    assert_eq!(not_ready.last_error.map(|error| error.name()), Some("http_4xx"));
    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    assert_eq!(long_wait.await.expect("no panic"), Ok(()));
}

#[test]
fn starts_the_task_at_the_first_use_inside_a_runtime() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])));
    assert!(matches!(fixture.source.snapshot(), View::Unavailable));
    assert_eq!(fixture.source.status().state(), KeyState::Empty);
    assert_eq!(fixture.network.calls(), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    assert_eq!(runtime.block_on(Fixture::request(&fixture.source, "a")), Outcome::Served);
}

#[test]
fn ready_fails_at_once_without_a_runtime() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ready = Box::pin(fixture.source.ready());
    let not_ready = match ready.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Err(not_ready)) => not_ready,
        other => panic!("{other:?}"),
    };
    assert_eq!(not_ready.last_error.map(|error| error.name()), Some("no_runtime"));
}

#[test]
fn restarts_the_task_in_a_second_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let fixture = Fixture::new(Reply::json(jwks(&["a"])));
    let first = runtime();
    assert_eq!(first.block_on(Fixture::request(&fixture.source, "a")), Outcome::Served);
    drop(first);
    // Keys stay in use, and the next use inside another runtime starts the refresh task there.
    assert!(fixture.serves("a"));
    runtime().block_on(async {
        assert!(fixture.serves("a"));
        fixture.run(ONE_REFRESH).await;
        assert_eq!(fixture.network.calls(), 2);
    });
}

#[test]
fn restarts_a_fetch_at_once_after_its_runtime_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let fixture = Fixture::new(Reply::hang());
    let first = runtime();
    first.block_on(async {
        let _status = fixture.source.status();
        fixture.clock.settle().await;
    });
    drop(first);
    assert_eq!((fixture.network.calls(), fixture.network.in_flight()), (1, 0));
    fixture.publish(&["a"]);
    assert_eq!(runtime().block_on(Fixture::request(&fixture.source, "a")), Outcome::Served);
    assert_eq!(fixture.source.status().consecutive_failures(), 0);
}
