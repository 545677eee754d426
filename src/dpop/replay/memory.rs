//! `MemoryReplayStore`: records proofs in the memory of this process.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
use crate::dpop::nonce;
use crate::dpop::replay::table::{Budget, Insertion, Table};
use crate::dpop::replay::{ProofUse, Recording, ReplayError, ReplayStore};
use crate::dpop::verify::VerifiedProof;

/// Records proofs in the memory of this process, as 64-bit hashes under a random key: at most 24 bytes for each of many proofs.
///
/// A proof belongs to the period in which it was created, not to that of the request. A period is dropped as a whole when none of
/// its proofs can be accepted any more. No lock is taken, nothing is evicted, and a used proof is never forgotten before it expires.
///
/// If the bound of a period is reached, further proofs of that period are rejected with [`ReplayError::Full`]. If the clock is set
/// back, the proofs of a dropped period are rejected with [`ReplayError::Unavailable`], because a used one would not be recognized.
///
/// # Security
///
/// - The 256 periods that were dropped last are known: those of about two hours with the default lifetime and leeway. If the clock is set
///   back further, used proofs may be accepted again.
/// - Validators that share a store must have the same lifetime and leeway of proofs, and all or none of them require nonces. Otherwise a
///   period may be dropped while one of them still accepts its proofs, and these are rejected with [`ReplayError::Unavailable`].
pub struct MemoryReplayStore {
    periods: ArcSwap<Periods>,
    hasher: RandomState,
    /// The length of a period in seconds.
    length: i64,
    /// The longest time from the start of a period to the creation of one of its proofs, in seconds.
    width: i64,
    /// The most bytes of one period.
    period_bytes: usize,
    /// The bytes of all periods together.
    budget: Arc<Budget>,
}

#[derive(Clone, Default)]
struct Periods {
    current: Vec<Arc<Period>>,
    /// The numbers of the periods that were dropped last. None of them is used again, even if the clock is set back.
    dropped: Vec<i64>,
}

/// The proofs that were created in one period.
struct Period {
    number: i64,
    /// The last second in which a proof of the period can be accepted. It grows if a proof has a longer lifetime.
    ends_at: AtomicI64,
    used: Table,
}

impl MemoryReplayStore {
    /// Creates a store for proofs without nonces, which take at most `max_bytes` bytes. From 1 MiB, the directory of their pages takes up to
    /// 1 % more, and each thread that divides a page takes up to 48 KiB more meanwhile. `span` is the longest time between the creation of two
    /// proofs that are accepted at the same time: the lifetime and twice the leeway of proofs.
    #[must_use]
    pub fn new(max_bytes: usize, span: Duration) -> Self {
        let length = span.checked_div(SPAN_PERIODS).unwrap_or(span).as_secs();
        let length = i64::try_from(length).unwrap_or(i64::MAX).max(1);
        Self::with_periods(max_bytes / PERIODS, max_bytes, length, length)
    }

    /// Creates a store for an API that [requires nonces](crate::dpop::Dpop::with_nonces), with the same limit as [`new`](Self::new). Proofs
    /// with the same nonce are in one period.
    #[must_use]
    pub fn for_nonces(max_bytes: usize) -> Self {
        Self::with_periods(max_bytes / NONCE_PERIODS, max_bytes, nonce::PERIOD_SECONDS, 0)
    }

    fn with_periods(period_bytes: usize, max_bytes: usize, length: i64, width: i64) -> Self {
        let budget = Arc::new(Budget::new(max_bytes));
        Self { periods: ArcSwap::default(), hasher: RandomState::new(), length, width, period_bytes, budget }
    }

    /// Returns the number of proofs that are recorded.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.periods.load().current.iter().map(|period| period.used.entries()).fold(0, usize::saturating_add)
    }

    /// Returns the bytes that proofs take. Memory is allocated in pages of at most 16 KiB when proofs need it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.periods.load().current.iter().map(|period| period.used.bytes()).fold(0, usize::saturating_add)
    }

    /// Returns whether a proof is recorded, for a store that calls another one, too.
    #[must_use]
    pub fn contains(&self, proof: &VerifiedProof) -> bool {
        let hash = self.hasher.hash_one(proof.id());
        self.periods.load().current.iter().any(|period| period.used.contains(hash))
    }

    pub(crate) fn record_now(&self, proof: &VerifiedProof, now: Timestamp) -> Result<ProofUse, ReplayError> {
        let number = proof.created_at().as_secs().div_euclid(self.length);
        let hash = self.hasher.hash_one(proof.id());
        let lasts = proof.accepted_until().saturating_since(proof.created_at());
        let last_created_at = Timestamp::from_secs(self.start(number).saturating_add(self.width));
        let ends_at = last_created_at.saturating_add(lasts).as_secs();
        let insertion = match self.insert(number, hash, ends_at, now) {
            Some(insertion) => insertion,
            None => self.add(number, ends_at, now)?.map_or(Insertion::Full, |period| period.insert(hash, ends_at)),
        };
        match insertion {
            Insertion::Inserted => Ok(ProofUse::First),
            Insertion::Present => Ok(ProofUse::Replayed),
            Insertion::Full => {
                let next = Timestamp::from_secs(self.start(number.saturating_add(1)));
                Err(ReplayError::Full { retry_after: next.saturating_since(now) })
            }
        }
    }

    /// Inserts a proof into its period; `None` if there is no such period. The snapshot of the periods ends here, so that the memory of a
    /// period is free as soon as the period is dropped.
    fn insert(&self, number: i64, hash: u64, ends_at: i64, now: Timestamp) -> Option<Insertion> {
        let periods = self.periods.load();
        // A client that uses a `jti` again in a later proof is rejected as well (RFC 9449 §4.2).
        let is_used_elsewhere = |period: &Arc<Period>| period.number != number && period.used.contains(hash);
        if periods.current.iter().any(|period| period.is_current(now) && is_used_elsewhere(period)) {
            return Some(Insertion::Present);
        }
        periods.find(number).map(|period| period.insert(hash, ends_at))
    }

    /// Adds a period and drops those that have ended, about one in half a minute. This frees their pages one by one: about 500 pages for a
    /// period of 8 MiB. Returns `None` if too many periods have not ended.
    fn add(&self, number: i64, ends_at: i64, now: Timestamp) -> Result<Option<Arc<Period>>, ReplayError> {
        self.periods.rcu(|periods| {
            let mut periods = Periods::clone(periods);
            periods.drop_ended(now);
            let is_known = periods.dropped.contains(&number) || periods.find(number).is_some();
            if !is_known && periods.current.len() < MAX_PERIODS {
                let used = new_table(self.period_bytes, Arc::clone(&self.budget));
                periods.current.push(Arc::new(Period { number, ends_at: AtomicI64::new(ends_at), used }));
            }
            periods
        });
        let periods = self.periods.load();
        match periods.dropped.contains(&number) {
            true => Err(ReplayError::Unavailable),
            false => Ok(periods.find(number).map(Arc::clone)),
        }
    }

    /// Returns the first second of a period.
    fn start(&self, number: i64) -> i64 {
        number.saturating_mul(self.length)
    }
}

impl Periods {
    fn find(&self, number: i64) -> Option<&Arc<Period>> {
        self.current.iter().find(|period| period.number == number)
    }

    fn drop_ended(&mut self, now: Timestamp) {
        let (current, ended): (Vec<_>, Vec<_>) =
            mem::take(&mut self.current).into_iter().partition(|period| period.is_current(now));
        self.current = current;
        self.dropped.extend(ended.iter().map(|period| period.number));
        let excess = self.dropped.len().saturating_sub(MAX_PERIODS);
        self.dropped.drain(..excess);
    }
}

impl Period {
    /// Inserts a proof that may have a longer lifetime than the others.
    fn insert(&self, hash: u64, ends_at: i64) -> Insertion {
        self.ends_at.fetch_max(ends_at, Ordering::Relaxed);
        self.used.insert(hash)
    }

    fn is_current(&self, now: Timestamp) -> bool {
        now.as_secs() <= self.ends_at.load(Ordering::Relaxed)
    }
}

impl ReplayStore for MemoryReplayStore {
    fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording {
        Recording::Now(self.record_now(proof, now))
    }

    fn entries(&self) -> Option<usize> {
        Some(Self::entries(self))
    }
}

/// Creates the table of a period. The pages have the size with which a power of two of them fills the period: if only some pages could be
/// divided, the others would be full while these are half empty.
fn new_table(period_bytes: usize, budget: Arc<Budget>) -> Table {
    let pages = period_bytes.div_ceil(MAX_PAGE_BYTES).next_power_of_two().max(MIN_PAGES);
    let places = period_bytes.checked_div(pages.saturating_mul(size_of::<u64>())).unwrap_or(0);
    Table::new(pages, places.max(1), ROW_PLACES, budget)
}

impl fmt::Debug for MemoryReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReplayStore").field("entries", &self.entries()).finish_non_exhaustive()
    }
}

/// A span covers this many periods.
const SPAN_PERIODS: u32 = 4;

/// The number of periods in use: those of the span, the one that begins within it, and the one whose last proofs expire.
const PERIODS: usize = 6;

/// The number of periods in use with nonces: those of the previous, the current and the next nonce.
const NONCE_PERIODS: usize = 3;

/// Most periods at one time, and most dropped periods that are known: two hours of periods of 30 s. There are more than [`PERIODS`]
/// only if the clock was set back.
const MAX_PERIODS: usize = 256;

/// The size of a page is at most this, and more than half of it if a period has more than [`MIN_PAGES`]. One proof in about 1,500 divides
/// a page, which takes about 20 times as long as another insertion.
const MAX_PAGE_BYTES: usize = 16_384;

/// A power of two. With few pages, a period that cannot divide its last page wastes much of its memory.
const MIN_PAGES: usize = 4;

/// Larger rows are filled better before a page is divided, and are searched for longer.
const ROW_PLACES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpop::proof_id::ProofId;
    use crate::keys::Thumbprint;

    const SPAN: Duration = Duration::from_secs(120);

    fn proof(jti: &str, created_at: i64) -> VerifiedProof {
        proof_until(jti, created_at, created_at.saturating_add(90))
    }

    fn proof_until(jti: &str, created_at: i64, accepted_until: i64) -> VerifiedProof {
        let id = ProofId::new(&Thumbprint::from([7; 32]), jti);
        VerifiedProof::for_tests(id, Timestamp::from_secs(created_at), Timestamp::from_secs(accepted_until))
    }

    fn record(store: &MemoryReplayStore, jti: &str, created_at: i64, now: i64) -> Result<ProofUse, ReplayError> {
        record_of(store, &proof(jti, created_at), now)
    }

    fn record_of(store: &MemoryReplayStore, proof: &VerifiedProof, now: i64) -> Result<ProofUse, ReplayError> {
        match store.record(proof, Timestamp::from_secs(now)) {
            Recording::Now(result) => result,
            Recording::Later(_) => panic!("a store in memory responds at once"),
        }
    }

    #[test]
    fn accepts_a_proof_once() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert!(!store.contains(&proof("a", 1_000)));
        assert_eq!(record(&store, "a", 1_000, 1_000), Ok(ProofUse::First));
        assert!(store.contains(&proof("a", 1_000)) && !store.contains(&proof("b", 1_000)));
        assert_eq!(record(&store, "a", 1_000, 1_000), Ok(ProofUse::Replayed));
        assert_eq!(record(&store, "b", 1_000, 1_000), Ok(ProofUse::First));
        let other_key = ProofId::new(&Thumbprint::from([8; 32]), "a");
        let other = VerifiedProof::for_tests(other_key, Timestamp::from_secs(1_000), Timestamp::from_secs(1_090));
        assert!(matches!(store.record(&other, Timestamp::from_secs(1_000)), Recording::Now(Ok(ProofUse::First))));
        assert_eq!(store.entries(), 3);
    }

    #[test]
    fn knows_a_proof_until_it_expires_and_frees_its_memory_then() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        for created_at in [990, 1_000, 1_019, 1_020, 1_049] {
            let jti = created_at.to_string();
            assert_eq!(record(&store, &jti, created_at, created_at), Ok(ProofUse::First), "{created_at}");
            for now in [created_at, created_at + 45, created_at + 89, created_at + 90] {
                // Other proofs begin new periods, which drops those that have ended.
                let _other = record(&store, &format!("other {created_at} {now}"), now, now);
                assert_eq!(record(&store, &jti, created_at, now), Ok(ProofUse::Replayed), "{created_at} {now}");
            }
        }
        let _other = record(&store, "c", 10_000, 10_000);
        assert_eq!((store.entries(), store.bytes()), (1, 10_920));
    }

    #[test]
    fn rejects_the_same_jti_in_a_later_proof_while_the_first_one_is_known() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert_eq!(record(&store, "a", 1_000, 1_000), Ok(ProofUse::First));
        for created_at in [1_001, 1_019, 1_020, 1_060, 1_109, 971] {
            assert_eq!(record(&store, "a", created_at, created_at), Ok(ProofUse::Replayed), "{created_at}");
        }
        // The period of the first proof ends at 1020, so its proofs are known until 1110.
        assert_eq!(record(&store, "a", 1_111, 1_111), Ok(ProofUse::First));
    }

    #[test]
    fn knows_a_proof_from_the_future_and_after_the_clock_was_set_back() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert_eq!(record(&store, "a", 1_030, 1_000), Ok(ProofUse::First));
        assert_eq!(record(&store, "a", 1_030, 1_120), Ok(ProofUse::Replayed));
        for now in (0..3_600).step_by(30) {
            assert_eq!(record(&store, &now.to_string(), now - 3_600, now - 3_600), Ok(ProofUse::First), "{now}");
            assert_eq!(record(&store, "a", 1_030, now.min(1_120)), Ok(ProofUse::Replayed), "{now}");
        }
    }

    #[test]
    fn refuses_the_proofs_of_a_dropped_period_after_the_clock_was_set_back() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert_eq!(record(&store, "a", 1_000, 1_000), Ok(ProofUse::First));
        // Drops the period of the first proof, which ended at 1110.
        assert_eq!(record(&store, "b", 1_200, 1_200), Ok(ProofUse::First));
        assert_eq!(record(&store, "a", 1_000, 1_050), Err(ReplayError::Unavailable));
        assert_eq!(record(&store, "new", 1_000, 1_050), Err(ReplayError::Unavailable));
        assert_eq!(record(&store, "new", 1_050, 1_050), Ok(ProofUse::First));
        assert_eq!(record(&store, "b", 1_200, 1_150), Ok(ProofUse::Replayed));
    }

    #[test]
    fn knows_a_proof_whose_lifetime_is_longer_than_that_of_the_first_one() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        let (short, long) = (proof_until("short", 1_000, 1_001), proof_until("long", 1_000, 1_330));
        assert_eq!(record_of(&store, &short, 1_000), Ok(ProofUse::First));
        assert_eq!(record_of(&store, &long, 1_000), Ok(ProofUse::First));
        assert_eq!(record(&store, "other", 1_300, 1_300), Ok(ProofUse::First));
        assert_eq!(record_of(&store, &long, 1_330), Ok(ProofUse::Replayed));
    }

    #[test]
    fn refuses_proofs_of_a_full_period_only() {
        let store = MemoryReplayStore::new(6 * 4_096, SPAN);
        let first_error = (0..).map(|number| record(&store, &number.to_string(), 1_000, 1_000)).find(Result::is_err);
        // The period lasts from 990 to 1020.
        assert_eq!(first_error, Some(Err(ReplayError::Full { retry_after: Duration::from_secs(20) })));
        assert!(store.entries() * 2 > 512, "{}", store.entries());
        assert_eq!(record(&store, "0", 1_000, 1_000), Ok(ProofUse::Replayed));
        assert_eq!(record(&store, "new", 1_020, 1_000), Ok(ProofUse::First));
        assert!(store.bytes() <= 6 * 4_096);
    }

    /// Returns how many proofs a store accepts that are created in the same second.
    fn capacity(store: &MemoryReplayStore, created_at: i64) -> usize {
        (0..).take_while(|number| record(store, &number.to_string(), created_at, 1_000).is_ok()).count()
    }

    #[test]
    fn has_room_for_the_same_rate_with_and_without_nonces() {
        let bytes = 6 * 4_096 * 32;
        let without = capacity(&MemoryReplayStore::new(bytes, SPAN), 1_000);
        // A period of 60 s instead of one of 30 s.
        let with = capacity(&MemoryReplayStore::for_nonces(bytes), 960);
        assert!(with > 2 * without * 9 / 10, "{with} with nonces, {without} without");
    }

    #[test]
    fn with_nonces_three_periods_are_full_at_the_same_time() {
        let store = MemoryReplayStore::for_nonces(3 * 4_096);
        let mut counts = Vec::new();
        for minute in 0..20 {
            // The nonces of this minute, from its start to the end of the next one.
            let (created_at, jti) = (960 + 60 * minute, format!("{minute} first"));
            let proof = |jti: &str| proof_until(jti, created_at, created_at + 120);
            for now in [created_at, created_at + 59, created_at + 119] {
                let expected = if now == created_at { ProofUse::First } else { ProofUse::Replayed };
                assert_eq!(record_of(&store, &proof(&jti), now), Ok(expected), "{minute} {now}");
            }
            let filled =
                (0..).take_while(|number| record_of(&store, &proof(&format!("{minute} {number}")), created_at).is_ok());
            counts.push(filled.count());
            assert!(store.bytes() <= 3 * 4_096);
        }
        assert!(counts.iter().all(|count| count * 2 > 512), "{counts:?}");
    }

    /// A thread may stall between the creation of a period and its first proof.
    #[test]
    fn a_new_period_is_not_dropped_before_its_first_proof() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        let added = store.add(33, 1_110, Timestamp::from_secs(1_000)).expect("not dropped").expect("room");
        assert_eq!(record(&store, "other", 1_060, 1_060), Ok(ProofUse::First));
        assert_eq!(added.insert(7, 1_110), Insertion::Inserted);
        assert_eq!(record(&store, "a", 1_000, 1_060), Ok(ProofUse::First));
        assert_eq!(store.entries(), 3);
    }

    #[test]
    fn validators_can_share_a_store() {
        let store = Arc::new(MemoryReplayStore::new(1 << 20, SPAN));
        let other = Arc::clone(&store);
        assert_eq!(record(&store, "a", 1_000, 1_000), Ok(ProofUse::First));
        let Recording::Now(used) = ReplayStore::record(&other, &proof("a", 1_000), Timestamp::from_secs(1_000)) else {
            panic!("a store in memory responds at once")
        };
        assert_eq!((used, ReplayStore::entries(&other)), (Ok(ProofUse::Replayed), Some(1)));
    }

    #[test]
    fn a_period_of_any_size_is_filled() {
        let hasher = RandomState::new();
        for period_bytes in [2_000, 10_922, 17_066, 28_672, 200_000, 840_000, 1_400_000] {
            let table = new_table(period_bytes, Arc::new(Budget::new(period_bytes)));
            let inserted = (0_u64..).take_while(|number| {
                let (entries, bytes) = (table.entries(), table.bytes());
                assert!(
                    entries < 700 || bytes <= entries * 24,
                    "{bytes} bytes for {entries} entries of {period_bytes}"
                );
                table.insert(hasher.hash_one(number)) == Insertion::Inserted
            });
            let entries = inserted.count();
            assert!(entries * 11 >= period_bytes, "{entries} entries in {period_bytes} bytes");
            assert!(table.bytes() <= period_bytes);
        }
    }

    #[test]
    fn never_takes_more_than_the_bound() {
        let store = MemoryReplayStore::new(20 * 4_096, SPAN);
        for number in 0..20_000_i64 {
            let time = 1_000 + number % 300;
            let _recorded = record(&store, &number.to_string(), time, 1_000);
            assert!(store.bytes() <= 20 * 4_096, "{number}");
        }
    }

    #[test]
    fn one_of_several_threads_is_the_first() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        let won: usize = std::thread::scope(|scope| {
            let run = || {
                let results =
                    (0..5_000_i64).map(|number| record(&store, &number.to_string(), 1_000 + number / 50, 1_050));
                results.filter(|result| *result == Ok(ProofUse::First)).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(won, 5_000);
    }
}
