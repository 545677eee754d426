//! The rate limit of fetches for unknown kids, which unauthenticated clients can trigger. No other fetch counts against it.

use std::mem;
use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::jitter::{self, Jitter};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::requests::PendingRequests;

/// Limits the rate of fetches for unknown kids with an adaptive cool-down.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnknownKidLimiter {
    last_fetch: Option<Monotonic>,
    last_seen: Option<Monotonic>,
    /// The number of consecutive fetches without a change of the key set.
    unchanged_fetches: u32,
    /// The part by which the current cool-down is shortened at random. Without it, processes that receive the same flood would
    /// fetch at the same times from then on.
    jitter: Jitter,
    /// When a change of the key set last reset the cool-down.
    last_change: Option<Monotonic>,
    /// Whether an unknown kid has arrived since the last fetch started.
    has_new_kid: bool,
    pub(super) pending: PendingRequests,
}

impl UnknownKidLimiter {
    /// Records an unknown kid. After `unknown_kid_quiet` without one the cool-down starts at its minimum.
    pub(super) fn record_unknown_kid(&mut self, now: Monotonic, policy: &RefreshPolicy) {
        if self.last_seen.is_some_and(|at| is_long_ago(at, now, policy)) {
            self.unchanged_fetches = 0;
        }
        self.last_seen = Some(now);
        self.has_new_kid = true;
    }

    /// Returns the time at which the cool-down ends.
    pub(super) fn fetch_from(&self, policy: &RefreshPolicy) -> Monotonic {
        self.last_fetch.map_or(Monotonic::default(), |last| last.saturating_add(self.cooldown(policy)))
    }

    /// Records the start of a fetch for unknown kids. It counts as unchanged until [`record_change`](Self::record_change) is
    /// called; a failed fetch counts as unchanged, too.
    ///
    /// A follow-up fetch starts no cool-down if the fetch before has looked for the same kids: a single old kid must not delay
    /// a new key for longer than the shortest cool-down. The next cool-down is longer all the same.
    pub(super) fn record_fetch(&mut self, now: Monotonic, jitter: Jitter) {
        self.last_fetch = mem::take(&mut self.has_new_kid).then_some(now);
        // A follow-up fetch resets the quiet time, however late it starts.
        self.last_seen = Some(now);
        self.jitter = jitter;
        self.unchanged_fetches = self.unchanged_fetches.saturating_add(1);
    }

    /// Records a change of the key set, which resets the cool-down. It does so at most once per `unknown_kid_quiet`: an
    /// issuer whose key set changes with every fetch must not lift the limit.
    pub(super) fn record_change(&mut self, now: Monotonic, policy: &RefreshPolicy) {
        if self.unchanged_fetches > 0 && self.last_change.is_none_or(|at| is_long_ago(at, now, policy)) {
            self.unchanged_fetches = 0;
            self.last_change = Some(now);
        }
    }

    /// Returns the cool-down. It is at its minimum after the first unchanged fetch and doubles with each further one.
    pub(super) fn cooldown(&self, policy: &RefreshPolicy) -> Duration {
        let full = jitter::doubled(policy.unknown_kid_cooldown_min, self.unchanged_fetches.saturating_sub(1))
            .min(policy.unknown_kid_cooldown_max);
        let least = jitter::percent(full, 100_u8.saturating_sub(policy.jitter_percent));
        self.jitter.between(least, full)
    }
}

fn is_long_ago(at: Monotonic, now: Monotonic, policy: &RefreshPolicy) -> bool {
    now.saturating_since(at) >= policy.unknown_kid_quiet
}
