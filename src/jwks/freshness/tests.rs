//! Tests of caching headers, and of the times that are derived from them.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, DATE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::clock::Monotonic;
use crate::fetch::Endpoint;
use crate::jwks::freshness::{ETAG_MAX_BYTES, Freshness, FreshnessState, Phase, Times, period};
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;

fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("value"))).collect()
}

fn remaining(fields: &[(HeaderName, &str)]) -> Option<u64> {
    Freshness::from_headers(&headers(fields)).remaining().map(|remaining| remaining.as_secs())
}

#[test]
fn parses_valid_headers_of_rfc_9111_and_ignores_others() {
    for (field, expected) in [
        ("max-age=120", Some(120)),
        ("public, Max-Age=120, must-revalidate", Some(120)),
        ("max-age=\"120\"", Some(120)),
        ("max-age = 120", Some(120)),
        ("max-age=0", Some(0)),
        ("no-store", Some(0)),
        ("No-Cache, max-age=120", Some(0)),
        ("max-age=120, max-age=90", Some(90)),
        ("max-age=99999999999999999999999", Some(u64::from(u32::MAX))),
        ("max-age=-1", None),
        ("max-age=1.5", None),
        ("max-age=", None),
        ("max-age", None),
        ("max-age=x", None),
        ("s-maxage=9", None),
        ("xmax-age=9", None),
        ("", None),
    ] {
        assert_eq!(remaining(&[(CACHE_CONTROL, field)]), expected, "{field}");
    }
    assert_eq!(remaining(&[]), None);
}

#[test]
fn subtracts_the_age() {
    for (age, expected) in [("100", 200), ("300", 0), ("99999", 0), ("-5", 300), ("x", 300)] {
        assert_eq!(remaining(&[(CACHE_CONTROL, "max-age=300"), (AGE, age)]), Some(expected), "{age}");
    }
    assert_eq!(remaining(&[(CACHE_CONTROL, "max-age=300"), (AGE, "10"), (AGE, "100")]), Some(200));
    assert_eq!(remaining(&[(AGE, "10")]), None);
}

#[test]
fn keeps_the_etag_unchanged() {
    for etag in ["\"x\"", "W/\"x\"", "unquoted"] {
        assert_eq!(Freshness::from_headers(&headers(&[(ETAG, etag)])).etag, HeaderValue::from_str(etag).ok());
    }
    assert_eq!(Freshness::from_headers(&HeaderMap::new()).etag, None);
    let longest = "x".repeat(ETAG_MAX_BYTES);
    assert!(Freshness::from_headers(&headers(&[(ETAG, &longest)])).etag.is_some());
    for etag in ["", "*", &format!("{longest}x")] {
        assert_eq!(Freshness::from_headers(&headers(&[(ETAG, etag)])).etag, None, "{etag}");
    }
}

#[test]
fn a_304_replaces_only_the_headers_that_it_has() {
    let stored = [(CACHE_CONTROL, "max-age=120"), (AGE, "100"), (ETAG, "\"v1\"")];
    let stored = Freshness::from_headers(&headers(&stored));
    assert_eq!(stored.remaining(), Some(Duration::from_secs(20)));
    let stored = stored.stored(endpoint()).expect("a validator");
    for (fields, expected) in [
        // The stored lifetime applies again in full.
        (&[][..], Some(120)),
        (&[(AGE, "30")], Some(90)),
        (&[(CACHE_CONTROL, "max-age=90")], Some(90)),
        (&[(CACHE_CONTROL, "max-age=90"), (AGE, "30")], Some(60)),
        (&[(CACHE_CONTROL, "no-cache")], Some(0)),
        (&[(CACHE_CONTROL, "public")], None),
        (&[(CACHE_CONTROL, "max-age=x")], None),
    ] {
        let freshened = Freshness::from_headers(&headers(fields)).freshen(&stored);
        assert_eq!(freshened.remaining(), expected.map(Duration::from_secs), "{fields:?}");
        assert_eq!(freshened.etag.as_ref(), Some(&stored.etag), "{fields:?}");
    }
    let silent = Freshness::from_headers(&headers(&[(ETAG, "\"v1\"")]));
    let stored = silent.stored(endpoint()).expect("a validator");
    assert_eq!(Freshness::from_headers(&HeaderMap::new()).freshen(&stored).remaining(), None);
    assert_eq!(Freshness::from_headers(&HeaderMap::new()).stored(endpoint()), None);
}

fn endpoint() -> Endpoint {
    Endpoint::new("https://login.example/jwks").expect("a URL")
}

#[test]
fn a_server_shortens_the_refresh_interval_to_its_minimum_but_never_extends_it() {
    let policy = RefreshPolicy::new();
    for (remaining, expected) in [(None, 300), (Some(0), 60), (Some(59), 60), (Some(120), 120), (Some(31_536_000), 300)]
    {
        let remaining = remaining.map(Duration::from_secs);
        assert_eq!(period(remaining, &policy).as_secs(), expected, "{remaining:?}");
    }
    let longer = RefreshPolicy::new().with_max_refresh_interval(Duration::from_secs(1800));
    for (remaining, expected) in [(None, 300), (Some(600), 600), (Some(31_536_000), 1800), (Some(0), 60)] {
        let remaining = remaining.map(Duration::from_secs);
        assert_eq!(period(remaining, &longer).as_secs(), expected, "{remaining:?}");
    }
}

fn times(policy: &RefreshPolicy, jitter: u32) -> Times {
    times_in(Phase::Later, policy, jitter)
}

fn times_in(phase: Phase, policy: &RefreshPolicy, jitter: u32) -> Times {
    let sample = Sample { first: Jitter(jitter), second: Jitter(jitter) };
    Times::new(None, policy, phase, Monotonic::from_origin(Duration::from_secs(1000)), sample)
}

fn spans(times: Times) -> [u64; 3] {
    [times.refresh_at, times.stale_at, times.expires_at].map(|at| at.saturating_since(times.confirmed_at).as_secs())
}

#[test]
fn jitter_spreads_the_times() {
    let policy = RefreshPolicy::new();
    assert_eq!(spans(times(&policy, 0)), [202, 270, 3600]);
    assert_eq!(spans(times(&policy, u32::MAX)), [254, 299, 3600]);
    assert_eq!(spans(times(&policy.with_jitter_percent(0), u32::MAX)), [240, 300, 3600]);
}

#[test]
fn scheduled_fetches_are_more_than_30_s_apart_for_any_jitter() {
    let now = Monotonic::from_origin(Duration::from_secs(1000));
    for (jitter, ahead) in (0..=50).flat_map(|jitter| (50..=95).map(move |ahead| (jitter, ahead))) {
        let policy = RefreshPolicy::new().with_jitter_percent(jitter).with_refresh_ahead_percent(ahead);
        assert_eq!(policy.errors(), []);
        for (phase, first, second) in [(Phase::First, 0, 0), (Phase::Later, 0, 0), (Phase::Later, u32::MAX, 0)] {
            let sample = Sample { first: Jitter(first), second: Jitter(second) };
            let times = Times::new(Some(Duration::ZERO), &policy, phase, now, sample);
            let gap = times.refresh_at.saturating_since(now);
            assert!(gap > Duration::from_secs(30), "jitter {jitter}, ahead {ahead}: {gap:?}");
            assert!(times.refresh_at <= times.stale_at, "jitter {jitter}, ahead {ahead}: {times:?}");
        }
    }
}

#[test]
fn spreads_the_first_refresh_from_the_minimum_interval_on() {
    let policy = RefreshPolicy::new();
    let first = |policy: &RefreshPolicy, jitter| spans(times_in(Phase::First, policy, jitter));
    assert_eq!(first(&policy, 0), [60, 270, 3600]);
    assert_eq!(first(&policy, u32::MAX / 2), [151, 284, 3600]);
    assert_eq!(first(&policy, u32::MAX), [254, 299, 3600]);
    // Without room above the floor, or without jitter, the first refresh starts as any other.
    let short = RefreshPolicy::new().with_refresh_interval(Duration::from_secs(70));
    let exact = RefreshPolicy::new().with_jitter_percent(0);
    for jitter in [0, u32::MAX] {
        assert_eq!(first(&short, jitter), spans(times(&short, jitter)));
        assert_eq!(first(&exact, jitter), [240, 300, 3600]);
    }
}

#[test]
fn strict_keys_expire_with_their_refresh_interval_and_unbounded_ones_never() {
    let strict = times(&RefreshPolicy::new().with_strict_freshness(), 0);
    assert_eq!(strict.expires_at, strict.stale_at);
    assert_eq!(strict.freshness_state(strict.stale_at), FreshnessState::Expired);
    let unbounded = times(&RefreshPolicy::new().dangerous_unbounded_staleness(), 0);
    assert_eq!(
        unbounded.freshness_state(Monotonic::from_origin(Duration::from_secs(u64::MAX / 2))),
        FreshnessState::Stale
    );
}

#[test]
fn freshness_changes_exactly_at_each_time() {
    let times = times(&RefreshPolicy::new(), 0);
    for (at, before, from) in [
        (times.refresh_at, FreshnessState::Fresh, FreshnessState::Aging),
        (times.stale_at, FreshnessState::Aging, FreshnessState::Stale),
        (times.expires_at, FreshnessState::Stale, FreshnessState::Expired),
    ] {
        let just_before = Monotonic::from_origin(at.since_origin().saturating_sub(Duration::from_nanos(1)));
        assert_eq!((times.freshness_state(just_before), times.freshness_state(at)), (before, from));
    }
    assert_eq!(Times::NEVER.freshness_state(Monotonic::default()), FreshnessState::Expired);
}

proptest! {
    /// For any headers, the times are ordered and within the policy.
    #[test]
    fn keeps_the_times_within_the_policy_for_any_header(
        fields in proptest::collection::vec((0_usize..5, field()), 0..8),
        stored in proptest::collection::vec((0_usize..5, field()), 0..4),
        rolls in (any::<u32>(), any::<u32>()),
        is_first in any::<bool>(),
    ) {
        let read = |fields: Vec<(usize, String)>| {
            let names = [CACHE_CONTROL, AGE, ETAG, RETRY_AFTER, DATE];
            let value = |text: &str| HeaderValue::from_str(text).ok();
            fields.iter().filter_map(|(name, text)| Some((names[*name].clone(), value(text)?))).collect::<HeaderMap>()
        };
        let (fields, stored) = (read(fields), read(stored));
        let mut freshness = Freshness::from_headers(&fields);
        if let Some(stored) = Freshness::from_headers(&stored).stored(endpoint()) {
            freshness = freshness.freshen(&stored);
        }
        let (policy, now) = (RefreshPolicy::new(), Monotonic::from_origin(Duration::from_secs(1000)));
        let phase = if is_first { Phase::First } else { Phase::Later };
        let sample = Sample { first: Jitter(rolls.0), second: Jitter(rolls.1) };
        let times = Times::new(freshness.remaining(), &policy, phase, now, sample);
        let [ahead, soft, hard] = spans(times);
        prop_assert!((40..=soft).contains(&ahead), "{times:?}");
        prop_assert!((54..=300).contains(&soft) && hard == 3600, "{times:?}");
    }
}

/// Valid and invalid values of such a header.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "(max-age=[0-9\"-]{0,24}|no-store|no-cache|public)(, ?max-age=[0-9]{1,3})?",
        1 => "[0-9]{0,24}",
        2 => "(Mon|Wed|Wednesday),? [0-9]{2}[ -](Feb|Oct)[ -][0-9]{2,5} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|UTC)",
        1 => "[ -~]{0,40}",
    ]
}
