//! `SenderConstraint` and `Option<SenderConstraint>` as extractors.

use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::claims::{Claims, SenderConstraint};
use crate::extract::claims::{ClaimsRejection, extract};
use crate::extract::rejection::BearerRejection;
use crate::requirement::{Requirement, RequirementError, UnmetRequirement};

/// Extracts the key or certificate that the client has proven to have. For a token that is not bound, the response is 401
/// `invalid_token` with a challenge of the scheme `DPoP`.
///
/// ```
/// use axum::{Router, routing::post};
/// use tower_bearer::claims::SenderConstraint;
///
/// async fn pay(client: SenderConstraint) -> String {
///     match client {
///         SenderConstraint::Dpop { jkt } => format!("paid by the key {}", jkt.to_base64url()),
///         SenderConstraint::Certificate { x5t } => format!("paid by the certificate {}", x5t.to_base64url()),
///         _ => "paid".to_owned(),
///     }
/// }
///
/// let app: Router = Router::new().route("/payments", post(pay));
/// # let _ = app;
/// ```
impl<S: Send + Sync> FromRequestParts<S> for SenderConstraint {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        const REQUIREMENT: &Requirement = &Requirement::sender_constrained();
        let claims: Claims = extract(parts, Some(REQUIREMENT))?;
        claims.sender_constraint().ok_or_else(|| {
            let unmet = UnmetRequirement::SenderConstraint { scope: Arc::from("") };
            ClaimsRejection::UnmetRequirement(BearerRejection::from(RequirementError::from_unmet(unmet, &claims)))
        })
    }
}

/// Extracts the key or certificate that the client has proven to have, or `None` for a bearer token. The other responses are those of the
/// extractor [`Claims`].
impl<S: Send + Sync> OptionalFromRequestParts<S> for SenderConstraint {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ClaimsRejection> {
        let claims: Claims = extract(parts, None)?;
        Ok(claims.sender_constraint())
    }
}
