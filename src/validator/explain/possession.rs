//! The part of an explanation about possession: the scheme, and each check of the proof. The proof is not claimed.

use crate::claims::Confirmation;
use crate::dpop::ProofError;
use crate::rejection::{PossessionError, Rejection};
use crate::token::{Claim, UnverifiedToken};
use crate::validator::context::RequestContext;
use crate::validator::explain::Report;
use crate::validator::explain::explanation::Finding;
use crate::validator::possession::Presentation;

impl Report<'_> {
    /// Adds the outcomes of the checks of possession, if they are configured.
    pub(super) fn possession(&mut self, parsed: &UnverifiedToken<'_>, context: &RequestContext) {
        let possession = &self.core.possession;
        if possession.dpop().is_none() {
            return;
        }
        let confirmation = parsed.payload().raw(Claim::Cnf).and_then(Confirmation::parse);
        let bound = possession.bound_token(confirmation, self.token.as_bytes());
        let error = possession.check(bound.as_deref(), &context.presentation, self.core.clock.now()).err();
        let (of_scheme, of_proof) = match error {
            Some(PossessionError::Proof(error)) => (None, Some(error)),
            error => (error, None),
        };
        let (found, expected) = (context.presentation.scheme().name(), possession.expected_scheme(bound.as_deref()));
        let outcome = of_scheme.map_or(Ok(()), |error| Err(Rejection::Possession(error)));
        let is_scheme_right = outcome.is_ok();
        self.add("scheme", outcome, |finding| finding.with_found(Some(found)).with_expected(expected));
        if let (Presentation::Dpop(_), true) = (&context.presentation, is_scheme_right) {
            self.proof(context, of_proof);
        }
    }

    /// Adds one row for each check of the proof, up to the one that failed.
    fn proof(&mut self, context: &RequestContext, error: Option<ProofError>) {
        let Presentation::Dpop(request) = &context.presentation else { return };
        let failed = error.map(|error| (row(error), error));
        let mut is_checked = true;
        for check in ROWS {
            if !is_checked {
                self.findings.push(Finding::skipped(check));
                continue;
            }
            let claim = request.proof_claim(check.trim_start_matches("proof "));
            let expected = request.expected_claim(check, self.core.possession.dpop());
            let describe = |finding: Finding| {
                let finding = finding.with_found(claim.as_deref());
                expected.iter().fold(finding, |finding, expected| finding.with_expected(expected.as_str()))
            };
            match failed {
                Some((row, error)) if row == *check => {
                    is_checked = false;
                    self.add(check, Err(Rejection::Possession(PossessionError::Proof(error))), describe);
                }
                _ => self.findings.push(describe(Finding::passed(check))),
            }
        }
    }
}

/// Returns the row of the check that has failed.
fn row(error: ProofError) -> &'static str {
    match error.name() {
        "typ" => "proof typ",
        "alg" | "crit" => "proof alg",
        "jti" => "proof claims",
        "exp" | "nbf" | "iat" => "proof iat",
        "signature" => "proof signature",
        name => ROWS.iter().find(|row| **row == name).unwrap_or(&"proof form"),
    }
}

const ROWS: &[&str] = &[
    "proof form",
    "proof typ",
    "proof alg",
    "jwk",
    "jkt",
    "proof claims",
    "htm",
    "htu",
    "ath",
    "proof iat",
    "nonce",
    "proof signature",
];
