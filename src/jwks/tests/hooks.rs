//! Tests of the event hook: the events that it receives, and what it may do during the call.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use http::StatusCode;
use http::header::ETAG;
use tokio::runtime::{Builder, Runtime};

use crate::clock::{Clock as _, Monotonic};
use crate::fetch::{Endpoint, FetchError};
use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::jwks::events::{KeyEvent, KeyEventKind as Kind, UnknownKidAction};
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::source::KeySource;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Fixture, HOUR, ISSUER, MINUTE, Outcome, SECOND, URL, jwk, jwks, set_of};
use crate::keys::SkipReason;
use crate::testing::{FakeClock, FakeFetch, Reply};

/// The received events, each with the time since the start.
#[derive(Clone)]
struct Recorder {
    clock: FakeClock,
    start: Monotonic,
    events: Arc<Mutex<Vec<(Duration, KeyEvent)>>>,
}

impl Recorder {
    fn new(clock: &FakeClock) -> Self {
        Self { clock: clock.clone(), start: clock.monotonic(), events: Arc::default() }
    }

    fn record(&self, event: &KeyEvent) {
        let at = self.clock.monotonic().saturating_since(self.start);
        self.events.lock().expect("unpoisoned").push((at, event.clone()));
    }

    /// Returns the events since the last call, each with its time.
    fn take(&self) -> Vec<(Duration, Kind)> {
        let events = std::mem::take(&mut *self.events.lock().expect("unpoisoned"));
        assert!(events.iter().all(|(_, event)| event.issuer() == URL), "{events:?}");
        events.into_iter().map(|(at, event)| (at, event.kind())).collect()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.take().into_iter().map(|(_, kind)| kind).collect()
    }
}

/// Creates a source without jitter, whose hook records each event and then calls `then`. The first fetch has not started.
fn fixture_with(reply: Reply, then: impl Fn(&KeyEvent) + Send + Sync + 'static) -> (Fixture, Recorder) {
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    network.always(URL, reply);
    let recorder = Recorder::new(&clock);
    let call = recorder.clone();
    let policy = RefreshPolicy::new().with_jitter_percent(0).with_event_hook(move |event| {
        call.record(event);
        then(event);
    });
    let source = Fixture::source(origin(), policy, &network, &clock);
    (Fixture { clock, network, source }, recorder)
}

fn origin() -> Origin {
    Origin::jwks(URL, Endpoint::new(URL).expect("url"))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn initial(usable: usize) -> Kind {
    Kind::InitialLoad { usable, skipped: 0 }
}

fn unchanged(cause: RefreshCause, epoch: u64, usable: usize) -> Kind {
    Kind::Refreshed { cause, changed: false, epoch, added: 0, removed: 0, usable, skipped: 0 }
}

/// A script of every kind of reply from a reachable server, with exact times.
#[tokio::test]
async fn calls_the_hook_for_every_event_of_a_key_set() {
    let private = jwk("secret-kid", "c").replace('}', r#","d":"AAAA"}"#);
    let (fixture, recorder) = fixture_with(Reply::json(set_of(&[jwk("a", "a"), private])), |_| {});
    fixture.clock.settle().await;
    let expected = [
        Kind::InitialLoad { usable: 1, skipped: 1 },
        Kind::KeySkipped { position: 1, reason: SkipReason::Private, set_rejected: false },
        Kind::PrivateKeyPublished { in_use: false },
    ];
    assert_eq!(recorder.take(), expected.map(|kind| (Duration::ZERO, kind)));

    // One kid now has another key, and one is new.
    let second = set_of(&[jwk("a", "b"), jwk("d", "d")]);
    fixture.answer(Reply::json(second.clone()).with_header(ETAG, "\"2\""));
    fixture.run(240 * SECOND).await;
    let expected = [
        Kind::Refreshed {
            cause: RefreshCause::Scheduled,
            changed: true,
            epoch: 2,
            added: 2,
            removed: 1,
            usable: 2,
            skipped: 0,
        },
        Kind::KeyMaterialChanged { replaced: 1 },
    ];
    assert_eq!(recorder.take(), expected.map(|kind| (240 * SECOND, kind)));

    fixture.answer(Reply::status(StatusCode::NOT_MODIFIED));
    fixture.run(240 * SECOND).await;
    assert_eq!(recorder.take(), [(480 * SECOND, Kind::NotModified { cause: RefreshCause::Scheduled })]);

    fixture.answer(Reply::json(second));
    fixture.source.reload().await.expect("reloaded");
    assert_eq!(recorder.kinds(), [Kind::Reload, unchanged(RefreshCause::Reload, 2, 2)]);

    // The fetch for the unknown kid, and the follow-up fetch at the end of the cool-down.
    assert_eq!(Fixture::request(&fixture.source, "strange-kid").await, Outcome::NotFound);
    fixture.run(SECOND).await;
    let fetched = Kind::UnknownKid { action: UnknownKidAction::Fetched, requests: 1 };
    let expected = [
        (480, unchanged(RefreshCause::UnknownKid, 2, 2)),
        (480, fetched),
        (481, unchanged(RefreshCause::UnknownKid, 2, 2)),
    ];
    assert_eq!(recorder.take(), expected.map(|(at, kind)| (at * SECOND, kind)));

    fixture.answer(Reply::json(r#"{"keys":[]}"#));
    fixture.source.reload().await.expect_err("an empty set");
    let kinds = recorder.kinds();
    let [Kind::Reload, Kind::RefreshFailed { error, consecutive: 1, .. }, Kind::EmptySet] = kinds[..] else {
        panic!("{kinds:?}");
    };
    assert_eq!(error, RefreshError::NoUsableKeys);

    fixture.source.close();
    fixture.source.close();
    assert_eq!(recorder.kinds(), [], "the task notifies");
    fixture.clock.settle().await;
    drop(fixture.source);
    fixture.clock.run_for(HOUR).await;
    assert_eq!(recorder.kinds(), [Kind::Closed], "one event, and none after it");
}

/// Keys that are loaded at the start are refreshed after 240 s, stale after 300 s, and expired after an hour.
#[tokio::test]
async fn calls_the_hook_for_the_events_of_an_outage() {
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["b", "d"])), |_| {});
    fixture.clock.settle().await;
    assert_eq!(recorder.kinds(), [initial(2)]);
    fixture.answer(Reply::error(FetchError::Tls));
    fixture.run(HOUR).await;
    let outage = recorder.take();
    let (failed, freshness_state): (Vec<_>, Vec<_>) =
        outage.into_iter().partition(|(_, kind)| matches!(kind, Kind::RefreshFailed { .. }));
    let stale = Kind::StaleEntered { remaining: HOUR - 5 * MINUTE };
    assert_eq!(freshness_state, [(300 * SECOND, stale), (HOUR, Kind::Expired)]);
    assert!(failed.len() > 10, "{failed:?}");
    let mut due = 240 * SECOND;
    for (number, (at, kind)) in (1..).zip(&failed) {
        let Kind::RefreshFailed { error, consecutive, next_in } = *kind else { unreachable!("partitioned above") };
        assert_eq!((*at, error, consecutive), (due, RefreshError::Network { error: FetchError::Tls }, number));
        due = *at + next_in;
    }

    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    let renewed = Kind::Refreshed {
        cause: RefreshCause::Retry,
        changed: true,
        epoch: 2,
        added: 1,
        removed: 2,
        usable: 1,
        skipped: 0,
    };
    assert_eq!(recorder.kinds(), [renewed, Kind::StaleRecovered]);
}

#[tokio::test]
async fn calls_the_hook_for_a_moved_key_set() {
    let recorder = Arc::new(Mutex::new(Vec::new()));
    let call = Arc::clone(&recorder);
    let policy = RefreshPolicy::new().with_jitter_percent(0).with_event_hook(move |event| {
        call.lock().expect("unpoisoned").push((event.issuer().to_owned(), event.kind().name()));
    });
    let fixture = Fixture::discovered(policy).await;
    fixture.remove_keys().await;
    fixture.move_keys().await;
    let recorder = std::mem::take(&mut *recorder.lock().expect("unpoisoned"));
    assert!(recorder.iter().all(|(issuer, _)| issuer == ISSUER));
    let names: Vec<&str> =
        recorder.into_iter().map(|(_, name)| name).filter(|name| *name != "refresh_failed").collect();
    assert_eq!(names, ["initial_load", "refreshed", "reload", "discovery_failed", "discovery_changed", "refreshed"]);
}

#[tokio::test]
async fn refreshes_keys_and_calls_the_hook_again_after_it_panicked() {
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), |_| panic!("scripted: the hook panics"));
    fixture.clock.settle().await;
    fixture.publish(&["b"]);
    fixture.run(240 * SECOND).await;
    assert!(fixture.serves("b"));
    let renewed = Kind::Refreshed {
        cause: RefreshCause::Scheduled,
        changed: true,
        epoch: 2,
        added: 1,
        removed: 1,
        usable: 1,
        skipped: 0,
    };
    assert_eq!(recorder.take(), [(Duration::ZERO, initial(1)), (240 * SECOND, renewed)]);
    fixture.run(HOUR).await;
    assert_eq!(recorder.take().len(), 15, "one poll every 240 s, as without a hook");
    assert_eq!((fixture.network.calls(), fixture.source.status().consecutive_failures()), (17, 0));
    drop(fixture.source);
    fixture.clock.settle().await;
    assert_eq!(recorder.kinds(), [Kind::Closed]);
}

/// The hook owns the last handle: no lock is held while it is called, and it is not called recursively.
#[tokio::test]
async fn closes_a_source_inside_its_own_hook() {
    for close in [true, false] {
        let slot: Arc<Mutex<Option<KeySource>>> = Arc::default();
        let (within, calls) = (Arc::clone(&slot), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), move |_| {
            let mut slot = within.try_lock().expect("no recursive call");
            if let Some(source) = slot.take() {
                source.revoke_kid("a");
                assert_eq!((source.status().usable_keys(), source.pending_reloads()), (0, 0));
                if close {
                    source.close();
                }
            }
            // At the end, since a panic above would go unnoticed.
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let (clock, network) = (fixture.clock, fixture.network);
        let (cold, ready) = (tokio::spawn(fixture.source.ready_snapshot()), tokio::spawn(fixture.source.ready()));
        *slot.lock().expect("unpoisoned") = Some(fixture.source);
        clock.settle().await;
        assert_eq!(recorder.kinds(), [initial(1), Kind::Closed]);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        let not_ready = ready.await.expect("no panic").expect_err("closed");
        assert_eq!(not_ready.last_error, Some(RefreshError::SourceClosed));
        assert!(cold.await.expect("no panic").is_err());
        clock.run_for(HOUR).await;
        assert_eq!((network.calls(), recorder.kinds()), (1, vec![]), "no task remains");
    }
}

/// A waker that records that it was called.
#[derive(Default)]
struct WakeFlag(AtomicBool);

impl WakeFlag {
    fn was_woken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The keys are in use and the waiters are woken before the hook is called, so a slow hook does not delay them.
#[tokio::test]
async fn wakes_waiters_before_a_slow_hook() {
    let wake_flag = Arc::new(WakeFlag::default());
    let woken = Arc::clone(&wake_flag);
    let slow = Arc::new(Mutex::new(None::<FakeClock>));
    let (within, early) = (Arc::clone(&slow), Arc::new(AtomicBool::new(false)));
    let is_early = Arc::clone(&early);
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), move |_| {
        if !woken.was_woken() {
            is_early.store(true, Ordering::SeqCst);
        }
        if let Some(clock) = within.lock().expect("unpoisoned").take() {
            clock.advance(10 * MINUTE);
        }
    });
    *slow.lock().expect("unpoisoned") = Some(fixture.clock.clone());
    fixture.network.once(URL, Reply::json(jwks(&["a"])).with_delay(SECOND));
    fixture.clock.settle().await;
    let mut waiting = Box::pin(fixture.source.ready());
    let waker = Waker::from(Arc::clone(&wake_flag));
    assert_eq!(waiting.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    fixture.run(SECOND).await;
    assert_eq!(waiting.await, Ok(()));
    assert!(!early.load(Ordering::SeqCst), "waiters are woken first");
    // The keys became stale during the ten minutes of the call; the overdue fetch starts at once.
    let late = SECOND + 10 * MINUTE;
    let stale = Kind::StaleEntered { remaining: HOUR - 10 * MINUTE };
    let expected = [(late, stale), (late, unchanged(RefreshCause::Scheduled, 1, 1)), (late, Kind::StaleRecovered)];
    assert_eq!(recorder.take()[1..], expected);
    assert_eq!((fixture.network.calls(), fixture.source.status().state()), (2, KeyState::Fresh));
}

/// Every request with an unknown kid is counted, but the hook is called at most once a second for each action.
#[tokio::test]
async fn calls_the_hook_once_a_second_in_a_flood_of_unknown_kids() {
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), |_| {});
    fixture.clock.settle().await;
    let mut sent = 0;
    for _ in 0..300 {
        for _ in 0..20 {
            assert_eq!(fixture.request_now(format!("strange-{sent}")).await, Outcome::NotFound);
            sent += 1;
        }
        fixture.run(SECOND / 10).await;
    }
    fixture.run(SECOND).await;
    let unknown_kids: Vec<(Duration, UnknownKidAction, u64)> = recorder
        .take()
        .into_iter()
        .filter_map(|(at, kind)| match kind {
            Kind::UnknownKid { action, requests } => Some((at, action, requests)),
            _ => None,
        })
        .collect();
    assert_eq!(unknown_kids.iter().map(|(_, _, requests)| requests).sum::<u64>(), sent);
    assert_eq!(unknown_kids[0], (Duration::ZERO, UnknownKidAction::Fetched, 1));
    for action in [UnknownKidAction::Fetched, UnknownKidAction::Cooldown] {
        let times: Vec<Duration> = unknown_kids.iter().filter(|event| event.1 == action).map(|event| event.0).collect();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SECOND), "{action:?}: {times:?}");
    }
    let first_cooldown = unknown_kids.iter().find(|event| event.1 == UnknownKidAction::Cooldown);
    assert!(first_cooldown.is_some_and(|event| event.2 > 100), "it applies to most requests: {unknown_kids:?}");
    assert!((30..=40).contains(&unknown_kids.len()), "{unknown_kids:?}");
}

#[tokio::test]
async fn reports_counted_unknown_kids_before_the_close() {
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), |_| {});
    fixture.clock.settle().await;
    for kid in ["c", "d", "other", "c"] {
        assert_eq!(fixture.request_now(kid).await, Outcome::NotFound);
    }
    fixture.source.close();
    fixture.clock.settle().await;
    let unknown_kid = |action, requests| Kind::UnknownKid { action, requests };
    let expected = [
        initial(1),
        unchanged(RefreshCause::UnknownKid, 1, 1),
        unknown_kid(UnknownKidAction::Fetched, 1),
        unknown_kid(UnknownKidAction::Cooldown, 2),
        unknown_kid(UnknownKidAction::Absent, 1),
        Kind::Closed,
    ];
    assert_eq!(recorder.kinds(), expected);
}

/// If no task has ever run, `close` itself notifies.
#[test]
fn notifies_of_the_close_without_a_runtime() {
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), |_| {});
    let clone = fixture.source.clone();
    drop(fixture.source);
    assert_eq!(recorder.kinds(), []);
    clone.close();
    assert_eq!(recorder.kinds(), [Kind::Closed]);
    drop(clone);
    let runtime = runtime();
    runtime.block_on(fixture.clock.run_for(HOUR));
    assert_eq!((recorder.kinds(), fixture.network.calls()), (vec![], 0));
}

/// The source is closed, and its runtime ends before the task runs again.
#[test]
fn notifies_of_the_close_when_the_task_ends_with_its_runtime() {
    let driver_runtime = runtime();
    let (fixture, recorder) = driver_runtime.block_on(async { fixture_with(Reply::hang(), |_| {}) });
    driver_runtime.block_on(fixture.clock.settle());
    fixture.source.close();
    assert_eq!((recorder.kinds(), fixture.network.in_flight()), (vec![], 1));
    drop(driver_runtime);
    assert_eq!((recorder.kinds(), fixture.network.in_flight()), (vec![Kind::Closed], 0));
    assert_eq!(fixture.source.status().state(), KeyState::Closed);
}

/// The source is closed before the first poll of its task, and with the first fetch in flight.
#[tokio::test]
async fn ignores_the_fetch_in_flight_after_the_close() {
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), |_| {});
    fixture.source.close();
    fixture.clock.settle().await;
    assert_eq!((recorder.kinds(), fixture.network.calls()), (vec![Kind::Closed], 0));

    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])).with_delay(SECOND), |_| {});
    fixture.clock.settle().await;
    fixture.clock.advance(SECOND);
    fixture.source.close();
    fixture.clock.settle().await;
    assert_eq!((recorder.kinds(), fixture.network.calls()), (vec![Kind::Closed], 1));
    assert_eq!((fixture.epoch(), fixture.source.status().state()), (0, KeyState::Closed));

    // The keys expired before the end, and the task had not run since.
    let (fixture, recorder) = fixture_with(Reply::json(jwks(&["a"])), |_| {});
    fixture.clock.settle().await;
    fixture.clock.advance(2 * HOUR);
    fixture.source.close();
    fixture.clock.settle().await;
    assert_eq!(recorder.kinds(), [initial(1), Kind::Expired, Kind::Closed]);
}

/// A waker that closes a source.
struct Closer(Mutex<Option<KeySource>>);

impl Wake for Closer {
    fn wake(self: Arc<Self>) {
        let source = self.0.lock().expect("unpoisoned").take();
        source.inspect(KeySource::close);
    }
}

/// A waiter that an ending task wakes closes the source: no task runs any more, so `close` itself notifies.
#[test]
fn notifies_once_when_closed_while_the_task_ends() {
    let callers = runtime();
    let slot: Arc<Mutex<Option<KeySource>>> = Arc::default();
    let waiting: Arc<Mutex<Option<Waiting<_>>>> = Arc::default();
    let (elsewhere, within, waits) = (callers.handle().clone(), Arc::clone(&slot), Arc::clone(&waiting));
    let (fixture, recorder) = fixture_with(Reply::hang(), move |_| {
        let Some(source) = within.lock().expect("unpoisoned").take() else { return };
        let _entered = elsewhere.enter();
        let mut ready: Waiting<_> = Box::pin(source.ready());
        let waker = Waker::from(Arc::new(Closer(Mutex::new(Some(source)))));
        assert_eq!(ready.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        *waits.lock().expect("unpoisoned") = Some(ready);
    });
    *slot.lock().expect("unpoisoned") = Some(fixture.source.clone());
    for _ in 0..2 {
        let driver_runtime = runtime();
        driver_runtime.block_on(async {
            let _started = fixture.source.status();
            fixture.clock.settle().await;
        });
    }
    let kinds = recorder.kinds();
    let interrupted = RefreshError::Interrupted;
    assert!(
        matches!(kinds[..], [Kind::RefreshFailed { error, .. }, Kind::Closed] if error == interrupted),
        "{kinds:?}"
    );
    assert_eq!(fixture.source.status().state(), KeyState::Closed);
    drop(waiting);
}

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The calls that the hook makes while a task ends but still counts as running.
#[derive(Default)]
struct LateCalls {
    source: Option<KeySource>,
    ready: Option<Waiting<Result<(), crate::jwks::NotReadyError>>>,
    reload: Option<Waiting<Result<(), RefreshError>>>,
}

/// The hook is called while a task ends. A waiter that starts then is woken, and a reload is answered.
#[test]
fn completes_calls_made_while_a_task_ends() {
    let callers = runtime();
    let (elsewhere, wake_flag) = (callers.handle().clone(), Arc::new(WakeFlag::default()));
    let late_calls: Arc<Mutex<LateCalls>> = Arc::default();
    let (within, waker) = (Arc::clone(&late_calls), Waker::from(Arc::clone(&wake_flag)));
    let (fixture, recorder) = fixture_with(Reply::hang(), move |_| {
        let mut late = within.lock().expect("unpoisoned");
        let Some(source) = late.source.take() else { return };
        let _entered = elsewhere.enter();
        let mut ready: Waiting<_> = Box::pin(source.ready());
        assert_eq!(ready.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        let mut reload: Waiting<_> = Box::pin(async move { source.reload().await });
        assert_eq!(reload.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        (late.ready, late.reload) = (Some(ready), Some(reload));
    });
    late_calls.lock().expect("unpoisoned").source = Some(fixture.source.clone());
    // The first end of a runtime is not reported as a failure, the second is.
    for _ in 0..2 {
        assert_eq!(recorder.kinds(), []);
        let driver_runtime = runtime();
        driver_runtime.block_on(async {
            let _started = fixture.source.status();
            fixture.clock.settle().await;
        });
        assert_eq!(fixture.network.in_flight(), 1);
        drop(driver_runtime);
    }
    let kinds = recorder.kinds();
    assert!(matches!(kinds[..], [Kind::RefreshFailed { error: RefreshError::Interrupted, .. }]), "{kinds:?}");
    let mut late = std::mem::take(&mut *late_calls.lock().expect("unpoisoned"));
    assert!(wake_flag.was_woken(), "the waiter is woken to start the next task");
    let reload = late.reload.as_mut().expect("the hook was called").as_mut();
    let answer = reload.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(answer, Poll::Ready(Err(RefreshError::Interrupted)));
    fixture.answer(Reply::json(jwks(&["a"])));
    callers.block_on(async {
        let ready = tokio::spawn(late.ready.take().expect("the hook was called"));
        fixture.run(SECOND).await;
        assert_eq!(ready.await.expect("no panic"), Ok(()));
    });
}
