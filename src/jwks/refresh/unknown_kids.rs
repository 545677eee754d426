//! The budget for unknown key ids: strangers can spend it, and nothing else.

use std::mem;
use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::jitter::{self, Jitter};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::doubled;

/// How often unknown key ids have cost a fetch lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnknownKidLimiter {
    last_fetch: Option<Monotonic>,
    last_seen: Option<Monotonic>,
    /// Fetches in a row that brought nothing new.
    unchanged_fetches: u32,
    /// By how much the cool-down that runs is shortened: what strangers send to all replicas at once must not make them
    /// fetch at once ever after.
    jitter: Jitter,
    /// When the set last changed and so made the cool-down short again.
    last_change: Option<Monotonic>,
    /// A miss came within the cool-down and is owed a fetch at its end.
    follow_up_due: bool,
    /// A miss waits for the fetch in flight.
    joined: bool,
}

impl UnknownKidLimiter {
    /// A miss came. After a quiet while the cool-down starts from its minimum.
    pub(super) fn seen(&mut self, now: Monotonic, policy: &RefreshPolicy) {
        if self.last_seen.is_some_and(|at| is_long_ago(at, now, policy)) {
            self.unchanged_fetches = 0;
        }
        self.last_seen = Some(now);
    }

    /// From when on a miss may start a fetch.
    pub(super) fn fetch_from(&self, policy: &RefreshPolicy) -> Monotonic {
        self.last_fetch.map_or(Monotonic::default(), |last| last.saturating_add(self.cooldown(policy)))
    }

    /// A fetch for misses starts. It is fruitless until it proves otherwise: one that fails is as fruitless as one that
    /// brings nothing new.
    pub(super) fn record_fetch(&mut self, now: Monotonic, jitter: Jitter) {
        self.last_fetch = Some(now);
        // A fetch that was owed is no quiet, however late it comes.
        self.last_seen = Some(now);
        self.jitter = jitter;
        self.unchanged_fetches = self.unchanged_fetches.saturating_add(1);
    }

    /// The set has changed. An issuer whose set differs at every fetch does not take the budget away.
    pub(super) fn record_change(&mut self, now: Monotonic, policy: &RefreshPolicy) {
        if self.unchanged_fetches > 0 && self.last_change.is_none_or(|at| is_long_ago(at, now, policy)) {
            self.unchanged_fetches = 0;
            self.last_change = Some(now);
        }
    }

    /// A miss waits for the fetch in flight, whether it began for it or before it.
    pub(super) fn join(&mut self) {
        self.joined = true;
    }

    /// The fetch that was in flight has an outcome: says whether a miss waited for it.
    pub(super) fn take_joined(&mut self) -> bool {
        mem::take(&mut self.joined)
    }

    /// A miss came too early: the fetch at the end of the cool-down finds the key without another request.
    pub(super) fn schedule_follow_up(&mut self) {
        self.follow_up_due = true;
    }

    /// A fetch past all caches starts, whatever for.
    pub(super) fn clear_follow_up(&mut self) {
        self.follow_up_due = false;
    }

    pub(super) fn has_follow_up(&self) -> bool {
        self.follow_up_due
    }

    /// The first fruitless fetch keeps the cool-down at its minimum, each further one doubles it.
    pub(super) fn cooldown(&self, policy: &RefreshPolicy) -> Duration {
        let whole = doubled(policy.unknown_kid_cooldown_min, self.unchanged_fetches.saturating_sub(1))
            .min(policy.unknown_kid_cooldown_max);
        self.jitter.between(jitter::percent(whole, 100_u8.saturating_sub(policy.jitter_percent)), whole)
    }
}

fn is_long_ago(at: Monotonic, now: Monotonic, policy: &RefreshPolicy) -> bool {
    now.saturating_since(at) >= policy.unknown_kid_quiet
}
