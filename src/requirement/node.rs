//! The tree of a requirement and its evaluation.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::requirement::Requirement;
use crate::requirement::challenge_params::{Authentication, ParamsBuilder};
use crate::requirement::comparison::Comparison;
use crate::requirement::names::Names;
use crate::requirement::path::ClaimPath;
use crate::requirement::predicate::Predicate;
use crate::requirement::unmet::UnmetRequirement;

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Node {
    Scope(Name),
    Permission(Name),
    ScopeOrPermission(Name),
    Client(Names),
    OrganizationId(Name),
    /// Compared without regard to the case of ASCII letters.
    OrganizationName(Name),
    Claim(ClaimPath, Comparison),
    Predicate(Predicate),
    Acr(Names),
    AuthenticationAge(Duration),
    SenderConstrained,
    All(Parts),
    Any(Parts),
}

/// A name, constant or created at run time.
pub(super) type Name = Cow<'static, str>;

/// The parts of a combination, at least one.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Parts {
    Constant(&'static [Requirement]),
    Shared(Arc<[Requirement]>),
}

/// The input of the evaluation.
pub(crate) struct Facts<'f> {
    pub(crate) claims: &'f Claims,
    pub(crate) now: Timestamp,
}

impl Node {
    pub(super) fn check(&self, facts: &Facts<'_>) -> Result<(), UnmetRequirement> {
        let claims = facts.claims;
        let met = match self {
            Self::Scope(name) => claims.grants_scope(name),
            Self::Permission(name) => claims.permissions().contains(name),
            Self::ScopeOrPermission(name) => claims.grants_scope(name) || claims.permissions().contains(name),
            Self::Client(ids) => claims.client_id().is_some_and(|client| ids.contains(client)),
            Self::OrganizationId(id) => claims.organization().is_some_and(|organization| organization == id),
            Self::OrganizationName(name) => {
                claims.organization_name().is_some_and(|organization| organization.eq_ignore_ascii_case(name))
            }
            Self::Claim(path, comparison) => path.find(claims).is_some_and(|claim| comparison.matches(claim)),
            Self::Predicate(predicate) => predicate.is_met(claims),
            Self::Acr(values) => claims.acr().is_some_and(|acr| values.contains(acr)),
            Self::AuthenticationAge(age) => claims.auth_time().is_some_and(|at| {
                let leeway = claims.leeway();
                at <= facts.now.saturating_add(leeway) && facts.now < at.saturating_add(*age).saturating_add(leeway)
            }),
            Self::SenderConstrained => claims.is_sender_constrained(),
            Self::All(parts) => return Self::check_all(parts, facts),
            Self::Any(parts) => return Self::check_any(parts, facts),
        };
        if met { Ok(()) } else { Err(self.unmet(claims)) }
    }

    /// Returns the first part that is not met. An insufficient authentication is returned before all other parts, because its
    /// challenge also names the missing scopes.
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
        match Self::reported(parts, None) {
            Some(node) => node.check(facts),
            None => Err(UnmetRequirement::Scope { missing: Arc::from(""), scope: Arc::from("") }),
        }
    }

    /// Returns the alternative that is reported and named in a challenge: the first that is met or, if none is met, the first
    /// that a challenge can name.
    fn reported<'n>(parts: &'n Parts, facts: Option<&Facts<'_>>) -> Option<&'n Self> {
        let met = facts.and_then(|facts| parts.nodes().find(|node| node.check(facts).is_ok()));
        met.or_else(|| parts.nodes().find(|node| !node.challenge_params(None).is_empty()))
            .or_else(|| parts.nodes().next())
    }

    /// Returns the part that is missing, without the scopes of the whole requirement.
    fn unmet(&self, claims: &Claims) -> UnmetRequirement {
        let scope = Arc::from("");
        let top_level = |name| ClaimPath::top_level(Cow::Borrowed(name));
        match self {
            Self::Scope(name) | Self::ScopeOrPermission(name) => {
                UnmetRequirement::Scope { missing: Arc::from(&**name), scope }
            }
            Self::Permission(name) => UnmetRequirement::Permission { missing: Arc::from(&**name), scope },
            Self::Client(_) => UnmetRequirement::Claim {
                claim: ClaimPath::top_level(Cow::Owned(claims.client_claim().to_owned())),
                scope,
            },
            Self::OrganizationId(_) => UnmetRequirement::Claim { claim: top_level("org_id"), scope },
            Self::OrganizationName(_) => UnmetRequirement::Claim { claim: top_level("org_name"), scope },
            Self::Claim(path, _) => UnmetRequirement::Claim { claim: path.clone(), scope },
            Self::Predicate(predicate) => UnmetRequirement::Predicate { name: Arc::from(&*predicate.name), scope },
            Self::Acr(values) => {
                UnmetRequirement::Authentication { acr_values: Some(values.joined()), max_age: None, scope }
            }
            Self::AuthenticationAge(age) => {
                UnmetRequirement::Authentication { acr_values: None, max_age: Some(*age), scope }
            }
            Self::SenderConstrained => UnmetRequirement::SenderConstraint { scope },
            // Combinations report one of their parts, so this is not reached.
            Self::All(_) | Self::Any(_) => UnmetRequirement::Scope { missing: Arc::from(""), scope },
        }
    }

    /// Returns the challenge parameters. The facts select the alternatives that a token already meets.
    pub(super) fn challenge_params(&self, facts: Option<&Facts<'_>>) -> ParamsBuilder<'_> {
        let mut params = ParamsBuilder::default();
        self.collect(facts, &mut params);
        params
    }

    fn collect<'n>(&'n self, facts: Option<&Facts<'_>>, params: &mut ParamsBuilder<'n>) {
        match self {
            // A token with the permission does not need the scope.
            Self::ScopeOrPermission(name) if facts.is_some_and(|facts| facts.claims.permissions().contains(name)) => {}
            Self::Scope(name) | Self::ScopeOrPermission(name) => params.add_scope(name),
            Self::Acr(values) => {
                params.add_authentication(Authentication { acr_values: Some(values.joined()), max_age: None })
            }
            Self::AuthenticationAge(age) => {
                params.add_authentication(Authentication { acr_values: None, max_age: Some(*age) })
            }
            Self::All(parts) => parts.nodes().for_each(|node| node.collect(facts, params)),
            Self::Any(parts) => {
                if let Some(node) = Self::reported(parts, facts) {
                    node.collect(facts, params);
                }
            }
            _ => {}
        }
    }
}

impl Parts {
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        let parts: &[Requirement] = match self {
            Self::Constant(parts) => parts,
            Self::Shared(parts) => parts,
        };
        parts.iter().map(|part| &part.0)
    }
}
