//! The first keys.

use std::time::Duration;

use http::StatusCode;
use http::header::{DATE, RETRY_AFTER};
use tokio::task::JoinHandle;

use crate::clock::Timestamp;
use crate::jwks::error::RefreshError;
use crate::jwks::policy::{InitialFetch, RefreshPolicy};
use crate::jwks::source::{KeySource, View};
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{MINUTE, ONE_REFRESH, Outcome, SECOND, URL, World, jwks};
use crate::testing::Reply;

const LONG_AGO: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

fn requests(source: &KeySource, count: usize, kid: &'static str) -> Vec<JoinHandle<Outcome>> {
    (0..count)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { World::request(&source, kid).await })
        })
        .collect()
}

async fn verdicts(requests: Vec<JoinHandle<Outcome>>) -> Vec<Outcome> {
    let mut verdicts = Vec::new();
    for request in requests {
        verdicts.push(request.await.expect("no panic"));
    }
    verdicts
}

#[tokio::test]
async fn warm_start_fetches_before_the_first_request() {
    let world = World::new(Reply::json(jwks(&["a"])));
    world.clock.settle().await;
    assert!(world.serves("a"));
    assert_eq!(world.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn lazy_start_waits_for_a_use() {
    let policy = RefreshPolicy::new().with_initial_fetch(InitialFetch::Lazy);
    let world = World::with(policy.clone(), Reply::json(jwks(&["a"])));
    world.run(MINUTE).await;
    assert_eq!(world.network.calls(), 0);
    assert_eq!(World::request(&world.source, "a").await, Outcome::Served);

    let probed = World::with(policy, Reply::json(jwks(&["a"])));
    assert_eq!(probed.source.status().state(), KeyState::Empty);
    probed.clock.settle().await;
    assert!(probed.source.status().is_ready());
}

#[tokio::test]
async fn cold_10k_one_fetch() {
    let world = World::new(Reply::json(jwks(&["a"])).after(SECOND));
    let requests = requests(&world.source, 10_000, "a");
    world.run(SECOND).await;
    assert!(verdicts(requests).await.iter().all(|verdict| *verdict == Outcome::Served));
    assert_eq!(world.network.calls(), 1);
}

#[tokio::test]
async fn cold_10k_failure_shared_no_convoy() {
    let world = World::new(Reply::hang());
    let waiting = requests(&world.source, 10_000, "a");
    world.run(3 * SECOND).await;
    for verdict in verdicts(waiting).await {
        assert!(matches!(verdict, Outcome::Unavailable(wait) if wait == SECOND), "{verdict:?}");
    }
    assert_eq!(world.network.calls(), 1);
    // Nobody queues up for the retry.
    let late = requests(&world.source, 100, "a");
    world.clock.settle().await;
    assert!(late.iter().all(JoinHandle::is_finished));
    assert_eq!(world.network.calls(), 1);
}

#[tokio::test]
async fn waits_for_at_most_cold_wait() {
    let policy = RefreshPolicy::new().with_cold_wait(2 * SECOND);
    let world = World::with(policy, Reply::hang());
    let waiting = requests(&world.source, 1, "a");
    world.run(Duration::from_millis(1999)).await;
    assert!(!waiting[0].is_finished());
    world.run(Duration::from_millis(1)).await;
    assert_eq!(verdicts(waiting).await, [Outcome::Unavailable(SECOND)]);
}

#[tokio::test]
async fn max_waiters_is_a_limit() {
    let policy = RefreshPolicy::new().with_max_waiters(3);
    let world = World::with(policy, Reply::json(jwks(&["a"])).after(SECOND));
    let waiting = requests(&world.source, 5, "a");
    world.clock.settle().await;
    assert_eq!(waiting.iter().filter(|request| request.is_finished()).count(), 2);
    world.run(SECOND).await;
    let served = verdicts(waiting).await.into_iter().filter(|verdict| *verdict == Outcome::Served).count();
    assert_eq!(served, 3);
    // The places are free again.
    assert_eq!(World::request(&world.source, "a").await, Outcome::Served);
}

#[tokio::test]
async fn a_failing_issuer_is_asked_at_most_12_times_in_the_first_minute_and_heard_within_15_s() {
    let world = World::new(Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    world.run(MINUTE).await;
    assert!((7..=12).contains(&world.network.calls()), "{}", world.network.calls());
    assert_eq!(usize::try_from(world.source.status().consecutive_failures()), Ok(world.network.calls()));
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    assert!(world.serves("a"));
    assert_eq!(world.source.status().consecutive_failures(), 0);
}

/// A set without a usable key is no set to answer from: nobody's key id is unknown, the keys are unavailable.
#[tokio::test]
async fn an_empty_set_at_start_is_no_set() {
    let world = World::new(Reply::json(r#"{"keys":[]}"#));
    for kid in ["a", "zz"] {
        assert!(matches!(World::request(&world.source, kid).await, Outcome::Unavailable(_)), "{kid}");
    }
    assert_eq!(world.source.status().last_error(), Some(RefreshError::NoUsableKeys));
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    assert_eq!(world.ask("a").await, Outcome::Served);
}

#[tokio::test]
async fn tells_when_to_come_back() {
    for retry_after in ["30", "Wed, 21 Oct 2015 07:28:30 GMT"] {
        let reply = Reply::status(StatusCode::SERVICE_UNAVAILABLE);
        let world = World::new(reply.with_header(RETRY_AFTER, retry_after).with_header(DATE, LONG_AGO));
        world.run(10 * SECOND).await;
        assert_eq!(World::request(&world.source, "a").await, Outcome::Unavailable(20 * SECOND), "{retry_after}");
        assert_eq!(world.network.calls_to(URL), 1);
    }
}

#[tokio::test]
async fn retry_after_honoured_clamped() {
    for retry_after in ["86400", "Thu, 22 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let reply = Reply::status(StatusCode::TOO_MANY_REQUESTS);
        let world = World::new(reply.with_header(RETRY_AFTER, retry_after).with_header(DATE, LONG_AGO));
        world.run(299 * SECOND).await;
        assert_eq!(world.network.calls(), 1, "{retry_after}");
        world.run(SECOND).await;
        assert_eq!(world.network.calls(), 2, "{retry_after}");
    }
}

/// Our own wall clock counts no date: it may be wrong, and then nobody would come back for years.
#[tokio::test]
async fn retry_after_as_a_date_needs_the_servers_own() {
    for date in [None, Some("now"), Some("Thu, 22 Oct 2015 07:28:00 GMT")] {
        let reply = Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, LONG_AGO);
        let world = World::new(match date {
            Some(date) => reply.with_header(DATE, date),
            None => reply,
        });
        world.clock.set_wall(Timestamp::EPOCH);
        world.run(SECOND).await;
        assert_eq!(world.network.calls(), 2, "{date:?}: after the pause of any failure");
    }
}

#[tokio::test]
async fn require_mode_waits_through_failures_up_to_its_limit() {
    let world = World::new(Reply::status(StatusCode::NOT_FOUND));
    let patient = tokio::spawn(world.source.ready());
    let hasty = tokio::spawn(world.source.ready_within(SECOND));
    world.run(SECOND).await;
    let refused = hasty.await.expect("no panic").expect_err("no keys yet");
    assert_eq!(refused.last_error.map(|error| error.name()), Some("http_4xx"));
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    assert_eq!(patient.await.expect("no panic"), Ok(()));
}

#[test]
fn no_runtime_at_build() {
    let world = World::new(Reply::json(jwks(&["a"])));
    assert!(matches!(world.source.snapshot(), View::Unavailable));
    assert_eq!(world.source.status().state(), KeyState::Empty);
    assert_eq!(world.network.calls(), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    assert_eq!(runtime.block_on(World::request(&world.source, "a")), Outcome::Served);
}

#[test]
fn without_a_runtime_nobody_waits_in_vain() {
    let world = World::new(Reply::json(jwks(&["a"])));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ready = Box::pin(world.source.ready());
    let refused = match ready.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Err(refused)) => refused,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.last_error.map(|error| error.name()), Some("no_runtime"));
}

#[test]
fn two_runtimes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let world = World::new(Reply::json(jwks(&["a"])));
    let first = runtime();
    assert_eq!(first.block_on(World::request(&world.source, "a")), Outcome::Served);
    drop(first);
    // Keys stay in use, and the next use inside another runtime carries the refresh on.
    assert!(world.serves("a"));
    runtime().block_on(async {
        assert!(world.serves("a"));
        world.run(ONE_REFRESH).await;
        assert_eq!(world.network.calls(), 2);
    });
}

#[test]
fn a_fetch_that_died_with_its_runtime_starts_again_at_once() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let world = World::new(Reply::hang());
    let first = runtime();
    first.block_on(async {
        let _status = world.source.status();
        world.clock.settle().await;
    });
    drop(first);
    assert_eq!((world.network.calls(), world.network.in_flight()), (1, 0));
    world.publish(&["a"]);
    assert_eq!(runtime().block_on(World::request(&world.source, "a")), Outcome::Served);
    assert_eq!(world.source.status().consecutive_failures(), 0);
}
