//! `Activity`: what the state machine is doing.

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;

/// The activity of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum Activity {
    /// The source has not been used yet.
    NotStarted,
    /// Waiting for the next refresh.
    Idle,
    /// A fetch is in flight.
    Fetching { cause: RefreshCause, deadline: Monotonic },
    /// Waiting after a failed fetch.
    Backoff { until: Monotonic, set_by: BackoffSource },
    /// The source is closed.
    Closed,
}

/// What determined the length of a backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jwks) enum BackoffSource {
    Policy,
    RetryAfter,
}
