//! The last steps of a validation: possession, the organization, revocation, custom claims, replay, the application's checks, the token cache.

use crate::claims::{self, Claims};
use crate::defaults;
use crate::dpop::{ProofError, VerifiedProof};
use crate::mutual_tls::CertificateError;
use crate::rejection::{PossessionError, Rejection};
use crate::request::credential::Credential;
use crate::telemetry::{self, Validation};
use crate::token::Claim;
use crate::validator::context::RequestContext;
use crate::validator::decision::{Checked, Decision, NewEntry, Pending, PendingAnswer, PendingClaim, Validated};
use crate::validator::possession::{BoundToken, ClaimDecision, Proven};
use crate::validator::token_cache::entry::{CacheEntry, EntryLifetime, KeyProof, Proof};
use crate::validator::token_cache::lookup::Hit;
use crate::validator::verify::VerifiedToken;
use crate::validator::{Core, Validator};

impl<C: Send + Sync + 'static> Validator<C> {
    /// Makes the checks that follow a valid signature.
    pub(super) fn accept_verified(
        &self,
        token: &[u8],
        verified: VerifiedToken,
        context: &RequestContext,
    ) -> Decision<C> {
        self.core.header_cache.insert(token, verified.token.header());
        match self.check_verified(token, verified, context) {
            Ok(checked) => match self.core.asked_about_every_token(checked.route) {
                Some(issuer) => self.decide_by_answer(token, context, PendingAnswer::signed(issuer, checked)),
                None => self.accept_signed(token, checked),
            },
            Err(rejection) => Decision::Made(Err(rejection)),
        }
    }

    /// Accepts a token because of its signature.
    pub(super) fn accept_signed(&self, token: &[u8], checked: Checked<C>) -> Decision<C> {
        let Checked { claims, proof, new_entry, route: _ } = checked;
        // An HMAC check is faster than a lookup.
        let is_asymmetric = claims.header().is_some_and(|header| !header.algorithm().is_symmetric());
        self.claim(token, claims, proof, new_entry.filter(|_| is_asymmetric))
    }

    /// Makes the checks whose results are never cached.
    pub(super) fn accept_cached(&self, token: &[u8], hit: Hit<C>, context: &RequestContext) -> Decision<C> {
        let Hit { claims, route, bound } = hit;
        let proven = self.core.check_possession(bound.as_deref(), context);
        let checked = proven.and_then(|proven| {
            self.core.check_organization(claims.payload(), context)?;
            self.core.check_revocation(claims.payload(), route)?;
            Ok(proven)
        });
        match checked {
            Ok(Proven { confirmation, proof }) => self.claim(token, claims.with_proven(confirmation), proof, None),
            Err(rejection) => Decision::Made(Err(rejection)),
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
            // Boxed, so that a request that waits for keys takes no memory for this.
            Decision::Pending(Pending::Answer(pending)) => {
                Box::pin(self.wait_for_answer(token, context, *pending)).await
            }
            decision => decision,
        };
        match decision {
            Decision::Made(result) => result,
            Decision::Pending(Pending::Claim(claim)) => Box::pin(self.wait_for_claim(token, *claim)).await,
            // With the keys and the answer at hand, the decision waits for neither.
            Decision::Pending(Pending::Key(_) | Pending::Answer(_)) => Err(Rejection::Signature),
        }
    }

    async fn wait_for_claim(&self, token: &Credential<'_>, claim: PendingClaim<C>) -> Result<Validated<C>, Rejection> {
        let validation = Validation::waiting(&*self.core.clock);
        let result = validation.instrument(self.accept_later(token.as_bytes(), claim)).await;
        self.record_result(token, validation, &result);
        result
    }

    /// Waits for the replay store, and makes the checks that follow.
    async fn accept_later(&self, token: &[u8], pending: PendingClaim<C>) -> Result<Validated<C>, Rejection> {
        let PendingClaim { claims, proof, new_entry } = pending;
        let clock = &*self.core.clock;
        let started = clock.monotonic();
        let claimed = self.core.possession.claim_later(&proof, || clock.now()).await;
        let took = clock.monotonic().saturating_since(started);
        telemetry::proof_checked(outcome(claimed), None, Some(took));
        self.finish(token, claims, Some(&proof), new_entry, claimed)
    }

    fn check_verified(
        &self,
        token: &[u8],
        verified: VerifiedToken,
        context: &RequestContext,
    ) -> Result<Checked<C>, Rejection> {
        let VerifiedToken { token: signed, epoch } = verified;
        let checked_at = self.core.clock.now();
        let route = self.core.check_claims(&signed, checked_at)?;
        let confirmation = signed.payload().raw(Claim::Cnf).and_then(claims::Confirmation::parse);
        let bound = self.core.possession.bound_token(confirmation, token);
        let Proven { confirmation, proof } = self.core.check_possession(bound.as_deref(), context)?;
        self.core.check_organization(signed.payload(), context)?;
        self.core.check_revocation_of_new(signed.payload(), route)?;
        let (header, payload, thumbprint) = signed.into_parts();
        let claims = Claims::verified(header, payload, Some(thumbprint), self.core.implied_scopes.clone());
        let claims = self.application.read(claims)?.with_proven(confirmation);
        let is_cacheable = self.token_cache.is_some();
        let new_entry = self.core.rules.valid_until(claims.payload()).filter(|_| is_cacheable).map(|valid_until| {
            let stored_at = self.core.clock.monotonic();
            let lifetime = EntryLifetime { checked_at, valid_until, stored_at, max_age: defaults::TOKEN_CACHE_MAX_AGE };
            NewEntry { route, proof: Proof::Key(KeyProof::new(thumbprint, epoch)), lifetime, bound }
        });
        Ok(Checked { claims, proof, route, new_entry })
    }

    /// Claims the proof, if there is one. This is the last check of the proof, so that a rejected proof is not used.
    pub(super) fn claim(
        &self,
        token: &[u8],
        claims: Claims<C>,
        proof: Option<VerifiedProof>,
        new_entry: Option<NewEntry>,
    ) -> Decision<C> {
        let claimed = match &proof {
            None => Ok(()),
            Some(proof) => match self.core.possession.claim(proof, || self.core.clock.now()) {
                ClaimDecision::Made(claimed) => claimed,
                ClaimDecision::Pending => {
                    return Decision::Pending(Pending::Claim(Box::new(PendingClaim {
                        claims,
                        proof: *proof,
                        new_entry,
                    })));
                }
            },
        };
        if proof.is_some() {
            telemetry::proof_checked(outcome(claimed), self.core.possession.recorded_proofs(), None);
        }
        Decision::Made(self.finish(token, claims, proof.as_ref(), new_entry, claimed))
    }

    /// Makes the application's checks, and stores a new token in the token cache if it is accepted.
    fn finish(
        &self,
        token: &[u8],
        claims: Claims<C>,
        proof: Option<&VerifiedProof>,
        new_entry: Option<NewEntry>,
        claimed: Result<(), PossessionError>,
    ) -> Result<Validated<C>, Rejection> {
        claimed.map_err(Rejection::Possession)?;
        let is_new = new_entry.is_some();
        self.application.check(&claims)?;
        if is_new && telemetry::logs_rejections() {
            claims::malformed(claims.payload()).for_each(telemetry::claim_ignored);
        }
        if let (Some(token_cache), Some(new)) = (&self.token_cache, new_entry) {
            let NewEntry { route, proof, lifetime, bound } = new;
            // What one request has proven is not true for another one.
            let unproven = claims.clone().with_proven(claims::ProvenConfirmation::None);
            token_cache.insert(token, CacheEntry::new(unproven, route, proof, lifetime, bound));
        }
        Ok(Validated { claims, nonce: proof.and_then(VerifiedProof::nonce_age) })
    }
}

impl Core {
    fn check_possession(&self, bound: Option<&BoundToken>, context: &RequestContext) -> Result<Proven, Rejection> {
        let proven = self.possession.check(bound, &context.presentation, &context.certificate, self.clock.now());
        proven.map_err(|error| {
            match error {
                PossessionError::Proof(_) => telemetry::proof_checked(outcome(Err(error)), None, None),
                // Only the header of a trusted peer is read, so the proxy is misconfigured.
                PossessionError::Certificate(CertificateError::Header(error))
                    if self.certificate_log.admits(self.clock.monotonic()) =>
                {
                    telemetry::malformed_certificate_header(error.text());
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
