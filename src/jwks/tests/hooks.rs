//! What an application's hook hears, and what it may do meanwhile.

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
use crate::jwks::error::RefreshError;
use crate::jwks::events::{KeyEvent, KeyEventKind as Kind, UnknownKidAction};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::Cause;
use crate::jwks::shared::Origin;
use crate::jwks::source::KeySource;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{HOUR, ISSUER, MINUTE, Outcome, SECOND, URL, World, jwk, jwks, set_of};
use crate::keys::SkipReason;
use crate::testing::{FakeClock, FakeFetch, Reply};

/// Everything that was heard, with the time since the start.
#[derive(Clone)]
struct Heard {
    clock: FakeClock,
    start: Monotonic,
    events: Arc<Mutex<Vec<(Duration, KeyEvent)>>>,
}

impl Heard {
    fn new(clock: &FakeClock) -> Self {
        Self { clock: clock.clone(), start: clock.monotonic(), events: Arc::default() }
    }

    fn hear(&self, event: &KeyEvent) {
        let at = self.clock.monotonic().saturating_since(self.start);
        self.events.lock().expect("unpoisoned").push((at, event.clone()));
    }

    /// What was heard since the last call, with the time.
    fn take(&self) -> Vec<(Duration, Kind)> {
        let events = std::mem::take(&mut *self.events.lock().expect("unpoisoned"));
        assert!(events.iter().all(|(_, event)| event.issuer() == URL), "{events:?}");
        events.into_iter().map(|(at, event)| (at, event.kind())).collect()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.take().into_iter().map(|(_, kind)| kind).collect()
    }
}

/// A source without jitter, whose hook hears everything and then does `then`; its first fetch is not made yet.
fn world_with(reply: Reply, then: impl Fn(&KeyEvent) + Send + Sync + 'static) -> (World, Heard) {
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    network.always(URL, reply);
    let heard = Heard::new(&clock);
    let call = heard.clone();
    let policy = RefreshPolicy::new().with_jitter_percent(0).with_event_hook(move |event| {
        call.hear(event);
        then(event);
    });
    let source = World::source(origin(), policy, &network, &clock);
    (World { clock, network, source }, heard)
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

fn unchanged(cause: Cause, epoch: u64, usable: usize) -> Kind {
    Kind::Refreshed { cause, changed: false, epoch, added: 0, removed: 0, usable, skipped: 0 }
}

/// A script of everything that a server that answers can do, to the second.
#[tokio::test]
async fn the_hook_hears_the_life_of_a_key_set() {
    let private = jwk("secret-kid", "c").replace('}', r#","d":"AAAA"}"#);
    let (world, heard) = world_with(Reply::json(set_of(&[jwk("a", "a"), private])), |_| {});
    world.clock.settle().await;
    let expected = [
        Kind::InitialLoad { usable: 1, skipped: 1 },
        Kind::KeySkipped { position: 1, reason: SkipReason::Private, set_refused: false },
        Kind::PrivateKeyPublished { in_use: false },
    ];
    assert_eq!(heard.take(), expected.map(|kind| (Duration::ZERO, kind)));

    // One id stands for another key, and one is new.
    let second = set_of(&[jwk("a", "b"), jwk("d", "d")]);
    world.answer(Reply::json(second.clone()).with_header(ETAG, "\"2\""));
    world.run(240 * SECOND).await;
    let expected = [
        Kind::Refreshed {
            cause: Cause::Scheduled,
            changed: true,
            epoch: 2,
            added: 2,
            removed: 1,
            usable: 2,
            skipped: 0,
        },
        Kind::KeyMaterialChanged { replaced: 1 },
    ];
    assert_eq!(heard.take(), expected.map(|kind| (240 * SECOND, kind)));

    world.answer(Reply::status(StatusCode::NOT_MODIFIED));
    world.run(240 * SECOND).await;
    assert_eq!(heard.take(), [(480 * SECOND, Kind::NotModified { cause: Cause::Scheduled })]);

    world.answer(Reply::json(second));
    world.source.reload().await.expect("reloaded");
    assert_eq!(heard.kinds(), [Kind::Reload, unchanged(Cause::Manual, 2, 2)]);

    // The fetch of the miss, and the one at the end of the cool-down.
    assert_eq!(World::request(&world.source, "strange-kid").await, Outcome::NotFound);
    world.run(SECOND).await;
    let fetched = Kind::UnknownKid { action: UnknownKidAction::Fetched, requests: 1 };
    let expected =
        [(480, unchanged(Cause::UnknownKid, 2, 2)), (480, fetched), (481, unchanged(Cause::UnknownKid, 2, 2))];
    assert_eq!(heard.take(), expected.map(|(at, kind)| (at * SECOND, kind)));

    world.answer(Reply::json(r#"{"keys":[]}"#));
    world.source.reload().await.expect_err("an empty set");
    let kinds = heard.kinds();
    let [Kind::Reload, Kind::RefreshFailed { error, consecutive: 1, .. }, Kind::EmptySet] = kinds[..] else {
        panic!("{kinds:?}");
    };
    assert_eq!(error, RefreshError::NoUsableKeys);

    world.source.close();
    world.source.close();
    assert_eq!(heard.kinds(), [], "the task tells it");
    world.clock.settle().await;
    drop(world.source);
    world.clock.run_for(HOUR).await;
    assert_eq!(heard.kinds(), [Kind::Closed], "once, and nothing after it");
}

/// Keys that were confirmed at the start are fetched again after 240 s, stale after 300 s, and expired after an hour.
#[tokio::test]
async fn the_hook_hears_an_outage() {
    let (world, heard) = world_with(Reply::json(jwks(&["b", "d"])), |_| {});
    world.clock.settle().await;
    assert_eq!(heard.kinds(), [initial(2)]);
    world.answer(Reply::error(FetchError::Tls));
    world.run(HOUR).await;
    let outage = heard.take();
    let (failed, freshness_state): (Vec<_>, Vec<_>) =
        outage.into_iter().partition(|(_, kind)| matches!(kind, Kind::RefreshFailed { .. }));
    let stale = Kind::StaleEntered { remaining: HOUR - 5 * MINUTE };
    assert_eq!(freshness_state, [(300 * SECOND, stale), (HOUR, Kind::Expired)]);
    assert!(failed.len() > 10, "{failed:?}");
    let mut due = 240 * SECOND;
    for (number, (at, kind)) in (1..).zip(&failed) {
        let Kind::RefreshFailed { error, consecutive, next_in } = *kind else { unreachable!("sorted out above") };
        assert_eq!((*at, error, consecutive), (due, RefreshError::Network { error: FetchError::Tls }, number));
        due = *at + next_in;
    }

    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    let renewed =
        Kind::Refreshed { cause: Cause::Retry, changed: true, epoch: 2, added: 1, removed: 2, usable: 1, skipped: 0 };
    assert_eq!(heard.kinds(), [renewed, Kind::StaleRecovered]);
}

#[tokio::test]
async fn the_hook_hears_where_the_keys_have_gone() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let call = Arc::clone(&heard);
    let policy = RefreshPolicy::new().with_jitter_percent(0).with_event_hook(move |event| {
        call.lock().expect("unpoisoned").push((event.issuer().to_owned(), event.kind().name()));
    });
    let world = World::discovered(policy).await;
    world.lose_keys().await;
    world.move_keys().await;
    let heard = std::mem::take(&mut *heard.lock().expect("unpoisoned"));
    assert!(heard.iter().all(|(whose, _)| whose == ISSUER));
    let names: Vec<&str> = heard.into_iter().map(|(_, name)| name).filter(|name| *name != "refresh_failed").collect();
    assert_eq!(names, ["initial_load", "refreshed", "reload", "discovery_failed", "discovery_changed", "refreshed"]);
}

#[tokio::test]
async fn a_hook_that_panics_is_called_again_and_keys_are_renewed() {
    let (world, heard) = world_with(Reply::json(jwks(&["a"])), |_| panic!("as scripted: the hook panics"));
    world.clock.settle().await;
    world.publish(&["b"]);
    world.run(240 * SECOND).await;
    assert!(world.serves("b"));
    let renewed = Kind::Refreshed {
        cause: Cause::Scheduled,
        changed: true,
        epoch: 2,
        added: 1,
        removed: 1,
        usable: 1,
        skipped: 0,
    };
    assert_eq!(heard.take(), [(Duration::ZERO, initial(1)), (240 * SECOND, renewed)]);
    world.run(HOUR).await;
    assert_eq!(heard.take().len(), 15, "one poll every 240 s, as without a hook");
    assert_eq!((world.network.calls(), world.source.status().consecutive_failures()), (17, 0));
    drop(world.source);
    world.clock.settle().await;
    assert_eq!(heard.kinds(), [Kind::Closed]);
}

/// Of one handle that the hook holds itself: nothing is locked while it is called, and it is not called within itself.
#[tokio::test]
async fn a_hook_may_end_its_own_source() {
    for close in [true, false] {
        let slot: Arc<Mutex<Option<KeySource>>> = Arc::default();
        let (within, calls) = (Arc::clone(&slot), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        let (world, heard) = world_with(Reply::json(jwks(&["a"])), move |_| {
            let mut slot = within.try_lock().expect("no call within a call");
            if let Some(source) = slot.take() {
                source.revoke_kid("a");
                assert_eq!((source.status().usable_keys(), source.pending_reloads()), (0, 0));
                if close {
                    source.close();
                }
            }
            // Last, since nobody hears of a panic.
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let (clock, network) = (world.clock, world.network);
        let (cold, ready) = (tokio::spawn(world.source.ready_snapshot()), tokio::spawn(world.source.ready()));
        *slot.lock().expect("unpoisoned") = Some(world.source);
        clock.settle().await;
        assert_eq!(heard.kinds(), [initial(1), Kind::Closed]);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        let refused = ready.await.expect("no panic").expect_err("closed");
        assert_eq!(refused.last_error, Some(RefreshError::SourceClosed));
        assert!(cold.await.expect("no panic").is_err());
        clock.run_for(HOUR).await;
        assert_eq!((network.calls(), heard.kinds()), (1, vec![]), "nothing runs on");
    }
}

/// Woken by whatever it waits for.
#[derive(Default)]
struct Bell(AtomicBool);

impl Bell {
    fn was_woken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// However long it takes: what it is told of is in use, and who waited for it goes on.
#[tokio::test]
async fn a_slow_hook_keeps_nobody_waiting() {
    let bell = Arc::new(Bell::default());
    let rang = Arc::clone(&bell);
    let slow = Arc::new(Mutex::new(None::<FakeClock>));
    let (within, early) = (Arc::clone(&slow), Arc::new(AtomicBool::new(false)));
    let is_early = Arc::clone(&early);
    let (world, heard) = world_with(Reply::json(jwks(&["a"])), move |_| {
        if !rang.was_woken() {
            is_early.store(true, Ordering::SeqCst);
        }
        if let Some(clock) = within.lock().expect("unpoisoned").take() {
            clock.advance(10 * MINUTE);
        }
    });
    *slow.lock().expect("unpoisoned") = Some(world.clock.clone());
    world.network.once(URL, Reply::json(jwks(&["a"])).after(SECOND));
    world.clock.settle().await;
    let mut waiting = Box::pin(world.source.ready());
    let waker = Waker::from(Arc::clone(&bell));
    assert_eq!(waiting.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    world.run(SECOND).await;
    assert_eq!(waiting.await, Ok(()));
    assert!(!early.load(Ordering::SeqCst), "waiters are told first");
    // Its ten minutes have let the keys grow stale; the fetch that was due meanwhile is made at once.
    let late = SECOND + 10 * MINUTE;
    let stale = Kind::StaleEntered { remaining: HOUR - 10 * MINUTE };
    let expected = [(late, stale), (late, unchanged(Cause::Scheduled, 1, 1)), (late, Kind::StaleRecovered)];
    assert_eq!(heard.take()[1..], expected);
    assert_eq!((world.network.calls(), world.source.status().state()), (2, KeyState::Fresh));
}

/// A flood of strangers' key ids: every miss is counted, and few calls are made.
#[tokio::test]
async fn a_flood_of_misses_calls_the_hook_once_a_second() {
    let (world, heard) = world_with(Reply::json(jwks(&["a"])), |_| {});
    world.clock.settle().await;
    let mut asked = 0;
    for _ in 0..300 {
        for _ in 0..20 {
            assert_eq!(world.ask("strange-kid").await, Outcome::NotFound);
            asked += 1;
        }
        world.run(SECOND / 10).await;
    }
    world.run(SECOND).await;
    let unknown_kids: Vec<(Duration, UnknownKidAction, u64)> = heard
        .take()
        .into_iter()
        .filter_map(|(at, kind)| match kind {
            Kind::UnknownKid { action, requests } => Some((at, action, requests)),
            _ => None,
        })
        .collect();
    assert_eq!(unknown_kids.iter().map(|(_, _, requests)| requests).sum::<u64>(), asked);
    assert_eq!(unknown_kids[0], (Duration::ZERO, UnknownKidAction::Fetched, 1));
    for action in [UnknownKidAction::Fetched, UnknownKidAction::Cooldown] {
        let last_reported: Vec<Duration> =
            unknown_kids.iter().filter(|miss| miss.1 == action).map(|miss| miss.0).collect();
        assert!(last_reported.windows(2).all(|pair| pair[1] - pair[0] >= SECOND), "{action:?}: {last_reported:?}");
    }
    // From the second second on 200 requests a second, each of which finds the cool-down running.
    assert_eq!(unknown_kids[2], (2 * SECOND, UnknownKidAction::Cooldown, 200));
    assert!((30..=40).contains(&unknown_kids.len()), "{unknown_kids:?}");
}

#[tokio::test]
async fn misses_under_way_are_told_before_the_end() {
    let (world, heard) = world_with(Reply::json(jwks(&["a"])), |_| {});
    world.clock.settle().await;
    for _ in 0..3 {
        assert_eq!(world.ask("strange-kid").await, Outcome::NotFound);
    }
    world.source.close();
    world.clock.settle().await;
    let miss = |action, requests| Kind::UnknownKid { action, requests };
    let expected = [
        initial(1),
        unchanged(Cause::UnknownKid, 1, 1),
        miss(UnknownKidAction::Fetched, 1),
        miss(UnknownKidAction::Cooldown, 2),
        Kind::Closed,
    ];
    assert_eq!(heard.kinds(), expected);
}

/// Where no task has ever run, whoever closes the source tells it.
#[test]
fn a_source_without_a_runtime_tells_its_end_by_itself() {
    let (world, heard) = world_with(Reply::json(jwks(&["a"])), |_| {});
    let clone = world.source.clone();
    drop(world.source);
    assert_eq!(heard.kinds(), []);
    clone.close();
    assert_eq!(heard.kinds(), [Kind::Closed]);
    drop(clone);
    let runtime = runtime();
    runtime.block_on(world.clock.run_for(HOUR));
    assert_eq!((heard.kinds(), world.network.calls()), (vec![], 0));
}

/// Closed, and then the runtime goes before the task has noticed.
#[test]
fn a_task_that_dies_with_its_runtime_tells_the_end() {
    let carrier = runtime();
    let (world, heard) = carrier.block_on(async { world_with(Reply::hang(), |_| {}) });
    carrier.block_on(world.clock.settle());
    world.source.close();
    assert_eq!((heard.kinds(), world.network.in_flight()), (vec![], 1));
    drop(carrier);
    assert_eq!((heard.kinds(), world.network.in_flight()), (vec![Kind::Closed], 0));
    assert_eq!(world.source.status().state(), KeyState::Closed);
}

/// Closed before the first turn of its task, and with the first keys on their way.
#[tokio::test]
async fn a_closed_source_takes_nothing_in() {
    let (world, heard) = world_with(Reply::json(jwks(&["a"])), |_| {});
    world.source.close();
    world.clock.settle().await;
    assert_eq!((heard.kinds(), world.network.calls()), (vec![Kind::Closed], 0));

    let (world, heard) = world_with(Reply::json(jwks(&["a"])).after(SECOND), |_| {});
    world.clock.settle().await;
    world.clock.advance(SECOND);
    world.source.close();
    world.clock.settle().await;
    assert_eq!((heard.kinds(), world.network.calls()), (vec![Kind::Closed], 1));
    assert_eq!((world.epoch(), world.source.status().state()), (0, KeyState::Closed));

    // What had come to pass before the end, and nobody had noticed.
    let (world, heard) = world_with(Reply::json(jwks(&["a"])), |_| {});
    world.clock.settle().await;
    world.clock.advance(2 * HOUR);
    world.source.close();
    world.clock.settle().await;
    assert_eq!(heard.kinds(), [initial(1), Kind::Expired, Kind::Closed]);
}

/// Closes a source as soon as it is woken.
struct Closer(Mutex<Option<KeySource>>);

impl Wake for Closer {
    fn wake(self: Arc<Self>) {
        let source = self.0.lock().expect("unpoisoned").take();
        source.inspect(KeySource::close);
    }
}

/// Whom a task wakes with its last breath sees that none runs, and tells the end in its place.
#[test]
fn a_source_that_is_closed_while_its_task_dies_ends_once() {
    let callers = runtime();
    let slot: Arc<Mutex<Option<KeySource>>> = Arc::default();
    let waiting: Arc<Mutex<Option<Waiting<_>>>> = Arc::default();
    let (elsewhere, within, waits) = (callers.handle().clone(), Arc::clone(&slot), Arc::clone(&waiting));
    let (world, heard) = world_with(Reply::hang(), move |_| {
        let Some(source) = within.lock().expect("unpoisoned").take() else { return };
        let _entered = elsewhere.enter();
        let mut ready: Waiting<_> = Box::pin(source.ready());
        let waker = Waker::from(Arc::new(Closer(Mutex::new(Some(source)))));
        assert_eq!(ready.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        *waits.lock().expect("unpoisoned") = Some(ready);
    });
    *slot.lock().expect("unpoisoned") = Some(world.source.clone());
    for _ in 0..2 {
        let carrier = runtime();
        carrier.block_on(async {
            let _started = world.source.status();
            world.clock.settle().await;
        });
    }
    let kinds = heard.kinds();
    let interrupted = RefreshError::Interrupted;
    assert!(
        matches!(kinds[..], [Kind::RefreshFailed { error, .. }, Kind::Closed] if error == interrupted),
        "{kinds:?}"
    );
    assert_eq!(world.source.status().state(), KeyState::Closed);
    drop(waiting);
}

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What came while a task was ending, and took it for running.
#[derive(Default)]
struct Latecomers {
    source: Option<KeySource>,
    ready: Option<Waiting<Result<(), crate::jwks::NotReadyError>>>,
    reload: Option<Waiting<Result<(), RefreshError>>>,
}

/// The hook runs between the last words of a task and its end: whoever begins to wait then is waited on by nobody.
#[test]
fn nobody_who_comes_while_a_task_dies_is_forgotten() {
    let callers = runtime();
    let (elsewhere, bell) = (callers.handle().clone(), Arc::new(Bell::default()));
    let latecomers: Arc<Mutex<Latecomers>> = Arc::default();
    let (within, waker) = (Arc::clone(&latecomers), Waker::from(Arc::clone(&bell)));
    let (world, heard) = world_with(Reply::hang(), move |_| {
        let mut late = within.lock().expect("unpoisoned");
        let Some(source) = late.source.take() else { return };
        let _entered = elsewhere.enter();
        let mut ready: Waiting<_> = Box::pin(source.ready());
        assert_eq!(ready.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        let mut reload: Waiting<_> = Box::pin(async move { source.reload().await });
        assert_eq!(reload.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        (late.ready, late.reload) = (Some(ready), Some(reload));
    });
    latecomers.lock().expect("unpoisoned").source = Some(world.source.clone());
    // The first end of a runtime is not told as a failure, the second is.
    for _ in 0..2 {
        assert_eq!(heard.kinds(), []);
        let carrier = runtime();
        carrier.block_on(async {
            let _started = world.source.status();
            world.clock.settle().await;
        });
        assert_eq!(world.network.in_flight(), 1);
        drop(carrier);
    }
    let kinds = heard.kinds();
    assert!(matches!(kinds[..], [Kind::RefreshFailed { error: RefreshError::Interrupted, .. }]), "{kinds:?}");
    let mut late = std::mem::take(&mut *latecomers.lock().expect("unpoisoned"));
    assert!(bell.was_woken(), "it looks again, and starts the next task");
    let reload = late.reload.as_mut().expect("the hook was called").as_mut();
    let answer = reload.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(answer, Poll::Ready(Err(RefreshError::Interrupted)));
    world.answer(Reply::json(jwks(&["a"])));
    callers.block_on(async {
        let ready = tokio::spawn(late.ready.take().expect("the hook was called"));
        world.run(SECOND).await;
        assert_eq!(ready.await.expect("no panic"), Ok(()));
    });
}
