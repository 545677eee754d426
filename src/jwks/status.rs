//! `KeyStatus`: the health of a key source, for readiness probes.

use std::fmt;
use std::time::Duration;

use crate::jwks::error::RefreshError;
use crate::jwks::freshness::FreshnessState;

/// The health of a key source.
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
    /// Returns the state of the keys.
    #[must_use]
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// Returns whether tokens can be verified: the keys are fresh, aging or stale.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, KeyState::Fresh | KeyState::Aging | KeyState::Stale)
    }

    /// Returns the time since the issuer last confirmed the keys, with a key set or a 304; `None` before the first keys.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Returns the time until the next fetch starts: zero while one is in flight, `None` before the first use of the source.
    #[must_use]
    pub fn next_refresh(&self) -> Option<Duration> {
        self.next_refresh
    }

    /// Returns the number of consecutive failed fetches.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures
    }

    /// Returns why the last fetch failed; `None` if the last fetch succeeded, or if no fetch has ended yet.
    #[must_use]
    pub fn last_error(&self) -> Option<RefreshError> {
        self.last_error
    }

    /// Returns the number of keys that can verify tokens.
    #[must_use]
    pub fn usable_keys(&self) -> usize {
        self.usable_keys
    }

    /// Returns the epoch of the usable keys: a number that increases whenever they change; 0 before the first keys.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// The state of a source's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// No keys have been loaded yet. Requests wait for the first keys, or are rejected with 503.
    Empty,
    /// The issuer has confirmed the keys, and the next refresh has not started yet.
    Fresh,
    /// A refresh has started, and the refresh interval has not ended yet.
    Aging,
    /// The refresh interval has ended without a successful refresh. The keys are still used.
    Stale,
    /// The keys are no longer used, and requests are rejected with 503. The keys are too old, or the issuer has published a
    /// private key by mistake, and there is no other usable key.
    Expired,
    /// The source was closed.
    Closed,
}

impl KeyState {
    /// Returns a stable snake_case name, for the response of a probe or for a metric label.
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

    /// Returns the state of an open source; `None` before the first keys.
    pub(super) const fn from_freshness(freshness_state: Option<FreshnessState>) -> Self {
        match freshness_state {
            None => Self::Empty,
            Some(FreshnessState::Fresh) => Self::Fresh,
            Some(FreshnessState::Aging) => Self::Aging,
            Some(FreshnessState::Stale) => Self::Stale,
            Some(FreshnessState::Expired) => Self::Expired,
        }
    }

    /// Returns the value of the gauge `jwks_state`.
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

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
