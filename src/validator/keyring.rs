//! The keys of one trusted issuer, whether they were given or are fetched.

use std::time::Duration;

use crate::jwks::{KeySource, KeysUnavailable, Miss, SecretSource, View};
use crate::keys::{Found, KeyTable};
use crate::rejection::Rejection;
use crate::token::Algorithm;

/// Where a validator takes an issuer's keys from.
pub(super) enum Keyring {
    /// Given at start: secrets or static public keys.
    Fixed(KeyTable),
    /// Secrets that the application replaces.
    Swapped(SecretSource),
    /// Fetched, and renewed in the background.
    Remote(KeySource),
}

impl Keyring {
    /// Uses the keys that are at hand, and the epoch they are of; `None` if there are none that may be used.
    pub(super) fn at_hand<T>(&self, look: impl FnOnce(&KeyTable, u64) -> T) -> Option<T> {
        match self {
            Self::Fixed(keys) => Some(look(keys, FIXED_EPOCH)),
            Self::Swapped(secrets) => Some(look(&secrets.table(), FIXED_EPOCH)),
            Self::Remote(source) => match source.snapshot() {
                View::Usable(snapshot) => Some(look(&snapshot.table, snapshot.epoch)),
                View::Unavailable => None,
            },
        }
    }

    /// Says whether waiting can bring a key that is not known.
    pub(super) fn may_learn(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::Swapped(_) => false,
            Self::Remote(_) => true,
        }
    }

    /// Waits until there are keys, and once more if the token's key is not among them.
    pub(super) async fn for_token(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<(KeyTable, u64), Rejection> {
        let source = match self {
            Self::Fixed(keys) => return Ok((keys.clone(), FIXED_EPOCH)),
            Self::Swapped(secrets) => return Ok((KeyTable::clone(&secrets.table()), FIXED_EPOCH)),
            Self::Remote(source) => source,
        };
        let (table, epoch, since) = match source.snapshot() {
            View::Usable(snapshot) => (snapshot.table.clone(), snapshot.epoch, None),
            View::Unavailable => {
                let since = source.now();
                let snapshot = source.ready_snapshot().await.map_err(unavailable)?;
                (snapshot.table.clone(), snapshot.epoch, Some(since))
            }
        };
        let knows = |table: &KeyTable| !matches!(table.find(kid, algorithm), Found::Unknown);
        if knows(&table) {
            return Ok((table, epoch));
        }
        match source.miss(epoch, since, knows).await.map_err(unavailable)? {
            Miss::Newer(snapshot) => Ok((snapshot.table.clone(), snapshot.epoch)),
            Miss::Unchanged => Ok((table, epoch)),
        }
    }

    /// How long ago the issuer confirmed its keys; `None` for keys that were given.
    pub(super) fn age(&self) -> Option<Duration> {
        self.source().and_then(KeySource::age)
    }

    /// Says whether tokens can be verified at this moment.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::Swapped(_) => true,
            Self::Remote(source) => source.status().is_ready(),
        }
    }

    /// The source, if keys are fetched.
    pub(super) fn source(&self) -> Option<&KeySource> {
        match self {
            Self::Fixed(_) | Self::Swapped(_) => None,
            Self::Remote(source) => Some(source),
        }
    }
}

fn unavailable(error: KeysUnavailable) -> Rejection {
    let KeysUnavailable { retry_after, since, cause } = error;
    Rejection::KeysUnavailable { retry_after, since, cause }
}

/// Given keys never change.
const FIXED_EPOCH: u64 = 0;
