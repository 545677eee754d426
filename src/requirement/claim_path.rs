//! `ClaimPath`: creates requirements for the claim at a path.

use crate::requirement::comparison::{Comparison, Values};
use crate::requirement::node::Node;
use crate::requirement::path::Path;
use crate::requirement::{ClaimValue, Requirement};

/// The path of a claim inside the claims set, as [`Requirement::claim_path`] creates it. Its methods create requirements for the
/// claim at this path.
///
/// ```
/// use tower_bearer::Requirement;
///
/// let claims = tower_bearer::testing::claims()
///     .claim("realm_access", serde_json::json!({ "roles": ["clerk", "offline_access"] }))
///     .build();
/// let roles = || Requirement::claim_path(["realm_access", "roles"]);
/// assert!(claims.require(&roles().contains("clerk")).is_ok());
/// assert!(claims.require(&roles().any_of(["manager", "clerk"])).is_ok());
/// assert!(claims.require(&roles().contains("manager")).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(pub(super) Path);

impl ClaimPath {
    /// Requires that the claim equals `value`.
    #[must_use]
    pub fn equals(self, value: impl Into<ClaimValue>) -> Requirement {
        Requirement(Node::Claim(self.0, Comparison::Equals(value.into())))
    }

    /// Requires that the claim is an array that contains `value`, or a space-delimited string that contains the word `value`.
    #[must_use]
    pub fn contains(self, value: impl Into<ClaimValue>) -> Requirement {
        Requirement(Node::Claim(self.0, Comparison::Contains(value.into())))
    }

    /// Requires that the claim equals one of `values`, or is an array that contains one of them. A string is compared as a
    /// whole.
    ///
    /// # Panics
    ///
    /// Panics if `values` is empty, because no token could meet the requirement.
    #[must_use]
    #[track_caller]
    pub fn any_of<V: Into<ClaimValue>>(self, values: impl IntoIterator<Item = V>) -> Requirement {
        let values: Vec<ClaimValue> = values.into_iter().map(Into::into).collect();
        assert!(!values.is_empty(), "{NO_VALUES}");
        Requirement(Node::Claim(self.0, Comparison::AnyOf(Values::Shared(values.into()))))
    }
}

pub(super) const NO_VALUES: &str = "at least one value is needed";
