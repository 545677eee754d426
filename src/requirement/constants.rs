//! Requirements as constants, whose names the compiler checks.

use std::borrow::Cow;

use crate::requirement::names::Names;
use crate::requirement::node::{Node, Parts, Test};
use crate::requirement::unmet::{NO_REQUIREMENTS, NOT_A_SCOPE};
use crate::requirement::{ClaimValue, Requirement, is_scope_token};

/// Constants: each asks for what the method without `static_` asks for, and panics where that one does; in a `const` the
/// panic is an error of the compiler.
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
#[expect(clippy::missing_panics_doc, reason = "said above for all of them")]
impl Requirement {
    /// Asks for one scope.
    #[must_use]
    pub const fn static_scope(name: &'static str) -> Self {
        assert!(is_scope_token(name), "{}", NOT_A_SCOPE);
        Self(Node::Scope(Cow::Borrowed(name)))
    }

    /// Asks for one permission.
    #[must_use]
    pub const fn static_permission(name: &'static str) -> Self {
        assert!(!name.is_empty(), "a permission has a name");
        Self(Node::Permission(Cow::Borrowed(name)))
    }

    /// Asks for the scope or the permission of one name.
    #[must_use]
    pub const fn static_scope_or_permission(name: &'static str) -> Self {
        assert!(is_scope_token(name), "{}", NOT_A_SCOPE);
        Self(Node::ScopeOrPermission(Cow::Borrowed(name)))
    }

    /// Asks that the claim `name` is `value`.
    #[must_use]
    pub const fn static_claim_equals(name: &'static str, value: ClaimValue) -> Self {
        assert!(!name.is_empty(), "a claim has a name");
        Self(Node::Claim(Cow::Borrowed(name), Test::Equals, value))
    }

    /// Asks that the claim `name` holds `value`.
    #[must_use]
    pub const fn static_claim_contains(name: &'static str, value: ClaimValue) -> Self {
        assert!(!name.is_empty(), "a claim has a name");
        Self(Node::Claim(Cow::Borrowed(name), Test::Contains, value))
    }

    /// Asks that the token was issued to one of these clients.
    #[must_use]
    pub const fn static_client_ids(ids: &'static [&'static str]) -> Self {
        assert!(all(ids, Kind::Name), "of no client at all there is no token");
        Self(Node::Client(Names::Constant(ids)))
    }

    /// Asks that the token is for this organization, by `org_id`.
    #[must_use]
    pub const fn static_organization(id: &'static str) -> Self {
        assert!(!id.is_empty(), "an organization has an id");
        Self(Node::OrganizationId(Cow::Borrowed(id)))
    }

    /// Asks that the token is for this organization, by `org_name` in lower case.
    ///
    /// # Security
    ///
    /// As for [`Requirement::organization_name`].
    #[must_use]
    pub const fn static_organization_name(name: &'static str) -> Self {
        assert!(!name.is_empty(), "an organization has a name");
        Self(Node::OrganizationName(Cow::Borrowed(name)))
    }

    /// Asks that the authentication was of one of the classes, the most wanted first.
    #[must_use]
    pub const fn static_acr_values(values: &'static [&'static str]) -> Self {
        assert!(all(values, Kind::Word), "{}", NOT_ACR_VALUES);
        Self(Node::Acr(Names::Constant(values)))
    }

    /// Asks for all of them; the slice has to be a constant of its own.
    #[must_use]
    pub const fn static_all_of(requirements: &'static [Self]) -> Self {
        assert!(!requirements.is_empty(), "{}", NO_REQUIREMENTS);
        Self(Node::All(Parts::Constant(requirements)))
    }

    /// Asks for at least one of them, as [`Requirement::any_of`]; the slice has to be a constant of its own.
    #[must_use]
    pub const fn static_any_of(requirements: &'static [Self]) -> Self {
        assert!(!requirements.is_empty(), "{}", NO_REQUIREMENTS);
        Self(Node::Any(Parts::Constant(requirements)))
    }
}

/// What each text of a list must be.
#[derive(Clone, Copy)]
enum Kind {
    Name,
    Word,
}

/// Says whether there are any, and every one is what it must be.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "`at` stays below the length")]
const fn all(texts: &[&str], kind: Kind) -> bool {
    let mut at = 0;
    while at < texts.len() {
        let is_good = match kind {
            Kind::Name => !texts[at].is_empty(),
            Kind::Word => is_scope_token(texts[at]),
        };
        if !is_good {
            return false;
        }
        at += 1;
    }
    at > 0
}

pub(super) const NOT_ACR_VALUES: &str = "acr values are one or more words of visible ASCII";
