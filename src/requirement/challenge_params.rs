//! The parameters of a challenge that a requirement determines (RFC 6750 §3, RFC 9470 §3).

use std::sync::Arc;
use std::time::Duration;

use crate::requirement::names;

/// The challenge parameters of a requirement. They cover the whole requirement, so that a token which the client requests with
/// them meets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChallengeParams {
    /// The required scopes, space-delimited; empty if none is required.
    pub(crate) scope: Arc<str>,
    pub(crate) authentication: Authentication,
}

/// The requirements for an authentication (RFC 9470 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authentication {
    /// The accepted classes, space-delimited.
    pub(crate) acr_values: Option<Arc<str>>,
    /// The maximum time since the authentication.
    pub(crate) max_age: Option<Duration>,
}

/// Collects challenge parameters from the parts of a requirement.
#[derive(Default)]
pub(super) struct ParamsBuilder<'n> {
    scopes: Vec<&'n str>,
    authentication: Authentication,
}

impl ChallengeParams {
    /// Combines the parameters with those of an inner layer or of the handler.
    pub(crate) fn merge(self, inner: Self) -> Self {
        let scope = union(&self.scope, &inner.scope);
        // The outer layer accepted the authentication; a new authentication must meet its requirement again.
        Self { scope, authentication: inner.authentication.merge(self.authentication) }
    }
}

impl<'n> ParamsBuilder<'n> {
    pub(super) fn add_scope(&mut self, name: &'n str) {
        self.scopes.push(name);
    }

    pub(super) fn add_authentication(&mut self, authentication: Authentication) {
        self.authentication = std::mem::take(&mut self.authentication).merge(authentication);
    }

    /// Returns whether there are no parameters.
    pub(super) fn is_empty(&self) -> bool {
        self.scopes.is_empty() && self.authentication == Authentication::default()
    }

    pub(super) fn into_params(self) -> ChallengeParams {
        let scopes = names::distinct(self.scopes.into_iter());
        ChallengeParams { scope: Arc::from(scopes.join(" ")), authentication: self.authentication }
    }
}

impl Authentication {
    /// Combines the two: returns the classes that both accept, and the shorter time. If they have no class in common, returns
    /// the classes of `self`.
    pub(crate) fn merge(self, other: Self) -> Self {
        let max_age = match (self.max_age, other.max_age) {
            (Some(age), Some(other)) => Some(age.min(other)),
            (age, other) => age.or(other),
        };
        let acr_values = match (self.acr_values, other.acr_values) {
            (Some(values), Some(others)) => Some(common(&values, &others).unwrap_or(values)),
            (values, others) => values.or(others),
        };
        Self { acr_values, max_age }
    }
}

/// Returns the words of both lists without duplicates, those of the first list first.
pub(super) fn union(scope: &str, other: &str) -> Arc<str> {
    let words = scope.split(' ').chain(other.split(' ')).filter(|name| !name.is_empty());
    Arc::from(names::distinct(words).join(" "))
}

/// Returns the words that both lists contain; `None` if there are none.
fn common(words: &str, others: &str) -> Option<Arc<str>> {
    let both: Vec<&str> = words.split(' ').filter(|word| others.split(' ').any(|other| other == *word)).collect();
    (!both.is_empty()).then(|| Arc::from(both.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authentication(acr_values: Option<&str>, max_age: Option<u64>) -> Authentication {
        Authentication { acr_values: acr_values.map(Arc::from), max_age: max_age.map(Duration::from_secs) }
    }

    #[test]
    fn merge_returns_the_authentication_that_meets_both() {
        for (one, other, both) in [
            (
                authentication(Some("gold"), None),
                authentication(Some("gold silver"), Some(60)),
                authentication(Some("gold"), Some(60)),
            ),
            (
                authentication(Some("gold silver"), Some(9)),
                authentication(Some("silver gold"), Some(60)),
                authentication(Some("gold silver"), Some(9)),
            ),
            (
                authentication(Some("gold"), None),
                authentication(Some("silver"), None),
                authentication(Some("gold"), None),
            ),
            (
                authentication(Some("gold"), None),
                authentication(Some("golden"), None),
                authentication(Some("gold"), None),
            ),
            (
                authentication(None, Some(60)),
                authentication(Some("silver"), Some(9)),
                authentication(Some("silver"), Some(9)),
            ),
            (authentication(None, None), authentication(None, None), authentication(None, None)),
        ] {
            assert_eq!(one.merge(other), both);
        }
    }
}
