//! The errors in a rejection that concern its issuer, its key, and the checks of the application.

use std::fmt;
use std::time::Duration;

use crate::config::TenantError;

/// The reason why no trusted issuer matches a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssuerError {
    /// The token has no `iss`.
    Missing,
    /// `iss` is not a string.
    Malformed,
    /// `iss` is not a configured issuer.
    Unknown {
        /// How `iss` differs from a similar configured issuer, if there is one.
        difference: Option<IssuerDifference>,
    },
    /// `iss` is trusted, but the host of the request is bound to another `iss`.
    NotForHost,
    /// `iss` is that of a tenant of Entra ID which the API does not allow; see
    /// [`EntraTenants`](crate::config::EntraTenants).
    TenantNotAllowed,
    /// `iss` is that of a tenant of Entra ID, but `tid` is missing, is not a string, or is another tenant.
    TenantMismatch,
    /// `iss` may be that of a custom domain, and the source of the custom domains has failed for too long, or has not returned them
    /// yet. The cause is this service, not the client. See
    /// [`Issuer::with_custom_domains_from`](crate::Issuer::with_custom_domains_from).
    DomainsUnavailable,
    /// `iss` may be that of a tenant, and the resolver of the [`Tenants`](crate::config::Tenants) does not know it, or knew it and no
    /// longer does.
    UnknownTenant,
    /// `iss` may be that of a tenant, and it is not known whether it is, or no keys can be fetched for it now. The cause is this
    /// service, not the client. See [`Tenants`](crate::config::Tenants).
    TenantUnavailable {
        /// The reason.
        error: TenantError,
    },
    /// The API binds hosts to issuers, but the host of the request is not one of these hosts, or the request has no host.
    UnknownHost,
}

impl IssuerError {
    /// Returns whether it is not known whether the issuer is trusted: the cause is this service, not the client.
    pub(crate) fn is_unavailable(self) -> bool {
        matches!(self, Self::DomainsUnavailable | Self::TenantUnavailable { .. })
    }
}

impl From<TenantError> for IssuerError {
    fn from(error: TenantError) -> Self {
        Self::TenantUnavailable { error }
    }
}

/// The one difference between an `iss` and a similar configured issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssuerDifference {
    /// The token's `iss` lacks the trailing slash.
    MissingSlash,
    /// The token's `iss` has an extra trailing slash.
    ExtraSlash,
    /// Only upper and lower case differ.
    Case,
    /// Only `http` and `https` differ.
    Scheme,
}

/// The reason why the issuer has no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyNotFoundError {
    /// The key set has no key with this `kid`.
    Unknown {
        /// The time since the issuer confirmed the key set; `None` for static keys and secrets.
        ///
        /// The time is zero if the key set was fetched for this token. Tests that compare an exact value use a
        /// [`FakeClock`](crate::testing::FakeClock); other tests ignore the field with `..`.
        age: Option<Duration>,
    },
    /// The issuer has a key with the token's `kid`, but this key cannot verify the token: it was skipped (for example because
    /// of its size, `use` or encoding), it is for another algorithm, or its `kid` is revoked. For a token without `kid`: the
    /// issuer has no usable key for the token's algorithm.
    NotForVerification,
    /// The token has no `kid`, and the issuer has more keys for the token's algorithm than are tried: more than four published
    /// keys, or more than one configured key or secret if each of them has a `kid`.
    Ambiguous,
    /// The issuer publishes the key for another tenant than that of the token (Entra ID, the member `issuer` of the JWK).
    OtherTenant,
}

/// The error that a [check](crate::Validator::with_check) of the application returns to reject a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CheckError;

impl CheckError {
    /// Creates the error. The token is rejected as invalid: 401 `invalid_token`.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Default for CheckError {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for IssuerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "iss is missing",
            Self::Malformed => "iss is not a string",
            Self::Unknown { difference: None } => "iss is not a trusted issuer",
            Self::Unknown { difference: Some(IssuerDifference::MissingSlash | IssuerDifference::ExtraSlash) } => {
                "iss is not a trusted issuer; a configured issuer differs only in the trailing slash"
            }
            Self::Unknown { difference: Some(IssuerDifference::Case) } => {
                "iss is not a trusted issuer; a configured issuer differs only in upper and lower case"
            }
            Self::Unknown { difference: Some(IssuerDifference::Scheme) } => {
                "iss is not a trusted issuer; a configured issuer differs only in http and https"
            }
            Self::UnknownTenant => "iss is not that of a known tenant",
            Self::TenantUnavailable { error } => return error.fmt(f),
            Self::DomainsUnavailable => "the custom domains of an issuer are not known",
            Self::TenantNotAllowed => "the tenant in iss is not allowed",
            Self::TenantMismatch => "tid is not the tenant in iss",
            Self::NotForHost => "iss is trusted, but not for the host of this request",
            Self::UnknownHost => "the request names no host, or a host that is bound to no issuer",
        })
    }
}

impl fmt::Display for KeyNotFoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown { .. } => "the issuer has no key with this kid",
            Self::NotForVerification => "the issuer has no usable key for the token's kid and algorithm",
            Self::Ambiguous => "the token has no kid, and too many keys of the issuer match",
            Self::OtherTenant => "the issuer publishes the key for another tenant",
        })
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a check of the application rejected the token")
    }
}

impl std::error::Error for IssuerError {}
impl std::error::Error for KeyNotFoundError {}
impl std::error::Error for CheckError {}
