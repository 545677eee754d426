//! Requirements: what a route asks of a token that is genuine (RFC 6750 §3.1, RFC 9470).

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
use self::constants::NOT_ACR_VALUES;
use self::names::Names;
pub(crate) use self::node::Facts;
use self::node::{Node, Parts, Test};
pub(crate) use self::unmet::is_scope_token;
use self::unmet::{NO_REQUIREMENTS, NOT_A_SCOPE};
pub use self::unmet::{RequirementError, ScopeSyntaxError, UnmetRequirement};
pub use self::value::ClaimValue;
use crate::claims::Claims;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::defaults;

/// What a route asks of verified claims: scopes, permissions, claims, the strength and age of the authentication.
///
/// It is asked per route by [`RequireLayer`](crate::RequireLayer), in code by [`Claims::require`], and in the type of an
/// axum extractor by `axum::Required`.
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
/// Names are checked when a requirement is made, not when it is asked; in a constant the compiler checks them:
///
/// ```
/// use tower_bearer::Requirement;
///
/// const READ: Requirement = Requirement::static_scope_or_permission("read:orders");
/// assert_eq!(READ.scope_names().as_ref(), "read:orders");
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
    /// Asks for one scope.
    ///
    /// # Panics
    ///
    /// If `name` is no scope-token of RFC 6749 §3.3, which is a fault of the program; for names that come from outside
    /// there is [`Requirement::try_scope`].
    #[must_use]
    #[track_caller]
    pub fn scope(name: &str) -> Self {
        assert!(is_scope_token(name), "{name:?}: {NOT_A_SCOPE}");
        Self(Node::Scope(Cow::Owned(name.to_owned())))
    }

    /// Asks for one scope whose name is not known to be well-formed.
    ///
    /// # Errors
    ///
    /// [`ScopeSyntaxError::Scope`] if `name` is no scope-token of RFC 6749 §3.3.
    pub fn try_scope(name: &str) -> Result<Self, ScopeSyntaxError> {
        if is_scope_token(name) { Ok(Self::scope(name)) } else { Err(ScopeSyntaxError::Scope) }
    }

    /// Asks for one permission (Auth0's `permissions`).
    ///
    /// # Panics
    ///
    /// If `name` is empty, which is a fault of the program.
    #[must_use]
    #[track_caller]
    pub fn permission(name: &str) -> Self {
        Self(Node::Permission(named(name)))
    }

    /// Asks for the scope or the permission of one name: the scope of a machine, or the permission that a user's role
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
    /// Asks that the claim `name` is `value`; the name may have any characters (`https://northwind.com/department`).
    ///
    /// # Panics
    ///
    /// If `name` is empty, which is a fault of the program.
    #[must_use]
    #[track_caller]
    pub fn claim_equals(name: &str, value: impl Into<ClaimValue>) -> Self {
        Self(Node::Claim(named(name), Test::Equals, value.into()))
    }

    /// Asks that the claim `name` is an array with `value` in it, or a space-delimited string with `value` as a word.
    ///
    /// # Panics
    ///
    /// As [`Requirement::claim_equals`].
    #[must_use]
    #[track_caller]
    pub fn claim_contains(name: &str, value: impl Into<ClaimValue>) -> Self {
        Self(Node::Claim(named(name), Test::Contains, value.into()))
    }

    /// Asks that the token was issued to one of these clients (`client_id`, else `azp`).
    ///
    /// # Security
    ///
    /// A client id is unique within one issuer only.
    ///
    /// # Panics
    ///
    /// If no client is given, or one is empty: a fault of the program.
    #[must_use]
    #[track_caller]
    pub fn client_ids<'c>(ids: impl IntoIterator<Item = &'c str>) -> Self {
        let ids: Vec<&str> = ids.into_iter().collect();
        assert!(!ids.is_empty() && !ids.contains(&""), "{ids:?}: of no client at all there is no token");
        Self(Node::Client(Names::of(ids)))
    }

    /// Asks that the token is for this organization, by `org_id`.
    ///
    /// # Panics
    ///
    /// If `id` is empty, which is a fault of the program.
    #[must_use]
    #[track_caller]
    pub fn organization(id: &str) -> Self {
        Self(Node::OrganizationId(named(id)))
    }

    /// Asks that the token is for this organization, by `org_name` in lower case.
    ///
    /// # Security
    ///
    /// Names can change and be given again, and are unique within one tenant only: prefer the id.
    ///
    /// # Panics
    ///
    /// If `name` is empty, which is a fault of the program.
    #[must_use]
    #[track_caller]
    pub fn organization_name(name: &str) -> Self {
        Self(Node::OrganizationName(named(name)))
    }

    /// Asks that the authentication was of one of the classes, the most wanted first (RFC 9470 §4).
    ///
    /// # Panics
    ///
    /// If a value is no word of visible ASCII characters, or none is given: a fault of the program.
    #[must_use]
    #[track_caller]
    pub fn acr_values<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let values: Vec<&str> = values.into_iter().collect();
        assert!(!values.is_empty() && values.iter().all(|value| is_scope_token(value)), "{values:?}: {NOT_ACR_VALUES}");
        Self(Node::Acr(Names::of(values)))
    }

    /// Asks that the user authenticated no longer ago than `age` (RFC 9470 §4); a token without `auth_time` is too old.
    #[must_use]
    pub const fn max_authentication_age(age: Duration) -> Self {
        Self(Node::AuthenticationAge(age))
    }
}

/// Combinations.
impl Requirement {
    /// Asks for all of them.
    ///
    /// Of several that are not met the first is reported, but an authentication that does not do before all others: its
    /// challenge names the scopes, too (RFC 9470 §3), and the client has to come back only once.
    ///
    /// # Panics
    ///
    /// If there are none, since every token would meet that; for a list that comes from outside there is
    /// [`Requirement::try_all_of`].
    #[must_use]
    #[track_caller]
    pub fn all_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::All(Parts::Shared(some(requirements).into())))
    }

    /// Asks for all of them, where the list may be empty.
    ///
    /// # Errors
    ///
    /// [`ScopeSyntaxError::Empty`] if there are none.
    pub fn try_all_of(requirements: impl IntoIterator<Item = Self>) -> Result<Self, ScopeSyntaxError> {
        let requirements: Vec<Self> = requirements.into_iter().collect();
        if requirements.is_empty() { Err(ScopeSyntaxError::Empty) } else { Ok(Self::all_of(requirements)) }
    }

    /// Asks for at least one of them.
    ///
    /// A challenge cannot offer a choice: it names the alternative that the token meets already, else the first that it can
    /// name, and that one is reported. Put first what a client should ask for.
    ///
    /// # Panics
    ///
    /// If there are none, since no token could meet that; for a list that comes from outside there is
    /// [`Requirement::try_any_of`].
    #[must_use]
    #[track_caller]
    pub fn any_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::Any(Parts::Shared(some(requirements).into())))
    }

    /// Asks for at least one of them, where the list may be empty.
    ///
    /// # Errors
    ///
    /// [`ScopeSyntaxError::Empty`] if there are none.
    pub fn try_any_of(requirements: impl IntoIterator<Item = Self>) -> Result<Self, ScopeSyntaxError> {
        let requirements: Vec<Self> = requirements.into_iter().collect();
        if requirements.is_empty() { Err(ScopeSyntaxError::Empty) } else { Ok(Self::any_of(requirements)) }
    }

    /// Judges claims at the time `now`; `leeway` forgives clock skew in the age of the authentication.
    ///
    /// # Errors
    ///
    /// [`UnmetRequirement`] says what is missing.
    pub fn check<C>(&self, claims: &Claims<C>, now: Timestamp, leeway: Duration) -> Result<(), UnmetRequirement> {
        let facts = Facts { claims: &claims.registered(), now, leeway };
        // The client is told of all that this needs, not only of the first that it lacks.
        self.0.check(&facts).map_err(|unmet| unmet.naming(self.demand(Some(&facts)), claims.scopes()))
    }

    /// The scopes that a token for this should bring, space-delimited, as a challenge names them to a client without
    /// token: of alternatives, those of the first.
    #[must_use]
    pub fn scope_names(&self) -> Arc<str> {
        self.demand(None).scope
    }

    /// Says whether a challenge can say anything of it.
    pub(crate) fn can_be_told(&self) -> bool {
        !self.0.needs(None).is_empty()
    }

    /// What a challenge can say of it to a client with, or without, a token.
    pub(crate) fn demand(&self, facts: Option<&Facts<'_>>) -> ChallengeParams {
        self.0.needs(facts).into_params()
    }
}

impl<C> Claims<C> {
    /// Asks a requirement in code, by the system's clock and with 5 s of leeway; [`Requirement::check`] takes both as
    /// arguments.
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
    /// [`RequirementError`] says what is missing; as `axum::BearerRejection` it is the answer that a
    /// [`RequireLayer`](crate::RequireLayer) in front of the handler would have given.
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

/// Takes a name that must not be empty.
#[track_caller]
fn named(name: &str) -> Cow<'static, str> {
    assert!(!name.is_empty(), "what is asked for has a name");
    Cow::Owned(name.to_owned())
}

/// Takes the parts of a combination, of which there must be at least one.
#[track_caller]
fn some(requirements: impl IntoIterator<Item = Requirement>) -> Vec<Requirement> {
    let requirements: Vec<Requirement> = requirements.into_iter().collect();
    assert!(!requirements.is_empty(), "{NO_REQUIREMENTS}");
    requirements
}

#[cfg(test)]
mod tests;
