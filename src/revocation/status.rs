//! `RevocationStatus`: a snapshot of the list for monitoring.

use std::fmt;
use std::time::Duration;

use crate::revocation::kind::RevocationKind;
use crate::revocation::log::LogError;
use crate::revocation::set::Set;

/// A snapshot of [`Revocations`](crate::revocation::Revocations) for monitoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationStatus {
    entries: [usize; RevocationKind::ALL.len()],
    bytes: usize,
    max_entries: usize,
    log: Option<LogStatus>,
}

/// Whether a list knows what other processes have revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationState {
    /// The log was not read to its end yet. Requests are rejected with 503.
    Loading,
    /// The log is followed, or the list has no log.
    Current,
    /// No read of the log has succeeded for 30 s, or the list has no room for an entry. Requests are accepted or rejected by what is known.
    /// A list without room reads no further, so it becomes [`Stale`](Self::Stale).
    Degraded,
    /// No read of the log has succeeded for [`with_max_stale`](crate::revocation::RevocationsBuilder::with_max_stale). Requests are
    /// rejected with 503.
    Stale,
}

/// The state of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogStatus {
    pub(super) state: RevocationState,
    pub(super) lag: Option<Duration>,
    pub(super) last_error: Option<LogError>,
    pub(super) pending: usize,
}

impl RevocationStatus {
    pub(super) fn new(set: &Set, max_entries: usize, log: Option<LogStatus>) -> Self {
        let mut entries = [0; RevocationKind::ALL.len()];
        for (count, kind) in entries.iter_mut().zip(RevocationKind::ALL) {
            *count = set.len(*kind);
        }
        Self { entries, bytes: set.bytes(), max_entries, log }
    }

    /// Returns the number of entries of a kind, including those that have ended and are not dropped yet.
    #[must_use]
    pub fn entries(&self, kind: RevocationKind) -> usize {
        RevocationKind::ALL.iter().zip(self.entries).find(|(of, _)| **of == kind).map_or(0, |(_, count)| count)
    }

    /// Returns the number of all entries, including those that have ended and are not dropped yet.
    #[must_use]
    pub fn total_entries(&self) -> usize {
        self.entries.iter().copied().fold(0, usize::saturating_add)
    }

    /// Returns the largest number of entries.
    #[must_use]
    pub fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// Returns the memory of the entries in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the state of the list; [`RevocationState::Current`] if it has no log.
    #[must_use]
    pub fn state(&self) -> RevocationState {
        self.log.map_or(RevocationState::Current, |log| log.state)
    }

    /// Returns whether the list knows what other processes have revoked, for a readiness probe. `Degraded` counts as ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state().is_ready()
    }

    /// Returns the time since the last read of the log that succeeded; `None` before the first one, and for a list without a log.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        self.log.and_then(|log| log.lag)
    }

    /// Returns why the last read of the log failed; `None` if it succeeded.
    #[must_use]
    pub fn last_error(&self) -> Option<LogError> {
        self.log.and_then(|log| log.last_error)
    }

    /// Returns the number of entries of this process that the log has not stored yet.
    #[must_use]
    pub fn pending_entries(&self) -> usize {
        self.log.map_or(0, |log| log.pending)
    }
}

impl RevocationState {
    /// Returns the stable snake_case name, for the response of a probe or for a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Current => "current",
            Self::Degraded => "degraded",
            Self::Stale => "stale",
        }
    }

    /// Returns whether the list knows what other processes have revoked.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Current | Self::Degraded)
    }

    /// Returns the value of the gauge `revocation_state`.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Loading => 0,
            Self::Current => 1,
            Self::Degraded => 2,
            Self::Stale => 3,
        }
    }
}

impl fmt::Display for RevocationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
