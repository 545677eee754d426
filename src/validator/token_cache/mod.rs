//! `TokenCache`: the claims of tokens that were verified recently, so that the signature is not checked again.
//!
//! An entry can only accept a token. If the entry is not valid for a request (a date, a removed key, another host), the whole
//! pipeline runs again, so that every rejection is the same with and without the cache.

pub(super) mod entry;
mod lookup;
mod sync;
mod table;

use std::fmt;

use crate::clock::{Monotonic, Timestamp};
use crate::defaults;
use crate::keys::{Fingerprinter, TokenFingerprint};
use crate::telemetry;
use crate::validator::token_cache::entry::{CacheEntry, EntryLifetime};
use crate::validator::token_cache::table::{Entry, Found, Table};

/// The entries of tokens that one validator has verified recently, limited by bytes.
///
/// # Security
///
/// The cache contains fingerprints and claims, never a token (see [`Fingerprinter`]). Only accepted tokens are stored, and
/// only those of asymmetric algorithms: an HMAC check is faster than a lookup. Entries are evicted by use; this only frees
/// memory. Each hit revalidates its entry by the validator's clock and keys.
pub(super) struct TokenCache<C> {
    fingerprinter: Fingerprinter,
    table: Table<TokenFingerprint, CacheEntry<C>>,
}

impl<C> TokenCache<C> {
    /// Creates a cache of `bytes` bytes; `None` if that is 0 or the system has no entropy.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let slots = bytes.checked_div(defaults::TOKEN_CACHE_TABLE_SHARE)?.min(defaults::TOKEN_CACHE_MAX_TABLE_BYTES);
        let set_bytes = Table::<TokenFingerprint, CacheEntry<C>>::SET_BYTES;
        let sets = slots.checked_div(set_bytes)?.max(1);
        let bound = bytes.saturating_sub(sets.saturating_mul(set_bytes));
        let table = Table::new(sets, u64::try_from(bound).ok()?);
        (bytes > 0).then(Fingerprinter::new)?.map(|fingerprinter| Self { fingerprinter, table })
    }

    /// Finds the entry of a token. The caller must revalidate it.
    fn find(&self, token: &[u8]) -> Option<Found<TokenFingerprint, CacheEntry<C>>> {
        self.table.find(self.fingerprinter.place_hash(token), || self.fingerprinter.fingerprint(token))
    }

    /// Stores the entry of a token, unless it would expire at once.
    pub(super) fn insert(&self, token: &[u8], entry: CacheEntry<C>) {
        let EntryLifetime { checked_at, stored_at, .. } = entry.lifetime();
        let is_expired = |entry: &CacheEntry<C>| !entry.lifetime().is_fresh(checked_at, stored_at);
        if is_expired(&entry) {
            return;
        }
        let Some(fingerprint) = self.fingerprinter.fingerprint(token) else { return };
        let entry = Entry { key: fingerprint, weight: entry.weight(), value: entry };
        let place = self.fingerprinter.place_hash(token);
        let evicted = self.table.insert(place, entry, stored_at.since_origin(), is_expired);
        (0..evicted).for_each(|_| telemetry::token_cache_evicted());
    }

    /// Removes entries that are not valid at this time, from all slots that were not searched within the last ten seconds.
    fn remove_expired(&self, now: Timestamp, monotonic: Monotonic) {
        let is_expired = |entry: &CacheEntry<C>| !entry.lifetime().is_fresh(now, monotonic);
        let removed = self.table.remove_expired(monotonic.since_origin(), is_expired);
        (0..removed).for_each(|_| telemetry::token_cache_evicted());
    }

    /// Removes the entry of a token because it is not valid.
    fn evict(&self, token: &[u8]) {
        if let Some(fingerprint) = self.fingerprinter.fingerprint(token) {
            self.table.remove(self.fingerprinter.place_hash(token), &fingerprint);
        }
    }
}

impl<C> fmt::Debug for TokenCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::validator::token_cache::entry::tests::{entry, entry_at};

    fn token_cache() -> TokenCache<NoCustomClaims> {
        TokenCache::new(defaults::TOKEN_CACHE_BYTES).expect("entropy")
    }

    fn contains(token_cache: &TokenCache<NoCustomClaims>, token: &str) -> bool {
        token_cache.find(token.as_bytes()).is_some()
    }

    #[test]
    fn finds_the_entry_of_the_whole_token_until_it_is_evicted() {
        let token_cache = token_cache();
        // All parts of these tokens that select the place are equal.
        let texts = ["a", "b"].map(|letter| format!("header.{}{letter}{}.signature", "x".repeat(40), "x".repeat(200)));
        let [one, other] = &texts;
        token_cache.insert(one.as_bytes(), entry(60));
        assert!(contains(&token_cache, one) && !contains(&token_cache, other));
        token_cache.insert(other.as_bytes(), entry(60));
        assert!(contains(&token_cache, one) && contains(&token_cache, other));
        token_cache.evict(one.as_bytes());
        assert!(!contains(&token_cache, one) && contains(&token_cache, other));
    }

    #[test]
    fn stores_no_entry_that_would_expire_at_once() {
        let token_cache = token_cache();
        for (seconds, expected) in [(0, false), (1, true)] {
            token_cache.insert(b"a token", entry(seconds));
            assert_eq!(contains(&token_cache, "a token"), expected, "{seconds} s");
        }
    }

    #[test]
    fn insertions_remove_expired_entries() {
        let token_cache = token_cache();
        for number in 0..100 {
            token_cache.insert(format!("token {number:16}").as_bytes(), entry(60));
        }
        let count = || (0..100).filter(|number| contains(&token_cache, &format!("token {number:16}"))).count();
        // All slots are due after ten seconds, and each insertion sweeps a part of them.
        for (age, expected) in [(59, 100), (69, 0)] {
            for _ in 0..16 {
                token_cache.insert(b"another token", entry_at(age, 60));
            }
            assert_eq!(count(), expected, "after {age} s");
        }
    }

    #[test]
    fn returns_no_cache_for_zero_bytes() {
        assert!(TokenCache::<NoCustomClaims>::new(0).is_none());
        assert!(TokenCache::<NoCustomClaims>::new(1).is_some());
    }

    #[test]
    fn accepts_the_largest_limit() {
        let token_cache = TokenCache::<NoCustomClaims>::new(usize::MAX).expect("entropy");
        token_cache.insert(b"a token", entry(60));
        assert!(contains(&token_cache, "a token") && !contains(&token_cache, "another token"));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn counts_evicted_entries_but_not_invalid_ones() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let evicted = || {
            let text = recorder.handle().render();
            let count = text.split(r#"outcome="evicted"} "#).nth(1).and_then(|rest| rest.lines().next());
            count.map_or(0, |count| count.parse::<u64>().expect("a count"))
        };
        metrics::with_local_recorder(&recorder, || {
            let token_cache = token_cache();
            token_cache.insert(b"a token", entry(60));
            token_cache.evict(b"a token");
            assert_eq!(evicted(), 0);
            token_cache.insert(b"a token", entry(60));
            token_cache.insert(b"a token", entry(60));
            assert_eq!(evicted(), 0, "an entry of the same token");
            drop(token_cache);
            assert_eq!(evicted(), 0);
            // One set.
            let small = TokenCache::new(128 * 1024).expect("entropy");
            for number in 0..1_000 {
                small.insert(format!("token {number:16}").as_bytes(), entry(60));
            }
            let stored = (0..1_000).filter(|number| contains(&small, &format!("token {number:16}"))).count();
            assert_eq!(usize::try_from(evicted()), Ok(1_000 - stored));
            assert!((10..1_000).contains(&stored), "{stored}");
        });
    }
}
