//! Models of the periods of the store of used proofs: a period is added, searched and dropped while proofs are recorded.
//!
//! Each table gets one hash only, because the key of the hashes is random, and a model must run the same way each time. `ends_at` of a
//! period is an atomic of the standard library, so the models do not interleave its accesses.

#[allow(dead_code, unreachable_pub, reason = "the models call only a part of it")]
#[path = "../../src/dpop/replay/memory.rs"]
pub(crate) mod memory;

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use self::memory::MemoryReplayStore;
use crate::check::check;
use crate::clock::Timestamp;
use crate::dpop::replay::{ProofUse, ReplayError};
use crate::dpop::verify::VerifiedProof;

type Recorded = Result<ProofUse, ReplayError>;

const FIRST: Recorded = Ok(ProofUse::First);

const REPLAYED: Recorded = Ok(ProofUse::Replayed);

pub(crate) fn check_all() {
    check("one of two threads adds a period", one_of_two_threads_adds_a_period);
    check("two threads add two periods", two_threads_add_two_periods);
    check("a period is dropped while its proof is recorded", a_period_is_dropped_while_its_proof_is_recorded);
    check(
        "a used proof is known while another period is dropped",
        a_used_proof_is_known_while_another_period_is_dropped,
    );
    check("a dropped period is not added again", a_dropped_period_is_not_added_again);
    check("a thread with a late clock drops no valid proof", a_thread_with_a_late_clock_drops_no_valid_proof);
}

/// Periods of 30 s, and tables of one page with one place.
fn store() -> Arc<MemoryReplayStore> {
    Arc::new(MemoryReplayStore::new(6 * 32, Duration::from_secs(120)))
}

/// A proof that is accepted for 90 s.
fn proof(id: u8, created_at: i64) -> VerifiedProof {
    VerifiedProof { id, created_at, accepted_until: created_at.saturating_add(90) }
}

fn record(store: &MemoryReplayStore, proof: VerifiedProof, now: i64) -> Recorded {
    store.record_now(&proof, Timestamp::from_secs(now))
}

fn record_in_threads(store: &Arc<MemoryReplayStore>, calls: [(VerifiedProof, i64); 2]) -> [Recorded; 2] {
    let [(first, first_now), (second, second_now)] = calls;
    let thread = thread::spawn({
        let store = Arc::clone(store);
        move || record(&store, first, first_now)
    });
    let second = record(store, second, second_now);
    [thread.join().expect("no panic"), second]
}

fn one_of_two_threads_adds_a_period() {
    let store = store();
    let recorded = record_in_threads(&store, [(proof(1, 0), 0), (proof(1, 0), 0)]);
    assert!(recorded == [FIRST, REPLAYED] || recorded == [REPLAYED, FIRST], "{recorded:?}");
    assert_eq!((store.entries(), record(&store, proof(1, 0), 90)), (1, REPLAYED));
}

fn two_threads_add_two_periods() {
    let store = store();
    assert_eq!(record_in_threads(&store, [(proof(1, 0), 30), (proof(2, 30), 30)]), [FIRST; 2]);
    assert_eq!(store.entries(), 2);
    assert_eq!([record(&store, proof(1, 0), 90), record(&store, proof(2, 30), 120)], [REPLAYED; 2]);
}

/// The period of the first proof ends at 120. At 121, another thread drops it, and may do so before the proof is recorded. If the proof is
/// recorded at all, the second check of the time rejects the request.
fn a_period_is_dropped_while_its_proof_is_recorded() {
    let store = store();
    assert_eq!(record(&store, proof(1, 0), 0), FIRST);
    let [replay, other] = record_in_threads(&store, [(proof(1, 0), 90), (proof(2, 120), 121)]);
    assert!(replay == REPLAYED || replay == Err(ReplayError::Unavailable), "{replay:?}");
    assert_eq!((other, store.entries()), (FIRST, 1));
    assert_eq!(record(&store, proof(2, 120), 121), REPLAYED);
}

/// At 121, the period that starts at 0 has ended, and the one that starts at 60 has not.
fn a_used_proof_is_known_while_another_period_is_dropped() {
    let store = store();
    assert_eq!([record(&store, proof(1, 0), 0), record(&store, proof(2, 60), 60)], [FIRST; 2]);
    assert_eq!(record_in_threads(&store, [(proof(2, 60), 121), (proof(3, 120), 121)]), [REPLAYED, FIRST]);
    // With the same identifier and another time, it is known as well.
    assert_eq!(record(&store, proof(2, 90), 121), REPLAYED);
}

/// Both threads have the time at which the period of the proof was valid, as if they had stalled.
fn a_dropped_period_is_not_added_again() {
    let store = store();
    assert_eq!(record(&store, proof(1, 0), 0), FIRST);
    assert_eq!(record(&store, proof(2, 120), 121), FIRST);
    let recorded = record_in_threads(&store, [(proof(1, 0), 90), (proof(1, 0), 90)]);
    assert_eq!(recorded, [Err(ReplayError::Unavailable); 2]);
}

/// One thread adds the period of a proof, and the other one, for which it is later, drops what has ended. A proof that is valid for both
/// is recorded once.
fn a_thread_with_a_late_clock_drops_no_valid_proof() {
    let store = store();
    let recorded = record_in_threads(&store, [(proof(1, 0), 0), (proof(2, 90), 90)]);
    assert_eq!(recorded, [FIRST; 2]);
    assert_eq!(record(&store, proof(1, 0), 90), REPLAYED);
}
