//! Key ids that are not known.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, IF_NONE_MATCH};

use crate::fetch::FetchError;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{HOUR, MINUTE, Outcome, SECOND, URL, World, has, jwk, jwks, set_of};
use crate::jwks::wait::UnknownKid;
use crate::testing::Reply;

#[tokio::test]
async fn startup_cooldown_allows_first_miss() {
    let world = World::loaded(&["a"]).await;
    world.publish(&["a", "b"]);
    assert_eq!(World::request(&world.source, "b").await, Outcome::Served);
    assert_eq!((world.network.calls(), world.epoch()), (2, 2));
}

#[tokio::test]
async fn a_thousand_requests_for_a_new_key_share_one_fetch() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::json(jwks(&["a", "b"])).after(SECOND));
    let requests: Vec<_> = (0..1000).map(|_| world.spawn("b")).collect();
    world.run(SECOND).await;
    for request in requests {
        assert_eq!(request.await.expect("no panic"), Outcome::Served);
    }
    assert_eq!(world.network.calls(), 2);
}

/// Even one that came in the moment in which the set landed: it has waited for that set, and needs no other.
#[tokio::test]
async fn a_miss_in_the_moment_of_the_landing_has_waited_for_it() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::json(jwks(&["a", "b"])).after(SECOND));
    while world.network.in_flight() == 0 {
        world.run(SECOND / 10).await;
    }
    let mut request = Box::pin(World::request(&world.source, "b"));
    assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    // The driver has not run since, and finds both.
    world.clock.advance(SECOND);
    world.clock.settle().await;
    assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Outcome::Served));
    world.run(20 * SECOND).await;
    assert_eq!((world.network.calls(), world.epoch()), (2, 2), "no fetch of its own");
}

#[tokio::test]
async fn a_miss_goes_past_every_cache_and_asks_for_everything() {
    let world = World::loaded(&["a"]).await;
    assert_eq!(World::request(&world.source, "b").await, Outcome::NotFound);
    let headers = &world.network.requests()[1].headers;
    assert_eq!(headers.get(CACHE_CONTROL).map(|value| value.as_bytes()), Some(&b"no-cache"[..]));
    assert!(!headers.contains_key(IF_NONE_MATCH));
    assert!(!world.network.requests()[0].headers.contains_key(CACHE_CONTROL));
}

#[tokio::test]
async fn flood_1000_random_kids_fetch_le_8_per_min() {
    let world = World::loaded(&["a"]).await;
    let before = world.network.calls();
    for _ in 0..60 {
        let requests: Vec<_> = (0..1000).map(|_| world.spawn("zz")).collect();
        world.run(SECOND).await;
        assert!(requests.iter().all(|request| request.is_finished()), "nobody waits for a budget");
        assert!(world.serves("a"));
    }
    let fetches = world.network.calls() - before;
    assert!((6..=8).contains(&fetches), "{fetches}");
}

#[tokio::test]
async fn rotation_under_flood_le_c_max() {
    let world = World::loaded(&["a"]).await;
    for second in 0..60 {
        if second == 20 {
            world.publish(&["a", "b"]);
        }
        for _ in 0..1000 {
            drop(world.spawn("zz"));
        }
        world.run(SECOND).await;
        assert!(world.serves("a"), "at {second} s");
        assert!(world.serves("b") || second <= 35, "the new key is unknown at {second} s");
    }
    let in_a_minute = world.network.calls() - 1;
    assert!((8..=12).contains(&in_a_minute), "{in_a_minute}");
}

#[tokio::test]
async fn flood_idp_down_known_ok() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::error(FetchError::Connect));
    let before = world.network.calls();
    for second in 0..60 {
        let requests: Vec<_> = (0..100).map(|_| world.spawn("zz")).collect();
        world.run(SECOND).await;
        for request in requests {
            assert_eq!(request.await.expect("no panic"), Outcome::NotFound, "at {second} s");
        }
        assert!(world.serves("a"));
    }
    // Eight operations of at most two attempts.
    let attempts = world.network.calls() - before;
    assert!(attempts <= 16, "{attempts}");
}

#[tokio::test]
async fn flood_then_expiry_known_ok() {
    let world = World::loaded(&["a"]).await;
    for _ in 0..600 {
        world.spawn("zz");
        world.run(SECOND).await;
        assert!(world.serves("a"), "the flood has spent nothing that the refresh needs");
    }
    assert_eq!(world.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn trailing_edge_heals_without_traffic() {
    let world = World::loaded(&["a"]).await;
    assert_eq!(World::request(&world.source, "b").await, Outcome::NotFound);
    assert_eq!(World::request(&world.source, "b").await, Outcome::NotFound);
    world.publish(&["a", "b"]);
    assert!(!world.serves("b"));
    world.run(SECOND).await;
    assert!(world.serves("b"), "the second miss was owed a fetch");
    assert_eq!(world.network.calls(), 3);
}

#[tokio::test]
async fn a_key_absent_from_the_fetch_made_for_it_is_looked_for_once_more() {
    let world = World::loaded(&["a"]).await;
    assert_eq!(World::request(&world.source, "b").await, Outcome::NotFound);
    world.publish(&["a", "b"]);
    world.run(SECOND).await;
    assert!(world.serves("b"));
    world.run(MINUTE).await;
    assert_eq!(world.network.calls(), 3, "and then no more");
}

#[tokio::test]
async fn those_who_waited_in_vain_are_owed_one_more_fetch() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::json(jwks(&["a"])).after(SECOND / 2));
    let request = world.spawn("b");
    world.run(SECOND / 2).await;
    assert_eq!(request.await.expect("no panic"), Outcome::NotFound);
    world.publish(&["a", "b"]);
    world.run(SECOND).await;
    assert!(world.serves("b"));
}

#[tokio::test]
async fn a_miss_that_joins_a_scheduled_fetch_gets_one_of_its_own() {
    let world = World::loaded(&["a"]).await;
    // The scheduled fetch is answered by a cache that has not heard of `b`.
    world.network.once(URL, Reply::json(jwks(&["a"])).after(SECOND));
    world.publish(&["a", "b"]);
    while world.network.in_flight() == 0 {
        world.run(SECOND / 2).await;
    }
    let request = world.spawn("b");
    world.clock.settle().await;
    assert_eq!(world.network.calls(), 2);
    world.run(SECOND).await;
    assert_eq!(request.await.expect("no panic"), Outcome::Served);
    assert_eq!(world.network.calls(), 3);
}

#[tokio::test]
async fn a_renewed_set_without_the_key_is_no_final_answer() {
    let world = World::loaded(&["a"]).await;
    world.network.once(URL, Reply::json(jwks(&["a", "c"])).after(SECOND));
    world.publish(&["a", "b", "c"]);
    while world.network.in_flight() == 0 {
        world.run(SECOND / 2).await;
    }
    let request = world.spawn("b");
    world.run(SECOND).await;
    assert_eq!(request.await.expect("no panic"), Outcome::Served);
}

#[tokio::test]
async fn an_older_epoch_is_told_to_look_again_without_a_fetch() {
    let world = World::loaded(&["a"]).await;
    world.publish(&["a", "b"]);
    world.source.reload().await.expect("reloaded");
    let calls = world.network.calls();
    let miss = world.source.miss(1, None, |table| has(table, "b")).await.expect("keys are usable");
    assert!(matches!(miss, UnknownKid::Newer(snapshot) if snapshot.epoch == 2));
    assert_eq!(world.network.calls(), calls);
}

#[tokio::test]
async fn waits_for_at_most_miss_wait_and_the_fetch_goes_on() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::json(jwks(&["a", "b"])).after(Duration::from_millis(2500)));
    let request = world.spawn("b");
    world.run(Duration::from_millis(1999)).await;
    assert!(!request.is_finished());
    world.run(Duration::from_millis(1)).await;
    assert_eq!(request.await.expect("no panic"), Outcome::NotFound);
    world.run(SECOND).await;
    assert!(world.serves("b"));
    assert_eq!(world.network.calls(), 2);
}

/// What is fetched for a request does not hang on how long it waits: neither the trailing edge after the fetch for it, nor
/// the fetch of its own after one that it joined.
#[tokio::test]
async fn what_is_owed_comes_though_the_client_is_gone() {
    for has_joined in [false, true] {
        for (delay, is_patient) in [(1500, true), (1500, false), (2500, true)] {
            let world = World::loaded(&["a"]).await;
            let old = Reply::json(jwks(&["a"])).after(Duration::from_millis(delay));
            world.network.once(URL, old);
            world.publish(&["a", "b"]);
            while has_joined && world.network.in_flight() == 0 {
                world.run(SECOND / 4).await;
            }
            let request = world.spawn("b");
            world.clock.settle().await;
            assert_eq!(world.network.in_flight(), 1);
            if !is_patient {
                request.abort();
            }
            world.run(5 * SECOND).await;
            assert!(world.serves("b"), "{has_joined} {delay} {is_patient}");
            assert_eq!(world.network.calls(), 3, "{has_joined} {delay} {is_patient}");
        }
    }
}

#[tokio::test]
async fn leader_cancelled_everywhere() {
    // Every request is dropped after its n-th poll; whoever asks last is served by the same one fetch.
    for polls in 0..6 {
        let world = World::loaded(&["a"]).await;
        world.answer(Reply::json(jwks(&["a", "b"])).after(SECOND));
        for _ in 0..10 {
            let mut request = Box::pin(World::request(&world.source, "b"));
            for _ in 0..polls {
                assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
                world.clock.settle().await;
            }
        }
        let last = world.spawn("b");
        world.run(SECOND).await;
        assert_eq!(last.await.expect("no panic"), Outcome::Served, "after {polls} polls");
        assert_eq!(world.network.calls(), 2, "after {polls} polls");
    }
}

#[tokio::test]
async fn cold_leader_cancelled_everywhere() {
    for polls in 0..6 {
        let world = World::new(Reply::json(jwks(&["a"])).after(SECOND));
        for _ in 0..10 {
            let mut request = Box::pin(World::request(&world.source, "a"));
            for _ in 0..polls {
                assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
                world.clock.settle().await;
            }
        }
        world.run(SECOND).await;
        assert!(world.serves("a"));
        assert_eq!(world.network.calls(), 1, "after {polls} polls");
    }
}

#[tokio::test]
async fn no_outcome_slips_between_look_and_wait() {
    // The fetch ends between any two polls of the waiter.
    for polls in 0..4 {
        let world = World::loaded(&["a"]).await;
        world.answer(Reply::json(jwks(&["a", "b"])).after(SECOND));
        let mut request = Box::pin(World::request(&world.source, "b"));
        let mut verdict = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        for _ in 0..polls {
            verdict = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        assert_eq!(verdict, Poll::Pending);
        world.clock.settle().await;
        world.run(SECOND).await;
        assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Outcome::Served));
    }
}

#[tokio::test]
async fn enc_key_no_refresh() {
    let enc = jwk("e", "e").replace(r#""use":"sig""#, r#""use":"enc""#);
    let world = World::new(Reply::json(set_of(&[jwk("a", "a"), enc])));
    world.clock.settle().await;
    // A validator asks for newer keys only when the key id is in no key of the set.
    let table = match world.source.snapshot() {
        crate::jwks::source::View::Usable(snapshot) => snapshot.table.clone(),
        crate::jwks::source::View::Unavailable => panic!("no keys"),
    };
    let found = table.find(Some("e"), crate::token::Algorithm::ES256);
    assert!(matches!(found, crate::keys::Found::NotForVerification));
}

#[tokio::test]
async fn error_kind_not_found_vs_unavailable() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    // Fresh, aging and stale: a stranger's key id is the stranger's fault.
    for state in [KeyState::Fresh, KeyState::Aging, KeyState::Stale] {
        while world.source.status().state() != state {
            world.run(SECOND).await;
        }
        assert_eq!(world.ask("zz").await, Outcome::NotFound, "{state}");
        assert_eq!(world.ask("a").await, Outcome::Served, "{state}");
    }
    world.run(HOUR).await;
    assert_eq!(world.source.status().state(), KeyState::Expired);
    for kid in ["zz", "a"] {
        assert!(matches!(world.ask(kid).await, Outcome::Unavailable(_)), "{kid}");
    }
}

/// Whoever may not wait wants the key for those who come after.
#[tokio::test]
async fn without_patience_a_miss_still_fetches() {
    let world = World::loaded_with(RefreshPolicy::new().with_unknown_kid_wait(Duration::ZERO), &["a"]).await;
    world.publish(&["a", "b"]);
    assert_eq!(world.ask("b").await, Outcome::NotFound);
    assert_eq!(world.ask("b").await, Outcome::Served);
    assert_eq!(world.network.calls(), 2);
}

/// The first keys and then a key that is not among them: both waits together are `cold_wait`.
#[tokio::test]
async fn a_cold_request_waits_no_longer_for_an_unknown_key() {
    let world = World::new(Reply::json(jwks(&["a"])).after(Duration::from_millis(2900)));
    let policy_says = crate::defaults::COLD_WAIT;
    let request = world.spawn("b");
    world.run(Duration::from_millis(2900)).await;
    world.answer(Reply::hang());
    let late = World::with(RefreshPolicy::new().with_cold_wait(3 * SECOND), Reply::hang());
    late.network.once(URL, Reply::json(jwks(&["a"])).after(Duration::from_millis(2900)));
    let hasty = late.spawn("b");
    late.run(3 * SECOND).await;
    assert!(hasty.is_finished(), "3 s are over");
    assert_eq!(hasty.await.expect("no panic"), Outcome::NotFound);
    world.run(policy_says - Duration::from_millis(2900)).await;
    assert!(request.is_finished());
}

#[tokio::test]
async fn too_many_waiters_are_told_at_once_that_the_key_is_unknown() {
    let policy = RefreshPolicy::new().with_max_waiters(2);
    let world = World::loaded_with(policy, &["a"]).await;
    world.answer(Reply::json(jwks(&["a", "b"])).after(SECOND));
    let requests: Vec<_> = (0..5).map(|_| world.spawn("b")).collect();
    world.clock.settle().await;
    assert_eq!(requests.iter().filter(|request| request.is_finished()).count(), 3);
    world.run(SECOND).await;
    let mut served = 0;
    for request in requests {
        served += usize::from(request.await.expect("no panic") == Outcome::Served);
    }
    assert_eq!(served, 2);
}

#[tokio::test]
async fn removed_key_leaves_with_the_epoch() {
    let world = World::loaded(&["a", "b"]).await;
    let old = world.source.ready_snapshot().await.expect("usable");
    world.publish(&["b"]);
    world.run(5 * MINUTE).await;
    let new = world.source.ready_snapshot().await.expect("usable");
    assert!(has(&old.table, "a") && !has(&new.table, "a"));
    assert_eq!((old.epoch, new.epoch), (1, 2));
    assert_eq!(Arc::strong_count(&old), 1, "nobody else holds the old set");
}
