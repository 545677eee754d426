//! `RefreshPolicy`: all settings of a key source, each with its default and the reason for it.

mod error;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::defaults;
use crate::event_hook::EventHook;
use crate::fetch::Redirects;
use crate::jwks::events::KeyEvent;
use crate::keys::PrivateKeys;

pub use self::error::RefreshPolicyError;

/// When keys are fetched, how long they are used, and how long requests wait for them.
///
/// The defaults suit production. When a validator is built, the settings of its policy are checked together, as
/// [`errors`](Self::errors) does. Two policies are equal if all their settings are equal; two event hooks are equal only if one
/// is a clone of the other.
///
/// The issuer *confirms* its keys with each successful fetch: with a key set, or with a 304. All times for which this policy
/// allows the use of keys start at the last confirmation.
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
/// assert_eq!(errors.len(), 2); // shorter than 60 s, and shorter than the longest cool-down
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    pub(crate) initial_fetch: InitialFetch,
    pub(crate) refresh_interval: Duration,
    pub(crate) min_refresh_interval: Duration,
    /// The lower limit of `refresh_interval` and `min_refresh_interval`; only the `testing` module changes it.
    pub(crate) interval_limit: Duration,
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
    pub(crate) event_hook: Option<EventHook<KeyEvent>>,
    pub(crate) private_keys: PrivateKeys,
    /// The seed for reproducible random numbers; only the `testing` module sets it.
    pub(crate) seed: Option<u64>,
}

/// When a key source fetches its keys for the first time.
///
/// A service that must not start without keys builds its validator with [`build_ready`](crate::ValidatorBuilder::build_ready),
/// or awaits [`ready_within`](crate::jwks::KeySource::ready_within) afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InitialFetch {
    /// The first fetch starts with the first request, or with the first call of [`status`](crate::jwks::KeySource::status).
    Lazy,
    /// The first fetch starts in the background when the source is built. Outside of a tokio runtime it starts as with
    /// [`Lazy`](Self::Lazy).
    #[default]
    Eager,
}

/// How long a key set is used after the issuer last confirmed it.
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
            interval_limit: defaults::MIN_REFRESH_INTERVAL,
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

    /// Sets when the first fetch starts. Default: [`InitialFetch::Eager`], so that the first request finds keys.
    #[must_use]
    pub fn with_initial_fetch(mut self, initial_fetch: InitialFetch) -> Self {
        self.initial_fetch = initial_fetch;
        self
    }

    /// Sets the refresh interval: the time within which the keys are fetched again. Default: 5 minutes. Minimum: 1 minute.
    ///
    /// While the issuer is reachable, a key that it has removed from its key set is accepted for up to this time. A fetch
    /// transfers about 300 bytes if the server sends an `ETag` and the keys have not changed.
    #[must_use]
    pub fn with_refresh_interval(mut self, interval: Duration) -> Self {
        self.refresh_interval = interval;
        self
    }

    /// Sets the shortest refresh interval that a server's `max-age` can request. The default and the minimum are 60 seconds, so
    /// that `max-age=0` does not cause constant polling.
    ///
    /// The `Age` of the response is subtracted from `max-age` (RFC 9111 §4.2). After a 304 without `Cache-Control`, the
    /// `Cache-Control` of the stored response applies (§4.3.4).
    #[must_use]
    pub fn with_min_refresh_interval(mut self, interval: Duration) -> Self {
        self.min_refresh_interval = interval;
        self
    }

    /// Allows a server's `max-age` to lengthen the refresh interval up to `limit`. By default, `max-age` can only shorten the
    /// interval.
    ///
    /// # Security
    ///
    /// A key that the issuer has removed is accepted for as long as the server's `max-age`, but at most for `limit`.
    #[must_use]
    pub fn with_max_refresh_interval(mut self, limit: Duration) -> Self {
        self.max_refresh_interval = Some(limit);
        self
    }

    /// Sets the part of the refresh interval after which the refresh starts, from 50 to 95 percent. Default: 80 percent. With
    /// the default interval, there is then time for at least four further attempts before the keys are stale, even if each
    /// attempt times out.
    #[must_use]
    pub fn with_refresh_ahead_percent(mut self, percent: u8) -> Self {
        self.ahead_percent = percent;
        self
    }

    /// Sets the maximum percentage by which intervals and cool-downs are shortened at random. Default: 10 percent, so that
    /// processes that start together, or receive the same unknown `kid`s, do not fetch at the same time. Maximum: 50 percent.
    ///
    /// With any percentage above zero, the first refresh of a source starts at a random time: not before the [shortest refresh
    /// interval](Self::with_min_refresh_interval), and not after the time of an ordinary refresh. So processes that start
    /// together do not share their first refresh either.
    #[must_use]
    pub fn with_jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// Sets how long keys are used after the issuer last confirmed them. After this time, requests are rejected with 503.
    /// Default: 1 hour, longer than an ordinary outage of an issuer.
    ///
    /// # Security
    ///
    /// While the issuer is unreachable, a key that it has revoked is accepted for up to this time.
    #[must_use]
    pub fn with_max_stale(mut self, limit: Duration) -> Self {
        self.staleness = Staleness::Bounded(limit);
        self
    }

    /// Returns how long keys are used; `None` without a limit.
    pub(crate) fn max_stale(&self) -> Option<Duration> {
        match self.staleness {
            Staleness::Strict => Some(Duration::ZERO),
            Staleness::Bounded(limit) => Some(limit),
            Staleness::Unbounded => None,
        }
    }

    /// Uses keys for only one refresh interval after the issuer last confirmed them.
    ///
    /// By default, a refresh starts after 80 percent of the interval. If the issuer is unreachable during the remaining 20
    /// percent, all requests are then rejected with 503 until a fetch succeeds.
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

    /// Sets the timeout of one attempt: an HTTP request with its redirects and the body of the response. Default: 3 seconds,
    /// far longer than a healthy response takes. The crate's own client waits at most 2 seconds for a connection.
    #[must_use]
    pub fn with_attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = limit;
        self
    }

    /// Sets the timeout of one whole fetch of the keys: discovery, all HTTP requests, and the pause before a request is sent
    /// again. Default: 5 seconds. The timeout also applies to a custom [`Fetch`](crate::fetch::Fetch) implementation.
    #[must_use]
    pub fn with_operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = limit;
        self
    }

    /// Sets how often one fetch of the keys sends a failed HTTP request again. The default and the maximum are 1. A fetch that
    /// fails is always repeated later, after the [backoff](Self::with_backoff_min).
    ///
    /// The request is sent again only if no connection could be opened, if the connection was closed, or after a status 502,
    /// 503 or 504 without `Retry-After`. At least 1.5 seconds of the operation timeout must be left. Before the request is a
    /// pause of 50 to 150 milliseconds.
    #[must_use]
    pub fn with_retries(mut self, retries: u8) -> Self {
        self.retries = retries;
        self
    }

    /// Sets how long a request waits for the first keys before it is rejected with 503. Default: 5 seconds, the same as the
    /// [timeout](Self::with_operation_timeout) of the fetch.
    #[must_use]
    pub fn with_cold_wait(mut self, limit: Duration) -> Self {
        self.cold_wait = limit;
        self
    }

    /// Sets how long a request with an unknown `kid` waits for a fetch before it is rejected with 401. Default: 2 seconds, less
    /// than usual client timeouts.
    ///
    /// If a fetch is in flight that may have started before the key was published, the request waits for it and then for a
    /// second fetch, this time again, but never longer than [`with_cold_wait`](Self::with_cold_wait) in all.
    #[must_use]
    pub fn with_unknown_kid_wait(mut self, limit: Duration) -> Self {
        self.unknown_kid_wait = limit;
        self
    }

    /// Sets the backoff after the first failed fetch. Default: 1 second. The backoff doubles with each further failure. The
    /// actual pause is a random time between half of the backoff and the whole backoff.
    #[must_use]
    pub fn with_backoff_min(mut self, pause: Duration) -> Self {
        self.backoff_min = pause;
        self
    }

    /// Sets the longest backoff while keys are usable. Default: 60 seconds.
    #[must_use]
    pub fn with_backoff_max(mut self, pause: Duration) -> Self {
        self.backoff_max = pause;
        self
    }

    /// Sets the longest backoff while no keys are usable. Default: 15 seconds, since every request is rejected until a fetch
    /// succeeds.
    #[must_use]
    pub fn with_backoff_max_unavailable(mut self, pause: Duration) -> Self {
        self.backoff_max_unavailable = pause;
        self
    }

    /// Sets the longest time for which a `Retry-After` of the issuer can delay the next fetch. Default: 5 minutes.
    ///
    /// A date in `Retry-After` is compared with the `Date` header of the same response (RFC 9110 §10.2.3), not with the local
    /// wall clock. If the response has no `Date`, the date is ignored and the ordinary backoff applies.
    #[must_use]
    pub fn with_retry_after_max(mut self, limit: Duration) -> Self {
        self.retry_after_max = limit;
        self
    }

    /// Sets the shortest cool-down. A cool-down starts with each fetch for an unknown `kid`, and no other unknown `kid` starts
    /// a fetch before its end. It has this length after the first such fetch;
    /// [`with_unknown_kid_cooldown_max`](Self::with_unknown_kid_cooldown_max) says how it grows. Default: 1 second.
    #[must_use]
    pub fn with_unknown_kid_cooldown_min(mut self, pause: Duration) -> Self {
        self.unknown_kid_cooldown_min = pause;
        self
    }

    /// Sets the longest cool-down between two fetches for unknown `kid`s. Default: 15 seconds.
    ///
    /// The cool-down doubles with each further fetch for an unknown `kid` that does not change the key set. Whatever mix of old
    /// and random `kid`s clients send, they cause at most eight fetches in four times this time: by default, in a minute. After
    /// such a fetch has failed, tokens start no other one for this time, and for the longest backoff after each further failure.
    /// While the issuer responds, a new key is found at the latest after this time plus the duration of one fetch.
    ///
    /// A `kid` that a fetch has not found starts at most one fetch in this time, and that fetch starts no cool-down. So clients
    /// that keep sending tokens of a removed key do not delay a new key.
    #[must_use]
    pub fn with_unknown_kid_cooldown_max(mut self, pause: Duration) -> Self {
        self.unknown_kid_cooldown_max = pause;
        self
    }

    /// Sets the time without unknown `kid`s after which the cool-down is reset to its minimum. Default: 60 seconds.
    #[must_use]
    pub fn with_unknown_kid_quiet(mut self, span: Duration) -> Self {
        self.unknown_kid_quiet = span;
        self
    }

    /// Sets the maximum size of a key set or discovery document in bytes, after decoding of a `Content-Encoding`. Default: 256
    /// KiB.
    #[must_use]
    pub fn with_max_document_bytes(mut self, limit: usize) -> Self {
        self.max_document_bytes = limit;
        self
    }

    /// Sets the maximum number of keys in a key set. A larger key set is rejected as a whole. Default: 100; real key sets have
    /// 1 to 10 keys.
    #[must_use]
    pub fn with_max_keys(mut self, limit: usize) -> Self {
        self.max_keys = limit;
        self
    }

    /// Sets how many requests can wait for the keys of one issuer at the same time. Default: 10,000.
    ///
    /// A further request does not wait. It is rejected at once: with 503 if no keys are usable, or with 401 if the `kid` of its
    /// token is unknown.
    #[must_use]
    pub fn with_max_waiters(mut self, limit: usize) -> Self {
        self.max_waiters = limit;
        self
    }

    /// Sets the interval at which the discovery document is fetched again. Default: 24 hours.
    #[must_use]
    pub fn with_discovery_interval(mut self, interval: Duration) -> Self {
        self.discovery_interval = interval;
        self
    }

    /// Sends a header with every request for keys and for the discovery document. The value is marked as sensitive, so that
    /// logs do not show it. By default, no header is added.
    ///
    /// # Security
    ///
    /// The header is sent to any host that the discovery document names. Restrict these hosts with
    /// [`with_jwks_hosts`](Self::with_jwks_hosts).
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// Allows only these hosts in the `jwks_uri` of a discovery document. By default, any host is allowed, over https. An empty
    /// list is an error of the policy.
    ///
    /// The `introspection_endpoint` of the document must be at one of them, too, or at the host and port of the issuer.
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
    /// then sends up to three requests instead of one, so clients with random `kid`s can cause up to three times as many
    /// requests to the issuer.
    ///
    /// # Security
    ///
    /// [Headers](Self::with_header) are sent with each request, since the origin stays the same.
    #[must_use]
    pub fn with_same_origin_redirects(mut self) -> Self {
        self.redirects = Redirects::SameOrigin;
        self
    }

    /// Calls `hook` with every [`KeyEvent`], for alerts, audits or cache invalidation. The same events are also logged. A
    /// policy has at most one hook. Default: none.
    ///
    /// The background task of the source calls the hook, one event after the other. If no task is running when the source is
    /// closed, the thread that closes it calls the hook with the last events: counts of unknown `kid`s that were not reported
    /// yet, and [`Closed`](crate::jwks::KeyEventKind::Closed).
    ///
    /// - When the hook is called for new keys, requests use these keys already.
    /// - No lock is held during the call, so the hook may call methods of the [`KeySource`](crate::jwks::KeySource).
    /// - The hook must not block, because the source does not fetch while the hook runs. Requests with known keys are not
    ///   affected.
    /// - Any client can send unknown `kid`s, so they do not cause one event each: they are counted, and the count is reported
    ///   at most once a second.
    /// - A hook that panics is called again for the next event.
    /// - The source owns the hook. A hook that owns the validator is a reference cycle, so neither of them is ever freed.
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

    /// Accepts a key set without usable keys, after which every token is rejected. By default, a fetch that returns such a key
    /// set counts as failed, and the current keys stay in use.
    ///
    /// # Security
    ///
    /// If a faulty deployment of the issuer publishes an empty key set, this service then rejects every request.
    #[must_use]
    pub fn dangerous_accept_empty_set(mut self) -> Self {
        self.empty_set = EmptySet::Accepted;
        self
    }

    /// Accepts tokens that are signed with a private key which the issuer has published in its key set.
    ///
    /// By default, such a key is skipped ([`SkipReason::Private`](crate::keys::SkipReason::Private)). From then on until the
    /// process ends, its public key is not used either ([`SkipReason::Compromised`](crate::keys::SkipReason::Compromised)),
    /// even if the whole key set is rejected.
    ///
    /// With and without this setting, an error is logged, and the private members of the key are not read. The key must pass
    /// all other checks. Shared secrets are never accepted.
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
