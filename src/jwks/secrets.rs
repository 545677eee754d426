//! `SecretSource`: shared secrets that can be replaced at run time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::keys::{KeyTable, Secret, SecretError};
use crate::token::Algorithm;

/// The shared secrets of one issuer, which can be replaced without a restart. A rotation adds the new secret beside the old
/// one and removes the old one later.
///
/// Clones share the same secrets: give one to the [`Issuer`](crate::Issuer) and keep the other for rotations. `Debug` does
/// not show the secrets.
///
/// ```
/// use tower_bearer::jwks::SecretSource;
/// use tower_bearer::{Api, Issuer, Secret, Validator};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secrets = SecretSource::new(Secret::from_text("the secret of this year, at least 32 bytes")?);
/// let issuer = Issuer::secret_source("https://id.northwind.com/", &secrets);
/// let validator = Validator::new(Api::new("https://api.northwind.com", issuer))?;
///
/// let next = Secret::from_text("the secret of next year, at least 32 bytes")?;
/// secrets.replace([next])?;
///
/// // All or nothing: an unusable secret changes nothing.
/// assert!(secrets.replace([Secret::from_text("short")?]).is_err());
/// # let _ = validator; Ok(()) }
/// ```
#[derive(Clone)]
pub struct SecretSource {
    shared: Arc<Shared>,
}

struct Shared {
    /// The table that verification reads without a lock.
    table: ArcSwap<KeyTable>,
    state: Mutex<State>,
}

/// The data from which the table is built.
#[derive(Clone)]
struct State {
    secrets: Vec<Secret>,
    /// The algorithms of all issuers that use the source.
    algorithms: Vec<Algorithm>,
}

impl SecretSource {
    /// Returns whether both are handles of the same source.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Creates a source with one secret.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        let state = State { secrets: vec![secret], algorithms: Vec::new() };
        let table = ArcSwap::from_pointee(KeyTable::from_secrets(Vec::new()));
        Self { shared: Arc::new(Shared { table, state: Mutex::new(state) }) }
    }

    /// Replaces all secrets at once. Requests that are being verified finish with the old secrets; every later request uses
    /// the new ones.
    ///
    /// # Errors
    ///
    /// Returns a [`ReplaceSecretError`] if there is no secret, if there are more than are tried for one token, or if an
    /// issuer's algorithm cannot use one of them. The old secrets then stay. An issuer's algorithms apply from the
    /// configuration of its validator on, as long as the source exists.
    pub fn replace(&self, secrets: impl IntoIterator<Item = Secret>) -> Result<(), ReplaceSecretError> {
        let mut state = self.state();
        let next = State { secrets: secrets.into_iter().collect(), algorithms: state.algorithms.clone() };
        self.shared.table.store(Arc::new(next.bind()?));
        *state = next;
        Ok(())
    }

    /// Adds the algorithms of another issuer.
    pub(crate) fn serve(&self, algorithms: &[Algorithm]) -> Result<(), ReplaceSecretError> {
        let mut state = self.state();
        let mut next = state.clone();
        for algorithm in algorithms.iter().filter(|algorithm| algorithm.is_symmetric()) {
            if !next.algorithms.contains(algorithm) {
                next.algorithms.push(*algorithm);
            }
        }
        self.shared.table.store(Arc::new(next.bind()?));
        *state = next;
        Ok(())
    }

    /// Returns the current keys without a lock or an allocation.
    pub(crate) fn table(&self) -> Guard<Arc<KeyTable>> {
        self.shared.table.load()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics in the middle of a change, so a poisoned state is consistent.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bind(&self) -> Result<KeyTable, ReplaceSecretError> {
        if self.secrets.is_empty() {
            return Err(ReplaceSecretError::None);
        }
        let mut keys = Vec::new();
        for secret in &self.secrets {
            for algorithm in &self.algorithms {
                keys.push(secret.bind(*algorithm).map_err(ReplaceSecretError::Secret)?);
            }
        }
        let table = KeyTable::from_secrets(keys);
        if table.exceeds_candidate_limit() { Err(ReplaceSecretError::TooMany) } else { Ok(table) }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource(..)")
    }
}

/// Why secrets were not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplaceSecretError {
    /// There is no secret: every token would be rejected.
    None,
    /// There are more secrets without `kid` than are tried for one token.
    TooMany,
    /// An algorithm of the issuer cannot use a secret.
    Secret(SecretError),
}

impl fmt::Display for ReplaceSecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no secret"),
            Self::TooMany => f.write_str("there are more secrets than are tried for one token"),
            Self::Secret(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplaceSecretError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Found;

    fn secret(text: &str) -> Secret {
        Secret::from_text(text).expect("a text")
    }

    #[test]
    fn replaces_all_secrets_or_none() {
        let source = SecretSource::new(secret("the first secret has more than 32 bytes"));
        source.serve(&[Algorithm::HS256]).expect("long enough");
        let before = source.table().digest();
        assert_eq!(source.replace([]), Err(ReplaceSecretError::None));
        let long = "the second secret has more than 32 bytes too";
        assert!(matches!(source.replace([secret(long), secret("short")]), Err(ReplaceSecretError::Secret(_))));
        let five = [1, 2, 3, 4, 5].map(|number| secret(&format!("{long} {number}")));
        assert_eq!(source.replace(five), Err(ReplaceSecretError::TooMany));
        assert_eq!(source.table().digest(), before);
        assert_eq!(source.replace([secret(long)]), Ok(()));
        assert_ne!(source.table().digest(), before);
    }

    #[test]
    fn checks_new_secrets_against_the_algorithms_of_every_issuer() {
        let sixty_four = "a secret of sixty-four bytes or more, the minimum length that HS512 requires";
        let source = SecretSource::new(secret(sixty_four));
        source.serve(&[Algorithm::HS256]).expect("long enough");
        source.clone().serve(&[Algorithm::HS512]).expect("long enough");
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            assert!(matches!(source.table().find(None, algorithm), Found::Keys(_)), "{algorithm}");
        }
        let forty = "a secret of forty bytes is too short for it";
        assert!(matches!(
            source.replace([secret(forty)]),
            Err(ReplaceSecretError::Secret(SecretError::TooShort { .. }))
        ));
    }

    #[test]
    fn keeps_the_replaced_secrets_when_another_issuer_is_added_or_fails() {
        let (old, new) = ("the first secret", "the second secret");
        let long = |text: &str| secret(&format!("{text} has more than the forty-eight bytes of HS384"));
        let source = SecretSource::new(long(old));
        source.serve(&[Algorithm::HS256]).expect("long enough");
        source.replace([long(new)]).expect("a good secret");
        let only_new = SecretSource::new(long(new));
        only_new.serve(&[Algorithm::HS256]).expect("long enough");
        assert_eq!(source.table().digest(), only_new.table().digest());
        assert!(source.serve(&[Algorithm::HS512]).is_err());
        assert_eq!(source.table().digest(), only_new.table().digest());
        for served in [&source, &only_new] {
            served.serve(&[Algorithm::HS384]).expect("long enough");
        }
        assert_eq!(source.table().digest(), only_new.table().digest());
    }

    #[test]
    fn debug_does_not_show_secrets() {
        assert_eq!(format!("{:?}", SecretSource::new(secret("hush"))), "SecretSource(..)");
    }
}
