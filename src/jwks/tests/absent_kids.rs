//! Tests of clients that keep sending kids that the issuer does not publish: they do not delay a new key.

use std::time::Duration;

use http::header::CACHE_CONTROL;

use crate::jwks::policy::RefreshPolicy;
use crate::jwks::tests::kit::{Fixture, MINUTE, ONE_REFRESH, Outcome, SECOND, URL, jwks};
use crate::testing::Reply;

/// A source whose clients send `kids` old kids every five seconds, half a minute after its start.
struct Ambient {
    fixture: Fixture,
    kids: usize,
    /// The number of half seconds since the start.
    ticks: u32,
}

const TICK: Duration = Duration::from_millis(500);

impl Ambient {
    async fn new(kids: usize, delay: Duration) -> Self {
        let fixture = Fixture::loaded(&["a"]).await;
        fixture.answer(Reply::json(jwks(&["a"])).with_delay(delay));
        let mut ambient = Self { fixture, kids, ticks: 0 };
        ambient.run(30 * SECOND).await;
        ambient
    }

    async fn run(&mut self, span: Duration) {
        let end = self.ticks + u32::try_from(span.as_millis() / TICK.as_millis()).expect("short");
        while self.ticks < end {
            for kid in 0..self.kids {
                if (self.ticks + u32::try_from(kid).expect("few")).is_multiple_of(10) {
                    drop(self.fixture.spawn(format!("old-{kid}")));
                }
            }
            self.ticks += 1;
            self.fixture.run(TICK).await;
        }
    }

    /// Sends a token with a new kid and returns its outcome after a second.
    async fn first_request(&mut self, kid: &str) -> Outcome {
        let request = self.fixture.spawn(kid);
        self.run(SECOND).await;
        assert!(request.is_finished(), "{kid}");
        request.await.expect("no panic")
    }
}

/// The new key is published at any time between two fetches for the old kids, and its first token arrives at once.
#[tokio::test]
async fn serves_a_new_key_at_its_first_request_beside_ambient_kids() {
    for kids in [1, 2, 30, 500] {
        for ticks in 0..40 {
            let mut ambient = Ambient::new(kids, SECOND / 10).await;
            ambient.run(ticks * TICK).await;
            ambient.fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND / 10));
            let requests: Vec<_> = (0..10).map(|_| ambient.fixture.spawn("b")).collect();
            ambient.run(SECOND).await;
            for request in requests {
                assert!(request.is_finished(), "{kids} old kids, {ticks} ticks");
                assert_eq!(request.await.expect("no panic"), Outcome::Served, "{kids} old kids, {ticks} ticks");
            }
        }
    }
}

/// No fetch has looked for the old kid yet, so its first token may be one of a new key. It delays a key that is published in the
/// same second, and no other.
#[tokio::test]
async fn the_first_token_of_an_old_kid_delays_a_new_key_by_at_most_a_second() {
    for tick in 0..40 {
        let fixture = Fixture::loaded(&["a"]).await;
        for _ in 0..3 {
            assert_eq!(fixture.request_now("old").await, Outcome::NotFound);
        }
        fixture.run(tick * SECOND / 10).await;
        fixture.publish(&["a", "b"]);
        let first = fixture.request_now("b").await;
        assert_eq!(first, if tick < 10 { Outcome::NotFound } else { Outcome::Served }, "{tick}");
        fixture.run(SECOND).await;
        assert!(fixture.serves("b"), "{tick}");
    }
}

/// A client that retries seldom is remembered as well, since the fetches for other old kids confirm that its kid is absent.
#[tokio::test]
async fn serves_a_new_key_at_its_first_request_beside_seldom_ambient_kids() {
    for last in 0..6 {
        let fixture = Fixture::loaded(&["a"]).await;
        for kid in (0..6).chain(0..6).chain(0..last) {
            fixture.spawn(format!("old-{kid}"));
            fixture.run(20 * SECOND).await;
        }
        // Its last token arrived two minutes ago.
        fixture.spawn(format!("old-{last}"));
        fixture.run(SECOND / 10).await;
        fixture.publish(&["a", "b"]);
        assert_eq!(fixture.request_now("b").await, Outcome::Served, "after kid {last}");
    }
}

/// The fetch for the old kid started before the publication, and returns after the first token of the new key arrived.
#[tokio::test]
async fn serves_a_new_key_that_is_published_during_the_fetch_for_an_absent_kid() {
    let mut ambient = Ambient::new(1, SECOND / 2).await;
    while ambient.fixture.network.in_flight() == 0 {
        ambient.run(TICK).await;
        drop(ambient.fixture.spawn("old-0"));
        ambient.fixture.clock.settle().await;
    }
    ambient.fixture.publish(&["a", "b"]);
    let request = ambient.fixture.spawn("b");
    ambient.fixture.run(SECOND).await;
    assert!(request.is_finished());
    assert_eq!(request.await.expect("no panic"), Outcome::Served);
}

#[tokio::test]
async fn ambient_kids_cause_one_fetch_per_longest_cool_down() {
    for (kids, fetches) in [(1, 4), (500, 4)] {
        let mut ambient = Ambient::new(kids, Duration::ZERO).await;
        let before = ambient.fixture.network.calls();
        ambient.run(MINUTE).await;
        assert_eq!(ambient.fixture.network.calls() - before, fetches, "{kids} old kids");
        assert!(ambient.fixture.serves("a"));
    }
}

#[tokio::test]
async fn answers_an_absent_kid_at_once_between_two_fetches() {
    let fixture = Fixture::loaded(&["a"]).await;
    assert_eq!(Fixture::request(&fixture.source, "old").await, Outcome::NotFound);
    fixture.run(2 * SECOND).await;
    fixture.answer(Reply::hang());
    for _ in 0..12 {
        assert_eq!(fixture.request_now("old").await, Outcome::NotFound);
        fixture.run(SECOND).await;
    }
    assert_eq!(fixture.network.calls(), 3, "no other fetch has started");
}

/// G3: a key that is published 1 s after its kid was found absent, without any other request, or with one each second.
#[tokio::test]
async fn serves_a_key_that_is_published_1s_after_its_kid_was_found_absent() {
    for later_requests in [false, true] {
        let fixture = Fixture::loaded(&["a"]).await;
        assert_eq!(Fixture::request(&fixture.source, "b").await, Outcome::NotFound);
        fixture.run(SECOND + SECOND / 100).await;
        let calls = fixture.network.calls();
        assert_eq!(calls, 3, "the follow-up fetch was too early");
        fixture.publish(&["a", "b"]);
        let mut outcomes = Vec::new();
        for second in 0..20 {
            if later_requests || second == 0 {
                outcomes.push(fixture.request_now("b").await);
            }
            fixture.run(SECOND).await;
        }
        assert!(fixture.serves("b"));
        assert_eq!(outcomes[0], Outcome::NotFound);
        if later_requests {
            let refused = outcomes.iter().filter(|outcome| **outcome == Outcome::NotFound).count();
            assert!(refused <= 15, "{outcomes:?}");
        }
        assert_eq!(fixture.network.calls(), calls + 1);
    }
}

/// G3: an attacker sends the kid of the next key every second before it is published.
#[tokio::test]
async fn serves_a_key_whose_kid_an_attacker_sends_before_it_is_published() {
    for attacked in [1, 7, 40, 100] {
        let fixture = Fixture::loaded(&["a"]).await;
        let before = fixture.network.calls();
        for _ in 0..attacked {
            assert_eq!(fixture.request_now("b").await, Outcome::NotFound);
            fixture.run(SECOND).await;
        }
        fixture.publish(&["a", "b"]);
        let mut refused = 0;
        while fixture.request_now("b").await != Outcome::Served {
            refused += 1;
            fixture.run(SECOND).await;
        }
        assert!(refused <= 15, "{refused} s after {attacked} s");
        if attacked == 40 {
            assert!(fixture.network.calls() - before <= 8, "{}", fixture.network.calls());
        }
    }
}

/// Two keys are published one after the other. The old kids are still known to be absent after the first change, so they use up
/// no fetch that the second key needs.
#[tokio::test]
async fn serves_two_new_keys_at_their_first_requests_beside_ambient_kids() {
    for kids in [5, 20] {
        for seconds in [5, 10, 20, 40, 58] {
            for scheduled in [false, true] {
                let mut ambient = Ambient::new(kids, SECOND / 10).await;
                ambient.run(90 * SECOND).await;
                ambient.fixture.answer(Reply::json(jwks(&["a", "x"])).with_delay(SECOND / 10));
                if scheduled {
                    ambient.run(ONE_REFRESH).await;
                }
                assert_eq!(ambient.first_request("x").await, Outcome::Served, "{kids} old kids");
                ambient.run(seconds * SECOND).await;
                ambient.fixture.answer(Reply::json(jwks(&["x", "b"])).with_delay(SECOND / 10));
                assert_eq!(ambient.first_request("b").await, Outcome::Served, "{kids} old kids, {seconds} s");
            }
        }
    }
}

/// G3: the key of an absent kid is published again after another change of the key set.
#[tokio::test]
async fn serves_a_key_that_returns_after_a_change_of_the_key_set() {
    let fixture = Fixture::loaded(&["a"]).await;
    assert_eq!(Fixture::request(&fixture.source, "old").await, Outcome::NotFound);
    fixture.run(2 * SECOND).await;
    fixture.publish(&["a", "b"]);
    fixture.source.reload().await.expect("reloaded");
    fixture.publish(&["a", "b", "old"]);
    assert_eq!(fixture.request_now("old").await, Outcome::NotFound);
    fixture.run(15 * SECOND).await;
    assert!(fixture.serves("old"));
}

/// A cache returns the old key set once more after the first token of the new key was accepted. The next token is not treated like
/// one of the old kids, although no fetch found the key when it was first looked for.
#[tokio::test]
async fn serves_a_key_that_disappears_for_one_fetch_beside_ambient_kids() {
    for ticks in 0..40 {
        let mut ambient = Ambient::new(2, SECOND / 10).await;
        assert_eq!(ambient.first_request("b").await, Outcome::NotFound);
        ambient.fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND / 10));
        // A minute later, the fetches of the start no longer count against the limit.
        ambient.run(90 * SECOND).await;
        assert!(ambient.fixture.serves("b"));
        ambient.fixture.network.once(URL, Reply::json(jwks(&["a"])));
        while ambient.fixture.serves("b") {
            ambient.fixture.run(SECOND).await;
        }
        ambient.run(ticks * TICK).await;
        assert!(ambient.fixture.serves("b") || ambient.first_request("b").await == Outcome::Served, "{ticks} ticks");
    }
}

/// Random kids stay under the cool-down, beside ambient kids and without them.
#[tokio::test]
async fn limits_random_kids_beside_ambient_kids() {
    for kids in [0, 20] {
        let mut ambient = Ambient::new(kids, Duration::ZERO).await;
        let before = ambient.fixture.network.calls();
        for second in 0..60 {
            for random in 0..200 {
                drop(ambient.fixture.spawn(format!("random-{second}-{random}")));
            }
            // The next minute starts after 60 s, and so may a fetch.
            ambient.run(if second == 59 { TICK } else { SECOND }).await;
            assert!(ambient.fixture.serves("a"));
        }
        let fetches = ambient.fixture.network.calls() - before;
        assert!((5..=8).contains(&fetches), "{fetches} beside {kids} old kids");
    }
}

/// An outage while only old kids arrive: the backoff applies to them, too, and the keys stay in use.
#[tokio::test]
async fn ambient_kids_start_no_fetch_in_a_backoff() {
    let mut ambient = Ambient::new(3, Duration::ZERO).await;
    ambient.fixture.answer(Reply::error(crate::fetch::FetchError::Connect));
    let before = ambient.fixture.network.calls();
    ambient.run(MINUTE).await;
    // One fetch fails with both attempts. All others are retries, which may be answered by a cache.
    let requests = ambient.fixture.network.requests().split_off(before);
    assert!((6..=16).contains(&requests.len()), "{}", requests.len());
    assert!(requests[2..].iter().all(|request| !request.headers.contains_key(CACHE_CONTROL)));
    assert!(ambient.fixture.serves("a"));
}

/// The longest cool-down of the policy is that of absent kids.
#[tokio::test]
async fn obeys_the_longest_cool_down_of_the_policy() {
    let policy = RefreshPolicy::new().with_unknown_kid_cooldown_max(5 * SECOND);
    let fixture = Fixture::loaded_with(policy, &["a"]).await;
    fixture.run(ONE_REFRESH).await;
    assert_eq!(Fixture::request(&fixture.source, "old").await, Outcome::NotFound);
    fixture.run(10 * SECOND).await;
    let before = fixture.network.calls();
    for _ in 0..20 {
        fixture.spawn("old");
        fixture.run(SECOND).await;
    }
    assert_eq!(fixture.network.calls() - before, 5, "after 0, 5, 10, 15 and 20 s");
}
