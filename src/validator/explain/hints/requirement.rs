//! The hints for a requirement of a route that is not met. The rules of the [table](super::table) apply.

use crate::requirement::UnmetRequirement;
use crate::token::Claim;
use crate::validator::explain::hints::table::{
    Hint, IN_MICROSECONDS, IN_MILLISECONDS, MICROSECONDS, MILLISECONDS, accepted, is_within,
};

/// The hints, after those of the table.
pub(super) const HINTS: &[Hint] = &[
    // An administrator grants permissions.
    accepted(
        "the token has a permission of that name: require `scope_or_permission`",
        |unmet, claims| matches!(unmet, UnmetRequirement::Scope { missing, .. } if claims.permissions().contains(missing)),
    ),
    // Without role-based access control, a client receives every scope that it requests.
    accepted(
        "the token has a scope of that name, but a scope shows what the client requested, not what the user may do",
        |unmet, claims| matches!(unmet, UnmetRequirement::Permission { missing, .. } if claims.scopes().contains(missing)),
    ),
    accepted(
        "the claim is not in the token but in another document (_claim_names): Entra ID does this for users with many groups",
        |unmet, claims| {
            let is_elsewhere = |claim: &str| {
                claims.raw_claim(claim).is_none() && claims.raw_claim_at(["_claim_names", claim]).is_some()
            };
            matches!(unmet, UnmetRequirement::Claim { claim, .. } if claim.names().next().is_some_and(is_elsewhere))
        },
    ),
    accepted(IN_MILLISECONDS, |unmet, claims| {
        is_too_old(unmet) && is_within(claims.payload(), Claim::AuthTime, MILLISECONDS)
    }),
    accepted(IN_MICROSECONDS, |unmet, claims| {
        is_too_old(unmet) && is_within(claims.payload(), Claim::AuthTime, MICROSECONDS)
    }),
];

fn is_too_old(unmet: &UnmetRequirement) -> bool {
    matches!(unmet, UnmetRequirement::Authentication { max_age: Some(_), .. })
}
