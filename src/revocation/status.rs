//! `RevocationStatus`: a snapshot of the list for monitoring.

use crate::revocation::kind::RevocationKind;
use crate::revocation::set::Set;

/// A snapshot of [`Revocations`](crate::revocation::Revocations) for monitoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationStatus {
    entries: [usize; RevocationKind::ALL.len()],
    bytes: usize,
    max_entries: usize,
}

impl RevocationStatus {
    pub(super) fn new(set: &Set, max_entries: usize) -> Self {
        let mut entries = [0; RevocationKind::ALL.len()];
        for (count, kind) in entries.iter_mut().zip(RevocationKind::ALL) {
            *count = set.len(*kind);
        }
        Self { entries, bytes: set.bytes(), max_entries }
    }

    /// Returns the number of entries of a kind, including those that have ended and are not dropped yet.
    #[must_use]
    pub fn entries(&self, kind: RevocationKind) -> usize {
        RevocationKind::ALL.iter().zip(self.entries).find(|(of, _)| **of == kind).map_or(0, |(_, count)| count)
    }

    /// Returns the number of all entries, including those that have ended and are not dropped yet.
    #[must_use]
    pub fn total_entries(&self) -> usize {
        self.entries.iter().copied().fold(0, usize::saturating_add)
    }

    /// Returns the largest number of entries.
    #[must_use]
    pub fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// Returns the memory of the entries in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
