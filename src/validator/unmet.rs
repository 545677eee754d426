//! Records unmet requirements in log and metrics, as the validator records rejected tokens.

use std::fmt;

use crate::rejection::Rejection;
use crate::telemetry;

/// Records in log and metrics that a valid token, or a request without token, does not meet a requirement.
pub(crate) fn record_unmet(rejection: &Rejection, hint: Option<&'static str>) {
    let unmet: Option<&dyn fmt::Display> = match rejection {
        Rejection::Requirement(unmet) => Some(unmet),
        _ => None,
    };
    telemetry::requirement_unmet(rejection.kind().name(), hint, unmet, rejection.signature_checked());
}
