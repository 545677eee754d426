//! Tests of the driver task from start to end, and of reload, revocation and status.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::fetch::{Endpoint, FetchError};
use crate::jwks::error::RefreshError;
use crate::jwks::origin::Origin;
use crate::jwks::policy::{InitialFetch, RefreshPolicy};
use crate::jwks::shared::Imports;
use crate::jwks::source::KeySource;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{
    Fixture, HOUR, MINUTE, ONE_REFRESH, Outcome, SECOND, URL, jwk, jwks, register_second_subscriber, set_of,
};
use crate::keys::KeySet;
use crate::testing::{FakeClock, FakeFetch, Reply};
use crate::token::Algorithm;

fn reload(source: &KeySource) -> tokio::task::JoinHandle<Result<(), RefreshError>> {
    let source = source.clone();
    tokio::spawn(async move { source.reload().await })
}

#[tokio::test]
async fn serves_keys_after_a_panic_in_a_fetch() {
    let fixture = Fixture::new(Reply::panic());
    assert!(matches!(Fixture::request(&fixture.source, "a").await, Outcome::Unavailable(_)));
    assert_eq!(fixture.source.status().last_error(), Some(RefreshError::Panic));
    fixture.publish(&["a"]);
    fixture.run(2 * SECOND).await;
    assert!(fixture.serves("a"));
}

#[tokio::test]
async fn wakes_waiters_when_the_source_is_dropped() {
    let fixture = Fixture::new(Reply::hang());
    let cold = tokio::spawn(fixture.source.ready_snapshot());
    let ready = tokio::spawn(fixture.source.ready());
    fixture.clock.settle().await;
    assert_eq!(fixture.network.in_flight(), 1);
    drop(fixture.source);
    fixture.clock.settle().await;
    assert!(cold.await.expect("no panic").is_err());
    let not_ready = ready.await.expect("no panic").expect_err("closed");
    assert_eq!(not_ready.last_error, Some(RefreshError::SourceClosed));
    assert_eq!(fixture.network.in_flight(), 0, "the fetch was dropped");
    fixture.clock.run_for(HOUR).await;
    assert_eq!(fixture.network.calls(), 1, "no task remains");
}

#[tokio::test]
async fn wakes_waiters_for_an_unknown_kid_when_the_source_is_dropped() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::hang());
    let request = tokio::spawn(fixture.source.newer_keys(1, None, "zz", |_| false));
    fixture.clock.settle().await;
    drop(fixture.source);
    fixture.clock.settle().await;
    assert!(request.await.expect("no panic").is_err());
}

/// The error without keys has the time since there are none, and the last error.
#[tokio::test]
async fn returns_since_when_and_why_keys_are_unavailable() {
    let since_and_cause = async |fixture: &Fixture| {
        let unavailable = fixture.source.ready_snapshot().await.expect_err("no keys");
        (unavailable.unavailable_for, unavailable.cause)
    };
    let down = RefreshError::Network { error: FetchError::Tls };
    let policy = RefreshPolicy::new().with_cold_wait(Duration::ZERO);
    let fixture = Fixture::with(policy.clone(), Reply::error(FetchError::Tls).with_delay(SECOND));
    // No fetch has started, then one is in flight, then it has failed.
    assert_eq!(since_and_cause(&fixture).await, (Duration::ZERO, None));
    fixture.run(SECOND / 2).await;
    assert_eq!(since_and_cause(&fixture).await, (SECOND / 2, None));
    fixture.run(HOUR - SECOND / 2).await;
    assert_eq!(since_and_cause(&fixture).await, (HOUR, Some(down)));

    // Keys are loaded, and expire.
    fixture.publish(&["a"]);
    // Longer than a failing fetch in flight and the longest backoff after it.
    fixture.run(MINUTE).await;
    let age = fixture.source.status().age().expect("loaded");
    fixture.answer(Reply::error(FetchError::Tls));
    fixture.run(HOUR + MINUTE - age).await;
    assert_eq!(since_and_cause(&fixture).await, (MINUTE, Some(down)));
    fixture.source.close();
    fixture.clock.settle().await;
    fixture.run(MINUTE).await;
    assert_eq!(
        since_and_cause(&fixture).await,
        (2 * MINUTE, Some(RefreshError::SourceClosed)),
        "no key since they expired"
    );

    // Closed with usable keys, and before any fetch.
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.run(MINUTE).await;
    fixture.source.close();
    assert_eq!(since_and_cause(&fixture).await, (Duration::ZERO, Some(RefreshError::SourceClosed)));
    fixture.run(MINUTE).await;
    assert_eq!(since_and_cause(&fixture).await, (MINUTE, Some(RefreshError::SourceClosed)));
    let fixture = Fixture::with(policy.with_initial_fetch(InitialFetch::Lazy), Reply::hang());
    fixture.source.close();
    fixture.run(MINUTE).await;
    assert_eq!(since_and_cause(&fixture).await, (MINUTE, Some(RefreshError::SourceClosed)));
}

#[tokio::test]
async fn keeps_the_source_alive_while_a_clone_exists() {
    let fixture = Fixture::loaded(&["a"]).await;
    let clone = fixture.source.clone();
    drop(fixture.source);
    fixture.clock.run_for(ONE_REFRESH).await;
    assert_eq!(fixture.network.calls(), 2);
    assert!(clone.status().is_ready());
}

#[tokio::test]
async fn close_ends_all_clones() {
    let fixture = Fixture::loaded(&["a"]).await;
    let clone = fixture.source.clone();
    fixture.source.close();
    assert!(!fixture.serves("a"));
    assert!(matches!(fixture.request_now("a").await, Outcome::Unavailable(_)));
    assert_eq!(clone.status().state(), KeyState::Closed);
    assert_eq!(clone.reload().await, Err(RefreshError::SourceClosed));
    clone.close();
    fixture.run(HOUR).await;
    assert_eq!(fixture.network.calls(), 1);
}

#[tokio::test]
async fn close_completes_a_pending_reload() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::hang());
    let pending = reload(&fixture.source);
    fixture.clock.settle().await;
    fixture.source.close();
    assert_eq!(pending.await.expect("no panic"), Err(RefreshError::SourceClosed));
}

#[tokio::test]
async fn reload_returns_after_the_new_keys_are_in_use() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.publish(&["b"]);
    assert_eq!(fixture.source.reload().await, Ok(()));
    assert!(fixture.serves("b") && !fixture.serves("a"));
}

#[tokio::test]
async fn reload_ignores_cool_down_and_backoff() {
    let fixture = Fixture::loaded(&["a"]).await;
    for _ in 0..20 {
        assert_eq!(fixture.source.reload().await, Ok(()));
    }
    assert_eq!(fixture.network.calls(), 21);
    fixture.answer(Reply::error(FetchError::Tls));
    assert!(fixture.source.reload().await.is_err());
    fixture.publish(&["b"]);
    assert_eq!(fixture.source.reload().await, Ok(()));
    assert!(fixture.serves("b"));
}

#[tokio::test]
async fn reload_waits_for_a_fetch_that_starts_after_it() {
    let fixture = Fixture::loaded(&["a"]).await;
    // A scheduled fetch is in flight, and its reply is older than the publication.
    fixture.network.once(URL, Reply::json(jwks(&["a"])).with_delay(SECOND));
    while fixture.network.in_flight() == 0 {
        fixture.run(SECOND / 2).await;
    }
    fixture.publish(&["b"]);
    let (one, other) = (reload(&fixture.source), reload(&fixture.source));
    fixture.run(SECOND).await;
    assert_eq!((one.await.expect("no panic"), other.await.expect("no panic")), (Ok(()), Ok(())));
    assert!(fixture.serves("b"));
    assert_eq!(fixture.network.calls(), 3, "both share one fetch");
}

#[tokio::test]
async fn reload_loads_the_first_keys() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])));
    assert_eq!(fixture.source.reload().await, Ok(()));
    assert!(fixture.serves("a"));
}

/// A dropped reload still runs to its end, and the next reload is answered.
#[tokio::test]
async fn completes_a_reload_that_is_dropped_at_any_poll() {
    for polls in 1..4 {
        let fixture = Fixture::loaded(&["a"]).await;
        fixture.answer(Reply::json(jwks(&["b"])).with_delay(SECOND));
        let mut dropped = Box::pin(fixture.source.reload());
        for _ in 0..polls {
            let poll = dropped.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
            assert_eq!(poll, std::task::Poll::Pending);
            fixture.clock.settle().await;
        }
        drop(dropped);
        fixture.run(SECOND).await;
        assert!(fixture.serves("b"));
        let next = reload(&fixture.source);
        fixture.run(SECOND).await;
        assert_eq!(next.await.expect("no panic"), Ok(()));
        assert_eq!(fixture.network.calls(), 3);
    }
}

/// F52: no task outlives its source, however that ends.
#[tokio::test]
async fn ends_every_task_with_its_source() {
    let alive_tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive_tasks();
    for reply in [Reply::hang(), Reply::json(jwks(&["a"])), Reply::panic()] {
        let (dropped, closed) = (Fixture::new(reply.clone()), Fixture::new(reply));
        dropped.clock.settle().await;
        assert_eq!(alive_tasks(), before + 2);
        drop(dropped);
        closed.source.close();
        closed.clock.settle().await;
        assert_eq!(alive_tasks(), before);
    }
}

/// A closed source rejects reloads at once and does not store them.
#[tokio::test]
async fn rejected_reloads_are_not_stored() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.source.close();
    fixture.clock.settle().await;
    for _ in 0..1000 {
        assert_eq!(fixture.source.reload().await, Err(RefreshError::SourceClosed));
    }
    assert_eq!(fixture.source.pending_reloads(), 0);
}

#[test]
fn reload_needs_a_runtime() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])));
    let mut pending = Box::pin(fixture.source.reload());
    let outcome = pending.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert_eq!(outcome, std::task::Poll::Ready(Err(RefreshError::NoRuntime)));
}

#[tokio::test]
async fn rejects_a_revoked_key_at_once_and_after_a_refresh() {
    let fixture = Fixture::loaded(&["a", "b"]).await;
    fixture.source.revoke_kid("a");
    assert!(!fixture.serves("a") && fixture.serves("b"));
    assert_eq!((fixture.epoch(), fixture.source.status().usable_keys()), (2, 1));
    fixture.run(HOUR).await;
    fixture.publish(&["a", "b", "c"]);
    fixture.run(5 * MINUTE).await;
    assert!(!fixture.serves("a") && fixture.serves("c"));
    fixture.source.unrevoke_kid("a");
    assert!(fixture.serves("a"));
}

/// A revoked `kid` revokes its key: also with a second `kid`, without one, or published again with another.
#[tokio::test]
async fn rejects_the_key_of_a_revoked_id_under_every_id() {
    let unnamed = jwk("", "c").replace(r#""kid":"","#, "");
    let fixture =
        Fixture::at_url(Reply::json(set_of(&[jwk("a", "a"), jwk("twin", "a"), jwk("b", "b"), unnamed]))).await;
    assert_eq!(fixture.source.status().usable_keys(), 3);
    fixture.source.revoke_kid("a");
    assert_eq!(["a", "twin", "b"].map(|kid| fixture.serves(kid)), [false, false, true]);
    assert_eq!((fixture.epoch(), fixture.source.status().usable_keys()), (2, 2));

    let renamed = jwk("", "a").replace(r#""kid":"","#, "");
    fixture.answer(Reply::json(set_of(&[jwk("again", "a"), renamed, jwk("b", "b")])));
    fixture.source.reload().await.expect("reloaded");
    assert_eq!((fixture.serves("again"), fixture.source.status().usable_keys()), (false, 1));

    fixture.source.unrevoke_kid("a");
    assert_eq!((fixture.serves("again"), fixture.source.status().usable_keys()), (true, 2));
}

#[tokio::test]
async fn rejects_a_key_revoked_by_thumbprint() {
    let unnamed = jwk("", "a").replace(r#""kid":"","#, "");
    let thumbprint = KeySet::from_jwks(&unnamed).expect("a key").thumbprints().next().expect("one");
    let fixture = Fixture::new(Reply::json(set_of(&[&unnamed, &jwk("a", "a"), &jwk("b", "b")])));
    // Before the first keys are loaded.
    fixture.source.revoke_key(thumbprint);
    fixture.clock.settle().await;
    assert_eq!(["a", "b"].map(|kid| fixture.serves(kid)), [false, true]);
    assert_eq!(fixture.source.status().usable_keys(), 1);
    fixture.answer(Reply::json(set_of(&[unnamed, jwk("b", "b")])));
    fixture.source.reload().await.expect("reloaded");
    assert_eq!(fixture.source.status().usable_keys(), 1);
    fixture.source.unrevoke_key(thumbprint);
    assert_eq!(fixture.source.status().usable_keys(), 2);
}

#[tokio::test]
async fn returns_the_status_of_a_loaded_source() {
    let fixture = Fixture::loaded(&["a", "b"]).await;
    fixture.run(50 * SECOND).await;
    let status = fixture.source.status();
    assert_eq!((status.state(), status.usable_keys(), status.epoch()), (KeyState::Fresh, 2, 1));
    assert_eq!(status.age(), Some(50 * SECOND));
    let next = status.next_refresh().expect("armed");
    assert!(next >= 10 * SECOND && next <= 205 * SECOND, "{next:?}");
    assert_eq!((status.consecutive_failures(), status.last_error()), (0, None));
    assert_eq!(format!("{:?}", fixture.source), format!("KeySource {{ origin: {URL:?}, .. }}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn starts_one_fetch_for_8_requests_on_4_threads() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])));
    let requests: Vec<_> = (0..8).map(|_| fixture.spawn("a")).collect();
    for request in requests {
        assert_eq!(request.await.expect("no panic"), Outcome::Served);
    }
    assert_eq!(fixture.network.calls(), 1);
}

/// A log writer that panics at a line with these words.
struct PanickingWriter(&'static str);

impl std::io::Write for PanickingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        assert!(!line.contains(self.0), "scripted: a subscriber panics");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn panic_at_log_line(words: &'static str) -> impl Drop {
    use tracing_subscriber::util::SubscriberInitExt as _;

    register_second_subscriber();
    tracing_subscriber::fmt().with_writer(move || PanickingWriter(words)).with_ansi(false).finish().set_default()
}

/// A panic of a subscriber ends the task; the refresh is retried a second later.
#[tokio::test]
async fn refreshes_after_a_subscriber_panicked() {
    let _guard = panic_at_log_line("the key set changed");
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.publish(&["b"]);
    fixture.run(5 * MINUTE).await;
    assert!(fixture.serves("b"), "published keys stay in use");
    let calls = fixture.network.calls();
    fixture.run(HOUR).await;
    assert!(fixture.network.calls() >= calls + 12, "without traffic: {}", fixture.network.calls());
    assert_eq!(fixture.source.status().state(), KeyState::Fresh);
}

/// The second task that ends with its runtime is reported, the subscriber panics, and the third task still starts.
#[test]
fn restarts_the_task_after_a_subscriber_panicked_at_its_end() {
    let _guard = panic_at_log_line("could not fetch keys");
    let fixture = Fixture::new(Reply::hang());
    for calls in 1..4 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let _started = fixture.source.status();
            fixture.run(SECOND).await;
        });
        assert_eq!((fixture.network.calls(), fixture.network.in_flight()), (calls, 1));
    }
    assert_eq!(fixture.source.status().last_error(), Some(RefreshError::Interrupted));
}

/// On a thread without a runtime no timer could end a wait, even if the source runs in a runtime.
#[tokio::test]
async fn requests_outside_a_runtime_fail_without_a_wait() {
    let (clock, scripted) = (FakeClock::new(), FakeClock::new());
    let network = FakeFetch::new(&scripted);
    network.always(URL, Reply::hang());
    let origin = Origin::jwks(URL, Endpoint::new(URL).expect("url"));
    let fetch = Arc::new(network.clone());
    let source = KeySource::build(
        origin,
        &[Algorithm::ES256],
        RefreshPolicy::new(),
        fetch,
        Arc::new(SystemClock),
        Imports::default(),
    );
    clock.settle().await;
    assert_eq!(network.in_flight(), 1);
    std::thread::spawn(move || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let request = Box::pin(Fixture::request(&source, "a")).as_mut().poll(&mut context);
        assert!(matches!(request, std::task::Poll::Ready(Outcome::Unavailable(_))), "{request:?}");
        let ready = Box::pin(source.ready()).as_mut().poll(&mut context);
        assert!(matches!(ready, std::task::Poll::Ready(Err(_))), "{ready:?}");
    })
    .join()
    .expect("no panic");
}

/// Concurrent requests, revocations and reloads neither hang nor lose a key.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn serves_concurrent_requests_reloads_and_revocations() {
    let fixture = Fixture::new(Reply::json(jwks(&["a", "b"])));
    fixture.source.ready().await.expect("ready");
    let tasks: Vec<_> = (0..16_usize)
        .map(|task| {
            let source = fixture.source.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    match task % 4 {
                        0 => drop(source.reload().await),
                        1 => {
                            source.revoke_kid("b");
                            source.unrevoke_kid("b");
                        }
                        2 => assert_eq!(Fixture::request(&source, "a").await, Outcome::Served),
                        _ => drop(source.status()),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(30), task).await.expect("no hang").expect("no panic");
    }
    assert!(fixture.serves("a") && fixture.serves("b"));
}
