//! What a requirement asks for, as far as a challenge can say it.

use std::sync::Arc;
use std::time::Duration;

/// Everything that a challenge can name, so that a client which follows it once need not come back a third time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChallengeParams {
    /// Space-delimited; empty if none is asked for.
    pub(crate) scope: Arc<str>,
    pub(crate) authentication: Authentication,
}

/// What is asked of an authentication (RFC 9470 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authentication {
    /// Space-delimited.
    pub(crate) acr_values: Option<Arc<str>>,
    pub(crate) max_age: Option<Duration>,
}

/// The same in the making.
#[derive(Default)]
pub(super) struct ParamsBuilder<'n> {
    scopes: Vec<&'n str>,
    authentication: Authentication,
}

impl ChallengeParams {
    /// What is asked here, and further in.
    pub(crate) fn and(self, inner: Self) -> Self {
        let scope = union(&self.scope, &inner.scope);
        // Whoever is further out was content with the authentication; a new one must please it again.
        Self { scope, authentication: inner.authentication.and(self.authentication) }
    }
}

impl<'n> ParamsBuilder<'n> {
    pub(super) fn add_scope(&mut self, name: &'n str) {
        if !self.scopes.contains(&name) {
            self.scopes.push(name);
        }
    }

    pub(super) fn add(&mut self, authentication: Authentication) {
        self.authentication = std::mem::take(&mut self.authentication).and(authentication);
    }

    /// Says whether a challenge would say nothing of it.
    pub(super) fn is_empty(&self) -> bool {
        self.scopes.is_empty() && self.authentication == Authentication::default()
    }

    pub(super) fn into_params(self) -> ChallengeParams {
        ChallengeParams { scope: Arc::from(self.scopes.join(" ")), authentication: self.authentication }
    }
}

impl Authentication {
    /// Both at once: the classes that please both, and the shorter time. Where no class does, the first is asked for.
    pub(crate) fn and(self, other: Self) -> Self {
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

/// The words of both lists, each once, those of the first in front.
pub(super) fn union(scope: &str, other: &str) -> Arc<str> {
    let mut names: Vec<&str> = Vec::new();
    for name in scope.split(' ').chain(other.split(' ')) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    Arc::from(names.join(" "))
}

/// The words of the first list that stand in the second, too; `None` if there are none.
fn common(words: &str, others: &str) -> Option<Arc<str>> {
    let both: Vec<&str> = words.split(' ').filter(|word| others.split(' ').any(|other| other == *word)).collect();
    (!both.is_empty()).then(|| Arc::from(both.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(acr_values: Option<&str>, max_age: Option<u64>) -> Authentication {
        Authentication { acr_values: acr_values.map(Arc::from), max_age: max_age.map(Duration::from_secs) }
    }

    #[test]
    fn who_asks_twice_asks_for_what_pleases_both() {
        for (one, other, both) in [
            (asking(Some("gold"), None), asking(Some("gold silver"), Some(60)), asking(Some("gold"), Some(60))),
            (
                asking(Some("gold silver"), Some(9)),
                asking(Some("silver gold"), Some(60)),
                asking(Some("gold silver"), Some(9)),
            ),
            (asking(Some("gold"), None), asking(Some("silver"), None), asking(Some("gold"), None)),
            (asking(Some("gold"), None), asking(Some("golden"), None), asking(Some("gold"), None)),
            (asking(None, Some(60)), asking(Some("silver"), Some(9)), asking(Some("silver"), Some(9))),
            (asking(None, None), asking(None, None), asking(None, None)),
        ] {
            assert_eq!(one.and(other), both);
        }
    }
}
