//! `Path`: the path of a claim inside the claims set.

use std::borrow::Cow;
use std::fmt;

use crate::claims::Claims;
use crate::requirement::names::Names;

/// The name of a top-level claim, and the names of the members that lead from it to a nested value.
#[derive(Clone)]
pub(super) enum Path {
    Claim(Cow<'static, str>),
    /// At least one name.
    Nested(Names),
}

impl Path {
    /// Returns the JSON text of the value at this path.
    pub(super) fn find<'c>(&self, claims: &'c Claims) -> Option<&'c str> {
        match self {
            Self::Claim(name) => claims.raw_claim(name),
            Self::Nested(names) => claims.raw_claim_at(names.iter()),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let (claim, nested) = match self {
            Self::Claim(name) => (Some(&**name), None),
            Self::Nested(names) => (None, Some(names)),
        };
        claim.into_iter().chain(nested.into_iter().flat_map(Names::iter))
    }
}

/// Two paths are equal if they have the same names.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.names().eq(other.names())
    }
}

impl Eq for Path {}

/// Writes a name as it is, and several names as a JSON Pointer (RFC 6901 §3), which shows where each name ends.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.names();
        match (names.next(), names.next()) {
            (Some(name), None) => f.write_str(name),
            _ => self.names().try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))),
        }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) const NOT_A_PATH: &str = "a path must be one or more non-empty names";
