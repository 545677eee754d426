//! Requirements of a route for the claims of a verified token (RFC 6750 §3.1, RFC 9470).

mod alternatives;
mod constants;
mod challenge_params;
mod claim_path;
mod comparison;
mod display;
mod error;
mod fallible;
mod names;
mod node;
mod path;
mod predicate;
mod syntax;
mod unmet;
mod value;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub use self::alternatives::Alternative;
pub(crate) use self::challenge_params::ChallengeParams;
pub use self::error::RequirementError;
pub(crate) use self::error::{Reason, UNAVAILABLE};
pub(crate) use self::node::Facts;
use self::node::Node;
pub use self::path::ClaimPath;
use self::predicate::Predicate;
pub use self::syntax::RequirementSyntaxError;
pub(crate) use self::syntax::is_scope_token;
use self::syntax::or_panic;
pub use self::unmet::UnmetRequirement;
pub use self::value::ClaimValue;
use crate::claims::Claims;
use crate::clock::{Clock as _, SystemClock, Timestamp};

/// A requirement for verified claims: scopes, permissions, claim values, and the class (`acr`) and time (`auth_time`) of the
/// user's authentication.
///
/// A requirement can be checked in three places: for a route by [`RequireLayer`](crate::RequireLayer), in the signature of a
/// handler by the axum extractor `Required`, and anywhere in code by [`Claims::require`].
///
/// ```
/// use tower_bearer::Requirement;
///
/// // Machines have `write:orders` as a scope, users as a permission of their role.
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
/// The names are checked when a requirement is created. A constructor that panics for an invalid name has a form `try_*`, for
/// names from outside the program, such as a configuration file. In a constant, names are checked at compile time:
///
/// ```
/// use tower_bearer::Requirement;
///
/// const READ: Requirement = Requirement::static_scope_or_permission("read:orders");
/// assert_eq!(READ.challenge_scope().as_ref(), "read:orders");
/// ```
///
/// A scope cannot contain a space, so this constant does not compile:
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
    /// Panics if `name` is not a scope-token of RFC 6749 §3.3. Use [`Requirement::try_scope`] for names that are not constants
    /// of the program.
    #[must_use]
    #[track_caller]
    pub fn scope(name: &str) -> Self {
        or_panic(Self::try_scope(name), &name)
    }

    /// Requires one permission (Auth0's `permissions`).
    ///
    /// # Panics
    ///
    /// Panics if `name` is empty.
    #[must_use]
    #[track_caller]
    pub fn permission(name: &str) -> Self {
        or_panic(Self::try_permission(name), &name)
    }

    /// Requires that the token has the scope `name`, the permission `name`, or both. Use it for a route that machines call with
    /// a scope and users with a permission of their role.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`Requirement::scope`].
    #[must_use]
    #[track_caller]
    pub fn scope_or_permission(name: &str) -> Self {
        or_panic(Self::try_scope_or_permission(name), &name)
    }
}

/// Claims.
impl Requirement {
    /// Requires that the claim `name` equals `value`. The name can have any characters, for example
    /// `https://northwind.com/department`.
    ///
    /// # Panics
    ///
    /// Panics if `name` is empty.
    #[must_use]
    #[track_caller]
    pub fn claim_equals(name: &str, value: impl Into<ClaimValue>) -> Self {
        or_panic(Self::try_claim_equals(name, value), &name)
    }

    /// Requires that the claim `name` is an array that contains `value`, or a space-delimited string that contains the word
    /// `value`.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`Requirement::claim_equals`].
    #[must_use]
    #[track_caller]
    pub fn claim_contains(name: &str, value: impl Into<ClaimValue>) -> Self {
        or_panic(Self::try_claim_contains(name, value), &name)
    }

    /// Returns the path of a nested claim, with methods that create requirements for it: the name of a top-level claim, and the
    /// names of the members that lead from it to the value. Each name is compared as a whole and can have any characters: a
    /// name with dots or slashes is one name.
    ///
    /// If an object on the path has several members of this name, no token meets the requirement.
    ///
    /// ```
    /// use tower_bearer::{RequireLayer, Requirement};
    ///
    /// // Keycloak: the roles of the client `orders.api`.
    /// let clerk = Requirement::claim_path(["resource_access", "orders.api", "roles"]).contains("clerk");
    /// # let _ = RequireLayer::new(clerk);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the path is empty or contains an empty name.
    #[must_use]
    #[track_caller]
    pub fn claim_path<'p>(path: impl IntoIterator<Item = &'p str>) -> ClaimPath {
        let names: Vec<&str> = path.into_iter().collect();
        or_panic(Self::try_claim_path(names.iter().copied()), &names)
    }

    /// Requires that `is_met` returns true for the claims. Use it for a rule that no other constructor expresses. `name` appears
    /// in logs, in the output of `explain` and in the text of the requirement, and not in a response.
    ///
    /// The function must be quick and must always return the same result for the same claims: it may be called several times
    /// for one request. A panic is not caught. Two predicates are equal if they have the same name and the same function object.
    ///
    /// ```
    /// use tower_bearer::Requirement;
    ///
    /// let adult = Requirement::predicate("age of at least 18", |claims| {
    ///     claims.claim::<u8>("age").is_ok_and(|age| age.is_some_and(|age| age >= 18))
    /// });
    /// let claims = |age: u8| tower_bearer::testing::claims().claim("age", age).build();
    /// assert!(claims(18).require(&adult).is_ok());
    /// assert!(claims(17).require(&adult).is_err());
    /// ```
    ///
    /// # Security
    ///
    /// The function must return false for claims that are absent or of another type than it expects.
    ///
    /// # Panics
    ///
    /// Panics if `name` is empty.
    #[must_use]
    #[track_caller]
    pub fn predicate(name: &str, is_met: impl Fn(&Claims) -> bool + Send + Sync + 'static) -> Self {
        assert!(!name.is_empty(), "{}", RequirementSyntaxError::EmptyName);
        Self(Node::Predicate(Predicate::new(Cow::Owned(name.to_owned()), is_met)))
    }

    /// Requires that the token was issued to one of these clients: `client_id`, or `azp` if there is no `client_id`. If the API has
    /// another claim for the client, [`with_client_claim`](crate::Api::with_client_claim), only that claim is compared.
    ///
    /// # Security
    ///
    /// A client id is unique only within one issuer.
    ///
    /// # Panics
    ///
    /// Panics if `ids` is empty or contains an empty string.
    #[must_use]
    #[track_caller]
    pub fn client_ids<'c>(ids: impl IntoIterator<Item = &'c str>) -> Self {
        let ids: Vec<&str> = ids.into_iter().collect();
        or_panic(Self::try_client_ids(ids.iter().copied()), &ids)
    }

    /// Requires that the token is for the organization whose `org_id` is `id`.
    ///
    /// # Panics
    ///
    /// Panics if `id` is empty.
    #[must_use]
    #[track_caller]
    pub fn organization(id: &str) -> Self {
        or_panic(Self::try_organization(id), &id)
    }

    /// Requires that the token is for the organization whose `org_name` is `name`, compared without regard to the case of ASCII
    /// letters.
    ///
    /// # Security
    ///
    /// A name can change, can be reused for another organization, and is unique only within one tenant. Prefer the id.
    ///
    /// # Panics
    ///
    /// Panics if `name` is empty.
    #[must_use]
    #[track_caller]
    pub fn organization_name(name: &str) -> Self {
        or_panic(Self::try_organization_name(name), &name)
    }

    /// Requires that the authentication context class of the user, `acr`, is one of these values. A challenge lists the values
    /// in this order, the preferred one first (RFC 9470 §4).
    ///
    /// # Panics
    ///
    /// Panics if `values` is empty, or one of them is not a word of visible ASCII characters without quote and backslash.
    #[must_use]
    #[track_caller]
    pub fn acr_values<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let values: Vec<&str> = values.into_iter().collect();
        or_panic(Self::try_acr_values(values.iter().copied()), &values)
    }

    /// Requires that the user authenticated at most `age` ago (RFC 9470 §4). A token without `auth_time` does not meet the
    /// requirement.
    #[must_use]
    pub const fn max_authentication_age(age: Duration) -> Self {
        Self(Node::AuthenticationAge(age))
    }
}

/// Combinations.
impl Requirement {
    /// Requires a token that is bound to a key of the client, with a proof of possession in the request (DPoP, RFC 9449), or to the
    /// certificate of the client (mutual TLS, RFC 8705).
    ///
    /// For a bearer token, the response is 401 `invalid_token` with a challenge of the scheme `DPoP`, and of `Bearer` if the API accepts
    /// certificates. The API must be configured with [`Api::with_dpop`](crate::Api::with_dpop) or
    /// [`Api::with_mutual_tls`](crate::Api::with_mutual_tls); otherwise every token is rejected.
    ///
    /// ```
    /// use tower_bearer::{RequireLayer, Requirement};
    ///
    /// let pay = RequireLayer::new(Requirement::all_of([Requirement::scope("pay"), Requirement::sender_constrained()]));
    /// # let _ = pay;
    /// ```
    #[must_use]
    pub const fn sender_constrained() -> Self {
        Self(Node::SenderConstrained)
    }

    /// Requires all of the requirements.
    ///
    /// If several of them are not met, the rejection reports the first one, with one exception: a requirement for the
    /// authentication (`acr` or `auth_time`) is always reported first. The challenge for such a requirement can also name the
    /// missing scopes (RFC 9470 §3), so that the client needs only one new token.
    ///
    /// # Panics
    ///
    /// Panics if the list is empty, because every token would meet it. Use [`Requirement::try_all_of`] for lists that come from
    /// outside the program.
    #[must_use]
    #[track_caller]
    pub fn all_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        or_panic(Self::try_all_of(requirements), &[""; 0])
    }

    /// Requires at least one of the requirements.
    ///
    /// A challenge cannot list alternatives, so it names only one of them. If no alternative is met, the rejection and the
    /// challenge name the same one: the first alternative that a challenge can express, that is, one with a scope, an `acr`
    /// value or a maximum age of the authentication. If there is no such alternative, the rejection names the first one. So
    /// write first the alternative that clients should request.
    ///
    /// If the token already meets an alternative, and another requirement is the reason of the rejection, the challenge names
    /// the alternative that the token meets.
    ///
    /// # Panics
    ///
    /// Panics if the list is empty, because no token could meet it. Use [`Requirement::try_any_of`] for lists that come from
    /// outside the program.
    #[must_use]
    #[track_caller]
    pub fn any_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        or_panic(Self::try_any_of(requirements), &[""; 0])
    }

    /// Checks claims at the time `now`. The age of the authentication has the leeway of the API
    /// ([`Api::with_leeway`](crate::Api::with_leeway)).
    ///
    /// # Errors
    ///
    /// Returns [`UnmetRequirement`], which names what is missing.
    pub fn check<C>(&self, claims: &Claims<C>, now: Timestamp) -> Result<(), UnmetRequirement> {
        let facts = Facts { claims: &claims.registered(), now };
        // The challenge names everything that the requirement needs, not only the first part that is missing.
        let outcome = self.0.check(&facts);
        outcome.map_err(|unmet| unmet.with_challenge_params(self.challenge_params(Some(&facts)), facts.claims))
    }

    /// Returns the scopes, space-delimited, that a challenge to a client without a token names. If the requirement has
    /// alternatives, these are the scopes of one alternative, as [`any_of`](Self::any_of) describes.
    #[must_use]
    pub fn challenge_scope(&self) -> Arc<str> {
        self.challenge_params(None).scope
    }

    /// Returns whether a challenge can name any part of the requirement.
    pub(crate) fn has_challenge_params(&self) -> bool {
        !self.0.challenge_params(None).is_empty()
    }

    /// Returns the challenge parameters. `facts` contains the claims of the client's token and the time of the check; it is
    /// `None` if the client sent no token.
    pub(crate) fn challenge_params(&self, facts: Option<&Facts<'_>>) -> ChallengeParams {
        self.0.challenge_params(facts).into_params()
    }
}

impl<C> Claims<C> {
    /// Checks a requirement in code, with the system clock. For another time, call [`Requirement::check`].
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
    /// Returns [`RequirementError`], which names what is missing. With axum, a handler can return it: the response is that of a
    /// [`RequireLayer`](crate::RequireLayer) in front of the handler.
    pub fn require(&self, requirement: &Requirement) -> Result<(), RequirementError> {
        let outcome = requirement.check(self, SystemClock.now());
        outcome.map_err(|unmet| RequirementError::from_unmet(unmet, self))
    }
}

#[cfg(test)]
mod tests;
