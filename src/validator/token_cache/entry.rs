//! `CacheEntry`: the claims of one verified token, with what their validity depends on.

use std::any::TypeId;
use std::mem::size_of;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::claims::{Claims, NoCustomClaims};
use crate::clock::{Monotonic, Timestamp};
use crate::defaults;
use crate::keys::{Found, KeyTable, Thumbprint, TokenFingerprint};
use crate::telemetry;
use crate::validator::token_cache::slot_tag::SlotTag;

/// The claims of an accepted token, the key that verified it, and the lifetime of the entry.
pub(in crate::validator) struct CacheEntry<C> {
    /// Selects the slots of [`RecentTable`](super::table::RecentTable) that may contain the entry.
    slot_tag: SlotTag,
    fingerprint: TokenFingerprint,
    claims: Claims<C>,
    /// The index of the issuer's route.
    route_index: usize,
    /// The key that verified the token.
    thumbprint: Thumbprint,
    /// The last epoch of the issuer's keys that is known to include this key.
    epoch: AtomicU64,
    lifetime: EntryLifetime,
    weight: u32,
    /// Whether the entry was removed because it was invalid. An entry that leaves the cache otherwise counts as evicted.
    invalid: AtomicBool,
}

/// The verification of a token's signature: the route, the key, and the epoch of the keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::validator) struct Verification {
    /// The index of the issuer's route.
    pub(in crate::validator) route_index: usize,
    /// The key that verified the token.
    pub(in crate::validator) thumbprint: Thumbprint,
    /// The epoch of the issuer's keys at that time.
    pub(in crate::validator) epoch: u64,
}

/// The period in which an entry is valid.
#[derive(Clone, Copy, Debug)]
pub(in crate::validator) struct EntryLifetime {
    /// The time of the validation, at which all dates were valid.
    pub(in crate::validator) checked_at: Timestamp,
    /// The first time after it at which a date is no longer valid.
    pub(in crate::validator) valid_until: Timestamp,
    /// The end of [`defaults::TOKEN_CACHE_MAX_AGE`], by the monotonic clock.
    pub(in crate::validator) evict_at: Monotonic,
}

impl EntryLifetime {
    /// Returns the length of the period; zero for a token that is accepted only because of the leeway.
    pub(in crate::validator) fn duration(self) -> Duration {
        self.valid_until.saturating_since(self.checked_at).min(defaults::TOKEN_CACHE_MAX_AGE)
    }
}

impl<C> CacheEntry<C> {
    pub(in crate::validator) fn slot_tag(&self) -> SlotTag {
        self.slot_tag
    }

    pub(in crate::validator) fn fingerprint(&self) -> TokenFingerprint {
        self.fingerprint
    }

    /// Returns the memory of the entry in bytes, with the overhead of the map.
    pub(in crate::validator) fn weight(&self) -> u32 {
        self.weight
    }

    /// Returns the longest time for which the entry can be valid.
    pub(in crate::validator) fn lifetime(&self) -> Duration {
        self.lifetime.duration()
    }

    /// Records that the entry is removed because it is invalid, so that it does not count as evicted.
    pub(in crate::validator) fn mark_invalid(&self) {
        self.invalid.store(true, Ordering::Relaxed);
    }
}

impl<C: 'static> CacheEntry<C> {
    pub(in crate::validator) fn new(
        slot_tag: SlotTag,
        fingerprint: TokenFingerprint,
        claims: Claims<C>,
        verification: Verification,
        lifetime: EntryLifetime,
    ) -> Self {
        let Verification { route_index, thumbprint, epoch } = verification;
        // The heap memory of `C` cannot be measured. It was read from the payload, so the length of the payload is the
        // estimate. A tree of values is larger, as `with_token_cache_bytes` documents.
        let custom = if TypeId::of::<C>() == TypeId::of::<NoCustomClaims>() {
            0
        } else {
            size_of::<C>().saturating_add(claims.json().len())
        };
        let weight = claims.footprint().saturating_add(custom).saturating_add(size_of::<Self>());
        let weight =
            u32::try_from(weight.saturating_add(defaults::TOKEN_CACHE_ENTRY_OVERHEAD_BYTES)).unwrap_or(u32::MAX);
        telemetry::token_cache_inserted(weight);
        Self {
            slot_tag,
            fingerprint,
            claims,
            route_index,
            thumbprint,
            epoch: AtomicU64::new(epoch),
            lifetime,
            weight,
            invalid: AtomicBool::new(false),
        }
    }

    pub(in crate::validator) fn claims(&self) -> &Claims<C> {
        &self.claims
    }

    pub(in crate::validator) fn route_index(&self) -> usize {
        self.route_index
    }

    /// Returns whether all dates are valid and the entry is younger than the maximum age.
    ///
    /// All dates are valid from `checked_at` until `valid_until`. If the wall clock was set back to before `checked_at`, the
    /// entry is not fresh. The age is measured by both clocks, because the monotonic clock may stop while the machine is
    /// suspended.
    pub(in crate::validator) fn is_fresh(&self, now: Timestamp, monotonic: Monotonic) -> bool {
        let EntryLifetime { checked_at, valid_until, evict_at } = self.lifetime;
        let is_within_max_age = monotonic < evict_at && now < checked_at.saturating_add(defaults::TOKEN_CACHE_MAX_AGE);
        checked_at <= now && now < valid_until && is_within_max_age
    }

    /// Returns whether the current keys include the key that verified the token: the epoch is unchanged, or the new table
    /// finds the same key for the same header.
    pub(in crate::validator) fn is_key_current(&self, table: &KeyTable, epoch: u64) -> bool {
        if self.epoch.load(Ordering::Relaxed) == epoch {
            return true;
        }
        let header = self.claims.header();
        let Found::Keys(mut keys) = table.find(header.key_id(), header.algorithm()) else { return false };
        let is_current = keys.any(|key| *key.thumbprint() == self.thumbprint);
        if is_current {
            // In a race, each request stores an epoch for which this is true. The cost is at most one more lookup.
            self.epoch.store(epoch, Ordering::Relaxed);
        }
        is_current
    }
}

impl<C> Drop for CacheEntry<C> {
    fn drop(&mut self) {
        telemetry::token_cache_freed(self.weight);
        if !*self.invalid.get_mut() {
            telemetry::token_cache_evicted();
        }
    }
}

#[cfg(test)]
pub(in crate::validator) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keys::{KeyOrigin, KeySet};
    use crate::testing::TestIssuer;
    use crate::token::Algorithm;

    /// Returns an entry that is valid for this number of seconds.
    pub(in crate::validator) fn entry(
        slot_tag: SlotTag,
        fingerprint: TokenFingerprint,
        seconds: u64,
    ) -> CacheEntry<NoCustomClaims> {
        let (claims, verification, lifetime) = valid_for(seconds);
        CacheEntry::new(slot_tag, fingerprint, claims, verification, lifetime)
    }

    pub(in crate::validator) fn valid_for(seconds: u64) -> (Claims, Verification, EntryLifetime) {
        let claims = Claims::for_tests(r#"{"iss":"i","exp":1}"#);
        let checked_at = Timestamp::from_secs(1_000);
        let valid_until = checked_at.saturating_add(Duration::from_secs(seconds));
        let evict_at = Monotonic::default().saturating_add(defaults::TOKEN_CACHE_MAX_AGE);
        let verification = Verification { route_index: 0, thumbprint: Thumbprint::secret(b"a key"), epoch: 1 };
        (claims, verification, EntryLifetime { checked_at, valid_until, evict_at })
    }

    #[test]
    fn is_fresh_from_the_check_until_a_date_fails_or_the_maximum_age_ends() {
        let cached = entry(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), 60);
        let at = Timestamp::from_secs;
        let after = |age| Monotonic::default().saturating_add(age);
        let within_max_age = after(defaults::TOKEN_CACHE_MAX_AGE - Duration::from_nanos(1));
        assert!(cached.is_fresh(at(1_000), within_max_age) && cached.is_fresh(at(1_059), within_max_age));
        assert!(!cached.is_fresh(at(999), within_max_age), "the wall clock was set back");
        assert!(!cached.is_fresh(at(1_060), within_max_age), "a date is no longer valid");
        assert!(!cached.is_fresh(at(1_059), after(defaults::TOKEN_CACHE_MAX_AGE)), "it has reached the maximum age");
        let long = entry(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), 3_600);
        assert!(long.is_fresh(at(1_299), within_max_age));
        assert!(!long.is_fresh(at(1_300), within_max_age), "it has reached the maximum age by the wall clock");
    }

    /// Concurrent requests with one token may have snapshots of different epochs, in any order.
    #[test]
    fn looks_the_key_up_unless_the_epoch_is_the_last_known_one() {
        let keys = KeySet::from_jwks(TestIssuer::new().jwks()).expect("a key set");
        let with_key = keys.bind(&[Algorithm::RS256], KeyOrigin::Remote);
        let without = KeyTable::from_secrets(Vec::new());
        let Found::Keys(mut found) = with_key.find(None, Algorithm::RS256) else { panic!("one key") };
        let thumbprint = *found.next().expect("one key").thumbprint();
        let (claims, verification, lifetime) = valid_for(60);
        let verification = Verification { thumbprint, epoch: 1, ..verification };
        let cached =
            CacheEntry::new(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), claims, verification, lifetime);
        // A lookup in `without` finds no key.
        for (table, epoch, expected) in [
            (&without, 1, true),
            (&without, 0, false),
            (&without, 2, false),
            (&without, 1, true),
            (&with_key, 3, true),
            (&without, 3, true),
            (&without, 1, false),
            (&without, 2, false),
            (&without, 4, false),
            (&with_key, 2, true),
        ] {
            assert_eq!(cached.is_key_current(table, epoch), expected, "epoch {epoch}");
        }
    }

    #[test]
    fn limits_the_lifetime_to_the_maximum_age() {
        let lifetime = |seconds| entry(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), seconds).lifetime();
        assert_eq!((lifetime(60), lifetime(3_600)), (Duration::from_secs(60), defaults::TOKEN_CACHE_MAX_AGE));
    }

    #[test]
    fn estimates_the_weight_of_custom_claims_by_the_payload_length() {
        let (claims, verification, lifetime) = valid_for(60);
        let (slot_tag, fingerprint, json) =
            (SlotTag::for_tests(1), TokenFingerprint::for_tests(1), claims.json().len());
        let plain = CacheEntry::new(slot_tag, fingerprint, claims.clone(), verification, lifetime).weight();
        let custom =
            CacheEntry::new(slot_tag, fingerprint, claims.with_custom(Arc::new(String::new())), verification, lifetime)
                .weight();
        assert_eq!(usize::try_from(custom - plain), Ok(size_of::<String>() + json));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn updates_the_gauges_when_entries_are_created_and_dropped() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let assert_gauges = |entries: u32, bytes: u32| {
            let text = recorder.handle().render();
            for expected in [format!("jwt_token_cache_entries {entries}"), format!("jwt_token_cache_bytes {bytes}")] {
                assert!(text.lines().any(|line| line == expected), "{expected} in\n{text}");
            }
        };
        metrics::with_local_recorder(&recorder, || {
            let cached = |number| entry(SlotTag::for_tests(number), TokenFingerprint::for_tests(number), 60);
            let (one, two) = (cached(1), cached(2));
            let weight = one.weight;
            assert_gauges(2, 2 * weight);
            drop(two);
            assert_gauges(1, weight);
            drop(one);
            assert_gauges(0, 0);
        });
    }
}
