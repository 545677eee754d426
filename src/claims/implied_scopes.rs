//! `ImpliedScopes`: scopes that other scopes of a token imply.

use std::collections::BTreeMap;

use crate::claims::values::Scopes;

/// For each implied scope, the scopes that imply it, directly or through others.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImpliedScopes(BTreeMap<Box<str>, Vec<Box<str>>>);

impl ImpliedScopes {
    /// Creates the table from pairs of a scope and a scope that it implies. The pairs must include those that follow from
    /// others.
    pub(crate) fn new<'s>(pairs: impl IntoIterator<Item = (&'s str, &'s str)>) -> Self {
        let mut implied_by: BTreeMap<Box<str>, Vec<Box<str>>> = BTreeMap::new();
        for (scope, implied) in pairs {
            implied_by.entry(Box::from(implied)).or_default().push(Box::from(scope));
        }
        Self(implied_by)
    }

    /// Returns the scopes that imply `name`.
    pub(super) fn implied_by(&self, name: &str) -> &[Box<str>] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns each scope that `granted` contains only by implication, with the scope that implies it.
    pub(super) fn added_to<'s>(&'s self, granted: Scopes<'s>) -> impl Iterator<Item = (&'s str, &'s str)> {
        self.0.iter().filter(move |(implied, _)| !granted.contains(implied)).filter_map(move |(implied, scopes)| {
            let scope = scopes.iter().find(|scope| granted.contains(scope))?;
            Some((&**implied, &**scope))
        })
    }
}
