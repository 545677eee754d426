//! What a token lacks, and why a requirement cannot be made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::{Claims, Scopes};
use crate::requirement::challenge_params::{Authentication, ChallengeParams, union};

/// What a token lacks for a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnmetRequirement {
    /// A scope is missing.
    Scope {
        /// The scope that is missing; of several, the first.
        missing: Arc<str>,
        /// The scopes that the requirement needs, space-delimited.
        scope: Arc<str>,
    },
    /// A permission is missing.
    Permission {
        /// The permission that is missing; of several, the first.
        missing: Arc<str>,
        /// The scopes that the requirement needs besides, space-delimited; empty if it needs none.
        scope: Arc<str>,
    },
    /// A claim is missing or has another value: one of the application's own, the client, the organization.
    Claim {
        /// The claim's name, from the requirement.
        claim: Arc<str>,
        /// The scopes that the requirement needs besides, space-delimited; empty if it needs none.
        scope: Arc<str>,
    },
    /// The authentication was too weak or too long ago (RFC 9470).
    Authentication {
        /// The classes that would do, space-delimited.
        acr_values: Option<Arc<str>>,
        /// The longest time since the authentication.
        max_age: Option<Duration>,
        /// The scopes that the requirement needs, space-delimited, if the token lacks one of them too; else empty.
        scope: Arc<str>,
    },
}

impl UnmetRequirement {
    /// The scopes that a token for this route should bring, space-delimited: all that are needed, also those that this
    /// token has (RFC 6750 §3.1). Where the authentication does not do, only if a scope lacks too (RFC 9470 §3).
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::Scope { scope, .. }
            | Self::Permission { scope, .. }
            | Self::Claim { scope, .. }
            | Self::Authentication { scope, .. } => Some(&**scope).filter(|scope| !scope.is_empty()),
        }
    }

    /// The same, naming all that the requirement needs and not only the first that lacks.
    pub(super) fn naming(mut self, all: ChallengeParams, scopes: Scopes<'_>) -> Self {
        let lacks_scope = || all.scope.split(' ').any(|name| !name.is_empty() && !scopes.contains(name));
        if !matches!(self, Self::Authentication { .. }) || lacks_scope() {
            *self.scope_mut() = all.scope;
        }
        self.and(all.authentication)
    }

    /// The same, naming also what the layers around need.
    pub(crate) fn within(mut self, around: ChallengeParams) -> Self {
        // Whoever got here has the scopes of the layers around.
        if !matches!(self, Self::Authentication { .. }) || self.scope().is_some() {
            let scope = self.scope_mut();
            *scope = union(&around.scope, scope);
        }
        self.and(around.authentication)
    }

    /// Where the authentication does not do, asks for all that is asked of it.
    fn and(mut self, asked: Authentication) -> Self {
        if let Self::Authentication { acr_values, max_age, .. } = &mut self {
            let both = Authentication { acr_values: acr_values.take(), max_age: *max_age }.and(asked);
            (*acr_values, *max_age) = (both.acr_values, both.max_age);
        }
        self
    }

    fn scope_mut(&mut self) -> &mut Arc<str> {
        match self {
            Self::Scope { scope, .. }
            | Self::Permission { scope, .. }
            | Self::Claim { scope, .. }
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
                write!(f, "the claim {claim} is missing or has another value than is asked for")
            }
            Self::Authentication { .. } => f.write_str("the authentication was too weak or too long ago"),
        }
    }
}

impl std::error::Error for UnmetRequirement {}

/// Claims that do not meet a requirement which was asked in code, by [`Claims::require`].
///
/// `axum::BearerRejection` is made from it. Claims that an extractor handed to the handler know the layers around it, and so
/// the answer names what layer and handler need together, with the layer's realm, metadata, body and protocol; of other
/// claims, such as those that [`Validator::validate`](crate::Validator::validate) returns, the answer names what was asked
/// here.
#[derive(Clone, Debug)]
pub struct RequirementError {
    pub(super) unmet: UnmetRequirement,
    pub(super) claims: Claims,
}

impl RequirementError {
    /// What is missing.
    #[must_use]
    pub fn unmet(&self) -> &UnmetRequirement {
        &self.unmet
    }

    /// The claims that do not suffice.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl From<RequirementError> for UnmetRequirement {
    fn from(insufficient: RequirementError) -> Self {
        insufficient.unmet
    }
}

/// Equal where the same is missing.
impl PartialEq for RequirementError {
    fn eq(&self, other: &Self) -> bool {
        self.unmet == other.unmet
    }
}

impl Eq for RequirementError {}

impl fmt::Display for RequirementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unmet.fmt(f)
    }
}

impl std::error::Error for RequirementError {}

/// Why a requirement cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScopeSyntaxError {
    /// The name is no scope-token: one or more of %x21 / %x23-5B / %x5D-7E (RFC 6749 §3.3).
    Scope,
    /// A combination of no requirements.
    Empty,
}

impl fmt::Display for ScopeSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope => f.write_str(NOT_A_SCOPE),
            Self::Empty => f.write_str(NO_REQUIREMENTS),
        }
    }
}

impl std::error::Error for ScopeSyntaxError {}

/// RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`. Constant, so that a name can be checked by the
/// compiler.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "`at` stays below the length")]
pub(crate) const fn is_scope_token(name: &str) -> bool {
    let octets = name.as_bytes();
    let mut at = 0;
    while at < octets.len() {
        if !octets[at].is_ascii_graphic() || octets[at] == b'"' || octets[at] == b'\\' {
            return false;
        }
        at += 1;
    }
    !octets.is_empty()
}

pub(super) const NOT_A_SCOPE: &str =
    "a scope has one or more visible ASCII characters, without space, quote and backslash";

pub(super) const NO_REQUIREMENTS: &str = "a combination has at least one requirement";
