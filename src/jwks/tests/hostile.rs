//! Tests of `Fetch` implementations that break the contract of [`Fetch`], and of runtimes that end under load.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::runtime::{Builder, Runtime};

use crate::clock::Clock as _;
use crate::defaults;
use crate::fetch::{Endpoint, Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse};
use crate::jwks::error::RefreshError;
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::shared::Imports;
use crate::jwks::source::{KeySource, View};
use crate::jwks::tests::kit::{Fixture, MINUTE, Outcome, SECOND, URL, has, jwks};
use crate::testing::{FakeClock, FakeFetch, Reply};
use crate::token::Algorithm;

const TICK: Duration = Duration::from_millis(1);

/// A way in which a client breaks the contract.
#[derive(Clone, Copy, Debug)]
enum Misbehavior {
    PanicsBeforeItStarts,
    PanicsAtTheFirstPoll,
    NeverReady,
    WakesWithoutProgress,
    LongerThanAllowed,
    PanicsWhenDropped,
    /// Receives one byte of the body each second, without end.
    Drips,
}

/// Each misbehavior with the error that `reload()` returns.
const ALL: [(Misbehavior, RefreshError); 7] = [
    (Misbehavior::PanicsBeforeItStarts, RefreshError::Panic),
    (Misbehavior::PanicsAtTheFirstPoll, RefreshError::Panic),
    (Misbehavior::NeverReady, RefreshError::Timeout),
    (Misbehavior::WakesWithoutProgress, RefreshError::Timeout),
    (Misbehavior::LongerThanAllowed, RefreshError::Network { error: FetchError::TooLarge }),
    (Misbehavior::PanicsWhenDropped, RefreshError::Panic),
    (Misbehavior::Drips, RefreshError::Timeout),
];

/// A client that works until a misbehavior is set.
#[derive(Debug)]
struct FaultyFetch {
    good: FakeFetch,
    clock: FakeClock,
    misbehavior: Mutex<Option<Misbehavior>>,
    /// Number of bytes that [`Misbehavior::Drips`] has received.
    received: Arc<AtomicUsize>,
}

impl FaultyFetch {
    fn set_misbehavior(&self, misbehavior: Option<Misbehavior>) {
        *self.misbehavior.lock().expect("unpoisoned") = misbehavior;
    }
}

impl Fetch for FaultyFetch {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        let misbehavior = *self.misbehavior.lock().expect("unpoisoned");
        match misbehavior {
            None => self.good.fetch(request),
            Some(Misbehavior::PanicsBeforeItStarts) => panic!("scripted: before it starts"),
            Some(Misbehavior::LongerThanAllowed) => {
                let body = Bytes::from(vec![b' '; request.max_bytes + 1]);
                Box::pin(std::future::ready(Ok(FetchResponse::new(StatusCode::OK, HeaderMap::new(), body))))
            }
            Some(Misbehavior::Drips) => {
                let (clock, received) = (self.clock.clone(), Arc::clone(&self.received));
                Box::pin(async move {
                    loop {
                        clock.sleep_until(clock.monotonic().saturating_add(SECOND)).await;
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                })
            }
            Some(misbehavior) => Box::pin(Endless(misbehavior)),
        }
    }
}

/// A fetch that never completes.
struct Endless(Misbehavior);

impl Future for Endless {
    type Output = Result<FetchResponse, FetchError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {
            Misbehavior::PanicsAtTheFirstPoll => panic!("scripted: at the first poll"),
            Misbehavior::WakesWithoutProgress => context.waker().wake_by_ref(),
            _ => {}
        }
        Poll::Pending
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        if matches!(self.0, Misbehavior::PanicsWhenDropped) {
            panic!("scripted: when dropped");
        }
    }
}

struct HostileFixture {
    clock: FakeClock,
    fetch: Arc<FaultyFetch>,
    source: KeySource,
}

impl HostileFixture {
    async fn new(misbehavior: Option<Misbehavior>) -> Self {
        Self::with(RefreshPolicy::new(), misbehavior).await
    }

    async fn with(policy: RefreshPolicy, misbehavior: Option<Misbehavior>) -> Self {
        let clock = FakeClock::new();
        let good = FakeFetch::new(&clock);
        good.always(URL, Reply::json(jwks(&["a"])));
        let misbehavior = Mutex::new(misbehavior);
        let fetch = Arc::new(FaultyFetch { good, clock: clock.clone(), misbehavior, received: Arc::default() });
        let origin = Origin::jwks(URL, Endpoint::new(URL).expect("a URL"));
        let backend = Arc::clone(&fetch);
        let source =
            KeySource::build(origin, &[Algorithm::ES256], policy, backend, Arc::new(clock.clone()), Imports::default());
        clock.settle().await;
        Self { clock, fetch, source }
    }

    fn serves(&self) -> bool {
        match self.source.snapshot() {
            View::Usable(snapshot) => has(&snapshot.table, "a"),
            View::Unavailable => false,
        }
    }

    /// Advances the time in steps of a second, and asserts at each that the known key is served.
    async fn serves_for(&self, seconds: u32) {
        for second in 0..seconds {
            assert!(self.serves(), "not at {second} s");
            self.clock.run_for(SECOND).await;
        }
    }
}

#[tokio::test]
async fn keeps_keys_and_recovers_from_every_misbehavior() {
    for (misbehavior, error) in ALL {
        let fixture = HostileFixture::new(None).await;
        fixture.fetch.set_misbehavior(Some(misbehavior));
        let source = fixture.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        fixture.serves_for(6).await;
        assert!(reload.is_finished(), "{misbehavior:?} runs longer than the operation");
        assert_eq!(reload.await.expect("no panic"), Err(error), "{misbehavior:?}");
        fixture.serves_for(600).await;
        assert_eq!(fixture.source.status().last_error(), Some(error), "{misbehavior:?}");
        assert!(fixture.source.status().consecutive_failures() > 5, "{misbehavior:?}");

        fixture.fetch.set_misbehavior(None);
        fixture.clock.run_for(2 * MINUTE).await;
        assert!(fixture.serves());
        assert_eq!(fixture.source.status().consecutive_failures(), 0, "{misbehavior:?}");
    }
}

#[tokio::test]
async fn cold_requests_wait_at_most_cold_wait_for_every_misbehavior() {
    for (misbehavior, error) in ALL {
        let fixture = HostileFixture::new(Some(misbehavior)).await;
        let requests: Vec<_> = (0..100)
            .map(|_| {
                let source = fixture.source.clone();
                tokio::spawn(async move { Fixture::request(&source, "a").await })
            })
            .collect();
        fixture.clock.run_for(defaults::COLD_WAIT).await;
        for request in requests {
            assert!(request.is_finished(), "{misbehavior:?}");
            assert!(matches!(request.await.expect("no panic"), Outcome::Unavailable(_)), "{misbehavior:?}");
        }
        assert_eq!(fixture.source.status().last_error(), Some(error), "{misbehavior:?}");
        fixture.fetch.set_misbehavior(None);
        fixture.clock.run_for(15 * SECOND).await;
        assert!(fixture.serves(), "{misbehavior:?}");
    }
}

/// The timeouts of the attempt and the operation include the body: the fetch is dropped when one of them ends.
#[tokio::test]
async fn aborts_a_slow_body_at_the_timeout() {
    for limit in [RefreshPolicy::new().attempt_timeout, RefreshPolicy::new().operation_timeout] {
        let fixture = HostileFixture::with(RefreshPolicy::new().with_attempt_timeout(limit), None).await;
        fixture.fetch.set_misbehavior(Some(Misbehavior::Drips));
        let source = fixture.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        fixture.serves_for(u32::try_from(limit.as_secs()).expect("seconds") - 1).await;
        fixture.clock.run_for(SECOND - TICK).await;
        assert!(!reload.is_finished(), "not before {limit:?}");
        fixture.fetch.set_misbehavior(None);
        fixture.clock.run_for(TICK).await;
        assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
        let received = fixture.fetch.received.load(Ordering::Relaxed);
        assert!(received >= 2, "{received}");
        fixture.serves_for(60).await;
        assert_eq!(fixture.fetch.received.load(Ordering::Relaxed), received, "it was dropped at {limit:?}");
    }
}

#[tokio::test]
async fn wakes_waiters_when_a_fetch_panics_on_drop() {
    let alive_tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive_tasks();
    let fixture = HostileFixture::new(Some(Misbehavior::PanicsWhenDropped)).await;
    let waiting = tokio::spawn(fixture.source.ready());
    fixture.clock.settle().await;
    assert!(!waiting.is_finished());
    drop(fixture.source);
    fixture.clock.settle().await;
    assert!(waiting.is_finished(), "no request waits for a dropped source");
    let not_ready = waiting.await.expect("no panic").expect_err("closed");
    assert_eq!(not_ready.last_error, Some(RefreshError::SourceClosed));
    assert_eq!(alive_tasks(), before, "no task remains");
}

#[test]
fn serves_waiters_after_the_runtime_of_the_driver_ended() {
    let runtime = || Builder::new_current_thread().build().expect("a runtime");
    let end = |runtime: Runtime| drop(runtime);
    let fixture = Fixture::new(Reply::hang());
    let mut driver_runtime = runtime();
    driver_runtime.block_on(async {
        let _status = fixture.source.status();
        fixture.clock.settle().await;
    });
    assert_eq!(fixture.network.calls(), 1);

    // Each runtime ends with a fetch in flight and a thousand requests waiting in another, one of which restarts it.
    let callers = runtime();
    let requests = callers.block_on(async {
        let requests: Vec<_> = (0..1000).map(|_| fixture.spawn("a")).collect();
        fixture.clock.settle().await;
        requests
    });
    end(driver_runtime);
    assert_eq!((fixture.network.calls(), fixture.network.in_flight()), (1, 0));
    fixture.answer(Reply::json(jwks(&["a"])).with_delay(SECOND));
    callers.block_on(async {
        fixture.clock.settle().await;
        assert_eq!((fixture.network.calls(), fixture.network.in_flight()), (2, 1), "one of them starts a new fetch");
        fixture.run(SECOND).await;
        for request in requests {
            assert_eq!(request.await.expect("no panic"), Outcome::Served);
        }
    });
    assert_eq!(fixture.source.status().consecutive_failures(), 0);

    // The same for requests that wait for a new key.
    fixture.answer(Reply::hang());
    end(callers);
    driver_runtime = runtime();
    let callers = runtime();
    driver_runtime.block_on(async {
        assert!(fixture.serves("a"));
        fixture.clock.settle().await;
    });
    let requests = callers.block_on(async {
        let requests: Vec<_> = (0..1000).map(|_| fixture.spawn("b")).collect();
        fixture.clock.settle().await;
        requests
    });
    driver_runtime.block_on(fixture.clock.settle());
    assert_eq!(fixture.network.in_flight(), 1);
    end(driver_runtime);
    fixture.answer(Reply::json(jwks(&["a", "b"])));
    callers.block_on(async {
        fixture.clock.settle().await;
        for request in requests {
            assert!(request.is_finished(), "no request waits without a fetch");
            assert_eq!(request.await.expect("no panic"), Outcome::Served);
        }
    });
    assert_eq!((fixture.network.calls(), fixture.epoch()), (4, 2));
}
