//! Constructors for requirements in constants, whose names are checked at compile time.

use std::borrow::Cow;

use crate::claims::Claims;
use crate::requirement::comparison::{Comparison, Values};
use crate::requirement::names::Names;
use crate::requirement::node::{Node, Parts};
use crate::requirement::path::ClaimPath;
use crate::requirement::predicate::Predicate;
use crate::requirement::syntax::{RequirementSyntaxError, Syntax, all, is_scope_token};
use crate::requirement::{ClaimValue, Requirement};

/// Constructors for constants. Each creates the same requirement as the function whose name has no `static_`, and panics in the
/// same cases. In a `const`, a panic is a compile error.
///
/// ```
/// use tower_bearer::Requirement;
/// use tower_bearer::requirement::ClaimValue;
///
/// const CLERK: Requirement =
///     Requirement::static_claim_contains("https://northwind.com/roles", ClaimValue::text("clerk"));
/// const STRONG: Requirement = Requirement::static_acr_values(&["urn:northwind:gold"]);
/// const BOTH_NAMES: &[Requirement] = &[CLERK, STRONG];
/// const BOTH: Requirement = Requirement::static_all_of(BOTH_NAMES);
/// assert_eq!(STRONG, Requirement::acr_values(["urn:northwind:gold"]));
/// # let _ = BOTH;
/// ```
#[expect(clippy::missing_panics_doc, reason = "documented at the impl block for all functions")]
impl Requirement {
    /// Requires one scope.
    #[must_use]
    pub const fn static_scope(name: &'static str) -> Self {
        assert!(is_scope_token(name), "{}", RequirementSyntaxError::Scope.text());
        Self(Node::Scope(Cow::Borrowed(name)))
    }

    /// Requires one permission.
    #[must_use]
    pub const fn static_permission(name: &'static str) -> Self {
        assert!(!name.is_empty(), "{}", RequirementSyntaxError::EmptyName.text());
        Self(Node::Permission(Cow::Borrowed(name)))
    }

    /// Requires the scope or the permission with this name.
    #[must_use]
    pub const fn static_scope_or_permission(name: &'static str) -> Self {
        assert!(is_scope_token(name), "{}", RequirementSyntaxError::Scope.text());
        Self(Node::ScopeOrPermission(Cow::Borrowed(name)))
    }

    /// Requires that the claim `name` equals `value`.
    #[must_use]
    pub const fn static_claim_equals(name: &'static str, value: ClaimValue) -> Self {
        assert!(!name.is_empty(), "{}", RequirementSyntaxError::EmptyName.text());
        Self(Node::Claim(ClaimPath::top_level(Cow::Borrowed(name)), Comparison::Equals(value)))
    }

    /// Requires that the claim `name` contains `value`.
    #[must_use]
    pub const fn static_claim_contains(name: &'static str, value: ClaimValue) -> Self {
        assert!(!name.is_empty(), "{}", RequirementSyntaxError::EmptyName.text());
        Self(Node::Claim(ClaimPath::top_level(Cow::Borrowed(name)), Comparison::Contains(value)))
    }

    /// Requires that the claim at `path` equals `value`; see [`ClaimPath::equals`](crate::requirement::ClaimPath::equals).
    #[must_use]
    pub const fn static_claim_path_equals(path: &'static [&'static str], value: ClaimValue) -> Self {
        assert!(all(path, Syntax::NonEmpty), "{}", RequirementSyntaxError::ClaimPath.text());
        Self(Node::Claim(ClaimPath::nested(Names::Constant(path)), Comparison::Equals(value)))
    }

    /// Requires that the claim at `path` contains `value`; see [`ClaimPath::contains`](crate::requirement::ClaimPath::contains).
    #[must_use]
    pub const fn static_claim_path_contains(path: &'static [&'static str], value: ClaimValue) -> Self {
        assert!(all(path, Syntax::NonEmpty), "{}", RequirementSyntaxError::ClaimPath.text());
        Self(Node::Claim(ClaimPath::nested(Names::Constant(path)), Comparison::Contains(value)))
    }

    /// Requires that the claim at `path` is or contains one of `values`; see
    /// [`ClaimPath::any_of`](crate::requirement::ClaimPath::any_of). The slice must be a separate constant.
    #[must_use]
    pub const fn static_claim_path_any_of(path: &'static [&'static str], values: &'static [ClaimValue]) -> Self {
        assert!(all(path, Syntax::NonEmpty), "{}", RequirementSyntaxError::ClaimPath.text());
        assert!(!values.is_empty(), "{}", RequirementSyntaxError::ClaimValues.text());
        Self(Node::Claim(ClaimPath::nested(Names::Constant(path)), Comparison::AnyOf(Values::Constant(values))))
    }

    /// Requires that `is_met` returns true for the claims; see [`Requirement::predicate`].
    #[must_use]
    pub const fn static_predicate(name: &'static str, is_met: fn(&Claims) -> bool) -> Self {
        assert!(!name.is_empty(), "{}", RequirementSyntaxError::EmptyName.text());
        Self(Node::Predicate(Predicate::constant(name, is_met)))
    }

    /// Requires that the token was issued to one of these clients.
    #[must_use]
    pub const fn static_client_ids(ids: &'static [&'static str]) -> Self {
        assert!(all(ids, Syntax::NonEmpty), "{}", RequirementSyntaxError::ClientIds.text());
        Self(Node::Client(Names::Constant(ids)))
    }

    /// Requires that the token is for the organization whose `org_id` is `id`.
    #[must_use]
    pub const fn static_organization(id: &'static str) -> Self {
        assert!(!id.is_empty(), "{}", RequirementSyntaxError::EmptyName.text());
        Self(Node::OrganizationId(Cow::Borrowed(id)))
    }

    /// Requires that the token is for the organization whose `org_name` is `name`, compared without regard to the case of ASCII
    /// letters.
    ///
    /// # Security
    ///
    /// As for [`Requirement::organization_name`].
    #[must_use]
    pub const fn static_organization_name(name: &'static str) -> Self {
        assert!(!name.is_empty(), "{}", RequirementSyntaxError::EmptyName.text());
        Self(Node::OrganizationName(Cow::Borrowed(name)))
    }

    /// Requires that the authentication context class of the user, `acr`, is one of these values, the preferred one first.
    #[must_use]
    pub const fn static_acr_values(values: &'static [&'static str]) -> Self {
        assert!(all(values, Syntax::ScopeToken), "{}", RequirementSyntaxError::AcrValues.text());
        Self(Node::Acr(Names::Constant(values)))
    }

    /// Requires all of the requirements. The slice must be a separate constant.
    #[must_use]
    pub const fn static_all_of(requirements: &'static [Self]) -> Self {
        assert!(!requirements.is_empty(), "{}", RequirementSyntaxError::Combination.text());
        Self(Node::All(Parts::Constant(requirements)))
    }

    /// Requires at least one of the requirements; see [`Requirement::any_of`]. The slice must be a separate constant.
    #[must_use]
    pub const fn static_any_of(requirements: &'static [Self]) -> Self {
        assert!(!requirements.is_empty(), "{}", RequirementSyntaxError::Combination.text());
        Self(Node::Any(Parts::Constant(requirements)))
    }
}
