//! `KeySet`: a set of published keys (RFC 7517 §5). Each key is checked separately.

use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::sync::Arc;

use crate::defaults;
use crate::keys::error::{KeyError, SkipReason};
use crate::keys::json::Document;
use crate::keys::jwk::{PrivateKeys, PublishedKey, SkippedJwk};
use crate::keys::material::Material;
use crate::keys::pem;
use crate::keys::scan::{ScannedKey, scan, scan_private};
use crate::keys::table::{KeyOrigin, KeyTable, Known, NamedKey};
use crate::keys::thumbprint::Thumbprint;
use crate::keys::verify::{Verifier, VerifyingKey};
use crate::token::{Algorithm, CertificateHashes};

/// A set of public keys. Each key is parsed and checked separately; an unusable key is skipped and does not affect the others.
///
/// A key is usable if these conditions hold:
///
/// - RSA: the modulus is odd and has 2048 to 8192 bits, and the exponent is odd, at least 3, and has at most 33 bits.
/// - EC: the curve is P-256, P-384 or P-521, the coordinates have full length, and the point is on the curve.
/// - OKP: the curve is Ed25519, and the point has 32 bytes, canonical form, and no small order.
/// - `use` is absent or `sig`. `key_ops` is absent or contains `verify`. `alg` is absent or a signature algorithm that matches
///   the key type. A key without `alg` can verify every algorithm of its type that the [issuer](crate::Issuer::with_algorithms)
///   lists; the token has no influence on this.
///
/// A clone is cheap. `Debug` shows only the numbers of keys.
///
/// # Security
///
/// Certificates that are published with a key (`x5c`, `x5u`) are ignored. They are not a source of trust.
#[derive(Clone)]
pub struct KeySet {
    inner: Arc<Inner>,
}

#[derive(Clone, Default)]
struct Inner {
    keys: Vec<PublishedKey>,
    skipped: Vec<SkippedKey>,
    /// The thumbprints of the private keys in the document. A duplicate member adds one for each of its values.
    private_thumbprints: BTreeSet<Thumbprint>,
}

impl KeySet {
    /// Parses a JWK Set (`{"keys": [..]}`), or one JWK.
    ///
    /// ```
    /// use tower_bearer::keys::{KeyError, KeySet, SkipReason};
    ///
    /// let set = KeySet::from_jwks(
    ///     r#"{"keys": [
    ///         {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "1"},
    ///         {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08", "kid": "2"}
    ///     ]}"#,
    /// )?;
    /// assert_eq!(set.len(), 1);
    /// assert_eq!(set.skipped().next().map(|key| key.reason()), Some(SkipReason::Curve));
    ///
    /// assert_eq!(KeySet::from_jwks("<html>").unwrap_err(), KeyError::Json);
    /// # Ok::<(), KeyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`KeyError`]. An unusable key in a set is no error; [`skipped`](Self::skipped) lists it.
    pub fn from_jwks(document: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        match Document::split(document.as_ref())? {
            Document::Set(keys) => {
                let keys = keys.iter().map(|key| key.get());
                let mut set = Self::import(keys, defaults::MAX_KEYS, PrivateKeys::Skipped)?;
                Arc::make_mut(&mut set.inner).record_private(&scan_private(document.as_ref()));
                Ok(set)
            }
            Document::Key(json) => {
                let key = PublishedKey::from_json(json, PrivateKeys::Skipped);
                Ok(Self::from_key(key.map_err(|skipped_jwk| skipped_jwk.reason)?))
            }
        }
    }

    /// Parses public keys in PEM: one or more blocks of `PUBLIC KEY` or `RSA PUBLIC KEY`.
    ///
    /// The keys have no `kid` and no `alg`. Each key can verify every algorithm of its type that the
    /// [issuer](crate::Issuer::with_algorithms) lists.
    ///
    /// ```
    /// use tower_bearer::keys::{KeyError, KeySet};
    ///
    /// let set = KeySet::from_pem(
    ///     "-----BEGIN PUBLIC KEY-----\n\
    ///      MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    ///      -----END PUBLIC KEY-----\n",
    /// )?;
    /// assert_eq!(set.len(), 1);
    ///
    /// let private = KeySet::from_pem("-----BEGIN PRIVATE KEY-----\n..\n-----END PRIVATE KEY-----\n");
    /// assert_eq!(private.unwrap_err(), KeyError::PrivateKey);
    /// # Ok::<(), KeyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`KeyError`]. One bad block makes the whole text an error, unlike one bad key of a key set: the operator controls
    /// the text and can correct it.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self::from_materials(pem::public_keys(pem.as_ref())?))
    }

    /// Parses a document from an issuer, which must be a JWK Set with at most `max_keys` keys. If private keys are skipped,
    /// their public keys are skipped as well, whatever `kid` they have. This includes the public keys of private keys that are
    /// malformed or outside of the set's array.
    pub(crate) fn parse_remote(document: &[u8], max_keys: usize, private: PrivateKeys) -> Result<Self, KeyError> {
        let Document::Set(keys) = Document::split(document)? else { return Err(KeyError::NotAKeySet) };
        let mut set = Self::import(keys.iter().map(|key| key.get()), max_keys, private)?;
        if private == PrivateKeys::Accepted {
            return Ok(set);
        }
        let inner = Arc::make_mut(&mut set.inner);
        let scanned = scan_private(document);
        let outside = scanned.iter().filter(|key| !key.in_set && !key.thumbprints.is_empty());
        // Such a `kid` does not count as known: a token with it has an unknown kid.
        let outside = outside.map(|key| SkippedKey { kid: None, ..key.skipped() });
        inner.skipped.extend(outside.take(defaults::MAX_KEYS));
        inner.skipped.sort_by_key(SkippedKey::position);
        inner.record_private(&scanned);
        let compromised = inner.private_thumbprints.clone();
        Ok(set.without_compromised(|thumbprint| compromised.contains(thumbprint)))
    }

    /// Parses and checks each JWK separately.
    pub(super) fn import<'j>(
        keys: impl ExactSizeIterator<Item = &'j str>,
        limit: usize,
        private: PrivateKeys,
    ) -> Result<Self, KeyError> {
        let count = keys.len();
        if count > limit {
            return Err(KeyError::TooManyKeys { count, limit });
        }
        let mut inner = Inner::default();
        for (position, json) in keys.enumerate() {
            match PublishedKey::from_json(json, private) {
                Ok(key) => inner.keys.push(PublishedKey { position, ..key }),
                Err(SkippedJwk { kid, reason, thumbprint, certificate }) => {
                    inner.skipped.push(SkippedKey { kid, position, reason, thumbprint, certificate });
                }
            }
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Finds the keys in a document that is rejected as a whole, as far as it can be parsed. Lists at most
    /// [`defaults::MAX_KEYS`] private keys.
    pub(crate) fn rejected_keys(document: &[u8]) -> RejectedKeys {
        let scanned = scan(document);
        let skipped = scanned.iter().filter(|key| key.is_private).map(ScannedKey::skipped);
        let named = scanned
            .iter()
            .flat_map(|key| key.thumbprints.iter().filter_map(|thumbprint| Some((key.kid.clone()?, *thumbprint))));
        RejectedKeys {
            skipped: skipped.take(defaults::MAX_KEYS).collect(),
            private_thumbprints: private_thumbprints(&scanned).collect(),
            named: named.take(defaults::MAX_KID_HISTORY).collect(),
        }
    }

    /// Returns the thumbprints of the private keys in the document: at most [`defaults::MAX_COMPROMISED_KEYS`], and one more
    /// for each skipped key. Empty if the policy allows the public keys of published private keys.
    pub(crate) fn private_thumbprints(&self) -> &BTreeSet<Thumbprint> {
        &self.inner.private_thumbprints
    }

    /// Skips the keys whose private keys have been published: those for which `is_compromised` returns true.
    pub(crate) fn without_compromised(mut self, is_compromised: impl Fn(&Thumbprint) -> bool) -> Self {
        let is_compromised = |key: &PublishedKey| is_compromised(&key.material.thumbprint());
        if self.inner.keys.iter().any(is_compromised) {
            let inner = Arc::make_mut(&mut self.inner);
            let (compromised, others) = mem::take(&mut inner.keys).into_iter().partition::<Vec<_>, _>(is_compromised);
            inner.keys = others;
            inner.skipped.extend(compromised.into_iter().map(|key| key.skipped(SkipReason::Compromised)));
            inner.skipped.sort_by_key(SkippedKey::position);
        }
        self
    }

    pub(super) fn from_key(key: PublishedKey) -> Self {
        Self::from_keys(vec![key])
    }

    /// Creates a set of keys without `kid` and `alg`.
    pub(super) fn from_materials(materials: Vec<Material>) -> Self {
        let key = |(position, material)| PublishedKey {
            kid: None,
            algorithm: None,
            certificate: None,
            issuer: None,
            material,
            is_disclosed: false,
            position,
        };
        Self::from_keys(materials.into_iter().enumerate().map(key).collect())
    }

    fn from_keys(keys: Vec<PublishedKey>) -> Self {
        Self { inner: Arc::new(Inner { keys, ..Inner::default() }) }
    }

    /// Sets the `kid` of the only key of the set, or replaces the `kid` that the key has. Tokens with another `kid` are then
    /// not verified with this key.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError::NotOneKey`] if the set does not have exactly one key, and [`KeyError::KidTooLong`] if `kid` is
    /// longer than 256 bytes.
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

    /// Appends the keys of another set to this one.
    ///
    /// ```
    /// # fn keys(old: &str, new: &str) -> Result<tower_bearer::keys::KeySet, tower_bearer::keys::KeyError> {
    /// use tower_bearer::keys::KeySet;
    ///
    /// // During a rotation, both keys verify.
    /// let keys = KeySet::from_pem(old)?.with_kid("2025")?.merge(KeySet::from_pem(new)?.with_kid("2026")?);
    /// # Ok(keys)
    /// # }
    /// ```
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        let other = Arc::unwrap_or_clone(other.inner);
        let inner = Arc::make_mut(&mut self.inner);
        inner.keys.extend(other.keys);
        inner.skipped.extend(other.skipped);
        inner.private_thumbprints.extend(other.private_thumbprints);
        self
    }

    /// Returns the number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.keys.len()
    }

    /// Returns whether the set has no usable key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.keys.is_empty()
    }

    /// Returns the keys that were skipped, in the order of the document.
    #[must_use]
    pub fn skipped(&self) -> impl ExactSizeIterator<Item = &SkippedKey> {
        self.inner.skipped.iter()
    }

    /// Returns the thumbprints of the usable keys, in the order of the document.
    #[must_use]
    pub fn thumbprints(&self) -> impl ExactSizeIterator<Item = Thumbprint> {
        self.inner.keys.iter().map(|key| key.material.thumbprint())
    }

    /// Returns the keys that verify none of these algorithms, and the keys that were skipped, in document order.
    pub(crate) fn skipped_for(&self, algorithms: &[Algorithm]) -> Vec<SkippedKey> {
        let unlisted = self.inner.keys.iter().filter(|key| !key.verifies_any(algorithms)).map(|key| {
            key.clone().skipped(if key.is_disclosed { SkipReason::Private } else { SkipReason::AlgorithmNotListed })
        });
        let mut skipped: Vec<_> = self.inner.skipped.iter().cloned().chain(unlisted).collect();
        skipped.sort_by_key(SkippedKey::position);
        skipped
    }

    /// Returns the thumbprints of the keys that verify one of these algorithms and were published with their private key.
    pub(crate) fn disclosed_for(&self, algorithms: &[Algorithm]) -> Vec<Thumbprint> {
        let used = self.inner.keys.iter().filter(|key| key.is_disclosed && key.verifies_any(algorithms));
        used.map(|key| key.material.thumbprint()).collect()
    }

    /// Binds each key to its `alg` if that is listed. Binds a key without `alg` to every listed algorithm of its key type.
    pub(crate) fn bind(&self, algorithms: &[Algorithm], origin: KeyOrigin) -> KeyTable {
        let mut verifying = Vec::new();
        for key in &self.inner.keys {
            for algorithm in algorithms.iter().filter(|algorithm| key.verifies(**algorithm)) {
                if let Some(parsed) = key.material.parsed_for(*algorithm) {
                    let verifier = Verifier::Public(parsed);
                    let thumbprint = key.material.thumbprint();
                    let verifying_key = VerifyingKey::new(key.kid.clone(), *algorithm, thumbprint, verifier);
                    let verifying_key = verifying_key.with_certificate(key.certificate.clone());
                    verifying.push(verifying_key.with_issuer(key.issuer.clone()));
                }
            }
        }
        let Inner { keys, skipped, .. } = &*self.inner;
        let from_keys = keys.iter().filter_map(|key| Some((key.kid.clone()?, Some(key.material.thumbprint()))));
        let of_skipped = skipped.iter().filter_map(|key| Some((key.kid.clone()?, key.thumbprint)));
        let certificates = keys.iter().map(|key| &key.certificate).chain(skipped.iter().map(|key| &key.certificate));
        let known = Known {
            kids: from_keys.chain(of_skipped).collect(),
            certificates: certificates.flatten().cloned().collect(),
        };
        KeyTable::new(verifying, known, origin)
    }
}

impl Inner {
    /// Records the private keys of the document: those that are skipped, and those that only the scan has found.
    fn record_private(&mut self, scanned: &[ScannedKey]) {
        let skipped = self.skipped.iter().filter(|key| key.reason == SkipReason::Private);
        self.private_thumbprints =
            skipped.filter_map(|key| key.thumbprint).chain(private_thumbprints(scanned)).collect();
    }
}

/// The keys in a document that is rejected as a whole.
#[derive(Debug)]
pub(crate) struct RejectedKeys {
    pub(crate) skipped: Vec<SkippedKey>,
    /// The thumbprints of the private keys. A duplicate member adds one for each of its values.
    pub(crate) private_thumbprints: BTreeSet<Thumbprint>,
    /// The keys with a `kid`, at most [`defaults::MAX_KID_HISTORY`].
    pub(crate) named: Vec<NamedKey>,
}

fn private_thumbprints(scanned: &[ScannedKey]) -> impl Iterator<Item = Thumbprint> {
    let private = scanned.iter().filter(|key| key.is_private);
    private.flat_map(|key| key.thumbprints.iter().copied()).take(defaults::MAX_COMPROMISED_KEYS)
}

impl ScannedKey {
    /// Returns the scanned key as a skipped private key.
    fn skipped(&self) -> SkippedKey {
        let thumbprint = self.thumbprints.first().copied();
        let (kid, position) = (self.kid.clone(), self.position);
        SkippedKey { kid, position, reason: SkipReason::Private, thumbprint, certificate: None }
    }
}

impl PublishedKey {
    fn verifies_any(&self, algorithms: &[Algorithm]) -> bool {
        algorithms.iter().any(|algorithm| self.verifies(*algorithm))
    }

    fn skipped(self, reason: SkipReason) -> SkippedKey {
        let thumbprint = Some(self.material.thumbprint());
        SkippedKey { kid: self.kid, position: self.position, reason, thumbprint, certificate: self.certificate }
    }
}

/// Allows the constructors of an issuer to accept both a key set and the result of parsing one.
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

/// A key of a set that was skipped. It contains no key material.
#[derive(Clone, PartialEq, Eq)]
pub struct SkippedKey {
    kid: Option<Box<str>>,
    position: usize,
    reason: SkipReason,
    thumbprint: Option<Thumbprint>,
    certificate: Option<CertificateHashes>,
}

impl SkippedKey {
    /// Returns why the key was skipped.
    #[must_use]
    pub fn reason(&self) -> SkipReason {
        self.reason
    }

    /// Returns the index of the key in the array `keys`, from 0. For a private key outside of this array, returns its index in
    /// the array that contains it, or 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the `kid` of the key, if it has a well-formed one. The issuer chooses the value, so it can contain any text. The
    /// `kid` of a private key outside of the array `keys` may be omitted.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the thumbprint of its public key, if that could be parsed.
    pub(crate) fn thumbprint(&self) -> Option<Thumbprint> {
        self.thumbprint
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixtures::{ED25519, P256, RSA, RSA_7638, changed, key_set, with_kid};
    use crate::keys::table::Found;

    fn remote(document: &[u8], max_keys: usize) -> Result<KeySet, KeyError> {
        KeySet::parse_remote(document, max_keys, PrivateKeys::Skipped)
    }

    #[test]
    fn skips_an_unusable_key_and_accepts_the_others() {
        let bad = [
            "null",
            "5",
            r#"{"kty":"AKP","kid":"ml"}"#,
            r#"{"kty":"RSA","kid":7}"#,
            r#"{"kty":"oct","k":"AAAA"}"#,
            r#"{"kty":"RSA","\ud800":1}"#,
        ];
        for bad in bad {
            let set = key_set(&[RSA, bad, P256]);
            assert_eq!((set.len(), set.skipped().len()), (2, 1), "{bad}");
        }
        let set = key_set(&bad);
        assert!(set.is_empty());
        let skipped: Vec<_> = set.skipped().map(|key| (key.position(), key.reason(), key.kid())).collect();
        assert_eq!(
            skipped,
            [
                (0, SkipReason::NotAnObject, None),
                (1, SkipReason::NotAnObject, None),
                (2, SkipReason::KeyType, Some("ml")),
                (3, SkipReason::MalformedKid, None),
                (4, SkipReason::Symmetric, None),
                (5, SkipReason::MalformedMember, None),
            ]
        );
    }

    #[test]
    fn accepts_a_single_jwk_from_the_configuration_but_not_from_an_issuer() {
        assert_eq!(KeySet::from_jwks(RSA).expect("a key").len(), 1);
        let unusable = KeyError::Unusable { reason: SkipReason::Use };
        assert_eq!(KeySet::from_jwks(changed(RSA, "use", "enc")).map(drop), Err(unusable));
        assert_eq!(remote(RSA.as_bytes(), 100).map(drop), Err(KeyError::NotAKeySet));
        assert_eq!(remote(b"{}", 100).map(drop), Err(KeyError::NotAKeySet));
        assert!(remote(b"{\"keys\":[]}", 100).expect("a set").is_empty());
    }

    #[test]
    fn limits_the_number_of_keys_before_parsing_them() {
        let many = |count: usize| format!("{{\"keys\":[{}]}}", vec!["1"; count].join(","));
        assert_eq!(remote(many(100).as_bytes(), 100).expect("a set").skipped().len(), 100);
        let error = KeyError::TooManyKeys { count: 101, limit: 100 };
        assert_eq!(remote(many(101).as_bytes(), 100).map(drop), Err(error));
        assert_eq!(KeySet::from_jwks(many(101)).map(drop), Err(error));
        let error = KeyError::TooManyKeys { count: 2, limit: 1 };
        assert_eq!(remote(many(2).as_bytes(), 1).map(drop), Err(error));
    }

    #[test]
    fn with_kid_requires_exactly_one_key() {
        let set = KeySet::from_jwks(with_kid(RSA, "old")).and_then(|set| set.with_kid("new")).expect("one key");
        let table = set.bind(&[Algorithm::RS256], KeyOrigin::Static);
        assert!(matches!(table.find(Some("new"), Algorithm::RS256), Found::Keys(_)));
        assert!(matches!(table.find(Some("old"), Algorithm::RS256), Found::Unknown));
        assert_eq!(key_set(&[RSA, P256]).with_kid("1").map(drop), Err(KeyError::NotOneKey));
        assert_eq!(key_set::<&str>(&[]).with_kid("1").map(drop), Err(KeyError::NotOneKey));
        for (longest, too_long) in [("k".repeat(256), "k".repeat(257)), ("é".repeat(128), "é".repeat(129))] {
            assert!(key_set(&[RSA]).with_kid(longest).is_ok());
            assert_eq!(key_set(&[RSA]).with_kid(too_long).map(drop), Err(KeyError::KidTooLong));
        }
    }

    #[test]
    fn merge_appends_the_keys_of_the_other_set() {
        let old = key_set(&[with_kid(RSA, "1")]);
        let both = old.clone().merge(key_set(&[with_kid(P256, "2"), "null".to_owned()]));
        assert_eq!((old.len(), both.len(), both.skipped().len()), (1, 2, 1));
    }

    #[test]
    fn binds_a_key_to_its_alg_or_to_all_algorithms_of_its_type() {
        let all = Algorithm::ALL;
        for (jwk, count) in [(RSA, 6), (P256, 1), (ED25519, 1)] {
            let table = key_set(&[jwk]).bind(all, KeyOrigin::Remote);
            let supported =
                all.iter().filter(|algorithm| matches!(table.find(None, **algorithm), Found::Keys(_))).count();
            assert_eq!((supported, table.usable()), (count, 1));
        }
        let own = key_set(&[changed(RSA, "alg", "PS256")]);
        assert!(matches!(own.bind(all, KeyOrigin::Remote).find(None, Algorithm::PS256), Found::Keys(_)));
        assert!(matches!(own.bind(all, KeyOrigin::Remote).find(None, Algorithm::RS256), Found::NotForVerification));
        assert_eq!(own.bind(&[Algorithm::RS256], KeyOrigin::Remote).usable(), 0);
        assert_eq!(own.bind(&[], KeyOrigin::Remote).usable(), 0);
    }

    fn reasons(set: &KeySet) -> Vec<(usize, SkipReason)> {
        set.skipped().map(|key| (key.position(), key.reason())).collect()
    }

    /// Anyone who reads the set can sign for the public key, whatever its `kid`.
    #[test]
    fn skips_a_public_key_whose_private_key_is_in_the_same_set() {
        let published = |keys: &[&str], private: PrivateKeys| {
            let document = format!("{{\"keys\":[{}]}}", keys.join(","));
            KeySet::parse_remote(document.as_bytes(), 100, private).expect("a set")
        };
        let private = |jwk: &str| changed(jwk, "d", "AQAB");
        let keys = [with_kid(RSA, "1"), private(&with_kid(RSA, "2")), with_kid(P256, "3"), RSA.to_owned()];
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let expected = [(0, SkipReason::Compromised), (1, SkipReason::Private), (3, SkipReason::Compromised)];
        let set = published(&keys, PrivateKeys::Skipped);
        assert_eq!((set.len(), reasons(&set)), (1, expected.to_vec()));
        let table = set.bind(&[Algorithm::RS256], KeyOrigin::Remote);
        assert!(matches!(table.find(Some("1"), Algorithm::RS256), Found::NotForVerification));
        // A private key that is unusable or malformed also compromises its public key.
        let with_duplicate = |member: &str| private(RSA).replacen('{', &format!("{{{member},"), 1);
        for bad in [
            changed(&private(RSA), "use", "enc"),
            with_duplicate(r#""d":"AQAB""#),
            with_duplicate(r#""kty":"EC""#),
            with_duplicate(r#""n":"AQAB""#),
            with_duplicate(r#""\ud800":1"#),
            changed(&private(RSA), "e", "AAEAAQ"),
        ] {
            let expected = [(0, SkipReason::Compromised), (1, SkipReason::Private)];
            assert_eq!(reasons(&published(&[RSA, &bad], PrivateKeys::Skipped)), expected, "{bad}");
        }
        let outside = format!("{{\"keys\":[{RSA}],\"x\":{{\"y\":[1,{}]}}}}", private(RSA));
        let set = remote(outside.as_bytes(), 100).expect("a set");
        assert_eq!(reasons(&set), [(0, SkipReason::Compromised), (1, SkipReason::Private)]);
        // Not compromised: the private key belongs to another key, the policy allows it, or the operator configured it.
        let other = published(&[RSA, &private(P256)], PrivateKeys::Skipped);
        assert_eq!(reasons(&other), [(1, SkipReason::Private)]);
        assert_eq!(reasons(&published(&keys, PrivateKeys::Accepted)), []);
        assert_eq!(reasons(&key_set(&keys)), [(1, SkipReason::Private)]);
    }

    #[test]
    fn skips_a_key_that_was_compromised_earlier() {
        let compromised: BTreeSet<Thumbprint> = key_set(&[RSA]).thumbprints().collect();
        let set = key_set(&[P256, RSA]).without_compromised(|thumbprint| compromised.contains(thumbprint));
        assert_eq!((set.len(), reasons(&set)), (1, vec![(1, SkipReason::Compromised)]));
        assert_eq!(reasons(&key_set(&[P256, RSA]).without_compromised(|_| false)), []);
    }

    #[test]
    fn returns_private_keys_of_rejected_documents() {
        let private = changed(RSA, "d", "AQAB");
        let found = |document: &str| {
            let keys = KeySet::rejected_keys(document.as_bytes());
            keys.skipped.iter().map(|key| (key.position(), key.reason(), key.thumbprint())).collect::<Vec<_>>()
        };
        let thumbprint = key_set(&[RSA]).thumbprints().next();
        let at = |position| vec![(position, SkipReason::Private, thumbprint)];
        assert_eq!(found(&private), at(0));
        let many = format!("{{\"keys\":[{}{private}]}}", "1,".repeat(100));
        assert_eq!(remote(many.as_bytes(), 100).map(drop), Err(KeyError::TooManyKeys { count: 101, limit: 100 }));
        assert_eq!(found(&many), at(100));
        let more = format!("{{\"keys\":[{}]}}", vec![r#"{"d":"1"}"#; 200].join(","));
        assert_eq!(found(&more).len(), 100);
        for other in [RSA, "{}", "<html>", &private[1..]] {
            assert_eq!(found(other), [], "{other}");
        }
        assert_eq!(KeySet::rejected_keys(private.as_bytes()).private_thumbprints, thumbprint.into_iter().collect());
    }

    #[test]
    fn returns_the_keys_that_verify_none_of_the_algorithms() {
        let set = key_set(&[changed(RSA, "alg", "PS256"), P256.to_owned(), "null".to_owned(), RSA_7638.to_owned()]);
        let skipped = |algorithms: &[Algorithm]| -> Vec<_> {
            set.skipped_for(algorithms).iter().map(|key| (key.position(), key.reason())).collect()
        };
        let (unlisted, not_an_object) = (SkipReason::AlgorithmNotListed, SkipReason::NotAnObject);
        assert_eq!(skipped(&[Algorithm::RS256]), [(0, unlisted), (1, unlisted), (2, not_an_object)]);
        assert_eq!(skipped(&[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256]), [(2, not_an_object)]);
        let private = format!("{{\"keys\":[{}]}}", changed(RSA, "d", "AQAB"));
        let set = KeySet::parse_remote(private.as_bytes(), 100, PrivateKeys::Accepted).expect("a set");
        let unlisted = set.skipped_for(&[Algorithm::ES256]);
        assert_eq!(unlisted.iter().map(SkippedKey::reason).collect::<Vec<_>>(), [SkipReason::Private]);
        assert_eq!(
            (set.disclosed_for(&[Algorithm::ES256]).len(), set.disclosed_for(&[Algorithm::RS256]).len()),
            (0, 1)
        );
    }

    #[test]
    fn debug_shows_counts_only() {
        let set = key_set(&[with_kid(RSA, "1"), r#"{"kty":"x","kid":"2"}"#.to_owned()]);
        assert_eq!(format!("{set:?}"), "KeySet { keys: 1, skipped: 1 }");
        let skipped = set.skipped().next().expect("one");
        assert_eq!(format!("{skipped:?}"), "SkippedKey { position: 1, reason: KeyType, .. }");
    }
}
