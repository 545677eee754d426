//! `KeyStatus`: what a readiness probe asks.

use std::fmt;
use std::time::Duration;

use crate::jwks::error::RefreshError;
use crate::jwks::freshness::FreshnessState;

/// How a key source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    pub(super) state: KeyState,
    pub(super) age: Option<Duration>,
    pub(super) next_refresh: Option<Duration>,
    pub(super) consecutive_failures: u32,
    pub(super) last_error: Option<RefreshError>,
    pub(super) usable_keys: usize,
    pub(super) epoch: u64,
}

impl KeyStatus {
    /// Where the keys stand in their life.
    #[must_use]
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// Says whether tokens can be verified: fresh, aging and stale keys do.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, KeyState::Fresh | KeyState::Aging | KeyState::Stale)
    }

    /// The time since the issuer last confirmed the keys.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// The time until the next fetch starts, zero while one is in flight; `None` before anybody asked for keys.
    #[must_use]
    pub fn next_refresh(&self) -> Option<Duration> {
        self.next_refresh
    }

    /// How many fetches in a row have failed.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures
    }

    /// What the last fetch failed of; `None` once one has succeeded.
    #[must_use]
    pub fn last_error(&self) -> Option<RefreshError> {
        self.last_error
    }

    /// How many keys can verify tokens.
    #[must_use]
    pub fn usable_keys(&self) -> usize {
        self.usable_keys
    }

    /// Counts the changes of the key set; 0 before the first keys.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// Where a source's keys stand in their life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// There never were any: requests wait for the first, or get 503.
    Empty,
    /// Confirmed within the period.
    Fresh,
    /// Still within the period, and being refreshed.
    Aging,
    /// Past the period, since refreshing fails; still in use.
    Stale,
    /// No longer in use, requests get 503: the keys are too old, or the private half of the last of them has been published.
    Expired,
    /// The source was closed.
    Closed,
}

impl KeyState {
    /// A short fixed name, fit for a probe's answer or a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Fresh => "fresh",
            Self::Aging => "aging",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Closed => "closed",
        }
    }

    /// The number that the gauge `jwks_state` shows.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Fresh => 1,
            Self::Aging => 2,
            Self::Stale => 3,
            Self::Expired => 4,
            Self::Closed => 5,
        }
    }
}

impl From<Option<FreshnessState>> for KeyState {
    fn from(freshness_state: Option<FreshnessState>) -> Self {
        match freshness_state {
            None => Self::Empty,
            Some(FreshnessState::Fresh) => Self::Fresh,
            Some(FreshnessState::Aging) => Self::Aging,
            Some(FreshnessState::Stale) => Self::Stale,
            Some(FreshnessState::Expired) => Self::Expired,
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
