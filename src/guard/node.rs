//! The tree of a requirement, and how it is judged.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::guard::Requirement;
use crate::guard::demand::Authentication;
use crate::guard::names::Names;
use crate::guard::unmet::Unmet;
use crate::guard::value::ClaimValue;

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Node {
    Scope(Name),
    Permission(Name),
    ScopeOrPermission(Name),
    Client(Names),
    OrganizationId(Name),
    /// Compared in lower case.
    OrganizationName(Name),
    Claim(Name, Test, ClaimValue),
    Acr(Names),
    AuthenticationAge(Duration),
    All(Parts),
    Any(Parts),
}

/// A name that stands in the program, or came from elsewhere.
pub(super) type Name = Cow<'static, str>;

/// How a claim is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Equals,
    Contains,
}

/// The parts of a combination.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Parts {
    Constant(&'static [Requirement]),
    Shared(Arc<[Requirement]>),
}

/// What a requirement is judged by.
pub(super) struct Facts<'f> {
    pub(super) claims: &'f Claims,
    pub(super) now: Timestamp,
    pub(super) leeway: Duration,
}

impl Node {
    pub(super) fn check(&self, facts: &Facts<'_>) -> Result<(), Unmet> {
        let claims = facts.claims;
        let met = match self {
            Self::Scope(name) => claims.scopes().contains(name),
            Self::Permission(name) => claims.permissions().contains(name),
            Self::ScopeOrPermission(name) => claims.scopes().contains(name) || claims.permissions().contains(name),
            Self::Client(ids) => claims.client_id().is_some_and(|client| ids.contains(client)),
            Self::OrganizationId(id) => claims.organization().is_some_and(|organization| organization == id),
            Self::OrganizationName(name) => {
                claims.organization_name().is_some_and(|organization| organization.eq_ignore_ascii_case(name))
            }
            Self::Claim(name, test, value) => {
                matches!(claims.claim::<Value>(name), Ok(Some(claim)) if test.holds(&claim, value))
            }
            Self::Acr(values) => claims.acr().is_some_and(|acr| values.contains(acr)),
            Self::AuthenticationAge(age) => claims.auth_time().is_some_and(|at| {
                at <= facts.now.saturating_add(facts.leeway)
                    && facts.now < at.saturating_add(*age).saturating_add(facts.leeway)
            }),
            Self::All(parts) => {
                let outcome = parts.nodes().try_for_each(|node| node.check(facts));
                return outcome.map_err(|unmet| unmet.and(self.authentication()));
            }
            Self::Any(parts) => return Self::check_any(parts, facts),
        };
        if met { Ok(()) } else { Err(self.unmet()) }
    }

    fn check_any(parts: &Parts, facts: &Facts<'_>) -> Result<(), Unmet> {
        let mut first = None;
        for node in parts.nodes() {
            match node.check(facts) {
                Ok(()) => return Ok(()),
                Err(unmet) => first = first.or(Some(unmet)),
            }
        }
        Err(first.unwrap_or(Unmet::Scope { scope: Arc::from("") }))
    }

    fn unmet(&self) -> Unmet {
        let claim = |name: &str| Unmet::Claim { claim: Arc::from(name), scope: Arc::from("") };
        match self {
            Self::Acr(_) | Self::AuthenticationAge(_) => {
                let Authentication { acr_values, max_age } = self.authentication();
                Unmet::Authentication { acr_values, max_age }
            }
            Self::Client(_) => claim("client_id"),
            Self::OrganizationId(_) => claim("org_id"),
            Self::OrganizationName(_) => claim("org_name"),
            Self::Claim(name, ..) => claim(name),
            Self::Scope(_) | Self::Permission(_) | Self::ScopeOrPermission(_) | Self::All(_) | Self::Any(_) => {
                Unmet::Scope { scope: Arc::from("") }
            }
        }
    }

    /// What is asked of the authentication in any case; of alternatives none is.
    pub(super) fn authentication(&self) -> Authentication {
        match self {
            Self::Acr(values) => Authentication { acr_values: Some(values.joined()), max_age: None },
            Self::AuthenticationAge(age) => Authentication { acr_values: None, max_age: Some(*age) },
            Self::All(parts) => {
                parts.nodes().map(Self::authentication).fold(Authentication::default(), Authentication::and)
            }
            _ => Authentication::default(),
        }
    }

    pub(super) fn collect_scopes<'n>(&'n self, names: &mut Vec<&'n str>) {
        match self {
            Self::Scope(name) | Self::ScopeOrPermission(name) if !names.contains(&&**name) => names.push(name),
            Self::All(parts) | Self::Any(parts) => parts.nodes().for_each(|node| node.collect_scopes(names)),
            _ => {}
        }
    }
}

impl Parts {
    fn nodes(&self) -> impl Iterator<Item = &Node> {
        let parts: &[Requirement] = match self {
            Self::Constant(parts) => parts,
            Self::Shared(parts) => parts,
        };
        parts.iter().map(|part| &part.0)
    }
}

impl Test {
    fn holds(self, claim: &Value, value: &ClaimValue) -> bool {
        match self {
            Self::Equals => value.equals(claim),
            Self::Contains => value.is_in(claim),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(name) => write!(f, "scope {name}"),
            Self::Permission(name) => write!(f, "permission {name}"),
            Self::ScopeOrPermission(name) => write!(f, "scope or permission {name}"),
            Self::Client(ids) => write!(f, "client of {ids:?}"),
            Self::OrganizationId(id) => write!(f, "organization {id}"),
            Self::OrganizationName(name) => write!(f, "organization named {name}"),
            Self::Claim(name, Test::Equals, value) => write!(f, "{name} is {value:?}"),
            Self::Claim(name, Test::Contains, value) => write!(f, "{name} contains {value:?}"),
            Self::Acr(values) => write!(f, "acr of {values:?}"),
            Self::AuthenticationAge(age) => write!(f, "authentication within {age:?}"),
            Self::All(parts) => f.debug_tuple("all of").field(&parts.nodes().collect::<Vec<_>>()).finish(),
            Self::Any(parts) => f.debug_tuple("any of").field(&parts.nodes().collect::<Vec<_>>()).finish(),
        }
    }
}
