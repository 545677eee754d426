//! One verdict that is remembered: what it says, what it depends on, and for how long.

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

/// That a token was good, and what that depends on.
pub(in crate::validator) struct CacheEntry<C> {
    /// What its token is looked for by, and what stands for it.
    slot_tag: SlotTag,
    fingerprint: TokenFingerprint,
    claims: Claims<C>,
    /// The place of the issuer's route.
    route_index: usize,
    /// The key that proved it.
    thumbprint: Thumbprint,
    /// The last epoch of the issuer's keys in which that key was seen to prove it.
    epoch: AtomicU64,
    life: EntryLifetime,
    weight: u32,
    /// That it left because it counts no more, and not to make room.
    invalid: AtomicBool,
}

/// What a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(in crate::validator) struct VerifiedBy {
    /// The place of the issuer's route.
    pub(in crate::validator) route_index: usize,
    /// The key that proved the token, and the epoch in which it did.
    pub(in crate::validator) thumbprint: Thumbprint,
    pub(in crate::validator) epoch: u64,
}

/// How long a verdict counts.
#[derive(Clone, Copy, Debug)]
pub(in crate::validator) struct EntryLifetime {
    /// Every date held at this moment.
    pub(in crate::validator) judged_at: Timestamp,
    /// And from this moment on, one of them does not.
    pub(in crate::validator) ends_at: Timestamp,
    /// No verdict is older than [`defaults::TOKEN_CACHE_MAX_AGE`], whatever the wall clock does.
    pub(in crate::validator) evict_at: Monotonic,
}

impl EntryLifetime {
    /// Its length; zero for a token that is accepted only by the leeway.
    pub(in crate::validator) fn lifetime(self) -> Duration {
        self.ends_at.saturating_since(self.judged_at).min(defaults::TOKEN_CACHE_MAX_AGE)
    }
}

impl<C> CacheEntry<C> {
    pub(in crate::validator) fn slot_tag(&self) -> SlotTag {
        self.slot_tag
    }

    pub(in crate::validator) fn fingerprint(&self) -> TokenFingerprint {
        self.fingerprint
    }

    /// The octets that it takes, with what the map needs to keep it.
    pub(in crate::validator) fn weight(&self) -> u32 {
        self.weight
    }

    /// How long it can count at most.
    pub(in crate::validator) fn lifetime(&self) -> Duration {
        self.life.lifetime()
    }

    /// Notes that it leaves because it counts no more.
    pub(in crate::validator) fn mark_invalid(&self) {
        self.invalid.store(true, Ordering::Relaxed);
    }
}

impl<C: 'static> CacheEntry<C> {
    pub(in crate::validator) fn new(
        slot_tag: SlotTag,
        fingerprint: TokenFingerprint,
        claims: Claims<C>,
        proof: VerifiedBy,
        life: EntryLifetime,
    ) -> Self {
        let VerifiedBy { route_index, thumbprint, epoch } = proof;
        // What `C` keeps outside of itself was read from the payload, so it is taken to be about as large. A
        // tree of values is larger, as `with_token_cache_bytes` says.
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
            life,
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

    /// Says whether all dates hold, and the verdict is young enough.
    ///
    /// Between the moment at which every date held and the first at which one does not, all of them hold. A wall clock
    /// that was set back before the first has the token judged anew. The age counts by both clocks, since the monotonic one
    /// may stop while the machine is suspended.
    pub(in crate::validator) fn is_current(&self, now: Timestamp, monotonic: Monotonic) -> bool {
        let EntryLifetime { judged_at, ends_at, evict_at } = self.life;
        let is_young = monotonic < evict_at && now < judged_at.saturating_add(defaults::TOKEN_CACHE_MAX_AGE);
        judged_at <= now && now < ends_at && is_young
    }

    /// Says whether the key that proved the token would prove it again: the epoch is the same, or the new table finds the
    /// same key for the same header.
    pub(in crate::validator) fn is_proven_by(&self, table: &KeyTable, epoch: u64) -> bool {
        if self.epoch.load(Ordering::Relaxed) == epoch {
            return true;
        }
        let header = self.claims.header();
        let Found::Keys(mut keys) = table.find(header.kid(), header.algorithm()) else { return false };
        let stands = keys.any(|key| *key.thumbprint() == self.thumbprint);
        if stands {
            // Two requests that race store what is true of both their epochs; the worse of it is one more look-up.
            self.epoch.store(epoch, Ordering::Relaxed);
        }
        stands
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

    /// A verdict that counts for so many seconds.
    pub(in crate::validator) fn entry(
        slot_tag: SlotTag,
        fingerprint: TokenFingerprint,
        seconds: u64,
    ) -> CacheEntry<NoCustomClaims> {
        let (claims, proof, life) = valid_for(seconds);
        CacheEntry::new(slot_tag, fingerprint, claims, proof, life)
    }

    pub(in crate::validator) fn valid_for(seconds: u64) -> (Claims, VerifiedBy, EntryLifetime) {
        let claims = Claims::for_tests(r#"{"iss":"i","exp":1}"#);
        let judged_at = Timestamp::from_secs(1_000);
        let ends_at = judged_at.saturating_add(Duration::from_secs(seconds));
        let evict_at = Monotonic::default().saturating_add(defaults::TOKEN_CACHE_MAX_AGE);
        let proof = VerifiedBy { route_index: 0, thumbprint: Thumbprint::secret(b"a key"), epoch: 1 };
        (claims, proof, EntryLifetime { judged_at, ends_at, evict_at })
    }

    #[test]
    fn a_verdict_counts_from_its_moment_until_the_first_date_fails_or_it_is_too_old() {
        let good = entry(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), 60);
        let at = Timestamp::from_secs;
        let after = |age| Monotonic::default().saturating_add(age);
        let young = after(defaults::TOKEN_CACHE_MAX_AGE - Duration::from_nanos(1));
        assert!(good.is_current(at(1_000), young) && good.is_current(at(1_059), young));
        assert!(!good.is_current(at(999), young), "the wall clock was set back");
        assert!(!good.is_current(at(1_060), young), "a date fails");
        assert!(!good.is_current(at(1_059), after(defaults::TOKEN_CACHE_MAX_AGE)), "it is too old");
        let long = entry(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), 3_600);
        assert!(long.is_current(at(1_299), young));
        assert!(!long.is_current(at(1_300), young), "it is too old by the wall clock");
    }

    /// The requests of one token may hold snapshots of different epochs, in any order.
    #[test]
    fn looks_the_key_up_unless_the_epoch_is_the_one_in_which_it_was_seen_last() {
        let keys = KeySet::from_jwks(TestIssuer::new().jwks()).expect("a key set");
        let with_key = keys.bind(&[Algorithm::RS256], KeyOrigin::Remote);
        let without = KeyTable::from_secrets(Vec::new());
        let Found::Keys(mut found) = with_key.find(None, Algorithm::RS256) else { panic!("one key") };
        let thumbprint = *found.next().expect("one key").thumbprint();
        let (claims, proof, life) = valid_for(60);
        let proof = VerifiedBy { thumbprint, epoch: 1, ..proof };
        let good = CacheEntry::new(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), claims, proof, life);
        // A look-up in `without` fails.
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
            assert_eq!(good.is_proven_by(table, epoch), expected, "epoch {epoch}");
        }
    }

    #[test]
    fn the_map_keeps_a_verdict_no_longer_than_it_counts() {
        let lifetime = |seconds| entry(SlotTag::for_tests(1), TokenFingerprint::for_tests(1), seconds).lifetime();
        assert_eq!((lifetime(60), lifetime(3_600)), (Duration::from_secs(60), defaults::TOKEN_CACHE_MAX_AGE));
    }

    #[test]
    fn claims_of_the_applications_own_weigh_as_much_as_they_can_be_told() {
        let (claims, proof, life) = valid_for(60);
        let (slot_tag, fingerprint, json) =
            (SlotTag::for_tests(1), TokenFingerprint::for_tests(1), claims.json().len());
        let plain = CacheEntry::new(slot_tag, fingerprint, claims.clone(), proof, life).weight();
        let custom =
            CacheEntry::new(slot_tag, fingerprint, claims.with_custom(Arc::new(String::new())), proof, life).weight();
        assert_eq!(usize::try_from(custom - plain), Ok(size_of::<String>() + json));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn the_gauges_follow_what_is_in_memory() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let says = |entries: u32, bytes: u32| {
            let text = recorder.handle().render();
            for expected in [format!("jwt_token_cache_entries {entries}"), format!("jwt_token_cache_bytes {bytes}")] {
                assert!(text.lines().any(|line| line == expected), "{expected} in\n{text}");
            }
        };
        metrics::with_local_recorder(&recorder, || {
            let good = |number| entry(SlotTag::for_tests(number), TokenFingerprint::for_tests(number), 60);
            let (one, two) = (good(1), good(2));
            let weight = one.weight;
            says(2, 2 * weight);
            drop(two);
            says(1, weight);
            drop(one);
            says(0, 0);
        });
    }
}
