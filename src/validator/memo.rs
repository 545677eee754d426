//! Verdicts that are remembered: a token that was verified a moment ago needs no second signature check.
//!
//! A remembered verdict can only admit. Whatever casts doubt on it (a date, a key that has gone, another host) sends the
//! token down the whole pipeline again, so that every refusal is the same with and without memo.

use std::any::TypeId;
use std::cell::Cell;
use std::fmt;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use moka::Expiry;
use moka::sync::Cache;

use crate::claims::{Claims, NoCustomClaims};
use crate::clock::{Monotonic, Timestamp};
use crate::defaults;
use crate::keys::{Found, KeyTable, Tagger, Thumbprint, TokenTag};
use crate::telemetry;
use crate::validator::recent::Recent;

/// The tokens that one validator has verified lately, bounded by bytes; clones share it.
///
/// # Security
///
/// It holds tags and claims, never a token (see [`Tagger`]). Only full successes get in, only under algorithms with public
/// keys: a shared secret is checked faster than it is remembered. Its eviction is by use and by time of the machine's
/// clock, and is housekeeping; whether a verdict still counts is asked of the validator's own clock and keys at every hit.
pub(super) struct Memo<C> {
    tagger: Arc<Tagger>,
    /// All of them, with what bounds them: their weight, their age, how much they are used.
    verdicts: Cache<TokenTag, Arc<Kept<C>>>,
    /// Some of them, found without any of that.
    recent: Arc<Recent<C>>,
}

/// A verdict that was found.
pub(super) enum Remembered<C> {
    Recently(Guard<Option<Arc<Verdict<C>>>>),
    Kept(Arc<Kept<C>>),
}

/// A verdict in the map.
///
/// Once the map and whoever found it there have let go of it, it is released from the table, too; so that it cannot stay
/// there however the two meet. A listener of the map's would tell of it as well, but have it take a lock for each key.
pub(super) struct Kept<C> {
    verdict: Arc<Verdict<C>>,
    recent: Arc<Recent<C>>,
}

/// That a token was good, and what that hangs on.
pub(super) struct Verdict<C> {
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

/// What a verdict hangs on.
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

impl<C: Send + Sync + 'static> Memo<C> {
    /// Remembers as many verdicts as fit; `None` if that is none.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let tagger = Arc::new(Tagger::new()?);
        let share = bytes.checked_div(defaults::MEMO_RECENT_SHARE)?;
        let recent = Arc::new(Recent::within(share.min(defaults::MAX_MEMO_RECENT_BYTES)));
        let verdicts = Cache::builder()
            .max_capacity(u64::try_from(bytes.saturating_sub(recent.footprint())).ok()?)
            .weigher(|_, kept: &Arc<Kept<C>>| kept.verdict.weight)
            .expire_after(Housekeeping);
        (bytes > 0).then(|| Self { tagger, verdicts: verdicts.build(), recent })
    }

    /// The name under which a token is remembered.
    pub(super) fn tag(&self, token: &[u8]) -> Option<TokenTag> {
        self.tagger.tag(token)
    }

    /// What is remembered of a token; it counts only after [`Verdict::is_timely`] and [`Verdict::is_proven_by`].
    pub(super) fn find(&self, tag: TokenTag) -> Option<Remembered<C>> {
        if let Some(verdict) = self.recent.find(tag) {
            if is_noted() && self.verdicts.get(&tag).is_none() {
                // The map lets go of what is over, but only when it comes to it.
                self.recent.release(tag);
            }
            return Some(Remembered::Recently(verdict));
        }
        let kept = self.verdicts.get(&tag)?;
        self.recent.keep(Arc::clone(&kept.verdict));
        Some(Remembered::Kept(kept))
    }

    pub(super) fn remember(&self, verdict: Verdict<C>) {
        let kept = Kept { verdict: Arc::new(verdict), recent: Arc::clone(&self.recent) };
        self.verdicts.insert(kept.verdict.tag, Arc::new(kept));
    }

    /// Lets go of a verdict that can never count again.
    pub(super) fn forget(&self, tag: TokenTag) {
        if let Some(kept) = self.verdicts.remove(&tag) {
            kept.verdict.dismissed.store(true, Ordering::Relaxed);
        }
        // Now, and not when the map frees it.
        self.recent.release(tag);
    }
}

impl<C> Remembered<C> {
    pub(super) fn verdict(&self) -> Option<&Verdict<C>> {
        match self {
            Self::Recently(verdict) => verdict.as_deref(),
            Self::Kept(kept) => Some(&kept.verdict),
        }
    }
}

impl<C> Verdict<C> {
    /// The name of its token.
    pub(super) fn tag(&self) -> TokenTag {
        self.tag
    }
}

impl<C: 'static> Verdict<C> {
    pub(super) fn new(tag: TokenTag, claims: Claims<C>, proof: Proven, life: Life) -> Self {
        let Proven { place, thumbprint, epoch } = proof;
        // What `C` keeps outside of itself was read from the payload, so it is taken to be about as large.
        let custom = if TypeId::of::<C>() == TypeId::of::<NoCustomClaims>() {
            0
        } else {
            size_of::<C>().saturating_add(claims.json().len())
        };
        let weight = claims.footprint().saturating_add(custom).saturating_add(size_of::<Self>());
        let weight = u32::try_from(weight.saturating_add(defaults::MEMO_OVERHEAD_BYTES)).unwrap_or(u32::MAX);
        telemetry::token_cache_grew(weight);
        Self {
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
    /// that was set back before the first has the token judged anew.
    pub(super) fn is_timely(&self, now: Timestamp, monotonic: Monotonic) -> bool {
        self.life.judged_at <= now && now < self.life.ends_at && monotonic < self.life.forget_at
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

impl<C> Drop for Kept<C> {
    fn drop(&mut self) {
        self.recent.release(self.verdict.tag);
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

impl<C> Clone for Memo<C> {
    fn clone(&self) -> Self {
        let (tagger, recent) = (Arc::clone(&self.tagger), Arc::clone(&self.recent));
        Self { tagger, verdicts: self.verdicts.clone(), recent }
    }
}

impl<C> fmt::Debug for Memo<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("entries", &self.verdicts.entry_count()).finish_non_exhaustive()
    }
}

/// Says whether the map is to note this use: one of some dozens, counted by thread.
fn is_noted() -> bool {
    thread_local!(static USES: Cell<u32> = const { Cell::new(0) });
    USES.with(|uses| {
        uses.set(uses.get().wrapping_add(1));
        uses.get().is_multiple_of(defaults::MEMO_NOTED_USE)
    })
}

/// Frees what no request asks for any more.
struct Housekeeping;

impl<C> Expiry<TokenTag, Arc<Kept<C>>> for Housekeeping {
    fn expire_after_create(&self, _: &TokenTag, kept: &Arc<Kept<C>>, _: Instant) -> Option<Duration> {
        let Life { judged_at, ends_at, .. } = kept.verdict.life;
        Some(ends_at.saturating_since(judged_at).min(defaults::MEMO_LIFE))
    }

    fn expire_after_update(
        &self,
        tag: &TokenTag,
        kept: &Arc<Kept<C>>,
        updated_at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(tag, kept, updated_at)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::thread;

    use super::*;

    /// A verdict that counts for so many seconds.
    pub(in crate::validator) fn verdict(tag: TokenTag, seconds: u64) -> Verdict<NoCustomClaims> {
        let claims = Claims::for_tests(r#"{"iss":"i","exp":1}"#);
        let judged_at = Timestamp::from_secs(1_000);
        let ends_at = judged_at.saturating_add(Duration::from_secs(seconds));
        let forget_at = Monotonic::default().saturating_add(defaults::MEMO_LIFE);
        let proven = Proven { place: 0, thumbprint: Thumbprint::secret(b"a key"), epoch: 1 };
        Verdict::new(tag, claims, proven, Life { judged_at, ends_at, forget_at })
    }

    fn memo() -> Memo<NoCustomClaims> {
        Memo::new(defaults::MEMO_BYTES).expect("entropy")
    }

    fn tag(memo: &Memo<NoCustomClaims>, number: usize) -> TokenTag {
        memo.tag(format!("token {number}").as_bytes()).expect("short enough")
    }

    fn is_recent(memo: &Memo<NoCustomClaims>, tag: TokenTag) -> bool {
        memo.recent.find(tag).is_some()
    }

    #[test]
    fn what_is_over_is_not_found_and_what_is_let_go_is_freed_at_the_next_maintenance() {
        let memo = memo();
        memo.remember(verdict(tag(&memo, 1), 0));
        memo.remember(verdict(tag(&memo, 2), 60));
        assert!(memo.find(tag(&memo, 1)).is_none() && memo.find(tag(&memo, 2)).is_some());
        for number in [1, 2] {
            memo.forget(tag(&memo, number));
        }
        memo.verdicts.run_pending_tasks();
        assert_eq!((memo.verdicts.entry_count(), memo.verdicts.weighted_size()), (0, 0));
    }

    #[test]
    fn what_was_found_once_is_found_without_the_map_until_the_map_lets_it_go() {
        let memo = memo();
        let (one, other) = (tag(&memo, 1), tag(&memo, 2));
        for tag in [one, other] {
            memo.remember(verdict(tag, 60));
            assert!(!is_recent(&memo, tag));
            assert!(matches!(memo.find(tag), Some(Remembered::Kept(_))));
            assert!(matches!(memo.find(tag), Some(Remembered::Recently(found)) if is_of(found.as_deref(), tag)));
        }
        memo.forget(one);
        assert!(memo.find(one).is_none() && !is_recent(&memo, one));
        assert!(memo.find(other).is_some());
    }

    /// The map frees what has left it some time later, when no thread can be looking at it any more.
    fn in_the_end(memo: &Memo<NoCustomClaims>, what: &str, holds: impl Fn() -> bool) {
        let other = tag(memo, usize::MAX);
        for _ in 0..100_000 {
            if holds() {
                return;
            }
            memo.remember(verdict(other, 60));
            memo.forget(other);
            memo.verdicts.run_pending_tasks();
            thread::yield_now();
        }
        panic!("never: {what}");
    }

    fn is_of(found: Option<&Verdict<NoCustomClaims>>, tag: TokenTag) -> bool {
        found.is_some_and(|verdict| verdict.tag() == tag)
    }

    #[test]
    fn what_left_the_map_on_the_way_does_not_stay() {
        let memo = memo();
        let tag = tag(&memo, 1);
        for leaves in [false, true] {
            memo.remember(verdict(tag, 60));
            let kept = memo.verdicts.get(&tag).expect("it was just remembered");
            if leaves {
                memo.forget(tag);
                in_the_end(&memo, "only this thread has it", || Arc::strong_count(&kept) == 1);
            }
            memo.recent.keep(Arc::clone(&kept.verdict));
            assert!(is_recent(&memo, tag));
            drop(kept);
            assert_eq!(is_recent(&memo, tag), !leaves);
        }
    }

    #[test]
    fn what_the_map_does_not_have_is_let_go_of_by_whoever_finds_it() {
        let memo = memo();
        let tag = tag(&memo, 1);
        memo.recent.keep(Arc::new(verdict(tag, 60)));
        assert!(is_recent(&memo, tag));
        memo.forget(tag);
        assert!(!is_recent(&memo, tag));
        memo.recent.keep(Arc::new(verdict(tag, 60)));
        assert!((0..10_000).any(|_| memo.find(tag).is_none()));
    }

    #[test]
    fn the_map_is_told_of_one_use_in_so_many() {
        let memo = memo();
        memo.remember(verdict(tag(&memo, 1), 60));
        assert!(memo.find(tag(&memo, 1)).is_some());
        memo.verdicts.invalidate_all();
        // Found until the map does its housekeeping, which the uses that it notes make it do.
        let uses = (0..1_000_000).take_while(|_| memo.find(tag(&memo, 1)).is_some()).count();
        assert!((1..1_000_000).contains(&uses), "{uses}");
    }

    #[test]
    fn the_weight_is_bounded() {
        let weight = u64::from(verdict(tag(&memo(), 0), 60).weight);
        let memo = Memo::new(usize::try_from(weight * 10).expect("small")).expect("entropy");
        for number in 0..1_000 {
            memo.remember(verdict(tag(&memo, number), 60));
            memo.find(tag(&memo, number));
        }
        memo.verdicts.run_pending_tasks();
        assert!((1..=10).contains(&memo.verdicts.entry_count()), "{}", memo.verdicts.entry_count());
        let recent = u64::try_from(memo.recent.footprint()).expect("small");
        assert!(memo.verdicts.weighted_size() + recent <= weight * 10);
        for number in 0..1_000 {
            let tag = tag(&memo, number);
            in_the_end(&memo, "what has left the map leaves the table", || {
                memo.verdicts.contains_key(&tag) || !is_recent(&memo, tag)
            });
        }
    }

    #[test]
    fn what_threads_find_and_forget_at_once_leaves_nothing_behind() {
        let memo = memo();
        thread::scope(|scope| {
            for thread in 0..4 {
                let memo = &memo;
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let tag = tag(memo, (round + thread) % 5);
                        match round % 7 {
                            0 | 1 => memo.remember(verdict(tag, 60)),
                            2 => memo.forget(tag),
                            _ => assert!(memo.find(tag).is_none_or(|found| is_of(found.verdict(), tag))),
                        }
                    }
                });
            }
        });
        memo.verdicts.run_pending_tasks();
        for number in 0..5 {
            let tag = tag(&memo, number);
            memo.forget(tag);
            in_the_end(&memo, "what has left the map leaves the table", || !is_recent(&memo, tag));
        }
    }

    #[test]
    fn nothing_fits_into_no_memory() {
        assert!(Memo::<NoCustomClaims>::new(0).is_none());
    }

    #[test]
    fn the_greatest_bound_takes_no_memory_ahead() {
        let memo = Memo::<NoCustomClaims>::new(usize::MAX).expect("entropy");
        assert_eq!(memo.recent.footprint(), defaults::MAX_MEMO_RECENT_BYTES);
        memo.remember(verdict(tag(&memo, 1), 60));
        assert!(memo.find(tag(&memo, 1)).is_some() && memo.find(tag(&memo, 2)).is_none());
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
        let memo = memo();
        metrics::with_local_recorder(&recorder, || {
            let (one, two) = (verdict(tag(&memo, 1), 60), verdict(tag(&memo, 2), 60));
            let weight = one.weight;
            says(2, 2 * weight);
            drop(two);
            says(1, weight);
            drop(one);
            says(0, 0);
        });
    }
}
