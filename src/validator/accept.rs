//! The last steps of a validation: possession, the organization, revocation, custom claims, the application's checks, replay, the token
//! cache.

use std::sync::Arc;

use crate::claims::{self, Claims};
use crate::clock::Timestamp;
use crate::defaults;
use crate::dpop::{ProofError, VerifiedProof};
use crate::rejection::{PossessionError, Rejection};
use crate::request::credential::Credential;
use crate::telemetry::{self, Validation};
use crate::validator::context::RequestContext;
use crate::validator::decision::{Checked, Decision, NewEntry, Pending, PendingAnswer, PendingRecord, Validated};
use crate::validator::find::{FindError, PendingTenant};
use crate::validator::possession::{BoundToken, Proven, RecordDecision};
use crate::validator::routing::{Route, RouteId};
use crate::validator::token_cache::entry::{CacheEntry, EntryLifetime};
use crate::validator::token_cache::lookup::Hit;
use crate::validator::token_cache::proof::{KeyProof, Proof};
use crate::validator::verify::VerifiedToken;
use crate::validator::{Core, Validator};

impl<C: Send + Sync + 'static> Validator<C> {
    /// Makes the checks that follow a valid signature. `route` is the one whose issuer has verified it.
    pub(super) fn accept_verified(
        &self,
        token: &[u8],
        verified: VerifiedToken,
        route: Route<'_>,
        context: &RequestContext,
    ) -> Decision<C> {
        self.core.header_cache.insert(token, verified.token.header());
        self.core.record_proof(route);
        match self.check_verified(token, verified, route, context) {
            Ok(checked) => match self.core.issuer_introspecting_jwts(&checked.route) {
                Some(issuer) => self.decide_by_answer(token, context, PendingAnswer::signed(issuer, checked)),
                None => self.accept_signed(token, checked),
            },
            Err(rejection) => Decision::Made(Err(rejection)),
        }
    }

    /// Accepts a token because of its signature.
    pub(super) fn accept_signed(&self, token: &[u8], checked: Checked<C>) -> Decision<C> {
        let Checked { claims, proof, mut new_entry, route } = checked;
        // An HMAC check is faster than a lookup.
        let is_asymmetric = claims.header().is_some_and(|header| !header.algorithm().is_symmetric());
        new_entry.lifetime = new_entry.lifetime.filter(|_| is_asymmetric);
        self.record(token, claims, proof, &route, Some(new_entry))
    }

    /// Makes the checks whose results are never cached.
    pub(super) fn accept_cached(&self, token: &[u8], hit: &Hit<'_, C>, context: &RequestContext) -> Decision<C> {
        let Hit { claims, route, bound, digests, checked_at } = *hit;
        let checked = self.core.check_possession(bound, context, checked_at).and_then(|proven| {
            self.core.check_organization(claims.payload(), context)?;
            self.core.check_revocation_by(digests, claims.payload(), route, checked_at)?;
            Ok(proven)
        });
        let Proven { confirmation, proof } = match checked {
            Ok(proven) => proven,
            Err(rejection) => return Decision::Made(Err(rejection)),
        };
        let claims = claims.clone().with_proven(confirmation);
        match proof {
            // Nothing is recorded or stored. `record` would take 120 instructions more.
            None => Decision::Made(self.application.check(&claims).map(|()| Validated { claims, nonce: None })),
            Some(_) => self.record(token, claims, proof, route, None),
        }
    }

    /// Waits for an answer about the token, and for the replay store, if a decision needs them.
    pub(crate) async fn settle(
        &self,
        token: &Credential<'_>,
        context: &RequestContext,
        decision: Decision<C>,
    ) -> Result<Validated<C>, Rejection> {
        let decision = match decision {
            Decision::Pending(Pending::Tenant(pending)) => {
                Box::pin(self.wait_for_tenant(token, context, &pending)).await
            }
            decision => decision,
        };
        let decision = match decision {
            // Boxed, so that a request that waits for keys takes no memory for this.
            Decision::Pending(Pending::Answer(pending)) => {
                Box::pin(self.wait_for_answer(token, context, *pending)).await
            }
            decision => decision,
        };
        match decision {
            Decision::Made(result) => result,
            Decision::Pending(Pending::Record(pending)) => Box::pin(self.wait_for_record(token, *pending)).await,
            // With the tenant, the keys and the answer at hand, the decision waits for none of them.
            Decision::Pending(Pending::Tenant(_) | Pending::Key(_) | Pending::Answer(_)) => Err(Rejection::Signature),
        }
    }

    /// Waits until the issuer is looked up, and decides again, which may wait for its keys.
    async fn wait_for_tenant(
        &self,
        token: &Credential<'_>,
        context: &RequestContext,
        pending: &PendingTenant,
    ) -> Decision<C> {
        let validation = Validation::waiting(&*self.core.clock);
        if let Err(rejection) = validation.instrument(self.core.resolve(pending)).await {
            let decision = Decision::Made(Err(rejection));
            self.record_decision(token, validation, &decision);
            return decision;
        }
        validation.postponed();
        match self.decide_later(token, context, self.try_validate(token, context)).await {
            // The tenant is gone already.
            Decision::Pending(Pending::Tenant(pending)) => {
                let validation = Validation::waiting(&*self.core.clock);
                let decision = Decision::Made(Err(FindError::Unresolved(*pending).into()));
                self.record_decision(token, validation, &decision);
                decision
            }
            decision => decision,
        }
    }

    async fn wait_for_record(
        &self,
        token: &Credential<'_>,
        pending: PendingRecord<C>,
    ) -> Result<Validated<C>, Rejection> {
        let validation = Validation::waiting(&*self.core.clock);
        let result = validation.instrument(self.accept_later(token.as_bytes(), pending)).await;
        self.record_result(token, validation, &result);
        result
    }

    /// Waits for the replay store, and makes the checks that follow.
    async fn accept_later(&self, token: &[u8], pending: PendingRecord<C>) -> Result<Validated<C>, Rejection> {
        let PendingRecord { claims, route, proof, recording, new_entry } = pending;
        let clock = &*self.core.clock;
        let started = clock.monotonic();
        let recorded = self.core.possession.recorded(recording, &proof, clock).await;
        let took = clock.monotonic().saturating_since(started);
        telemetry::proof_checked(outcome(recorded), Some(took));
        if recorded.is_ok() {
            self.core.check_route_again(&claims, &route)?;
            self.core.check_revocation_again(&claims, &route)?;
        }
        self.finish(token, claims, &route, Some(&proof), new_entry, recorded)
    }

    fn check_verified(
        &self,
        token: &[u8],
        verified: VerifiedToken,
        route: Route<'_>,
        context: &RequestContext,
    ) -> Result<Checked<C>, Rejection> {
        let VerifiedToken { token: signed, epoch } = verified;
        let checked_at = self.core.clock.now();
        self.core.check_claims(&signed, route, checked_at)?;
        let route = route.id();
        let bound = self.core.possession.bound_token(signed.payload(), token).map(Arc::new);
        let Proven { confirmation, proof } = self.core.check_possession(bound.as_deref(), context, checked_at)?;
        self.core.check_organization(signed.payload(), context)?;
        self.core.check_revocation_of_new(signed.payload(), &route, checked_at)?;
        let (header, payload, thumbprint) = signed.into_parts();
        let claims = Claims::verified(header, payload, Some(thumbprint), Arc::clone(&self.core.claims_settings));
        let claims = self.application.read(claims)?.with_proven(confirmation);
        let valid_until = self.token_cache.as_ref().and_then(|_| self.core.rules.valid_until(claims.payload()));
        let lifetime = valid_until.map(|valid_until| {
            let stored_at = self.core.clock.monotonic();
            EntryLifetime { checked_at, valid_until, stored_at, max_age: defaults::TOKEN_CACHE_MAX_AGE }
        });
        let new_entry = NewEntry { proof: KeyProof::new(thumbprint, epoch), lifetime, bound };
        Ok(Checked { claims, proof, route, new_entry })
    }

    /// Makes the application's checks, and records the proof, if there is one. The proof is recorded last, so that a rejected
    /// request has not used it. Only after a wait for the store, the issuer and the revocation are checked again.
    pub(super) fn record(
        &self,
        token: &[u8],
        claims: Claims<C>,
        proof: Option<VerifiedProof>,
        route: &RouteId,
        new_entry: Option<NewEntry>,
    ) -> Decision<C> {
        if let Err(rejection) = self.application.check(&claims) {
            return Decision::Made(Err(rejection));
        }
        let Some(proof) = proof else {
            return Decision::Made(self.finish(token, claims, route, None, new_entry, Ok(())));
        };
        match self.core.possession.record(&proof, || self.core.clock.now()) {
            RecordDecision::Made(recorded) => {
                telemetry::proof_checked(outcome(recorded), None);
                Decision::Made(self.finish(token, claims, route, Some(&proof), new_entry, recorded))
            }
            RecordDecision::Pending(recording) => Decision::Pending(Pending::Record(Box::new(PendingRecord {
                claims,
                route: route.clone(),
                proof,
                recording,
                new_entry,
            }))),
        }
    }

    /// Stores a new token in the token cache if it is accepted.
    fn finish(
        &self,
        token: &[u8],
        claims: Claims<C>,
        route: &RouteId,
        proof: Option<&VerifiedProof>,
        new_entry: Option<NewEntry>,
        recorded: Result<(), PossessionError>,
    ) -> Result<Validated<C>, Rejection> {
        recorded.map_err(Rejection::Possession)?;
        if new_entry.is_some() && telemetry::logs_rejections() {
            claims::malformed(claims.payload()).for_each(telemetry::claim_ignored);
        }
        if let (Some(token_cache), Some(NewEntry { proof, lifetime: Some(lifetime), bound })) =
            (&self.token_cache, new_entry)
        {
            // What one request has proven is not true for another one.
            let unproven = claims.clone().with_proven(claims::ProvenConfirmation::None);
            let digests = self.core.digests_to_store(unproven.payload(), route);
            let entry = CacheEntry::new(unproven, route.clone(), Proof::Key(proof), lifetime, bound, digests);
            drop(token_cache.insert(token, entry));
        }
        Ok(Validated { claims, nonce: proof.and_then(VerifiedProof::nonce_age) })
    }
}

impl Core {
    /// Checks again after a request has waited: the issuer may have been removed meanwhile.
    fn check_route_again<C>(&self, claims: &Claims<C>, id: &RouteId) -> Result<(), Rejection> {
        let is_trusted = self.route(id).is_some_and(|route| route.is_trusted(claims.payload()));
        if is_trusted { Ok(()) } else { Err(id.error_of_change()) }
    }

    fn check_possession(
        &self,
        bound: Option<&BoundToken>,
        context: &RequestContext,
        now: Timestamp,
    ) -> Result<Proven, Rejection> {
        let proven = self.possession.check(bound, &context.presentation, &context.certificate, now);
        proven.map_err(|error| {
            match error {
                PossessionError::Proof(_) => telemetry::proof_checked(outcome(Err(error)), None),
                // Only the header of a trusted peer is read, so the proxy is misconfigured; or no peer is known, so the server is.
                PossessionError::Certificate(error) => {
                    let reason =
                        error.misconfiguration().filter(|_| self.certificate_log.admits(self.clock.monotonic()));
                    reason.into_iter().for_each(telemetry::certificate_header_unusable);
                }
                _ => {}
            }
            Rejection::Possession(error)
        })
    }
}

/// Returns the outcome of a proof for the metric.
fn outcome(result: Result<(), PossessionError>) -> &'static str {
    match result {
        Ok(()) => "first",
        Err(PossessionError::Proof(ProofError::Replayed)) => "replayed",
        Err(PossessionError::Proof(ProofError::Nonce(_))) => "nonce",
        Err(PossessionError::ReplayStore { .. }) => "unavailable",
        Err(_) => "invalid",
    }
}
