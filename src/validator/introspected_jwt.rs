//! Decisions about JWTs that are introspected after their signature is verified.

use std::sync::Arc;

use crate::claims::{self, Claims};
use crate::introspection::{self, ActiveAnswer, ClaimsFrom, IntrospectionRejection, Priority};
use crate::rejection::Rejection;
use crate::validator::context::RequestContext;
use crate::validator::decision::{Checked, Decision, NewEntry};
use crate::validator::possession::BoundToken;
use crate::validator::routing::RouteId;
use crate::validator::token_cache::proof::KeyProof;
use crate::validator::{Core, Validator};

/// What the entry of a signed token keeps when a newer answer about it is stored.
pub(super) struct IntrospectedJwt<C> {
    pub(super) claims: Claims<C>,
    pub(super) route: RouteId,
    pub(super) bound: Option<Arc<BoundToken>>,
    pub(super) key: KeyProof,
}

impl<C: Send + Sync + 'static> Validator<C> {
    /// Accepts a signed token that the server calls active.
    pub(super) fn accept_introspected_jwt(
        &self,
        token: &[u8],
        context: &RequestContext,
        (issuer, checked): (usize, Checked<C>),
        (answer, is_new): (&Arc<ActiveAnswer>, bool),
    ) -> Decision<C> {
        let Checked { claims, proof, new_entry, route } = checked;
        let claims = match self.check_answer(issuer, claims, answer) {
            Ok(claims) => claims,
            Err(rejection) => {
                if is_new {
                    self.record_rejected_answer(token, issuer, answer, &rejection);
                }
                return Decision::Made(Err(rejection));
            }
        };
        let NewEntry { proof: key, lifetime, bound } = new_entry;
        if let (true, Some(lifetime)) = (is_new, lifetime) {
            let valid_until = self.core.rules.valid_until(claims.payload()).unwrap_or(lifetime.checked_at);
            let dates = (lifetime.checked_at, lifetime.valid_until.min(valid_until));
            self.store(token, issuer, claims.clone(), (route.clone(), bound), dates, Some(key), answer);
        }
        match self.core.check_organization(claims.payload(), context) {
            Ok(()) => self.record(token, claims, proof, &route, None),
            Err(rejection) => Decision::Made(Err(rejection)),
        }
    }

    /// Stores a newer answer about a signed token, or removes the entry if the API rejects the answer.
    pub(super) fn store_newer_answer(
        &self,
        token: &[u8],
        issuer: usize,
        jwt: IntrospectedJwt<C>,
        answer: &Arc<ActiveAnswer>,
    ) {
        let IntrospectedJwt { claims, route, bound, key } = jwt;
        match self.check_answer(issuer, claims, answer) {
            Ok(claims) => {
                let now = self.core.clock.now();
                let dates = (now, self.core.rules.valid_until(claims.payload()).unwrap_or(now));
                self.store(token, issuer, claims, (route, bound), dates, Some(key), answer);
            }
            Err(rejection) => self.record_rejected_answer(token, issuer, answer, &rejection),
        }
    }

    /// Compares an answer with the signed token that it is about. Returns the claims that are handed on.
    fn check_answer(&self, issuer: usize, claims: Claims<C>, answer: &ActiveAnswer) -> Result<Claims<C>, Rejection> {
        compare_with_answer(&claims, answer)?;
        match self.core.claims_from_answer(issuer, &claims, answer)? {
            None => Ok(claims),
            Some(combined) => Ok(self.application.read(combined)?.with_proven(claims.proven())),
        }
    }

    /// Records that no earlier answer about this token is used any more. Reports an answer about another token, which the server or a
    /// proxy has mixed up.
    fn record_rejected_answer(&self, token: &[u8], issuer: usize, answer: &Arc<ActiveAnswer>, rejection: &Rejection) {
        self.record_rejected(token, issuer, answer, Priority::Genuine);
        if let (Some(client), Rejection::Introspection(IntrospectionRejection::Contradicted { claim })) =
            (self.core.client(issuer), rejection)
        {
            client.report_contradiction(claim);
        }
    }
}

impl Core {
    /// Returns the claims of the answer about a signed token, with what only the token says; `None` if the claims are those of the token.
    /// They pass the same checks as the token.
    pub(super) fn claims_from_answer<C>(
        &self,
        issuer: usize,
        claims: &Claims<C>,
        answer: &ActiveAnswer,
    ) -> Result<Option<Claims>, Rejection> {
        if self.client(issuer).is_none_or(|client| client.settings().claims_from == ClaimsFrom::Token) {
            return Ok(None);
        }
        let (header, key) = claims.verified_by().ok_or(Rejection::Signature)?;
        let payload = introspection::with_claims_of_answer(claims.payload(), answer.claims.payload());
        let payload = payload.ok_or(Rejection::Signature)?;
        let combined = Claims::verified(header.clone(), payload, Some(*key), Arc::clone(&self.claims_settings));
        self.check_again(&combined)?;
        Ok(Some(combined))
    }
}

/// Checks that an answer is about the signed token, and that the token is an access token.
pub(super) fn compare_with_answer<C>(claims: &Claims<C>, answer: &ActiveAnswer) -> Result<(), Rejection> {
    let (token, answer) = (claims.payload(), answer.claims.payload());
    if let Some(claim) = introspection::contradiction(token, answer) {
        return Err(Rejection::Introspection(IntrospectionRejection::Contradicted { claim }));
    }
    claims::check_answer_type(answer, token).map_err(Rejection::Claims)
}
