//! Constructors for names from outside the program, which return an error instead of a panic.

use std::borrow::Cow;

use crate::requirement::comparison::Comparison;
use crate::requirement::names::Names;
use crate::requirement::node::{Name, Node, Parts};
use crate::requirement::path::ClaimPath;
use crate::requirement::syntax::{RequirementSyntaxError, Syntax, all, is_scope_token};
use crate::requirement::{ClaimValue, Requirement};

/// Constructors for names from outside the program, such as a configuration file. Each creates the same requirement as the function
/// whose name has no `try_`, and returns an error where that one panics.
///
/// ```
/// use tower_bearer::Requirement;
/// use tower_bearer::requirement::RequirementSyntaxError;
///
/// /// Reads `scope:read:orders` or `role:clerk`.
/// fn parse(text: &str) -> Result<Requirement, RequirementSyntaxError> {
///     match text.split_once(':') {
///         Some(("role", role)) => Ok(Requirement::try_claim_path(["realm_access", "roles"])?.contains(role)),
///         Some(("scope", scope)) => Requirement::try_scope(scope),
///         _ => Requirement::try_permission(text),
///     }
/// }
///
/// assert_eq!(parse("scope:read:orders"), Ok(Requirement::scope("read:orders")));
/// assert_eq!(parse("scope:two words"), Err(RequirementSyntaxError::Scope));
/// ```
impl Requirement {
    /// Requires one scope.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::Scope`] if `name` is not a scope-token of RFC 6749 §3.3.
    pub fn try_scope(name: &str) -> Result<Self, RequirementSyntaxError> {
        scope_token(name).map(|name| Self(Node::Scope(name)))
    }

    /// Requires one permission.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::EmptyName`] if `name` is empty.
    pub fn try_permission(name: &str) -> Result<Self, RequirementSyntaxError> {
        non_empty(name).map(|name| Self(Node::Permission(name)))
    }

    /// Requires the scope or the permission with this name.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::Scope`] if `name` is not a scope-token of RFC 6749 §3.3.
    pub fn try_scope_or_permission(name: &str) -> Result<Self, RequirementSyntaxError> {
        scope_token(name).map(|name| Self(Node::ScopeOrPermission(name)))
    }

    /// Requires that the claim `name` equals `value`.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::EmptyName`] if `name` is empty.
    pub fn try_claim_equals(name: &str, value: impl Into<ClaimValue>) -> Result<Self, RequirementSyntaxError> {
        non_empty(name).map(|name| Self(Node::Claim(ClaimPath::top_level(name), Comparison::Equals(value.into()))))
    }

    /// Requires that the claim `name` contains `value`.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::EmptyName`] if `name` is empty.
    pub fn try_claim_contains(name: &str, value: impl Into<ClaimValue>) -> Result<Self, RequirementSyntaxError> {
        non_empty(name).map(|name| Self(Node::Claim(ClaimPath::top_level(name), Comparison::Contains(value.into()))))
    }

    /// Returns the path of a nested claim; see [`claim_path`](Self::claim_path).
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::ClaimPath`] if the path is empty or contains an empty name.
    pub fn try_claim_path<'p>(path: impl IntoIterator<Item = &'p str>) -> Result<ClaimPath, RequirementSyntaxError> {
        names(path, Syntax::NonEmpty).map(ClaimPath::nested).ok_or(RequirementSyntaxError::ClaimPath)
    }

    /// Requires that the token was issued to one of these clients; see [`client_ids`](Self::client_ids).
    ///
    /// # Security
    ///
    /// A client id is unique only within one issuer.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::ClientIds`] if `ids` is empty or contains an empty string.
    pub fn try_client_ids<'c>(ids: impl IntoIterator<Item = &'c str>) -> Result<Self, RequirementSyntaxError> {
        names(ids, Syntax::NonEmpty).map(|ids| Self(Node::Client(ids))).ok_or(RequirementSyntaxError::ClientIds)
    }

    /// Requires that the token is for the organization whose `org_id` is `id`.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::EmptyName`] if `id` is empty.
    pub fn try_organization(id: &str) -> Result<Self, RequirementSyntaxError> {
        non_empty(id).map(|id| Self(Node::OrganizationId(id)))
    }

    /// Requires that the token is for the organization whose `org_name` is `name`, compared without regard to the case of ASCII
    /// letters.
    ///
    /// # Security
    ///
    /// As for [`organization_name`](Self::organization_name).
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::EmptyName`] if `name` is empty.
    pub fn try_organization_name(name: &str) -> Result<Self, RequirementSyntaxError> {
        non_empty(name).map(|name| Self(Node::OrganizationName(name)))
    }

    /// Requires that the authentication context class of the user, `acr`, is one of these values, the preferred one first.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::AcrValues`] if `values` is empty, or one of them is not a word of visible ASCII
    /// characters without quote and backslash.
    pub fn try_acr_values<'v>(values: impl IntoIterator<Item = &'v str>) -> Result<Self, RequirementSyntaxError> {
        names(values, Syntax::ScopeToken).map(|values| Self(Node::Acr(values))).ok_or(RequirementSyntaxError::AcrValues)
    }

    /// Requires all of the requirements; see [`all_of`](Self::all_of).
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::Combination`] if the list is empty.
    pub fn try_all_of(requirements: impl IntoIterator<Item = Self>) -> Result<Self, RequirementSyntaxError> {
        parts(requirements).map(|parts| Self(Node::All(parts)))
    }

    /// Requires at least one of the requirements; see [`any_of`](Self::any_of).
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::Combination`] if the list is empty.
    pub fn try_any_of(requirements: impl IntoIterator<Item = Self>) -> Result<Self, RequirementSyntaxError> {
        parts(requirements).map(|parts| Self(Node::Any(parts)))
    }
}

fn scope_token(name: &str) -> Result<Name, RequirementSyntaxError> {
    if is_scope_token(name) { Ok(Cow::Owned(name.to_owned())) } else { Err(RequirementSyntaxError::Scope) }
}

fn non_empty(name: &str) -> Result<Name, RequirementSyntaxError> {
    if name.is_empty() { Err(RequirementSyntaxError::EmptyName) } else { Ok(Cow::Owned(name.to_owned())) }
}

fn names<'n>(names: impl IntoIterator<Item = &'n str>, syntax: Syntax) -> Option<Names> {
    let names: Vec<&str> = names.into_iter().collect();
    all(&names, syntax).then(|| Names::new(names))
}

fn parts(requirements: impl IntoIterator<Item = Requirement>) -> Result<Parts, RequirementSyntaxError> {
    let requirements: Vec<Requirement> = requirements.into_iter().collect();
    if requirements.is_empty() {
        Err(RequirementSyntaxError::Combination)
    } else {
        Ok(Parts::Shared(requirements.into()))
    }
}
