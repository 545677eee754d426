//! The hints for tenants that are looked up. The rules of the [table](super::table) apply.

use crate::config::TenantError;
use crate::rejection::{IssuerError, Rejection};
use crate::validator::explain::hints::table::{Hint, rejection};

/// The hints, after those of the table.
pub(super) const HINTS: &[Hint] = &[
    rejection("the resolver of the tenants does not know this iss; it is called again after 60 s", |rejection| {
        *rejection == Rejection::Issuer(IssuerError::UnknownTenant)
    }),
    rejection("the resolver of the tenants returned an issuer that cannot be used: see the log", |rejection| {
        is_unavailable(rejection, TenantError::Misconfigured)
    }),
    rejection("more new tenants than `with_new_tenants_per_second` allows", |rejection| {
        is_unavailable(rejection, TenantError::TooManyTenants)
    }),
];

fn is_unavailable(rejection: &Rejection, error: TenantError) -> bool {
    *rejection == Rejection::Issuer(error.into())
}
