//! Verdicts that are remembered: a token that was verified a moment ago needs no second signature check.
//!
//! A remembered verdict can only admit. Whatever casts doubt on it (a date, a key that has gone, another host) sends the
//! token down the whole pipeline again, so that every refusal is the same with and without memo.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use moka::Expiry;
use moka::sync::Cache;

use crate::claims::Claims;
use crate::defaults;
use crate::keys::{Tagger, TokenTag};
use crate::validator::mark::Mark;
use crate::validator::recent::Recent;
use crate::validator::verdict::{Life, Proven, Verdict};

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
pub(super) struct Remembered<'m, C> {
    memo: &'m Memo<C>,
    found: Place<C>,
}

/// Where it was found.
enum Place<C> {
    Recent(Guard<Option<Arc<Verdict<C>>>>),
    Map(Arc<Kept<C>>),
}

/// A token that is looked for in a memo; what it takes is made when it is needed.
pub(super) struct Search<'m, 't, C> {
    memo: &'m Memo<C>,
    token: &'t [u8],
    mark: Mark,
    tag: OnceCell<Option<TokenTag>>,
}

/// A verdict in the map.
///
/// Once the map and whoever found it there have let go of it, it is released from the table, too; so that it cannot stay
/// there however the two meet. A listener of the map's would tell of it as well, but have it take a lock for each key.
pub(super) struct Kept<C> {
    verdict: Arc<Verdict<C>>,
    recent: Arc<Recent<C>>,
}

impl<C: Send + Sync + 'static> Memo<C> {
    /// Remembers as many verdicts as fit; `None` if that is none.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let tagger = Arc::new(Tagger::new()?);
        let share = bytes.checked_div(defaults::MEMO_RECENT_SHARE)?;
        let recent = Arc::new(Recent::within(share.min(defaults::MAX_MEMO_RECENT_BYTES)));
        let verdicts = Cache::builder()
            .max_capacity(u64::try_from(bytes.saturating_sub(recent.footprint())).ok()?)
            .weigher(|_, kept: &Arc<Kept<C>>| kept.verdict.weight())
            .expire_after(Housekeeping);
        (bytes > 0).then(|| Self { tagger, verdicts: verdicts.build(), recent })
    }

    /// Starts to look for a token.
    pub(super) fn search<'m, 't>(&'m self, token: &'t [u8]) -> Search<'m, 't, C> {
        Search { memo: self, token, mark: self.recent.mark(token), tag: OnceCell::new() }
    }
}

/// What is found counts only after [`Verdict::is_timely`] and [`Verdict::is_proven_by`].
impl<'m, C: Send + Sync + 'static> Search<'m, '_, C> {
    /// Finds the verdict if it was used lately.
    pub(super) fn recently(&self) -> Option<Remembered<'m, C>> {
        let Memo { verdicts, recent, .. } = self.memo;
        let found = recent.find(self.mark, || self.tag())?;
        if is_noted() && self.tag().is_some_and(|tag| verdicts.get(&tag).is_none()) {
            // The map lets go of what is over, but only when it comes to it.
            found.iter().for_each(|verdict| recent.release(verdict.mark(), verdict.tag()));
        }
        Some(Remembered { memo: self.memo, found: Place::Recent(found) })
    }

    /// Finds the verdict in the map.
    pub(super) fn kept(&self) -> Option<Remembered<'m, C>> {
        let kept = self.memo.verdicts.get(&self.tag()?)?;
        self.memo.recent.keep(Arc::clone(&kept.verdict));
        Some(Remembered { memo: self.memo, found: Place::Map(kept) })
    }

    /// Remembers that the token was good, unless the result would expire at once.
    pub(super) fn remember(&self, claims: Claims<C>, proof: Proven, life: Life) {
        if life.lasts().is_zero() {
            return;
        }
        let Some(tag) = self.tag() else { return };
        let verdict = Arc::new(Verdict::new(self.mark, tag, claims, proof, life));
        self.memo.verdicts.insert(tag, Arc::new(Kept { verdict, recent: Arc::clone(&self.memo.recent) }));
    }

    fn tag(&self) -> Option<TokenTag> {
        *self.tag.get_or_init(|| self.memo.tagger.tag(self.token))
    }
}

impl<C: Send + Sync + 'static> Remembered<'_, C> {
    pub(super) fn verdict(&self) -> Option<&Verdict<C>> {
        match &self.found {
            Place::Recent(verdict) => verdict.as_deref(),
            Place::Map(kept) => Some(&kept.verdict),
        }
    }

    /// Lets go of a verdict that counts no more, and of any other of its token.
    pub(super) fn forget(&self) {
        let Some(verdict) = self.verdict() else { return };
        if let Some(kept) = self.memo.verdicts.remove(&verdict.tag()) {
            kept.verdict.dismiss();
        }
        // Now, and not when the map frees it.
        self.memo.recent.release(verdict.mark(), verdict.tag());
    }
}

impl<C> Drop for Kept<C> {
    fn drop(&mut self) {
        self.recent.release(self.verdict.mark(), self.verdict.tag());
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
        Some(kept.verdict.lasts())
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
mod tests {
    use std::thread;

    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::validator::verdict::tests::{good_for, verdict};

    fn memo() -> Memo<NoCustomClaims> {
        Memo::new(defaults::MEMO_BYTES).expect("entropy")
    }

    /// One of any number of tokens, in a memo.
    #[derive(Clone, Copy)]
    struct Token<'m> {
        memo: &'m Memo<NoCustomClaims>,
        number: usize,
    }

    impl<'m> Token<'m> {
        fn with<T>(self, look: impl FnOnce(Search<'m, '_, NoCustomClaims>) -> T) -> T {
            look(self.memo.search(format!("token {:16}", self.number).as_bytes()))
        }

        fn tag(self) -> TokenTag {
            self.with(|search| search.tag().expect("short enough"))
        }

        fn remember(self, seconds: u64) {
            let (claims, proof, life) = good_for(seconds);
            self.with(|search| search.remember(claims, proof, life));
        }

        fn recently(self) -> Option<Remembered<'m, NoCustomClaims>> {
            self.with(|search| search.recently())
        }

        fn kept(self) -> Option<Remembered<'m, NoCustomClaims>> {
            self.with(|search| search.kept())
        }

        /// As a request does.
        fn find(self) -> Option<Remembered<'m, NoCustomClaims>> {
            let found = self.recently().or_else(|| self.kept());
            assert!(found.iter().all(|found| found.verdict().is_none_or(|verdict| verdict.tag() == self.tag())));
            found
        }

        fn forget(self) {
            self.find().iter().for_each(Remembered::forget);
        }

        /// Puts it into the table, past the map.
        fn keep(self) {
            let verdict = self.with(|search| verdict(search.mark, self.tag(), 60));
            self.memo.recent.keep(Arc::new(verdict));
        }

        /// Without telling the map.
        fn is_recent(self) -> bool {
            self.with(|search| self.memo.recent.find(search.mark, || Some(self.tag())).is_some())
        }

        fn is_in_map(self) -> bool {
            self.memo.verdicts.contains_key(&self.tag())
        }
    }

    fn token(memo: &Memo<NoCustomClaims>, number: usize) -> Token<'_> {
        Token { memo, number }
    }

    #[test]
    fn what_is_over_is_not_found_and_what_is_let_go_is_freed_at_the_next_maintenance() {
        let (one, memo) = (memo(), memo());
        let (over, good) = (token(&one, 1), token(&memo, 1));
        over.remember(0);
        good.remember(60);
        assert!(over.find().is_none() && good.find().is_some());
        good.forget();
        memo.verdicts.run_pending_tasks();
        assert_eq!((memo.verdicts.entry_count(), memo.verdicts.weighted_size()), (0, 0));
    }

    #[test]
    fn inserts_no_result_whose_life_is_over() {
        let memo = memo();
        for (seconds, is_inserted) in [(0, false), (1, true)] {
            let search = memo.search(b"a token");
            let (claims, proof, life) = good_for(seconds);
            search.remember(claims, proof, life);
            // The tag is the first step of an insertion.
            assert_eq!(search.tag.get().is_some(), is_inserted, "{seconds} s");
        }
    }

    #[test]
    fn what_was_found_once_is_found_without_the_map_until_the_map_lets_it_go() {
        let memo = memo();
        let (one, other) = (token(&memo, 1), token(&memo, 2));
        for token in [one, other] {
            token.remember(60);
            assert!(token.recently().is_none() && token.kept().is_some() && token.recently().is_some());
        }
        one.forget();
        assert!(one.find().is_none() && !one.is_recent());
        assert!(other.find().is_some());
    }

    /// The map frees what has left it some time later, when no thread can be looking at it any more.
    fn in_the_end(memo: &Memo<NoCustomClaims>, what: &str, holds: impl Fn() -> bool) {
        let other = token(memo, usize::MAX);
        for _ in 0..100_000 {
            if holds() {
                return;
            }
            other.remember(60);
            other.forget();
            memo.verdicts.run_pending_tasks();
            thread::yield_now();
        }
        panic!("never: {what}");
    }

    #[test]
    fn what_left_the_map_on_the_way_does_not_stay() {
        let memo = memo();
        let token = token(&memo, 1);
        for leaves in [false, true] {
            token.remember(60);
            let kept = memo.verdicts.get(&token.tag()).expect("it was just remembered");
            if leaves {
                token.forget();
                in_the_end(&memo, "only this thread has it", || Arc::strong_count(&kept) == 1);
            }
            memo.recent.keep(Arc::clone(&kept.verdict));
            assert!(token.is_recent());
            drop(kept);
            assert_eq!(token.is_recent(), !leaves);
        }
    }

    #[test]
    fn what_the_map_does_not_have_is_let_go_of_by_whoever_finds_it() {
        let memo = memo();
        let token = token(&memo, 1);
        token.keep();
        assert!(token.is_recent());
        token.forget();
        assert!(!token.is_recent());
        token.keep();
        assert!((0..10_000).any(|_| token.recently().is_none()));
    }

    #[test]
    fn the_map_is_told_of_one_use_in_so_many() {
        let memo = memo();
        let token = token(&memo, 1);
        token.remember(60);
        assert!(token.find().is_some());
        memo.verdicts.invalidate_all();
        // Found until the map does its housekeeping, which the uses that it notes make it do.
        let uses = (0..1_000_000).take_while(|_| token.find().is_some()).count();
        assert!((1..1_000_000).contains(&uses), "{uses}");
        // That was a use that it notes; the next one is as many uses away.
        token.keep();
        let uses = (0..1_000_000).take_while(|_| token.recently().is_some()).count();
        assert_eq!(u32::try_from(uses), Ok(defaults::MEMO_NOTED_USE));
    }

    #[test]
    fn each_token_has_a_mark_of_its_own() {
        let memo = memo();
        let mark = |number| token(&memo, number).with(|search| search.mark);
        assert_eq!(mark(1), mark(1));
        assert_ne!(mark(1), mark(2));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn what_counts_no_more_is_not_said_to_have_made_room() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let evicted = || recorder.handle().render().matches(r#"outcome="evicted"} 1"#).count();
        metrics::with_local_recorder(&recorder, || {
            for (is_forgotten, expected) in [(true, 0), (false, 1)] {
                let memo = memo();
                let token = token(&memo, 1);
                token.remember(60);
                // Whoever has it last tells of its end, which is to be this thread.
                let verdict = memo.verdicts.get(&token.tag()).map(|kept| Arc::clone(&kept.verdict));
                let verdict = verdict.expect("it was just remembered");
                if is_forgotten {
                    token.forget();
                } else {
                    memo.verdicts.invalidate(&token.tag());
                }
                in_the_end(&memo, "only this thread has it", || Arc::strong_count(&verdict) == 1);
                drop(verdict);
                assert_eq!(evicted(), expected);
            }
        });
    }

    #[test]
    fn the_weight_is_bounded() {
        let any = memo();
        let weight = token(&any, 0).with(|search| verdict(search.mark, token(&any, 0).tag(), 60).weight());
        let weight = u64::from(weight);
        let memo = Memo::new(usize::try_from(weight * 10).expect("small")).expect("entropy");
        for number in 0..1_000 {
            token(&memo, number).remember(60);
            token(&memo, number).find();
        }
        memo.verdicts.run_pending_tasks();
        assert!((1..=10).contains(&memo.verdicts.entry_count()), "{}", memo.verdicts.entry_count());
        let recent = u64::try_from(memo.recent.footprint()).expect("small");
        assert!(memo.verdicts.weighted_size() + recent <= weight * 10);
        for number in 0..1_000 {
            let token = token(&memo, number);
            in_the_end(&memo, "what has left the map leaves the table", || token.is_in_map() || !token.is_recent());
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
                        let token = token(memo, (round + thread) % 5);
                        match round % 7 {
                            0 | 1 => token.remember(60),
                            2 => token.forget(),
                            _ => drop(token.find()),
                        }
                    }
                });
            }
        });
        memo.verdicts.run_pending_tasks();
        for number in 0..5 {
            let token = token(&memo, number);
            token.forget();
            in_the_end(&memo, "what has left the map leaves the table", || !token.is_recent());
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
        token(&memo, 1).remember(60);
        assert!(token(&memo, 1).find().is_some() && token(&memo, 2).find().is_none());
    }
}
