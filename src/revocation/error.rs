//! Errors of the list.

use std::fmt;

/// Why [`Revocations::revoke`](crate::revocation::Revocations::revoke) failed. The tokens are not rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeError {
    /// The list has no room. Entries that have not ended are never dropped to make room; see
    /// [`with_max_entries`](crate::revocation::RevocationsBuilder::with_max_entries).
    Full {
        /// The largest number of entries.
        max_entries: usize,
    },
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { max_entries } => write!(f, "the list of revocations is full: it has {max_entries} entries"),
        }
    }
}

impl std::error::Error for RevokeError {}

/// Which setting of [`RevocationsBuilder`](crate::revocation::RevocationsBuilder) is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationSettingError {
    /// The largest number of entries is not between 1,000 and 50,000,000.
    MaxEntries,
    /// The longest life of a token is not between 1 min and 30 d.
    MaxTokenLife,
}

impl fmt::Display for RevocationSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxEntries => "the largest number of revocations must be between 1,000 and 50,000,000",
            Self::MaxTokenLife => "the longest life of a token must be between 1 min and 30 days",
        })
    }
}

impl std::error::Error for RevocationSettingError {}
