//! Key sources that several validators use.

use crate::jwks::{KeySource, Origin, RefreshPolicy, RefreshPolicyError};
use crate::token::Algorithm;

/// A key source, and what it serves.
#[derive(Clone, Debug)]
pub(super) struct Shareable {
    pub(super) origin: Origin,
    pub(super) algorithms: Box<[Algorithm]>,
    pub(super) source: KeySource,
}

/// The sources of other validators that a builder was given.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedSources(Vec<(Shareable, PolicyRule)>);

/// Under which refresh policy a shared source may fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyRule {
    /// The builder's own.
    Same,
    /// Whichever it has, apart from `dangerous_*` settings that the builder's policy lacks.
    OfSource,
}

impl SharedSources {
    pub(super) fn add(&mut self, sources: impl Iterator<Item = Shareable>, rule: PolicyRule) {
        self.0.extend(sources.map(|source| (source, rule)));
    }

    /// Finds the source of these keys that serves all the algorithms; a [`RefreshPolicyError`] if every such source fetches under a
    /// policy that a validator with the policy `own` may not use.
    pub(super) fn find(
        &self,
        origin: &Origin,
        algorithms: &[Algorithm],
        own: &RefreshPolicy,
    ) -> Result<Option<&Shareable>, RefreshPolicyError> {
        let mut violation = None;
        for (shared, rule) in &self.0 {
            let serves_all = || algorithms.iter().all(|algorithm| shared.algorithms.contains(algorithm));
            if shared.origin != *origin || !serves_all() {
                continue;
            }
            match rule.check(shared.source.policy(), own) {
                Ok(()) => return Ok(Some(shared)),
                Err(error) => violation = violation.or(Some(error)),
            }
        }
        violation.map_or(Ok(None), Err)
    }
}

impl PolicyRule {
    fn check(self, policy: &RefreshPolicy, own: &RefreshPolicy) -> Result<(), RefreshPolicyError> {
        if policy == own {
            Ok(())
        } else if policy.is_more_dangerous_than(own) {
            Err(RefreshPolicyError::SharedPolicyDangerous)
        } else if self == Self::OfSource {
            Ok(())
        } else {
            Err(RefreshPolicyError::SharedPolicyDiffers)
        }
    }
}
