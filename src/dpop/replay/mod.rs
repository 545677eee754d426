//! Detection of replayed proofs (RFC 9449 §11.1).

mod memory;
mod sync;
mod table;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use self::memory::MemoryReplayStore;
use crate::clock::Timestamp;
use crate::dpop::verify::VerifiedProof;

/// Records which proofs were used.
///
/// [`MemoryReplayStore`] is the default. Replicas that share nothing each accept a proof once; a store in a database that all of them
/// use, such as `SET <id> 1 NX PX <milliseconds>` in Redis, accepts it once in all.
///
/// # Security
///
/// - Of all claims of one proof until its [`accepted_until`](VerifiedProof::accepted_until), exactly one is [`Claim::First`], also if
///   they are made at the same time. A read followed by a write is not enough.
/// - A store never evicts a proof before that time. If it has no room, it returns [`ReplayError::Full`].
/// - A store that is used by several APIs keeps them apart, for example by a prefix.
pub trait ReplayStore: fmt::Debug + Send + Sync + 'static {
    /// Claims a proof for a request at the time `now`.
    fn claim<'s>(&'s self, proof: &VerifiedProof, now: Timestamp) -> Claiming<'s>;

    /// Returns the number of recorded proofs, for a metric, if the store is in the memory of this process. Default: `None`.
    fn entries(&self) -> Option<usize> {
        None
    }
}

/// The result of [`ReplayStore::claim`], at once or later. A store in memory needs no future.
pub enum Claiming<'s> {
    /// The result.
    Now(Result<Claim, ReplayError>),
    /// A future of the result. A future that is dropped before its first poll claims nothing.
    Later(Pin<Box<dyn Future<Output = Result<Claim, ReplayError>> + Send + 's>>),
}

/// Whether a proof was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claim {
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
    /// The store does not respond, or responds with an error.
    Unavailable,
}

impl fmt::Debug for Claiming<'_> {
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
        })
    }
}

impl std::error::Error for ReplayError {}
