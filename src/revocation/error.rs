//! Errors of the list.

use std::fmt;

use crate::revocation::log::LogError;

/// Why [`Revocations::revoke`](crate::revocation::Revocations::revoke) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeError {
    /// The list has no room, and the tokens are not rejected. Entries that have not ended are never dropped to make room; see
    /// [`with_max_entries`](crate::revocation::RevocationsBuilder::with_max_entries).
    #[non_exhaustive]
    Full {
        /// The largest number of entries.
        max_entries: usize,
    },
    /// The entries of a list name at most eight claims by [`with_subject_claim`](crate::revocation::Revocation::with_subject_claim), of at
    /// most 64 bytes each. The tokens are not rejected.
    SubjectClaims,
    /// This process rejects the tokens, and the log did not store the entry, so that other processes do not know of it. Unless the error
    /// is [`LogError::TooManyPending`], the entry is appended again and again until its end.
    #[non_exhaustive]
    NotAppended {
        /// Why the log did not store the entry.
        error: LogError,
    },
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { max_entries } => write!(f, "the list of revocations is full: it has {max_entries} entries"),
            Self::SubjectClaims => f.write_str("the revocations name too many claims of subjects, or too long ones"),
            Self::NotAppended { .. } => f.write_str("other processes do not know of the revocation yet"),
        }
    }
}

impl std::error::Error for RevokeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full { .. } | Self::SubjectClaims => None,
            Self::NotAppended { error } => Some(error),
        }
    }
}

/// The log was not read in time: the error of [`Revocations::ready_within`](crate::revocation::Revocations::ready_within). Its
/// `source()` is the [`last_error`](Self::last_error).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RevocationsNotReadyError {
    pub(super) last_error: Option<LogError>,
}

impl RevocationsNotReadyError {
    /// Returns why the last read failed; `None` if no read has failed.
    #[must_use]
    pub fn last_error(&self) -> Option<LogError> {
        self.last_error
    }
}

impl fmt::Display for RevocationsNotReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log of revocations was not read to its end in time")
    }
}

impl std::error::Error for RevocationsNotReadyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let error: &(dyn std::error::Error + 'static) = self.last_error.as_ref()?;
        Some(error)
    }
}

/// Which setting of [`RevocationsBuilder`](crate::revocation::RevocationsBuilder) is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationSettingError {
    /// The largest number of entries is not between 1,000 and 50,000,000.
    MaxEntries,
    /// The longest life of a token is not between 1 min and 30 d.
    MaxTokenLife,
    /// The time after which requests are rejected because the log is not read is not between 10 s and 24 h.
    MaxStale,
}

impl fmt::Display for RevocationSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxEntries => "the largest number of revocations must be between 1,000 and 50,000,000",
            Self::MaxTokenLife => "the longest life of a token must be between 1 min and 30 days",
            Self::MaxStale => "the longest time without a read of the log must be between 10 s and 24 h",
        })
    }
}

impl std::error::Error for RevocationSettingError {}

/// All invalid settings of [`RevocationsBuilder`](crate::revocation::RevocationsBuilder), at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationConfigError {
    pub(super) errors: Vec<RevocationSettingError>,
}

impl RevocationConfigError {
    /// Returns the errors.
    #[must_use]
    pub fn errors(&self) -> &[RevocationSettingError] {
        &self.errors
    }
}

impl fmt::Display for RevocationConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.errors.iter().enumerate().try_for_each(|(at, error)| {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")
        })
    }
}

impl std::error::Error for RevocationConfigError {}
