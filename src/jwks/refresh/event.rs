//! The events and actions of the state machine.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::Times;

/// An input of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Event {
    /// A driver task starts. Only the first one starts the first fetch.
    Begin,
    /// The time of [`Refresh::wake_at`](super::Refresh::wake_at) has passed, or the clock may have jumped.
    Timer,
    /// A token had a `kid` that is not in the current key set.
    UnknownKid,
    /// A token had a `kid` that is not in the current key set, and that an earlier fetch past all caches has not found.
    AbsentKid,
    /// No key verified the signature of a token whose `kid` is known, or that has none.
    InvalidSignature,
    /// A fetch is requested regardless of the cool-down: [`RefreshCause::Reload`] or [`RefreshCause::Moved`].
    FetchNow(RefreshCause),
    /// A fetch ended.
    Finished { generation: u64, outcome: Outcome },
    /// The current key set has no usable key left, whatever its age.
    Expire,
    /// The driver task ended, possibly with a fetch in flight.
    Interrupted(RefreshError),
    /// The source was closed, or its last handle dropped.
    Close,
}

/// The result of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Outcome {
    /// A key set was loaded.
    Loaded { remaining: Option<Duration>, change: Change },
    /// The server confirmed the current key set (304).
    NotModified { remaining: Option<Duration> },
    /// The fetch failed.
    Failed { error: RefreshError, retry_after: Option<Duration> },
}

impl Outcome {
    pub(in crate::jwks) const fn name(self) -> &'static str {
        match self {
            Self::Loaded { change: Change::Same, .. } => "unchanged",
            Self::Loaded { .. } => "changed",
            Self::NotModified { .. } => "not_modified",
            Self::Failed { error, .. } => error.name(),
        }
    }
}

/// Whether a key set differs from the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Change {
    Changed,
    /// It differs, but the `kid` of a token that arrived during the fetch is not in it either.
    ChangedWithoutKid,
    Same,
}

/// An output of the state machine, for the driver to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Action {
    /// Start a fetch.
    Fetch(FetchOrder),
    /// Abort the fetch in flight.
    Abort,
    /// Publish the loaded or confirmed key set.
    Publish(Times),
    /// Report that the keys are stale.
    NotifyStale { remaining: Duration },
    /// Report that the keys have expired.
    NotifyExpired,
    /// Report that stale or expired keys were confirmed or replaced.
    NotifyRecovered,
    /// Report that a fetch failed.
    NotifyFailed { error: RefreshError, consecutive: u32, next_in: Duration },
    /// Drop the fetches of the closed source.
    Close,
}

/// The parameters of one fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) struct FetchOrder {
    /// The machine ignores the outcome of any other generation.
    pub(in crate::jwks) generation: u64,
    pub(in crate::jwks) cause: RefreshCause,
    pub(in crate::jwks) condition: Condition,
    /// When the operation is aborted.
    pub(in crate::jwks) deadline: Monotonic,
}

/// Whether the request is conditional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Condition {
    IfNoneMatch,
    Always,
}
