//! The errors of a refresh policy.

use std::fmt;
use std::time::Duration;

use crate::defaults;
use crate::jwks::policy::{RefreshPolicy, Staleness};

/// A rule that a [`RefreshPolicy`] violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshPolicyError {
    /// The refresh interval is below 60 seconds.
    RefreshTooOften,
    /// The minimum refresh interval is below 60 seconds, or above the refresh interval.
    MinRefreshInterval,
    /// Keys would expire before their refresh.
    StaleBeforeRefresh,
    /// The limit for a longer `max-age` is below the refresh interval, or above the maximum staleness.
    MaxRefreshInterval,
    /// The refresh would start before 50 percent of the refresh interval, or after 95 percent of it.
    AheadPercent,
    /// The jitter is above 50 percent.
    JitterPercent,
    /// The attempt timeout is zero, or above the operation timeout.
    AttemptTimeout,
    /// More than one retry is configured.
    TooManyRetries,
    /// A request with an unknown `kid` would wait longer than the operation timeout.
    UnknownKidWait,
    /// The minimum backoff is zero, or above a maximum.
    Backoff,
    /// The minimum cool-down for unknown `kid`s is zero or above the maximum, or the maximum is above the refresh interval or
    /// the quiet time that resets it.
    UnknownKidCooldown,
    /// The maximum size of a document is below 1 KiB, too small for a key set.
    MaxDocumentBytes,
    /// No key, no waiting request, or no host of a `jwks_uri` is allowed.
    NothingAllowed,
    /// The discovery document would be read more often than the keys.
    DiscoveryTooOften,
    /// The validator whose keys are shared has a different policy.
    SharedPolicyDiffers,
    /// The validator whose keys are shared has a policy with a `dangerous_*` setting that this one lacks.
    SharedPolicyDangerous,
}

impl RefreshPolicy {
    /// Returns every error of the settings and their combination, except those about shared keys. A policy without errors can
    /// be used.
    #[must_use]
    pub fn errors(&self) -> Vec<RefreshPolicyError> {
        self.rules().into_iter().filter_map(|(broken, rule)| broken.then_some(rule)).collect()
    }

    fn rules(&self) -> [(bool, RefreshPolicyError); 14] {
        let interval_limit = self.interval_limit;
        let interval = self.refresh_interval;
        let stale = match self.staleness {
            Staleness::Bounded(limit) => limit,
            Staleness::Strict | Staleness::Unbounded => Duration::MAX,
        };
        [
            (interval < interval_limit, RefreshPolicyError::RefreshTooOften),
            (
                self.min_refresh_interval < interval_limit
                    || self.min_refresh_interval > interval.max(defaults::MIN_REFRESH_INTERVAL),
                RefreshPolicyError::MinRefreshInterval,
            ),
            (stale < interval, RefreshPolicyError::StaleBeforeRefresh),
            (
                self.max_refresh_interval.is_some_and(|limit| limit < interval || limit > stale),
                RefreshPolicyError::MaxRefreshInterval,
            ),
            (!(50..=95).contains(&self.ahead_percent), RefreshPolicyError::AheadPercent),
            (self.jitter_percent > 50, RefreshPolicyError::JitterPercent),
            (
                self.attempt_timeout.is_zero() || self.attempt_timeout > self.operation_timeout,
                RefreshPolicyError::AttemptTimeout,
            ),
            (self.retries > 1, RefreshPolicyError::TooManyRetries),
            (self.unknown_kid_wait > self.operation_timeout, RefreshPolicyError::UnknownKidWait),
            (
                self.backoff_min.is_zero() || self.backoff_min > self.backoff_max.min(self.backoff_max_unavailable),
                RefreshPolicyError::Backoff,
            ),
            (
                self.unknown_kid_cooldown_min.is_zero()
                    || self.unknown_kid_cooldown_min > self.unknown_kid_cooldown_max
                    || self.unknown_kid_cooldown_max > interval.min(self.unknown_kid_quiet),
                RefreshPolicyError::UnknownKidCooldown,
            ),
            (self.max_document_bytes < 1024, RefreshPolicyError::MaxDocumentBytes),
            (
                self.max_keys == 0 || self.max_waiters == 0 || self.jwks_hosts.as_ref().is_some_and(Vec::is_empty),
                RefreshPolicyError::NothingAllowed,
            ),
            (self.discovery_interval < interval, RefreshPolicyError::DiscoveryTooOften),
        ]
    }
}

impl fmt::Display for RefreshPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefreshTooOften => "the refresh interval must be at least a minute",
            Self::MinRefreshInterval => "the minimum refresh interval must be between a minute and the refresh interval",
            Self::StaleBeforeRefresh => "the maximum staleness is shorter than the refresh interval",
            Self::MaxRefreshInterval => "the maximum refresh interval must be between the refresh interval and the maximum staleness",
            Self::AheadPercent => "the refresh must start at 50 to 95 percent of the interval",
            Self::JitterPercent => "the jitter must be at most 50 percent",
            Self::AttemptTimeout => "the attempt timeout must be above zero and at most the operation timeout",
            Self::TooManyRetries => "at most one retry is allowed",
            Self::UnknownKidWait => "the wait for an unknown kid must be at most the operation timeout",
            Self::Backoff => "the minimum backoff must be above zero and at most each of the maximums",
            Self::UnknownKidCooldown => {
                "the unknown kid cool-down must have a minimum above zero and at most its maximum, which must be at most \
                 the refresh interval and the quiet time"
            }
            Self::MaxDocumentBytes => "the maximum document size must be at least 1024 bytes",
            Self::NothingAllowed => {
                "at least one key, one waiting request and, in a list of hosts, one host must be allowed"
            }
            Self::DiscoveryTooOften => "the discovery interval must be at least the refresh interval",
            Self::SharedPolicyDiffers => {
                "the validator whose keys are shared has a different policy; give both the same one, or share with \
                 `with_keys_and_policy_of`"
            }
            Self::SharedPolicyDangerous => {
                "the validator whose keys are shared has a policy with a `dangerous_` setting that this one lacks; set it here \
                 as well, or fetch the keys separately"
            }
        })
    }
}

impl std::error::Error for RefreshPolicyError {}
