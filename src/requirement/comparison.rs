//! The comparison of a claim with configured values.

use std::fmt;
use std::sync::Arc;

use crate::requirement::value::{ClaimValue, any_element};

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Comparison {
    Equals(ClaimValue),
    Contains(ClaimValue),
    AnyOf(Values),
}

/// The values of [`Comparison::AnyOf`], at least one.
#[derive(Clone)]
pub(super) enum Values {
    Constant(&'static [ClaimValue]),
    Shared(Arc<[ClaimValue]>),
}

impl Comparison {
    /// Returns whether the claim, given as JSON text, has the required value.
    pub(super) fn matches(&self, claim: &str) -> bool {
        match self {
            Self::Equals(value) => value.equals(claim),
            Self::Contains(value) => value.is_contained_in(claim),
            Self::AnyOf(values) => {
                let is_any = |claim: &str| values.as_slice().iter().any(|value| value.equals(claim));
                any_element(claim, is_any).unwrap_or_else(|| is_any(claim))
            }
        }
    }
}

impl Values {
    fn as_slice(&self) -> &[ClaimValue] {
        match self {
            Self::Constant(values) => values,
            Self::Shared(values) => values,
        }
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Values {}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => write!(f, "is {value:?}"),
            Self::Contains(value) => write!(f, "contains {value:?}"),
            Self::AnyOf(values) => {
                f.write_str("is or contains one of")?;
                let separators = std::iter::once(" ").chain(std::iter::repeat(", "));
                separators.zip(values.as_slice()).try_for_each(|(separator, value)| write!(f, "{separator}{value:?}"))
            }
        }
    }
}
