//! What a token lacks, and why a requirement cannot be made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::guard::demand::{Authentication, Demand};

/// What a token lacks for a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unmet {
    /// A scope or a permission is missing.
    Scope {
        /// The scopes that the requirement names, space-delimited; empty if it names none.
        scope: Arc<str>,
    },
    /// A claim is missing or has another value: one of the application's own, the client, the organization.
    Claim {
        /// The claim's name, from the requirement.
        claim: Arc<str>,
        /// The scopes that the requirement names besides, space-delimited; empty if it names none.
        scope: Arc<str>,
    },
    /// The authentication was too weak or too long ago (RFC 9470).
    Authentication {
        /// The classes that would do, space-delimited.
        acr_values: Option<Arc<str>>,
        /// The longest time since the authentication.
        max_age: Option<Duration>,
    },
}

impl Unmet {
    /// The scopes that a token for this route should bring, space-delimited. RFC 9470 §3 keeps them out of a challenge
    /// that asks for another authentication.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::Scope { scope } | Self::Claim { scope, .. } => {
                Some(scope).filter(|scope| !scope.is_empty()).map(|s| &**s)
            }
            Self::Authentication { .. } => None,
        }
    }

    /// The same, naming all that is known to be needed and not only the first that lacks.
    pub(crate) fn naming(self, all: Demand) -> Self {
        match self {
            Self::Scope { .. } => Self::Scope { scope: all.scope },
            Self::Claim { claim, .. } => Self::Claim { claim, scope: all.scope },
            Self::Authentication { .. } => self.and(all.authentication),
        }
    }

    /// Where the authentication does not do, asks for all that is asked of it.
    pub(super) fn and(self, asked: Authentication) -> Self {
        match self {
            Self::Authentication { acr_values, max_age } => {
                let Authentication { acr_values, max_age } = Authentication { acr_values, max_age }.and(asked);
                Self::Authentication { acr_values, max_age }
            }
            Self::Scope { .. } | Self::Claim { .. } => self,
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope { .. } => f.write_str("the token lacks a scope or permission"),
            Self::Claim { claim, .. } => {
                write!(f, "the claim {claim} is missing or has another value than is asked for")
            }
            Self::Authentication { .. } => f.write_str("the authentication was too weak or too long ago"),
        }
    }
}

impl std::error::Error for Unmet {}

/// Why a requirement cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequirementError {
    /// The name is no scope-token: one or more of %x21 / %x23-5B / %x5D-7E (RFC 6749 §3.3).
    Scope,
}

impl fmt::Display for RequirementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope => f.write_str(NOT_A_SCOPE),
        }
    }
}

impl std::error::Error for RequirementError {}

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
