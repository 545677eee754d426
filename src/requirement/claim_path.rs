//! The requirements for the claim at a path.

use crate::requirement::comparison::{Comparison, Values};
use crate::requirement::node::Node;
use crate::requirement::path::ClaimPath;
use crate::requirement::syntax::{RequirementSyntaxError, or_panic};
use crate::requirement::{ClaimValue, Requirement};

/// Requirements for the claim at this path.
impl ClaimPath {
    /// Requires that the claim equals `value`.
    #[must_use]
    pub fn equals(self, value: impl Into<ClaimValue>) -> Requirement {
        Requirement(Node::Claim(self, Comparison::Equals(value.into())))
    }

    /// Requires that the claim is an array that contains `value`, or a space-delimited string that contains the word `value`.
    #[must_use]
    pub fn contains(self, value: impl Into<ClaimValue>) -> Requirement {
        Requirement(Node::Claim(self, Comparison::Contains(value.into())))
    }

    /// Requires that the claim equals one of `values`, or is an array that contains one of them. A string is compared as a
    /// whole.
    ///
    /// # Panics
    ///
    /// Panics if `values` is empty, because no token could meet the requirement. Use [`try_any_of`](Self::try_any_of) for lists
    /// that come from outside the program.
    #[must_use]
    #[track_caller]
    pub fn any_of<V: Into<ClaimValue>>(self, values: impl IntoIterator<Item = V>) -> Requirement {
        or_panic(self.try_any_of(values), &[""; 0])
    }

    /// Requires that the claim equals one of `values`, or is an array that contains one of them; see [`any_of`](Self::any_of).
    ///
    /// # Errors
    ///
    /// Returns [`RequirementSyntaxError::ClaimValues`] if `values` is empty.
    pub fn try_any_of<V: Into<ClaimValue>>(
        self,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Requirement, RequirementSyntaxError> {
        let values: Vec<ClaimValue> = values.into_iter().map(Into::into).collect();
        if values.is_empty() {
            return Err(RequirementSyntaxError::ClaimValues);
        }
        Ok(Requirement(Node::Claim(self, Comparison::AnyOf(Values::Shared(values.into())))))
    }
}
