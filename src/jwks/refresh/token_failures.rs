//! The pause after failed fetches that tokens triggered. Something on the path may reject each request that bypasses caches and
//! answer the retries: their success ends the backoff, so the backoff alone would not limit these fetches.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::policy::RefreshPolicy;

/// Counts the consecutive failures of fetches that tokens triggered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenFetchFailures {
    count: u32,
    last: Option<Monotonic>,
}

impl TokenFetchFailures {
    /// Records a failure. One long after the last one is the first of a series.
    pub(super) fn record_failure(&mut self, now: Monotonic, policy: &RefreshPolicy) {
        let longest = longest_pause(policy).saturating_mul(2);
        let follows = self.last.is_some_and(|last| now.saturating_since(last) <= longest);
        self.count = if follows { self.count.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    /// Returns the time from which a token may trigger a fetch: the longest cool-down after the first failure, and the longest
    /// backoff after each further one.
    pub(super) fn fetch_from(&self, policy: &RefreshPolicy) -> Monotonic {
        let pause = if self.count > 1 { longest_pause(policy) } else { policy.unknown_kid_cooldown_max };
        self.last.map_or(Monotonic::default(), |last| last.saturating_add(pause))
    }
}

fn longest_pause(policy: &RefreshPolicy) -> Duration {
    policy.backoff_max.max(policy.unknown_kid_cooldown_max)
}
