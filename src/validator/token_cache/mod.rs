//! `TokenCache`: the claims of tokens that were verified recently, so that the signature is not checked again.
//!
//! # The path of a token
//!
//! A request first calls [`lookup`]. A cheap hash of four words of the token selects a set of eight slots of the [`Table`], and a
//! 16-bit tag. Only if a slot has this tag, a keyed hash of the whole token, its *fingerprint* of 128 bits, is computed and
//! compared. The entry that has it is validated again: its dates and age by the validator's clock, the key that proved the token,
//! and the host of the request. If all are valid, its claims are the result. In any other case the whole pipeline runs, so that
//! every rejection is the same with and without the cache: an entry can only accept a token. A token that the pipeline accepts
//! because of a public key or of a server's answer is [inserted](TokenCache::insert). An entry leaves the cache when a lookup finds it invalid
//! ([`TokenCache::remove`]), when it has expired (each insertion and each fetch of keys sweeps), or when it is evicted for another
//! one. Lookups take no lock; a thread that finds another one writing changes nothing. Only the removal of a token that its server
//! has withdrawn waits for the other thread ([`TokenCache::evict_now`]).

pub(super) mod entry;
pub(super) mod lookup;
mod sync;
mod table;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Clock, Moment};
use crate::defaults;
use crate::jwks::AfterFetch;
use crate::keys::{Fingerprinter, TokenFingerprint};
use crate::telemetry;
use crate::validator::token_cache::entry::CacheEntry;
use crate::validator::token_cache::table::{Match, Table};

/// The entries of tokens that one validator has verified recently, limited by bytes.
///
/// # Security
///
/// The cache contains fingerprints and claims, never a token (see [`Fingerprinter`]). Only accepted tokens are stored: those that a
/// public key proves, since an HMAC check is faster than a lookup, and those that a server calls active. Entries are evicted by use; this only frees
/// memory. Each hit revalidates its entry by the validator's clock and keys.
pub(super) struct TokenCache<C> {
    fingerprinter: Fingerprinter,
    table: Table<TokenFingerprint, CacheEntry<C>>,
    clock: Arc<dyn Clock>,
    /// The start of the last sweep after a fetch, in seconds of the monotonic clock.
    swept_at: AtomicU64,
}

impl<C> TokenCache<C> {
    /// Creates a cache of `bytes` bytes; `None` if that is 0 or the system has no entropy.
    pub(super) fn new(bytes: usize, clock: Arc<dyn Clock>) -> Option<Self> {
        let slots = bytes.checked_div(defaults::TOKEN_CACHE_TABLE_SHARE)?.min(defaults::TOKEN_CACHE_MAX_TABLE_BYTES);
        let set_bytes = Table::<TokenFingerprint, CacheEntry<C>>::SET_BYTES;
        let sets = slots.checked_div(set_bytes)?.max(1);
        let bound = bytes.saturating_sub(sets.saturating_mul(set_bytes));
        let table = Table::new(sets, u64::try_from(bound).ok()?);
        (bytes > 0).then(Fingerprinter::new)?.map(|fingerprinter| Self {
            fingerprinter,
            table,
            clock,
            swept_at: AtomicU64::new(0),
        })
    }

    /// Finds the entry of a token. The caller must revalidate it.
    fn find(&self, token: &[u8]) -> Option<Match<TokenFingerprint, CacheEntry<C>>> {
        self.table.find(self.fingerprinter.slot_hash(token), || self.fingerprinter.fingerprint(token))
    }

    /// Stores the entry of a token, unless it has expired meanwhile or another thread writes.
    pub(super) fn insert(&self, token: &[u8], entry: CacheEntry<C>) {
        let is_expired = self.is_expired();
        if is_expired(&entry) {
            return;
        }
        let Some(fingerprint) = self.fingerprinter.fingerprint(token) else { return };
        let removed = self.table.insert(self.fingerprinter.slot_hash(token), fingerprint, entry, is_expired);
        telemetry::token_cache_evicted(removed.len());
    }

    /// Removes the entry of a token because the token is no longer valid. Unlike [`remove`](Self::remove), this never fails.
    pub(super) fn evict_now(&self, token: &[u8]) {
        if let Some(fingerprint) = self.fingerprinter.fingerprint(token) {
            drop(self.table.remove_now(self.fingerprinter.slot_hash(token), &fingerprint));
        }
    }

    /// Removes the entry of a token because it is not valid, unless another thread writes; the next lookup then finds it again. If
    /// another thread has stored a newer entry of the token since, that one is removed, and the token is verified once more.
    fn remove(&self, token: &[u8]) {
        if let Some(fingerprint) = self.fingerprinter.fingerprint(token) {
            drop(self.table.remove(self.fingerprinter.slot_hash(token), &fingerprint));
        }
    }

    /// Returns whether a fetch starts a sweep now. The sources of many issuers may fetch at any time.
    fn is_sweep_due(&self) -> bool {
        let now = self.clock.monotonic().since_origin().as_secs();
        let is_due = now >= self.swept_at.load(Ordering::Relaxed).saturating_add(SWEEP_INTERVAL_SECS);
        if is_due {
            self.swept_at.store(now, Ordering::Relaxed);
        }
        is_due
    }

    /// Returns the function that says whether an entry has expired now.
    fn is_expired(&self) -> impl Fn(&CacheEntry<C>) -> bool + use<C> {
        let now = Moment::now(&*self.clock);
        move |entry| !entry.lifetime().is_fresh(now.wall, now.monotonic)
    }
}

/// Removes expired entries after each fetch of keys, since no entry is stored while no request arrives.
impl<C: Send + Sync> AfterFetch for TokenCache<C> {
    fn run_portion(&self, portion: usize) -> ControlFlow<()> {
        if portion == 0 && !self.is_sweep_due() {
            return ControlFlow::Break(());
        }
        let removed = self.table.sweep(SLOTS_PER_PORTION, self.is_expired());
        telemetry::token_cache_evicted(removed.len());
        let is_last = portion.saturating_add(1).saturating_mul(SLOTS_PER_PORTION) >= self.table.slots();
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl<C> fmt::Debug for TokenCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

/// Slots that a sweep after a fetch visits at once. This takes at most about 0.1 ms, and other tasks run in between.
const SLOTS_PER_PORTION: usize = 1_024;

/// Seconds between two sweeps after fetches. Expired entries are never used, so this is only about their memory.
const SWEEP_INTERVAL_SECS: u64 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::testing::FakeClock;
    use crate::validator::token_cache::entry::tests::{START, entry, entry_at};

    /// Returns a cache of 32 sets with its clock.
    fn token_cache() -> (TokenCache<NoCustomClaims>, FakeClock) {
        let clock = FakeClock::from_wall(START);
        (TokenCache::new(128 * 1024, Arc::new(clock.clone())).expect("entropy"), clock)
    }

    fn contains(token_cache: &TokenCache<NoCustomClaims>, token: &str) -> bool {
        token_cache.find(token.as_bytes()).is_some()
    }

    fn text(number: usize) -> String {
        format!("token {number:16}")
    }

    fn count(token_cache: &TokenCache<NoCustomClaims>) -> usize {
        (0..1_000).filter(|number| contains(token_cache, &text(*number))).count()
    }

    #[test]
    fn finds_the_entry_of_the_whole_token_until_it_is_removed() {
        let (token_cache, _) = token_cache();
        // All parts of these tokens that select the slots are equal.
        let texts = ["a", "b"].map(|letter| format!("header.{}{letter}{}.signature", "x".repeat(40), "x".repeat(200)));
        let [one, other] = &texts;
        token_cache.insert(one.as_bytes(), entry(60));
        assert!(contains(&token_cache, one) && !contains(&token_cache, other));
        token_cache.insert(other.as_bytes(), entry(60));
        assert!(contains(&token_cache, one) && contains(&token_cache, other));
        token_cache.remove(one.as_bytes());
        assert!(!contains(&token_cache, one) && contains(&token_cache, other));
    }

    #[test]
    fn stores_no_entry_that_has_expired() {
        let (token_cache, clock) = token_cache();
        for (seconds, expected) in [(0, false), (1, true)] {
            token_cache.insert(b"a token", entry(seconds));
            assert_eq!(contains(&token_cache, "a token"), expected, "{seconds} s");
        }
        // Its custom claims took two seconds.
        clock.advance(Duration::from_secs(2));
        token_cache.insert(b"a late token", entry(2));
        assert!(!contains(&token_cache, "a late token"));
    }

    /// An entry whose validation took long removes no entry that another thread has stored since.
    #[test]
    fn sweeps_by_the_time_of_the_insertion() {
        let (token_cache, clock) = token_cache();
        clock.advance(Duration::from_secs(10));
        (0..10).for_each(|number| token_cache.insert(text(number).as_bytes(), entry_at(10, 60)));
        (0..32).for_each(|_| token_cache.insert(b"validated before the others", entry_at(5, 60)));
        assert_eq!(count(&token_cache), 10);
    }

    #[test]
    fn insertions_remove_expired_entries() {
        let (token_cache, clock) = token_cache();
        (0..20).for_each(|number| token_cache.insert(text(number).as_bytes(), entry(60)));
        for (seconds, expected) in [(59, 20), (1, 0)] {
            clock.advance(Duration::from_secs(seconds));
            // 32 insertions sweep eight slots each, which are all slots.
            (0..32).for_each(|_| token_cache.insert(b"another token", entry_at(59, 60)));
            assert_eq!(count(&token_cache), expected);
        }
    }

    #[test]
    fn work_after_a_fetch_removes_expired_entries_in_portions() {
        let clock = FakeClock::from_wall(START);
        let token_cache = TokenCache::new(1024 * 1024, Arc::new(clock.clone())).expect("entropy");
        (0..100).for_each(|number| token_cache.insert(text(number).as_bytes(), entry(60)));
        let run = |portion| (token_cache.run_portion(portion).is_break(), count(&token_cache));
        clock.advance(Duration::from_secs(55));
        assert_eq!([0, 1].map(run), [(false, 100), (true, 100)]);
        // The entries expire, and the last sweep was six seconds ago.
        clock.advance(Duration::from_secs(6));
        assert_eq!(run(0), (true, 100));
        clock.advance(Duration::from_secs(4));
        let (is_last, left) = run(0);
        assert!(!is_last && (1..100).contains(&left), "{left} entries after half of the slots");
        assert_eq!(run(1), (true, 0));
    }

    #[test]
    fn returns_no_cache_for_zero_bytes() {
        let new = |bytes| TokenCache::<NoCustomClaims>::new(bytes, Arc::new(FakeClock::new()));
        assert!(new(0).is_none());
        assert!(new(1).is_some());
    }

    #[test]
    fn accepts_the_largest_limit() {
        let clock = Arc::new(FakeClock::from_wall(START));
        let token_cache = TokenCache::<NoCustomClaims>::new(usize::MAX, clock).expect("entropy");
        token_cache.insert(b"a token", entry(60));
        assert!(contains(&token_cache, "a token") && !contains(&token_cache, "another token"));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn counts_evicted_and_expired_entries_but_not_invalid_ones() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let evicted = || {
            let text = recorder.handle().render();
            let count = text.split(r#"outcome="evicted"} "#).nth(1).and_then(|rest| rest.lines().next());
            count.map_or(0, |count| count.parse::<usize>().expect("a count"))
        };
        metrics::with_local_recorder(&recorder, || {
            let (token_cache, clock) = token_cache();
            token_cache.insert(b"a token", entry(60));
            token_cache.remove(b"a token");
            assert_eq!(evicted(), 0);
            token_cache.insert(b"a token", entry(60));
            token_cache.insert(b"a token", entry(60));
            assert_eq!(evicted(), 0, "an entry of the same token");
            (0..1_000).for_each(|number| token_cache.insert(text(number).as_bytes(), entry(60)));
            let stored = count(&token_cache);
            let is_first_stored = usize::from(contains(&token_cache, "a token"));
            assert_eq!(evicted(), 1_001 - stored - is_first_stored);
            assert!((10..1_000).contains(&stored), "{stored}");
            clock.advance(Duration::from_secs(60));
            let _is_last = token_cache.run_portion(0);
            assert_eq!(evicted(), 1_001);
            token_cache.insert(b"a token", entry_at(60, 60));
            drop(token_cache);
            assert_eq!(evicted(), 1_001);
        });
    }
}
