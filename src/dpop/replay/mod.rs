//! Detection of replayed proofs (RFC 9449 §11.1).

mod memory;
mod sync;
mod table;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::memory::MemoryReplayStore;
use crate::clock::Timestamp;
use crate::dpop::verify::VerifiedProof;

/// Records which proofs were used.
///
/// [`MemoryReplayStore`] is the default. Replicas that share nothing each accept a proof once; a store in a database that all of them
/// use accepts it once in all. With the feature `redis`, `stores::RedisReplayStore` is one in Redis.
///
/// # Security
///
/// - Of all calls for one proof until its [`accepted_until`](VerifiedProof::accepted_until), exactly one returns [`ProofUse::First`],
///   also if they are made at the same time. A read followed by a write is not enough.
/// - A store never evicts a proof before that time. If it has no room, it returns [`ReplayError::Full`].
/// - A store that is used by several APIs keeps them apart, for example by a prefix, if one request passes more than one of them. The
///   second one would reject the proof.
pub trait ReplayStore: fmt::Debug + Send + Sync + 'static {
    /// Records a proof for a request at the time `now`. Each proof is recorded by one call.
    fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording;

    /// Decides about a proof if the future of [`record`](Self::record) did not respond in time and was dropped. Default:
    /// [`ReplayError::TimedOut`], so that the request is rejected with 503. If the future is dropped because the client closes its
    /// connection, this is not called: a store that counts timeouts counts those of the store only.
    ///
    /// # Errors
    ///
    /// Returns [`ReplayError`] if the store cannot say whether the proof was used before.
    fn timed_out(&self, proof: &VerifiedProof, now: Timestamp) -> Result<ProofUse, ReplayError> {
        let _ = (proof, now);
        Err(ReplayError::TimedOut)
    }

    /// Returns the number of recorded proofs, for a metric, if the store is in the memory of this process. Default: `None`.
    fn entries(&self) -> Option<usize> {
        None
    }
}

/// Several validators can share one store.
impl<S: ReplayStore + ?Sized> ReplayStore for Arc<S> {
    fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording {
        (**self).record(proof, now)
    }

    fn timed_out(&self, proof: &VerifiedProof, now: Timestamp) -> Result<ProofUse, ReplayError> {
        (**self).timed_out(proof, now)
    }

    fn entries(&self) -> Option<usize> {
        (**self).entries()
    }
}

/// The result of [`ReplayStore::record`], at once or later. A store in memory needs no future.
pub enum Recording {
    /// The result.
    Now(Result<ProofUse, ReplayError>),
    /// A future of the result. A future that is dropped before its first poll records nothing. If it takes longer than
    /// [`Dpop::with_replay_timeout`](super::Dpop::with_replay_timeout), it is dropped, and [`ReplayStore::timed_out`] decides.
    Later(RecordingFuture),
}

/// The future of [`Recording::Later`].
pub type RecordingFuture = Pin<Box<dyn Future<Output = Result<ProofUse, ReplayError>> + Send>>;

/// Whether a proof was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofUse {
    /// The proof was not used before. It is now recorded.
    First,
    /// The proof was used before.
    Replayed,
}

/// Why a store cannot say whether a proof was used. The request is rejected with 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayError {
    /// The store has no room for another proof.
    Full {
        /// The time until it has room again.
        retry_after: Duration,
    },
    /// The store responds with an error.
    Unavailable,
    /// The store did not respond in time.
    TimedOut,
}

impl ReplayError {
    /// Returns the fixed snake_case name for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
        }
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(result) => f.debug_tuple("Now").field(result).finish(),
            Self::Later(_) => f.write_str("Later(..)"),
        }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full { .. } => "the replay store is full",
            Self::Unavailable => "the replay store is not available",
            Self::TimedOut => "the replay store did not respond in time",
        })
    }
}

impl std::error::Error for ReplayError {}
