//! Tests of background refreshes and their failures.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use http::header::{AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};

use crate::clock::{Clock as _, Timestamp};
use crate::fetch::{Endpoint, Exchange, ExchangeRules, FetchError};
use crate::jwks::error::RefreshError;
use crate::jwks::operation::{CacheMode, Export, KeyRequest, Operation, Target};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Fixture, HOUR, MINUTE, ONE_REFRESH, Outcome, SECOND, URL, jwk, jwks, set_of};
use crate::testing::{FakeClock, FakeFetch, Reply};
use crate::token::Algorithm;

/// Runs until the next fetch starts, and returns the time until then.
async fn until_fetch(fixture: &Fixture) -> Duration {
    let (calls, start) = (fixture.network.calls(), fixture.clock.monotonic());
    while fixture.network.calls() == calls {
        fixture.run(SECOND).await;
    }
    fixture.clock.monotonic().saturating_since(start)
}

fn assert_seconds(span: Duration, expected: std::ops::RangeInclusive<u64>) {
    assert!(expected.contains(&span.as_secs()), "{span:?} is not within {expected:?} s");
}

#[tokio::test]
async fn serves_10_000_requests_without_a_wait_during_a_refresh() {
    let fixture = Fixture::loaded(&["a"]).await;
    // While the refresh is in flight, and again when the keys are stale because it hangs.
    fixture.answer(Reply::hang());
    for state in [KeyState::Aging, KeyState::Stale] {
        while fixture.source.status().state() != state || fixture.network.in_flight() == 0 {
            fixture.run(SECOND / 2).await;
        }
        let calls = fixture.network.calls();
        assert!(fixture.serves("a"), "{state}");
        for _ in 0..10_000 {
            let first_poll = pin!(Fixture::request(&fixture.source, "a")).poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(first_poll, Poll::Ready(Outcome::Served), "{state}");
        }
        assert_eq!((fixture.network.calls(), fixture.network.in_flight()), (calls, 1));
    }
}

/// Stale keys must not make requests more expensive.
#[tokio::test]
async fn serves_stale_keys_without_an_allocation() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::error(FetchError::Connect));
    fixture.run(310 * SECOND).await;
    assert_eq!(fixture.source.status().state(), KeyState::Stale);
    assert!(fixture.serves("a"), "warms up what is created on first use");
    assert_eq!(allocation_counter::measure(|| assert!(fixture.serves("a"))).count_total, 0);
}

/// With expired keys a request fails at once instead of waiting for the next retry.
#[tokio::test]
async fn fails_at_once_with_expired_keys() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::hang());
    fixture.run(HOUR).await;
    while fixture.network.in_flight() == 0 {
        fixture.run(SECOND / 2).await;
    }
    assert_eq!(fixture.source.status().state(), KeyState::Expired);
    assert!(matches!(fixture.request_now("a").await, Outcome::Unavailable(_)));
}

/// The caching headers of a 304 count like those of a 200.
#[tokio::test]
async fn applies_the_caching_headers_of_a_304() {
    let fixture = Fixture::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    fixture.answer(Reply::status(StatusCode::NOT_MODIFIED).with_header(CACHE_CONTROL, "max-age=60"));
    until_fetch(&fixture).await;
    assert_seconds(until_fetch(&fixture).await, 40..=54);
}

/// Without caching headers in a 304, the stored ones stay valid (RFC 9111 §4.3.4).
#[tokio::test]
async fn keeps_the_stored_caching_headers_after_a_304_without_any() {
    let set = Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"").with_header(CACHE_CONTROL, "max-age=60");
    let fixture = Fixture::at_url(set).await;
    let unchanged = || Reply::status(StatusCode::NOT_MODIFIED);
    fixture.answer(unchanged());
    for _ in 0..3 {
        assert_seconds(until_fetch(&fixture).await, 40..=52);
    }
    // A new `max-age` replaces the stored one.
    fixture.network.once(URL, unchanged().with_header(CACHE_CONTROL, "max-age=150"));
    until_fetch(&fixture).await;
    for _ in 0..3 {
        assert_seconds(until_fetch(&fixture).await, 101..=128);
    }
    // `Age` counts for its own response only.
    fixture.network.once(URL, unchanged().with_header(AGE, "90"));
    until_fetch(&fixture).await;
    assert_seconds(until_fetch(&fixture).await, 40..=52);
    assert_seconds(until_fetch(&fixture).await, 101..=128);
    // A 200 replaces the stored headers, even if it has none.
    fixture.answer(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\""));
    until_fetch(&fixture).await;
    fixture.answer(unchanged());
    for _ in 0..2 {
        assert_seconds(until_fetch(&fixture).await, 202..=256);
    }
}

/// `If-None-Match` has the ETag of the current set only.
#[tokio::test]
async fn sends_the_etag_of_the_current_set() {
    let fixture = Fixture::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    fixture.answer(Reply::json(jwks(&["b"])).with_header(ETAG, "\"v2\""));
    until_fetch(&fixture).await;
    until_fetch(&fixture).await;
    let sent = fixture.network.requests()[2].headers.get(IF_NONE_MATCH).cloned();
    assert_eq!(sent.as_ref().map(|etag| etag.as_bytes()), Some(&b"\"v2\""[..]));
}

#[tokio::test]
async fn refreshes_keys_without_traffic() {
    let fixture = Fixture::loaded(&["a"]).await;
    assert_seconds(until_fetch(&fixture).await, 60..=256);
    fixture.publish(&["b"]);
    assert_seconds(until_fetch(&fixture).await, 202..=256);
    assert!(fixture.serves("b") && !fixture.serves("a"));
    assert_eq!(fixture.epoch(), 2);
}

#[tokio::test]
async fn serves_stale_keys_until_max_stale_and_rejects_afterwards() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::status(StatusCode::SERVICE_UNAVAILABLE));
    fixture.run(310 * SECOND).await;
    let status = fixture.source.status();
    assert_eq!((status.state(), status.is_ready()), (KeyState::Stale, true));
    assert_eq!(status.last_error(), Some(RefreshError::Status { status: 503 }));
    fixture.run(HOUR - 311 * SECOND).await;
    assert_eq!(fixture.request_now("a").await, Outcome::Served);
    fixture.run(SECOND).await;
    let status = fixture.source.status();
    assert_eq!((status.state(), status.is_ready(), status.usable_keys()), (KeyState::Expired, false, 0));
    assert!(
        matches!(fixture.request_now("a").await, Outcome::Unavailable(wait) if wait >= SECOND && wait <= 15 * SECOND)
    );
}

#[tokio::test]
async fn recovers_from_expiry_within_15_s() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::error(FetchError::Connect));
    fixture.run(HOUR + 10 * MINUTE).await;
    assert_eq!(fixture.source.status().state(), KeyState::Expired);
    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    assert_eq!(fixture.request_now("a").await, Outcome::Served);
    assert_eq!(fixture.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn strict_freshness_rejects_stale_keys() {
    let fixture = Fixture::loaded_with(RefreshPolicy::new().with_strict_freshness(), &["a"]).await;
    fixture.answer(Reply::error(FetchError::Connect));
    fixture.run(269 * SECOND).await;
    assert!(fixture.serves("a"));
    fixture.run(31 * SECOND).await;
    assert_eq!(fixture.source.status().state(), KeyState::Expired);
}

#[tokio::test]
async fn unbounded_staleness_serves_without_a_limit() {
    let fixture = Fixture::loaded_with(RefreshPolicy::new().dangerous_unbounded_staleness(), &["a"]).await;
    fixture.answer(Reply::error(FetchError::Connect));
    fixture.run(12 * HOUR).await;
    assert!(fixture.serves("a"));
    assert_eq!(fixture.source.status().state(), KeyState::Stale);
}

#[tokio::test]
async fn keeps_the_old_set_when_the_response_is_no_key_set() {
    let weak = jwk("b", "b").replace("P-256", "P-384");
    for (reply, error) in [
        (Reply::json(r#"{"keys":[]}"#), RefreshError::NoUsableKeys),
        (Reply::json(set_of(&[weak])), RefreshError::NoUsableKeys),
        (Reply::json(r#"{"keys":[]"#), RefreshError::InvalidDocument),
        (Reply::json(format!("{} x", jwks(&["b"]))), RefreshError::InvalidDocument),
        (Reply::json(format!("\u{feff}\u{feff}{}", jwks(&["b"]))), RefreshError::InvalidDocument),
        (Reply::json(r#"{"keys":[],"keys":[]}"#), RefreshError::InvalidDocument),
        (Reply::json("[".repeat(10_000)), RefreshError::InvalidDocument),
        (Reply::json(set_of(&vec![jwk("b", "b"); 101])), RefreshError::TooManyKeys),
        (Reply::json(vec![b' '; 256 * 1024 + 1]), RefreshError::Network { error: FetchError::TooLarge }),
        (Reply::status(StatusCode::FOUND).with_header(LOCATION, "https://evil.example/"), RefreshError::Redirect),
        (Reply::status(StatusCode::NOT_FOUND), RefreshError::Status { status: 404 }),
        (Reply::status(StatusCode::CREATED).with_body(jwks(&["b"])), RefreshError::Status { status: 201 }),
        (Reply::error(FetchError::Tls), RefreshError::Network { error: FetchError::Tls }),
        (Reply::error(FetchError::AddressNotAllowed), RefreshError::Network { error: FetchError::AddressNotAllowed }),
        (Reply::panic(), RefreshError::Panic),
    ] {
        keeps_the_old_set(reply, error).await;
    }
}

#[tokio::test]
async fn keeps_the_old_set_after_an_html_page() {
    keeps_the_old_set(Reply::json("<!doctype html><title>Sign in</title>"), RefreshError::InvalidDocument).await;
}

#[tokio::test]
async fn keeps_the_old_set_after_an_unexpected_304() {
    keeps_the_old_set(Reply::status(StatusCode::NOT_MODIFIED), RefreshError::UnexpectedNotModified).await;
}

async fn keeps_the_old_set(reply: Reply, error: RefreshError) {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(reply);
    assert_eq!(fixture.source.reload().await, Err(error));
    assert!(fixture.serves("a") && !fixture.serves("b"), "{error}");
    let status = fixture.source.status();
    assert_eq!((status.epoch(), status.consecutive_failures(), status.last_error()), (1, 1, Some(error)));
    assert_eq!(fixture.network.calls(), 2, "{error} is not retried at once");
}

#[tokio::test]
async fn skips_a_malformed_key_and_uses_the_others() {
    let private = jwk("p", "c").replace("}", r#","d":"AAAA"}"#);
    for malformed in ["7", "{}", &private] {
        only_the_other_is_used(malformed).await;
    }
}

/// ML-DSA keys (RFC 9964), whose algorithms are not supported.
#[tokio::test]
async fn skips_an_akp_key() {
    only_the_other_is_used(r#"{"kty":"AKP","alg":"ML-DSA-44","kid":"q","pub":"AAAA"}"#).await;
}

/// A published symmetric key is not secret.
#[tokio::test]
async fn skips_an_oct_key() {
    only_the_other_is_used(r#"{"kty":"oct","kid":"o","k":"AAAA"}"#).await;
    only_the_other_is_used(r#"{"kty":"oct","alg":"HS256","use":"sig","kid":"o","k":"AAAA"}"#).await;
}

async fn only_the_other_is_used(key: &str) {
    let fixture = Fixture::new(Reply::json(set_of(&[key, &jwk("a", "a")])));
    fixture.clock.settle().await;
    assert!(fixture.serves("a"), "{key}");
    assert_eq!(fixture.source.status().usable_keys(), 1, "{key}");
}

#[tokio::test]
async fn accepts_a_large_set() {
    let padding = format!(r#""x-padding":"{}""#, "x".repeat(100 * 1024));
    let document = jwks(&["a"]).replacen('{', &format!("{{{padding},"), 1);
    let fixture = Fixture::new(Reply::json(document));
    assert_eq!(Fixture::request(&fixture.source, "a").await, Outcome::Served);
}

#[tokio::test]
async fn keeps_the_old_set_until_expiry_after_an_empty_set() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(r#"{"keys":[]}"#));
    fixture.run(HOUR - SECOND).await;
    assert!(fixture.serves("a"));
    fixture.run(SECOND).await;
    assert!(matches!(fixture.request_now("a").await, Outcome::Unavailable(_)));
}

#[tokio::test]
async fn limits_fetches_after_an_empty_set() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(r#"{"keys":[]}"#));
    for _ in 0..60 {
        assert_eq!(fixture.request_now("zz").await, Outcome::NotFound);
        fixture.run(SECOND).await;
    }
    assert!(fixture.network.calls() <= 9, "{}", fixture.network.calls());
}

#[tokio::test]
async fn accepts_an_empty_set_if_the_policy_allows_it() {
    let fixture = Fixture::loaded_with(RefreshPolicy::new().dangerous_accept_empty_set(), &["a"]).await;
    fixture.answer(Reply::json(r#"{"keys":[]}"#));
    fixture.run(5 * MINUTE).await;
    assert_eq!(fixture.request_now("a").await, Outcome::NotFound);
    assert_eq!(fixture.source.status().state(), KeyState::Fresh);
}

#[tokio::test]
async fn loads_a_new_key_under_a_known_kid_at_the_next_refresh() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(set_of(&[jwk("a", "b")])));
    let calls = fixture.network.calls();
    // An invalid signature with a known kid starts no fetch; the scheduled refresh loads the new key.
    fixture.run(ONE_REFRESH).await;
    assert_eq!((fixture.network.calls() - calls, fixture.epoch()), (1, 2));
}

#[tokio::test]
async fn keeps_the_epoch_and_stays_fresh_after_a_304() {
    let fixture = Fixture::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    fixture.answer(Reply::status(StatusCode::NOT_MODIFIED));
    fixture.run(10 * HOUR).await;
    let status = fixture.source.status();
    assert_eq!((status.epoch(), status.consecutive_failures(), status.state()), (1, 0, KeyState::Fresh));
    for request in fixture.network.requests().iter().skip(1) {
        assert_eq!(request.headers.get(IF_NONE_MATCH).map(|etag| etag.as_bytes()), Some(&b"\"v1\""[..]));
    }
}

#[tokio::test]
async fn requests_the_whole_set_after_an_unexpected_304() {
    let fixture = Fixture::at_url(Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"")).await;
    fixture.network.once(URL, Reply::status(StatusCode::NOT_MODIFIED));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::UnexpectedNotModified));
    fixture.run(2 * SECOND).await;
    let retry = fixture.network.requests()[2].headers.contains_key(IF_NONE_MATCH);
    assert!(!retry);
    assert_eq!(fixture.source.status().consecutive_failures(), 0);
}

#[tokio::test]
async fn raises_a_short_max_age_to_the_minimum_refresh_interval() {
    for field in ["max-age=0", "no-store", "max-age=300, no-cache"] {
        let fixture = Fixture::at_url(Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, field)).await;
        assert_seconds(until_fetch(&fixture).await, 40..=52);
    }
    let aged = Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, "max-age=100000").with_header(AGE, "99880");
    let fixture = Fixture::at_url(aged).await;
    assert_seconds(until_fetch(&fixture).await, 60..=103);
    assert_seconds(until_fetch(&fixture).await, 81..=103);
}

/// RFC 8259 §8.1 forbids the mark, and allows a parser to ignore it.
#[tokio::test]
async fn ignores_a_byte_order_mark_before_the_key_set() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(format!("\u{feff}{}", jwks(&["b"]))));
    assert_eq!(fixture.source.reload().await, Ok(()));
    assert!(fixture.serves("b") && !fixture.serves("a"));
}

#[tokio::test]
async fn limits_max_age_to_the_maximum_refresh_interval() {
    let year = || Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, "max-age=31536000");
    let fixture = Fixture::at_url(year()).await;
    assert_seconds(until_fetch(&fixture).await, 60..=256);
    assert_seconds(until_fetch(&fixture).await, 202..=256);
    let longer = RefreshPolicy::new().with_max_refresh_interval(HOUR);
    let fixture = Fixture::with(longer, year());
    fixture.clock.settle().await;
    assert_seconds(until_fetch(&fixture).await, 60..=3061);
    assert_seconds(until_fetch(&fixture).await, 2430..=3061);
}

#[tokio::test]
async fn retries_once_after_a_connection_or_gateway_error() {
    for reply in [
        Reply::error(FetchError::Closed),
        Reply::error(FetchError::Connect),
        Reply::status(StatusCode::BAD_GATEWAY),
        Reply::status(StatusCode::SERVICE_UNAVAILABLE),
        Reply::status(StatusCode::GATEWAY_TIMEOUT),
    ] {
        let fixture = Fixture::loaded(&["a"]).await;
        fixture.network.once(URL, reply);
        let reload = tokio::spawn({
            let source = fixture.source.clone();
            async move { source.reload().await }
        });
        fixture.run(Duration::from_millis(49)).await;
        assert!(!reload.is_finished());
        fixture.run(Duration::from_millis(101)).await;
        assert_eq!(reload.await.expect("no panic"), Ok(()));
        assert_eq!((fixture.network.calls(), fixture.source.status().consecutive_failures()), (3, 0));
    }
}

#[tokio::test]
async fn retries_only_errors_that_a_new_connection_can_fix() {
    for reply in [
        Reply::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "1"),
        Reply::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT"),
        Reply::status(StatusCode::TOO_MANY_REQUESTS),
        Reply::status(StatusCode::INTERNAL_SERVER_ERROR),
        Reply::error(FetchError::Timeout),
        Reply::error(FetchError::Other),
        // Too late for a second attempt: less than 1.5 s remain.
        Reply::error(FetchError::Closed).with_delay(Duration::from_millis(2999)),
    ] {
        let policy = RefreshPolicy::new().with_operation_timeout(4 * SECOND);
        let fixture = Fixture::loaded_with(policy, &["a"]).await;
        fixture.answer(reply.clone());
        let source = fixture.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        fixture.run(Duration::from_millis(3000)).await;
        assert!(reload.await.expect("no panic").is_err(), "{reply:?}");
        let first_minute = fixture.network.requests();
        let begun = first_minute.iter().filter(|request| request.headers.contains_key(CACHE_CONTROL)).count();
        assert_eq!(begun, 1, "{reply:?}");
    }
}

#[tokio::test]
async fn aborts_an_attempt_after_3_s_and_the_operation_after_5_s() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::hang());
    let source = fixture.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    fixture.run(Duration::from_millis(2999)).await;
    assert_eq!(fixture.network.in_flight(), 1);
    fixture.run(Duration::from_millis(1)).await;
    assert!(reload.is_finished(), "the attempt exceeds its timeout");
    assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
    assert_eq!(fixture.network.in_flight(), 0, "the exchange was dropped");

    // A retry that hangs as well is aborted at the deadline of the operation.
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.network.once(URL, Reply::error(FetchError::Closed).with_delay(Duration::from_millis(2500)));
    fixture.answer(Reply::hang());
    let source = fixture.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    fixture.run(Duration::from_millis(4999)).await;
    assert_eq!((fixture.network.in_flight(), reload.is_finished()), (1, false));
    fixture.run(Duration::from_millis(1)).await;
    assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
    assert_eq!(fixture.network.in_flight(), 0);
}

/// The second attempt ends at the deadline of the operation, without a drop, although its own timeout is later.
#[tokio::test]
async fn an_operation_ends_at_its_deadline() {
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    network.once(URL, Reply::error(FetchError::Closed).with_delay(Duration::from_millis(2500)));
    network.always(URL, Reply::hang());
    let policy = Arc::new(RefreshPolicy::new());
    let exchange = Exchange {
        fetch: Arc::new(network.clone()),
        clock: Arc::new(clock.clone()),
        rules: ExchangeRules::document(policy.redirects),
        max_bytes: policy.max_document_bytes,
        attempt_timeout: policy.attempt_timeout,
        deadline: clock.monotonic().saturating_add(policy.operation_timeout),
        retries: policy.retries,
        pause: Duration::from_millis(100),
    };
    let algorithms = Arc::from([Algorithm::ES256]);
    let operation = Operation { exchange, policy, algorithms, compromised: Arc::default(), export: Export::Never };
    let target = Target::Keys(Endpoint::new(URL).expect("a URL"));
    let key_request = KeyRequest { target, if_none_match: None, cache_mode: CacheMode::Default };
    let report = tokio::spawn(operation.keys(key_request));
    clock.run_for(Duration::from_millis(4999)).await;
    assert_eq!((network.calls(), network.in_flight(), report.is_finished()), (2, 1, false));
    clock.run_for(Duration::from_millis(1)).await;
    assert!(report.is_finished(), "the operation runs past its deadline");
    let failure = report.await.expect("no panic").result.expect_err("no response");
    assert_eq!((failure.error, failure.retry_after), (RefreshError::Timeout, None));
}

#[tokio::test]
async fn refreshes_after_the_wall_clock_is_set_far_forward() {
    let fixture = Fixture::loaded(&["a"]).await;
    // Set back, and set forward a little: the age of the set does not change.
    for wall in [Timestamp::UNIX_EPOCH, fixture.clock.now().saturating_add(SECOND)] {
        fixture.clock.set_wall(wall);
        fixture.clock.settle().await;
        assert_eq!(fixture.source.status().state(), KeyState::Fresh);
    }
    fixture.clock.settle().await;
    assert_eq!(fixture.network.calls(), 1);
    // Set far forward: the set may be old, and is fetched again.
    fixture.clock.set_wall(Timestamp::from_secs(4_000_000_000));
    assert_eq!(fixture.source.status().state(), KeyState::Expired);
    fixture.clock.settle().await;
    assert_eq!((fixture.network.calls(), fixture.source.status().state()), (2, KeyState::Fresh));
}

/// Suspends a machine whose monotonic clock stops during the suspension.
fn suspend_with_stopped_monotonic(fixture: &Fixture, span: Duration) {
    fixture.clock.set_wall(fixture.clock.now().saturating_add(span));
}

#[tokio::test]
async fn drops_a_key_that_was_removed_during_a_suspension() {
    let fixture = Fixture::loaded(&["a", "b"]).await;
    fixture.publish(&["b"]);
    suspend_with_stopped_monotonic(&fixture, 10 * MINUTE);
    let status = fixture.source.status();
    assert_eq!((status.state(), status.age()), (KeyState::Stale, Some(10 * MINUTE)));
    fixture.clock.settle().await;
    assert!(!fixture.serves("a") && fixture.serves("b"));
    assert_eq!((fixture.network.calls(), fixture.source.status().state()), (2, KeyState::Fresh));

    // A long suspension: the keys have expired, and the first request waits for new ones.
    suspend_with_stopped_monotonic(&fixture, 2 * HOUR);
    assert!(!fixture.serves("b"));
    assert_eq!(Fixture::request(&fixture.source, "b").await, Outcome::Served);
    assert_eq!(fixture.network.calls(), 3);
}

/// The response may have arrived before the suspension.
#[tokio::test]
async fn counts_a_suspension_during_a_fetch() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::json(jwks(&["a"])).with_delay(SECOND));
    let source = fixture.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    fixture.clock.settle().await;
    assert_eq!(fixture.network.calls(), 2);
    suspend_with_stopped_monotonic(&fixture, 2 * HOUR);
    fixture.answer(Reply::error(FetchError::Tls));
    fixture.run(SECOND).await;
    assert_eq!(reload.await.expect("no panic"), Ok(()));
    let status = fixture.source.status();
    assert_eq!((status.state(), status.age()), (KeyState::Expired, Some(2 * HOUR)));
    assert!(!fixture.serves("a"));
    // Without a suspension, a slow fetch confirms the set when it ends.
    fixture.answer(Reply::json(jwks(&["a"])).with_delay(SECOND));
    fixture.run(MINUTE).await;
    assert!(fixture.serves("a"));
    assert!(fixture.source.status().age() < Some(MINUTE));
}

#[tokio::test]
async fn keeps_the_age_of_a_set_when_the_wall_clock_is_set_back() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.answer(Reply::error(FetchError::Tls));
    suspend_with_stopped_monotonic(&fixture, 2 * HOUR);
    assert!(!fixture.serves("a"));
    fixture.clock.settle().await;
    for wall in [fixture.clock.now().saturating_sub(2 * HOUR), Timestamp::UNIX_EPOCH] {
        fixture.clock.set_wall(wall);
        let status = fixture.source.status();
        assert_eq!((status.state(), status.age()), (KeyState::Expired, Some(2 * HOUR)));
        assert!(!fixture.serves("a"));
    }
    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    assert!(fixture.serves("a"));
    let age = fixture.source.status().age().expect("loaded");
    assert!(age < 15 * SECOND, "{age:?}");
}

#[tokio::test]
async fn status_detects_a_suspension_without_a_request() {
    let fixture = Fixture::loaded(&["a"]).await;
    fixture.clock.suspend(10 * MINUTE);
    assert_eq!(fixture.source.status().state(), KeyState::Stale);
    fixture.clock.settle().await;
    assert_eq!((fixture.network.calls(), fixture.source.status().state()), (2, KeyState::Fresh));
}

#[tokio::test]
async fn refreshes_after_a_suspension() {
    let fixture = Fixture::loaded(&["a"]).await;
    // A short suspension: the first request is served, and starts a refresh.
    fixture.clock.suspend(10 * MINUTE);
    assert!(fixture.serves("a"));
    fixture.clock.settle().await;
    assert_eq!((fixture.network.calls(), fixture.source.status().state()), (2, KeyState::Fresh));
    // A long suspension: the keys have expired, and the first request waits for new ones.
    fixture.clock.suspend(2 * HOUR);
    assert!(!fixture.serves("a"));
    assert_eq!(Fixture::request(&fixture.source, "a").await, Outcome::Served);
    assert_eq!(fixture.network.calls(), 3);
}

#[tokio::test]
async fn refreshes_at_the_configured_interval_without_interval_limits() {
    let policy = RefreshPolicy::new()
        .without_interval_limits()
        .with_refresh_interval(10 * SECOND)
        .with_unknown_kid_cooldown_max(SECOND);
    let fixture = Fixture::with(policy, Reply::json(jwks(&["a"])).with_header(CACHE_CONTROL, "no-store"));
    fixture.run(MINUTE).await;
    assert!((6..=9).contains(&fixture.network.calls()), "{}", fixture.network.calls());
}

#[tokio::test]
async fn repeats_the_schedule_for_the_same_seed() {
    let moments = async |seed| {
        let fixture = Fixture::loaded_with(RefreshPolicy::new().with_jitter_seed(seed), &["a"]).await;
        let start = fixture.network.requests()[0].at;
        fixture.run(HOUR).await;
        let requests = fixture.network.requests();
        requests.iter().map(|request| request.at.saturating_since(start)).collect::<Vec<_>>()
    };
    assert_eq!(moments(7).await, moments(7).await);
    assert_ne!(moments(7).await, moments(8).await);
}
