//! `SecretSource`: shared secrets that are swapped while requests are served.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::keys::{KeyTable, Secret, SecretError};
use crate::token::Algorithm;

/// The secrets of one issuer, to be replaced without a restart: a rotation adds the new one beside the old, and takes the
/// old one away later.
///
/// Clones are handles on the same secrets: one goes into the [`Issuer`](crate::Issuer), the other stays where the
/// application learns of a rotation. `Debug` shows nothing of them.
///
/// ```
/// use tower_bearer::jwks::SecretSource;
/// use tower_bearer::{Api, Issuer, Secret, Validator};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secrets = SecretSource::new(Secret::from_text("the secret of this year: thirty-two octets")?);
/// let issuer = Issuer::shared_secrets("https://id.northwind.com/", &secrets);
/// let validator = Validator::new(Api::new("https://api.northwind.com", issuer))?;
///
/// let next = Secret::from_text("the secret of next year: thirty-two octets")?;
/// secrets.replace([next])?;
///
/// // All or nothing: what cannot be used leaves everything as it is.
/// assert!(secrets.replace([Secret::from_text("short")?]).is_err());
/// # let _ = validator; Ok(()) }
/// ```
#[derive(Clone)]
pub struct SecretSource {
    shared: Arc<Shared>,
}

struct Shared {
    /// What verification reads, without a lock.
    table: ArcSwap<KeyTable>,
    state: Mutex<State>,
}

/// What the table is made of.
#[derive(Clone)]
struct State {
    secrets: Vec<Secret>,
    /// Those of every issuer that uses the source.
    algorithms: Vec<Algorithm>,
}

impl SecretSource {
    /// Starts with one secret.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        let state = State { secrets: vec![secret], algorithms: Vec::new() };
        let table = ArcSwap::from_pointee(KeyTable::from_secrets(Vec::new()));
        Self { shared: Arc::new(Shared { table, state: Mutex::new(state) }) }
    }

    /// Replaces all secrets at once. Requests that are being judged finish with the old ones; every later one sees the
    /// new.
    ///
    /// # Errors
    ///
    /// [`ReplaceSecretError`] if there is none, more than are tried for one token, or one that an issuer's algorithm cannot use;
    /// the old ones then stay. An issuer counts from its validator's configuration on, for as long as the source lives.
    pub fn replace(&self, secrets: impl IntoIterator<Item = Secret>) -> Result<(), ReplaceSecretError> {
        let mut state = self.state();
        let next = State { secrets: secrets.into_iter().collect(), algorithms: state.algorithms.clone() };
        self.shared.table.store(Arc::new(next.bind()?));
        *state = next;
        Ok(())
    }

    /// Takes on the algorithms of one more issuer.
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

    /// The keys of this moment: no lock, no allocation.
    pub(crate) fn table(&self) -> Guard<Arc<KeyTable>> {
        self.shared.table.load()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two steps of a change, so a poisoned state is a whole one.
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplaceSecretError {
    /// No secret at all: every token would be refused.
    None,
    /// More secrets without `kid` than are tried for one token.
    TooMany,
    /// A secret that an algorithm of the issuer cannot use.
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
    fn a_change_is_whole_or_none() {
        let source = SecretSource::new(secret("the first secret has thirty-two octets"));
        source.serve(&[Algorithm::HS256]).expect("long enough");
        let before = source.table().digest();
        assert_eq!(source.replace([]), Err(ReplaceSecretError::None));
        let long = "the second secret has thirty-two octets too";
        assert!(matches!(source.replace([secret(long), secret("short")]), Err(ReplaceSecretError::Secret(_))));
        let five = [1, 2, 3, 4, 5].map(|number| secret(&format!("{long} {number}")));
        assert_eq!(source.replace(five), Err(ReplaceSecretError::TooMany));
        assert_eq!(source.table().digest(), before);
        assert_eq!(source.replace([secret(long)]), Ok(()));
        assert_ne!(source.table().digest(), before);
    }

    #[test]
    fn every_issuers_algorithm_counts_at_every_change() {
        let sixty_four = "a secret of sixty-four octets or more is what HS512 wants of us, at least";
        let source = SecretSource::new(secret(sixty_four));
        source.serve(&[Algorithm::HS256]).expect("long enough");
        source.clone().serve(&[Algorithm::HS512]).expect("long enough");
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            assert!(matches!(source.table().find(None, algorithm), Found::Keys(_)), "{algorithm}");
        }
        let forty = "a secret of forty octets is not enough for it";
        assert!(matches!(
            source.replace([secret(forty)]),
            Err(ReplaceSecretError::Secret(SecretError::TooShort { .. }))
        ));
    }

    #[test]
    fn keeps_the_replaced_secrets_when_another_issuer_is_served_or_refused() {
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
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", SecretSource::new(secret("hush"))), "SecretSource(..)");
    }
}
