//! The look-up of a token in the list.

use std::borrow::Cow;

use crate::claims::{self, ClientRule};
use crate::clock::Timestamp;
use crate::revocation::digest::{IssuerDigest, ValueSum};
use crate::revocation::kind::RevocationKind;
use crate::revocation::list::{HAS_SUBJECT_CLAIMS, Revocations, Shared, UNAVAILABLE};
use crate::revocation::set::Set;
use crate::telemetry;
use crate::token::{self, Claim, Member, Payload, unquote};

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
    /// Looks a token up whose issuer has these names. `now` is the time less the leeway.
    pub(crate) fn check(
        &self,
        issuers: impl Iterator<Item = IssuerDigest> + Clone,
        payload: &Payload,
        clients: &ClientRule,
        now: Timestamp,
    ) -> Result<(), Match> {
        let flags = self.shared.flags();
        if flags & UNAVAILABLE != 0 {
            self.ensure_running();
            return Err(Match::Unavailable);
        }
        let lookup = Lookup { shared: &self.shared, set: &self.shared.set(), payload, issuers, now };
        for kind in RevocationKind::ALL.iter().filter(|kind| flags & kind.bit() != 0) {
            lookup.check(*kind, clients)?;
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
struct Lookup<'l, I> {
    shared: &'l Shared,
    set: &'l Set,
    payload: &'l Payload,
    issuers: I,
    now: Timestamp,
}

impl<I: Iterator<Item = IssuerDigest> + Clone> Lookup<'_, I> {
    fn check(&self, kind: RevocationKind, clients: &ClientRule) -> Result<(), Match> {
        let value = |value: &str| self.shared.digester().value(value);
        let is_rejected = match kind {
            RevocationKind::JwtId => self.is_named(kind, &self.payload.text(Claim::Jti))?,
            RevocationKind::Session => self.is_named(kind, &self.payload.text(Claim::Sid))?,
            RevocationKind::Subject => match self.payload.text(Claim::Sub) {
                Member::Is(subject) => self.is_issued_before(kind, value(subject)),
                Member::Absent | Member::Malformed => false,
            },
            RevocationKind::Client => match clients.claim.raw(self.payload).map(unquote) {
                Some(Some(client)) => self.is_issued_before(kind, value(&client)),
                Some(None) if self.is_concerned(kind) => return Err(Match::Malformed(kind)),
                Some(None) | None => false,
            },
            RevocationKind::Issuer => self.is_issued_before(kind, self.shared.digester().number(kind.bit())),
        };
        if is_rejected { Err(Match::Revoked(kind)) } else { Ok(()) }
    }

    /// Checks the claims other than `sub` that entries compare with subjects.
    fn check_subject_claims(&self) -> Result<(), Match> {
        let (kind, digester) = (RevocationKind::Subject, self.shared.digester());
        for claim in self.shared.subject_claims().iter() {
            let Some(raw) = token::member(self.payload.json(), claim) else { continue };
            let value = digester.value(&unquote(raw).unwrap_or(Cow::Borrowed(raw)));
            let digests = self.issuers.clone().map(|issuer| digester.combine(digester.within(issuer, claim), value));
            if self.any_issued_before(kind, digests) {
                return Err(Match::Revoked(kind));
            }
        }
        Ok(())
    }

    /// Returns whether an entry names the value of a claim.
    fn is_named(&self, kind: RevocationKind, claim: &Member<&str>) -> Result<bool, Match> {
        match claim {
            Member::Is(value) => {
                let value = self.shared.digester().value(value);
                let entry = |digest| self.set.find(kind, digest).is_some_and(|entry| self.counts(entry.ends_at));
                Ok(self.digests(value).any(entry))
            }
            Member::Malformed if self.is_concerned(kind) => Err(Match::Malformed(kind)),
            Member::Absent if !self.shared.has_warned(kind.bit()) && self.is_concerned(kind) => {
                self.shared.warn_once(kind.bit(), || telemetry::revocation::claim_missing(kind.name()));
                Ok(false)
            }
            Member::Absent | Member::Malformed => Ok(false),
        }
    }

    fn is_issued_before(&self, kind: RevocationKind, value: ValueSum) -> bool {
        self.any_issued_before(kind, self.digests(value))
    }

    /// Returns whether the token was issued in or before the second of an entry. A token without `iat` may have been.
    fn any_issued_before(&self, kind: RevocationKind, digests: impl Iterator<Item = u64>) -> bool {
        { digests }.filter_map(|digest| self.set.find_issued_before(kind, digest)).any(|entry| {
            let next_second = Timestamp::from_secs(i64::from(entry.before).saturating_add(1));
            let issued_at = claims::date(self.payload, Claim::Iat).ok();
            self.counts(entry.ends_at) && issued_at.is_none_or(|issued_at| issued_at < next_second)
        })
    }

    fn is_concerned(&self, kind: RevocationKind) -> bool {
        let mut entries =
            self.issuers.clone().filter_map(|issuer| self.set.find_concerned(self.shared.concerned(kind, issuer)));
        entries.any(|entry| self.counts(entry.ends_at))
    }

    /// Returns the digests of a value with each name of the issuer.
    fn digests(&self, value: ValueSum) -> impl Iterator<Item = u64> {
        self.issuers.clone().map(move |issuer| self.shared.digester().combine(issuer, value))
    }

    fn counts(&self, ends_at: u32) -> bool {
        self.now < Timestamp::from_secs(i64::from(ends_at))
    }
}

/// The bit of the warning of a long token life. Those of missing claims are the bits of the kinds.
const LONG_LIFE: u8 = 1 << 7;
