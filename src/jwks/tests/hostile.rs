//! Backends that break every promise of [`Fetch`], and runtimes that end under load.

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
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::shared::Origin;
use crate::jwks::source::{KeySource, View};
use crate::jwks::tests::kit::{MINUTE, Outcome, SECOND, URL, World, has, jwks};
use crate::testing::{FakeClock, FakeFetch, Reply};
use crate::token::Algorithm;

const TICK: Duration = Duration::from_millis(1);

/// How a backend misbehaves.
#[derive(Clone, Copy, Debug)]
enum Manner {
    PanicsBeforeItStarts,
    PanicsAtTheFirstPoll,
    NeverReady,
    WakesWithoutProgress,
    LongerThanAllowed,
    PanicsWhenDropped,
    /// An octet of the body each second, for ever.
    Drips,
}

/// What `reload()` says of each.
const ALL: [(Manner, RefreshError); 7] = [
    (Manner::PanicsBeforeItStarts, RefreshError::Panic),
    (Manner::PanicsAtTheFirstPoll, RefreshError::Panic),
    (Manner::NeverReady, RefreshError::Timeout),
    (Manner::WakesWithoutProgress, RefreshError::Timeout),
    (Manner::LongerThanAllowed, RefreshError::Network { error: FetchError::TooLarge }),
    (Manner::PanicsWhenDropped, RefreshError::Panic),
    (Manner::Drips, RefreshError::Timeout),
];

/// A backend that is good until it is told otherwise.
#[derive(Debug)]
struct Turncoat {
    good: FakeFetch,
    clock: FakeClock,
    manner: Mutex<Option<Manner>>,
    /// Octets that have dripped.
    dripped: Arc<AtomicUsize>,
}

impl Turncoat {
    fn becomes(&self, manner: Option<Manner>) {
        *self.manner.lock().expect("unpoisoned") = manner;
    }
}

impl Fetch for Turncoat {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        let manner = *self.manner.lock().expect("unpoisoned");
        match manner {
            None => self.good.fetch(request),
            Some(Manner::PanicsBeforeItStarts) => panic!("as scripted: before it starts"),
            Some(Manner::LongerThanAllowed) => {
                let body = Bytes::from(vec![b' '; request.max_bytes + 1]);
                Box::pin(std::future::ready(Ok(FetchResponse::new(StatusCode::OK, HeaderMap::new(), body))))
            }
            Some(Manner::Drips) => {
                let (clock, dripped) = (self.clock.clone(), Arc::clone(&self.dripped));
                Box::pin(async move {
                    loop {
                        clock.sleep_until(clock.monotonic().saturating_add(SECOND)).await;
                        dripped.fetch_add(1, Ordering::Relaxed);
                    }
                })
            }
            Some(manner) => Box::pin(Endless(manner)),
        }
    }
}

/// A fetch that brings nothing.
struct Endless(Manner);

impl Future for Endless {
    type Output = Result<FetchResponse, FetchError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {
            Manner::PanicsAtTheFirstPoll => panic!("as scripted: at the first poll"),
            Manner::WakesWithoutProgress => context.waker().wake_by_ref(),
            _ => {}
        }
        Poll::Pending
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        if matches!(self.0, Manner::PanicsWhenDropped) {
            panic!("as scripted: when dropped");
        }
    }
}

struct Stage {
    clock: FakeClock,
    fetch: Arc<Turncoat>,
    source: KeySource,
}

impl Stage {
    async fn new(manner: Option<Manner>) -> Self {
        Self::with(RefreshPolicy::new(), manner).await
    }

    async fn with(policy: RefreshPolicy, manner: Option<Manner>) -> Self {
        let clock = FakeClock::new();
        let good = FakeFetch::new(&clock);
        good.always(URL, Reply::json(jwks(&["a"])));
        let manner = Mutex::new(manner);
        let fetch = Arc::new(Turncoat { good, clock: clock.clone(), manner, dripped: Arc::default() });
        let origin = Origin::jwks(URL, Endpoint::new(URL).expect("a URL"));
        let backend = Arc::clone(&fetch);
        let source = KeySource::build(origin, &[Algorithm::ES256], policy, backend, Arc::new(clock.clone()));
        clock.settle().await;
        Self { clock, fetch, source }
    }

    fn serves(&self) -> bool {
        match self.source.snapshot() {
            View::Usable(snapshot) => has(&snapshot.table, "a"),
            View::Unavailable => false,
        }
    }

    /// Lets time pass in steps, in each of which the known key is served.
    async fn serves_for(&self, seconds: u32) {
        for second in 0..seconds {
            assert!(self.serves(), "not at {second} s");
            self.clock.run_for(SECOND).await;
        }
    }
}

#[tokio::test]
async fn no_backend_takes_the_keys_away_and_each_is_overcome() {
    for (manner, error) in ALL {
        let stage = Stage::new(None).await;
        stage.fetch.becomes(Some(manner));
        let source = stage.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        stage.serves_for(6).await;
        assert!(reload.is_finished(), "{manner:?} outlives the operation");
        assert_eq!(reload.await.expect("no panic"), Err(error), "{manner:?}");
        stage.serves_for(600).await;
        assert_eq!(stage.source.status().last_error(), Some(error), "{manner:?}");
        assert!(stage.source.status().consecutive_failures() > 5, "{manner:?}");

        stage.fetch.becomes(None);
        stage.clock.run_for(2 * MINUTE).await;
        assert!(stage.serves());
        assert_eq!(stage.source.status().consecutive_failures(), 0, "{manner:?}");
    }
}

#[tokio::test]
async fn no_backend_holds_a_cold_request_longer_than_the_policy_says() {
    for (manner, error) in ALL {
        let stage = Stage::new(Some(manner)).await;
        let requests: Vec<_> = (0..100)
            .map(|_| {
                let source = stage.source.clone();
                tokio::spawn(async move { World::request(&source, "a").await })
            })
            .collect();
        stage.clock.run_for(defaults::COLD_WAIT).await;
        for request in requests {
            assert!(request.is_finished(), "{manner:?}");
            assert!(matches!(request.await.expect("no panic"), Outcome::Unavailable(_)), "{manner:?}");
        }
        assert_eq!(stage.source.status().last_error(), Some(error), "{manner:?}");
        stage.fetch.becomes(None);
        stage.clock.run_for(15 * SECOND).await;
        assert!(stage.serves(), "{manner:?}");
    }
}

/// The limits hold for the body as well: it drips on until the attempt, or the operation, is over, and no longer.
#[tokio::test]
async fn slow_drip_aborted_5s() {
    for limit in [RefreshPolicy::new().attempt_timeout, RefreshPolicy::new().operation_timeout] {
        let stage = Stage::with(RefreshPolicy::new().with_attempt_timeout(limit), None).await;
        stage.fetch.becomes(Some(Manner::Drips));
        let source = stage.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        stage.serves_for(u32::try_from(limit.as_secs()).expect("seconds") - 1).await;
        stage.clock.run_for(SECOND - TICK).await;
        assert!(!reload.is_finished(), "not before {limit:?}");
        stage.fetch.becomes(None);
        stage.clock.run_for(TICK).await;
        assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
        let dripped = stage.fetch.dripped.load(Ordering::Relaxed);
        assert!(dripped >= 2, "{dripped}");
        stage.serves_for(60).await;
        assert_eq!(stage.fetch.dripped.load(Ordering::Relaxed), dripped, "it was dropped at {limit:?}");
    }
}

#[tokio::test]
async fn a_fetch_that_panics_when_dropped_wakes_all_the_same() {
    let task_guard = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = task_guard();
    let stage = Stage::new(Some(Manner::PanicsWhenDropped)).await;
    let waiting = tokio::spawn(stage.source.ready());
    stage.clock.settle().await;
    assert!(!waiting.is_finished());
    drop(stage.source);
    stage.clock.settle().await;
    assert!(waiting.is_finished(), "nobody waits for a source that is gone");
    let refused = waiting.await.expect("no panic").expect_err("closed");
    assert_eq!(refused.last_error, Some(RefreshError::SourceClosed));
    assert_eq!(task_guard(), before, "no task lives on");
}

#[test]
fn waiters_outlive_the_runtime_of_the_driver() {
    let runtime = || Builder::new_current_thread().build().expect("a runtime");
    let end = |runtime: Runtime| drop(runtime);
    let world = World::new(Reply::hang());
    let mut carrier = runtime();
    carrier.block_on(async {
        let _status = world.source.status();
        world.clock.settle().await;
    });
    assert_eq!(world.network.calls(), 1);

    // Each runtime ends with a fetch in flight and a thousand that wait elsewhere, one of which starts it anew.
    let callers = runtime();
    let requests = callers.block_on(async {
        let requests: Vec<_> = (0..1000).map(|_| world.spawn("a")).collect();
        world.clock.settle().await;
        requests
    });
    end(carrier);
    assert_eq!((world.network.calls(), world.network.in_flight()), (1, 0));
    world.answer(Reply::json(jwks(&["a"])).after(SECOND));
    callers.block_on(async {
        world.clock.settle().await;
        assert_eq!((world.network.calls(), world.network.in_flight()), (2, 1), "one of them carries on");
        world.run(SECOND).await;
        for request in requests {
            assert_eq!(request.await.expect("no panic"), Outcome::Served);
        }
    });
    assert_eq!(world.source.status().consecutive_failures(), 0);

    // The same for those who wait for a new key.
    world.answer(Reply::hang());
    end(callers);
    carrier = runtime();
    let callers = runtime();
    carrier.block_on(async {
        assert!(world.serves("a"));
        world.clock.settle().await;
    });
    let requests = callers.block_on(async {
        let requests: Vec<_> = (0..1000).map(|_| world.spawn("b")).collect();
        world.clock.settle().await;
        requests
    });
    carrier.block_on(world.clock.settle());
    assert_eq!(world.network.in_flight(), 1);
    end(carrier);
    world.answer(Reply::json(jwks(&["a", "b"])));
    callers.block_on(async {
        world.clock.settle().await;
        for request in requests {
            assert!(request.is_finished(), "nobody waits in vain");
            assert_eq!(request.await.expect("no panic"), Outcome::Served);
        }
    });
    assert_eq!((world.network.calls(), world.epoch()), (4, 2));
}
