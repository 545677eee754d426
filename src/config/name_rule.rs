//! `NameRule`: a rule that accepts `iss` values which are not listed one by one.

use crate::config::entra::{EntraError, EntraRule};
use crate::config::issuer_pattern::IssuerPattern;
use crate::token::Payload;

/// A rule for the `iss` values of an issuer.
#[derive(Clone, Debug)]
pub(crate) enum NameRule {
    /// Every `iss` that matches a pattern.
    Pattern(IssuerPattern),
    /// The tenants of Entra ID.
    Entra(EntraRule),
}

/// The result of a rule for one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameMatch {
    /// The rule accepts the `iss`.
    Accepted,
    /// The rule is not for such an `iss`.
    None,
    /// The tenant of the token is not allowed.
    TenantNotAllowed,
    /// `tid` is not the tenant in `iss`.
    TenantMismatch,
}

impl NameRule {
    /// Returns the name of the rule in logs and metrics.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Pattern(pattern) => pattern.as_str(),
            Self::Entra(entra) => entra.template(),
        }
    }

    /// Checks the `iss` of a token.
    pub(crate) fn check(&self, issuer: &str, payload: &Payload) -> NameMatch {
        match self {
            Self::Pattern(pattern) if pattern.matches(issuer) => NameMatch::Accepted,
            Self::Pattern(_) => NameMatch::None,
            Self::Entra(entra) => match entra.check(issuer, payload) {
                None => NameMatch::None,
                Some(Ok(())) => NameMatch::Accepted,
                Some(Err(EntraError::NotAllowed)) => NameMatch::TenantNotAllowed,
                Some(Err(EntraError::Tenant)) => NameMatch::TenantMismatch,
            },
        }
    }

    /// Returns whether a token that was accepted is still accepted by the current state of the rule.
    pub(crate) fn still_accepts(&self, issuer: &str, payload: &Payload) -> bool {
        let may_change = match self {
            Self::Pattern(_) => false,
            Self::Entra(entra) => entra.may_change(),
        };
        !may_change || self.check(issuer, payload) == NameMatch::Accepted
    }

    /// Returns whether the rule can accept this `iss`.
    pub(super) fn accepts_issuer(&self, issuer: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches(issuer),
            Self::Entra(entra) => entra.allows_issuer(issuer),
        }
    }
}
