//! The keys of one trusted issuer, whether they were given or are fetched.

use crate::keys::{Found, KeyTable};
use crate::rejection::Rejection;
use crate::token::Algorithm;

/// Where a validator takes an issuer's keys from.
pub(super) enum Keyring {
    /// Given at start: secrets or static public keys.
    Fixed(KeyTable),
}

impl Keyring {
    /// Uses the keys that are at hand; `None` if there are none yet.
    pub(super) fn at_hand<T>(&self, look: impl FnOnce(&KeyTable) -> T) -> Option<T> {
        match self {
            Self::Fixed(keys) => Some(look(keys)),
        }
    }

    /// Says whether waiting can bring a key that is not known.
    pub(super) fn may_learn(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
        }
    }

    /// Waits until there are keys, and once more if the token's key is not among them.
    pub(super) async fn for_token(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<KeyTable, Rejection> {
        match self {
            Self::Fixed(keys) => {
                let _ = matches!(keys.find(kid, algorithm), Found::Unknown);
                Ok(keys.clone())
            }
        }
    }
}
