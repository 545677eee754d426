//! `AbsentKids`: the kids that a fetch has not found, so that a client that keeps sending them does not delay a new key.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use moka::sync::Cache;

use crate::defaults;
use crate::jwks::driver_status::{DriverStatus, KidHistory};
use crate::jwks::refresh::Activity;
use crate::keys::KeyTable;

/// Remembers kids of tokens that are not in the current key set.
///
/// # Security
///
/// Clients choose the kids. Only a keyed hash of each is stored, and the number of entries is limited. If a client fills the
/// cache, other kids are evicted, and count as new again: the cool-down then limits their fetches as before.
pub(super) struct AbsentKids {
    /// The map evicts entries by use and by the machine's clock. An evicted kid counts as new again. It takes 75 KB also while it is
    /// empty, so it is created for the first such kid.
    ///
    /// Each value is the generation of the fetch that was in flight at the first token with the kid, or of the last one.
    first_seen: OnceLock<Cache<KidHash, u64>>,
    hasher: RandomState,
}

/// A keyed hash of a `kid`. If two kids have the same hash, the second one counts as known to be absent: its fetch may start
/// up to one cool-down later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KidHash(u64);

impl AbsentKids {
    pub(super) fn new() -> Self {
        Self { first_seen: OnceLock::new(), hasher: RandomState::new() }
    }

    pub(super) fn hash(&self, kid: &str) -> KidHash {
        KidHash(self.hasher.hash_one(kid))
    }

    /// Returns whether a fetch has looked for this `kid`, which is not in the current key set, or does so now. The first call
    /// for a `kid` stores it.
    ///
    /// A change of the key set does not reset this for other kids: the clients that send old kids would otherwise use up the limit of the
    /// fetches in the minute of a key rotation, and delay the next new key.
    pub(super) fn check(&self, kid: KidHash, status: DriverStatus) -> KidHistory {
        let looked_for = match status.activity {
            Activity::Fetching { cause, .. } if cause.bypasses_caches() => status.generation,
            _ => status.confirmed_generation,
        };
        let first_seen = self.first_seen.get_or_init(new_map);
        match first_seen.get(&kid) {
            Some(generation) if looked_for > generation => KidHistory::Absent,
            Some(_) => KidHistory::New,
            None => {
                first_seen.insert(kid, status.generation);
                KidHistory::New
            }
        }
    }

    /// Forgets the kids that a published key set has. If a later one lacks such a kid, for example because an HTTP cache is late,
    /// it counts as new again.
    pub(super) fn forget_published(&self, table: &KeyTable) {
        if let Some(first_seen) = self.first_seen.get() {
            table.kids().for_each(|kid| first_seen.invalidate(&self.hash(kid)));
        }
    }

    /// Returns whether a token with a `kid` that `table` lacks has arrived since the fetch of this generation started.
    pub(super) fn has_missing(&self, generation: u64, table: &KeyTable) -> bool {
        let Some(first_seen) = self.first_seen.get() else { return false };
        let published: HashSet<_> = table.kids().map(|kid| self.hash(kid)).collect();
        first_seen.iter().any(|(kid, seen)| seen >= generation && !published.contains(&kid))
    }
}

fn new_map() -> Cache<KidHash, u64> {
    Cache::builder().max_capacity(defaults::MAX_ABSENT_KIDS).time_to_idle(defaults::ABSENT_KID_IDLE).build()
}

impl fmt::Debug for AbsentKids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbsentKids").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwks::driver_status::Task;
    use crate::jwks::policy::RefreshPolicy;
    use crate::jwks::refresh::Refresh;

    use crate::clock::Monotonic;
    use crate::jwks::cause::RefreshCause;

    #[test]
    fn a_kid_is_absent_while_a_fetch_looks_for_it() {
        for (cause, expected) in
            [(RefreshCause::UnknownKid, KidHistory::Absent), (RefreshCause::Scheduled, KidHistory::New)]
        {
            let absent_kids = AbsentKids::new();
            let kid = absent_kids.hash("kid");
            assert_eq!(absent_kids.check(kid, status(5, 0)), KidHistory::New);
            let mut fetching = status(6, 0);
            fetching.activity = Activity::Fetching { cause, deadline: Monotonic::default() };
            assert_eq!(absent_kids.check(kid, fetching), expected, "{cause}");
        }
    }

    fn status(generation: u64, confirmed_generation: u64) -> DriverStatus {
        let mut status = DriverStatus::new(&Refresh::new(RefreshPolicy::new()), Task::Running);
        (status.generation, status.confirmed_generation) = (generation, confirmed_generation);
        status
    }

    #[test]
    fn a_kid_is_absent_after_a_fetch_that_started_after_its_first_token() {
        let absent_kids = AbsentKids::new();
        let [one, other] = ["one", "other"].map(|kid| absent_kids.hash(kid));
        assert_eq!(absent_kids.check(one, status(5, 0)), KidHistory::New);
        // Fetch 5 was in flight when the first token arrived, or had ended before.
        assert_eq!(absent_kids.check(one, status(6, 5)), KidHistory::New);
        assert_eq!(absent_kids.check(one, status(6, 6)), KidHistory::Absent);
        assert_eq!(absent_kids.check(other, status(6, 6)), KidHistory::New);
        assert_eq!(absent_kids.check(other, status(7, 7)), KidHistory::Absent);
    }

    /// A flood of random kids neither grows the cache nor evicts a `kid` that is sent all the time.
    #[test]
    fn bounds_the_number_of_kids_and_keeps_those_that_are_used() {
        let absent_kids = AbsentKids::new();
        let ambient = absent_kids.hash("ambient");
        absent_kids.check(ambient, status(1, 0));
        for random in 0..20_000 {
            absent_kids.check(absent_kids.hash(&random.to_string()), status(1, 0));
            if random % 10 == 0 {
                assert_eq!(absent_kids.check(ambient, status(2, 2)), KidHistory::Absent, "after {random}");
            }
        }
        let first_seen = absent_kids.first_seen.get().expect("a map");
        first_seen.run_pending_tasks();
        let entries = first_seen.entry_count();
        assert!((1..=defaults::MAX_ABSENT_KIDS).contains(&entries), "{entries}");
    }

    #[test]
    fn forgets_a_kid_ten_minutes_after_its_last_token() {
        let policy = new_map().policy();
        assert_eq!((policy.time_to_idle(), policy.time_to_live()), (Some(defaults::ABSENT_KID_IDLE), None));
        assert_eq!(defaults::ABSENT_KID_IDLE.as_secs(), 600);
    }

    #[test]
    fn hashes_differ_between_two_sources() {
        let [one, other] = [AbsentKids::new(), AbsentKids::new()];
        assert_eq!(one.hash("kid"), one.hash("kid"));
        assert_ne!(one.hash("kid"), other.hash("kid"));
    }
}
