//! The rate limit of fetches for kids that an earlier fetch has not found. They have their own limit, so that a client that
//! keeps sending an old kid does not delay the fetch for a new one.

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::requests::PendingRequests;

/// Limits the rate of fetches for absent kids: one per longest cool-down, and none within that time after any other fetch that
/// bypasses caches, which has looked for the kid as well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AbsentKidLimiter {
    /// The start of the last fetch that bypasses caches, whatever its cause.
    last_bypass: Option<Monotonic>,
    /// Whether a request, and no follow-up, has started that fetch.
    pub(super) is_requested: bool,
    pub(super) pending: PendingRequests,
}

impl AbsentKidLimiter {
    /// Returns the time from which an absent kid may start a fetch.
    pub(super) fn fetch_from(&self, policy: &RefreshPolicy) -> Monotonic {
        let last = self.last_bypass;
        last.map_or(Monotonic::default(), |last| last.saturating_add(policy.unknown_kid_cooldown_max))
    }

    /// Records the start of a fetch that bypasses caches. It replaces the follow-up fetch.
    pub(super) fn record_bypass(&mut self, cause: RefreshCause, now: Monotonic) {
        self.last_bypass = Some(now);
        self.is_requested = false;
        self.pending.replace_follow_up(cause == RefreshCause::AbsentKid);
    }
}
