//! `KeyTable`: the verification keys of an issuer, indexed by `kid` and algorithm.

mod candidates;

use std::fmt;
use std::sync::Arc;

use crate::defaults;
use crate::keys::table::candidates::{Candidates, TooMany};
use crate::keys::thumbprint::{self, Thumbprint};
use crate::keys::verify::VerifyingKey;
use crate::token::{Algorithm, CertificateHashes, CertificateMatch, KeyId};

/// The origin of the keys. It decides what a missing `kid` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOrigin {
    /// Published by an issuer. For a token without `kid`, all keys of its algorithm are candidates, but no more than
    /// [`defaults::MAX_CANDIDATES`].
    Remote,
    /// Configured by the operator. A key without `kid` is tried for every token of its algorithm. If all keys have one, a token
    /// without `kid` is accepted only if exactly one key is a candidate.
    Static,
}

/// The keys of one issuer, each bound to its algorithm. Immutable and cheap to clone.
#[derive(Clone)]
pub(crate) struct KeyTable {
    inner: Arc<Inner>,
}

struct Inner {
    /// Sorted by `kid` (absent first). Keys with the same `kid` are in document order.
    keys: Box<[VerifyingKey]>,
    /// The indexes of `keys`, in document order.
    document_order: Box<[usize]>,
    known: Known,
    /// Sorted, without duplicates.
    thumbprints: Box<[Thumbprint]>,
    origin: KeyOrigin,
}

/// The names of the keys of a document, including skipped and revoked ones. A token with one of them causes no fetch.
#[derive(Clone)]
pub(super) struct Known {
    /// Each `kid`, and the thumbprint of its key if that could be parsed.
    pub(super) kids: Vec<(Box<str>, Option<Thumbprint>)>,
    pub(super) certificates: Vec<CertificateHashes>,
}

/// A `kid` of a document and the thumbprint of a key with it.
pub(crate) type NamedKey = (Box<str>, Thumbprint);

/// The differences between a key table and an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) added: usize,
    pub(crate) removed: usize,
    /// The number of kids that identify other keys than before.
    pub(crate) replaced: usize,
}

/// The result of a lookup by `kid` and algorithm.
#[derive(Debug)]
pub(crate) enum Found<'k> {
    /// These keys may verify the token.
    Keys(Candidates<'k>),
    /// The table has the `kid`, or the token has none, but no key may verify this algorithm.
    NotForVerification,
    /// The token has no `kid`, and there are too many candidates.
    Ambiguous,
    /// The table does not have the `kid`, or no key with the certificate of a token without `kid`.
    Unknown,
}

impl KeyTable {
    /// Creates a table from keys in document order.
    pub(super) fn new(keys: Vec<VerifyingKey>, mut known: Known, origin: KeyOrigin) -> Self {
        let mut keys: Vec<(usize, VerifyingKey)> = keys.into_iter().enumerate().collect();
        keys.sort_by(|(_, one), (_, other)| one.kid().cmp(&other.kid()));
        let (positions, keys): (Vec<usize>, Vec<VerifyingKey>) = without_duplicates(keys).into_iter().unzip();
        let mut document_order: Vec<usize> = (0..keys.len()).collect();
        document_order.sort_unstable_by_key(|index| positions.get(*index));
        known.sort();
        let mut thumbprints: Vec<Thumbprint> = keys.iter().map(|key| *key.thumbprint()).collect();
        thumbprints.sort_unstable();
        thumbprints.dedup();
        let inner = Inner {
            keys: keys.into_boxed_slice(),
            document_order: document_order.into_boxed_slice(),
            known,
            thumbprints: thumbprints.into_boxed_slice(),
            origin,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates a table from configured secrets.
    pub(crate) fn from_secrets(secrets: Vec<VerifyingKey>) -> Self {
        let kids = secrets.iter().filter_map(|key| Some((Box::from(key.kid()?), None))).collect();
        Self::new(secrets, Known { kids, certificates: Vec::new() }, KeyOrigin::Static)
    }

    /// Returns the candidate keys for a token, at most [`defaults::MAX_CANDIDATES`].
    pub(crate) fn find<'t>(&self, key_id: impl Into<KeyId<'t>>, algorithm: Algorithm) -> Found<'_> {
        match key_id.into() {
            KeyId { kid: Some(kid), .. } => self.find_named(kid, algorithm),
            KeyId { kid: None, certificate } => self.find_unnamed(certificate, algorithm),
        }
    }

    fn find_named(&self, kid: &str, algorithm: Algorithm) -> Found<'_> {
        let unnamed = match self.inner.origin {
            KeyOrigin::Remote => &[],
            KeyOrigin::Static => self.keys_with(None),
        };
        let candidates = Candidates::new(self.keys_with(Some(kid)), unnamed, algorithm);
        if !candidates.is_empty() {
            Found::Keys(candidates)
        } else if self.inner.known.kids.binary_search_by(|(known, _)| (**known).cmp(kid)).is_ok() {
            Found::NotForVerification
        } else {
            Found::Unknown
        }
    }

    fn find_unnamed(&self, certificate: Option<&CertificateHashes>, algorithm: Algorithm) -> Found<'_> {
        if self.inner.origin == KeyOrigin::Static {
            let candidates = Candidates::new(&[], self.keys_with(None), algorithm);
            if !candidates.is_empty() {
                return Found::Keys(candidates);
            }
        }
        match certificate {
            None => self.list(algorithm, |_| true).unwrap_or(Found::NotForVerification),
            Some(certificate) => self.find_with_certificate(certificate, algorithm),
        }
    }

    /// Finds the keys that are published with the certificate of a token. Keys that are published without a hash of it may
    /// have the same certificate, so they are candidates if no key has that hash.
    fn find_with_certificate(&self, certificate: &CertificateHashes, algorithm: Algorithm) -> Found<'_> {
        let is = |expected| move |key: &VerifyingKey| certificate.compare(key.certificate()) == expected;
        let found = self.list(algorithm, is(CertificateMatch::Same));
        found.or_else(|| self.list(algorithm, is(CertificateMatch::Unknown))).unwrap_or_else(|| {
            let is_same = |known| certificate.compare(Some(known)) == CertificateMatch::Same;
            if self.inner.known.certificates.iter().any(is_same) { Found::NotForVerification } else { Found::Unknown }
        })
    }

    /// Returns the keys of the document that meet a condition, in document order; `None` if there are none.
    fn list<'k>(&'k self, algorithm: Algorithm, meets: impl Fn(&VerifyingKey) -> bool) -> Option<Found<'k>> {
        let limit = match self.inner.origin {
            KeyOrigin::Remote => defaults::MAX_CANDIDATES,
            KeyOrigin::Static => 1,
        };
        let listed =
            Candidates::list(self.in_document_order().filter(|key| key.algorithm() == algorithm && meets(key)), limit);
        match listed {
            Ok(candidates) if candidates.is_empty() => None,
            Ok(candidates) => Some(Found::Keys(candidates)),
            Err(TooMany) => Some(Found::Ambiguous),
        }
    }

    /// Returns whether the table has a candidate for a token that `earlier` did not have, or rejects the token for another
    /// reason.
    pub(crate) fn has_other_candidate(&self, earlier: &Self, key_id: KeyId<'_>, algorithm: Algorithm) -> bool {
        let Found::Keys(mut candidates) = self.find(key_id, algorithm) else { return true };
        let Found::Keys(earlier) = earlier.find(key_id, algorithm) else { return true };
        candidates.any(|key| earlier.clone().all(|other| other.thumbprint() != key.thumbprint()))
    }

    /// Returns the keys with this `kid`, or those without one.
    fn keys_with(&self, kid: Option<&str>) -> &[VerifyingKey] {
        let keys = &self.inner.keys;
        let start = keys.partition_point(|key| key.kid() < kid);
        let end = keys.partition_point(|key| key.kid() <= kid);
        keys.get(start..end).unwrap_or_default()
    }

    fn in_document_order(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.inner.document_order.iter().filter_map(|index| self.inner.keys.get(*index))
    }

    /// Returns the number of usable keys. A key that is bound to two algorithms counts once.
    pub(crate) fn usable(&self) -> usize {
        self.inner.thumbprints.len()
    }

    /// Returns a digest that is equal for two tables if and only if they have the same keys with the same names, and the same
    /// names of skipped keys, in any order. It is computed in each call, since most tables are never compared.
    pub(crate) fn digest(&self) -> [u8; 32] {
        digest(&self.inner.keys, &self.inner.known)
    }

    /// Compares the table with an earlier one of the same issuer.
    pub(crate) fn changes_since(&self, earlier: &Self) -> Changes {
        let missing_in = |other: &Self, one: &Self| {
            one.inner.thumbprints.iter().filter(|thumbprint| !other.contains(thumbprint)).count()
        };
        let is_replaced = |kid: &str| {
            let (old, new) = (earlier.keys_with(Some(kid)), self.keys_with(Some(kid)));
            let is_retained = |key: &VerifyingKey| new.iter().any(|other| other.thumbprint() == key.thumbprint());
            !new.is_empty() && !old.is_empty() && !old.iter().any(is_retained)
        };
        Changes {
            added: missing_in(earlier, self),
            removed: missing_in(self, earlier),
            replaced: self.kids().filter(|kid| is_replaced(kid)).count(),
        }
    }

    /// Returns whether the table has this key.
    pub(in crate::keys) fn contains(&self, thumbprint: &Thumbprint) -> bool {
        self.inner.thumbprints.binary_search(thumbprint).is_ok()
    }

    /// Returns each `kid` of the document once, whether or not its keys are usable.
    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.inner.known.unique_kids()
    }

    /// Returns the keys of the document that have a `kid`, whether or not they are usable.
    pub(crate) fn named_keys(&self) -> Vec<NamedKey> {
        self.inner.known.kids.iter().filter_map(|(kid, thumbprint)| Some((kid.clone(), (*thumbprint)?))).collect()
    }

    /// Returns the table without the denied keys. Their kids stay known, so tokens with these kids cause no fetches.
    pub(crate) fn without(&self, denied: impl Fn(Option<&str>, &Thumbprint) -> bool) -> Self {
        let is_retained = |key: &&VerifyingKey| !denied(key.kid(), key.thumbprint());
        let keys = self.in_document_order().filter(is_retained).cloned().collect();
        Self::new(keys, self.inner.known.clone(), self.inner.origin)
    }

    /// Returns whether a token could have more candidates than the limit, counting the keys with its `kid` and those without
    /// one.
    pub(crate) fn exceeds_candidate_limit(&self) -> bool {
        Algorithm::ALL.iter().any(|&algorithm| {
            let candidates =
                |kid: Option<&str>| self.keys_with(kid).iter().filter(|key| key.algorithm() == algorithm).count();
            let named = self.kids().map(|kid| candidates(Some(kid))).max().unwrap_or(0);
            candidates(None).saturating_add(named) > defaults::MAX_CANDIDATES
        })
    }
}

impl Known {
    fn sort(&mut self) {
        self.kids.sort_unstable();
        self.kids.dedup();
        self.certificates.sort_unstable();
        self.certificates.dedup();
    }

    fn unique_kids(&self) -> impl Iterator<Item = &str> {
        let same_kid = self.kids.chunk_by(|(one, _), (other, _)| one == other);
        same_kid.filter_map(|same| same.first()).map(|(kid, _)| &**kid)
    }
}

impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable")
            .field("keys", &self.inner.keys.len())
            .field("origin", &self.inner.origin)
            .finish_non_exhaustive()
    }
}

/// Removes keys that are published twice with the same `kid`, so that they do not use up the limit for candidates.
fn without_duplicates(keys: Vec<(usize, VerifyingKey)>) -> Vec<(usize, VerifyingKey)> {
    let mut unique: Vec<(usize, VerifyingKey)> = Vec::with_capacity(keys.len());
    for (position, key) in keys {
        let earlier = unique.iter().rev().map(|(_, earlier)| earlier);
        let mut same_kid = earlier.take_while(|earlier| earlier.kid() == key.kid());
        let is_same = |earlier: &VerifyingKey| {
            (earlier.algorithm(), earlier.thumbprint(), earlier.issuer())
                == (key.algorithm(), key.thumbprint(), key.issuer())
        };
        if !same_kid.any(is_same) {
            unique.push((position, key));
        }
    }
    unique
}

fn digest(keys: &[VerifyingKey], known: &Known) -> [u8; 32] {
    let entries =
        keys.iter().map(|key| (key.kid(), key.algorithm(), *key.thumbprint(), key.certificate(), key.issuer()));
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    let mut text = Vec::new();
    for (kid, algorithm, thumbprint, certificate, issuer) in entries {
        push(&mut text, kid);
        push(&mut text, Some(algorithm.name()));
        text.extend_from_slice(thumbprint.as_bytes());
        // Both, also if there are none: otherwise a hash could be read as the start of the next entry.
        certificate.map_or([None, None], CertificateHashes::hashes).into_iter().for_each(|hash| push(&mut text, hash));
        push(&mut text, issuer);
    }
    text.push(END_OF_LIST);
    known.unique_kids().for_each(|kid| push(&mut text, Some(kid)));
    text.push(END_OF_LIST);
    known.certificates.iter().flat_map(CertificateHashes::hashes).for_each(|hash| push(&mut text, hash));
    thumbprint::sha256(&text)
}

/// Writes a text with its length before it, so that two different lists never have the same bytes.
fn push(to: &mut Vec<u8>, text: Option<&str>) {
    to.push(u8::from(text.is_some()));
    let text = text.unwrap_or_default();
    to.extend_from_slice(&text.len().to_be_bytes());
    to.extend_from_slice(text.as_bytes());
}

/// Differs from 0 and 1, the bytes with which an entry starts.
const END_OF_LIST: u8 = 2;

#[cfg(test)]
mod tests;
