//! `RequirementSyntaxError`, and the syntax of the names in a requirement.

use std::fmt;

/// The reason why a requirement cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequirementSyntaxError {
    /// The name is not a scope-token: one or more of %x21 / %x23-5B / %x5D-7E (RFC 6749 §3.3).
    Scope,
    /// The name of a permission, claim, organization or predicate is empty.
    EmptyName,
    /// The path of a claim has no names, or one of them is empty.
    ClaimPath,
    /// There are no values with which the claim is compared.
    ClaimValues,
    /// There are no client ids, or one of them is empty.
    ClientIds,
    /// There are no `acr` values, or one of them is not a word of visible ASCII characters without quote and backslash.
    AcrValues,
    /// A combination has no requirements.
    Combination,
}

impl RequirementSyntaxError {
    /// Returns the `Display` text. The function is const, for the messages of panics at compile time.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Scope => "a scope must be one or more visible ASCII characters other than quote and backslash",
            Self::EmptyName => "the name must not be empty",
            Self::ClaimPath => "a path must be one or more non-empty names",
            Self::ClaimValues => "at least one value is needed",
            Self::ClientIds => "client ids must be one or more non-empty strings",
            Self::AcrValues => "acr values must be one or more words of visible ASCII characters",
            Self::Combination => "a combination needs at least one requirement",
        }
    }
}

impl fmt::Display for RequirementSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for RequirementSyntaxError {}

/// Returns a requirement or path. Panics if it could not be created from `names`.
#[expect(clippy::panic, reason = "documented at the callers: a constant of the program is malformed")]
#[track_caller]
pub(super) fn or_panic<T>(created: Result<T, RequirementSyntaxError>, names: &dyn fmt::Debug) -> T {
    match created {
        Ok(created) => created,
        Err(error) => panic!("{names:?}: {error}"),
    }
}

/// The syntax that each text of a list must have.
#[derive(Clone, Copy)]
pub(super) enum Syntax {
    NonEmpty,
    ScopeToken,
}

/// Returns whether the list is not empty and every text has the syntax.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "`at` stays below the length")]
pub(super) const fn all(texts: &[&str], syntax: Syntax) -> bool {
    let mut at = 0;
    while at < texts.len() {
        let is_valid = match syntax {
            Syntax::NonEmpty => !texts[at].is_empty(),
            Syntax::ScopeToken => is_scope_token(texts[at]),
        };
        if !is_valid {
            return false;
        }
        at += 1;
    }
    at > 0
}

/// Returns whether `name` is a scope-token: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 §3.3).
///
/// The function is const, so that a name can be checked at compile time.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "`at` stays below the length")]
pub(crate) const fn is_scope_token(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_graphic() || bytes[at] == b'"' || bytes[at] == b'\\' {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}
