//! The hints for tokens of Microsoft Entra ID. The rules of the [table](super::table) apply.

use crate::config::EntraCloud;
use crate::rejection::{IssuerError, KeyNotFoundError, Rejection};
use crate::token::Claim;
use crate::validator::explain::hints::table::{Hint, Unverified, rejection, unverified};

/// The hints, after those of the table.
pub(super) const HINTS: &[Hint] = &[
    rejection("the tenant of the token is none of the allowed tenants of Entra ID", |rejection| {
        *rejection == Rejection::Issuer(IssuerError::TenantNotAllowed)
    }),
    rejection("tid is not the tenant in iss: not an access token of Entra ID", |rejection| {
        *rejection == Rejection::Issuer(IssuerError::TenantMismatch)
    }),
    rejection("Entra ID publishes this key for another tenant than that of the token", |rejection| {
        *rejection == Rejection::Key(KeyNotFoundError::OtherTenant)
    }),
    unverified(
        "a token of version 1: set requestedAccessTokenVersion of the API's app registration to 2",
        |rejection, token| {
            *rejection == Rejection::Issuer(IssuerError::Unknown { difference: None })
                && (token.core.routes.is_rejected_v1(token.payload) || is_v1_of_listed(token))
        },
    ),
];

/// Returns whether `iss` is that of version 1 for a tenant whose `iss` of version 2 is configured.
fn is_v1_of_listed(token: Unverified<'_>) -> bool {
    let version_2 = token.payload.text(Claim::Iss).ok().and_then(|issuer| EntraCloud::Global.to_version_2(issuer));
    version_2.is_some_and(|issuer| token.core.routes.issuers_named(&issuer).next().is_some())
}
