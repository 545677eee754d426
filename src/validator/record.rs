//! Records rejections in log and metrics that are decided before or after the validation of a token.

use std::fmt;

use crate::dpop::ProofError;
use crate::rejection::Rejection;
use crate::telemetry;

/// Records that a request is rejected before its token is read.
pub(crate) fn record_early(rejection: &Rejection) {
    // The hint is looked up in a table of conditions, so only if the log is enabled.
    let hint = telemetry::logs_rejections().then(|| rejection.hint()).flatten();
    let proof = rejection.proof_error().map(ProofError::name);
    telemetry::credential_rejected(rejection.kind().name(), hint, proof);
    if proof.is_some() {
        telemetry::proof_checked("invalid", None);
    }
}

/// Records that a valid token, or a request without token, does not meet a requirement. Other rejections are recorded where they are
/// decided.
pub(crate) fn record_unmet(rejection: &Rejection, hint: Option<&'static str>) {
    if !rejection.is_of_route() {
        return;
    }
    let unmet: Option<&dyn fmt::Display> = match rejection {
        Rejection::Requirement(unmet) => Some(unmet),
        _ => None,
    };
    telemetry::requirement_unmet(rejection.kind().name(), hint, unmet, rejection.signature_checked());
}
