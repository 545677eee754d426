//! The part of an explanation about possession: the scheme, the certificate, and each check of the proof. The proof is not recorded.

use crate::claims::{CertificateThumbprint, Confirmation, ProvenConfirmation};
use crate::dpop::ProofError;
use crate::rejection::{PossessionError, Rejection};
use crate::token::Payload;
use crate::validator::context::RequestContext;
use crate::validator::explain::Report;
use crate::validator::explain::explanation::Finding;
use crate::validator::possession::{DpopRequest, Presentation};

impl Report<'_> {
    /// Adds the outcomes of the checks of possession, if they are configured. Returns what the request has proven.
    pub(super) fn possession(&mut self, payload: &Payload, context: &RequestContext) -> ProvenConfirmation {
        let possession = &self.core.possession;
        if possession.dpop().is_none() && possession.mutual_tls().is_none() {
            return ProvenConfirmation::None;
        }
        let confirmation = Confirmation::read(payload);
        let bound = possession.bound_token(payload, self.token.as_bytes());
        let (presentation, certificate) = (&context.presentation, &context.certificate);
        let result = possession.check(bound.as_ref(), presentation, certificate, self.core.clock.now());
        let (of_scheme, of_proof) = match result.as_ref().err() {
            Some(PossessionError::Proof(error)) => (None, Some(*error)),
            Some(PossessionError::Certificate(_)) => (None, None),
            error => (error.copied(), None),
        };
        let (found, expected) = (presentation.scheme().name(), possession.expected_scheme(bound.as_ref()));
        let is_scheme_right = of_scheme.is_none();
        let outcome = of_scheme.map_or(Ok(()), |error| Err(Rejection::Possession(error)));
        self.add("scheme", outcome, |finding| finding.with_found(Some(found)).with_expected(expected));
        let x5t =
            confirmation.and_then(|confirmation| confirmation.certificate_thumbprint()).filter(|_| is_scheme_right);
        // That a proof is missing is checked before the certificate, the proof itself after it.
        let is_proof_missing = of_proof == Some(ProofError::Missing);
        let has_certificate = is_proof_missing || x5t.is_none_or(|x5t| self.certificate(&x5t, context));
        // A certificate-bound token without proof may be sent under the scheme `DPoP`.
        let needs_proof = confirmation.is_some_and(|confirmation| confirmation.jwk_thumbprint().is_some());
        if let (Presentation::Dpop(request), true) = (presentation, is_scheme_right && needs_proof && has_certificate) {
            self.proof(request, of_proof);
        }
        if let (true, Some(x5t)) = (is_proof_missing, x5t) {
            self.certificate(&x5t, context);
        }
        result.map(|proven| proven.confirmation).unwrap_or_default()
    }

    /// Checks the certificate, and adds its row. Returns whether it is that of the token.
    fn certificate(&mut self, x5t: &CertificateThumbprint, context: &RequestContext) -> bool {
        let possession = &self.core.possession;
        let found = possession.mutual_tls().and_then(|rules| rules.read(&context.certificate).ok().flatten());
        let found = found.map(|found| found.to_base64url());
        let outcome = possession.check_certificate(x5t, &context.certificate).map_err(Rejection::Possession);
        let has_certificate = outcome.is_ok();
        self.add("certificate", outcome, |finding| {
            finding.with_found(found.as_deref()).with_expected(x5t.to_base64url())
        });
        has_certificate
    }

    /// Adds one row for each check of the proof, up to the one that failed. The last row shows `jti`, which is not looked up.
    fn proof(&mut self, request: &DpopRequest, error: Option<ProofError>) {
        let rules = self.core.possession.dpop();
        let needs_nonce = rules.is_some_and(|rules| rules.nonces.is_some());
        let failed = error.map(|error| (row(error), error));
        let mut is_checked = true;
        for check in ROWS.iter().filter(|check| **check != "nonce" || needs_nonce) {
            if !is_checked {
                self.findings.push(Finding::skipped(check));
                continue;
            }
            let claim = request.proof_claim(claim_name(check, error));
            let expected = request.expected_claim(check, rules);
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
        let jti = request.proof_claim("jti").filter(|_| is_checked);
        self.findings.push(Finding::skipped("proof jti").with_found(jti.as_deref()));
    }
}

/// Returns the claim that a row shows: its own, or the one that is missing or malformed.
fn claim_name(check: &str, error: Option<ProofError>) -> &str {
    match error {
        Some(ProofError::MalformedClaim(claim)) if check == "proof claims" => claim.name(),
        _ => check.trim_start_matches("proof "),
    }
}

/// Returns the row of the check that has failed.
fn row(error: ProofError) -> &'static str {
    // All claims are parsed before one of them is compared.
    if matches!(error, ProofError::MissingClaim(_) | ProofError::MalformedClaim(_)) {
        return "proof claims";
    }
    match error.name() {
        "typ" => "proof typ",
        "alg" | "crit" => "proof alg",
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
