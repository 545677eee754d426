//! Answers that are remembered outside of the token cache: negative ones, and positive ones that this API refuses.
//!
//! They have maps of their own, so that a client with random tokens displaces no token of another client. The maps evict by use and by
//! the machine's clock; this only frees memory. Whether an entry is valid is decided by the validator's clock.

use std::fmt;
use std::hash::RandomState;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Monotonic;
use crate::defaults;
use crate::introspection::answer::SharedAnswer;
use crate::keys::TokenFingerprint;

/// What is known about tokens that are not in the token cache.
pub(super) struct Memory {
    /// The times of the calls whose answers were negative.
    inactive: Cache<TokenFingerprint, Monotonic>,
    /// Positive answers about tokens that this API refuses, for example because of another audience.
    refused: Cache<TokenFingerprint, SharedAnswer>,
    /// The times at which the application evicted tokens.
    evicted: Cache<TokenFingerprint, Monotonic>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let bytes = |_: &TokenFingerprint, answer: &SharedAnswer| {
            let bytes = answer.claims.footprint().saturating_add(defaults::TOKEN_CACHE_ENTRY_OVERHEAD_BYTES);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            inactive: map(defaults::MAX_INACTIVE_TOKENS, defaults::INACTIVE_TOKEN_RETENTION),
            refused: Cache::builder()
                .max_capacity(defaults::REFUSED_ANSWER_BYTES)
                .weigher(bytes)
                .time_to_live(defaults::INTROSPECTION_MAX_TTL)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            evicted: map(defaults::MAX_EVICTED_TOKENS, defaults::INTROSPECTION_MAX_TTL),
        }
    }

    /// Returns the time of the call whose negative answer is known.
    pub(super) fn inactive_since(&self, token: &TokenFingerprint) -> Option<Monotonic> {
        self.inactive.get(token)
    }

    pub(super) fn refused(&self, token: &TokenFingerprint) -> Option<SharedAnswer> {
        self.refused.get(token)
    }

    pub(super) fn record_inactive(&self, token: TokenFingerprint, asked_at: Monotonic) {
        self.refused.invalidate(&token);
        self.inactive.insert(token, asked_at);
    }

    pub(super) fn record_active(&self, token: &TokenFingerprint) {
        self.inactive.invalidate(token);
    }

    pub(super) fn record_refused(&self, token: TokenFingerprint, answer: SharedAnswer) {
        self.refused.insert(token, answer);
    }

    pub(super) fn record_evicted(&self, token: TokenFingerprint, now: Monotonic) {
        self.inactive.invalidate(&token);
        self.refused.invalidate(&token);
        self.evicted.insert(token, now);
    }

    /// Returns whether an answer to a call that began at `asked_at` still counts: the token was not evicted since, and no later call had
    /// a negative answer, or one that this API refuses.
    pub(super) fn is_current(&self, token: &TokenFingerprint, asked_at: Monotonic) -> bool {
        let is_before = |map: &Cache<TokenFingerprint, Monotonic>| map.get(token).is_none_or(|at| at < asked_at);
        let is_superseded = || self.refused.get(token).is_some_and(|refused| refused.asked_at > asked_at);
        is_before(&self.inactive) && is_before(&self.evicted) && !is_superseded()
    }
}

fn map(capacity: u64, retention: Duration) -> Cache<TokenFingerprint, Monotonic, RandomState> {
    Cache::builder().max_capacity(capacity).time_to_live(retention).eviction_policy(EvictionPolicy::lru()).build()
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}
