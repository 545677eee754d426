//! What a requirement asks for, as far as a challenge can say it.

use std::sync::Arc;
use std::time::Duration;

/// Everything that a challenge can name, so that a client which follows it once need not come back a third time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
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

impl Demand {
    /// Says whether a challenge would say nothing of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.scope.is_empty() && self.authentication == Authentication::default()
    }
}

impl Authentication {
    /// Both at once: the classes of the first that names any, and the shorter time.
    pub(crate) fn and(self, other: Self) -> Self {
        let max_age = match (self.max_age, other.max_age) {
            (Some(age), Some(other)) => Some(age.min(other)),
            (age, other) => age.or(other),
        };
        Self { acr_values: self.acr_values.or(other.acr_values), max_age }
    }
}
