//! `KeyEpoch`: identifies the keys of one issuer at one time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies the keys of one issuer between two changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyEpoch {
    pub(crate) ring: RingSerial,
    /// See [`KeyStatus::epoch`](crate::jwks::KeyStatus::epoch); 0 for keys that are not fetched.
    pub(crate) number: u64,
}

/// Identifies the keys of one issuer of one validator.
///
/// # Security
///
/// A serial is never assigned again, so the keys of one issuer cannot be taken for those of another: every source counts its
/// epochs from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingSerial(u64);

impl RingSerial {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // At a million per second, it takes 584,000 years until a number is repeated.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: u64) -> Self {
        Self(number)
    }
}
