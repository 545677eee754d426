//! Response headers to times: how long a key set is fresh, and how long it may be used at all (RFC 9111 §4.2).

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use crate::clock::Monotonic;
use crate::defaults;
use crate::fetch::Endpoint;
use crate::jwks::jitter::{self, Sample};
use crate::jwks::policy::{RefreshPolicy, Staleness};

/// What a server says about the age of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Freshness {
    /// What `Cache-Control` says, if it is there.
    lifetime: Option<Lifetime>,
    /// How old the answer is already.
    age: Duration,
    /// The validator for the next conditional request, as it stood there, if it may stand in one.
    etag: Option<HeaderValue>,
}

/// How long an answer is fresh, zero for `no-store` and `no-cache`; `None` where `Cache-Control` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lifetime(Option<Duration>);

impl Freshness {
    /// Reads the headers; what is malformed counts as absent. `Expires` is not read: no wall clock decides here.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let age = headers.get_all(AGE).iter().filter_map(delta_seconds).max().unwrap_or_default();
        let lifetime = headers.contains_key(CACHE_CONTROL).then(|| Lifetime(max_age(headers)));
        Self { lifetime, age, etag: headers.get(ETAG).filter(|etag| is_etag(etag)).cloned() }
    }

    /// What holds once this 304 has confirmed the answer that is `stored`: its own `Cache-Control` takes the place of the
    /// stored one, and where it has none, that goes on being valid (RFC 9111 §4.3.4).
    pub(super) fn freshen(self, stored: &Stored) -> Self {
        Self { lifetime: self.lifetime.or(stored.lifetime), age: self.age, etag: Some(stored.etag.clone()) }
    }

    /// What the next 304 may confirm, if there is a validator to ask with.
    pub(super) fn stored(self, endpoint: Endpoint) -> Option<Stored> {
        Some(Stored { etag: self.etag?, endpoint, lifetime: self.lifetime })
    }

    /// How long the answer goes on being fresh: its lifetime less its age.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.lifetime?.0.map(|lifetime| lifetime.saturating_sub(self.age))
    }
}

/// What a 304 may confirm: the answer that brought a set, by its validator. It counts where it was given; at another place
/// it could be that of another set (RFC 9110 §8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) etag: HeaderValue,
    pub(super) endpoint: Endpoint,
    lifetime: Option<Lifetime>,
}

/// The moments at which one confirmed key set changes its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// When the issuer last said that these are its keys.
    pub(super) confirmed_at: Monotonic,
    /// When the next scheduled refresh starts.
    pub(super) refresh_at: Monotonic,
    /// From here on the set is stale: the refresh should have brought a new one.
    pub(super) stale_at: Monotonic,
    /// From here on the set is used no more.
    pub(super) expires_at: Monotonic,
    /// By how much the set is older than the monotonic clock says.
    pub(super) uncounted: Duration,
}

impl Times {
    /// Before any set: nothing may be used.
    pub(super) const NEVER: Self = Self {
        confirmed_at: Monotonic::from_origin(Duration::ZERO),
        refresh_at: Monotonic::from_origin(Duration::ZERO),
        stale_at: Monotonic::from_origin(Duration::ZERO),
        expires_at: Monotonic::from_origin(Duration::ZERO),
        uncounted: Duration::ZERO,
    };

    /// The times of a set that was confirmed `now`.
    ///
    /// The server may shorten the period down to the floor; it lengthens it only as far as the policy lets it, since
    /// the period is also how long a removed key lives on.
    pub(super) fn new(
        remaining: Option<Duration>,
        policy: &RefreshPolicy,
        phase: Phase,
        now: Monotonic,
        sample: Sample,
    ) -> Self {
        let period = period(remaining, policy);
        let least = jitter::percent(floor(policy), defaults::LEAST_GAP_PERCENT);
        let low = jitter::percent(period, 100_u8.saturating_sub(policy.jitter_percent));
        let soft = sample.first.between(low.max(least), period);
        let (early, late) = ahead_percents(policy);
        let earliest = match phase {
            Phase::First if policy.jitter_percent > 0 => jitter::percent(soft, early).min(policy.refresh_floor),
            Phase::First | Phase::Later => jitter::percent(soft, early),
        };
        let ahead = sample.second.between(earliest, jitter::percent(soft, late)).max(least);
        let stale_at = now.saturating_add(soft);
        let expires_at = match policy.staleness {
            Staleness::Strict => stale_at,
            Staleness::Bounded(limit) => now.saturating_add(limit),
            Staleness::Unbounded => Monotonic::from_origin(Duration::MAX),
        };
        let refresh_at = now.saturating_add(ahead);
        Self {
            confirmed_at: now,
            refresh_at,
            stale_at: stale_at.min(expires_at),
            expires_at,
            uncounted: Duration::ZERO,
        }
    }

    /// The times of the same set once it is known to be older by `span` than the monotonic clock says.
    pub(super) fn older_by(self, span: Duration) -> Self {
        Self {
            confirmed_at: self.confirmed_at,
            refresh_at: self.refresh_at.saturating_sub(span),
            stale_at: self.stale_at.saturating_sub(span),
            expires_at: self.expires_at.saturating_sub(span),
            uncounted: self.uncounted.saturating_add(span),
        }
    }

    /// The time since the issuer confirmed the set.
    pub(super) fn age(&self, now: Monotonic) -> Duration {
        now.saturating_since(self.confirmed_at).saturating_add(self.uncounted)
    }

    /// The same for a set that may not be used any more.
    pub(super) fn ended(self, now: Monotonic) -> Self {
        let [refresh_at, stale_at, expires_at] =
            [self.refresh_at, self.stale_at, self.expires_at].map(|at| at.min(now));
        Self { refresh_at, stale_at, expires_at, ..self }
    }

    pub(super) fn freshness_state(&self, now: Monotonic) -> FreshnessState {
        if now >= self.expires_at {
            FreshnessState::Expired
        } else if now >= self.stale_at {
            FreshnessState::Stale
        } else if now >= self.refresh_at {
            FreshnessState::Aging
        } else {
            FreshnessState::Fresh
        }
    }
}

/// Whether a set is the first of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is: its refresh starts anywhere from the floor on, so that replicas that started together do not come back
    /// together.
    First,
    /// It is not: the jitter keeps apart what the start has set apart.
    Later,
}

/// Where a key set stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FreshnessState {
    Fresh,
    Aging,
    Stale,
    Expired,
}

/// Reads `Retry-After`: seconds, or a date, which counts from the answer's own `Date` (RFC 9110 §10.2.3), since no wall
/// clock decides here. What is malformed or past, and a date beside no other, is the wish for a pause of whatever length.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let field = headers.get(RETRY_AFTER)?;
    let span = || date(field)?.duration_since(date(headers.get(DATE)?)?).ok();
    Some(delta_seconds(field).or_else(span).unwrap_or_default())
}

/// `If-None-Match: *` would be answered 304 whatever the set is (RFC 9110 §13.1.2), and a field of kilobytes by no server.
fn is_etag(field: &HeaderValue) -> bool {
    (1..=ETAG_MAX_BYTES).contains(&field.len()) && field != "*"
}

fn period(remaining: Option<Duration>, policy: &RefreshPolicy) -> Duration {
    let every = policy.refresh_every;
    let longest = policy.longer_max_age.unwrap_or(every).max(every);
    remaining.map_or(every, |remaining| remaining.clamp(floor(policy), longest))
}

/// The shortest period that a server may ask for.
fn floor(policy: &RefreshPolicy) -> Duration {
    policy.refresh_floor.min(policy.refresh_every)
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

/// RFC 9110 §5.6.7: any of the three forms.
fn date(field: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(field.to_str().ok()?).ok()
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
mod tests;
