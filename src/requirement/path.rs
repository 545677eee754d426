//! `ClaimPath`: the path of a claim inside the claims set.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::claims::Claims;
use crate::requirement::names::Names;

/// The path of a claim inside the claims set: the name of a top-level claim, and the names of the members that lead from it to a
/// nested value. The methods of a path from [`Requirement::claim_path`](crate::Requirement::claim_path) create requirements.
///
/// Two paths are equal if they have the same names. `Display` writes the name of a top-level claim as it is, and the path of a
/// nested one as a JSON Pointer (RFC 6901 §3).
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
/// assert_eq!(roles().to_string(), "/realm_access/roles");
/// ```
#[derive(Clone)]
pub struct ClaimPath(Path);

#[derive(Clone)]
enum Path {
    Claim(Cow<'static, str>),
    /// At least one name.
    Nested(Names),
}

impl ClaimPath {
    /// Creates the path of a top-level claim.
    pub(super) const fn top_level(name: Cow<'static, str>) -> Self {
        Self(Path::Claim(name))
    }

    /// Creates the path of a nested claim from at least one name.
    pub(super) const fn nested(names: Names) -> Self {
        Self(Path::Nested(names))
    }

    /// Returns the name of the top-level claim, then the name of each member on the path.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (claim, nested) = match &self.0 {
            Path::Claim(name) => (Some(&**name), None),
            Path::Nested(names) => (None, Some(names)),
        };
        claim.into_iter().chain(nested.into_iter().flat_map(Names::iter))
    }

    /// Returns the JSON text of the value at this path.
    pub(super) fn find<'c>(&self, claims: &'c Claims) -> Option<&'c str> {
        claims.raw_claim_at(self.names())
    }
}

impl PartialEq for ClaimPath {
    fn eq(&self, other: &Self) -> bool {
        self.names().eq(other.names())
    }
}

impl Eq for ClaimPath {}

impl Hash for ClaimPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.names().for_each(|name| name.hash(state));
    }
}

/// Writes a name as it is, and several names as a JSON Pointer, which shows where each name ends. A name that begins with a slash
/// is also written as a JSON Pointer, so that no name looks like a path.
impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.names();
        match (names.next(), names.next()) {
            (Some(name), None) if !name.starts_with('/') => f.write_str(name),
            _ => self.names().try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))),
        }
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
