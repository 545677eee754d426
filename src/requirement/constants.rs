//! Constructors for requirements in constants, whose names are checked at compile time.

use std::borrow::Cow;

use crate::claims::Claims;
use crate::requirement::claim_path::NO_VALUES;
use crate::requirement::comparison::{Comparison, Values};
use crate::requirement::names::Names;
use crate::requirement::node::{Node, Parts};
use crate::requirement::path::{NOT_A_PATH, Path};
use crate::requirement::predicate::Predicate;
use crate::requirement::unmet::{NO_REQUIREMENTS, NOT_A_SCOPE};
use crate::requirement::{ClaimValue, Requirement, is_scope_token};

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
        assert!(is_scope_token(name), "{}", NOT_A_SCOPE);
        Self(Node::Scope(Cow::Borrowed(name)))
    }

    /// Requires one permission.
    #[must_use]
    pub const fn static_permission(name: &'static str) -> Self {
        assert!(!name.is_empty(), "the name of a permission must not be empty");
        Self(Node::Permission(Cow::Borrowed(name)))
    }

    /// Requires the scope or the permission with this name.
    #[must_use]
    pub const fn static_scope_or_permission(name: &'static str) -> Self {
        assert!(is_scope_token(name), "{}", NOT_A_SCOPE);
        Self(Node::ScopeOrPermission(Cow::Borrowed(name)))
    }

    /// Requires that the claim `name` equals `value`.
    #[must_use]
    pub const fn static_claim_equals(name: &'static str, value: ClaimValue) -> Self {
        assert!(!name.is_empty(), "the name of a claim must not be empty");
        Self(Node::Claim(Path::Claim(Cow::Borrowed(name)), Comparison::Equals(value)))
    }

    /// Requires that the claim `name` contains `value`.
    #[must_use]
    pub const fn static_claim_contains(name: &'static str, value: ClaimValue) -> Self {
        assert!(!name.is_empty(), "the name of a claim must not be empty");
        Self(Node::Claim(Path::Claim(Cow::Borrowed(name)), Comparison::Contains(value)))
    }

    /// Requires that the claim at `path` equals `value`; see [`ClaimPath::equals`](crate::requirement::ClaimPath::equals).
    #[must_use]
    pub const fn static_claim_path_equals(path: &'static [&'static str], value: ClaimValue) -> Self {
        assert!(all(path, Syntax::NonEmpty), "{}", NOT_A_PATH);
        Self(Node::Claim(Path::Nested(Names::Constant(path)), Comparison::Equals(value)))
    }

    /// Requires that the claim at `path` contains `value`; see [`ClaimPath::contains`](crate::requirement::ClaimPath::contains).
    #[must_use]
    pub const fn static_claim_path_contains(path: &'static [&'static str], value: ClaimValue) -> Self {
        assert!(all(path, Syntax::NonEmpty), "{}", NOT_A_PATH);
        Self(Node::Claim(Path::Nested(Names::Constant(path)), Comparison::Contains(value)))
    }

    /// Requires that the claim at `path` is or contains one of `values`; see
    /// [`ClaimPath::any_of`](crate::requirement::ClaimPath::any_of). The slice must be a separate constant.
    #[must_use]
    pub const fn static_claim_path_any_of(path: &'static [&'static str], values: &'static [ClaimValue]) -> Self {
        assert!(all(path, Syntax::NonEmpty), "{}", NOT_A_PATH);
        assert!(!values.is_empty(), "{}", NO_VALUES);
        Self(Node::Claim(Path::Nested(Names::Constant(path)), Comparison::AnyOf(Values::Constant(values))))
    }

    /// Requires that `is_met` returns true for the claims; see [`Requirement::predicate`].
    #[must_use]
    pub const fn static_predicate(name: &'static str, is_met: fn(&Claims) -> bool) -> Self {
        assert!(!name.is_empty(), "the name of a predicate must not be empty");
        Self(Node::Predicate(Predicate::constant(name, is_met)))
    }

    /// Requires that the token was issued to one of these clients.
    #[must_use]
    pub const fn static_client_ids(ids: &'static [&'static str]) -> Self {
        assert!(all(ids, Syntax::NonEmpty), "{}", NOT_CLIENT_IDS);
        Self(Node::Client(Names::Constant(ids)))
    }

    /// Requires that the token is for the organization whose `org_id` is `id`.
    #[must_use]
    pub const fn static_organization(id: &'static str) -> Self {
        assert!(!id.is_empty(), "the id of an organization must not be empty");
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
        assert!(!name.is_empty(), "the name of an organization must not be empty");
        Self(Node::OrganizationName(Cow::Borrowed(name)))
    }

    /// Requires that the authentication context class of the user, `acr`, is one of these values, the preferred one first.
    #[must_use]
    pub const fn static_acr_values(values: &'static [&'static str]) -> Self {
        assert!(all(values, Syntax::Word), "{}", NOT_ACR_VALUES);
        Self(Node::Acr(Names::Constant(values)))
    }

    /// Requires all of the requirements. The slice must be a separate constant.
    #[must_use]
    pub const fn static_all_of(requirements: &'static [Self]) -> Self {
        assert!(!requirements.is_empty(), "{}", NO_REQUIREMENTS);
        Self(Node::All(Parts::Constant(requirements)))
    }

    /// Requires at least one of the requirements; see [`Requirement::any_of`]. The slice must be a separate constant.
    #[must_use]
    pub const fn static_any_of(requirements: &'static [Self]) -> Self {
        assert!(!requirements.is_empty(), "{}", NO_REQUIREMENTS);
        Self(Node::Any(Parts::Constant(requirements)))
    }
}

/// The syntax that each text of a list must have.
#[derive(Clone, Copy)]
enum Syntax {
    NonEmpty,
    Word,
}

/// Returns whether the list is not empty and every text has the syntax.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "`at` stays below the length")]
const fn all(texts: &[&str], syntax: Syntax) -> bool {
    let mut at = 0;
    while at < texts.len() {
        let is_valid = match syntax {
            Syntax::NonEmpty => !texts[at].is_empty(),
            Syntax::Word => is_scope_token(texts[at]),
        };
        if !is_valid {
            return false;
        }
        at += 1;
    }
    at > 0
}

pub(super) const NOT_ACR_VALUES: &str = "acr values must be one or more words of visible ASCII characters";

pub(super) const NOT_CLIENT_IDS: &str = "client ids must be one or more non-empty strings";
