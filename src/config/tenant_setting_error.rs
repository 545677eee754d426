//! `TenantSettingError`: why settings of tenants cannot be used.

use std::fmt;

/// The reason why a setting of [`Tenants`](crate::config::Tenants) cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TenantSettingError {
    /// The maximum number of tenants is not between 1 and 100,000.
    Max,
    /// The number of tenants that may be added in one second is not between 1 and 1,000.
    NewPerSecond,
    /// The HTTP client may connect to private addresses.
    Fetch,
}

impl fmt::Display for TenantSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Max => "is not between 1 and 100,000",
            Self::NewPerSecond => "is not between 1 and 1,000",
            Self::Fetch => {
                "the HTTP client may connect to private addresses; set one with `with_public_addresses_only` by \
                 `with_tenant_fetch`, or allow it with `dangerous_allow_private_addresses`"
            }
        })
    }
}

impl std::error::Error for TenantSettingError {}
