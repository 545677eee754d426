//! The keys of one trusted issuer, whether they were given or are fetched.

use std::sync::Arc;
use std::time::Duration;

use crate::jwks::{KeySource, KeysUnavailable, SecretSource, Snapshot, UnknownKid, View};
use crate::keys::{Found, KeyTable};
use crate::rejection::Rejection;
use crate::token::Algorithm;

/// Where a validator takes an issuer's keys from.
pub(super) enum KeyRing {
    /// Given at start: secrets or static public keys.
    Static(KeyTable),
    /// Secrets that the application replaces.
    SecretSource(SecretSource),
    /// Fetched, and renewed in the background.
    Remote(KeySource),
}

impl KeyRing {
    /// Uses the keys that are at hand, and the epoch they are of; `None` if there are none that may be used.
    pub(super) fn with_current<T>(&self, look: impl FnOnce(&KeyTable, u64) -> T) -> Option<T> {
        match self {
            Self::Static(keys) => Some(look(keys, FIXED_EPOCH)),
            Self::SecretSource(secrets) => Some(look(&secrets.table(), FIXED_EPOCH)),
            Self::Remote(source) => match source.snapshot() {
                View::Usable(snapshot) => Some(look(&snapshot.table, snapshot.epoch)),
                View::Unavailable => None,
            },
        }
    }

    /// Says whether waiting can bring a key that is not known.
    pub(super) fn may_fetch(&self) -> bool {
        match self {
            Self::Static(_) | Self::SecretSource(_) => false,
            Self::Remote(_) => true,
        }
    }

    /// Waits until there are keys, and once more if the token's key is not among them.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` takes memory for its arguments twice, in each waiting request"
    )]
    pub(super) fn for_token<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Future<Output = Result<(KeyTable, u64), Rejection>> + Send + 'a {
        async move {
            let source = match self {
                Self::Static(keys) => return Ok((keys.clone(), FIXED_EPOCH)),
                Self::SecretSource(secrets) => return Ok((KeyTable::clone(&secrets.table()), FIXED_EPOCH)),
                Self::Remote(source) => source,
            };
            let (snapshot, since) = match usable(source) {
                Some(snapshot) => (snapshot, None),
                None => {
                    let since = source.now();
                    (source.ready_snapshot().await.map_err(unavailable)?, Some(since))
                }
            };
            let knows = |table: &KeyTable| !matches!(table.find(kid, algorithm), Found::Unknown);
            let newest = if knows(&snapshot.table) {
                snapshot
            } else {
                match source.miss(snapshot.epoch, since, knows).await.map_err(unavailable)? {
                    UnknownKid::Newer(newer) => newer,
                    UnknownKid::Unchanged => snapshot,
                }
            };
            Ok((newest.table.clone(), newest.epoch))
        }
    }

    /// How long ago the issuer confirmed its keys; `None` for keys that were given.
    pub(super) fn age(&self) -> Option<Duration> {
        self.source().and_then(KeySource::age)
    }

    /// Says whether tokens can be verified at this moment.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Static(_) | Self::SecretSource(_) => true,
            Self::Remote(source) => source.status().is_ready(),
        }
    }

    /// The source, if keys are fetched.
    pub(super) fn source(&self) -> Option<&KeySource> {
        match self {
            Self::Static(_) | Self::SecretSource(_) => None,
            Self::Remote(source) => Some(source),
        }
    }
}

/// The keys at hand, if they may be used.
fn usable(source: &KeySource) -> Option<Arc<Snapshot>> {
    match source.snapshot() {
        View::Usable(snapshot) => Some(Arc::clone(&snapshot)),
        View::Unavailable => None,
    }
}

fn unavailable(error: KeysUnavailable) -> Rejection {
    let KeysUnavailable { retry_after, since, cause } = error;
    Rejection::KeysUnavailable { retry_after, since, cause }
}

/// Given keys never change.
const FIXED_EPOCH: u64 = 0;
