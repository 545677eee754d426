//! What happens to the machine, and what it asks for.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::Times;

/// Why keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshCause {
    /// The first one.
    Initial,
    /// The period nears its end.
    Scheduled,
    /// The one before failed.
    Retry,
    /// A token named a key id that is not known.
    UnknownKid,
    /// [`KeySource::reload`](crate::jwks::KeySource::reload) was called.
    Manual,
    /// Discovery found another `jwks_uri`.
    Moved,
}

impl RefreshCause {
    /// A short fixed name: the label `cause` of the metric `jwks_fetch_total`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Scheduled => "scheduled",
            Self::Retry => "retry",
            Self::UnknownKid => "unknown_kid",
            Self::Manual => "manual",
            Self::Moved => "moved",
        }
    }

    /// Says whether the fetch goes past every cache, so that what it does not bring is not published yet.
    pub(in crate::jwks) const fn is_fresh(self) -> bool {
        matches!(self, Self::UnknownKid | Self::Manual | Self::Moved)
    }
}

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Event {
    /// Somebody needs keys, or may need them soon.
    Begin,
    /// The time that [`Refresh::wake_at`](super::Refresh::wake_at) named has come, or time may have leapt.
    Timer,
    /// A token named a key id that is not in the current set.
    UnknownKid,
    /// A fetch is wanted now, whatever the cool-down says: [`RefreshCause::Manual`] or [`RefreshCause::Moved`].
    FetchNow(RefreshCause),
    /// A fetch ended.
    Finished { generation: u64, outcome: Outcome },
    /// No key of the set at hand may be used any more, however young it is.
    Expire,
    /// The task that carried a fetch died.
    Interrupted(RefreshError),
    /// The last handle is gone.
    Close,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Outcome {
    /// A set came.
    Loaded { remaining: Option<Duration>, change: Change },
    /// The set at hand was confirmed.
    NotModified { remaining: Option<Duration> },
    /// Nothing came.
    Failed { error: RefreshError, retry_after: Option<Duration> },
}

impl Outcome {
    pub(in crate::jwks) const fn name(self) -> &'static str {
        match self {
            Self::Loaded { change: Change::Changed, .. } => "changed",
            Self::Loaded { change: Change::Same, .. } => "unchanged",
            Self::NotModified { .. } => "not_modified",
            Self::Failed { error, .. } => error.name(),
        }
    }
}

/// Whether a set differs from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Change {
    Changed,
    Same,
}

/// What the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Action {
    /// Start a fetch.
    Fetch(FetchOrder),
    /// Drop the fetch in flight.
    Abort,
    /// Put the loaded or confirmed set into use.
    Publish(Times),
    /// Tell that the keys are past their period.
    NotifyStale { remaining: Duration },
    /// Tell that the keys are used no more.
    NotifyExpired,
    /// Tell that stale or expired keys were confirmed again.
    NotifyRecovered,
    /// Tell that a fetch failed.
    NotifyFailed { error: RefreshError, consecutive: u32, next_in: Duration },
    /// End the task and wake every waiter.
    Close,
}

/// One fetch to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) struct FetchOrder {
    /// Outcomes of other generations are dropped.
    pub(in crate::jwks) generation: u64,
    pub(in crate::jwks) cause: RefreshCause,
    pub(in crate::jwks) condition: Condition,
    /// When the operation is over, whatever state it is in.
    pub(in crate::jwks) deadline: Monotonic,
}

/// Whether the server may answer that nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Condition {
    IfNoneMatch,
    Always,
}
