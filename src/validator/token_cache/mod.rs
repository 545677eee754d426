//! `TokenCache`: the claims of tokens that were verified recently, so that the signature is not checked again.
//!
//! An entry can only accept a token. If the entry is not valid for a request (a date, a removed key, another host), the whole
//! pipeline runs again, so that every rejection is the same with and without the cache.

pub(super) mod entry;
mod lookup;
mod slot_tag;
mod table;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use moka::Expiry;
use moka::sync::Cache;

use crate::claims::Claims;
use crate::defaults;
use crate::keys::{Fingerprinter, TokenFingerprint};
use crate::validator::token_cache::entry::{CacheEntry, EntryLifetime, Verification};
use crate::validator::token_cache::slot_tag::SlotTag;
use crate::validator::token_cache::table::RecentTable;

/// The entries of tokens that one validator has verified recently, limited by bytes. Clones share the entries.
///
/// # Security
///
/// The cache contains fingerprints and claims, never a token (see [`Fingerprinter`]). Only accepted tokens are stored, and
/// only those of asymmetric algorithms: an HMAC check is faster than a lookup. The map evicts entries by use and by the
/// machine's clock; this only frees memory. Each hit revalidates its entry by the validator's clock and keys.
pub(super) struct TokenCache<C> {
    fingerprinter: Arc<Fingerprinter>,
    /// All entries. The map limits them by weight, age and frequency of use.
    entries: Cache<TokenFingerprint, Arc<MapEntry<C>>>,
    /// Some of the entries, for lookups that do not write to the map.
    table: Arc<RecentTable<C>>,
}

/// An entry that a search found.
pub(super) struct CacheHit<'m, C> {
    token_cache: &'m TokenCache<C>,
    found: FoundIn<C>,
}

/// Where a search found its entry.
enum FoundIn<C> {
    RecentTable(Guard<Option<Arc<CacheEntry<C>>>>),
    Map(Arc<MapEntry<C>>),
}

/// A search for one token. It computes the fingerprint when it is first needed.
pub(super) struct Search<'m, 't, C> {
    token_cache: &'m TokenCache<C>,
    token: &'t [u8],
    slot_tag: SlotTag,
    fingerprint: OnceCell<Option<TokenFingerprint>>,
}

/// An entry in the map.
///
/// Its `Drop` removes the entry from the table, after the map and all searches have dropped it. So no interleaving leaves an
/// entry in the table. An eviction listener of the map would do the same, but with a lock for each key.
pub(super) struct MapEntry<C> {
    entry: Arc<CacheEntry<C>>,
    table: Arc<RecentTable<C>>,
}

impl<C: Send + Sync + 'static> TokenCache<C> {
    /// Creates a cache of `bytes` bytes; `None` if that is 0 or the system has no entropy.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let fingerprinter = Arc::new(Fingerprinter::new()?);
        let share = bytes.checked_div(defaults::TOKEN_CACHE_TABLE_SHARE)?;
        let table = Arc::new(RecentTable::with_size(share.min(defaults::TOKEN_CACHE_MAX_TABLE_BYTES)));
        let entries = Cache::builder()
            .max_capacity(u64::try_from(bytes.saturating_sub(table.footprint())).ok()?)
            .weigher(|_, map_entry: &Arc<MapEntry<C>>| map_entry.entry.weight())
            .expire_after(EntryExpiry);
        (bytes > 0).then(|| Self { fingerprinter, entries: entries.build(), table })
    }

    /// Starts a search for a token.
    pub(super) fn search<'m, 't>(&'m self, token: &'t [u8]) -> Search<'m, 't, C> {
        Search { token_cache: self, token, slot_tag: self.table.slot_tag(token), fingerprint: OnceCell::new() }
    }
}

/// The caller must check an entry by [`CacheEntry::is_fresh`] and [`CacheEntry::is_key_current`] before it uses it.
impl<'m, C: Send + Sync + 'static> Search<'m, '_, C> {
    /// Finds the entry if it was used recently.
    pub(super) fn find_recent(&self) -> Option<CacheHit<'m, C>> {
        let TokenCache { entries, table, .. } = self.token_cache;
        let found = table.find(self.slot_tag, || self.fingerprint())?;
        if is_recorded_use() && self.fingerprint().is_some_and(|fingerprint| entries.get(&fingerprint).is_none()) {
            // The map drops an expired entry only at its next maintenance, so the entry is removed from the table here.
            found.iter().for_each(|entry| table.remove(entry.slot_tag(), entry.fingerprint()));
        }
        Some(CacheHit { token_cache: self.token_cache, found: FoundIn::RecentTable(found) })
    }

    /// Finds the entry in the map, and stores it in the table.
    pub(super) fn find_in_map(&self) -> Option<CacheHit<'m, C>> {
        let map_entry = self.token_cache.entries.get(&self.fingerprint()?)?;
        self.token_cache.table.insert(Arc::clone(&map_entry.entry));
        Some(CacheHit { token_cache: self.token_cache, found: FoundIn::Map(map_entry) })
    }

    /// Stores an entry, unless it would expire at once.
    pub(super) fn insert(&self, claims: Claims<C>, verification: Verification, lifetime: EntryLifetime) {
        if lifetime.duration().is_zero() {
            return;
        }
        let Some(fingerprint) = self.fingerprint() else { return };
        let entry = Arc::new(CacheEntry::new(self.slot_tag, fingerprint, claims, verification, lifetime));
        self.token_cache
            .entries
            .insert(fingerprint, Arc::new(MapEntry { entry, table: Arc::clone(&self.token_cache.table) }));
    }

    fn fingerprint(&self) -> Option<TokenFingerprint> {
        *self.fingerprint.get_or_init(|| self.token_cache.fingerprinter.fingerprint(self.token))
    }
}

impl<C: Send + Sync + 'static> CacheHit<'_, C> {
    pub(super) fn entry(&self) -> Option<&CacheEntry<C>> {
        match &self.found {
            FoundIn::RecentTable(entry) => entry.as_deref(),
            FoundIn::Map(map_entry) => Some(&map_entry.entry),
        }
    }

    /// Removes the entry, and any newer entry for the same token.
    pub(super) fn evict(&self) {
        let Some(entry) = self.entry() else { return };
        if let Some(map_entry) = self.token_cache.entries.remove(&entry.fingerprint()) {
            map_entry.entry.mark_invalid();
        }
        // The map drops the entry later.
        self.token_cache.table.remove(entry.slot_tag(), entry.fingerprint());
    }
}

impl<C> Drop for MapEntry<C> {
    fn drop(&mut self) {
        self.table.remove(self.entry.slot_tag(), self.entry.fingerprint());
    }
}

impl<C> Clone for TokenCache<C> {
    fn clone(&self) -> Self {
        let (fingerprinter, table) = (Arc::clone(&self.fingerprinter), Arc::clone(&self.table));
        Self { fingerprinter, entries: self.entries.clone(), table }
    }
}

impl<C> fmt::Debug for TokenCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("entries", &self.entries.entry_count()).finish_non_exhaustive()
    }
}

/// Returns whether the map records this use of an entry: one of [`defaults::TOKEN_CACHE_RECORDED_USE`] uses per thread.
fn is_recorded_use() -> bool {
    thread_local!(static USES: Cell<u32> = const { Cell::new(0) });
    USES.with(|uses| {
        uses.set(uses.get().wrapping_add(1));
        uses.get().is_multiple_of(defaults::TOKEN_CACHE_RECORDED_USE)
    })
}

/// Sets the expiry of each entry of the map to the end of its lifetime.
struct EntryExpiry;

impl<C> Expiry<TokenFingerprint, Arc<MapEntry<C>>> for EntryExpiry {
    fn expire_after_create(&self, _: &TokenFingerprint, map_entry: &Arc<MapEntry<C>>, _: Instant) -> Option<Duration> {
        Some(map_entry.entry.lifetime())
    }

    fn expire_after_update(
        &self,
        fingerprint: &TokenFingerprint,
        map_entry: &Arc<MapEntry<C>>,
        updated_at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(fingerprint, map_entry, updated_at)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::validator::token_cache::entry::tests::{entry, valid_for};

    fn token_cache() -> TokenCache<NoCustomClaims> {
        TokenCache::new(defaults::TOKEN_CACHE_BYTES).expect("entropy")
    }

    /// A token with a number, and a cache.
    #[derive(Clone, Copy)]
    struct Token<'m> {
        token_cache: &'m TokenCache<NoCustomClaims>,
        number: usize,
    }

    impl<'m> Token<'m> {
        fn with<T>(self, look: impl FnOnce(Search<'m, '_, NoCustomClaims>) -> T) -> T {
            look(self.token_cache.search(format!("token {:16}", self.number).as_bytes()))
        }

        fn fingerprint(self) -> TokenFingerprint {
            self.with(|search| search.fingerprint().expect("short enough"))
        }

        fn insert(self, seconds: u64) {
            let (claims, verification, lifetime) = valid_for(seconds);
            self.with(|search| search.insert(claims, verification, lifetime));
        }

        fn find_recent(self) -> Option<CacheHit<'m, NoCustomClaims>> {
            self.with(|search| search.find_recent())
        }

        fn find_in_map(self) -> Option<CacheHit<'m, NoCustomClaims>> {
            self.with(|search| search.find_in_map())
        }

        /// Searches as a request does.
        fn find(self) -> Option<CacheHit<'m, NoCustomClaims>> {
            let found = self.find_recent().or_else(|| self.find_in_map());
            assert!(
                found.iter().all(|found| found.entry().is_none_or(|entry| entry.fingerprint() == self.fingerprint()))
            );
            found
        }

        fn evict(self) {
            self.find().iter().for_each(CacheHit::evict);
        }

        /// Stores an entry in the table only.
        fn insert_into_table(self) {
            let entry = self.with(|search| entry(search.slot_tag, self.fingerprint(), 60));
            self.token_cache.table.insert(Arc::new(entry));
        }

        /// Returns whether the table has an entry, without a use that the map records.
        fn is_recent(self) -> bool {
            self.with(|search| self.token_cache.table.find(search.slot_tag, || Some(self.fingerprint())).is_some())
        }

        fn is_in_map(self) -> bool {
            self.token_cache.entries.contains_key(&self.fingerprint())
        }
    }

    fn token(token_cache: &TokenCache<NoCustomClaims>, number: usize) -> Token<'_> {
        Token { token_cache, number }
    }

    #[test]
    fn does_not_find_expired_entries_and_frees_evicted_ones_at_the_next_maintenance() {
        let (one, token_cache) = (token_cache(), token_cache());
        let (expired, valid) = (token(&one, 1), token(&token_cache, 1));
        expired.insert(0);
        valid.insert(60);
        assert!(expired.find().is_none() && valid.find().is_some());
        valid.evict();
        token_cache.entries.run_pending_tasks();
        assert_eq!((token_cache.entries.entry_count(), token_cache.entries.weighted_size()), (0, 0));
    }

    #[test]
    fn stores_no_entry_that_would_expire_at_once() {
        let token_cache = token_cache();
        for (seconds, is_inserted) in [(0, false), (1, true)] {
            let search = token_cache.search(b"a token");
            let (claims, verification, lifetime) = valid_for(seconds);
            search.insert(claims, verification, lifetime);
            // An insertion computes the fingerprint first.
            assert_eq!(search.fingerprint.get().is_some(), is_inserted, "{seconds} s");
        }
    }

    #[test]
    fn finds_a_recent_entry_without_the_map_until_it_is_evicted() {
        let token_cache = token_cache();
        let (one, other) = (token(&token_cache, 1), token(&token_cache, 2));
        for token in [one, other] {
            token.insert(60);
            assert!(token.find_recent().is_none() && token.find_in_map().is_some() && token.find_recent().is_some());
        }
        one.evict();
        assert!(one.find().is_none() && !one.is_recent());
        assert!(other.find().is_some());
    }

    /// Waits until `holds` returns true. The map drops removed entries later, when no thread can read them any more.
    fn eventually(token_cache: &TokenCache<NoCustomClaims>, what: &str, holds: impl Fn() -> bool) {
        let other = token(token_cache, usize::MAX);
        for _ in 0..100_000 {
            if holds() {
                return;
            }
            other.insert(60);
            other.evict();
            token_cache.entries.run_pending_tasks();
            thread::yield_now();
        }
        panic!("never: {what}");
    }

    #[test]
    fn removes_from_the_table_an_entry_that_left_the_map_meanwhile() {
        let token_cache = token_cache();
        let token = token(&token_cache, 1);
        for is_evicted in [false, true] {
            token.insert(60);
            let map_entry = token_cache.entries.get(&token.fingerprint()).expect("it was just stored");
            if is_evicted {
                token.evict();
                eventually(&token_cache, "only this thread has it", || Arc::strong_count(&map_entry) == 1);
            }
            token_cache.table.insert(Arc::clone(&map_entry.entry));
            assert!(token.is_recent());
            drop(map_entry);
            assert_eq!(token.is_recent(), !is_evicted);
        }
    }

    #[test]
    fn removes_a_found_entry_that_is_not_in_the_map() {
        let token_cache = token_cache();
        let token = token(&token_cache, 1);
        token.insert_into_table();
        assert!(token.is_recent());
        token.evict();
        assert!(!token.is_recent());
        token.insert_into_table();
        assert!((0..10_000).any(|_| token.find_recent().is_none()));
    }

    #[test]
    fn records_one_use_in_some_dozens_in_the_map() {
        let token_cache = token_cache();
        let token = token(&token_cache, 1);
        token.insert(60);
        assert!(token.find().is_some());
        token_cache.entries.invalidate_all();
        // The entry is found until the map runs its maintenance, which recorded uses trigger.
        let uses = (0..1_000_000).take_while(|_| token.find().is_some()).count();
        assert!((1..1_000_000).contains(&uses), "{uses}");
        // The last use was recorded, so the next recorded use is a full interval away.
        token.insert_into_table();
        let uses = (0..1_000_000).take_while(|_| token.find_recent().is_some()).count();
        assert_eq!(u32::try_from(uses), Ok(defaults::TOKEN_CACHE_RECORDED_USE));
    }

    #[test]
    fn gives_each_token_its_own_slot_tag() {
        let token_cache = token_cache();
        let slot_tag = |number| token(&token_cache, number).with(|search| search.slot_tag);
        assert_eq!(slot_tag(1), slot_tag(1));
        assert_ne!(slot_tag(1), slot_tag(2));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn does_not_count_an_invalid_entry_as_evicted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let evicted = || {
            let text = recorder.handle().render();
            let count = text.split(r#"outcome="evicted"} "#).nth(1).and_then(|rest| rest.lines().next());
            count.map_or(0, |count| count.parse::<u64>().expect("a count"))
        };
        metrics::with_local_recorder(&recorder, || {
            for (is_invalid, expected) in [(true, 0), (false, 1)] {
                let token_cache = token_cache();
                let token = token(&token_cache, 1);
                token.insert(60);
                // The last owner updates the metric. It has to be this thread, which has the local recorder.
                let entry = token_cache.entries.get(&token.fingerprint()).map(|map_entry| Arc::clone(&map_entry.entry));
                let entry = entry.expect("it was just stored");
                if is_invalid {
                    token.evict();
                } else {
                    token_cache.entries.invalidate(&token.fingerprint());
                }
                eventually(&token_cache, "only this thread has it", || Arc::strong_count(&entry) == 1);
                // Waiting may have evicted other entries.
                let before = evicted();
                drop(entry);
                assert_eq!(evicted() - before, expected);
            }
        });
    }

    #[test]
    fn bounds_the_weight() {
        let any = token_cache();
        let weight = token(&any, 0).with(|search| entry(search.slot_tag, token(&any, 0).fingerprint(), 60).weight());
        let weight = u64::from(weight);
        let token_cache = TokenCache::new(usize::try_from(weight * 10).expect("small")).expect("entropy");
        for number in 0..1_000 {
            token(&token_cache, number).insert(60);
            token(&token_cache, number).find();
        }
        token_cache.entries.run_pending_tasks();
        assert!((1..=10).contains(&token_cache.entries.entry_count()), "{}", token_cache.entries.entry_count());
        let table = u64::try_from(token_cache.table.footprint()).expect("small");
        assert!(token_cache.entries.weighted_size() + table <= weight * 10);
        for number in 0..1_000 {
            let token = token(&token_cache, number);
            eventually(&token_cache, "an entry that left the map leaves the table", || {
                token.is_in_map() || !token.is_recent()
            });
        }
    }

    #[test]
    fn leaves_nothing_in_the_table_after_concurrent_lookups_and_evictions() {
        let token_cache = token_cache();
        thread::scope(|scope| {
            for thread in 0..4 {
                let token_cache = &token_cache;
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let token = token(token_cache, (round + thread) % 5);
                        match round % 7 {
                            0 | 1 => token.insert(60),
                            2 => token.evict(),
                            _ => drop(token.find()),
                        }
                    }
                });
            }
        });
        token_cache.entries.run_pending_tasks();
        for number in 0..5 {
            let token = token(&token_cache, number);
            token.evict();
            eventually(&token_cache, "an entry that left the map leaves the table", || !token.is_recent());
        }
    }

    #[test]
    fn returns_no_cache_for_zero_bytes() {
        assert!(TokenCache::<NoCustomClaims>::new(0).is_none());
    }

    #[test]
    fn allocates_a_bounded_table_for_the_largest_limit() {
        let token_cache = TokenCache::<NoCustomClaims>::new(usize::MAX).expect("entropy");
        assert_eq!(token_cache.table.footprint(), defaults::TOKEN_CACHE_MAX_TABLE_BYTES);
        token(&token_cache, 1).insert(60);
        assert!(token(&token_cache, 1).find().is_some() && token(&token_cache, 2).find().is_none());
    }
}
