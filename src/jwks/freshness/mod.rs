//! Response headers and policy to times: when a key set is refreshed, becomes stale and expires (RFC 9111 §4.2).

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue};

use crate::clock::Monotonic;
use crate::defaults;
use crate::fetch::{Endpoint, delta_seconds, seconds};
use crate::jwks::jitter::{self, Sample};
use crate::jwks::policy::{RefreshPolicy, Staleness};

/// The caching headers of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Freshness {
    /// The lifetime in `Cache-Control`, if the header is present.
    lifetime: Option<Lifetime>,
    /// The value of `Age`.
    age: Duration,
    /// The `ETag` for the next conditional request, unchanged; `None` if it cannot be used in one.
    etag: Option<HeaderValue>,
}

/// The freshness lifetime of a response: zero for `no-store` and `no-cache`, `None` if `Cache-Control` has none of these and
/// no `max-age`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lifetime(Option<Duration>);

impl Freshness {
    /// Reads the headers; malformed values count as absent. `Expires` is ignored, since freshness does not depend on the wall
    /// clock.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let age = headers.get_all(AGE).iter().filter_map(delta_seconds).max().unwrap_or_default();
        let lifetime = headers.contains_key(CACHE_CONTROL).then(|| Lifetime(max_age(headers)));
        Self { lifetime, age, etag: headers.get(ETAG).filter(|etag| is_etag(etag)).cloned() }
    }

    /// Returns the freshness of the stored response after this 304 has confirmed it. A `Cache-Control` of the 304 replaces
    /// the stored one; without one, the stored one stays valid (RFC 9111 §4.3.4).
    pub(super) fn freshen(self, stored: &StoredResponse) -> Self {
        Self { lifetime: self.lifetime.or(stored.lifetime), age: self.age, etag: Some(stored.etag.clone()) }
    }

    /// Returns the stored response that the next 304 may confirm, if there is an `ETag`.
    pub(super) fn stored(self, endpoint: Endpoint) -> Option<StoredResponse> {
        Some(StoredResponse { etag: self.etag?, endpoint, lifetime: self.lifetime })
    }

    /// Returns the remaining time for which the response is fresh: its lifetime less its age.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.lifetime?.0.map(|lifetime| lifetime.saturating_sub(self.age))
    }
}

/// A response that a 304 may confirm, identified by its `ETag`. The `ETag` is only valid for its own URL; at another one it
/// may identify another document (RFC 9110 §8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredResponse {
    pub(super) etag: HeaderValue,
    pub(super) endpoint: Endpoint,
    lifetime: Option<Lifetime>,
}

/// The times at which a confirmed key set changes its freshness state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// When the issuer last confirmed the key set.
    pub(super) confirmed_at: Monotonic,
    /// When the next scheduled refresh starts.
    pub(super) refresh_at: Monotonic,
    /// When the key set becomes stale, if no refresh has succeeded before.
    pub(super) stale_at: Monotonic,
    /// When the key set expires and is no longer used.
    pub(super) expires_at: Monotonic,
    /// The part of the age that the monotonic clock has missed.
    pub(super) clock_lag: Duration,
}

impl Times {
    /// The times before the first key set: no key is usable.
    pub(super) const NEVER: Self = Self {
        confirmed_at: Monotonic::from_origin(Duration::ZERO),
        refresh_at: Monotonic::from_origin(Duration::ZERO),
        stale_at: Monotonic::from_origin(Duration::ZERO),
        expires_at: Monotonic::from_origin(Duration::ZERO),
        clock_lag: Duration::ZERO,
    };

    /// Computes the times of a key set that was confirmed `now`.
    ///
    /// The server can shorten the refresh interval down to the minimum. It can lengthen it only as far as the policy allows,
    /// since a removed key stays accepted for up to one interval.
    pub(super) fn new(
        remaining: Option<Duration>,
        policy: &RefreshPolicy,
        phase: Phase,
        now: Monotonic,
        sample: Sample,
    ) -> Self {
        let period = period(remaining, policy);
        let least = jitter::percent(min_interval(policy), defaults::LEAST_GAP_PERCENT);
        let low = jitter::percent(period, 100_u8.saturating_sub(policy.jitter_percent));
        let soft = sample.first.between(low.max(least), period);
        let (early, late) = ahead_percents(policy);
        let earliest = match phase {
            Phase::First if policy.jitter_percent > 0 => jitter::percent(soft, early).min(policy.min_refresh_interval),
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
            clock_lag: Duration::ZERO,
        }
    }

    /// Returns the times of a key set that was not fetched and that the issuer confirmed `age` before `now`. It is stale. Returns
    /// `None` if it has expired.
    pub(super) fn imported(age: Duration, policy: &RefreshPolicy, now: Monotonic) -> Option<Self> {
        let expires_at = match policy.staleness {
            Staleness::Strict => return None,
            Staleness::Bounded(limit) => {
                let remaining = limit.saturating_sub(age);
                now.saturating_add(Some(remaining).filter(|remaining| !remaining.is_zero())?)
            }
            Staleness::Unbounded => Monotonic::from_origin(Duration::MAX),
        };
        // The monotonic clock may be younger than the key set.
        Some(Self { confirmed_at: now, refresh_at: now, stale_at: now, expires_at, clock_lag: age })
    }

    /// Returns the times of the same key set, which is older by `span` than the monotonic clock shows.
    pub(super) fn older_by(self, span: Duration) -> Self {
        Self {
            confirmed_at: self.confirmed_at,
            refresh_at: self.refresh_at.saturating_sub(span),
            stale_at: self.stale_at.saturating_sub(span),
            expires_at: self.expires_at.saturating_sub(span),
            clock_lag: self.clock_lag.saturating_add(span),
        }
    }

    /// Returns the time since the issuer confirmed the key set.
    pub(super) fn age(&self, now: Monotonic) -> Duration {
        now.saturating_since(self.confirmed_at).saturating_add(self.clock_lag)
    }

    /// Returns the times of the same key set, expired at `now` at the latest.
    pub(super) fn expired_at(self, now: Monotonic) -> Self {
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

/// Whether a key set is the first one of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first one. Its refresh starts at a random time from the minimum interval on, so that processes that start together do not
    /// refresh together.
    First,
    /// A later one. Ordinary jitter is enough, since the refreshes are spread already.
    Later,
}

/// The freshness of a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FreshnessState {
    Fresh,
    Aging,
    Stale,
    Expired,
}

/// Rejects `*`, which a server answers with 304 for any key set (RFC 9110 §13.1.2), and a value that is too long for servers.
fn is_etag(field: &HeaderValue) -> bool {
    (1..=ETAG_MAX_BYTES).contains(&field.len()) && field != "*"
}

fn period(remaining: Option<Duration>, policy: &RefreshPolicy) -> Duration {
    let every = policy.refresh_interval;
    let longest = policy.max_refresh_interval.unwrap_or(every).max(every);
    remaining.map_or(every, |remaining| remaining.clamp(min_interval(policy), longest))
}

/// Returns the shortest refresh interval that a server can set.
fn min_interval(policy: &RefreshPolicy) -> Duration {
    policy.min_refresh_interval.min(policy.refresh_interval)
}

/// Returns the percentages between which the refresh starts: half the jitter on either side of the configured one.
fn ahead_percents(policy: &RefreshPolicy) -> (u8, u8) {
    let spread = policy.jitter_percent >> 1;
    (policy.ahead_percent.saturating_sub(spread), policy.ahead_percent.saturating_add(spread).min(100))
}

/// Returns the shortest lifetime of all directives. A response with two of them is ambiguous (RFC 9111 §4.2.1).
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

/// Many times the length of a hash, which most servers use.
const ETAG_MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests;
