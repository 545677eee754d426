//! `RefreshPolicy`: every number of the key source, each with its default and reason.

mod error;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::defaults;
use crate::jwks::events::{EventHook, KeyEvent};
use crate::keys::PrivateKeys;

pub use self::error::RefreshPolicyError;

/// When keys are fetched, how long they are used, and how long anybody waits for them.
///
/// The defaults suit production. A policy is checked as a whole, when the key source is built. Two policies are equal if all
/// their settings are; an event hook equals its own clones only.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::jwks::RefreshPolicy;
///
/// let policy = RefreshPolicy::new()
///     .with_refresh_every(Duration::from_secs(120))
///     .with_max_stale(Duration::from_secs(900));
/// assert!(policy.validate().is_ok());
///
/// let faults = policy.with_refresh_every(Duration::from_secs(1)).validate().unwrap_err();
/// assert_eq!(faults.len(), 2); // below the floor, and below the longest cool-down
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshPolicy {
    pub(crate) initial_fetch: InitialFetch,
    pub(crate) refresh_every: Duration,
    pub(crate) refresh_floor: Duration,
    /// What nobody may go below; only the `testing` module lifts it.
    pub(crate) min_period: Duration,
    pub(crate) longer_max_age: Option<Duration>,
    pub(crate) ahead_percent: u8,
    pub(crate) jitter_percent: u8,
    pub(crate) staleness: Staleness,
    pub(crate) attempt_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) retries: u8,
    pub(crate) cold_wait: Duration,
    pub(crate) unknown_kid_wait: Duration,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) backoff_max_unavailable: Duration,
    pub(crate) retry_after_max: Duration,
    pub(crate) unknown_kid_cooldown_min: Duration,
    pub(crate) unknown_kid_cooldown_max: Duration,
    pub(crate) unknown_kid_quiet: Duration,
    pub(crate) max_document_bytes: usize,
    pub(crate) max_keys: usize,
    pub(crate) max_waiters: usize,
    pub(crate) discovery_every: Duration,
    pub(crate) headers: HeaderMap,
    pub(crate) jwks_hosts: Option<Vec<String>>,
    pub(crate) empty_set: EmptySet,
    pub(crate) redirects: Redirects,
    pub(crate) event_hook: Option<EventHook>,
    pub(crate) private_keys: PrivateKeys,
    /// Where chance starts from, so that it repeats itself; only the `testing` module sets it.
    pub(crate) seed: Option<u64>,
}

/// When a key source fetches for the first time.
///
/// For a service that must not start without keys, build it and await [`ready_within`](crate::jwks::KeySource::ready_within).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InitialFetch {
    /// With the first request, or the first question for its status.
    Lazy,
    /// In the background as soon as it is built inside a tokio runtime.
    Eager,
}

/// How long a set is used past its period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staleness {
    Strict,
    Bounded(Duration),
    Unbounded,
}

/// What a published set without usable keys means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmptySet {
    IsFailure,
    IsAnswer,
}

/// What becomes of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirects {
    Refused,
    FollowedWithinOrigin,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl RefreshPolicy {
    /// The defaults, each explained at its setter.
    #[must_use]
    pub fn new() -> Self {
        Self {
            initial_fetch: InitialFetch::Eager,
            refresh_every: defaults::REFRESH_EVERY,
            refresh_floor: defaults::REFRESH_FLOOR,
            min_period: defaults::REFRESH_FLOOR,
            longer_max_age: None,
            ahead_percent: defaults::REFRESH_AHEAD_PERCENT,
            jitter_percent: defaults::JITTER_PERCENT,
            staleness: Staleness::Bounded(defaults::MAX_STALE),
            attempt_timeout: defaults::ATTEMPT_TIMEOUT,
            operation_timeout: defaults::OPERATION_TIMEOUT,
            retries: defaults::RETRIES,
            cold_wait: defaults::COLD_WAIT,
            unknown_kid_wait: defaults::UNKNOWN_KID_WAIT,
            backoff_min: defaults::BACKOFF_MIN,
            backoff_max: defaults::BACKOFF_MAX,
            backoff_max_unavailable: defaults::BACKOFF_MAX_UNAVAILABLE,
            retry_after_max: defaults::RETRY_AFTER_MAX,
            unknown_kid_cooldown_min: defaults::UNKNOWN_KID_COOLDOWN_MIN,
            unknown_kid_cooldown_max: defaults::UNKNOWN_KID_COOLDOWN_MAX,
            unknown_kid_quiet: defaults::UNKNOWN_KID_QUIET,
            max_document_bytes: defaults::MAX_DOCUMENT_BYTES,
            max_keys: defaults::MAX_KEYS,
            max_waiters: defaults::MAX_WAITERS,
            discovery_every: defaults::DISCOVERY_EVERY,
            headers: HeaderMap::new(),
            jwks_hosts: None,
            empty_set: EmptySet::IsFailure,
            redirects: Redirects::Refused,
            event_hook: None,
            private_keys: PrivateKeys::Skipped,
            seed: None,
        }
    }

    /// Sets when the first fetch starts: [`InitialFetch::Eager`] by default, so that the first request finds keys.
    #[must_use]
    pub fn with_initial_fetch(mut self, initial_fetch: InitialFetch) -> Self {
        self.initial_fetch = initial_fetch;
        self
    }

    /// Sets the time between two polls: 5 minutes by default, at least 1 minute.
    ///
    /// A key that the issuer has removed is accepted for as long as this, so it is the latency of a revocation. With an
    /// `ETag` a poll costs about 300 octets.
    #[must_use]
    pub fn with_refresh_every(mut self, period: Duration) -> Self {
        self.refresh_every = period;
        self
    }

    /// Sets down to what a server's `max-age` may shorten the period: 60 seconds by default, and not less, so that
    /// `max-age=0` does not turn polling into a load test.
    ///
    /// `max-age` counts less the answer's `Age` (RFC 9111 §4.2). A 304 without `Cache-Control` leaves what the stored
    /// answer said of it (§4.3.4).
    #[must_use]
    pub fn with_refresh_floor(mut self, floor: Duration) -> Self {
        self.refresh_floor = floor;
        self
    }

    /// Lets a server's `max-age` lengthen the period up to `limit`; by default it cannot.
    ///
    /// # Security
    ///
    /// A removed key stays accepted for as long as the server's caches say.
    #[must_use]
    pub fn with_longer_max_age(mut self, limit: Duration) -> Self {
        self.longer_max_age = Some(limit);
        self
    }

    /// Sets after what part of the period the refresh starts: 80 percent by default, so that four retries fit before
    /// the keys turn stale.
    #[must_use]
    pub fn with_refresh_ahead_percent(mut self, percent: u8) -> Self {
        self.ahead_percent = percent;
        self
    }

    /// Sets by how much periods and cool-downs are shortened at random: 10 percent by default, so that replicas that were
    /// started together, or flooded together, drift apart.
    ///
    /// Replicas that were started together would come back together once all the same: unless this is zero, the first
    /// refresh of a source starts at a moment that chance picks between [the floor](Self::with_refresh_floor) and its
    /// ordinary time.
    #[must_use]
    pub fn with_jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// Sets how long keys are used after the issuer last confirmed them: 1 hour by default, which outlasts an ordinary
    /// outage of an issuer.
    ///
    /// # Security
    ///
    /// While the issuer cannot be reached, a key that it revokes is accepted for this long.
    #[must_use]
    pub fn with_max_stale(mut self, limit: Duration) -> Self {
        self.staleness = Staleness::Bounded(limit);
        self
    }

    /// Uses keys for their period only: an issuer that stays unreachable for the last fifth of it stops the service.
    #[must_use]
    pub fn strict_freshness(mut self) -> Self {
        self.staleness = Staleness::Strict;
        self
    }

    /// Uses keys for ever, however long ago the issuer confirmed them.
    ///
    /// # Security
    ///
    /// Whoever can keep this process from reaching the issuer can keep a revoked key alive.
    #[must_use]
    pub fn dangerous_unbounded_staleness(mut self) -> Self {
        self.staleness = Staleness::Unbounded;
        self
    }

    /// Sets the limit for one exchange: 3 seconds by default, far above a healthy answer. Connecting takes at most
    /// 2 seconds of it with the crate's own backend.
    #[must_use]
    pub fn with_attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = limit;
        self
    }

    /// Sets the limit for a whole refresh, body, retry and discovery included: 5 seconds by default. It holds whatever
    /// the [`Fetch`](crate::fetch::Fetch) implementation does.
    #[must_use]
    pub fn with_operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = limit;
        self
    }

    /// Sets how many second attempts one refresh may make: 1 by default, at most 1.
    ///
    /// Only a closed or refused connection, 502, 503 and 504 are tried again, when at least 1.5 seconds are left, after
    /// 50 to 150 milliseconds.
    #[must_use]
    pub fn with_retries(mut self, retries: u8) -> Self {
        self.retries = retries;
        self
    }

    /// Sets how long a request waits for the very first keys: 5 seconds by default, as long as the refresh itself.
    #[must_use]
    pub fn with_cold_wait(mut self, limit: Duration) -> Self {
        self.cold_wait = limit;
        self
    }

    /// Sets how long a request waits when its key id is not known: 2 seconds by default, less than clients allow.
    #[must_use]
    pub fn with_unknown_kid_wait(mut self, limit: Duration) -> Self {
        self.unknown_kid_wait = limit;
        self
    }

    /// Sets the pause after the first failure: 1 second by default. It doubles with each failure; half of it is random.
    #[must_use]
    pub fn with_backoff_min(mut self, pause: Duration) -> Self {
        self.backoff_min = pause;
        self
    }

    /// Sets the longest pause between failures while keys are usable: 60 seconds by default.
    #[must_use]
    pub fn with_backoff_max(mut self, pause: Duration) -> Self {
        self.backoff_max = pause;
        self
    }

    /// Sets the longest pause between failures while no keys are usable: 15 seconds by default, since every request
    /// fails meanwhile.
    #[must_use]
    pub fn with_backoff_max_unavailable(mut self, pause: Duration) -> Self {
        self.backoff_max_unavailable = pause;
        self
    }

    /// Sets the longest `Retry-After` that is obeyed: 5 minutes by default. One that is a date counts from the `Date` of
    /// the same answer (RFC 9110 §10.2.3), since no wall clock decides here; without that it is answered with the pause of
    /// any failure.
    #[must_use]
    pub fn with_retry_after_max(mut self, limit: Duration) -> Self {
        self.retry_after_max = limit;
        self
    }

    /// Sets the pause between two fetches for unknown key ids while they prove fruitful: 1 second by default.
    #[must_use]
    pub fn with_unknown_kid_cooldown_min(mut self, pause: Duration) -> Self {
        self.unknown_kid_cooldown_min = pause;
        self
    }

    /// Sets what that pause grows to while they bring nothing new: 15 seconds by default, which a flood of random key
    /// ids turns into at most eight fetches a minute. While the issuer answers, a new key stays unknown for no longer than
    /// this and one fetch.
    #[must_use]
    pub fn with_unknown_kid_cooldown_max(mut self, pause: Duration) -> Self {
        self.unknown_kid_cooldown_max = pause;
        self
    }

    /// Sets after how long without a miss that pause starts from its minimum again: 60 seconds by default.
    #[must_use]
    pub fn with_unknown_kid_quiet(mut self, span: Duration) -> Self {
        self.unknown_kid_quiet = span;
        self
    }

    /// Sets the largest document that is read: 256 KiB by default, after any decoding.
    #[must_use]
    pub fn with_max_document_bytes(mut self, limit: usize) -> Self {
        self.max_document_bytes = limit;
        self
    }

    /// Sets how many keys a set may hold: 100 by default; real ones hold two to ten. A longer set is refused whole.
    #[must_use]
    pub fn with_max_keys(mut self, limit: usize) -> Self {
        self.max_keys = limit;
        self
    }

    /// Sets how many requests may wait at once: 10,000 by default. One more is answered without waiting.
    #[must_use]
    pub fn with_max_waiters(mut self, limit: usize) -> Self {
        self.max_waiters = limit;
        self
    }

    /// Sets how often a discovery document is read again: every 24 hours by default.
    #[must_use]
    pub fn with_discovery_every(mut self, period: Duration) -> Self {
        self.discovery_every = period;
        self
    }

    /// Sends a header with every fetch of keys and of the discovery document, marked sensitive; there are none by default.
    ///
    /// # Security
    ///
    /// It goes to whatever host the discovery document names; see [`with_jwks_hosts`](Self::with_jwks_hosts).
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// Allows these hosts only in a discovery document's `jwks_uri`; by default any host, as long as it is https. An empty list
    /// is refused.
    #[must_use]
    pub fn with_jwks_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.jwks_hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// Follows a redirect to another path of the same server, at most two in a row, for keys and for the discovery document;
    /// by default a redirect is a failure, since keys are where the configuration or the issuer's document says.
    ///
    /// Followed are 301, 302, 307 and 308 (RFC 9110 §15.4) whose one `Location` stays at exactly the same scheme, host and
    /// port. Anything else is still [`RefreshError::Redirect`](crate::jwks::RefreshError::Redirect): another host, another
    /// port, https to http or the other way round, user information, a fragment, a third redirect, a loop. 303 leads to
    /// something other than what was asked for, and is not followed. All of it has to fit into the
    /// [time of one attempt](Self::with_attempt_timeout). An attempt is then up to three requests instead of one, also where
    /// a stranger's key id causes it.
    ///
    /// # Security
    ///
    /// [Headers](Self::with_header) go along, as they stay with the server that they were meant for.
    #[must_use]
    pub fn with_same_origin_redirects(mut self) -> Self {
        self.redirects = Redirects::FollowedWithinOrigin;
        self
    }

    /// Calls `hook` with everything that happens to the keys, for alerts, audits, or to invalidate what was made of them:
    /// the events that are also logged, as data. A policy has one hook; by default none.
    ///
    /// It is called for one event after the other, by the task that fetches or, where none runs, by whoever closes the
    /// source, once the new keys are in use and whoever waited for them has been told; no lock is held, and it may do
    /// with the source what it likes. It must not block: while it runs, this source fetches nothing, and no request
    /// notices as long as its keys are known. Misses, which strangers can cause, are counted and told at most once a
    /// second. A hook that panics is called again for the next event. One that owns the validator keeps both alive for
    /// ever.
    ///
    /// ```
    /// use tower_bearer::jwks::{KeyEventKind, RefreshPolicy};
    ///
    /// let (alerts, page) = std::sync::mpsc::channel();
    /// let policy = RefreshPolicy::new().with_event_hook(move |event| match event.kind() {
    ///     KeyEventKind::Expired | KeyEventKind::PrivateKeyPublished { .. } => {
    ///         let _nobody_reads = alerts.send(event.clone());
    ///     }
    ///     _ => {}
    /// });
    /// # let _ = (page, policy);
    /// ```
    #[must_use]
    pub fn with_event_hook(mut self, hook: impl Fn(&KeyEvent) + Send + Sync + 'static) -> Self {
        self.event_hook = Some(EventHook::new(hook));
        self
    }

    /// Takes a set without usable keys for the issuer's word, so that every token is refused; by default it is a failed
    /// refresh, and the keys at hand stay in use.
    ///
    /// # Security
    ///
    /// A broken deployment of the issuer then refuses every request of this service.
    #[must_use]
    pub fn dangerous_accept_empty_set(mut self) -> Self {
        self.empty_set = EmptySet::IsAnswer;
        self
    }

    /// Verifies with the public half of a private key that the issuer publishes; by default such a key is skipped
    /// ([`SkipReason::Private`](crate::keys::SkipReason::Private)), and the key that it belongs to stops verifying at once,
    /// also if the set is refused as a whole, and stays out of use until the process ends
    /// ([`SkipReason::Compromised`](crate::keys::SkipReason::Compromised)). Either way an error is logged for it, and its
    /// private members are not read. It has to be fit for verifying in every other way. Shared secrets stay out.
    ///
    /// # Security
    ///
    /// Everybody who has read the key set can sign tokens, for any subject and scope. It may bridge the hours until the
    /// issuer has a new key, where no other service would be worse.
    #[must_use]
    pub fn dangerous_accept_private_keys(mut self) -> Self {
        self.private_keys = PrivateKeys::PublicHalfUsed;
        self
    }

    /// Says whether it has a `dangerous_*` setting that `other` lacks.
    pub(crate) fn is_more_dangerous_than(&self, other: &Self) -> bool {
        let settings = |policy: &Self| {
            [
                policy.staleness == Staleness::Unbounded,
                policy.empty_set == EmptySet::IsAnswer,
                policy.private_keys == PrivateKeys::PublicHalfUsed,
            ]
        };
        settings(self).into_iter().zip(settings(other)).any(|(ours, theirs)| ours && !theirs)
    }
}

#[cfg(test)]
mod tests;
