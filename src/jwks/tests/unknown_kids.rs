//! Tests of requests with unknown kids.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, IF_NONE_MATCH};

use crate::fetch::FetchError;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Fixture, HOUR, MINUTE, Outcome, SECOND, URL, has, jwk, jwks, set_of};
use crate::testing::Reply;

#[tokio::test]
async fn fetches_for_the_first_unknown_kid_after_the_initial_fetch() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.publish(&["a", "b"]);
    assert_eq!(Fixture::request(&fixture.source, "b").await, Outcome::Served);
    assert_eq!((fixture.network.calls(), fixture.epoch()), (2, 2));
}

#[tokio::test]
async fn requests_for_a_new_key_share_one_fetch() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND));
    let requests: Vec<_> = (0..1000).map(|_| fixture.spawn("b")).collect();
    fixture.run(SECOND).await;
    for request in requests {
        assert_eq!(request.await.expect("no panic"), Outcome::Served);
    }
    assert_eq!(fixture.network.calls(), 2);
}

/// A request that starts to wait when the fetch completes gets its set, and needs no other fetch.
#[tokio::test]
async fn serves_an_unknown_kid_that_arrives_as_the_fetch_completes() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND));
    while fixture.network.in_flight() == 0 {
        fixture.run(SECOND / 10).await;
    }
    let mut request = Box::pin(Fixture::request(&fixture.source, "b"));
    assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    // The driver has not run since, and finds both events.
    fixture.clock.advance(SECOND);
    fixture.clock.settle().await;
    assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Outcome::Served));
    fixture.run(20 * SECOND).await;
    assert_eq!((fixture.network.calls(), fixture.epoch()), (2, 2), "no second fetch");
}

#[tokio::test]
async fn sends_no_cache_and_no_etag_for_an_unknown_kid() {
    let fixture = Fixture::loaded(&["a"]).await;
    assert_eq!(Fixture::request(&fixture.source, "b").await, Outcome::NotFound);
    let headers = &fixture.network.requests()[1].headers;
    assert_eq!(headers.get(CACHE_CONTROL).map(|value| value.as_bytes()), Some(&b"no-cache"[..]));
    assert!(!headers.contains_key(IF_NONE_MATCH));
    assert!(!fixture.network.requests()[0].headers.contains_key(CACHE_CONTROL));
}

#[tokio::test]
async fn limits_a_flood_of_unknown_kids_to_8_fetches_a_minute() {
    let fixture = Fixture::loaded(&["a"]).await;
    let before = fixture.network.calls();
    for second in 0..60 {
        let requests: Vec<_> = (0..1000).map(|random| fixture.spawn(format!("{second}-{random}"))).collect();
        // The next minute starts after 60 s, and so may a fetch.
        fixture.run(SECOND - if second == 59 { SECOND / 1000 } else { Duration::ZERO }).await;
        assert!(requests.iter().all(|request| request.is_finished()), "no request waits for the cool-down");
        assert!(fixture.serves("a"));
    }
    let fetches = fixture.network.calls() - before;
    assert!((6..=8).contains(&fetches), "{fetches}");
}

#[tokio::test]
async fn serves_a_new_key_within_15_s_in_a_flood() {
    let fixture = Fixture::loaded(&["a"]).await;
    for second in 0..60 {
        if second == 20 {
            fixture.publish(&["a", "b"]);
        }
        for random in 0..1000 {
            drop(fixture.spawn(format!("{second}-{random}")));
        }
        // The next minute starts after 60 s, and so may a fetch.
        fixture.run(SECOND - if second == 59 { SECOND / 1000 } else { Duration::ZERO }).await;
        assert!(fixture.serves("a"), "at {second} s");
        assert!(fixture.serves("b") || second <= 35, "the new key is unknown at {second} s");
    }
    // A flood of a minute and the change of the key set.
    let in_a_minute = fixture.network.calls() - 1;
    assert!((7..=8).contains(&in_a_minute), "{in_a_minute}");
}

#[tokio::test]
async fn serves_known_kids_in_a_flood_while_the_issuer_is_down() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::error(FetchError::Connect));
    let before = fixture.network.calls();
    for second in 0..60 {
        let requests: Vec<_> = (0..100).map(|random| fixture.spawn(format!("{second}-{random}"))).collect();
        fixture.run(SECOND).await;
        for request in requests {
            assert_eq!(request.await.expect("no panic"), Outcome::NotFound, "at {second} s");
        }
        assert!(fixture.serves("a"));
    }
    // Eight operations of at most two attempts each.
    let attempts = fixture.network.calls() - before;
    assert!(attempts <= 16, "{attempts}");
}

#[tokio::test]
async fn serves_known_kids_through_scheduled_refreshes_in_a_flood() {
    let fixture = Fixture::loaded(&["a"]).await;
    for second in 0..600 {
        fixture.spawn(format!("random-{second}"));
        fixture.run(SECOND).await;
        assert!(fixture.serves("a"), "the flood does not delay the refresh");
    }
    assert_eq!(fixture.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn makes_the_follow_up_fetch_without_another_request() {
    let fixture = Fixture::loaded(&["a"]).await;
    assert_eq!(Fixture::request(&fixture.source, "b").await, Outcome::NotFound);
    assert_eq!(Fixture::request(&fixture.source, "b").await, Outcome::NotFound);
    fixture.publish(&["a", "b"]);
    assert!(!fixture.serves("b"));
    fixture.run(SECOND).await;
    assert!(fixture.serves("b"), "the second unknown kid scheduled a follow-up fetch");
    assert_eq!(fixture.network.calls(), 3);
}

#[tokio::test]
async fn fetches_once_more_when_the_unknown_kid_is_not_found() {
    let fixture = Fixture::loaded(&["a"]).await;
    assert_eq!(Fixture::request(&fixture.source, "b").await, Outcome::NotFound);
    fixture.publish(&["a", "b"]);
    fixture.run(SECOND).await;
    assert!(fixture.serves("b"));
    fixture.run(MINUTE).await;
    assert_eq!(fixture.network.calls(), 3, "and no more fetches");
}

#[tokio::test]
async fn schedules_a_follow_up_after_a_waiting_request_was_not_found() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(jwks(&["a"])).with_delay(SECOND / 2));
    let request = fixture.spawn("b");
    fixture.run(SECOND / 2).await;
    assert_eq!(request.await.expect("no panic"), Outcome::NotFound);
    fixture.publish(&["a", "b"]);
    fixture.run(SECOND).await;
    assert!(fixture.serves("b"));
}

#[tokio::test]
async fn fetches_for_an_unknown_kid_that_joined_a_scheduled_fetch() {
    let fixture = Fixture::loaded(&["a"]).await;
    // The reply to the scheduled fetch is from a cache that does not have `b` yet.
    fixture.network.once(URL, Reply::json(jwks(&["a"])).with_delay(SECOND));
    fixture.publish(&["a", "b"]);
    while fixture.network.in_flight() == 0 {
        fixture.run(SECOND / 2).await;
    }
    let request = fixture.spawn("b");
    fixture.clock.settle().await;
    assert_eq!(fixture.network.calls(), 2);
    fixture.run(SECOND).await;
    assert_eq!(request.await.expect("no panic"), Outcome::Served);
    assert_eq!(fixture.network.calls(), 3);
}

#[tokio::test]
async fn fetches_again_when_a_changed_set_lacks_the_key() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.network.once(URL, Reply::json(jwks(&["a", "c"])).with_delay(SECOND));
    fixture.publish(&["a", "b", "c"]);
    while fixture.network.in_flight() == 0 {
        fixture.run(SECOND / 2).await;
    }
    let request = fixture.spawn("b");
    fixture.run(SECOND).await;
    assert_eq!(request.await.expect("no panic"), Outcome::Served);
}

#[tokio::test]
async fn returns_the_newer_snapshot_for_an_older_epoch_without_a_fetch() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.publish(&["a", "b"]);
    fixture.source.reload().await.expect("reloaded");
    let calls = fixture.network.calls();
    let newer = fixture.source.newer_keys(1, None, "b", |table| has(table, "b")).await.expect("keys are usable");
    assert_eq!(newer.map(|snapshot| snapshot.epoch), Some(2));
    assert_eq!(fixture.network.calls(), calls);
}

#[tokio::test]
async fn waits_at_most_unknown_kid_wait_and_keeps_the_fetch() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(Duration::from_millis(2500)));
    let request = fixture.spawn("b");
    fixture.run(Duration::from_millis(1999)).await;
    assert!(!request.is_finished());
    fixture.run(Duration::from_millis(1)).await;
    assert_eq!(request.await.expect("no panic"), Outcome::NotFound);
    fixture.run(SECOND).await;
    assert!(fixture.serves("b"));
    assert_eq!(fixture.network.calls(), 2);
}

/// The scheduled fetch may have started before the publication. The second fetch, which looks for the key, takes as long again.
#[tokio::test]
async fn waits_as_long_again_for_the_fetch_after_the_one_that_it_joined() {
    let fetch = Duration::from_millis(1800);
    for (cold_wait, second, expected) in [
        (5 * SECOND, fetch, Some(Outcome::Served)),
        (5 * SECOND, 2 * SECOND + SECOND / 2, Some(Outcome::NotFound)),
        (3 * SECOND, fetch, Some(Outcome::NotFound)),
    ] {
        let policy = RefreshPolicy::new().with_cold_wait(cold_wait);
        let fixture = Fixture::loaded_with(policy, &["a"]).await;
        fixture.network.once(URL, Reply::json(jwks(&["a"])).with_delay(fetch));
        fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(second));
        while fixture.network.in_flight() == 0 {
            fixture.run(SECOND / 100).await;
        }
        let request = fixture.spawn("b");
        let limit = cold_wait.min(fetch + 2 * SECOND).min(fetch + second);
        fixture.run(limit - SECOND / 20).await;
        assert!(!request.is_finished(), "{cold_wait:?}, {second:?}");
        fixture.run(SECOND / 20).await;
        assert!(request.is_finished(), "{cold_wait:?}, {second:?}");
        assert_eq!(request.await.ok(), expected, "{cold_wait:?}, {second:?}");
        fixture.run(SECOND).await;
        assert!(fixture.serves("b"), "{cold_wait:?}, {second:?}");
    }
}

/// The follow-up fetch does not depend on how long the request waits: neither after its own fetch, nor after one that it
/// joined.
#[tokio::test]
async fn makes_the_follow_up_fetch_after_the_request_was_dropped() {
    for has_joined in [false, true] {
        for (delay, stays) in [(1500, true), (1500, false), (2500, true)] {
            let fixture = Fixture::loaded(&["a"]).await;
            let old = Reply::json(jwks(&["a"])).with_delay(Duration::from_millis(delay));
            fixture.network.once(URL, old);
            fixture.publish(&["a", "b"]);
            while has_joined && fixture.network.in_flight() == 0 {
                fixture.run(SECOND / 4).await;
            }
            let request = fixture.spawn("b");
            fixture.clock.settle().await;
            assert_eq!(fixture.network.in_flight(), 1);
            if !stays {
                request.abort();
            }
            fixture.run(5 * SECOND).await;
            assert!(fixture.serves("b"), "{has_joined} {delay} {stays}");
            assert_eq!(fixture.network.calls(), 3, "{has_joined} {delay} {stays}");
        }
    }
}

#[tokio::test]
async fn completes_the_fetch_when_requests_are_dropped_at_any_poll() {
    // Ten requests are dropped after their n-th poll; a last request is served by the same fetch.
    for polls in 0..6 {
        let fixture = Fixture::loaded(&["a"]).await;
        fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND));
        for _ in 0..10 {
            let mut request = Box::pin(Fixture::request(&fixture.source, "b"));
            for _ in 0..polls {
                assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
                fixture.clock.settle().await;
            }
        }
        let last = fixture.spawn("b");
        fixture.run(SECOND).await;
        assert_eq!(last.await.expect("no panic"), Outcome::Served, "after {polls} polls");
        assert_eq!(fixture.network.calls(), 2, "after {polls} polls");
    }
}

#[tokio::test]
async fn completes_the_first_fetch_when_requests_are_dropped_at_any_poll() {
    for polls in 0..6 {
        let fixture = Fixture::new(Reply::json(jwks(&["a"])).with_delay(SECOND));
        for _ in 0..10 {
            let mut request = Box::pin(Fixture::request(&fixture.source, "a"));
            for _ in 0..polls {
                assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
                fixture.clock.settle().await;
            }
        }
        fixture.run(SECOND).await;
        assert!(fixture.serves("a"));
        assert_eq!(fixture.network.calls(), 1, "after {polls} polls");
    }
}

#[tokio::test]
async fn serves_a_request_whose_fetch_completes_between_two_polls() {
    // The fetch ends between any two polls of the waiter.
    for polls in 0..4 {
        let fixture = Fixture::loaded(&["a"]).await;
        fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND));
        let mut request = Box::pin(Fixture::request(&fixture.source, "b"));
        let mut outcome = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        for _ in 0..polls {
            outcome = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        assert_eq!(outcome, Poll::Pending);
        fixture.clock.settle().await;
        fixture.run(SECOND).await;
        assert_eq!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Outcome::Served));
    }
}

#[tokio::test]
async fn returns_not_for_verification_for_the_kid_of_an_encryption_key() {
    let enc = jwk("e", "e").replace(r#""use":"sig""#, r#""use":"enc""#);
    let fixture = Fixture::new(Reply::json(set_of(&[jwk("a", "a"), enc])));
    fixture.clock.settle().await;
    // A validator requests newer keys only if no key of the set has the kid.
    let table = match fixture.source.snapshot() {
        crate::jwks::source::View::Usable(snapshot) => snapshot.table.clone(),
        crate::jwks::source::View::Unavailable => panic!("no keys"),
    };
    let found = table.find(Some("e"), crate::token::Algorithm::ES256);
    assert!(matches!(found, crate::keys::Found::NotForVerification));
}

#[tokio::test]
async fn returns_not_found_with_keys_and_unavailable_without() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    // With fresh, aging and stale keys, an unknown kid is an error of the client.
    for state in [KeyState::Fresh, KeyState::Aging, KeyState::Stale] {
        while fixture.source.status().state() != state {
            fixture.run(SECOND).await;
        }
        assert_eq!(fixture.request_now("zz").await, Outcome::NotFound, "{state}");
        assert_eq!(fixture.request_now("a").await, Outcome::Served, "{state}");
    }
    fixture.run(HOUR).await;
    assert_eq!(fixture.source.status().state(), KeyState::Expired);
    for kid in ["zz", "a"] {
        assert!(matches!(fixture.request_now(kid).await, Outcome::Unavailable(_)), "{kid}");
    }
}

/// A request that may not wait still starts a fetch, which serves later requests.
#[tokio::test]
async fn fetches_for_an_unknown_kid_without_a_wait() {
    let fixture = Fixture::loaded_with(RefreshPolicy::new().with_unknown_kid_wait(Duration::ZERO), &["a"]).await;
    fixture.publish(&["a", "b"]);
    assert_eq!(fixture.request_now("b").await, Outcome::NotFound);
    assert_eq!(fixture.request_now("b").await, Outcome::Served);
    assert_eq!(fixture.network.calls(), 2);
}

/// The wait for the first keys and the wait for an unknown kid take at most `cold_wait` together.
#[tokio::test]
async fn waits_at_most_cold_wait_for_the_first_keys_and_an_unknown_kid() {
    let fixture = Fixture::new(Reply::json(jwks(&["a"])).with_delay(Duration::from_millis(2900)));
    let policy_says = crate::defaults::COLD_WAIT;
    let request = fixture.spawn("b");
    fixture.run(Duration::from_millis(2900)).await;
    fixture.answer(Reply::hang());
    let late = Fixture::with(RefreshPolicy::new().with_cold_wait(3 * SECOND), Reply::hang());
    late.network.once(URL, Reply::json(jwks(&["a"])).with_delay(Duration::from_millis(2900)));
    let short_wait = late.spawn("b");
    late.run(3 * SECOND).await;
    assert!(short_wait.is_finished(), "3 s are over");
    assert_eq!(short_wait.await.expect("no panic"), Outcome::NotFound);
    fixture.run(policy_says - Duration::from_millis(2900)).await;
    assert!(request.is_finished());
}

#[tokio::test]
async fn returns_not_found_at_once_above_max_waiters() {
    let policy = RefreshPolicy::new().with_max_waiters(2);
    let fixture = Fixture::loaded_with(policy, &["a"]).await;
    fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND));
    let requests: Vec<_> = (0..5).map(|_| fixture.spawn("b")).collect();
    fixture.clock.settle().await;
    assert_eq!(requests.iter().filter(|request| request.is_finished()).count(), 3);
    fixture.run(SECOND).await;
    let mut served = 0;
    for request in requests {
        served += usize::from(request.await.expect("no panic") == Outcome::Served);
    }
    assert_eq!(served, 2);
}

#[tokio::test]
async fn drops_a_removed_key_with_the_next_epoch() {
    let fixture = Fixture::loaded(&["a", "b"]).await;
    let old = fixture.source.ready_snapshot().await.expect("usable");
    fixture.publish(&["b"]);
    fixture.run(5 * MINUTE).await;
    let new = fixture.source.ready_snapshot().await.expect("usable");
    assert!(has(&old.table, "a") && !has(&new.table, "a"));
    assert_eq!((old.epoch, new.epoch), (1, 2));
    assert_eq!(Arc::strong_count(&old), 1, "the old set has no other owner");
}

/// G3 and G6: the fetch for one kid changes the set. Another kid arrived meanwhile, and its client does not wait for the outcome.
#[tokio::test]
async fn looks_again_for_a_kid_that_arrived_during_a_fetch_that_changed_the_set() {
    for waits in [false, true] {
        let fixture = Fixture::loaded(&["a"]).await;
        fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND));
        let first = fixture.spawn("b");
        fixture.run(SECOND / 5).await;
        fixture.publish(&["a", "b", "c"]);
        let second = fixture.spawn("c");
        fixture.run(SECOND / 5).await;
        if !waits {
            second.abort();
        }
        fixture.run(SECOND).await;
        assert_eq!(first.await.expect("no panic"), Outcome::Served);
        assert!(fixture.serves("c"), "a second fetch follows at the end of the cool-down");
        assert_eq!(fixture.network.calls(), 3);
    }
}
