//! A set of published keys (RFC 7517 §5), each vetted alone.

use std::fmt;
use std::sync::Arc;

use crate::defaults;
use crate::keys::error::{KeyError, SkipReason};
use crate::keys::json::Document;
use crate::keys::jwk::{PublishedKey, Refused};
use crate::keys::material::Material;
use crate::keys::pem;
use crate::keys::table::{KeyOrigin, KeyTable};
use crate::keys::verify::{Verifier, VerifyingKey};
use crate::token::Algorithm;

/// Public keys, parsed and vetted one by one; what is wrong with one of them never costs the others.
///
/// Cheap to clone. `Debug` shows counts only.
#[derive(Clone)]
pub struct KeySet {
    inner: Arc<Inner>,
}

#[derive(Clone, Default)]
struct Inner {
    keys: Vec<PublishedKey>,
    skipped: Vec<SkippedKey>,
}

impl KeySet {
    /// Reads a JWK Set (`{"keys": [..]}`), or one single JWK.
    ///
    /// # Errors
    ///
    /// See [`KeyError`]. A bad key among others is no error: it is listed by [`skipped`](Self::skipped).
    pub fn from_jwks(document: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        match Document::split(document.as_ref())? {
            Document::Set(keys) => Self::import(keys.iter().map(|key| key.get()), defaults::MAX_KEYS),
            Document::Other(json) => Ok(Self::of_key(PublishedKey::from_json(json).map_err(|refused| refused.reason)?)),
        }
    }

    /// Reads public keys in PEM.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self::of_materials(pem::public_keys(pem.as_ref())?))
    }

    /// Reads what an issuer publishes: a JWK Set with at most `max_keys` keys, and nothing else.
    pub(crate) fn parse_remote(document: &[u8], max_keys: usize) -> Result<Self, KeyError> {
        match Document::split(document)? {
            Document::Set(keys) => Self::import(keys.iter().map(|key| key.get()), max_keys),
            Document::Other(_) => Err(KeyError::NotAKeySet),
        }
    }

    /// Vets JWKs one by one.
    pub(super) fn import<'j>(keys: impl ExactSizeIterator<Item = &'j str>, limit: usize) -> Result<Self, KeyError> {
        let count = keys.len();
        if count > limit {
            return Err(KeyError::TooManyKeys { count, limit });
        }
        let mut inner = Inner::default();
        for (position, json) in keys.enumerate() {
            match PublishedKey::from_json(json) {
                Ok(key) => inner.keys.push(key),
                Err(Refused { kid, reason }) => inner.skipped.push(SkippedKey { kid, position, reason }),
            }
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(super) fn of_key(key: PublishedKey) -> Self {
        Self::of_keys(vec![key])
    }

    /// Keys without id, for whatever algorithm they fit.
    pub(super) fn of_materials(materials: Vec<Material>) -> Self {
        let keys = materials.into_iter().map(|material| PublishedKey { kid: None, algorithm: None, material });
        Self::of_keys(keys.collect())
    }

    fn of_keys(keys: Vec<PublishedKey>) -> Self {
        Self { inner: Arc::new(Inner { keys, skipped: Vec::new() }) }
    }

    /// Gives the set's only key an id, in place of any that it has: tokens with another `kid` are then not its own.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotOneKey`] and [`KeyError::KidTooLong`].
    pub fn with_kid(mut self, kid: impl Into<String>) -> Result<Self, KeyError> {
        let kid = kid.into();
        if kid.len() > defaults::MAX_KID_BYTES {
            return Err(KeyError::KidTooLong);
        }
        match Arc::make_mut(&mut self.inner).keys.as_mut_slice() {
            [key] => key.kid = Some(kid.into_boxed_str()),
            _ => return Err(KeyError::NotOneKey),
        }
        Ok(self)
    }

    /// Adds the keys of another set behind those of this one.
    ///
    /// ```
    /// # fn keys(old: &str, new: &str) -> Result<tower_bearer::keys::KeySet, tower_bearer::keys::KeyError> {
    /// use tower_bearer::keys::KeySet;
    ///
    /// // During a rotation, both keys verify.
    /// let keys = KeySet::from_pem(old)?.with_kid("2025")?.and(KeySet::from_pem(new)?.with_kid("2026")?);
    /// # Ok(keys)
    /// # }
    /// ```
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.keys.extend(other.inner.keys.iter().cloned());
        inner.skipped.extend(other.inner.skipped.iter().cloned());
        self
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.keys.len()
    }

    /// Says whether no key can be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.keys.is_empty()
    }

    /// The keys that were passed over, in document order.
    pub fn skipped(&self) -> impl ExactSizeIterator<Item = &SkippedKey> {
        self.inner.skipped.iter()
    }

    /// Binds each key to the listed algorithms that it fits: to its own if it names one, else to all of them.
    pub(crate) fn bind(&self, algorithms: &[Algorithm], origin: KeyOrigin) -> KeyTable {
        let mut verifying = Vec::new();
        for key in &self.inner.keys {
            let wanted = |algorithm: &&Algorithm| key.algorithm.is_none_or(|own| own == **algorithm);
            for algorithm in algorithms.iter().filter(wanted) {
                if let Some(parsed) = key.material.parsed_for(*algorithm) {
                    let verifier = Verifier::Public(parsed);
                    let thumbprint = key.material.thumbprint();
                    verifying.push(VerifyingKey::new(key.kid.clone(), *algorithm, thumbprint, verifier));
                }
            }
        }
        let of_keys = self.inner.keys.iter().filter_map(|key| key.kid.clone());
        let of_skipped = self.inner.skipped.iter().filter_map(|key| key.kid.clone());
        KeyTable::new(verifying, of_keys.chain(of_skipped).collect(), origin)
    }
}

/// Lets a constructor of an issuer take a set, or the outcome of making one.
impl From<KeySet> for Result<KeySet, KeyError> {
    fn from(set: KeySet) -> Self {
        Ok(set)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.len()).field("skipped", &self.inner.skipped.len()).finish()
    }
}

/// A key of a set that may not be used; it holds no key material.
#[derive(Clone, PartialEq, Eq)]
pub struct SkippedKey {
    kid: Option<Box<str>>,
    position: usize,
    reason: SkipReason,
}

impl SkippedKey {
    /// Why it was passed over.
    #[must_use]
    pub fn reason(&self) -> SkipReason {
        self.reason
    }

    /// Where it stands in the set, from 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Its id, if it has a well-formed one; whoever publishes the set chose it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

impl fmt::Debug for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SkippedKey")
            .field("position", &self.position)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
