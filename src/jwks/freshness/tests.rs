//! What headers say, and the times that come of it.

use http::HeaderName;

use super::*;

fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("value"))).collect()
}

fn remaining(fields: &[(HeaderName, &str)]) -> Option<u64> {
    Freshness::from_headers(&headers(fields)).remaining.map(|remaining| remaining.as_secs())
}

#[test]
fn reads_what_rfc_9111_allows_and_ignores_the_rest() {
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
fn takes_the_age_off() {
    for (age, expected) in [("100", 200), ("300", 0), ("99999", 0), ("-5", 300), ("x", 300)] {
        assert_eq!(remaining(&[(CACHE_CONTROL, "max-age=300"), (AGE, age)]), Some(expected), "{age}");
    }
    assert_eq!(remaining(&[(CACHE_CONTROL, "max-age=300"), (AGE, "10"), (AGE, "100")]), Some(200));
    assert_eq!(remaining(&[(AGE, "10")]), None);
}

#[test]
fn keeps_the_etag_as_it_stands() {
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
fn retry_after_is_read_in_seconds() {
    for (field, expected) in [("120", 120), (" 7 ", 7), ("0", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-1", 0)] {
        let expected = Some(Duration::from_secs(expected));
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, field)])), expected, "{field}");
    }
    assert_eq!(retry_after(&HeaderMap::new()), None);
}

#[test]
fn a_server_shortens_the_period_to_the_floor_and_never_lengthens_it() {
    let policy = RefreshPolicy::new();
    for (remaining, expected) in [(None, 300), (Some(0), 60), (Some(59), 60), (Some(120), 120), (Some(31_536_000), 300)]
    {
        let remaining = remaining.map(Duration::from_secs);
        assert_eq!(period(remaining, &policy).as_secs(), expected, "{remaining:?}");
    }
    let longer = RefreshPolicy::new().with_longer_max_age(Duration::from_secs(1800));
    for (remaining, expected) in [(None, 300), (Some(600), 600), (Some(31_536_000), 1800), (Some(0), 60)] {
        let remaining = remaining.map(Duration::from_secs);
        assert_eq!(period(remaining, &longer).as_secs(), expected, "{remaining:?}");
    }
}

fn times(policy: &RefreshPolicy, chance: u32) -> Times {
    let roll = Roll { first: jitter::Chance(chance), second: jitter::Chance(chance) };
    Times::of(None, policy, Monotonic::from_origin(Duration::from_secs(1000)), roll)
}

fn spans(times: Times) -> [u64; 3] {
    [times.ahead_at, times.soft_at, times.hard_at].map(|at| at.saturating_since(times.confirmed_at).as_secs())
}

#[test]
fn times_spread_by_the_jitter() {
    let policy = RefreshPolicy::new();
    assert_eq!(spans(times(&policy, 0)), [202, 270, 3600]);
    assert_eq!(spans(times(&policy, u32::MAX)), [254, 299, 3600]);
    assert_eq!(spans(times(&policy.with_jitter_percent(0), u32::MAX)), [240, 300, 3600]);
}

#[test]
fn strict_keys_expire_with_their_period_and_unbounded_ones_never() {
    let strict = times(&RefreshPolicy::new().strict_freshness(), 0);
    assert_eq!(strict.hard_at, strict.soft_at);
    assert_eq!(strict.standing(strict.soft_at), Standing::Expired);
    let unbounded = times(&RefreshPolicy::new().dangerous_unbounded_staleness(), 0);
    assert_eq!(unbounded.standing(Monotonic::from_origin(Duration::from_secs(u64::MAX / 2))), Standing::Stale);
}

#[test]
fn standing_changes_at_each_moment_and_not_before() {
    let times = times(&RefreshPolicy::new(), 0);
    for (at, before, from) in [
        (times.ahead_at, Standing::Fresh, Standing::Aging),
        (times.soft_at, Standing::Aging, Standing::Stale),
        (times.hard_at, Standing::Stale, Standing::Expired),
    ] {
        let just_before = Monotonic::from_origin(at.since_origin().saturating_sub(Duration::from_nanos(1)));
        assert_eq!((times.standing(just_before), times.standing(at)), (before, from));
    }
    assert_eq!(Times::NEVER.standing(Monotonic::default()), Standing::Expired);
}
