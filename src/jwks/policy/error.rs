//! What is wrong with a policy.

use std::fmt;
use std::time::Duration;

use crate::defaults;
use crate::jwks::policy::{RefreshPolicy, Staleness};

/// Why a [`RefreshPolicy`] cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshPolicyError {
    /// The period is under the floor of 60 seconds.
    RefreshTooOften,
    /// The floor for a server's `max-age` is under 60 seconds, or above the period.
    RefreshFloor,
    /// Keys would expire before they are refreshed.
    StaleBeforeRefresh,
    /// The limit for a longer `max-age` is below the period, or above the staleness that is allowed.
    LongerMaxAge,
    /// The refresh would start before the middle of the period, or after 95 percent of it.
    AheadPercent,
    /// The jitter is above 50 percent.
    JitterPercent,
    /// An attempt may take no time, or more than the whole operation.
    AttemptTimeout,
    /// More than one retry.
    TooManyRetries,
    /// A request would wait for an unknown key id longer than the refresh can take.
    UnknownKidWait,
    /// The smallest pause between failures is zero, or above the largest.
    Backoff,
    /// The pause between fetches for unknown key ids is zero, or its minimum above its maximum, or that above the period
    /// or the quiet that resets it.
    UnknownKidCooldown,
    /// A document of less than 1 KiB holds no key set.
    MaxDocumentBytes,
    /// No key, no waiting request, or no host of a `jwks_uri` is allowed at all.
    NothingAllowed,
    /// The discovery document would be read more often than the keys.
    DiscoveryTooOften,
    /// The validator whose keys are shared has another policy.
    SharedPolicyDiffers,
    /// The validator whose keys are shared has a policy with a `dangerous_*` setting that this one lacks.
    SharedPolicyDangerous,
}

impl RefreshPolicy {
    /// Checks the numbers against each other.
    ///
    /// # Errors
    ///
    /// Every [`RefreshPolicyError`] at once, except those of shared keys.
    pub fn validate(&self) -> Result<(), Vec<RefreshPolicyError>> {
        let violations: Vec<_> = self.rules().into_iter().filter_map(|(broken, rule)| broken.then_some(rule)).collect();
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    fn rules(&self) -> [(bool, RefreshPolicyError); 14] {
        let lowest = self.min_period;
        let every = self.refresh_every;
        let stale = match self.staleness {
            Staleness::Bounded(limit) => limit,
            Staleness::Strict | Staleness::Unbounded => Duration::MAX,
        };
        [
            (every < lowest, RefreshPolicyError::RefreshTooOften),
            (
                self.refresh_floor < lowest || self.refresh_floor > every.max(defaults::REFRESH_FLOOR),
                RefreshPolicyError::RefreshFloor,
            ),
            (stale < every, RefreshPolicyError::StaleBeforeRefresh),
            (self.longer_max_age.is_some_and(|limit| limit < every || limit > stale), RefreshPolicyError::LongerMaxAge),
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
                    || self.unknown_kid_cooldown_max > every.min(self.unknown_kid_quiet),
                RefreshPolicyError::UnknownKidCooldown,
            ),
            (self.max_document_bytes < 1024, RefreshPolicyError::MaxDocumentBytes),
            (
                self.max_keys == 0 || self.max_waiters == 0 || self.jwks_hosts.as_ref().is_some_and(Vec::is_empty),
                RefreshPolicyError::NothingAllowed,
            ),
            (self.discovery_every < every, RefreshPolicyError::DiscoveryTooOften),
        ]
    }
}

impl fmt::Display for RefreshPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefreshTooOften => "the refresh period must be at least a minute",
            Self::RefreshFloor => "the refresh floor must lie between a minute and the refresh period",
            Self::StaleBeforeRefresh => "the longest staleness is shorter than the refresh period",
            Self::LongerMaxAge => "the longer max-age must lie between the refresh period and the longest staleness",
            Self::AheadPercent => "the refresh must start at 50 to 95 percent of the period",
            Self::JitterPercent => "the jitter must be at most 50 percent",
            Self::AttemptTimeout => "the attempt timeout must be above zero and at most the operation timeout",
            Self::TooManyRetries => "at most one retry is allowed",
            Self::UnknownKidWait => "the miss wait must be at most the operation timeout",
            Self::Backoff => "the smallest backoff must be above zero and at most both of the largest",
            Self::UnknownKidCooldown => {
                "the unknown kid cool-down must be above zero, in order, and at most the refresh period and the quiet"
            }
            Self::MaxDocumentBytes => "a document must be allowed at least 1024 octets",
            Self::NothingAllowed => {
                "at least one key, one waiting request and, in a list of hosts, one host must be allowed"
            }
            Self::DiscoveryTooOften => "discovery must not be more frequent than the refresh",
            Self::SharedPolicyDiffers => {
                "the validator whose keys are shared has another policy; give both the same one, or share with \
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
