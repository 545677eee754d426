//! `TokenDigests`: the digests of one token, by which a list is searched for it.

use crate::claims::ClientRule;
use crate::revocation::digest::{IssuerDigest, ValueSum};
use crate::revocation::kind::RevocationKind;
use crate::revocation::list::{Revocations, Shared};
use crate::token::{Claim, Member, Payload, unquote};

/// The digests of the claims of one token, with each name of its issuer. They do not depend on the entries of the list, so the token cache
/// stores them. A request with a cached token hashes only the claims other than `sub` that entries by
/// [subject](crate::revocation::Revocation::with_subject_claim) name, because they become known with the entries.
///
/// # Security
///
/// The digests are valid for one token and for one list, because each list hashes with its own random key. They are the digests that a
/// lookup of a new token would compute, so both lookups have the same result.
#[derive(Debug)]
pub(crate) struct TokenDigests {
    names: Box<[NameDigests]>,
    claims: [NamingClaim; KINDS],
}

/// The digests of a token with one name of its issuer.
#[derive(Clone, Copy, Debug)]
struct NameDigests {
    issuer: IssuerDigest,
    /// For each kind, the digest of the claim or, if it is absent or malformed, that of the issuer with the kind.
    kinds: [u64; KINDS],
}

/// The claim of a token that entries of a kind name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamingClaim {
    Present,
    Absent,
    Malformed,
}

impl Revocations {
    /// Computes the digests of a token whose issuer has these names.
    pub(crate) fn digests(
        &self,
        issuers: impl Iterator<Item = IssuerDigest>,
        payload: &Payload,
        clients: &ClientRule,
    ) -> TokenDigests {
        let shared = &*self.shared;
        let values = RevocationKind::IN_ORDER.map(|kind| (kind, shared.value(kind, payload, clients)));
        let digests = |issuer| {
            values.map(|(kind, (_, value))| match value {
                Some(value) => shared.digester().combine(issuer, value),
                None => shared.concerned(kind, issuer),
            })
        };
        let names = issuers.map(|issuer| NameDigests { issuer, kinds: digests(issuer) }).collect();
        TokenDigests { names, claims: values.map(|(_, (claim, _))| claim) }
    }
}

impl TokenDigests {
    /// Returns each kind, and the token's claim of that kind.
    pub(super) fn claims(&self) -> impl Iterator<Item = (RevocationKind, NamingClaim)> {
        RevocationKind::ALL.iter().copied().zip(self.claims.iter().copied())
    }

    /// Returns the digests of a kind, one for each name of the issuer.
    pub(super) fn for_kind(&self, kind: RevocationKind) -> impl Iterator<Item = u64> {
        self.names.iter().filter_map(move |name| name.kinds.get(kind.position()).copied())
    }

    pub(super) fn issuers(&self) -> impl Iterator<Item = IssuerDigest> {
        self.names.iter().map(|name| name.issuer)
    }

    /// Returns the memory in bytes outside of this value.
    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.names)
    }
}

impl Shared {
    /// Returns the claim that entries of a kind name, and what its value contributes to digests.
    fn value(&self, kind: RevocationKind, payload: &Payload, clients: &ClientRule) -> (NamingClaim, Option<ValueSum>) {
        let claim = match kind {
            RevocationKind::JwtId => payload.text(Claim::Jti),
            RevocationKind::Session => payload.text(Claim::Sid),
            RevocationKind::Subject => payload.text(Claim::Sub),
            RevocationKind::Client => match clients.claim.raw(payload).map(unquote) {
                Some(Some(client)) => return (NamingClaim::Present, Some(self.digester().value(&client))),
                Some(None) => Member::Malformed,
                None => Member::Absent,
            },
            RevocationKind::Issuer => return (NamingClaim::Present, None),
        };
        match claim {
            Member::Is(value) => (NamingClaim::Present, Some(self.digester().value(value))),
            Member::Absent => (NamingClaim::Absent, None),
            Member::Malformed => (NamingClaim::Malformed, None),
        }
    }
}

const KINDS: usize = RevocationKind::IN_ORDER.len();
