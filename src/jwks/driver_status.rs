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
    /// The time from which an absent kid may start a fetch.
    pub(super) absent_kid_fetch_from: Monotonic,
    pub(super) has_absent_kid_follow_up: bool,
    /// The time from which an invalid signature may start a fetch.
    pub(super) invalid_signature_fetch_from: Monotonic,
    /// The generation of the last successful fetch that bypassed caches.
    pub(super) confirmed_generation: u64,
}

/// Whether a task runs the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Absent,
    Running,
}

/// Whether a fetch has looked for an unknown `kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KidHistory {
    /// No fetch that bypassed caches has started since the first token with this `kid`.
    New,
    /// Such a fetch has not found it, or looks for it now.
    Absent,
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
            absent_kid_fetch_from: machine.absent_kid_fetch_from(),
            has_absent_kid_follow_up: machine.has_absent_kid_follow_up(),
            invalid_signature_fetch_from: machine.invalid_signature_fetch_from(),
            confirmed_generation: machine.confirmed_generation(),
        }
    }

    /// Returns the time from which an unknown kid may start a fetch.
    pub(super) fn fetch_from(&self, history: KidHistory) -> Monotonic {
        match history {
            KidHistory::New => self.unknown_kid_fetch_from,
            KidHistory::Absent => self.absent_kid_fetch_from,
        }
    }

    /// Returns whether a follow-up fetch is scheduled that looks for an unknown kid.
    pub(super) fn has_follow_up(&self, history: KidHistory) -> bool {
        match history {
            KidHistory::New => self.has_follow_up_fetch,
            KidHistory::Absent => self.has_follow_up_fetch || self.has_absent_kid_follow_up,
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
