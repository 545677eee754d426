//! Verdicts that are remembered: a token that was verified a moment ago needs no second signature check.
//!
//! A remembered verdict can only admit. Whatever casts doubt on it (a date, a key that has gone, another host) sends the
//! token down the whole pipeline again, so that every refusal is the same with and without memo.

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
use crate::validator::token_cache::entry::{CacheEntry, EntryLifetime, VerifiedBy};
use crate::validator::token_cache::slot_tag::SlotTag;
use crate::validator::token_cache::table::RecentTable;

/// The tokens that one validator has verified lately, bounded by bytes; clones share it.
///
/// # Security
///
/// It holds tags and claims, never a token (see [`Fingerprinter`]). Only full successes get in, only under algorithms with public
/// keys: a shared secret is checked faster than it is remembered. Its eviction is by use and by time of the machine's
/// clock, and is housekeeping; whether a verdict still counts is asked of the validator's own clock and keys at every hit.
pub(super) struct TokenCache<C> {
    fingerprinter: Arc<Fingerprinter>,
    /// All of them, with what bounds them: their weight, their age, how much they are used.
    entries: Cache<TokenFingerprint, Arc<MapEntry<C>>>,
    /// Some of them, found without any of that.
    table: Arc<RecentTable<C>>,
}

/// A verdict that was found.
pub(super) struct CacheHit<'m, C> {
    token_cache: &'m TokenCache<C>,
    found: Place<C>,
}

/// Where it was found.
enum Place<C> {
    RecentTable(Guard<Option<Arc<CacheEntry<C>>>>),
    Map(Arc<MapEntry<C>>),
}

/// A token that is looked for in a memo; what it takes is made when it is needed.
pub(super) struct Search<'m, 't, C> {
    token_cache: &'m TokenCache<C>,
    token: &'t [u8],
    slot_tag: SlotTag,
    fingerprint: OnceCell<Option<TokenFingerprint>>,
}

/// A verdict in the map.
///
/// Once the map and whoever found it there have let go of it, it is released from the table, too; so that it cannot stay
/// there however the two meet. A listener of the map's would tell of it as well, but have it take a lock for each key.
pub(super) struct MapEntry<C> {
    entry: Arc<CacheEntry<C>>,
    table: Arc<RecentTable<C>>,
}

impl<C: Send + Sync + 'static> TokenCache<C> {
    /// Remembers as many verdicts as fit; `None` if that is none.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let fingerprinter = Arc::new(Fingerprinter::new()?);
        let share = bytes.checked_div(defaults::TOKEN_CACHE_TABLE_SHARE)?;
        let table = Arc::new(RecentTable::within(share.min(defaults::TOKEN_CACHE_MAX_TABLE_BYTES)));
        let entries = Cache::builder()
            .max_capacity(u64::try_from(bytes.saturating_sub(table.footprint())).ok()?)
            .weigher(|_, map_entry: &Arc<MapEntry<C>>| map_entry.entry.weight())
            .expire_after(EntryExpiry);
        (bytes > 0).then(|| Self { fingerprinter, entries: entries.build(), table })
    }

    /// Starts to look for a token.
    pub(super) fn search<'m, 't>(&'m self, token: &'t [u8]) -> Search<'m, 't, C> {
        Search { token_cache: self, token, slot_tag: self.table.slot_tag(token), fingerprint: OnceCell::new() }
    }
}

/// What is found counts only after [`CacheEntry::is_current`] and [`CacheEntry::is_proven_by`].
impl<'m, C: Send + Sync + 'static> Search<'m, '_, C> {
    /// Finds the verdict if it was used lately.
    pub(super) fn find_recent(&self) -> Option<CacheHit<'m, C>> {
        let TokenCache { entries, table, .. } = self.token_cache;
        let found = table.find(self.slot_tag, || self.fingerprint())?;
        if is_noted() && self.fingerprint().is_some_and(|fingerprint| entries.get(&fingerprint).is_none()) {
            // The map lets go of what is over, but only when it comes to it.
            found.iter().for_each(|entry| table.remove(entry.slot_tag(), entry.fingerprint()));
        }
        Some(CacheHit { token_cache: self.token_cache, found: Place::RecentTable(found) })
    }

    /// Finds the verdict in the map.
    pub(super) fn map_entry(&self) -> Option<CacheHit<'m, C>> {
        let map_entry = self.token_cache.entries.get(&self.fingerprint()?)?;
        self.token_cache.table.insert(Arc::clone(&map_entry.entry));
        Some(CacheHit { token_cache: self.token_cache, found: Place::Map(map_entry) })
    }

    /// Remembers that the token was good, unless the result would expire at once.
    pub(super) fn insert(&self, claims: Claims<C>, proof: VerifiedBy, life: EntryLifetime) {
        if life.lifetime().is_zero() {
            return;
        }
        let Some(fingerprint) = self.fingerprint() else { return };
        let entry = Arc::new(CacheEntry::new(self.slot_tag, fingerprint, claims, proof, life));
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
            Place::RecentTable(entry) => entry.as_deref(),
            Place::Map(map_entry) => Some(&map_entry.entry),
        }
    }

    /// Lets go of a verdict that counts no more, and of any other of its token.
    pub(super) fn evict(&self) {
        let Some(entry) = self.entry() else { return };
        if let Some(map_entry) = self.token_cache.entries.remove(&entry.fingerprint()) {
            map_entry.entry.mark_invalid();
        }
        // Now, and not when the map frees it.
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
        f.debug_struct("Memo").field("entries", &self.entries.entry_count()).finish_non_exhaustive()
    }
}

/// Says whether the map is to note this use: one of some dozens, counted by thread.
fn is_noted() -> bool {
    thread_local!(static USES: Cell<u32> = const { Cell::new(0) });
    USES.with(|uses| {
        uses.set(uses.get().wrapping_add(1));
        uses.get().is_multiple_of(defaults::TOKEN_CACHE_RECORDED_USE)
    })
}

/// Frees what no request asks for any more.
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

    /// One of any number of tokens, in a memo.
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
            let (claims, proof, life) = valid_for(seconds);
            self.with(|search| search.insert(claims, proof, life));
        }

        fn find_recent(self) -> Option<CacheHit<'m, NoCustomClaims>> {
            self.with(|search| search.find_recent())
        }

        fn map_entry(self) -> Option<CacheHit<'m, NoCustomClaims>> {
            self.with(|search| search.map_entry())
        }

        /// As a request does.
        fn find(self) -> Option<CacheHit<'m, NoCustomClaims>> {
            let found = self.find_recent().or_else(|| self.map_entry());
            assert!(
                found.iter().all(|found| found.entry().is_none_or(|entry| entry.fingerprint() == self.fingerprint()))
            );
            found
        }

        fn evict(self) {
            self.find().iter().for_each(CacheHit::evict);
        }

        /// Puts it into the table, past the map.
        fn insert_into_table(self) {
            let entry = self.with(|search| entry(search.slot_tag, self.fingerprint(), 60));
            self.token_cache.table.insert(Arc::new(entry));
        }

        /// Without telling the map.
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
    fn what_is_over_is_not_found_and_what_is_let_go_is_freed_at_the_next_maintenance() {
        let (one, token_cache) = (token_cache(), token_cache());
        let (over, good) = (token(&one, 1), token(&token_cache, 1));
        over.insert(0);
        good.insert(60);
        assert!(over.find().is_none() && good.find().is_some());
        good.evict();
        token_cache.entries.run_pending_tasks();
        assert_eq!((token_cache.entries.entry_count(), token_cache.entries.weighted_size()), (0, 0));
    }

    #[test]
    fn inserts_no_result_whose_life_is_over() {
        let token_cache = token_cache();
        for (seconds, is_inserted) in [(0, false), (1, true)] {
            let search = token_cache.search(b"a token");
            let (claims, proof, life) = valid_for(seconds);
            search.insert(claims, proof, life);
            // The tag is the first step of an insertion.
            assert_eq!(search.fingerprint.get().is_some(), is_inserted, "{seconds} s");
        }
    }

    #[test]
    fn what_was_found_once_is_found_without_the_map_until_the_map_lets_it_go() {
        let token_cache = token_cache();
        let (one, other) = (token(&token_cache, 1), token(&token_cache, 2));
        for token in [one, other] {
            token.insert(60);
            assert!(token.find_recent().is_none() && token.map_entry().is_some() && token.find_recent().is_some());
        }
        one.evict();
        assert!(one.find().is_none() && !one.is_recent());
        assert!(other.find().is_some());
    }

    /// The map frees what has left it some time later, when no thread can be looking at it any more.
    fn in_the_end(token_cache: &TokenCache<NoCustomClaims>, what: &str, holds: impl Fn() -> bool) {
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
    fn what_left_the_map_on_the_way_does_not_stay() {
        let token_cache = token_cache();
        let token = token(&token_cache, 1);
        for leaves in [false, true] {
            token.insert(60);
            let map_entry = token_cache.entries.get(&token.fingerprint()).expect("it was just remembered");
            if leaves {
                token.evict();
                in_the_end(&token_cache, "only this thread has it", || Arc::strong_count(&map_entry) == 1);
            }
            token_cache.table.insert(Arc::clone(&map_entry.entry));
            assert!(token.is_recent());
            drop(map_entry);
            assert_eq!(token.is_recent(), !leaves);
        }
    }

    #[test]
    fn what_the_map_does_not_have_is_let_go_of_by_whoever_finds_it() {
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
    fn the_map_is_told_of_one_use_in_so_many() {
        let token_cache = token_cache();
        let token = token(&token_cache, 1);
        token.insert(60);
        assert!(token.find().is_some());
        token_cache.entries.invalidate_all();
        // Found until the map does its housekeeping, which the uses that it notes make it do.
        let uses = (0..1_000_000).take_while(|_| token.find().is_some()).count();
        assert!((1..1_000_000).contains(&uses), "{uses}");
        // That was a use that it notes; the next one is as many uses away.
        token.insert_into_table();
        let uses = (0..1_000_000).take_while(|_| token.find_recent().is_some()).count();
        assert_eq!(u32::try_from(uses), Ok(defaults::TOKEN_CACHE_RECORDED_USE));
    }

    #[test]
    fn each_token_has_a_mark_of_its_own() {
        let token_cache = token_cache();
        let slot_tag = |number| token(&token_cache, number).with(|search| search.slot_tag);
        assert_eq!(slot_tag(1), slot_tag(1));
        assert_ne!(slot_tag(1), slot_tag(2));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn what_counts_no_more_is_not_said_to_have_made_room() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let evicted = || recorder.handle().render().matches(r#"outcome="evicted"} 1"#).count();
        metrics::with_local_recorder(&recorder, || {
            for (is_forgotten, expected) in [(true, 0), (false, 1)] {
                let token_cache = token_cache();
                let token = token(&token_cache, 1);
                token.insert(60);
                // Whoever has it last tells of its end, which is to be this thread.
                let entry = token_cache.entries.get(&token.fingerprint()).map(|map_entry| Arc::clone(&map_entry.entry));
                let entry = entry.expect("it was just remembered");
                if is_forgotten {
                    token.evict();
                } else {
                    token_cache.entries.invalidate(&token.fingerprint());
                }
                in_the_end(&token_cache, "only this thread has it", || Arc::strong_count(&entry) == 1);
                drop(entry);
                assert_eq!(evicted(), expected);
            }
        });
    }

    #[test]
    fn the_weight_is_bounded() {
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
            in_the_end(&token_cache, "what has left the map leaves the table", || {
                token.is_in_map() || !token.is_recent()
            });
        }
    }

    #[test]
    fn what_threads_find_and_forget_at_once_leaves_nothing_behind() {
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
            in_the_end(&token_cache, "what has left the map leaves the table", || !token.is_recent());
        }
    }

    #[test]
    fn nothing_fits_into_no_memory() {
        assert!(TokenCache::<NoCustomClaims>::new(0).is_none());
    }

    #[test]
    fn the_greatest_bound_takes_no_memory_ahead() {
        let token_cache = TokenCache::<NoCustomClaims>::new(usize::MAX).expect("entropy");
        assert_eq!(token_cache.table.footprint(), defaults::TOKEN_CACHE_MAX_TABLE_BYTES);
        token(&token_cache, 1).insert(60);
        assert!(token(&token_cache, 1).find().is_some() && token(&token_cache, 2).find().is_none());
    }
}
