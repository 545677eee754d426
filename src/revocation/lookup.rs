//! The look-up of a token in the list.

use std::borrow::Cow;

use crate::claims;
use crate::clock::Timestamp;
use crate::revocation::kind::RevocationKind;
use crate::revocation::list::{HAS_SUBJECT_CLAIMS, Revocations, Shared, UNAVAILABLE};
use crate::revocation::set::Set;
use crate::revocation::token_digests::{NamingClaim, TokenDigests};
use crate::telemetry;
use crate::token::{self, Claim, Payload, unquote};

/// Why a token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// An entry of this kind names the token.
    Revoked(RevocationKind),
    /// An entry of this kind concerns the issuer, and the claim with the name is not a string.
    Malformed(RevocationKind),
    /// The log is not read, so it is not known whether the token is revoked.
    Unavailable,
}

impl Revocations {
    /// Looks a token up. `now` is the time less the leeway.
    pub(crate) fn check(&self, token: &TokenDigests, payload: &Payload, now: Timestamp) -> Result<(), Match> {
        let flags = self.shared.flags();
        if flags & UNAVAILABLE != 0 {
            self.ensure_running();
            return Err(Match::Unavailable);
        }
        let lookup = Lookup { shared: &self.shared, set: &self.shared.set(), token, payload, now };
        for (kind, claim) in token.claims().filter(|(kind, _)| flags & kind.bit() != 0) {
            lookup.check(kind, claim)?;
        }
        // The claims stay known after the last entry of this kind has ended.
        let needed = HAS_SUBJECT_CLAIMS | RevocationKind::Subject.bit();
        if flags & needed == needed { lookup.check_subject_claims() } else { Ok(()) }
    }

    /// Counts a token that lives longer than entries last by default.
    pub(crate) fn check_life(&self, payload: &Payload, now: Timestamp) {
        let date = |claim| claims::date(payload, claim).ok();
        let Some(expires_at) = date(Claim::Exp) else { return };
        // Without `iat`, the rest of its life is known.
        let life = expires_at.saturating_since(date(Claim::Iat).unwrap_or(now));
        if life > self.max_token_life() {
            telemetry::revocation::long_token_life();
            self.shared.warn_once(LONG_LIFE, telemetry::revocation::warn_of_long_token_life);
        }
    }
}

/// One look-up of one token.
struct Lookup<'l> {
    shared: &'l Shared,
    set: &'l Set,
    token: &'l TokenDigests,
    payload: &'l Payload,
    now: Timestamp,
}

impl Lookup<'_> {
    fn check(&self, kind: RevocationKind, claim: NamingClaim) -> Result<(), Match> {
        // A token without `sub` or client is not named by entries of these kinds, and a malformed `sub` was rejected before.
        let needs_claim = matches!(kind, RevocationKind::JwtId | RevocationKind::Session);
        match claim {
            NamingClaim::Present if self.has_entry(kind) => Err(Match::Revoked(kind)),
            NamingClaim::Malformed if kind != RevocationKind::Subject && self.has_entry_of_issuer(kind) => {
                Err(Match::Malformed(kind))
            }
            NamingClaim::Absent
                if needs_claim && !self.shared.has_warned(kind.bit()) && self.has_entry_of_issuer(kind) =>
            {
                self.shared.warn_once(kind.bit(), || telemetry::revocation::claim_missing(kind.name()));
                Ok(())
            }
            NamingClaim::Present | NamingClaim::Malformed | NamingClaim::Absent => Ok(()),
        }
    }

    /// Checks the claims other than `sub` that entries compare with subjects.
    fn check_subject_claims(&self) -> Result<(), Match> {
        let (kind, digester) = (RevocationKind::Subject, self.shared.digester());
        for claim in self.shared.subject_claims().iter() {
            let Some(raw) = token::member(self.payload.json(), claim) else { continue };
            let value = digester.value(&unquote(raw).unwrap_or(Cow::Borrowed(raw)));
            let mut issuers = self.token.issuers();
            if issuers
                .any(|issuer| self.is_issued_before(kind, digester.combine(digester.within(issuer, claim), value)))
            {
                return Err(Match::Revoked(kind));
            }
        }
        Ok(())
    }

    /// Returns whether an entry of a kind rejects the token.
    fn has_entry(&self, kind: RevocationKind) -> bool {
        self.token.for_kind(kind).any(|digest| match kind.has_time() {
            true => self.is_issued_before(kind, digest),
            false => self.set.find(kind, digest).is_some_and(|entry| self.counts(entry.ends_at)),
        })
    }

    /// Returns whether the token was issued in or before the second of an entry. A token without `iat` may have been.
    fn is_issued_before(&self, kind: RevocationKind, digest: u64) -> bool {
        self.set.find_issued_before(kind, digest).is_some_and(|entry| {
            let next_second = Timestamp::from_secs(i64::from(entry.before).saturating_add(1));
            let issued_at = claims::date(self.payload, Claim::Iat).ok();
            self.counts(entry.ends_at) && issued_at.is_none_or(|issued_at| issued_at < next_second)
        })
    }

    /// Returns whether an entry of a kind concerns the issuer of the token, which has no valid claim of this kind.
    fn has_entry_of_issuer(&self, kind: RevocationKind) -> bool {
        let entries = self.token.for_kind(kind).filter_map(|digest| self.set.find_concerned(digest));
        { entries }.any(|entry| self.counts(entry.ends_at))
    }

    fn counts(&self, ends_at: u32) -> bool {
        self.now < Timestamp::from_secs(i64::from(ends_at))
    }
}

/// The bit of the warning of a long token life. Those of missing claims are the bits of the kinds.
const LONG_LIFE: u8 = 1 << 7;
