//! Answers that are stored outside of the token cache: negative ones, and positive ones that this API rejects.
//!
//! They have separate maps, so that a client with random tokens evicts no token of another client. The maps
//! evict by use and by the machine's clock; this only frees memory. Whether an entry is valid is decided by the
//! validator's clock.

use std::collections::HashMap;
use std::fmt;
use std::hash::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// Positive answers about tokens that this API rejects, for example because of another audience.
    rejected: Cache<TokenFingerprint, SharedAnswer>,
    /// Signed tokens whose last answer was negative or rejected. Only the holders of genuine tokens can add to it, and no
    /// eviction removes from it.
    revoked: Cache<TokenFingerprint, ()>,
    /// The times of the calls about known tokens whose answers were positive, if earlier answers are used in an outage. The
    /// requests that wait for an answer check it, so without one it is not known whether this API accepts it.
    active: Cache<TokenFingerprint, Monotonic>,
    evicted: Mutex<Evictions>,
}

/// The times at which the application evicted tokens.
#[derive(Debug, Default)]
struct Evictions {
    times: HashMap<TokenFingerprint, Monotonic>,
    /// All tokens count as evicted at this time, since the times of some are not known any more.
    all_at: Option<Monotonic>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let bytes = |_: &TokenFingerprint, answer: &SharedAnswer| {
            let bytes = answer.claims.footprint().saturating_add(defaults::TOKEN_CACHE_ENTRY_OVERHEAD_BYTES);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            inactive: map(defaults::MAX_INACTIVE_TOKENS, defaults::INACTIVE_TOKEN_RETENTION),
            rejected: Cache::builder()
                .max_capacity(defaults::REJECTED_ANSWER_BYTES)
                .weigher(bytes)
                .time_to_live(defaults::INTROSPECTION_MAX_TTL)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            revoked: Cache::builder()
                .max_capacity(defaults::MAX_REVOKED_TOKENS)
                .time_to_live(defaults::REVOKED_TOKEN_RETENTION)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            active: map(defaults::MAX_REVOKED_TOKENS, defaults::INACTIVE_TOKEN_RETENTION),
            evicted: Mutex::default(),
        }
    }

    /// Returns the time of the call whose negative answer is known.
    pub(super) fn inactive_since(&self, token: &TokenFingerprint) -> Option<Monotonic> {
        self.inactive.get(token)
    }

    pub(super) fn rejected(&self, token: &TokenFingerprint) -> Option<SharedAnswer> {
        self.rejected.get(token)
    }

    pub(super) fn record_inactive(&self, token: TokenFingerprint, call_started_at: Monotonic) {
        self.rejected.invalidate(&token);
        // After an eviction, two calls about one token may be in flight.
        let last = self.inactive.get(&token).map_or(call_started_at, |at| at.max(call_started_at));
        self.inactive.insert(token, last);
    }

    /// Records that the answer about a signed token was negative or is rejected.
    pub(super) fn record_revoked(&self, token: TokenFingerprint) {
        self.revoked.insert(token, ());
    }

    pub(super) fn record_active(&self, token: &TokenFingerprint, call_started_at: Monotonic) {
        if self.inactive.get(token).is_some_and(|at| at <= call_started_at) {
            self.inactive.invalidate(token);
        }
    }

    /// Records that no answer about a token from before `call_started_at` is used any more.
    pub(super) fn record_superseded(&self, token: TokenFingerprint, call_started_at: Monotonic) {
        self.active.insert(token, call_started_at);
    }

    /// Records that this API accepts the answer about a token.
    pub(super) fn record_accepted(&self, token: &TokenFingerprint) {
        self.revoked.invalidate(token);
    }

    /// Returns whether the last answer about a signed token was negative or rejected, or the application has evicted the
    /// token a short time ago.
    pub(super) fn may_be_revoked(&self, token: &TokenFingerprint, now: Monotonic) -> bool {
        let is_retained = |at: Monotonic| now < at.saturating_add(defaults::EVICTION_RETENTION);
        self.revoked.contains_key(token) || self.evicted().last(token).is_some_and(is_retained)
    }

    pub(super) fn record_rejected(&self, token: TokenFingerprint, answer: SharedAnswer) {
        self.rejected.insert(token, answer);
    }

    pub(super) fn record_evicted(&self, token: TokenFingerprint, now: Monotonic) {
        self.inactive.invalidate(&token);
        self.rejected.invalidate(&token);
        self.evicted().record(token, now);
    }

    /// Returns whether an answer to a call that began at `call_started_at` still counts: the token was not evicted since, and
    /// no later call had a negative answer, one that this API rejects, or one that no request has checked.
    pub(super) fn is_current(&self, token: &TokenFingerprint, call_started_at: Monotonic) -> bool {
        let is_before = |at: Option<Monotonic>| at.is_none_or(|at| at < call_started_at);
        let is_superseded = || {
            let later = self.rejected.get(token).map(|rejected| rejected.call_started_at).max(self.active.get(token));
            later.is_some_and(|later| later > call_started_at)
        };
        is_before(self.inactive.get(token)) && !self.is_evicted_since(token, call_started_at) && !is_superseded()
    }

    /// Returns whether a token was evicted after a call that began at `call_started_at`.
    pub(super) fn is_evicted_since(&self, token: &TokenFingerprint, call_started_at: Monotonic) -> bool {
        self.evicted().last(token).is_some_and(|at| at >= call_started_at)
    }

    fn evicted(&self) -> MutexGuard<'_, Evictions> {
        self.evicted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Evictions {
    /// Records an eviction. If there are too many, answers to earlier calls about all tokens count no more. This costs
    /// calls, and during an outage no earlier answer and no token without an answer is accepted.
    fn record(&mut self, token: TokenFingerprint, now: Monotonic) {
        if self.times.len() >= defaults::MAX_EVICTED_TOKENS {
            self.times.retain(|_, at| now < at.saturating_add(defaults::EVICTION_RETENTION));
        }
        if self.times.len() >= defaults::MAX_EVICTED_TOKENS {
            self.times.clear();
            self.all_at = Some(now);
        }
        self.times.insert(token, now);
    }

    /// Returns the time of the last eviction of a token.
    fn last(&self, token: &TokenFingerprint) -> Option<Monotonic> {
        self.times.get(token).copied().max(self.all_at)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Fingerprinter;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn an_eviction_is_never_lost_however_many_follow() {
        let fingerprinter = Fingerprinter::new().expect("entropy");
        let token = |number: usize| fingerprinter.fingerprint(number.to_string().as_bytes()).expect("a fingerprint");
        let memory = Memory::new();
        memory.record_evicted(token(0), at(10));
        for number in 1..2 * defaults::MAX_EVICTED_TOKENS {
            memory.record_evicted(token(number), at(11));
        }
        assert!(memory.evicted().times.len() <= defaults::MAX_EVICTED_TOKENS);
        for number in [0, 1, defaults::MAX_EVICTED_TOKENS, 2 * defaults::MAX_EVICTED_TOKENS - 1] {
            assert!(!memory.is_current(&token(number), at(10)), "an answer from before the eviction of {number}");
            assert!(memory.is_current(&token(number), at(12)), "an answer from after it");
        }
    }

    #[test]
    fn evictions_are_removed_when_no_call_from_before_can_be_in_flight() {
        let fingerprinter = Fingerprinter::new().expect("entropy");
        let token = |number: usize| fingerprinter.fingerprint(number.to_string().as_bytes()).expect("a fingerprint");
        let memory = Memory::new();
        (0..defaults::MAX_EVICTED_TOKENS).for_each(|number| memory.record_evicted(token(number), at(10)));
        memory.record_evicted(token(defaults::MAX_EVICTED_TOKENS), at(10).saturating_add(defaults::EVICTION_RETENTION));
        let evicted = memory.evicted();
        assert_eq!((evicted.times.len(), evicted.all_at), (1, None));
    }

    /// Random tokens and evictions do not erase that a signed token is revoked.
    #[test]
    fn only_a_positive_answer_ends_a_revocation() {
        let fingerprinter = Fingerprinter::new().expect("entropy");
        let token = |number: u64| fingerprinter.fingerprint(&number.to_be_bytes()).expect("a fingerprint");
        let memory = Memory::new();
        memory.record_inactive(token(0), at(1));
        memory.record_revoked(token(0));
        (1..3 * defaults::MAX_INACTIVE_TOKENS).for_each(|number| memory.record_inactive(token(number), at(2)));
        assert!(memory.may_be_revoked(&token(0), at(3)) && !memory.may_be_revoked(&token(1), at(3)));
        memory.record_evicted(token(0), at(3));
        assert!(memory.may_be_revoked(&token(0), at(3)) && memory.may_be_revoked(&token(0), at(1_000)));
        memory.record_revoked(token(4));
        memory.record_active(&token(4), at(5));
        assert!(memory.may_be_revoked(&token(4), at(5)), "the API may reject the answer");
        memory.record_accepted(&token(4));
        assert!(!memory.may_be_revoked(&token(4), at(5)));
    }

    /// However many follow, and only for some minutes, because the token may be active again.
    #[test]
    fn an_evicted_token_may_be_revoked_for_some_minutes() {
        let fingerprinter = Fingerprinter::new().expect("entropy");
        let token = |number: usize| fingerprinter.fingerprint(&number.to_be_bytes()).expect("a fingerprint");
        for others in [0, 2 * defaults::MAX_EVICTED_TOKENS] {
            let memory = Memory::new();
            memory.record_evicted(token(0), at(10));
            (1..=others).for_each(|number| memory.record_evicted(token(number), at(10)));
            let end = at(10).saturating_add(defaults::EVICTION_RETENTION);
            assert!(memory.may_be_revoked(&token(0), end.saturating_sub(Duration::from_nanos(1))), "{others}");
            assert!(!memory.may_be_revoked(&token(0), end), "{others}");
        }
    }

    /// The request that would have checked the later one may have ended.
    #[test]
    fn an_earlier_positive_answer_does_not_count_after_a_later_one() {
        let token = Fingerprinter::new().expect("entropy").fingerprint(b"token").expect("a fingerprint");
        let memory = Memory::new();
        memory.record_superseded(token, at(5));
        assert!(!memory.is_current(&token, at(4)) && memory.is_current(&token, at(5)));
    }

    /// After an eviction, two calls about one token may be in flight, and the later one may end first.
    #[test]
    fn a_later_negative_answer_counts_more_than_an_earlier_one() {
        let token = Fingerprinter::new().expect("entropy").fingerprint(b"token").expect("a fingerprint");
        let memory = Memory::new();
        memory.record_inactive(token, at(5));
        memory.record_active(&token, at(4));
        memory.record_inactive(token, at(3));
        assert_eq!(memory.inactive_since(&token), Some(at(5)));
        memory.record_active(&token, at(6));
        assert_eq!(memory.inactive_since(&token), None);
    }
}
