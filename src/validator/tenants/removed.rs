//! `RemovedNames`: the names of tenants that were removed, or not known, a short time ago.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::defaults;

/// The names whose stored keys may be those of a removed tenant.
///
/// # Security
///
/// The record of a removed tenant is removed from the key store, but that may fail or take a while, and another tenant may have the same
/// name meanwhile. Until the keys in the record have expired, the record is not loaded.
///
/// Only a keyed hash of each name is stored. Two names with the same hash are harmless: one more record is not loaded.
#[derive(Debug)]
pub(super) struct RemovedNames {
    /// How long stored keys may be used; `None` if they do not expire.
    max_age: Option<Duration>,
    hasher: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    removed_at: HashMap<u64, Monotonic>,
    /// When there were too many names. All that were removed until then may be forgotten.
    all_removed_at: Option<Monotonic>,
}

impl RemovedNames {
    pub(super) fn new(max_age: Option<Duration>) -> Self {
        Self { max_age, hasher: RandomState::new(), inner: Mutex::default() }
    }

    pub(super) fn record(&self, name: &str, now: Monotonic) {
        let name = self.hasher.hash_one(name);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.removed_at.len() >= defaults::MAX_REMOVED_TENANTS {
            inner.removed_at.retain(|_, at| self.is_recent(*at, now));
        }
        if inner.removed_at.len() >= defaults::MAX_REMOVED_TENANTS {
            inner.removed_at.clear();
            inner.all_removed_at = Some(now);
        }
        inner.removed_at.insert(name, now);
    }

    pub(super) fn contains(&self, name: &str, now: Monotonic) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let removed_at = inner.removed_at.get(&self.hasher.hash_one(name)).copied();
        removed_at.max(inner.all_removed_at).is_some_and(|at| self.is_recent(at, now))
    }

    fn is_recent(&self, at: Monotonic, now: Monotonic) -> bool {
        self.max_age.is_none_or(|max_age| now.saturating_since(at) <= max_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn contains_a_name_until_stored_keys_have_expired() {
        let names = RemovedNames::new(Some(Duration::from_secs(10)));
        names.record("a", at(5));
        assert_eq!([5, 15, 16].map(|now| names.contains("a", at(now))), [true, true, false]);
        assert!(!names.contains("b", at(5)));
        let forever = RemovedNames::new(None);
        forever.record("a", at(5));
        assert!(forever.contains("a", at(1_000_000)));
    }

    /// If there are too many names, every name counts as removed for a while.
    #[test]
    fn limits_the_number_of_names() {
        let names = RemovedNames::new(Some(Duration::from_secs(10)));
        let record = |count: usize, now| {
            (0..count).for_each(|number| names.record(&number.to_string(), now));
        };
        record(defaults::MAX_REMOVED_TENANTS, at(0));
        assert!(!names.contains("other", at(0)));
        names.record("a", at(5));
        assert!(names.contains("other", at(15)) && names.contains("0", at(15)));
        assert!(!names.contains("other", at(16)) && !names.contains("0", at(16)));
        // Names that have expired make room.
        record(defaults::MAX_REMOVED_TENANTS, at(20));
        assert!(!names.contains("other", at(20)));
    }
}
