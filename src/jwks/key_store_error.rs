//! `KeyStoreError`: why stored keys are not used, or keys could not be saved.

use std::fmt;
use std::io;

/// Why stored keys are not used, or keys could not be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// The store could not be read or written.
    Io {
        /// The kind of the error.
        kind: io::ErrorKind,
    },
    /// The store did not respond within 500 ms, or to a removal within a minute.
    Timeout,
    /// The store does not implement [`KeyStore::remove`](crate::jwks::KeyStore::remove).
    RemoveUnsupported,
    /// The name of the record belongs to something else than a regular file, such as a symbolic link.
    NotAFile,
    /// Every user of the system may write to the file of the record.
    WritableByOthers,
    /// The file of the record belongs to another user than that of the process, and not to root.
    OtherOwner,
    /// The name of the record is not valid, see [`KeyStore::load`](crate::jwks::KeyStore::load).
    InvalidName,
    /// The record is longer than the limit, which is a little more than the largest document that the refresh policy allows.
    TooLarge,
    /// The record is damaged, or another version of this crate has saved it.
    InvalidRecord,
    /// The record belongs to another issuer, or its keys to a URL that is not allowed now.
    OtherSource,
    /// The issuer confirmed the keys longer ago than the refresh policy allows.
    TooOld,
    /// By the wall clock, the issuer will confirm the keys in the future.
    FromFuture,
    /// The record has no key for any of the API's algorithms.
    NoUsableKeys,
    /// The [`KeyStore`](crate::jwks::KeyStore) implementation panicked.
    Panic,
}

impl KeyStoreError {
    /// Returns a short fixed name, suitable for a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Timeout => "timeout",
            Self::RemoveUnsupported => "remove_unsupported",
            Self::NotAFile => "not_a_file",
            Self::WritableByOthers => "writable_by_others",
            Self::OtherOwner => "other_owner",
            Self::InvalidName => "invalid_name",
            Self::TooLarge => "too_large",
            Self::InvalidRecord => "invalid_record",
            Self::OtherSource => "other_source",
            Self::TooOld => "too_old",
            Self::FromFuture => "from_future",
            Self::NoUsableKeys => "no_usable_keys",
            Self::Panic => "panic",
        }
    }
}

impl From<io::Error> for KeyStoreError {
    fn from(error: io::Error) -> Self {
        Self::Io { kind: error.kind() }
    }
}

impl fmt::Display for KeyStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io { kind } => return write!(f, "the key store could not be read or written: {kind}"),
            Self::Timeout => "the key store did not respond in time",
            Self::RemoveUnsupported => "the key store cannot remove stored keys",
            Self::NotAFile => "the stored keys are not in a regular file",
            Self::WritableByOthers => "every user of the system may write the file of the stored keys",
            Self::OtherOwner => "the file of the stored keys belongs to another user",
            Self::InvalidName => "the name of the stored keys is not valid",
            Self::TooLarge => "the stored keys are longer than allowed",
            Self::InvalidRecord => "the stored keys are damaged, or from another version",
            Self::OtherSource => "the stored keys belong to another issuer or URL",
            Self::TooOld => "the stored keys are too old",
            Self::FromFuture => "the stored keys have a time in the future",
            Self::NoUsableKeys => "the stored keys have no usable key",
            Self::Panic => "the `KeyStore` implementation panicked",
        })
    }
}

impl std::error::Error for KeyStoreError {}

/// What a key store was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyStoreOperation {
    /// Loading keys at start.
    Load,
    /// Saving keys after a fetch.
    Save,
    /// Removing the keys of a tenant. Its failures are in the log and in metrics only: the key source is closed.
    Remove,
}

impl KeyStoreOperation {
    /// Returns a short fixed name: the label `operation` of the metric `jwks_key_store_total`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Save => "save",
            Self::Remove => "remove",
        }
    }
}

impl fmt::Display for KeyStoreOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
