//! Renewal in the background, and what happens when it fails.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use http::header::{AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};

use crate::clock::{Clock as _, Timestamp};
use crate::fetch::{Endpoint, FetchError};
use crate::jwks::error::RefreshError;
use crate::jwks::operation::{Caches, KeyRequest, Operation, Target};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{HOUR, MINUTE, ONE_REFRESH, Outcome, SECOND, URL, World, jwk, jwks, set_of};
use crate::testing::{FakeClock, FakeFetch, Reply};
use crate::token::Algorithm;

/// Runs until the next fetch, and returns how long that took.
async fn until_fetch(world: &World) -> Duration {
    let (calls, start) = (world.network.calls(), world.clock.monotonic());
    while world.network.calls() == calls {
        world.run(SECOND).await;
    }
    world.clock.monotonic().saturating_since(start)
}

fn seconds(span: Duration, expected: std::ops::RangeInclusive<u64>) {
    assert!(expected.contains(&span.as_secs()), "{span:?} is not within {expected:?} s");
}

#[tokio::test]
async fn expiry_10k_zero_waits() {
    let world = World::loaded(&["a"]).await;
    // While the refresh is in flight, and again once the keys are stale since it brings nothing.
    world.answer(Reply::hang());
    for state in [KeyState::Aging, KeyState::Stale] {
        while world.source.status().state() != state || world.network.in_flight() == 0 {
            world.run(SECOND / 2).await;
        }
        let calls = world.network.calls();
        assert!(world.serves("a"), "{state}");
        for _ in 0..10_000 {
            let first_look = pin!(World::request(&world.source, "a")).poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(first_look, Poll::Ready(Outcome::Served), "{state}");
        }
        assert_eq!((world.network.calls(), world.network.in_flight()), (calls, 1));
    }
}

/// Requests are many while keys are stale, and pay nothing for it.
#[tokio::test]
async fn stale_keys_are_served_without_an_allocation() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::error(FetchError::Connect));
    world.run(310 * SECOND).await;
    assert_eq!(world.source.status().state(), KeyState::Stale);
    assert!(world.serves("a"), "what is made on first use is there");
    assert_eq!(allocation_counter::measure(|| assert!(world.serves("a"))).count_total, 0);
}

/// Expired keys are refused at once: nobody queues up for the next retry.
#[tokio::test]
async fn expired_keys_make_nobody_wait() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::hang());
    world.run(HOUR).await;
    while world.network.in_flight() == 0 {
        world.run(SECOND / 2).await;
    }
    assert_eq!(world.source.status().state(), KeyState::Expired);
    assert!(matches!(world.ask("a").await, Outcome::Unavailable(_)));
}

/// What a 304 says of its age counts like that of a 200.
#[tokio::test]
async fn a_304_has_times_of_its_own() {
    let world = World::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    world.answer(Reply::status(StatusCode::NOT_MODIFIED).with_header(CACHE_CONTROL, "max-age=60"));
    until_fetch(&world).await;
    seconds(until_fetch(&world).await, 40..=54);
}

/// And where it says nothing, what was said last goes on being valid: RFC 9111 §4.3.4.
#[tokio::test]
async fn a_304_without_times_leaves_the_stored_ones() {
    let set = Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"").with_header(CACHE_CONTROL, "max-age=60");
    let world = World::at_url(set).await;
    let unchanged = || Reply::status(StatusCode::NOT_MODIFIED);
    world.answer(unchanged());
    for _ in 0..3 {
        seconds(until_fetch(&world).await, 40..=52);
    }
    // Another word takes its place, until there is yet another.
    world.network.once(URL, unchanged().with_header(CACHE_CONTROL, "max-age=150"));
    until_fetch(&world).await;
    for _ in 0..3 {
        seconds(until_fetch(&world).await, 101..=128);
    }
    // The age is that of each answer, and never the one before.
    world.network.once(URL, unchanged().with_header(AGE, "90"));
    until_fetch(&world).await;
    seconds(until_fetch(&world).await, 40..=52);
    seconds(until_fetch(&world).await, 101..=128);
    // A whole set brings its own times, or none.
    world.answer(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\""));
    until_fetch(&world).await;
    world.answer(unchanged());
    for _ in 0..2 {
        seconds(until_fetch(&world).await, 202..=256);
    }
}

/// The validator is that of the set at hand, and only it.
#[tokio::test]
async fn each_set_brings_its_own_validator() {
    let world = World::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    world.answer(Reply::json(jwks(&["b"])).with_header(ETAG, "\"v2\""));
    until_fetch(&world).await;
    until_fetch(&world).await;
    let sent = world.network.requests()[2].headers.get(IF_NONE_MATCH).cloned();
    assert_eq!(sent.as_ref().map(|etag| etag.as_bytes()), Some(&b"\"v2\""[..]));
}

#[tokio::test]
async fn keys_are_renewed_without_traffic() {
    let world = World::loaded(&["a"]).await;
    seconds(until_fetch(&world).await, 60..=256);
    world.publish(&["b"]);
    seconds(until_fetch(&world).await, 202..=256);
    assert!(world.serves("b") && !world.serves("a"));
    assert_eq!(world.epoch(), 2);
}

#[tokio::test]
async fn stale_then_hard_expiry_503() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::status(StatusCode::SERVICE_UNAVAILABLE));
    world.run(310 * SECOND).await;
    let status = world.source.status();
    assert_eq!((status.state(), status.is_ready()), (KeyState::Stale, true));
    assert_eq!(status.last_error(), Some(RefreshError::Status { status: 503 }));
    world.run(HOUR - 311 * SECOND).await;
    assert_eq!(world.ask("a").await, Outcome::Served);
    world.run(SECOND).await;
    let status = world.source.status();
    assert_eq!((status.state(), status.is_ready(), status.usable_keys()), (KeyState::Expired, false, 0));
    assert!(matches!(world.ask("a").await, Outcome::Unavailable(wait) if wait >= SECOND && wait <= 15 * SECOND));
}

#[tokio::test]
async fn expired_recovers_le_15s() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::error(FetchError::Connect));
    world.run(HOUR + 10 * MINUTE).await;
    assert_eq!(world.source.status().state(), KeyState::Expired);
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    assert_eq!(world.ask("a").await, Outcome::Served);
    assert_eq!(world.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn strict_freshness_serves_nothing_past_the_period() {
    let world = World::loaded_with(RefreshPolicy::new().strict_freshness(), &["a"]).await;
    world.answer(Reply::error(FetchError::Connect));
    world.run(269 * SECOND).await;
    assert!(world.serves("a"));
    world.run(31 * SECOND).await;
    assert_eq!(world.source.status().state(), KeyState::Expired);
}

#[tokio::test]
async fn unbounded_staleness_serves_for_ever() {
    let world = World::loaded_with(RefreshPolicy::new().dangerous_unbounded_staleness(), &["a"]).await;
    world.answer(Reply::error(FetchError::Connect));
    world.run(12 * HOUR).await;
    assert!(world.serves("a"));
    assert_eq!(world.source.status().state(), KeyState::Stale);
}

#[tokio::test]
async fn what_is_no_key_set_keeps_the_old_one() {
    let weak = jwk("b", "b").replace("P-256", "P-384");
    for (reply, error) in [
        (Reply::json(r#"{"keys":[]}"#), RefreshError::NoUsableKeys),
        (Reply::json(set_of(&[weak])), RefreshError::NoUsableKeys),
        (Reply::json(r#"{"keys":[]"#), RefreshError::InvalidDocument),
        (Reply::json(format!("{} x", jwks(&["b"]))), RefreshError::InvalidDocument),
        (Reply::json(format!("\u{feff}{}", jwks(&["b"]))), RefreshError::InvalidDocument),
        (Reply::json(r#"{"keys":[],"keys":[]}"#), RefreshError::InvalidDocument),
        (Reply::json("[".repeat(10_000)), RefreshError::InvalidDocument),
        (Reply::json(set_of(&vec![jwk("b", "b"); 101])), RefreshError::TooManyKeys),
        (Reply::json(vec![b' '; 256 * 1024 + 1]), RefreshError::Network { error: FetchError::TooLarge }),
        (Reply::status(StatusCode::FOUND).with_header(LOCATION, "https://evil.example/"), RefreshError::Redirect),
        (Reply::status(StatusCode::NOT_FOUND), RefreshError::Status { status: 404 }),
        (Reply::status(StatusCode::CREATED).with_body(jwks(&["b"])), RefreshError::Status { status: 201 }),
        (Reply::error(FetchError::Tls), RefreshError::Network { error: FetchError::Tls }),
        (Reply::error(FetchError::AddressRefused), RefreshError::Network { error: FetchError::AddressRefused }),
        (Reply::panic(), RefreshError::Panic),
    ] {
        keeps_the_old_set(reply, error).await;
    }
}

#[tokio::test]
async fn html_200_keeps_old() {
    keeps_the_old_set(Reply::json("<!doctype html><title>Sign in</title>"), RefreshError::InvalidDocument).await;
}

#[tokio::test]
async fn unexpected_304_fails() {
    keeps_the_old_set(Reply::status(StatusCode::NOT_MODIFIED), RefreshError::UnexpectedNotModified).await;
}

async fn keeps_the_old_set(reply: Reply, error: RefreshError) {
    let world = World::loaded(&["a"]).await;
    world.answer(reply);
    assert_eq!(world.source.reload().await, Err(error));
    assert!(world.serves("a") && !world.serves("b"), "{error}");
    let status = world.source.status();
    assert_eq!((status.epoch(), status.consecutive_failures(), status.last_error()), (1, 1, Some(error)));
    assert_eq!(world.network.calls(), 2, "{error} is not tried again at once");
}

#[tokio::test]
async fn one_malformed_key_others_ok() {
    let private = jwk("p", "c").replace("}", r#","d":"AAAA"}"#);
    for malformed in ["7", "{}", &private] {
        only_the_other_is_used(malformed).await;
    }
}

/// ML-DSA keys of RFC 9964, which no signature of today needs.
#[tokio::test]
async fn akp_ok() {
    only_the_other_is_used(r#"{"kty":"AKP","alg":"ML-DSA-44","kid":"q","pub":"AAAA"}"#).await;
}

/// A secret that is published is none.
#[tokio::test]
async fn oct_never() {
    only_the_other_is_used(r#"{"kty":"oct","kid":"o","k":"AAAA"}"#).await;
    only_the_other_is_used(r#"{"kty":"oct","alg":"HS256","use":"sig","kid":"o","k":"AAAA"}"#).await;
}

async fn only_the_other_is_used(key: &str) {
    let world = World::new(Reply::json(set_of(&[key, &jwk("a", "a")])));
    world.clock.settle().await;
    assert!(world.serves("a"), "{key}");
    assert_eq!(world.source.status().usable_keys(), 1, "{key}");
}

#[tokio::test]
async fn a_large_set_is_parsed_as_well() {
    let padding = format!(r#""x-padding":"{}""#, "x".repeat(100 * 1024));
    let document = jwks(&["a"]).replacen('{', &format!("{{{padding},"), 1);
    let world = World::new(Reply::json(document));
    assert_eq!(World::request(&world.source, "a").await, Outcome::Served);
}

#[tokio::test]
async fn empty_keys_keeps_old_then_expires() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::json(r#"{"keys":[]}"#));
    world.run(HOUR - SECOND).await;
    assert!(world.serves("a"));
    world.run(SECOND).await;
    assert!(matches!(world.ask("a").await, Outcome::Unavailable(_)));
}

#[tokio::test]
async fn empty_set_cooldown_holds() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::json(r#"{"keys":[]}"#));
    for _ in 0..60 {
        assert_eq!(world.ask("zz").await, Outcome::NotFound);
        world.run(SECOND).await;
    }
    assert!(world.network.calls() <= 9, "{}", world.network.calls());
}

#[tokio::test]
async fn an_empty_set_is_believed_on_request_only() {
    let world = World::loaded_with(RefreshPolicy::new().dangerous_accept_empty_set(), &["a"]).await;
    world.answer(Reply::json(r#"{"keys":[]}"#));
    world.run(5 * MINUTE).await;
    assert_eq!(world.ask("a").await, Outcome::NotFound);
    assert_eq!(world.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn same_kid_new_material() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::json(set_of(&[jwk("a", "b")])));
    let calls = world.network.calls();
    // A signature that fails under a known key id fetches nothing; the scheduled refresh brings the new key.
    world.run(ONE_REFRESH).await;
    assert_eq!((world.network.calls() - calls, world.epoch()), (1, 2));
}

#[tokio::test]
async fn not_modified_304_extends_not_epoch() {
    let world = World::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    world.answer(Reply::status(StatusCode::NOT_MODIFIED));
    world.run(10 * HOUR).await;
    let status = world.source.status();
    assert_eq!((status.epoch(), status.consecutive_failures(), status.state()), (1, 0, KeyState::Fresh));
    for request in world.network.requests().iter().skip(1) {
        assert_eq!(request.headers.get(IF_NONE_MATCH).map(|etag| etag.as_bytes()), Some(&b"\"v1\""[..]));
    }
}

#[tokio::test]
async fn after_an_unexpected_304_the_whole_set_is_asked_for() {
    let world = World::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    world.network.once(URL, Reply::status(StatusCode::NOT_MODIFIED));
    assert_eq!(world.source.reload().await, Err(RefreshError::UnexpectedNotModified));
    world.run(2 * SECOND).await;
    let retry = world.network.requests()[2].headers.contains_key(IF_NONE_MATCH);
    assert!(!retry);
    assert_eq!(world.source.status().consecutive_failures(), 0);
}

#[tokio::test]
async fn max_age_zero_clamped() {
    for field in ["max-age=0", "no-store", "max-age=300, no-cache"] {
        let world = World::at_url(Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, field)).await;
        seconds(until_fetch(&world).await, 40..=52);
    }
    let aged = Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, "max-age=100000").with_header(AGE, "99880");
    let world = World::at_url(aged).await;
    seconds(until_fetch(&world).await, 60..=103);
    seconds(until_fetch(&world).await, 81..=103);
}

#[tokio::test]
async fn max_age_year_ignored() {
    let year = || Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, "max-age=31536000");
    let world = World::at_url(year()).await;
    seconds(until_fetch(&world).await, 60..=256);
    seconds(until_fetch(&world).await, 202..=256);
    let longer = RefreshPolicy::new().with_longer_max_age(HOUR);
    let world = World::with(longer, year());
    world.clock.settle().await;
    seconds(until_fetch(&world).await, 60..=3061);
    seconds(until_fetch(&world).await, 2430..=3061);
}

#[tokio::test]
async fn idle_conn_reset_retried() {
    for reply in [
        Reply::error(FetchError::Closed),
        Reply::error(FetchError::Connect),
        Reply::status(StatusCode::BAD_GATEWAY),
        Reply::status(StatusCode::SERVICE_UNAVAILABLE),
        Reply::status(StatusCode::GATEWAY_TIMEOUT),
    ] {
        let world = World::loaded(&["a"]).await;
        world.network.once(URL, reply);
        let reload = tokio::spawn({
            let source = world.source.clone();
            async move { source.reload().await }
        });
        world.run(Duration::from_millis(49)).await;
        assert!(!reload.is_finished());
        world.run(Duration::from_millis(101)).await;
        assert_eq!(reload.await.expect("no panic"), Ok(()));
        assert_eq!((world.network.calls(), world.source.status().consecutive_failures()), (3, 0));
    }
}

#[tokio::test]
async fn what_a_fresh_connection_cannot_heal_is_not_retried() {
    for reply in [
        Reply::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "1"),
        Reply::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT"),
        Reply::status(StatusCode::TOO_MANY_REQUESTS),
        Reply::status(StatusCode::INTERNAL_SERVER_ERROR),
        Reply::error(FetchError::Timeout),
        Reply::error(FetchError::Other),
        // Too late for a second attempt: less than 1.5 s are left.
        Reply::error(FetchError::Closed).after(Duration::from_millis(2999)),
    ] {
        let policy = RefreshPolicy::new().with_operation_timeout(4 * SECOND);
        let world = World::loaded_with(policy, &["a"]).await;
        world.answer(reply.clone());
        let source = world.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        world.run(Duration::from_millis(3000)).await;
        assert!(reload.await.expect("no panic").is_err(), "{reply:?}");
        let first_minute = world.network.requests();
        let begun = first_minute.iter().filter(|request| request.headers.contains_key(CACHE_CONTROL)).count();
        assert_eq!(begun, 1, "{reply:?}");
    }
}

#[tokio::test]
async fn slow_answers_are_aborted_at_3_s_and_the_operation_at_5_s() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::hang());
    let source = world.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    world.run(Duration::from_millis(2999)).await;
    assert_eq!(world.network.in_flight(), 1);
    world.run(Duration::from_millis(1)).await;
    assert!(reload.is_finished(), "the attempt takes longer than it may");
    assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
    assert_eq!(world.network.in_flight(), 0, "the exchange was dropped");

    // A retry that hangs as well is cut by the deadline of the operation.
    let world = World::loaded(&["a"]).await;
    world.network.once(URL, Reply::error(FetchError::Closed).after(Duration::from_millis(2500)));
    world.answer(Reply::hang());
    let source = world.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    world.run(Duration::from_millis(4999)).await;
    assert_eq!((world.network.in_flight(), reload.is_finished()), (1, false));
    world.run(Duration::from_millis(1)).await;
    assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
    assert_eq!(world.network.in_flight(), 0);
}

/// Nobody has to drop it: the second attempt ends with the operation, however much time one alone would have.
#[tokio::test]
async fn an_operation_ends_by_itself_at_its_deadline() {
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    network.once(URL, Reply::error(FetchError::Closed).after(Duration::from_millis(2500)));
    network.always(URL, Reply::hang());
    let policy = Arc::new(RefreshPolicy::new());
    let operation = Operation {
        fetch: Arc::new(network.clone()),
        clock: Arc::new(clock.clone()),
        deadline: clock.monotonic().saturating_add(policy.operation_timeout),
        algorithms: Arc::from([Algorithm::ES256]),
        compromised: Arc::default(),
        pause: Duration::from_millis(100),
        retries: policy.retries,
        policy,
    };
    let target = Target::Keys(Endpoint::new(URL).expect("a URL"));
    let key_request = KeyRequest { target, if_none_match: None, caches: Caches::Allowed };
    let report = tokio::spawn(operation.keys(key_request));
    clock.run_for(Duration::from_millis(4999)).await;
    assert_eq!((network.calls(), network.in_flight(), report.is_finished()), (2, 1, false));
    clock.run_for(Duration::from_millis(1)).await;
    assert!(report.is_finished(), "it goes on after its deadline");
    let failure = report.await.expect("no panic").result.expect_err("nothing came");
    assert_eq!((failure.error, failure.retry_after), (RefreshError::Timeout, None));
}

#[tokio::test]
async fn ntp_jump() {
    let world = World::loaded(&["a"]).await;
    // Back, and a little ahead: the set is as old as before.
    for wall in [Timestamp::EPOCH, world.clock.now().saturating_add(SECOND)] {
        world.clock.set_wall(wall);
        world.clock.settle().await;
        assert_eq!(world.source.status().state(), KeyState::Fresh);
    }
    world.clock.settle().await;
    assert_eq!(world.network.calls(), 1);
    // Far ahead: it may be old, and is fetched again.
    world.clock.set_wall(Timestamp::from_secs(4_000_000_000));
    assert_eq!(world.source.status().state(), KeyState::Expired);
    world.clock.settle().await;
    assert_eq!((world.network.calls(), world.source.status().state()), (2, KeyState::Fresh));
}

/// Lets a machine sleep as most do: the monotonic clock stops, too.
fn suspend_both(world: &World, span: Duration) {
    world.clock.set_wall(world.clock.now().saturating_add(span));
}

#[tokio::test]
async fn a_key_that_was_removed_during_a_suspension_goes_when_it_ends() {
    let world = World::loaded(&["a", "b"]).await;
    world.publish(&["b"]);
    suspend_both(&world, 10 * MINUTE);
    let status = world.source.status();
    assert_eq!((status.state(), status.age()), (KeyState::Stale, Some(10 * MINUTE)));
    world.clock.settle().await;
    assert!(!world.serves("a") && world.serves("b"));
    assert_eq!((world.network.calls(), world.source.status().state()), (2, KeyState::Fresh));

    // A long one: the keys are too old to be used, and the first request waits for new ones.
    suspend_both(&world, 2 * HOUR);
    assert!(!world.serves("b"));
    assert_eq!(World::request(&world.source, "b").await, Outcome::Served);
    assert_eq!(world.network.calls(), 3);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_makes_no_set_younger() {
    let world = World::loaded(&["a"]).await;
    world.answer(Reply::error(FetchError::Tls));
    suspend_both(&world, 2 * HOUR);
    assert!(!world.serves("a"));
    world.clock.settle().await;
    for wall in [world.clock.now().saturating_sub(2 * HOUR), Timestamp::EPOCH] {
        world.clock.set_wall(wall);
        let status = world.source.status();
        assert_eq!((status.state(), status.age()), (KeyState::Expired, Some(2 * HOUR)));
        assert!(!world.serves("a"));
    }
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    assert!(world.serves("a"));
    let age = world.source.status().age().expect("loaded");
    assert!(age < 15 * SECOND, "{age:?}");
}

#[tokio::test]
async fn a_probe_alone_notices_that_time_has_leapt() {
    let world = World::loaded(&["a"]).await;
    world.clock.suspend(10 * MINUTE);
    assert_eq!(world.source.status().state(), KeyState::Stale);
    world.clock.settle().await;
    assert_eq!((world.network.calls(), world.source.status().state()), (2, KeyState::Fresh));
}

#[tokio::test]
async fn suspend_resume() {
    let world = World::loaded(&["a"]).await;
    // A short sleep: the first use refreshes, and is served meanwhile.
    world.clock.suspend(10 * MINUTE);
    assert!(world.serves("a"));
    world.clock.settle().await;
    assert_eq!((world.network.calls(), world.source.status().state()), (2, KeyState::Fresh));
    // A long one: the keys are too old to be used, and the first request waits for new ones.
    world.clock.suspend(2 * HOUR);
    assert!(!world.serves("a"));
    assert_eq!(World::request(&world.source, "a").await, Outcome::Served);
    assert_eq!(world.network.calls(), 3);
}

#[tokio::test]
async fn a_test_that_polls_fast_does_not_poll_faster_than_it_says() {
    let policy = RefreshPolicy::new()
        .without_refresh_floor()
        .with_refresh_every(10 * SECOND)
        .with_unknown_kid_cooldown_max(SECOND);
    let world = World::with(policy, Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, "no-store"));
    world.run(MINUTE).await;
    assert!((6..=9).contains(&world.network.calls()), "{}", world.network.calls());
}

#[tokio::test]
async fn a_seed_makes_chance_repeat_itself() {
    let moments = async |seed| {
        let world = World::loaded_with(RefreshPolicy::new().with_jitter_seed(seed), &["a"]).await;
        let start = world.network.requests()[0].at;
        world.run(HOUR).await;
        let requests = world.network.requests();
        requests.iter().map(|request| request.at.saturating_since(start)).collect::<Vec<_>>()
    };
    assert_eq!(moments(7).await, moments(7).await);
    assert_ne!(moments(7).await, moments(8).await);
}
