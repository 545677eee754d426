//! Requirements of a route for the claims of a verified token (RFC 6750 §3.1, RFC 9470).

mod constants;
mod challenge_params;
mod names;
mod node;
mod unmet;
mod value;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::challenge_params::ChallengeParams;
use self::constants::{NOT_ACR_VALUES, NOT_CLIENT_IDS};
use self::names::Names;
pub(crate) use self::node::Facts;
use self::node::{Comparison, Node, Parts};
pub(crate) use self::unmet::is_scope_token;
use self::unmet::{NO_REQUIREMENTS, NOT_A_SCOPE};
pub use self::unmet::{RequirementError, ScopeSyntaxError, UnmetRequirement};
pub use self::value::ClaimValue;
use crate::claims::Claims;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::defaults;

/// A requirement for verified claims: scopes, permissions, claim values, the class and age of the authentication.
///
/// [`RequireLayer`](crate::RequireLayer) checks it per route, [`Claims::require`] in code, and the axum extractor `Required`
/// in the signature of a handler.
///
/// ```
/// use tower_bearer::Requirement;
///
/// // A machine with the scope, or a user whose role grants the permission.
/// let write = Requirement::any_of([Requirement::scope("write:orders"), Requirement::permission("write:orders")]);
/// let refund = Requirement::all_of([
///     write,
///     Requirement::claim_contains("https://northwind.com/roles", "clerk"),
///     Requirement::max_authentication_age(std::time::Duration::from_secs(300)),
/// ]);
/// # let _ = refund;
/// assert!(Requirement::try_scope("two words").is_err());
/// ```
///
/// Names are checked when a requirement is created. In a constant they are checked at compile time:
///
/// ```
/// use tower_bearer::Requirement;
///
/// const READ: Requirement = Requirement::static_scope_or_permission("read:orders");
/// assert_eq!(READ.challenge_scope().as_ref(), "read:orders");
/// ```
///
/// ```compile_fail
/// # use tower_bearer::Requirement;
/// const READ: Requirement = Requirement::static_scope("read orders");
/// # let _ = READ;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Requirement(Node);

/// Scopes and permissions.
impl Requirement {
    /// Requires one scope.
    ///
    /// # Panics
    ///
    /// If `name` is not a scope-token of RFC 6749 §3.3. Use [`Requirement::try_scope`] for names that are not constants of the
    /// program.
    #[must_use]
    #[track_caller]
    pub fn scope(name: &str) -> Self {
        assert!(is_scope_token(name), "{name:?}: {NOT_A_SCOPE}");
        Self(Node::Scope(Cow::Owned(name.to_owned())))
    }

    /// Requires one scope. Use it for names that come from outside the program.
    ///
    /// # Errors
    ///
    /// [`ScopeSyntaxError::Scope`] if `name` is not a scope-token of RFC 6749 §3.3.
    pub fn try_scope(name: &str) -> Result<Self, ScopeSyntaxError> {
        if is_scope_token(name) { Ok(Self::scope(name)) } else { Err(ScopeSyntaxError::Scope) }
    }

    /// Requires one permission (Auth0's `permissions`).
    ///
    /// # Panics
    ///
    /// If `name` is empty.
    #[must_use]
    #[track_caller]
    pub fn permission(name: &str) -> Self {
        Self(Node::Permission(non_empty_name(name)))
    }

    /// Requires the scope or the permission with this name: the scope of a machine, or the permission that a user's role
    /// grants.
    ///
    /// # Panics
    ///
    /// As [`Requirement::scope`].
    #[must_use]
    #[track_caller]
    pub fn scope_or_permission(name: &str) -> Self {
        assert!(is_scope_token(name), "{name:?}: {NOT_A_SCOPE}");
        Self(Node::ScopeOrPermission(Cow::Owned(name.to_owned())))
    }
}

/// Claims.
impl Requirement {
    /// Requires that the claim `name` equals `value`. The name may have any characters (`https://northwind.com/department`).
    ///
    /// # Panics
    ///
    /// If `name` is empty.
    #[must_use]
    #[track_caller]
    pub fn claim_equals(name: &str, value: impl Into<ClaimValue>) -> Self {
        Self(Node::Claim(non_empty_name(name), Comparison::Equals, value.into()))
    }

    /// Requires that the claim `name` is an array that contains `value`, or a space-delimited string that contains the word
    /// `value`.
    ///
    /// # Panics
    ///
    /// As [`Requirement::claim_equals`].
    #[must_use]
    #[track_caller]
    pub fn claim_contains(name: &str, value: impl Into<ClaimValue>) -> Self {
        Self(Node::Claim(non_empty_name(name), Comparison::Contains, value.into()))
    }

    /// Requires that the token was issued to one of these clients (`client_id`, else `azp`).
    ///
    /// # Security
    ///
    /// A client id is unique only within one issuer.
    ///
    /// # Panics
    ///
    /// If there is no client id, or one is empty.
    #[must_use]
    #[track_caller]
    pub fn client_ids<'c>(ids: impl IntoIterator<Item = &'c str>) -> Self {
        let ids: Vec<&str> = ids.into_iter().collect();
        assert!(!ids.is_empty() && !ids.contains(&""), "{ids:?}: {NOT_CLIENT_IDS}");
        Self(Node::Client(Names::new(ids)))
    }

    /// Requires that the token is for this organization, by `org_id`.
    ///
    /// # Panics
    ///
    /// If `id` is empty.
    #[must_use]
    #[track_caller]
    pub fn organization(id: &str) -> Self {
        Self(Node::OrganizationId(non_empty_name(id)))
    }

    /// Requires that the token is for this organization, by `org_name` in lower case.
    ///
    /// # Security
    ///
    /// Names can change and be reused, and are unique only within one tenant. Prefer the id.
    ///
    /// # Panics
    ///
    /// If `name` is empty.
    #[must_use]
    #[track_caller]
    pub fn organization_name(name: &str) -> Self {
        Self(Node::OrganizationName(non_empty_name(name)))
    }

    /// Requires an authentication of one of these classes, in order of preference (RFC 9470 §4).
    ///
    /// # Panics
    ///
    /// If there is no value, or one is not a word of visible ASCII characters.
    #[must_use]
    #[track_caller]
    pub fn acr_values<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let values: Vec<&str> = values.into_iter().collect();
        assert!(!values.is_empty() && values.iter().all(|value| is_scope_token(value)), "{values:?}: {NOT_ACR_VALUES}");
        Self(Node::Acr(Names::new(values)))
    }

    /// Requires that the user authenticated at most `age` ago (RFC 9470 §4). A token without `auth_time` does not meet it.
    #[must_use]
    pub const fn max_authentication_age(age: Duration) -> Self {
        Self(Node::AuthenticationAge(age))
    }
}

/// Combinations.
impl Requirement {
    /// Requires all of the requirements.
    ///
    /// If several are not met, the first one is reported. An insufficient authentication is reported before all others,
    /// because its challenge can also name the scopes (RFC 9470 §3), so that the client needs only one new token.
    ///
    /// # Panics
    ///
    /// If the list is empty, because every token would meet it. Use [`Requirement::try_all_of`] for lists that come from
    /// outside the program.
    #[must_use]
    #[track_caller]
    pub fn all_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::All(Parts::Shared(non_empty(requirements).into())))
    }

    /// Requires all of the requirements. Use it for lists that may be empty.
    ///
    /// # Errors
    ///
    /// [`ScopeSyntaxError::Empty`] if the list is empty.
    pub fn try_all_of(requirements: impl IntoIterator<Item = Self>) -> Result<Self, ScopeSyntaxError> {
        let requirements: Vec<Self> = requirements.into_iter().collect();
        if requirements.is_empty() { Err(ScopeSyntaxError::Empty) } else { Ok(Self::all_of(requirements)) }
    }

    /// Requires at least one of the requirements.
    ///
    /// A challenge cannot offer alternatives. It names the alternative that the token already meets, otherwise the first one
    /// that a challenge can express. The rejection reports the latter. Put the alternative first that clients should request.
    ///
    /// # Panics
    ///
    /// If the list is empty, because no token could meet it. Use [`Requirement::try_any_of`] for lists that come from outside
    /// the program.
    #[must_use]
    #[track_caller]
    pub fn any_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::Any(Parts::Shared(non_empty(requirements).into())))
    }

    /// Requires at least one of the requirements. Use it for lists that may be empty.
    ///
    /// # Errors
    ///
    /// [`ScopeSyntaxError::Empty`] if the list is empty.
    pub fn try_any_of(requirements: impl IntoIterator<Item = Self>) -> Result<Self, ScopeSyntaxError> {
        let requirements: Vec<Self> = requirements.into_iter().collect();
        if requirements.is_empty() { Err(ScopeSyntaxError::Empty) } else { Ok(Self::any_of(requirements)) }
    }

    /// Checks claims at the time `now`. `leeway` is the tolerated clock skew for the age of the authentication.
    ///
    /// # Errors
    ///
    /// [`UnmetRequirement`] contains what is missing.
    pub fn check<C>(&self, claims: &Claims<C>, now: Timestamp, leeway: Duration) -> Result<(), UnmetRequirement> {
        let facts = Facts { claims: &claims.registered(), now, leeway };
        // The challenge names everything that the requirement needs, not only the first part that is missing.
        let outcome = self.0.check(&facts);
        outcome.map_err(|unmet| unmet.with_challenge_params(self.challenge_params(Some(&facts)), claims.scopes()))
    }

    /// Returns the scopes that a token needs, space-delimited, as a challenge names them to a client without a token. Of
    /// alternatives, it returns the scopes of the first that a challenge can express.
    #[must_use]
    pub fn challenge_scope(&self) -> Arc<str> {
        self.challenge_params(None).scope
    }

    /// Returns whether a challenge can express any part of it.
    pub(crate) fn has_challenge_params(&self) -> bool {
        !self.0.challenge_params(None).is_empty()
    }

    /// Returns its challenge parameters for a client with a token, whose facts are given, or without one.
    pub(crate) fn challenge_params(&self, facts: Option<&Facts<'_>>) -> ChallengeParams {
        self.0.challenge_params(facts).into_params()
    }
}

impl<C> Claims<C> {
    /// Checks a requirement in code, with the system clock and 5 s of leeway. [`Requirement::check`] takes both as arguments.
    ///
    /// ```
    /// use tower_bearer::requirement::RequirementError;
    /// use tower_bearer::{Claims, Requirement};
    ///
    /// fn refund(claims: &Claims) -> Result<(), RequirementError> {
    ///     claims.require(&Requirement::scope("refund:orders"))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequirementError`] contains what is missing. Converted to the axum rejection `BearerRejection`, it is the same
    /// response as that of a [`RequireLayer`](crate::RequireLayer) in front of the handler.
    pub fn require(&self, requirement: &Requirement) -> Result<(), RequirementError> {
        let outcome = requirement.check(self, SystemClock.now(), defaults::LEEWAY);
        outcome.map_err(|unmet| RequirementError { unmet, claims: self.registered() })
    }
}

impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns a name. Panics if it is empty.
#[track_caller]
fn non_empty_name(name: &str) -> Cow<'static, str> {
    assert!(!name.is_empty(), "the name must not be empty");
    Cow::Owned(name.to_owned())
}

/// Collects the parts of a combination. Panics if there is none.
#[track_caller]
fn non_empty(requirements: impl IntoIterator<Item = Requirement>) -> Vec<Requirement> {
    let requirements: Vec<Requirement> = requirements.into_iter().collect();
    assert!(!requirements.is_empty(), "{NO_REQUIREMENTS}");
    requirements
}

#[cfg(test)]
mod tests;
