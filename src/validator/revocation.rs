//! The check of the list of revocations, on every request.

use crate::claims::{ClaimError, ClaimErrorReason, Claims};
use crate::clock::Timestamp;
use crate::defaults;
use crate::rejection::Rejection;
use crate::revocation::{IssuerDigest, Match, RevocationKind, Revocations};
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
}

impl RevocationList {
    /// Returns whether the list knows what is revoked.
    pub(super) fn is_ready(&self) -> bool {
        self.list.status().is_ready()
    }
}

impl Core {
    /// Checks that the token is not revoked. `now` is the time of the check of `exp`, so that no entry ends between the two checks.
    pub(super) fn check_revocation(&self, payload: &Payload, route: &RouteId, now: Timestamp) -> Result<(), Rejection> {
        let Some(revocations) = &self.revocations else { return Ok(()) };
        if revocations.list.is_empty() {
            return Ok(());
        }
        let Some(route) = self.route(route) else { return Ok(()) };
        // A name that a rule accepts is not listed. It is another tenant, or one more name of the issuer.
        let ruled = route.has_rule().then(|| revocations.list.issuer(route.issuer_name(payload)));
        let issuer = route.configured_issuer().filter(|_| !route.is_tenant());
        let listed = issuer.and_then(|issuer| revocations.issuers.get(issuer));
        let issuers = listed.map(|names| &**names).unwrap_or_default().iter().copied().chain(ruled);
        // Entries count as long as a validator would accept their tokens.
        let earliest = now.saturating_sub(self.rules.leeway);
        let outcome = revocations.list.check(issuers, payload, &self.rules.clients, earliest);
        outcome.map_err(|reason| match reason {
            Match::Revoked(by) => Rejection::Revoked { by },
            Match::Malformed(RevocationKind::Client) => {
                Rejection::Claims(ClaimError::Client(ClaimErrorReason::Malformed))
            }
            Match::Malformed(_) => Rejection::Claims(ClaimError::SessionId),
            Match::Unavailable => Rejection::RevocationsUnavailable { retry_after: defaults::RETRY_AFTER_MIN },
        })
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

/// Counts a rejection by the list.
pub(super) fn count_rejection(rejection: &Rejection) {
    if let Rejection::Revoked { by } = rejection {
        telemetry::revocation::revoked(by.name());
    }
}
