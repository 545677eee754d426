//! Requirements: what a route asks of a token that is genuine (RFC 6750 §3.1, RFC 9470).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::Claims;
use crate::clock::Timestamp;

/// What a route asks of verified claims: scopes, permissions, the strength and age of the authentication.
///
/// ```
/// use tower_bearer::Requirement;
///
/// // A machine with the scope, or a user whose role grants the permission.
/// let write = Requirement::any_of([Requirement::scope("write:orders"), Requirement::permission("write:orders")]);
/// let refund = Requirement::all_of([write, Requirement::max_authentication_age(std::time::Duration::from_secs(300))]);
/// # let _ = refund;
/// assert!(Requirement::try_scope("two words").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Requirement(Node);

#[derive(Clone, PartialEq, Eq)]
enum Node {
    Scope(Arc<str>),
    Permission(Arc<str>),
    Acr(Arc<str>),
    AuthenticationAge(Duration),
    All(Arc<[Node]>),
    Any(Arc<[Node]>),
}

impl Requirement {
    /// Asks for one scope.
    ///
    /// # Panics
    ///
    /// If `name` is no scope-token of RFC 6749 §3.3, which is a fault of the program; for names that come from outside
    /// there is [`Requirement::try_scope`].
    #[must_use]
    pub fn scope(name: &str) -> Self {
        assert!(
            is_scope_token(name),
            "a scope has one or more visible ASCII characters, without space, quote and backslash"
        );
        Self(Node::Scope(Arc::from(name)))
    }

    /// Asks for one scope whose name is not known to be well-formed.
    ///
    /// # Errors
    ///
    /// [`RequirementError`] if `name` is no scope-token of RFC 6749 §3.3.
    pub fn try_scope(name: &str) -> Result<Self, RequirementError> {
        if is_scope_token(name) { Ok(Self::scope(name)) } else { Err(RequirementError::Scope) }
    }

    /// Asks for one permission (Auth0's `permissions`).
    ///
    /// # Panics
    ///
    /// If `name` is empty, which is a fault of the program.
    #[must_use]
    pub fn permission(name: &str) -> Self {
        assert!(!name.is_empty(), "a permission has a name");
        Self(Node::Permission(Arc::from(name)))
    }

    /// Asks that the authentication was of one of the classes, the most wanted first (RFC 9470 §4).
    ///
    /// # Panics
    ///
    /// If a value is no word of visible ASCII characters, or none is given: a fault of the program.
    #[must_use]
    pub fn acr_values<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let values: Vec<&str> = values.into_iter().collect();
        assert!(
            !values.is_empty() && values.iter().all(|value| is_scope_token(value)),
            "acr values are words of visible ASCII"
        );
        Self(Node::Acr(Arc::from(values.join(" "))))
    }

    /// Asks that the user authenticated no longer ago than `age` (RFC 9470 §4); a token without `auth_time` is too old.
    #[must_use]
    pub fn max_authentication_age(age: Duration) -> Self {
        Self(Node::AuthenticationAge(age))
    }

    /// Asks for all of them; the first that is not met is reported. No requirement at all is met.
    #[must_use]
    pub fn all_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::All(requirements.into_iter().map(|requirement| requirement.0).collect()))
    }

    /// Asks for at least one of them. Of no requirement at all none is met.
    #[must_use]
    pub fn any_of(requirements: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::Any(requirements.into_iter().map(|requirement| requirement.0).collect()))
    }

    /// Judges claims at the time `now`; `leeway` forgives clock skew in the age of the authentication.
    ///
    /// # Errors
    ///
    /// [`Unmet`] says what is missing.
    pub fn check<C>(&self, claims: &Claims<C>, now: Timestamp, leeway: Duration) -> Result<(), Unmet> {
        self.0.check(&Facts { claims: &claims.registered(), now, leeway }).map_err(|unmet| match unmet {
            // The client is told of every scope that this route knows, not only the first that it lacks.
            Unmet::Scope { .. } => Unmet::Scope { scope: self.scope_names() },
            other => other,
        })
    }

    /// The scopes that are asked for anywhere in the requirement, space-delimited, for the challenge.
    #[must_use]
    pub fn scope_names(&self) -> Arc<str> {
        let mut names = Vec::new();
        self.0.collect_scopes(&mut names);
        Arc::from(names.join(" "))
    }
}

struct Facts<'f> {
    claims: &'f Claims,
    now: Timestamp,
    leeway: Duration,
}

impl Node {
    fn check(&self, facts: &Facts<'_>) -> Result<(), Unmet> {
        let met = match self {
            Self::Scope(name) => facts.claims.scopes().contains(name),
            Self::Permission(name) => facts.claims.permissions().contains(name),
            Self::Acr(values) => facts.claims.acr().is_some_and(|acr| values.split(' ').any(|value| value == acr)),
            Self::AuthenticationAge(age) => facts.claims.auth_time().is_some_and(|at| {
                at <= facts.now.saturating_add(facts.leeway)
                    && facts.now < at.saturating_add(*age).saturating_add(facts.leeway)
            }),
            Self::All(nodes) => return nodes.iter().try_for_each(|node| node.check(facts)),
            Self::Any(nodes) => return Self::check_any(nodes, facts),
        };
        if met { Ok(()) } else { Err(self.unmet()) }
    }

    fn check_any(nodes: &[Self], facts: &Facts<'_>) -> Result<(), Unmet> {
        let mut first = None;
        for node in nodes {
            match node.check(facts) {
                Ok(()) => return Ok(()),
                Err(unmet) => first = first.or(Some(unmet)),
            }
        }
        Err(first.unwrap_or(Unmet::Scope { scope: Arc::from("") }))
    }

    fn unmet(&self) -> Unmet {
        match self {
            Self::Acr(values) => Unmet::Authentication { acr_values: Some(Arc::clone(values)), max_age: None },
            Self::AuthenticationAge(age) => Unmet::Authentication { acr_values: None, max_age: Some(*age) },
            Self::Scope(_) | Self::Permission(_) | Self::All(_) | Self::Any(_) => Unmet::Scope { scope: Arc::from("") },
        }
    }

    fn collect_scopes<'n>(&'n self, names: &mut Vec<&'n str>) {
        match self {
            Self::Scope(name) if !names.contains(&&**name) => names.push(name),
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.collect_scopes(names)),
            Self::Scope(_) | Self::Permission(_) | Self::Acr(_) | Self::AuthenticationAge(_) => {}
        }
    }
}

impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(name) => write!(f, "scope {name}"),
            Self::Permission(name) => write!(f, "permission {name}"),
            Self::Acr(values) => write!(f, "acr of {values}"),
            Self::AuthenticationAge(age) => write!(f, "authentication within {age:?}"),
            Self::All(nodes) => f.debug_tuple("all of").field(nodes).finish(),
            Self::Any(nodes) => f.debug_tuple("any of").field(nodes).finish(),
        }
    }
}

/// What a token lacks for a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unmet {
    /// A scope or a permission is missing.
    Scope {
        /// The scopes that the requirement names, space-delimited; empty if it names none.
        scope: Arc<str>,
    },
    /// The authentication was too weak or too long ago (RFC 9470).
    Authentication {
        /// The classes that would do, space-delimited.
        acr_values: Option<Arc<str>>,
        /// The longest time since the authentication.
        max_age: Option<Duration>,
    },
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scope { .. } => "the token lacks a scope or permission",
            Self::Authentication { .. } => "the authentication was too weak or too long ago",
        })
    }
}

impl std::error::Error for Unmet {}

/// Why a requirement cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequirementError {
    /// The name is no scope-token: one or more of %x21 / %x23-5B / %x5D-7E (RFC 6749 §3.3).
    Scope,
}

impl fmt::Display for RequirementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scope has one or more visible ASCII characters, without space, quote and backslash")
    }
}

impl std::error::Error for RequirementError {}

/// RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
pub(crate) fn is_scope_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'"' && octet != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn check(requirement: &Requirement, claims: &str) -> Result<(), Unmet> {
        requirement.check(&Claims::for_tests(claims), NOW, Duration::from_secs(5))
    }

    fn lacks(scope: &str) -> Result<(), Unmet> {
        Err(Unmet::Scope { scope: Arc::from(scope) })
    }

    #[test]
    fn scopes_and_permissions_are_met_by_their_own_claim() {
        let scope = Requirement::scope("write");
        assert_eq!(check(&scope, r#"{"scope":"read write"}"#), Ok(()));
        assert_eq!(check(&scope, r#"{"permissions":["write"],"scope":"writer"}"#), lacks("write"));
        let permission = Requirement::permission("write");
        assert_eq!(check(&permission, r#"{"permissions":["write"]}"#), Ok(()));
        assert_eq!(check(&permission, r#"{"scope":"write"}"#), lacks(""));
    }

    #[test]
    fn combinators_name_every_scope_once() {
        let either = Requirement::any_of([Requirement::scope("a"), Requirement::permission("p")]);
        let both = Requirement::all_of([either, Requirement::scope("b"), Requirement::scope("a")]);
        assert_eq!(check(&both, r#"{"scope":"b a"}"#), Ok(()));
        assert_eq!(check(&both, r#"{"scope":"b","permissions":["p"]}"#), lacks("a b"));
        assert_eq!(check(&both, r#"{"scope":"a"}"#), lacks("a b"));
        assert_eq!(check(&Requirement::all_of([]), "{}"), Ok(()));
        assert_eq!(check(&Requirement::any_of([]), "{}"), lacks(""));
    }

    #[test]
    fn acr_is_one_of_the_values() {
        let strong = Requirement::acr_values(["gold", "silver"]);
        assert_eq!(check(&strong, r#"{"acr":"silver"}"#), Ok(()));
        let unmet = Err(Unmet::Authentication { acr_values: Some(Arc::from("gold silver")), max_age: None });
        for claims in ["{}", r#"{"acr":"bronze"}"#, r#"{"acr":["gold"]}"#, r#"{"acr":"gold silver"}"#] {
            assert_eq!(check(&strong, claims), unmet, "{claims}");
        }
    }

    #[test]
    fn the_age_of_the_authentication_is_bounded_with_leeway() {
        let recent = Requirement::max_authentication_age(Duration::from_secs(60));
        for claims in [r#"{"auth_time":936}"#, r#"{"auth_time":1005}"#] {
            assert_eq!(check(&recent, claims), Ok(()), "{claims}");
        }
        let unmet = Err(Unmet::Authentication { acr_values: None, max_age: Some(Duration::from_secs(60)) });
        for claims in ["{}", r#"{"auth_time":935}"#, r#"{"auth_time":1006}"#, r#"{"auth_time":"936"}"#] {
            assert_eq!(check(&recent, claims), unmet, "{claims}");
        }
    }

    #[test]
    fn a_name_that_no_challenge_can_carry_is_refused() {
        for name in ["", "two words", "a\"b", "a\\b", "ä", "a\r\nb"] {
            assert_eq!(Requirement::try_scope(name), Err(RequirementError::Scope), "{name:?}");
        }
        assert_eq!(Requirement::try_scope("read:orders"), Ok(Requirement::scope("read:orders")));
    }
}
