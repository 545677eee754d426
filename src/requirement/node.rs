//! The tree of a requirement, and how it is judged.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::requirement::Requirement;
use crate::requirement::challenge_params::{Authentication, ParamsBuilder};
use crate::requirement::names::Names;
use crate::requirement::unmet::UnmetRequirement;
use crate::requirement::value::ClaimValue;

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

/// The parts of a combination, at least one.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Parts {
    Constant(&'static [Requirement]),
    Shared(Arc<[Requirement]>),
}

/// What a requirement is judged by.
pub(crate) struct Facts<'f> {
    pub(crate) claims: &'f Claims,
    pub(crate) now: Timestamp,
    pub(crate) leeway: Duration,
}

impl Node {
    pub(super) fn check(&self, facts: &Facts<'_>) -> Result<(), UnmetRequirement> {
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
            Self::Claim(name, test, value) => claims.raw_claim(name).is_some_and(|claim| test.holds(claim, value)),
            Self::Acr(values) => claims.acr().is_some_and(|acr| values.contains(acr)),
            Self::AuthenticationAge(age) => claims.auth_time().is_some_and(|at| {
                at <= facts.now.saturating_add(facts.leeway)
                    && facts.now < at.saturating_add(*age).saturating_add(facts.leeway)
            }),
            Self::All(parts) => return Self::check_all(parts, facts),
            Self::Any(parts) => return Self::check_any(parts, facts),
        };
        if met { Ok(()) } else { Err(self.unmet()) }
    }

    /// Reports the first that is not met, or the first authentication that does not do: its challenge says what else lacks,
    /// too.
    fn check_all(parts: &Parts, facts: &Facts<'_>) -> Result<(), UnmetRequirement> {
        let mut first = None;
        for unmet in parts.nodes().filter_map(|node| node.check(facts).err()) {
            if matches!(unmet, UnmetRequirement::Authentication { .. }) {
                return Err(unmet);
            }
            first = first.or(Some(unmet));
        }
        first.map_or(Ok(()), Err)
    }

    fn check_any(parts: &Parts, facts: &Facts<'_>) -> Result<(), UnmetRequirement> {
        if parts.nodes().any(|node| node.check(facts).is_ok()) {
            return Ok(());
        }
        match Self::chosen(parts, None) {
            Some(node) => node.check(facts),
            None => Err(UnmetRequirement::Scope { missing: Arc::from(""), scope: Arc::from("") }),
        }
    }

    /// The alternative that stands for all of them: the first that is met, else the first that a challenge can name.
    fn chosen<'n>(parts: &'n Parts, facts: Option<&Facts<'_>>) -> Option<&'n Self> {
        let met = facts.and_then(|facts| parts.nodes().find(|node| node.check(facts).is_ok()));
        met.or_else(|| parts.nodes().find(|node| !node.needs(None).is_empty())).or_else(|| parts.nodes().next())
    }

    /// What lacks, and nothing yet of what else is needed.
    fn unmet(&self) -> UnmetRequirement {
        let scope = Arc::from("");
        match self {
            Self::Scope(name) | Self::ScopeOrPermission(name) => {
                UnmetRequirement::Scope { missing: Arc::from(&**name), scope }
            }
            Self::Permission(name) => UnmetRequirement::Permission { missing: Arc::from(&**name), scope },
            Self::Client(_) => UnmetRequirement::Claim { claim: Arc::from("client_id"), scope },
            Self::OrganizationId(_) => UnmetRequirement::Claim { claim: Arc::from("org_id"), scope },
            Self::OrganizationName(_) => UnmetRequirement::Claim { claim: Arc::from("org_name"), scope },
            Self::Claim(name, ..) => UnmetRequirement::Claim { claim: Arc::from(&**name), scope },
            Self::Acr(values) => {
                UnmetRequirement::Authentication { acr_values: Some(values.joined()), max_age: None, scope }
            }
            Self::AuthenticationAge(age) => {
                UnmetRequirement::Authentication { acr_values: None, max_age: Some(*age), scope }
            }
            // Combinations report one of their parts.
            Self::All(_) | Self::Any(_) => UnmetRequirement::Scope { missing: Arc::from(""), scope },
        }
    }

    /// What a token needs for it, as far as a challenge can say it; the facts tell what a token meets already.
    pub(super) fn needs(&self, facts: Option<&Facts<'_>>) -> ParamsBuilder<'_> {
        let mut needs = ParamsBuilder::default();
        self.collect(facts, &mut needs);
        needs
    }

    fn collect<'n>(&'n self, facts: Option<&Facts<'_>>, needs: &mut ParamsBuilder<'n>) {
        match self {
            // Whoever has the permission needs no scope beside it.
            Self::ScopeOrPermission(name) if facts.is_some_and(|facts| facts.claims.permissions().contains(name)) => {}
            Self::Scope(name) | Self::ScopeOrPermission(name) => needs.add_scope(name),
            Self::Acr(values) => needs.add(Authentication { acr_values: Some(values.joined()), max_age: None }),
            Self::AuthenticationAge(age) => needs.add(Authentication { acr_values: None, max_age: Some(*age) }),
            Self::All(parts) => parts.nodes().for_each(|node| node.collect(facts, needs)),
            Self::Any(parts) => {
                if let Some(node) = Self::chosen(parts, facts) {
                    node.collect(facts, needs);
                }
            }
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
    fn holds(self, claim: &str, value: &ClaimValue) -> bool {
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
