//! `RefreshCause`: why keys are fetched.

use std::fmt;

/// Why keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshCause {
    /// The first fetch of the source.
    Initial,
    /// The refresh interval is nearly over.
    Scheduled,
    /// The previous fetch failed.
    Retry,
    /// A token had an unknown `kid`.
    UnknownKid,
    /// [`KeySource::reload`](crate::jwks::KeySource::reload) was called.
    Reload,
    /// Discovery found another `jwks_uri`.
    Moved,
}

impl RefreshCause {
    /// Returns a stable snake_case name: the label `cause` of the metric `jwks_fetch_total`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Scheduled => "scheduled",
            Self::Retry => "retry",
            Self::UnknownKid => "unknown_kid",
            Self::Reload => "reload",
            Self::Moved => "moved",
        }
    }

    /// Returns whether the fetch bypasses HTTP caches. A key that such a fetch does not return is not published yet.
    pub(in crate::jwks) const fn bypasses_caches(self) -> bool {
        matches!(self, Self::UnknownKid | Self::Reload | Self::Moved)
    }
}

impl fmt::Display for RefreshCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
