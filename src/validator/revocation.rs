//! The check of the list of revocations, on every request.

use crate::claims::{ClaimError, ClaimErrorReason, Claims, ClientRule};
use crate::clock::Timestamp;
use crate::defaults;
use crate::rejection::Rejection;
use crate::revocation::{IssuerDigest, Match, RevocationKind, Revocations, TokenDigests};
use crate::telemetry;
use crate::token::Payload;
use crate::validator::Core;
use crate::validator::routing::RouteId;

/// A list of revocations, and the digests of the names of each issuer of the validator.
pub(super) struct RevocationList {
    list: Revocations,
    issuers: Box<[Box<[IssuerDigest]>]>,
}

impl RevocationList {
    pub(super) fn new(list: Revocations, issuers: Box<[Box<[IssuerDigest]>]>) -> Self {
        Self { list, issuers }
    }

    /// Returns whether the list knows what is revoked.
    pub(super) fn is_ready(&self) -> bool {
        self.list.status().is_ready()
    }
}

/// The digests of the names of the issuer of one token.
struct IssuerNames<'l> {
    list: &'l Revocations,
    listed: &'l [IssuerDigest],
    ruled: Option<IssuerDigest>,
}

impl IssuerNames<'_> {
    fn count(&self) -> usize {
        self.listed.len().saturating_add(usize::from(self.ruled.is_some()))
    }

    fn digests(&self, payload: &Payload, clients: &ClientRule) -> TokenDigests {
        self.list.digests(self.listed.iter().copied().chain(self.ruled), payload, clients)
    }
}

impl Core {
    /// Returns the digests by which the list is searched for a token; `None` without a list.
    fn token_digests(&self, payload: &Payload, route: &RouteId) -> Option<TokenDigests> {
        self.names(payload, route).map(|names| names.digests(payload, &self.rules.clients))
    }

    /// Returns the digests that the token cache stores with a token; `None` without a list, and for an issuer with so many names that
    /// they would displace other tokens. Such a token is looked up like a new one.
    pub(super) fn digests_to_store(&self, payload: &Payload, route: &RouteId) -> Option<TokenDigests> {
        let names = self.names(payload, route)?;
        let is_stored = names.count() <= defaults::MAX_STORED_ISSUER_NAMES;
        is_stored.then(|| names.digests(payload, &self.rules.clients))
    }

    /// Returns the names of the issuer of a token; `None` without a list.
    fn names(&self, payload: &Payload, route: &RouteId) -> Option<IssuerNames<'_>> {
        let RevocationList { list, issuers } = self.revocations.as_ref()?;
        let route = self.route(route)?;
        // A name that a rule accepts is not listed. It is another tenant, or one more name of the issuer.
        let ruled = route.has_rule().then(|| list.issuer(route.issuer_name(payload)));
        let issuer = route.configured_issuer().filter(|_| !route.is_tenant());
        let listed = issuer.and_then(|issuer| issuers.get(issuer)).map(|names| &**names).unwrap_or_default();
        Some(IssuerNames { list, listed, ruled })
    }

    /// Returns the list, unless it contains nothing and its log is read.
    fn filled_list(&self) -> Option<&Revocations> {
        self.revocations.as_ref().map(|revocations| &revocations.list).filter(|list| !list.is_empty())
    }

    /// Checks that the token is not revoked. `now` is the time of the check of `exp`, so that no entry ends between the two checks.
    pub(super) fn check_revocation(&self, payload: &Payload, route: &RouteId, now: Timestamp) -> Result<(), Rejection> {
        self.check_revocation_by(None, payload, route, now)
    }

    /// Checks that the token with these digests is not revoked. They are computed if they are not known.
    pub(super) fn check_revocation_by(
        &self,
        digests: Option<&TokenDigests>,
        payload: &Payload,
        route: &RouteId,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        let Some(list) = self.filled_list() else { return Ok(()) };
        // Entries count as long as a validator would accept their tokens.
        let earliest = now.saturating_sub(self.rules.leeway);
        let computed = if digests.is_none() { self.token_digests(payload, route) } else { None };
        let Some(digests) = digests.or(computed.as_ref()) else { return Ok(()) };
        list.check(digests, payload, earliest).map_err(rejection_of)
    }

    /// Checks again after a request has waited: the token may have been revoked meanwhile.
    pub(super) fn check_revocation_again<C>(&self, claims: &Claims<C>, route: &RouteId) -> Result<(), Rejection> {
        self.check_revocation(claims.payload(), route, self.clock.now())
    }

    /// Checks that a new token is not revoked, and whether revocations last as long as the token is valid.
    pub(super) fn check_revocation_of_new(
        &self,
        payload: &Payload,
        route: &RouteId,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        self.check_life(payload, now);
        self.check_revocation(payload, route, now)
    }

    /// Counts a token that lives longer than revocations last.
    pub(super) fn check_life(&self, payload: &Payload, now: Timestamp) {
        if let Some(revocations) = &self.revocations {
            revocations.list.check_life(payload, now);
        }
    }
}

/// Returns the rejection of a token that the list matches.
fn rejection_of(reason: Match) -> Rejection {
    match reason {
        Match::Revoked(by) => Rejection::Revoked { by },
        Match::Malformed(RevocationKind::Client) => Rejection::Claims(ClaimError::Client(ClaimErrorReason::Malformed)),
        Match::Malformed(_) => Rejection::Claims(ClaimError::SessionId),
        Match::Unavailable => Rejection::RevocationsUnavailable { retry_after: defaults::RETRY_AFTER_MIN },
    }
}

/// Counts a rejection by the list.
pub(super) fn count_rejection(rejection: &Rejection) {
    if let Rejection::Revoked { by } = rejection {
        telemetry::revocation::revoked(by.name());
    }
}
