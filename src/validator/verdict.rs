//! One verdict that is remembered: what it says, what it depends on, and for how long.

use std::any::TypeId;
use std::mem::size_of;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::claims::{Claims, NoCustomClaims};
use crate::clock::{Monotonic, Timestamp};
use crate::defaults;
use crate::keys::{Found, KeyTable, Thumbprint, TokenTag};
use crate::telemetry;
use crate::validator::mark::Mark;

/// That a token was good, and what that depends on.
pub(super) struct Verdict<C> {
    /// What its token is looked for by, and what stands for it.
    mark: Mark,
    tag: TokenTag,
    claims: Claims<C>,
    /// The place of the issuer's route.
    place: usize,
    /// The key that proved it.
    thumbprint: Thumbprint,
    /// The last epoch of the issuer's keys in which that key was seen to prove it.
    epoch: AtomicU64,
    life: Life,
    weight: u32,
    /// That it left because it counts no more, and not to make room.
    dismissed: AtomicBool,
}

/// What a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proven {
    /// The place of the issuer's route.
    pub(super) place: usize,
    /// The key that proved the token, and the epoch in which it did.
    pub(super) thumbprint: Thumbprint,
    pub(super) epoch: u64,
}

/// How long a verdict counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Every date held at this moment.
    pub(super) judged_at: Timestamp,
    /// And from this moment on, one of them does not.
    pub(super) ends_at: Timestamp,
    /// No verdict is older than [`defaults::MEMO_LIFE`], whatever the wall clock does.
    pub(super) forget_at: Monotonic,
}

impl Life {
    /// Its length; zero for a token that is accepted only by the leeway.
    pub(super) fn lasts(self) -> Duration {
        self.ends_at.saturating_since(self.judged_at).min(defaults::MEMO_LIFE)
    }
}

impl<C> Verdict<C> {
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    pub(super) fn tag(&self) -> TokenTag {
        self.tag
    }

    /// The octets that it takes, with what the map needs to keep it.
    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    /// How long it can count at most.
    pub(super) fn lasts(&self) -> Duration {
        self.life.lasts()
    }

    /// Notes that it leaves because it counts no more.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
    }
}

impl<C: 'static> Verdict<C> {
    pub(super) fn new(mark: Mark, tag: TokenTag, claims: Claims<C>, proof: Proven, life: Life) -> Self {
        let Proven { place, thumbprint, epoch } = proof;
        // What `C` keeps outside of itself was read from the payload, so it is taken to be about as large. A
        // tree of values is larger, as `with_memo_bytes` says.
        let custom = if TypeId::of::<C>() == TypeId::of::<NoCustomClaims>() {
            0
        } else {
            size_of::<C>().saturating_add(claims.json().len())
        };
        let weight = claims.footprint().saturating_add(custom).saturating_add(size_of::<Self>());
        let weight = u32::try_from(weight.saturating_add(defaults::MEMO_OVERHEAD_BYTES)).unwrap_or(u32::MAX);
        telemetry::token_cache_grew(weight);
        Self {
            mark,
            tag,
            claims,
            place,
            thumbprint,
            epoch: AtomicU64::new(epoch),
            life,
            weight,
            dismissed: AtomicBool::new(false),
        }
    }

    pub(super) fn claims(&self) -> &Claims<C> {
        &self.claims
    }

    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Says whether all dates hold, and the verdict is young enough.
    ///
    /// Between the moment at which every date held and the first at which one does not, all of them hold. A wall clock
    /// that was set back before the first has the token judged anew. The age counts by both clocks, since the monotonic one
    /// may stop while the machine is suspended.
    pub(super) fn is_timely(&self, now: Timestamp, monotonic: Monotonic) -> bool {
        let Life { judged_at, ends_at, forget_at } = self.life;
        let is_young = monotonic < forget_at && now < judged_at.saturating_add(defaults::MEMO_LIFE);
        judged_at <= now && now < ends_at && is_young
    }

    /// Says whether the key that proved the token would prove it again: the epoch is the same, or the new table finds the
    /// same key for the same header.
    pub(super) fn is_proven_by(&self, table: &KeyTable, epoch: u64) -> bool {
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

impl<C> Drop for Verdict<C> {
    fn drop(&mut self) {
        telemetry::token_cache_shrank(self.weight);
        if !*self.dismissed.get_mut() {
            telemetry::token_cache_evicted();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keys::{KeyOrigin, KeySet};
    use crate::testing::TestIssuer;
    use crate::token::Algorithm;

    /// A verdict that counts for so many seconds.
    pub(in crate::validator) fn verdict(mark: Mark, tag: TokenTag, seconds: u64) -> Verdict<NoCustomClaims> {
        let (claims, proof, life) = good_for(seconds);
        Verdict::new(mark, tag, claims, proof, life)
    }

    pub(in crate::validator) fn good_for(seconds: u64) -> (Claims, Proven, Life) {
        let claims = Claims::for_tests(r#"{"iss":"i","exp":1}"#);
        let judged_at = Timestamp::from_secs(1_000);
        let ends_at = judged_at.saturating_add(Duration::from_secs(seconds));
        let forget_at = Monotonic::default().saturating_add(defaults::MEMO_LIFE);
        let proof = Proven { place: 0, thumbprint: Thumbprint::secret(b"a key"), epoch: 1 };
        (claims, proof, Life { judged_at, ends_at, forget_at })
    }

    #[test]
    fn a_verdict_counts_from_its_moment_until_the_first_date_fails_or_it_is_too_old() {
        let good = verdict(Mark::for_tests(1), TokenTag::for_tests(1), 60);
        let at = Timestamp::from_secs;
        let after = |age| Monotonic::default().saturating_add(age);
        let young = after(defaults::MEMO_LIFE - Duration::from_nanos(1));
        assert!(good.is_timely(at(1_000), young) && good.is_timely(at(1_059), young));
        assert!(!good.is_timely(at(999), young), "the wall clock was set back");
        assert!(!good.is_timely(at(1_060), young), "a date fails");
        assert!(!good.is_timely(at(1_059), after(defaults::MEMO_LIFE)), "it is too old");
        let long = verdict(Mark::for_tests(1), TokenTag::for_tests(1), 3_600);
        assert!(long.is_timely(at(1_299), young));
        assert!(!long.is_timely(at(1_300), young), "it is too old by the wall clock");
    }

    /// The requests of one token may hold snapshots of different epochs, in any order.
    #[test]
    fn looks_the_key_up_unless_the_epoch_is_the_one_in_which_it_was_seen_last() {
        let keys = KeySet::from_jwks(TestIssuer::new().jwks()).expect("a key set");
        let with_key = keys.bind(&[Algorithm::RS256], KeyOrigin::Remote);
        let without = KeyTable::of_secrets(Vec::new());
        let Found::Keys(mut found) = with_key.find(None, Algorithm::RS256) else { panic!("one key") };
        let thumbprint = *found.next().expect("one key").thumbprint();
        let (claims, proof, life) = good_for(60);
        let proof = Proven { thumbprint, epoch: 1, ..proof };
        let good = Verdict::new(Mark::for_tests(1), TokenTag::for_tests(1), claims, proof, life);
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
        let lasts = |seconds| verdict(Mark::for_tests(1), TokenTag::for_tests(1), seconds).lasts();
        assert_eq!((lasts(60), lasts(3_600)), (Duration::from_secs(60), defaults::MEMO_LIFE));
    }

    #[test]
    fn claims_of_the_applications_own_weigh_as_much_as_they_can_be_told() {
        let (claims, proof, life) = good_for(60);
        let (mark, tag, json) = (Mark::for_tests(1), TokenTag::for_tests(1), claims.json().len());
        let plain = Verdict::new(mark, tag, claims.clone(), proof, life).weight();
        let custom = Verdict::new(mark, tag, claims.with_custom(Arc::new(String::new())), proof, life).weight();
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
            let good = |number| verdict(Mark::for_tests(number), TokenTag::for_tests(number), 60);
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
