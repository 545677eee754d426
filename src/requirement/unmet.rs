//! `UnmetRequirement`: the part of a requirement that a token does not meet.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::Claims;
use crate::requirement::challenge_params::{Authentication, ChallengeParams, union};
use crate::requirement::path::ClaimPath;

/// The part of a requirement that a token does not meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnmetRequirement {
    /// A scope is missing.
    #[non_exhaustive]
    Scope {
        /// The missing scope; the first one if several are missing.
        missing: Arc<str>,
        /// All scopes that the requirement needs, space-delimited.
        scope: Arc<str>,
    },
    /// A permission is missing.
    #[non_exhaustive]
    Permission {
        /// The missing permission; the first one if several are missing.
        missing: Arc<str>,
        /// All scopes that the requirement needs, space-delimited; empty if it needs none.
        scope: Arc<str>,
    },
    /// A claim is missing or does not have the required value: a custom claim, the client, or the organization.
    #[non_exhaustive]
    Claim {
        /// The path of the claim, from the requirement. For the client, it is the claim that the API reads.
        claim: ClaimPath,
        /// All scopes that the requirement needs, space-delimited; empty if it needs none.
        scope: Arc<str>,
    },
    /// The token is a bearer token, and the requirement needs one that is bound to a key or to a certificate of the client.
    #[non_exhaustive]
    SenderConstraint {
        /// All scopes that the requirement needs, space-delimited; empty if it needs none.
        scope: Arc<str>,
    },
    /// A predicate or another rule of the application is not met.
    #[non_exhaustive]
    Predicate {
        /// The name of the predicate or rule, from the application.
        name: Arc<str>,
        /// All scopes that the requirement needs, space-delimited; empty if it needs none.
        scope: Arc<str>,
    },
    /// The authentication is too weak or too old (RFC 9470).
    #[non_exhaustive]
    Authentication {
        /// The accepted authentication context classes, space-delimited.
        acr_values: Option<Arc<str>>,
        /// The maximum time since the user's authentication.
        max_age: Option<Duration>,
        /// All scopes that the requirement needs, space-delimited, if the token also lacks one of them; otherwise empty.
        scope: Arc<str>,
    },
}

impl UnmetRequirement {
    /// Returns all scopes that a token needs for this route, space-delimited, including those that this token has (RFC 6750
    /// §3.1). For an insufficient authentication, returns the scopes only if one of them is also missing (RFC 9470 §3).
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::Scope { scope, .. }
            | Self::Permission { scope, .. }
            | Self::Claim { scope, .. }
            | Self::SenderConstraint { scope }
            | Self::Predicate { scope, .. }
            | Self::Authentication { scope, .. } => Some(&**scope).filter(|scope| !scope.is_empty()),
        }
    }

    /// Adds the challenge parameters of the whole requirement.
    pub(super) fn with_challenge_params(mut self, params: ChallengeParams, claims: &Claims) -> Self {
        let lacks_scope = || params.scope.split(' ').any(|name| !name.is_empty() && !claims.grants_scope(name));
        if !matches!(self, Self::Authentication { .. }) || lacks_scope() {
            *self.scope_mut() = params.scope;
        }
        self.with_authentication(params.authentication)
    }

    /// Adds the challenge parameters of the outer layers.
    pub(super) fn with_outer_params(mut self, outer: ChallengeParams) -> Self {
        // A token that passed the outer layers has their scopes.
        if !matches!(self, Self::Authentication { .. }) || self.scope().is_some() {
            let scope = self.scope_mut();
            *scope = union(&outer.scope, scope);
        }
        self.with_authentication(outer.authentication)
    }

    /// Adds further requirements to an insufficient authentication.
    fn with_authentication(mut self, required: Authentication) -> Self {
        if let Self::Authentication { acr_values, max_age, .. } = &mut self {
            let both = Authentication { acr_values: acr_values.take(), max_age: *max_age }.merge(required);
            (*acr_values, *max_age) = (both.acr_values, both.max_age);
        }
        self
    }

    fn scope_mut(&mut self) -> &mut Arc<str> {
        match self {
            Self::Scope { scope, .. }
            | Self::Permission { scope, .. }
            | Self::Claim { scope, .. }
            | Self::SenderConstraint { scope }
            | Self::Predicate { scope, .. }
            | Self::Authentication { scope, .. } => scope,
        }
    }
}

impl fmt::Display for UnmetRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope { missing, .. } => write!(f, "the token lacks the scope {missing}"),
            Self::Permission { missing, .. } => write!(f, "the token lacks the permission {missing}"),
            Self::Claim { claim, .. } => {
                write!(f, "the claim {claim} is missing or does not have the required value")
            }
            Self::SenderConstraint { .. } => {
                f.write_str("the token is bound neither to a key nor to a certificate of the client")
            }
            Self::Predicate { name, .. } => write!(f, "the token does not meet the requirement {name}"),
            Self::Authentication { .. } => f.write_str("the authentication is too weak or too old"),
        }
    }
}

impl std::error::Error for UnmetRequirement {}
