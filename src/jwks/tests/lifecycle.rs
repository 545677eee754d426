//! The driver from birth to death, and what its owner may ask of it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::fetch::{Endpoint, FetchError};
use crate::jwks::error::RefreshError;
use crate::jwks::policy::{InitialFetch, RefreshPolicy};
use crate::jwks::shared::Origin;
use crate::jwks::source::KeySource;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{HOUR, MINUTE, ONE_REFRESH, Outcome, SECOND, URL, World, jwk, jwks, set_of};
use crate::keys::KeySet;
use crate::testing::{FakeClock, FakeFetch, Reply};
use crate::token::Algorithm;

fn reload(source: &KeySource) -> tokio::task::JoinHandle<Result<(), RefreshError>> {
    let source = source.clone();
    tokio::spawn(async move { source.reload().await })
}

#[tokio::test]
async fn panic_in_fetcher_survives() {
    let world = World::new(Reply::panic());
    assert!(matches!(World::request(&world.source, "a").await, Outcome::Unavailable(_)));
    assert_eq!(world.source.status().last_error(), Some(RefreshError::Panic));
    world.publish(&["a"]);
    world.run(2 * SECOND).await;
    assert!(world.serves("a"));
}

#[tokio::test]
async fn drop_wakes_waiters() {
    let world = World::new(Reply::hang());
    let cold = tokio::spawn(world.source.ready_snapshot());
    let ready = tokio::spawn(world.source.ready());
    world.clock.settle().await;
    assert_eq!(world.network.in_flight(), 1);
    drop(world.source);
    world.clock.settle().await;
    assert!(cold.await.expect("no panic").is_err());
    let refused = ready.await.expect("no panic").expect_err("closed");
    assert_eq!(refused.last_error, Some(RefreshError::SourceClosed));
    assert_eq!(world.network.in_flight(), 0, "the fetch was dropped");
    world.clock.run_for(HOUR).await;
    assert_eq!(world.network.calls(), 1, "nothing runs on");
}

#[tokio::test]
async fn drop_wakes_those_who_wait_for_a_new_key() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::hang());
    let miss = tokio::spawn(world.source.miss(1, None, |_| false));
    world.clock.settle().await;
    drop(world.source);
    world.clock.settle().await;
    assert!(miss.await.expect("no panic").is_err());
}

/// What a request without keys is told: since when there are none, and why.
#[tokio::test]
async fn unavailable_keys_tell_since_when_and_why() {
    let last_reported = async |world: &World| {
        let unavailable = world.source.ready_snapshot().await.expect_err("no keys");
        (unavailable.since, unavailable.cause)
    };
    let down = RefreshError::Network { error: FetchError::Tls };
    let policy = RefreshPolicy::new().with_cold_wait(Duration::ZERO);
    let world = World::with(policy.clone(), Reply::error(FetchError::Tls).after(SECOND));
    // Nothing has been tried yet, then nothing has ended, then it has failed.
    assert_eq!(last_reported(&world).await, (Duration::ZERO, None));
    world.run(SECOND / 2).await;
    assert_eq!(last_reported(&world).await, (SECOND / 2, None));
    world.run(HOUR - SECOND / 2).await;
    assert_eq!(last_reported(&world).await, (HOUR, Some(down)));

    // Keys that are back, and expire.
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    let age = world.source.status().age().expect("loaded");
    world.answer(Reply::error(FetchError::Tls));
    world.run(HOUR + MINUTE - age).await;
    assert_eq!(last_reported(&world).await, (MINUTE, Some(down)));
    world.source.close();
    world.clock.settle().await;
    world.run(MINUTE).await;
    assert_eq!(
        last_reported(&world).await,
        (2 * MINUTE, Some(RefreshError::SourceClosed)),
        "no key since they expired"
    );

    // Closed while keys were there, and while nothing was.
    let world = World::loaded(&["a"]).await;
    world.run(MINUTE).await;
    world.source.close();
    assert_eq!(last_reported(&world).await, (Duration::ZERO, Some(RefreshError::SourceClosed)));
    world.run(MINUTE).await;
    assert_eq!(last_reported(&world).await, (MINUTE, Some(RefreshError::SourceClosed)));
    let world = World::with(policy.with_initial_fetch(InitialFetch::Lazy), Reply::hang());
    world.source.close();
    world.run(MINUTE).await;
    assert_eq!(last_reported(&world).await, (MINUTE, Some(RefreshError::SourceClosed)));
}

#[tokio::test]
async fn a_clone_keeps_the_source_alive() {
    let world = World::loaded(&["a"]).await;
    let clone = world.source.clone();
    drop(world.source);
    world.clock.run_for(ONE_REFRESH).await;
    assert_eq!(world.network.calls(), 2);
    assert!(clone.status().is_ready());
}

#[tokio::test]
async fn closing_ends_all_clones() {
    let world = World::loaded(&["a"]).await;
    let clone = world.source.clone();
    world.source.close();
    assert!(!world.serves("a"));
    assert!(matches!(world.ask("a").await, Outcome::Unavailable(_)));
    assert_eq!(clone.status().state(), KeyState::Closed);
    assert_eq!(clone.reload().await, Err(RefreshError::SourceClosed));
    clone.close();
    world.run(HOUR).await;
    assert_eq!(world.network.calls(), 1);
}

#[tokio::test]
async fn closing_answers_a_reload_under_way() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::hang());
    let pending = reload(&world.source);
    world.clock.settle().await;
    world.source.close();
    assert_eq!(pending.await.expect("no panic"), Err(RefreshError::SourceClosed));
}

#[tokio::test]
async fn reload_has_the_new_keys_when_it_returns() {
    let world = World::loaded(&["a"]).await;
    world.publish(&["b"]);
    assert_eq!(world.source.reload().await, Ok(()));
    assert!(world.serves("b") && !world.serves("a"));
}

#[tokio::test]
async fn reload_ignores_cool_down_and_backoff() {
    let world = World::loaded(&["a"]).await;
    for _ in 0..20 {
        assert_eq!(world.source.reload().await, Ok(()));
    }
    assert_eq!(world.network.calls(), 21);
    world.answer(Reply::error(FetchError::Tls));
    assert!(world.source.reload().await.is_err());
    world.publish(&["b"]);
    assert_eq!(world.source.reload().await, Ok(()));
    assert!(world.serves("b"));
}

#[tokio::test]
async fn reload_waits_for_a_fetch_that_began_after_it() {
    let world = World::loaded(&["a"]).await;
    // A scheduled fetch is in flight, and will bring what was published before.
    world.network.once(URL, Reply::json(jwks(&["a"])).after(SECOND));
    while world.network.in_flight() == 0 {
        world.run(SECOND / 2).await;
    }
    world.publish(&["b"]);
    let (one, other) = (reload(&world.source), reload(&world.source));
    world.run(SECOND).await;
    assert_eq!((one.await.expect("no panic"), other.await.expect("no panic")), (Ok(()), Ok(())));
    assert!(world.serves("b"));
    assert_eq!(world.network.calls(), 3, "both share one");
}

#[tokio::test]
async fn reload_warms_a_cold_source() {
    let world = World::new(Reply::json(jwks(&["a"])));
    assert_eq!(world.source.reload().await, Ok(()));
    assert!(world.serves("a"));
}

/// Whoever asked for a reload may go away; it comes all the same, and the next is answered.
#[tokio::test]
async fn reload_cancelled_everywhere() {
    for polls in 1..4 {
        let world = World::loaded(&["a"]).await;
        world.answer(Reply::json(jwks(&["b"])).after(SECOND));
        let mut gone = Box::pin(world.source.reload());
        for _ in 0..polls {
            let poll = gone.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
            assert_eq!(poll, std::task::Poll::Pending);
            world.clock.settle().await;
        }
        drop(gone);
        world.run(SECOND).await;
        assert!(world.serves("b"));
        let next = reload(&world.source);
        world.run(SECOND).await;
        assert_eq!(next.await.expect("no panic"), Ok(()));
        assert_eq!(world.network.calls(), 3);
    }
}

/// F52: no task outlives its source, however that ends.
#[tokio::test]
async fn no_task_leaks() {
    let task_guard = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = task_guard();
    for reply in [Reply::hang(), Reply::json(jwks(&["a"])), Reply::panic()] {
        let (dropped, closed) = (World::new(reply.clone()), World::new(reply));
        dropped.clock.settle().await;
        assert_eq!(task_guard(), before + 2);
        drop(dropped);
        closed.source.close();
        closed.clock.settle().await;
        assert_eq!(task_guard(), before);
    }
}

/// Nobody will answer them, so nobody keeps them.
#[tokio::test]
async fn refused_reloads_are_forgotten() {
    let world = World::loaded(&["a"]).await;
    world.source.close();
    world.clock.settle().await;
    for _ in 0..1000 {
        assert_eq!(world.source.reload().await, Err(RefreshError::SourceClosed));
    }
    assert_eq!(world.source.pending_reloads(), 0);
}

#[test]
fn reload_needs_a_runtime() {
    let world = World::new(Reply::json(jwks(&["a"])));
    let mut pending = Box::pin(world.source.reload());
    let outcome = pending.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert_eq!(outcome, std::task::Poll::Ready(Err(RefreshError::NoRuntime)));
}

#[tokio::test]
async fn a_revoked_key_is_out_at_once_and_stays_out() {
    let world = World::loaded(&["a", "b"]).await;
    world.source.revoke_kid("a");
    assert!(!world.serves("a") && world.serves("b"));
    assert_eq!((world.epoch(), world.source.status().usable_keys()), (2, 1));
    world.run(HOUR).await;
    world.publish(&["a", "b", "c"]);
    world.run(5 * MINUTE).await;
    assert!(!world.serves("a") && world.serves("c"));
    world.source.unrevoke_kid("a");
    assert!(world.serves("a"));
}

/// A key under a second id, without id, or published again under another id is the same key.
#[tokio::test]
async fn a_revoked_id_takes_its_key_out_under_every_id() {
    let unnamed = jwk("", "c").replace(r#""kid":"","#, "");
    let world = World::at_url(Reply::json(set_of(&[jwk("a", "a"), jwk("twin", "a"), jwk("b", "b"), unnamed]))).await;
    assert_eq!(world.source.status().usable_keys(), 3);
    world.source.revoke_kid("a");
    assert_eq!(["a", "twin", "b"].map(|kid| world.serves(kid)), [false, false, true]);
    assert_eq!((world.epoch(), world.source.status().usable_keys()), (2, 2));

    let renamed = jwk("", "a").replace(r#""kid":"","#, "");
    world.answer(Reply::json(set_of(&[jwk("again", "a"), renamed, jwk("b", "b")])));
    world.source.reload().await.expect("reloaded");
    assert_eq!((world.serves("again"), world.source.status().usable_keys()), (false, 1));

    world.source.unrevoke_kid("a");
    assert_eq!((world.serves("again"), world.source.status().usable_keys()), (true, 2));
}

#[tokio::test]
async fn a_key_is_revoked_by_its_thumbprint() {
    let unnamed = jwk("", "a").replace(r#""kid":"","#, "");
    let thumbprint = KeySet::from_jwks(&unnamed).expect("a key").thumbprints().next().expect("one");
    let world = World::new(Reply::json(set_of(&[&unnamed, &jwk("a", "a"), &jwk("b", "b")])));
    // Before the first keys are there.
    world.source.revoke_key(thumbprint);
    world.clock.settle().await;
    assert_eq!(["a", "b"].map(|kid| world.serves(kid)), [false, true]);
    assert_eq!(world.source.status().usable_keys(), 1);
    world.answer(Reply::json(set_of(&[unnamed, jwk("b", "b")])));
    world.source.reload().await.expect("reloaded");
    assert_eq!(world.source.status().usable_keys(), 1);
    world.source.unrevoke_key(thumbprint);
    assert_eq!(world.source.status().usable_keys(), 2);
}

#[tokio::test]
async fn status_tells_how_things_are() {
    let world = World::loaded(&["a", "b"]).await;
    world.run(50 * SECOND).await;
    let status = world.source.status();
    assert_eq!((status.state(), status.usable_keys(), status.epoch()), (KeyState::Fresh, 2, 1));
    assert_eq!(status.age(), Some(50 * SECOND));
    let next = status.next_refresh().expect("armed");
    assert!(next >= 10 * SECOND && next <= 205 * SECOND, "{next:?}");
    assert_eq!((status.consecutive_failures(), status.last_error()), (0, None));
    assert_eq!(format!("{:?}", world.source), format!("KeySource {{ origin: {URL:?}, .. }}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_8_one_fetch() {
    let world = World::new(Reply::json(jwks(&["a"])));
    let requests: Vec<_> = (0..8).map(|_| world.spawn("a")).collect();
    for request in requests {
        assert_eq!(request.await.expect("no panic"), Outcome::Served);
    }
    assert_eq!(world.network.calls(), 1);
}

/// Panics at a line with these words.
struct Bomb(&'static str);

impl std::io::Write for Bomb {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(octets);
        assert!(!line.contains(self.0), "as scripted: a subscriber panics");
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn listen_and_panic_at(words: &'static str) -> impl Drop {
    use tracing_subscriber::util::SubscriberInitExt as _;

    tracing_subscriber::fmt().with_writer(move || Bomb(words)).with_ansi(false).finish().set_default()
}

/// A subscriber that panics takes the refresh with it for a second, and not for good.
#[tokio::test]
async fn panic_in_a_subscriber_survives() {
    let _listening = listen_and_panic_at("the key set changed");
    let world = World::loaded(&["a"]).await;
    world.publish(&["b"]);
    world.run(5 * MINUTE).await;
    assert!(world.serves("b"), "what was published stays so");
    let calls = world.network.calls();
    world.run(HOUR).await;
    assert!(world.network.calls() >= calls + 12, "without traffic: {}", world.network.calls());
    assert_eq!(world.source.status().state(), KeyState::Fresh);
}

/// A task that ends with its runtime tells of it for the second time, and the third is started all the same.
#[test]
fn panic_in_a_subscriber_while_a_task_dies_survives() {
    let _listening = listen_and_panic_at("could not fetch keys");
    let world = World::new(Reply::hang());
    for calls in 1..4 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let _started = world.source.status();
            world.run(SECOND).await;
        });
        assert_eq!((world.network.calls(), world.network.in_flight()), (calls, 1));
    }
    assert_eq!(world.source.status().last_error(), Some(RefreshError::Interrupted));
}

/// A thread without a runtime, while the source runs in one: no timer could end its wait.
#[tokio::test]
async fn outside_a_runtime_nobody_waits_and_nothing_panics() {
    let (clock, scripted) = (FakeClock::new(), FakeClock::new());
    let network = FakeFetch::new(&scripted);
    network.always(URL, Reply::hang());
    let origin = Origin::jwks(URL, Endpoint::new(URL).expect("url"));
    let fetch = Arc::new(network.clone());
    let source = KeySource::build(origin, &[Algorithm::ES256], RefreshPolicy::new(), fetch, Arc::new(SystemClock));
    clock.settle().await;
    assert_eq!(network.in_flight(), 1);
    std::thread::spawn(move || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let request = Box::pin(World::request(&source, "a")).as_mut().poll(&mut context);
        assert!(matches!(request, std::task::Poll::Ready(Outcome::Unavailable(_))), "{request:?}");
        let ready = Box::pin(source.ready()).as_mut().poll(&mut context);
        assert!(matches!(ready, std::task::Poll::Ready(Err(_))), "{ready:?}");
    })
    .join()
    .expect("no panic");
}

/// Threads that ask, miss, revoke and reload at once: nothing hangs and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_at_once() {
    let world = World::new(Reply::json(jwks(&["a", "b"])));
    world.source.ready().await.expect("ready");
    let tasks: Vec<_> = (0..16_usize)
        .map(|task| {
            let source = world.source.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    match task % 4 {
                        0 => drop(source.reload().await),
                        1 => {
                            source.revoke_kid("b");
                            source.unrevoke_kid("b");
                        }
                        2 => assert_eq!(World::request(&source, "a").await, Outcome::Served),
                        _ => drop(source.status()),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(30), task).await.expect("no hang").expect("no panic");
    }
    assert!(world.serves("a") && world.serves("b"));
}
