//! Response headers to times: how long a key set is fresh, and how long it may be used at all (RFC 9111 §4.2).

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use crate::clock::Monotonic;
use crate::fetch::Endpoint;
use crate::jwks::jitter::{self, Roll};
use crate::jwks::policy::{RefreshPolicy, Staleness};

/// What a server says about the age of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Freshness {
    /// `max-age` less `Age`; zero for `no-store` and `no-cache`.
    pub(super) remaining: Option<Duration>,
    /// The validator for the next conditional request, as it stood there, if it may stand in one.
    pub(super) etag: Option<HeaderValue>,
}

impl Freshness {
    /// Reads the headers; what is malformed counts as absent. `Expires` is not read: no wall clock decides here.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let age = headers.get_all(AGE).iter().filter_map(delta_seconds).max().unwrap_or_default();
        let remaining = max_age(headers).map(|max_age| max_age.saturating_sub(age));
        Self { remaining, etag: headers.get(ETAG).filter(|etag| is_etag(etag)).cloned() }
    }
}

/// The validator of a set, and the place that gave it; at another place it could be that of another set (RFC 9110 §8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag {
    pub(super) value: HeaderValue,
    pub(super) place: Endpoint,
}

/// The moments at which one confirmed key set changes its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// When the issuer last said that these are its keys.
    pub(super) confirmed_at: Monotonic,
    /// When the next scheduled refresh starts.
    pub(super) ahead_at: Monotonic,
    /// From here on the set is stale: the refresh should have brought a new one.
    pub(super) soft_at: Monotonic,
    /// From here on the set is used no more.
    pub(super) hard_at: Monotonic,
}

impl Times {
    /// Before any set: nothing may be used.
    pub(super) const NEVER: Self = Self {
        confirmed_at: Monotonic::from_origin(Duration::ZERO),
        ahead_at: Monotonic::from_origin(Duration::ZERO),
        soft_at: Monotonic::from_origin(Duration::ZERO),
        hard_at: Monotonic::from_origin(Duration::ZERO),
    };

    /// The times of a set that was confirmed `now`.
    ///
    /// The server may shorten the period down to the floor; it lengthens it only as far as the policy lets it, since
    /// the period is also how long a removed key lives on.
    pub(super) fn of(remaining: Option<Duration>, policy: &RefreshPolicy, now: Monotonic, roll: Roll) -> Self {
        let period = period(remaining, policy);
        let low = jitter::percent(period, 100_u8.saturating_sub(policy.jitter_percent));
        let soft = roll.first.between(low, period);
        let (early, late) = ahead_percents(policy);
        let ahead = roll.second.between(jitter::percent(soft, early), jitter::percent(soft, late));
        let soft_at = now.saturating_add(soft);
        let hard_at = match policy.staleness {
            Staleness::Strict => soft_at,
            Staleness::Bounded(limit) => now.saturating_add(limit),
            Staleness::Unbounded => Monotonic::from_origin(Duration::MAX),
        };
        Self { confirmed_at: now, ahead_at: now.saturating_add(ahead), soft_at: soft_at.min(hard_at), hard_at }
    }

    pub(super) fn standing(&self, now: Monotonic) -> Standing {
        if now >= self.hard_at {
            Standing::Expired
        } else if now >= self.soft_at {
            Standing::Stale
        } else if now >= self.ahead_at {
            Standing::Aging
        } else {
            Standing::Fresh
        }
    }
}

/// Where a key set stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Fresh,
    Aging,
    Stale,
    Expired,
}

/// Reads `Retry-After` in seconds. A date, which would take the wall clock to judge, counts as the wish for a pause of
/// whatever length.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER).map(|field| delta_seconds(field).unwrap_or_default())
}

/// `If-None-Match: *` would be answered 304 whatever the set is (RFC 9110 §13.1.2), and a field of kilobytes by no server.
fn is_etag(field: &HeaderValue) -> bool {
    (1..=ETAG_MAX_BYTES).contains(&field.len()) && field != "*"
}

fn period(remaining: Option<Duration>, policy: &RefreshPolicy) -> Duration {
    let every = policy.refresh_every;
    let longest = policy.longer_max_age.unwrap_or(every).max(every);
    let floor = policy.refresh_floor.min(every);
    remaining.map_or(every, |remaining| remaining.clamp(floor, longest))
}

/// The refresh starts within half the jitter around its percentage.
fn ahead_percents(policy: &RefreshPolicy) -> (u8, u8) {
    let spread = policy.jitter_percent >> 1;
    (policy.ahead_percent.saturating_sub(spread), policy.ahead_percent.saturating_add(spread).min(100))
}

/// The shortest lifetime that any directive gives; a response with two of them is ambiguous (RFC 9111 §4.2.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).filter_map(lifetime).min()
}

fn lifetime(directive: &str) -> Option<Duration> {
    let (name, value) = match directive.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        None => (directive.trim(), None),
    };
    if name.eq_ignore_ascii_case("max-age") {
        seconds(value?)
    } else if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
        Some(Duration::ZERO)
    } else {
        None
    }
}

fn delta_seconds(field: &HeaderValue) -> Option<Duration> {
    seconds(field.to_str().ok()?.trim())
}

/// RFC 9111 §1.2.2: digits only; what does not fit is as large as can be.
fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))))
}

/// Many times what servers make of a hash.
const ETAG_MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
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
        for (remaining, expected) in
            [(None, 300), (Some(0), 60), (Some(59), 60), (Some(120), 120), (Some(31_536_000), 300)]
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
}
