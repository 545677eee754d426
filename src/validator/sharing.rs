//! Key sources that several validators share.

use crate::jwks::{KeySource, Origin, RefreshPolicy, RefreshPolicyError};
use crate::token::Algorithm;

/// A key source, with its origin and the algorithms that it serves.
#[derive(Clone, Debug)]
pub(super) struct SharedSource {
    pub(super) origin: Origin,
    pub(super) algorithms: Box<[Algorithm]>,
    pub(super) source: KeySource,
}

/// The key sources of other validators that a builder may use.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedSources(Vec<(SharedSource, PolicyRule)>);

/// Which refresh policy a shared source may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyRule {
    /// The same as the builder's policy.
    Same,
    /// Any policy without `dangerous_*` settings that the builder's policy does not have.
    UseSource,
}

impl SharedSources {
    pub(super) fn add(&mut self, sources: impl Iterator<Item = SharedSource>, rule: PolicyRule) {
        self.0.extend(sources.map(|source| (source, rule)));
    }

    /// Finds a source with this origin that serves all the algorithms.
    ///
    /// # Errors
    ///
    /// [`RefreshPolicyError`] if such sources exist, but a validator with the policy `own` may not use the policy of any.
    pub(super) fn find(
        &self,
        origin: &Origin,
        algorithms: &[Algorithm],
        own: &RefreshPolicy,
    ) -> Result<Option<&SharedSource>, RefreshPolicyError> {
        let mut first_error = None;
        for (shared, rule) in &self.0 {
            let serves_all = || algorithms.iter().all(|algorithm| shared.algorithms.contains(algorithm));
            if shared.origin != *origin || !serves_all() {
                continue;
            }
            match rule.check(shared.source.policy(), own) {
                Ok(()) => return Ok(Some(shared)),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(None), Err)
    }
}

impl PolicyRule {
    fn check(self, policy: &RefreshPolicy, own: &RefreshPolicy) -> Result<(), RefreshPolicyError> {
        if policy == own {
            Ok(())
        } else if policy.is_more_dangerous_than(own) {
            Err(RefreshPolicyError::SharedPolicyDangerous)
        } else if self == Self::UseSource {
            Ok(())
        } else {
            Err(RefreshPolicyError::SharedPolicyDiffers)
        }
    }
}
