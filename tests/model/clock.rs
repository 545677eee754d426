//! The parts of `src/clock.rs` that the store of used proofs needs.

use std::time::Duration;

/// Whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    pub(crate) fn from_secs(seconds: i64) -> Self {
        Self(seconds)
    }

    pub(crate) fn as_secs(self) -> i64 {
        self.0
    }

    pub(crate) fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(span.as_secs()))
    }

    pub(crate) fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
