//! `RefreshPolicy`: all settings of a key source, each with its default and the reason for it.

mod error;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::defaults;
use crate::fetch::Redirects;
use crate::jwks::events::{EventHook, KeyEvent};
use crate::keys::PrivateKeys;

pub use self::error::RefreshPolicyError;

/// When keys are fetched, how long they are used, and how long requests wait for them.
///
/// The defaults suit production. A policy is [checked](Self::errors) as a whole when its key source is built. Two policies
/// are equal if all their settings are; an event hook equals only its own clones.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::jwks::RefreshPolicy;
///
/// let policy = RefreshPolicy::new()
///     .with_refresh_interval(Duration::from_secs(120))
///     .with_max_stale(Duration::from_secs(900));
/// assert!(policy.errors().is_empty());
///
/// let errors = policy.with_refresh_interval(Duration::from_secs(1)).errors();
/// assert_eq!(errors.len(), 2); // below the floor, and below the longest cool-down
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    pub(crate) initial_fetch: InitialFetch,
    pub(crate) refresh_interval: Duration,
    pub(crate) min_refresh_interval: Duration,
    /// The lower limit of `refresh_interval` and `min_refresh_interval`; only the `testing` module changes it.
    pub(crate) min_period: Duration,
    pub(crate) max_refresh_interval: Option<Duration>,
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
    pub(crate) discovery_interval: Duration,
    pub(crate) headers: HeaderMap,
    pub(crate) jwks_hosts: Option<Vec<String>>,
    pub(crate) empty_set: EmptySet,
    pub(crate) redirects: Redirects,
    pub(crate) event_hook: Option<EventHook>,
    pub(crate) private_keys: PrivateKeys,
    /// The seed for reproducible random numbers; only the `testing` module sets it.
    pub(crate) seed: Option<u64>,
}

/// When a key source fetches for the first time.
///
/// A service that must not start without keys awaits [`ready_within`](crate::jwks::KeySource::ready_within) after it has
/// built its validator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InitialFetch {
    /// With the first request or the first call of [`status`](crate::jwks::KeySource::status).
    Lazy,
    /// In the background, as soon as the source is built inside a tokio runtime.
    #[default]
    Eager,
}

/// How long a key set is used after its refresh interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staleness {
    Strict,
    Bounded(Duration),
    Unbounded,
}

/// Whether a key set without usable keys is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmptySet {
    Rejected,
    Accepted,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl RefreshPolicy {
    /// Creates the default policy. Each setter explains its default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            initial_fetch: InitialFetch::Eager,
            refresh_interval: defaults::REFRESH_INTERVAL,
            min_refresh_interval: defaults::MIN_REFRESH_INTERVAL,
            min_period: defaults::MIN_REFRESH_INTERVAL,
            max_refresh_interval: None,
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
            discovery_interval: defaults::DISCOVERY_INTERVAL,
            headers: HeaderMap::new(),
            jwks_hosts: None,
            empty_set: EmptySet::Rejected,
            redirects: Redirects::NotFollowed,
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

    /// Sets the refresh interval: 5 minutes by default, at least 1 minute.
    ///
    /// A key that the issuer has removed is accepted for up to this time, so it is the latency of a revocation. With an
    /// `ETag` a poll transfers about 300 bytes.
    #[must_use]
    pub fn with_refresh_interval(mut self, period: Duration) -> Self {
        self.refresh_interval = period;
        self
    }

    /// Sets the lower limit to which a server's `max-age` can shorten the refresh interval: 60 seconds by default and at
    /// least, so that `max-age=0` does not cause constant polling.
    ///
    /// The `Age` of the response is subtracted from `max-age` (RFC 9111 §4.2). After a 304 without `Cache-Control` the values
    /// of the stored response apply (§4.3.4).
    #[must_use]
    pub fn with_min_refresh_interval(mut self, floor: Duration) -> Self {
        self.min_refresh_interval = floor;
        self
    }

    /// Allows a server's `max-age` to lengthen the refresh interval up to `limit`; by default it cannot.
    ///
    /// # Security
    ///
    /// A removed key stays accepted for as long as the server's `max-age`, up to `limit`.
    #[must_use]
    pub fn with_max_refresh_interval(mut self, limit: Duration) -> Self {
        self.max_refresh_interval = Some(limit);
        self
    }

    /// Sets the part of the refresh interval after which the refresh starts: 80 percent by default, so that four retries fit
    /// before the keys are stale.
    #[must_use]
    pub fn with_refresh_ahead_percent(mut self, percent: u8) -> Self {
        self.ahead_percent = percent;
        self
    }

    /// Sets by how much intervals and cool-downs are shortened at random: 10 percent by default, so that replicas that start
    /// together, or receive the same flood, do not fetch together.
    ///
    /// Unless this is zero, the first refresh of a source starts at a random time between the
    /// [floor](Self::with_min_refresh_interval) and its ordinary time, so that replicas that start together do not even share their
    /// first refresh.
    #[must_use]
    pub fn with_jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// Sets how long keys are used after the issuer last confirmed them: 1 hour by default, longer than an ordinary outage of
    /// an issuer.
    ///
    /// # Security
    ///
    /// While the issuer is unreachable, a key that it has revoked is accepted for this long.
    #[must_use]
    pub fn with_max_stale(mut self, limit: Duration) -> Self {
        self.staleness = Staleness::Bounded(limit);
        self
    }

    /// Uses keys for one refresh interval only: if the issuer is unreachable for the last fifth of it, all requests fail.
    #[must_use]
    pub fn with_strict_freshness(mut self) -> Self {
        self.staleness = Staleness::Strict;
        self
    }

    /// Uses keys without a time limit after the issuer last confirmed them.
    ///
    /// # Security
    ///
    /// An attacker who can block the connection to the issuer can keep a revoked key in use.
    #[must_use]
    pub fn dangerous_unbounded_staleness(mut self) -> Self {
        self.staleness = Staleness::Unbounded;
        self
    }

    /// Sets the timeout of one HTTP exchange: 3 seconds by default, far longer than a healthy response takes. The crate's own
    /// client spends at most 2 seconds of it on connecting.
    #[must_use]
    pub fn with_attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = limit;
        self
    }

    /// Sets the timeout of a whole refresh including body, retry and discovery: 5 seconds by default. It also applies to a
    /// custom [`Fetch`](crate::fetch::Fetch) implementation.
    #[must_use]
    pub fn with_operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = limit;
        self
    }

    /// Sets the number of retries within one refresh: 1 by default, at most 1.
    ///
    /// A retry follows only after a closed or refused connection, 502, 503 or 504, if at least 1.5 seconds are left, and
    /// after a pause of 50 to 150 milliseconds.
    #[must_use]
    pub fn with_retries(mut self, retries: u8) -> Self {
        self.retries = retries;
        self
    }

    /// Sets how long a request waits for the first keys: 5 seconds by default, as long as the refresh itself.
    #[must_use]
    pub fn with_cold_wait(mut self, limit: Duration) -> Self {
        self.cold_wait = limit;
        self
    }

    /// Sets how long a request with an unknown `kid` waits: 2 seconds by default, less than usual client timeouts.
    #[must_use]
    pub fn with_unknown_kid_wait(mut self, limit: Duration) -> Self {
        self.unknown_kid_wait = limit;
        self
    }

    /// Sets the backoff after the first failed fetch: 1 second by default. It doubles with each further failure; half of it
    /// is random.
    #[must_use]
    pub fn with_backoff_min(mut self, pause: Duration) -> Self {
        self.backoff_min = pause;
        self
    }

    /// Sets the longest backoff while keys are usable: 60 seconds by default.
    #[must_use]
    pub fn with_backoff_max(mut self, pause: Duration) -> Self {
        self.backoff_max = pause;
        self
    }

    /// Sets the longest backoff while no keys are usable: 15 seconds by default, since every request fails meanwhile.
    #[must_use]
    pub fn with_backoff_max_unavailable(mut self, pause: Duration) -> Self {
        self.backoff_max_unavailable = pause;
        self
    }

    /// Sets the longest `Retry-After` that is honoured: 5 minutes by default. A date is compared with the `Date` of the same
    /// response (RFC 9110 §10.2.3), not with the local wall clock. A date without `Date` is ignored, and the ordinary backoff
    /// applies.
    #[must_use]
    pub fn with_retry_after_max(mut self, limit: Duration) -> Self {
        self.retry_after_max = limit;
        self
    }

    /// Sets the shortest cool-down between two fetches for unknown `kid`s: 1 second by default. It applies while such fetches
    /// find new keys.
    #[must_use]
    pub fn with_unknown_kid_cooldown_min(mut self, pause: Duration) -> Self {
        self.unknown_kid_cooldown_min = pause;
        self
    }

    /// Sets the longest cool-down between two fetches for unknown `kid`s: 15 seconds by default. The cool-down doubles with
    /// each fetch that finds no new key, so a flood of random `kid`s causes at most eight fetches a minute. While the issuer
    /// responds, a new key is found after at most this time and one fetch.
    #[must_use]
    pub fn with_unknown_kid_cooldown_max(mut self, pause: Duration) -> Self {
        self.unknown_kid_cooldown_max = pause;
        self
    }

    /// Sets the time without unknown `kid`s after which the cool-down returns to its minimum: 60 seconds by default.
    #[must_use]
    pub fn with_unknown_kid_quiet(mut self, span: Duration) -> Self {
        self.unknown_kid_quiet = span;
        self
    }

    /// Sets the maximum size of a document in bytes, after decoding: 256 KiB by default.
    #[must_use]
    pub fn with_max_document_bytes(mut self, limit: usize) -> Self {
        self.max_document_bytes = limit;
        self
    }

    /// Sets the maximum number of keys in a key set: 100 by default; real key sets have two to ten. A larger one is rejected
    /// as a whole.
    #[must_use]
    pub fn with_max_keys(mut self, limit: usize) -> Self {
        self.max_keys = limit;
        self
    }

    /// Sets the maximum number of waiting requests: 10,000 by default. Further requests get a response without waiting.
    #[must_use]
    pub fn with_max_waiters(mut self, limit: usize) -> Self {
        self.max_waiters = limit;
        self
    }

    /// Sets the interval at which the discovery document is read again: 24 hours by default.
    #[must_use]
    pub fn with_discovery_interval(mut self, period: Duration) -> Self {
        self.discovery_interval = period;
        self
    }

    /// Sends a header with every request for keys and for the discovery document. The value is marked as sensitive. There are
    /// none by default.
    ///
    /// # Security
    ///
    /// The header is sent to any host that the discovery document names; restrict these with
    /// [`with_jwks_hosts`](Self::with_jwks_hosts).
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// Allows only these hosts in the `jwks_uri` of a discovery document; by default any host is allowed, over https. An
    /// empty list is an error.
    #[must_use]
    pub fn with_jwks_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.jwks_hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// Follows redirects within the same origin, at most two in a row, for keys and for the discovery document. By default a
    /// redirect is an error, since the location of the keys is configured or discovered.
    ///
    /// 301, 302, 307 and 308 (RFC 9110 §15.4) are followed if they have exactly one `Location` with the same scheme, host and
    /// port. Anything else is still [`RefreshError::Redirect`](crate::jwks::RefreshError::Redirect): another host or port,
    /// https to http or the reverse, user information, a fragment, a third redirect, a loop. 303 refers to a different
    /// resource and is not followed. All redirects share the [timeout of one attempt](Self::with_attempt_timeout). An attempt
    /// then sends up to three requests instead of one, also if a client's unknown `kid` has triggered it.
    ///
    /// # Security
    ///
    /// [Headers](Self::with_header) are sent with each request, since the origin stays the same.
    #[must_use]
    pub fn with_same_origin_redirects(mut self) -> Self {
        self.redirects = Redirects::SameOrigin;
        self
    }

    /// Calls `hook` with every key event, for alerts, audits or cache invalidation. These are the events that are also
    /// logged, as data. A policy has at most one hook; by default none.
    ///
    /// The task that fetches calls the hook, for one event after the other. If no task runs, the caller that closes the
    /// source calls it. At that time new keys are in use already, waiting requests have been notified, and no lock is held,
    /// so the hook may call the source. The hook must not block: while it runs, this source does not fetch; requests with
    /// known keys are not affected. Unknown `kid`s, which any client can send, are counted and reported at most once a
    /// second. A hook that panics is called again for the next event. A hook that owns the validator keeps both in memory
    /// permanently.
    ///
    /// ```
    /// use tower_bearer::jwks::{KeyEventKind, RefreshPolicy};
    ///
    /// let (alerts, page) = std::sync::mpsc::channel();
    /// let policy = RefreshPolicy::new().with_event_hook(move |event| match event.kind() {
    ///     KeyEventKind::Expired | KeyEventKind::PrivateKeyPublished { .. } => {
    ///         let _no_receiver = alerts.send(event.clone());
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

    /// Accepts a key set without usable keys, after which every token is rejected. By default such a key set is a failed
    /// refresh, and the current keys stay in use.
    ///
    /// # Security
    ///
    /// A faulty deployment of the issuer then causes this service to reject every request.
    #[must_use]
    pub fn dangerous_accept_empty_set(mut self) -> Self {
        self.empty_set = EmptySet::Accepted;
        self
    }

    /// Verifies with the public key of a private key that the issuer publishes.
    ///
    /// By default such a key is skipped ([`SkipReason::Private`](crate::keys::SkipReason::Private)). Its public key is no
    /// longer used from then on, also if the key set is rejected as a whole, and until the process ends
    /// ([`SkipReason::Compromised`](crate::keys::SkipReason::Compromised)). In both cases an error is logged, and the private
    /// members are not read. The key must pass all other checks. Shared secrets are never accepted.
    ///
    /// # Security
    ///
    /// Everyone who has read the key set can sign tokens, for any subject and scope. This setting can bridge the hours until
    /// the issuer has a new key, if an outage would be worse.
    #[must_use]
    pub fn dangerous_accept_private_keys(mut self) -> Self {
        self.private_keys = PrivateKeys::Accepted;
        self
    }

    /// Returns whether this policy has a `dangerous_*` setting that `other` lacks.
    pub(crate) fn is_more_dangerous_than(&self, other: &Self) -> bool {
        let settings = |policy: &Self| {
            [
                policy.staleness == Staleness::Unbounded,
                policy.empty_set == EmptySet::Accepted,
                policy.private_keys == PrivateKeys::Accepted,
            ]
        };
        settings(self).into_iter().zip(settings(other)).any(|(ours, theirs)| ours && !theirs)
    }
}

#[cfg(test)]
mod tests;
