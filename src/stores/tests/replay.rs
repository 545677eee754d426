//! `RedisReplayStore`, against a server whose responses a test chooses.

use crate::clock::Timestamp;
use crate::dpop::{ProofId, ProofUse, Recording, RecordingFuture, ReplayError, ReplayStore as _, VerifiedProof};
use crate::keys::Thumbprint;
use crate::stores::RedisReplayStore;
use crate::stores::tests::healthy;
use crate::stores::tests::server::{Reply, Server};

fn proof(jti: &str, created_at: i64, accepted_until: i64) -> VerifiedProof {
    let id = ProofId::new(&Thumbprint::from([7; 32]), jti);
    VerifiedProof::for_tests(id, Timestamp::from_secs(created_at), Timestamp::from_secs(accepted_until))
}

/// Starts a server without the record of any proof.
async fn forgetful() -> Server {
    Server::start(|_, command| match command.first().map(String::as_str) {
        Some("SET") => Reply::Send("+OK\r\n"),
        _ => healthy(command),
    })
    .await
}

async fn record(store: &RedisReplayStore, proof: &VerifiedProof, now: i64) -> Result<ProofUse, ReplayError> {
    match store.record(proof, Timestamp::from_secs(now)) {
        Recording::Now(result) => result,
        Recording::Later(recording) => recording.await,
    }
}

#[tokio::test]
async fn rejects_a_proof_whose_records_have_ended_after_the_clock_was_set_back() {
    let server = forgetful().await;
    let store = RedisReplayStore::new(&server.redis(), "orders");
    let used = proof("a", 1_000, 1_090);
    assert_eq!(record(&store, &used, 1_000).await, Ok(ProofUse::First));
    assert_eq!(record(&store, &used, 1_001).await, Ok(ProofUse::Replayed));
    // Another proof drops the period of the first one.
    assert_eq!(record(&store, &proof("b", 1_200, 1_290), 1_200).await, Ok(ProofUse::First));
    assert_eq!(record(&store, &used, 1_080).await, Err(ReplayError::Unavailable));
    assert_eq!(record(&store, &proof("c", 1_080, 1_170), 1_080).await, Ok(ProofUse::First));
}

#[tokio::test]
async fn redis_decides_if_the_memory_for_known_proofs_is_full() {
    let server = forgetful().await;
    let store = RedisReplayStore::new(&server.redis(), "orders");
    // No more periods than these are in the memory.
    for number in 0..256 {
        let created_at = 1_000 + 30 * number;
        let used = proof(&number.to_string(), created_at, created_at + 100_000);
        assert_eq!(record(&store, &used, 1_000).await, Ok(ProofUse::First), "{number}");
    }
    let further = proof("further", 100_000, 200_000);
    assert_eq!(record(&store, &further, 1_000).await, Ok(ProofUse::First));
    assert_eq!(
        record(&store, &further, 1_000).await,
        Ok(ProofUse::First),
        "not in the memory, and Redis has no record"
    );
}

/// Starts to record a proof, and returns the future after its first poll.
async fn pending(store: &RedisReplayStore, jti: &str) -> RecordingFuture {
    let Recording::Later(mut recording) = store.record(&proof(jti, 1_000, 1_090), Timestamp::from_secs(1_000)) else {
        panic!("decided at once: {jti}")
    };
    let is_pending = std::future::poll_fn(|context| recording.as_mut().poll(context).is_pending().into()).await;
    assert!(is_pending, "{jti}");
    recording
}

#[tokio::test]
async fn only_a_timeout_makes_further_requests_fail_at_once_and_a_dropped_request_does_not() {
    let server = Server::start(|_, command| match command.first().map(String::as_str) {
        Some("SET") => Reply::Silence,
        _ => healthy(command),
    })
    .await;
    let store = RedisReplayStore::new(&server.redis(), "orders");
    // Clients close their connections.
    for jti in ["a", "b", "c"] {
        drop(pending(&store, jti).await);
    }
    drop(pending(&store, "d").await);
    let (late, now) = (proof("d", 1_000, 1_090), Timestamp::from_secs(1_000));
    let timed_out = Err(ReplayError::TimedOut);
    assert_eq!(store.timed_out(&late, now), timed_out);
    let recording = store.record(&proof("e", 1_000, 1_090), now);
    assert!(matches!(recording, Recording::Now(result) if result == timed_out), "{recording:?}");
    // A clone shares the state, and the fallback decides without waiting.
    let recording = store.clone().with_local_fallback().record(&proof("f", 1_000, 1_090), now);
    assert!(matches!(recording, Recording::Now(Ok(ProofUse::First))), "{recording:?}");
}
