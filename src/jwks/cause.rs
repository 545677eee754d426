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
    /// A token had an unknown `kid` that an earlier fetch has not found, for example that of a removed key.
    AbsentKid,
    /// No key verified the signature of a token whose `kid` is known, or that has none: the issuer may have replaced a key and
    /// kept its `kid`.
    InvalidSignature,
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
            Self::AbsentKid => "absent_kid",
            Self::InvalidSignature => "invalid_signature",
            Self::Reload => "reload",
            Self::Moved => "moved",
        }
    }

    /// Returns whether the fetch bypasses HTTP caches. A key that such a fetch does not return is not published yet.
    pub(in crate::jwks) const fn bypasses_caches(self) -> bool {
        matches!(self, Self::UnknownKid | Self::AbsentKid | Self::InvalidSignature | Self::Reload | Self::Moved)
    }

    /// Returns whether a token triggered the fetch, so that clients can.
    pub(in crate::jwks) const fn is_triggered_by_token(self) -> bool {
        matches!(self, Self::UnknownKid | Self::AbsentKid | Self::InvalidSignature)
    }

    /// Returns whether the key of an unknown `kid` that arrived during the fetch counts as not published if the fetch does not
    /// return it. A fetch for an absent `kid` or an invalid signature may have started just before the publication, and must not
    /// delay a new key.
    pub(in crate::jwks) const fn is_sufficient_for_unknown_kids(self) -> bool {
        self.bypasses_caches() && !matches!(self, Self::AbsentKid | Self::InvalidSignature)
    }
}

impl fmt::Display for RefreshCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
