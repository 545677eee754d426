//! `DriverStatus`: what waiting requests and `status()` know about the driver.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::defaults;
use crate::jwks::error::{KeysUnavailable, RefreshError};
use crate::jwks::refresh::{Activity, Refresh};

/// The status that the driver publishes to waiting requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DriverStatus {
    pub(super) task: Task,
    pub(super) activity: Activity,
    /// The generation of the fetch in flight, or of the last one.
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) last_error: Option<RefreshError>,
    pub(super) next_attempt: Option<Monotonic>,
    /// The time from which no key is usable; `None` before the first use of the source.
    unusable_from: Option<Monotonic>,
    /// The time from which an unknown kid may start a fetch.
    pub(super) unknown_kid_fetch_from: Monotonic,
    pub(super) has_follow_up_fetch: bool,
}

/// Whether a task runs the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Absent,
    Running,
}

impl DriverStatus {
    pub(super) fn new(machine: &Refresh, task: Task) -> Self {
        Self {
            task,
            activity: machine.activity(),
            generation: machine.generation(),
            failures: machine.failures(),
            last_error: machine.last_error(),
            next_attempt: machine.next_attempt(),
            unusable_from: machine.unusable_from(),
            unknown_kid_fetch_from: machine.unknown_kid_fetch_from(),
            has_follow_up_fetch: machine.has_follow_up_fetch(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.activity == Activity::Closed
    }

    /// Returns why there are no keys. `driver_runs` is whether a driver can still fetch some.
    pub(super) fn failure(&self, driver_runs: bool) -> Option<RefreshError> {
        if self.is_closed() {
            Some(RefreshError::SourceClosed)
        } else if driver_runs {
            self.last_error
        } else {
            Some(RefreshError::NoRuntime)
        }
    }

    /// Returns the error for a request without usable keys. `driver_runs` is whether a driver can still fetch some.
    pub(super) fn unavailable(&self, driver_runs: bool, now: Monotonic) -> KeysUnavailable {
        let unavailable_for = self.unusable_from.map_or(Duration::ZERO, |from| now.saturating_since(from));
        KeysUnavailable { retry_after: self.retry_after(now), unavailable_for, cause: self.failure(driver_runs) }
    }

    /// Marks the source as closed before the state machine has processed the event.
    pub(super) fn close(&mut self, now: Monotonic) {
        self.activity = Activity::Closed;
        self.unusable_from = Some(self.unusable_from.map_or(now, |from| from.min(now)));
    }

    /// Returns the time to the next attempt, for `Retry-After`.
    fn retry_after(&self, now: Monotonic) -> Duration {
        let wait = match self.activity {
            Activity::Backoff { until, .. } => until.saturating_since(now),
            _ => Duration::ZERO,
        };
        wait.max(defaults::RETRY_AFTER_MIN)
    }
}
