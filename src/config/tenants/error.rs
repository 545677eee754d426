//! `TenantError`: why it is not known whether an issuer is trusted.

use std::fmt;

/// Why it is not known whether the `iss` of a token is that of a tenant: see [`Tenants`](crate::config::Tenants). The cause is this
/// service, not the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TenantError {
    /// The resolver returned an error.
    Resolver,
    /// The resolver took longer than 2 s.
    Timeout,
    /// The resolver panicked.
    Panic,
    /// The resolver returned an issuer with another `iss`, or one whose settings have errors. The log has the details.
    Misconfigured,
    /// Too many calls of the resolver are in flight, or too many requests wait for one.
    TooManyCalls,
    /// Too many tenants were added within one second: see
    /// [`with_new_tenants_per_second`](crate::config::Tenants::with_new_tenants_per_second).
    TooManyTenants,
    /// The tenant is not known now, and the caller cannot wait for the resolver.
    NotResolved,
    /// There is no tokio runtime, or it ended during the call.
    NoRuntime,
}

impl TenantError {
    /// Returns a stable snake_case name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolver => "resolver",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Misconfigured => "misconfigured",
            Self::TooManyCalls => "too_many_calls",
            Self::TooManyTenants => "too_many_tenants",
            Self::NotResolved => "not_resolved",
            Self::NoRuntime => "no_runtime",
        }
    }
}

impl fmt::Display for TenantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolver => "the resolver of the tenants returned an error",
            Self::Timeout => "the resolver of the tenants timed out",
            Self::Panic => "the resolver of the tenants panicked",
            Self::Misconfigured => "the resolver of the tenants returned an issuer that cannot be used",
            Self::TooManyCalls => "too many tenants are looked up at the same time",
            Self::TooManyTenants => "too many tenants were added within one second",
            Self::NotResolved => "the tenant is not known now",
            Self::NoRuntime => "there is no tokio runtime to look the tenant up",
        })
    }
}

impl std::error::Error for TenantError {}
