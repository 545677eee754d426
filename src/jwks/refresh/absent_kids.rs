//! The rate limit of fetches for kids that an earlier fetch has not found. They have their own limit, so that a client that
//! keeps sending an old kid does not delay the fetch for a new one.

use std::mem;

use crate::clock::Monotonic;
use crate::jwks::policy::RefreshPolicy;

/// Limits the rate of fetches for absent kids: one per longest cool-down, and none within that time after any other fetch that
/// bypasses caches, which has looked for the kid as well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AbsentKidLimiter {
    /// The start of the last fetch that bypasses caches, whatever its cause.
    last_bypass: Option<Monotonic>,
    /// The start of the last fetch for an absent kid.
    last_fetch: Option<Monotonic>,
    /// An absent kid arrived too early for a fetch; one follows at the end of the cool-down.
    follow_up_due: bool,
    /// An absent kid arrived while a fetch was in flight.
    joined: bool,
}

impl AbsentKidLimiter {
    /// Returns the time from which an absent kid may start a fetch.
    pub(super) fn fetch_from(&self, policy: &RefreshPolicy) -> Monotonic {
        let last = self.last_bypass;
        last.map_or(Monotonic::default(), |last| last.saturating_add(policy.unknown_kid_cooldown_max))
    }

    /// Records the start of a fetch that bypasses caches. It replaces the follow-up fetch.
    pub(super) fn record_bypass(&mut self, now: Monotonic) {
        self.last_bypass = Some(now);
        self.follow_up_due = false;
    }

    /// Records the start of a fetch for an absent kid.
    pub(super) fn record_fetch(&mut self, now: Monotonic) {
        self.last_fetch = Some(now);
    }

    /// Returns whether a fetch for an absent kid has started within `unknown_kid_quiet`.
    pub(super) fn has_fetched_recently(&self, now: Monotonic, policy: &RefreshPolicy) -> bool {
        self.last_fetch.is_some_and(|at| now.saturating_since(at) < policy.unknown_kid_quiet)
    }

    /// Records an absent kid while a fetch is in flight, which may have started before its key was published.
    pub(super) fn join(&mut self) {
        self.joined = true;
    }

    /// Returns whether an absent kid arrived during the fetch that has just succeeded, and resets that state.
    pub(super) fn take_joined(&mut self) -> bool {
        mem::take(&mut self.joined)
    }

    /// Schedules a fetch for the end of the cool-down, so that no second request is needed to trigger it.
    pub(super) fn schedule_follow_up(&mut self) {
        self.follow_up_due = true;
    }

    pub(super) fn has_follow_up(&self) -> bool {
        self.follow_up_due
    }
}
