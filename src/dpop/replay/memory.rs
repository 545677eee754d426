//! `MemoryReplayStore`: records proofs in the memory of this process.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
use crate::dpop::replay::table::{Budget, Insertion, Table};
use crate::dpop::replay::{Claim, Claiming, ReplayError, ReplayStore};
use crate::dpop::verify::VerifiedProof;

/// Records proofs in the memory of this process, as 64-bit hashes under a random key: at most 24 bytes for each of many proofs.
///
/// A proof belongs to the period in which it was created, not to that of the request. A period is dropped as a whole when none of
/// its proofs can be accepted any more. No lock is taken, nothing is evicted, and a used proof is never forgotten before it expires.
///
/// If the bound of a period is reached, further proofs of that period are rejected with [`ReplayError::Full`]. If the clock is set
/// back, the proofs of a dropped period are rejected with [`ReplayError::Unavailable`], because a used one would not be recognized.
pub struct MemoryReplayStore {
    periods: ArcSwap<Periods>,
    hasher: RandomState,
    /// The length of a period.
    length: Duration,
    max_bytes: usize,
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
    /// Creates a store of at most `max_bytes` bytes. `span` is the longest time between the creation of two proofs that are accepted
    /// at the same time: the lifetime and twice the leeway of proofs.
    #[must_use]
    pub fn new(max_bytes: usize, span: Duration) -> Self {
        let length = span.checked_div(SPAN_PERIODS).unwrap_or(span).max(Duration::from_secs(1));
        let budget = Arc::new(Budget::new(max_bytes));
        Self { periods: ArcSwap::default(), hasher: RandomState::new(), length, max_bytes, budget }
    }

    /// Returns the number of proofs that are recorded.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.periods.load().current.iter().map(|period| period.used.entries()).fold(0, usize::saturating_add)
    }

    /// Returns the bytes that the recorded proofs take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.periods.load().current.iter().map(|period| period.used.bytes()).fold(0, usize::saturating_add)
    }

    fn claim_now(&self, proof: &VerifiedProof, now: Timestamp) -> Result<Claim, ReplayError> {
        let number = self.number(proof.created_at());
        let hash = self.hasher.hash_one(proof.id());
        let full = || ReplayError::Full { retry_after: self.start(number.saturating_add(1)).saturating_since(now) };
        let periods = self.periods.load();
        // A client that uses a `jti` again in a later proof is rejected as well (RFC 9449 §4.2).
        let is_used_elsewhere = |period: &Arc<Period>| period.number != number && period.used.contains(hash);
        if periods.current.iter().any(|period| period.is_current(now) && is_used_elsewhere(period)) {
            return Ok(Claim::Replayed);
        }
        let period = match periods.find(number) {
            Some(period) => period,
            None => self.add(number, now)?.ok_or_else(full)?,
        };
        let lasts = proof.accepted_until().saturating_since(proof.created_at());
        let ends_at = self.start(number.saturating_add(1)).saturating_add(lasts);
        period.ends_at.fetch_max(ends_at.as_secs(), Ordering::Relaxed);
        match period.used.insert(hash) {
            Insertion::Inserted => Ok(Claim::First),
            Insertion::Present => Ok(Claim::Replayed),
            Insertion::Full => Err(full()),
        }
    }

    /// Adds a period and drops those that have ended. Returns `None` if there are too many that have not.
    fn add(&self, number: i64, now: Timestamp) -> Result<Option<Arc<Period>>, ReplayError> {
        self.periods.rcu(|periods| {
            let mut periods = Periods::clone(periods);
            periods.drop_ended(now);
            let is_known = periods.dropped.contains(&number) || periods.find(number).is_some();
            if !is_known && periods.current.len() < MAX_PERIODS {
                let used = Table::new(FIRST_PLACES, ROW_PLACES, self.max_bytes / PERIODS, Arc::clone(&self.budget));
                // The first claim sets the end. Until then the period is not dropped.
                periods.current.push(Arc::new(Period { number, ends_at: AtomicI64::new(now.as_secs()), used }));
            }
            periods
        });
        let periods = self.periods.load();
        if periods.dropped.contains(&number) { Err(ReplayError::Unavailable) } else { Ok(periods.find(number)) }
    }

    fn number(&self, created_at: Timestamp) -> i64 {
        created_at.as_secs().div_euclid(self.length_seconds())
    }

    fn start(&self, number: i64) -> Timestamp {
        Timestamp::from_secs(number.saturating_mul(self.length_seconds()))
    }

    fn length_seconds(&self) -> i64 {
        i64::try_from(self.length.as_secs()).unwrap_or(i64::MAX).max(1)
    }
}

impl Periods {
    fn find(&self, number: i64) -> Option<Arc<Period>> {
        self.current.iter().find(|period| period.number == number).map(Arc::clone)
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
    fn is_current(&self, now: Timestamp) -> bool {
        now.as_secs() <= self.ends_at.load(Ordering::Relaxed)
    }
}

impl ReplayStore for MemoryReplayStore {
    fn claim<'s>(&'s self, proof: &VerifiedProof, now: Timestamp) -> Claiming<'s> {
        Claiming::Now(self.claim_now(proof, now))
    }

    fn entries(&self) -> Option<usize> {
        Some(Self::entries(self))
    }
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

/// Most periods at one time, and most dropped periods that are known: two hours of periods of 30 s. There are more than [`PERIODS`]
/// only if the clock was set back.
const MAX_PERIODS: usize = 256;

/// 4 KiB.
const FIRST_PLACES: usize = 512;

/// Eight cache lines. With fewer places, a row overflows and the table grows long before it is filled.
const ROW_PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpop::proof_id::ProofId;
    use crate::keys::Thumbprint;

    const SPAN: Duration = Duration::from_secs(120);

    fn proof(jti: &str, created_at: i64) -> VerifiedProof {
        let id = ProofId::new(&Thumbprint::from([7; 32]), jti);
        let created_at = Timestamp::from_secs(created_at);
        VerifiedProof::for_tests(id, created_at, created_at.saturating_add(Duration::from_secs(90)))
    }

    fn claim(store: &MemoryReplayStore, jti: &str, created_at: i64, now: i64) -> Result<Claim, ReplayError> {
        match store.claim(&proof(jti, created_at), Timestamp::from_secs(now)) {
            Claiming::Now(result) => result,
            Claiming::Later(_) => panic!("a store in memory responds at once"),
        }
    }

    #[test]
    fn accepts_a_proof_once() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert_eq!(claim(&store, "a", 1_000, 1_000), Ok(Claim::First));
        assert_eq!(claim(&store, "a", 1_000, 1_000), Ok(Claim::Replayed));
        assert_eq!(claim(&store, "b", 1_000, 1_000), Ok(Claim::First));
        let other_key = ProofId::new(&Thumbprint::from([8; 32]), "a");
        let other = VerifiedProof::for_tests(other_key, Timestamp::from_secs(1_000), Timestamp::from_secs(1_090));
        assert!(matches!(store.claim(&other, Timestamp::from_secs(1_000)), Claiming::Now(Ok(Claim::First))));
        assert_eq!(store.entries(), 3);
    }

    #[test]
    fn knows_a_proof_until_it_expires_and_frees_its_memory_then() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        for created_at in [990, 1_000, 1_019, 1_020, 1_049] {
            let jti = created_at.to_string();
            assert_eq!(claim(&store, &jti, created_at, created_at), Ok(Claim::First), "{created_at}");
            for now in [created_at, created_at + 45, created_at + 89, created_at + 90] {
                // Other proofs begin new periods, which drops those that have ended.
                let _other = claim(&store, &format!("other {created_at} {now}"), now, now);
                assert_eq!(claim(&store, &jti, created_at, now), Ok(Claim::Replayed), "{created_at} {now}");
            }
        }
        let _other = claim(&store, "c", 10_000, 10_000);
        assert_eq!((store.entries(), store.bytes()), (1, 4_096));
    }

    #[test]
    fn rejects_the_same_jti_in_a_later_proof_while_the_first_one_is_known() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert_eq!(claim(&store, "a", 1_000, 1_000), Ok(Claim::First));
        for created_at in [1_001, 1_019, 1_020, 1_060, 1_109, 971] {
            assert_eq!(claim(&store, "a", created_at, created_at), Ok(Claim::Replayed), "{created_at}");
        }
        // The period of the first proof ends at 1020, so its proofs are known until 1110.
        assert_eq!(claim(&store, "a", 1_111, 1_111), Ok(Claim::First));
    }

    #[test]
    fn knows_a_proof_from_the_future_and_after_the_clock_was_set_back() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert_eq!(claim(&store, "a", 1_030, 1_000), Ok(Claim::First));
        assert_eq!(claim(&store, "a", 1_030, 1_120), Ok(Claim::Replayed));
        for now in (0..3_600).step_by(30) {
            assert_eq!(claim(&store, &now.to_string(), now - 3_600, now - 3_600), Ok(Claim::First), "{now}");
            assert_eq!(claim(&store, "a", 1_030, now.min(1_120)), Ok(Claim::Replayed), "{now}");
        }
    }

    #[test]
    fn refuses_the_proofs_of_a_dropped_period_after_the_clock_was_set_back() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        assert_eq!(claim(&store, "a", 1_000, 1_000), Ok(Claim::First));
        // Drops the period of the first proof, which ended at 1110.
        assert_eq!(claim(&store, "b", 1_200, 1_200), Ok(Claim::First));
        assert_eq!(claim(&store, "a", 1_000, 1_050), Err(ReplayError::Unavailable));
        assert_eq!(claim(&store, "new", 1_000, 1_050), Err(ReplayError::Unavailable));
        assert_eq!(claim(&store, "new", 1_050, 1_050), Ok(Claim::First));
        assert_eq!(claim(&store, "b", 1_200, 1_150), Ok(Claim::Replayed));
    }

    #[test]
    fn knows_a_proof_whose_lifetime_is_longer_than_that_of_the_first_one() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        let at = Timestamp::from_secs;
        let of = |jti: &str, until| {
            VerifiedProof::for_tests(ProofId::new(&Thumbprint::from([7; 32]), jti), at(1_000), at(until))
        };
        let claim_of = |proof: &VerifiedProof, now| match store.claim(proof, at(now)) {
            Claiming::Now(result) => result,
            Claiming::Later(_) => panic!("a store in memory responds at once"),
        };
        let (short, long) = (of("short", 1_001), of("long", 1_330));
        assert_eq!((claim_of(&short, 1_000), claim_of(&long, 1_000)), (Ok(Claim::First), Ok(Claim::First)));
        assert_eq!(claim(&store, "other", 1_300, 1_300), Ok(Claim::First));
        assert_eq!(claim_of(&long, 1_330), Ok(Claim::Replayed));
    }

    #[test]
    fn refuses_proofs_of_a_full_period_only() {
        let store = MemoryReplayStore::new(6 * 4_096, SPAN);
        let first_error = (0..).map(|number| claim(&store, &number.to_string(), 1_000, 1_000)).find(Result::is_err);
        // The period lasts from 990 to 1020.
        assert_eq!(first_error, Some(Err(ReplayError::Full { retry_after: Duration::from_secs(20) })));
        assert!(store.entries() * 2 > FIRST_PLACES, "{}", store.entries());
        assert_eq!(claim(&store, "0", 1_000, 1_000), Ok(Claim::Replayed));
        assert_eq!(claim(&store, "new", 1_020, 1_000), Ok(Claim::First));
        assert!(store.bytes() <= 6 * 4_096);
    }

    #[test]
    fn never_takes_more_than_the_bound() {
        let store = MemoryReplayStore::new(20 * 4_096, SPAN);
        for number in 0..20_000_i64 {
            let time = 1_000 + number % 300;
            let _claimed = claim(&store, &number.to_string(), time, 1_000);
            assert!(store.bytes() <= 20 * 4_096, "{number}");
        }
    }

    #[test]
    fn one_of_several_threads_is_the_first() {
        let store = MemoryReplayStore::new(1 << 20, SPAN);
        let won: usize = std::thread::scope(|scope| {
            let run = || {
                let results =
                    (0..5_000_i64).map(|number| claim(&store, &number.to_string(), 1_000 + number / 50, 1_050));
                results.filter(|result| *result == Ok(Claim::First)).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(won, 5_000);
    }
}
