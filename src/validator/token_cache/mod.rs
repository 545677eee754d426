//! `TokenCache`: the claims of tokens that were verified recently, so that the signature is not checked again.
//!
//! # A request
//!
//! 1. **Find** ([`TokenCache::find`]). A cheap hash of four words of the token selects a set of eight slots of the [`Table`], and a
//!    16-bit tag. Only if a slot has this tag, a keyed hash of the whole token, its *fingerprint* of 128 bits, is computed and
//!    compared.
//! 2. **Revalidate** ([`lookup`]). What may have changed since the entry was stored is checked again: its dates and age by the
//!    validator's clock, the trust in the issuer, the key that proved the token or the age of the server's answer, and the host of
//!    the request. The result is an [`EntryState`](lookup::EntryState).
//! 3. **Check the request** (`accept_cached` in `accept.rs`). If the entry is usable, the checks whose results are never cached
//!    follow: possession, the organization, the list of revocations, and the application's checks. They accept or reject.
//! 4. Otherwise the token is validated as without a cache, so a rejection because of the token alone is the same with and without
//!    one. If it is accepted because of a public key or of a server's answer, it is [inserted](TokenCache::insert).
//!
//! # The end of an entry
//!
//! An entry is [removed](TokenCache::remove) when a lookup finds it invalid, when the server calls its token inactive, when the API
//! rejects a newer answer, and by `Validator::evict_token`. It is replaced by a newer entry of its token, swept after it has expired
//! (by insertions, and after fetches of keys), or evicted for another one. An entry whose answer has expired remains: it shows that
//! the token was active, and may be used while the server is down.
//!
//! # Locks
//!
//! Lookups take no lock. An insertion that finds another thread writing stores nothing; removals and sweeps wait for it. No entry is
//! dropped under a lock.
//!
//! # Files
//!
//! [`table`] is the map, and knows nothing about tokens. [`entry`] has the entries and their weight, [`proof`] what proved them, [`lookup`]
//! the revalidation, and this file the rest. `introspect.rs` and `introspected_jwt.rs` store entries with answers, `accept.rs` those without.

pub(super) mod entry;
pub(super) mod lookup;
pub(super) mod proof;
mod sync;
mod table;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::clock::{Clock, Moment};
use crate::defaults;
use crate::introspection::EvictToken;
use crate::jwks::AfterFetch;
use crate::keys::{Fingerprinter, TokenFingerprint};
use crate::telemetry;
use crate::validator::token_cache::entry::CacheEntry;
use crate::validator::token_cache::table::{FoundEntry, Table};
use crate::validator::{Core, IssuerState};

/// The entries of tokens that one validator has verified recently, limited by bytes.
///
/// # Security
///
/// The cache contains fingerprints and claims, never a token (see [`Fingerprinter`]). Only accepted tokens are stored: those that a
/// public key proves, since an HMAC check is faster than a lookup, and those that a server calls active. An opaque token is stored
/// before possession and the host are checked, which each request repeats. Entries are evicted by use; this only frees memory.
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
        if bytes == 0 {
            return None;
        }
        let fingerprinter = Fingerprinter::new()?;
        let set_bytes = Table::<TokenFingerprint, CacheEntry<C>>::SET_BYTES;
        let table_bytes = (bytes / defaults::TOKEN_CACHE_TABLE_SHARE).min(defaults::TOKEN_CACHE_MAX_TABLE_BYTES);
        let sets = table_bytes.checked_div(set_bytes)?.max(1);
        // The other bytes are for the entries.
        let max_weight = bytes.saturating_sub(sets.saturating_mul(set_bytes));
        let table = Table::new(sets, u64::try_from(max_weight).ok()?);
        Some(Self { fingerprinter, table, clock, swept_at: AtomicU64::new(0) })
    }

    /// Finds the entry of a token. The caller must revalidate it.
    fn find(&self, token: &[u8]) -> Option<FoundEntry<TokenFingerprint, CacheEntry<C>>> {
        self.table.find(self.fingerprinter.slot_hash(token), || self.fingerprinter.fingerprint(token))
    }

    /// Stores the entry of a token, unless it has expired meanwhile or another thread writes. Returns the entries that are not in
    /// the cache afterwards. A caller that holds a lock drops them after it, since custom claims may call the application.
    pub(super) fn insert(&self, token: &[u8], entry: CacheEntry<C>) -> impl Sized + use<C> {
        let fingerprint = self.fingerprinter.fingerprint(token)?;
        let hash = self.fingerprinter.slot_hash(token);
        let removed = self.table.insert(hash, fingerprint, entry, self.is_expired());
        telemetry::token_cache_evicted(removed.iter().filter(|entry| entry.key != fingerprint).count());
        Some(removed)
    }

    /// Removes the entry of a token because it is not valid. If another thread has stored a newer entry of the token since, that one is
    /// removed, and the token is verified once more.
    pub(super) fn remove(&self, token: &[u8]) {
        if let Some(fingerprint) = self.fingerprinter.fingerprint(token) {
            drop(self.table.remove(self.fingerprinter.slot_hash(token), &fingerprint));
        }
    }

    /// Returns whether a fetch starts a sweep now, and records its start. The sources of many issuers may fetch at any time.
    fn start_sweep(&self) -> bool {
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

/// Removes expired entries after fetches of keys, since no entry is stored while no request arrives.
impl<C: Send + Sync> AfterFetch for TokenCache<C> {
    fn run_portion(&self, portion: usize) -> ControlFlow<()> {
        if portion == 0 && !self.start_sweep() {
            return ControlFlow::Break(());
        }
        let removed = self.table.sweep(SLOTS_PER_PORTION, self.is_expired());
        telemetry::token_cache_evicted(removed.len());
        let is_last = portion.saturating_add(1).saturating_mul(SLOTS_PER_PORTION) >= self.table.slots();
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Removes the entries of tokens that an introspection server calls inactive, that the API rejects now, or that the application evicts.
impl<C: Send + Sync> EvictToken for TokenCache<C> {
    fn evict(&self, token: &[u8]) {
        self.remove(token);
    }
}

impl Core {
    /// Creates a token cache for claims of the type `C`; `None` if no issuer has public keys or introspection, and
    /// none is looked up.
    pub(super) fn token_cache<C: Send + Sync + 'static>(&self) -> Option<Arc<TokenCache<C>>> {
        let is_public = |issuer: &IssuerState| issuer.algorithms.iter().any(|algorithm| !algorithm.is_symmetric());
        let is_needed = self.issuers.iter().any(|issuer| is_public(issuer) || issuer.introspection.is_some())
            || !self.tenants.is_empty();
        let token_cache = is_needed.then(|| TokenCache::new(self.token_cache_bytes, Arc::clone(&self.clock)))??;
        let token_cache = Arc::new(token_cache);
        let weak = Arc::downgrade(&token_cache);
        for client in self.issuers.iter().filter_map(|issuer| issuer.introspection.as_ref()) {
            client.add_token_cache(Weak::<TokenCache<C>>::clone(&weak));
        }
        for source in self.issuers.iter().filter_map(|issuer| issuer.keys.source()) {
            source.after_fetch(Weak::<TokenCache<C>>::clone(&weak));
        }
        for tenants in &self.tenants {
            tenants.after_fetch(Weak::<TokenCache<C>>::clone(&weak));
        }
        Some(token_cache)
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
    use crate::config::{Api, Issuer};
    use crate::keys::{KeySet, Secret};
    use crate::rejection::Rejection;
    use crate::testing::{FakeClock, TestIssuer};
    use crate::token::{Algorithm, TokenError};
    use crate::validator::Validator;
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
        (0..10).for_each(|number| drop(token_cache.insert(text(number).as_bytes(), entry_at(10, 60))));
        (0..32).for_each(|_| drop(token_cache.insert(b"validated before the others", entry_at(5, 60))));
        assert_eq!(count(&token_cache), 10);
    }

    #[test]
    fn insertions_remove_expired_entries() {
        let (token_cache, clock) = token_cache();
        (0..20).for_each(|number| drop(token_cache.insert(text(number).as_bytes(), entry(60))));
        for (seconds, expected) in [(59, 20), (1, 0)] {
            clock.advance(Duration::from_secs(seconds));
            // 32 insertions sweep eight slots each, which are all slots.
            (0..32).for_each(|_| drop(token_cache.insert(b"another token", entry_at(59, 60))));
            assert_eq!(count(&token_cache), expected);
        }
    }

    #[test]
    fn work_after_a_fetch_removes_expired_entries_in_portions() {
        let clock = FakeClock::from_wall(START);
        let token_cache = TokenCache::new(1024 * 1024, Arc::new(clock.clone())).expect("entropy");
        (0..100).for_each(|number| drop(token_cache.insert(text(number).as_bytes(), entry(60))));
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

    /// A cached token would otherwise be accepted: its entry is valid, as the second validation shows.
    #[tokio::test]
    async fn rejects_a_token_that_is_longer_than_the_limit_before_it_looks_it_up() {
        let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
        let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
        let api = Api::new("api", issuer.with_algorithms([Algorithm::ES256]));
        let mut validator = Validator::new(api).expect("a valid configuration");
        let token = server.token().audience("api").sign();
        assert!(validator.validate(&token).await.is_ok());
        let is_cached = |validator: &Validator| {
            let token_cache = validator.token_cache.as_ref().expect("a cache");
            token_cache.find(token.as_bytes()).is_some()
        };
        assert!(is_cached(&validator));
        let limit = token.len() - 1;
        for (max_token_bytes, expected) in
            [(limit, Err(Rejection::Token(TokenError::TooLong { length: token.len(), limit }))), (token.len(), Ok(()))]
        {
            Arc::get_mut(&mut validator.core).expect("no other validator").max_token_bytes = max_token_bytes;
            assert_eq!(validator.validate(&token).await.map(drop), expected);
            assert!(is_cached(&validator));
        }
    }

    #[test]
    fn validator_has_a_cache_if_an_issuer_has_public_keys() {
        let server = TestIssuer::new().with_algorithms([Algorithm::HS256, Algorithm::ES256]);
        let secret = || Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()));
        let keys = Issuer::static_keys("https://public.test/", KeySet::from_jwks(server.jwks()));
        let both = Api::new("api", secret()).with_issuer(keys.with_algorithms([Algorithm::ES256]));
        for (api, expected) in [(Api::new("api", secret()), false), (both, true)] {
            let validator = Validator::new(api).expect("a valid configuration");
            assert_eq!(validator.token_cache.is_some(), expected);
            assert_eq!(validator.with_custom_claims::<()>().token_cache.is_some(), expected);
        }
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
            (0..1_000).for_each(|number| drop(token_cache.insert(text(number).as_bytes(), entry(60))));
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
