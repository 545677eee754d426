//! `NameRule`: a rule that accepts `iss` values which are not listed one by one.

use crate::config::domain_list::DomainList;
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
    /// The custom domains that the application returns.
    Domains(DomainList),
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
    /// It is not known whether the rule accepts the `iss`.
    Unavailable,
}

impl NameRule {
    /// Returns the name of the rule in logs and metrics.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Pattern(pattern) => pattern.as_str(),
            Self::Entra(entra) => entra.template(),
            Self::Domains(domains) => domains.name(),
        }
    }

    /// Returns whether each `iss` is another tenant, and not one more name of the issuer.
    pub(crate) fn separates_tenants(&self) -> bool {
        match self {
            Self::Pattern(_) | Self::Entra(_) => true,
            Self::Domains(_) => false,
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
            Self::Domains(domains) => match domains.contains(issuer) {
                Some(true) => NameMatch::Accepted,
                Some(false) => NameMatch::None,
                None => NameMatch::Unavailable,
            },
        }
    }

    /// Returns whether a token that was accepted is still accepted by the current state of the rule.
    pub(crate) fn still_accepts(&self, issuer: &str, payload: &Payload) -> bool {
        let may_change = match self {
            Self::Pattern(_) => false,
            Self::Entra(entra) => entra.may_change(),
            Self::Domains(_) => true,
        };
        !may_change || self.check(issuer, payload) == NameMatch::Accepted
    }

    /// Returns the names of the tenant or issuer in an `iss` that the rule accepts. `first` is the first listed name of the issuer.
    pub(crate) fn names_of(&self, issuer: &str, first: Option<&str>) -> Vec<String> {
        let own = issuer.to_owned();
        match self {
            Self::Pattern(_) => vec![own],
            Self::Entra(entra) => entra.names_of_tenant(issuer).map_or_else(|| vec![own], Vec::from),
            Self::Domains(_) => [Some(own), first.map(str::to_owned)].into_iter().flatten().collect(),
        }
    }

    /// Returns whether the rule can accept this `iss`.
    pub(crate) fn accepts_issuer(&self, issuer: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches(issuer),
            Self::Entra(entra) => entra.allows_issuer(issuer),
            Self::Domains(_) => DomainList::may_contain(issuer),
        }
    }
}
