//! `RedisReplayStore`: records used DPoP proofs in Redis, so that each is accepted once in all processes of an API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Cmd, Value};

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::defaults;
use crate::dpop::{MemoryReplayStore, ProofUse, Recording, ReplayError, ReplayStore, VerifiedProof};
use crate::stores::timeout_breaker::TimeoutBreaker;
use crate::stores::{Redis, RedisError};
use crate::telemetry;
use crate::validator::LogLimit;

/// Records used DPoP proofs in Redis, for [`Dpop::with_replay_store`](crate::Dpop::with_replay_store). All processes of an API accept a
/// proof once in all.
///
/// A proof is recorded by `SET dpop:<API>:<id> 1 NX PX <milliseconds>`, which is atomic. `<id>` is a hash of the `jti` and the key of the
/// client, and the record ends when the proof does. A key takes about 150 bytes in Redis: 100,000 requests per second with proofs of 90 s
/// take 1.3 GB. Proofs that this process has accepted are also known in its memory, so that their replays do not reach Redis.
///
/// If Redis does not respond in time, responds with an error, or is full, the request is rejected with 503, unless there is a
/// [fallback](Self::with_local_fallback). If Redis has not responded within
/// [`Dpop::with_replay_timeout`](crate::Dpop::with_replay_timeout), one request per second waits for it, and the others do not, until it
/// responds in time again.
///
/// ```
/// use tower_bearer::Dpop;
/// use tower_bearer::stores::{Redis, RedisReplayStore};
///
/// # fn main() -> Result<(), tower_bearer::stores::RedisConfigError> {
/// let redis = Redis::new("rediss://orders:secret@redis.internal:6379")?;
/// let dpop = Dpop::new("https://api.northwind.com").with_replay_store(RedisReplayStore::new(&redis, "orders"));
/// # let _ = dpop;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// - Redis replicates asynchronously. If a replica replaces the primary, the proofs of the last moment may be accepted a second time.
/// - A record lasts 5 s longer than its proof, because the clocks of processes differ. If the clock of a process is set back further, the
///   process rejects the proofs of that time with 503 if it has used some itself, like [`MemoryReplayStore`], and does not know those
///   that only another process has used.
#[derive(Clone)]
pub struct RedisReplayStore {
    redis: Redis,
    prefix: Arc<str>,
    /// Proofs that were used in this process.
    known: Arc<MemoryReplayStore>,
    /// Set while Redis does not respond within the time for which requests wait.
    breaker: TimeoutBreaker,
    fallback: Fallback,
    /// Limits the log of the fallback.
    fallback_log: Arc<LogLimit>,
}

/// What happens to a request while Redis does not say whether its proof was used.
#[derive(Clone, Copy, Debug)]
enum Fallback {
    Reject,
    Local,
}

impl RedisReplayStore {
    /// Creates a store. Processes of one API pass the same name; different APIs in one Redis pass different names, because one request may
    /// pass several of them with the same proof.
    #[must_use]
    pub fn new(redis: &Redis, api: impl fmt::Display) -> Self {
        let span = defaults::PROOF_LIFETIME.saturating_add(defaults::PROOF_LEEWAY.saturating_mul(2));
        Self {
            redis: redis.clone(),
            prefix: format!("dpop:{api}:").into(),
            known: Arc::new(MemoryReplayStore::new(defaults::REPLAY_BYTES, span)),
            breaker: TimeoutBreaker::default(),
            fallback: Fallback::Reject,
            fallback_log: Arc::default(),
        }
    }

    /// While Redis does not respond, each process records proofs in its own memory. Default: requests are rejected with 503.
    ///
    /// This is logged as a warning, at most once a minute.
    ///
    /// # Security
    ///
    /// While Redis does not respond, each process accepts a proof once.
    #[must_use]
    pub fn with_local_fallback(mut self) -> Self {
        self.fallback = Fallback::Local;
        self
    }

    async fn record_for_all(&self, proof: &VerifiedProof, now: Timestamp) -> Result<ProofUse, ReplayError> {
        match self.redis.query::<Value>(self.command(proof, now)).await {
            // If another request with this proof was accepted by the fallback, this one is not the first. If the clock was set back, the
            // record of an earlier use may have ended in Redis and in the memory. If the memory is full, Redis has decided.
            Ok(Value::Okay) => match self.known.record_now(proof, now) {
                Err(ReplayError::Full { .. }) => Ok(ProofUse::First),
                known => known,
            },
            // Not recorded here: the request that is the first may still be on its way, in this process.
            Ok(Value::Nil) => Ok(ProofUse::Replayed),
            Ok(_) => self.fall_back(ReplayError::Unavailable, proof, now),
            Err(error) => self.fall_back(replay_error(&error), proof, now),
        }
    }

    fn command(&self, proof: &VerifiedProof, now: Timestamp) -> Cmd {
        let id = URL_SAFE_NO_PAD.encode(proof.id().as_bytes());
        let lasts = proof.accepted_until().saturating_since(now).saturating_add(defaults::REPLAY_CLOCK_SKEW);
        let mut command = redis::cmd("SET");
        command.arg(format!("{}{id}", self.prefix)).arg(1).arg("NX").arg("PX").arg(milliseconds(lasts));
        command
    }

    fn fall_back(&self, error: ReplayError, proof: &VerifiedProof, now: Timestamp) -> Result<ProofUse, ReplayError> {
        match self.fallback {
            Fallback::Reject => Err(error),
            Fallback::Local => {
                if self.fallback_log.admits(SystemClock.monotonic()) {
                    telemetry::stores::replay_detection_is_local(error.name());
                }
                self.known.record_now(proof, now)
            }
        }
    }
}

impl ReplayStore for RedisReplayStore {
    fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording {
        if self.known.contains(proof) {
            return Recording::Now(Ok(ProofUse::Replayed));
        }
        let Some(waiting) = self.breaker.admit(SystemClock.monotonic()) else {
            return Recording::Now(self.fall_back(ReplayError::TimedOut, proof, now));
        };
        let (store, proof) = (self.clone(), *proof);
        Recording::Later(Box::pin(async move {
            let result = store.record_for_all(&proof, now).await;
            waiting.record_response();
            result
        }))
    }

    /// A client that closes its connection does not cause this call.
    fn timed_out(&self, proof: &VerifiedProof, now: Timestamp) -> Result<ProofUse, ReplayError> {
        self.breaker.record_timeout(SystemClock.monotonic());
        self.fall_back(ReplayError::TimedOut, proof, now)
    }
}

/// Shows no credentials.
impl fmt::Debug for RedisReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayStore")
            .field("redis", &self.redis)
            .field("prefix", &self.prefix)
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

fn replay_error(error: &RedisError) -> ReplayError {
    match error {
        RedisError::TimedOut => ReplayError::TimedOut,
        // With `noeviction`, Redis has room again when a record has ended.
        RedisError::Refused { code } if &**code == "OOM" => {
            ReplayError::Full { retry_after: defaults::RETRY_AFTER_MIN }
        }
        _ => ReplayError::Unavailable,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
