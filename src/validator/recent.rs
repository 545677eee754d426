//! Verdicts that were used lately, where a request finds them without a write that others would have to wait for.
//!
//! The map that bounds the memo notes every use, and all threads write to the same notes: two threads together got no
//! further with it than one alone. So it is asked only for what is not here, and now and then for what is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use crate::keys::TokenTag;
use crate::validator::mark::{Mark, Marker};
use crate::validator::verdict::Verdict;

/// A bounded number of verdicts, by mark and tag; which one has to make room for another is left to chance.
///
/// # Security
///
/// It holds nothing of a token of which the map holds nothing: whatever leaves the map is released here, too. A verdict that
/// is found here is judged as one from the map.
pub(super) struct Recent<C> {
    sets: Box<[Set<C>]>,
    marker: Marker,
}

/// The places where a mark can be: one cache line.
#[repr(align(64))]
struct Set<C> {
    /// The mark at each place, so that looking there is worth it. It is written after the place and not taken back with it,
    /// so it may be wrong until the place is filled again: that costs a tag, or a look into the map.
    marks: [AtomicU64; WAYS],
    places: [ArcSwapOption<Verdict<C>>; WAYS],
}

impl<C> Recent<C> {
    /// Takes as many octets as may be, at least those of one set.
    pub(super) fn within(bytes: usize) -> Self {
        let sets = bytes.checked_div(size_of::<Set<C>>()).unwrap_or_default().max(1);
        Self { sets: (0..sets).map(|_| Set::default()).collect(), marker: Marker::default() }
    }

    /// The octets that it takes itself.
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.sets)
    }

    pub(super) fn mark(&self, token: &[u8]) -> Mark {
        self.marker.mark(token)
    }

    /// Finds a token's verdict; its tag is made only where a verdict has its mark.
    pub(super) fn find(
        &self,
        mark: Mark,
        tag: impl FnOnce() -> Option<TokenTag>,
    ) -> Option<Guard<Option<Arc<Verdict<C>>>>> {
        let set = self.set(mark)?;
        let is_marked = |place: &AtomicU64| place.load(Ordering::Relaxed) == mark.bits();
        if !set.marks.iter().any(is_marked) {
            return None;
        }
        let tag = tag()?;
        let marked = set.marks.iter().zip(&set.places).filter(|(place, _)| is_marked(place));
        marked.map(|(_, place)| place.load()).find(|found| is_of(found, tag))
    }

    /// Takes in a verdict, in place of another if there is no room.
    pub(super) fn keep(&self, verdict: Arc<Verdict<C>>) {
        let (mark, tag) = (verdict.mark(), verdict.tag());
        let Some(set) = self.set(mark) else { return };
        let own = set.places.iter().position(|place| is_of(&place.load(), tag));
        let free = || set.places.iter().position(|place| place.load().is_none());
        let any = || usize::try_from(mark.bits() >> 32).unwrap_or_default() % WAYS;
        let at = own.or_else(free).unwrap_or_else(any);
        if let (Some(marked), Some(place)) = (set.marks.get(at), set.places.get(at)) {
            place.store(Some(verdict));
            marked.store(mark.bits(), Ordering::Relaxed);
        }
    }

    /// Lets go of a verdict, or of another one of the same token.
    pub(super) fn release(&self, mark: Mark, tag: TokenTag) {
        let places = self.set(mark).into_iter().flat_map(|set| &set.places);
        for place in places {
            let found = place.load();
            if is_of(&found, tag) {
                clear(place, &found);
            }
        }
    }

    fn set(&self, mark: Mark) -> Option<&Set<C>> {
        let place = mark.bits().checked_rem(u64::try_from(self.sets.len()).ok()?)?;
        self.sets.get(usize::try_from(place).ok()?)
    }
}

impl<C> Default for Set<C> {
    fn default() -> Self {
        Self { marks: Default::default(), places: Default::default() }
    }
}

fn is_of<C>(found: &Option<Arc<Verdict<C>>>, tag: TokenTag) -> bool {
    found.as_ref().is_some_and(|verdict| verdict.tag() == tag)
}

/// Empties a place that still holds what was found there; a verdict that was stored since then stays.
fn clear<C>(place: &ArcSwapOption<Verdict<C>>, found: &Guard<Option<Arc<Verdict<C>>>>) {
    place.compare_and_swap(found, None);
}

/// Eight octets for each mark and each place: 64 octets.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::validator::verdict::tests::verdict;

    fn finds(recent: &Recent<NoCustomClaims>, mark: u64, tag: TokenTag) -> bool {
        recent.find(Mark::for_tests(mark), || Some(tag)).is_some_and(|found| is_of(&found, tag))
    }

    fn keep(recent: &Recent<NoCustomClaims>, mark: u64, tag: TokenTag) {
        recent.keep(Arc::new(verdict(Mark::for_tests(mark), tag, 60)));
    }

    #[test]
    fn a_verdict_is_found_and_released_by_its_whole_tag() {
        let recent = Recent::within(0);
        let (one, other) = (TokenTag::for_tests(1), TokenTag::for_tests(2));
        keep(&recent, 7, one);
        assert!(!finds(&recent, 7, other), "of another token with the same mark");
        recent.release(Mark::for_tests(7), other);
        assert!(finds(&recent, 7, one));
        keep(&recent, 7, other);
        assert!(finds(&recent, 7, one) && finds(&recent, 7, other));
        recent.release(Mark::for_tests(7), one);
        assert!(!finds(&recent, 7, one) && finds(&recent, 7, other));
    }

    /// Two threads that keep a verdict at once may take two places for it.
    #[test]
    fn a_token_that_has_come_to_two_places_is_released_from_both() {
        let recent = Recent::within(0);
        let (one, other) = (TokenTag::for_tests(1), TokenTag::for_tests(2));
        let set = &recent.sets[0];
        for (at, tag) in [one, other, one].into_iter().enumerate() {
            set.places[at].store(Some(Arc::new(verdict(Mark::for_tests(7), tag, 60))));
            set.marks[at].store(7, Ordering::Relaxed);
        }
        recent.release(Mark::for_tests(7), one);
        assert!(!finds(&recent, 7, one) && finds(&recent, 7, other));
    }

    #[test]
    fn clears_a_place_only_while_it_holds_what_was_found_there() {
        let (one, other) = (TokenTag::for_tests(1), TokenTag::for_tests(2));
        for (stored, expected) in [(None, None), (Some(one), Some(one)), (Some(other), Some(other))] {
            let new = |tag| Some(Arc::new(verdict(Mark::for_tests(7), tag, 60)));
            let place = ArcSwapOption::new(new(one));
            let found = place.load();
            if let Some(tag) = stored {
                place.store(new(tag));
            }
            clear(&place, &found);
            assert_eq!(place.load().as_ref().map(|verdict| verdict.tag()), expected);
        }
    }

    #[test]
    fn a_tag_is_made_only_where_the_mark_is_known() {
        let recent = Recent::<NoCustomClaims>::within(0);
        let made = std::cell::Cell::new(0);
        let find = |mark| {
            let tag = || {
                made.set(made.get() + 1);
                Some(TokenTag::for_tests(1))
            };
            recent.find(Mark::for_tests(mark), tag).is_some()
        };
        assert!(!find(7));
        keep(&recent, 7, TokenTag::for_tests(1));
        keep(&recent, 7, TokenTag::for_tests(2));
        assert!(!find(8));
        assert_eq!(made.get(), 0);
        assert!(find(7));
        assert_eq!(made.get(), 1);
    }

    #[test]
    fn each_set_has_places_of_its_own() {
        let recent = Recent::within(16 * size_of::<Set<NoCustomClaims>>());
        let tokens = 0..16 * u64::try_from(WAYS).expect("small");
        for number in tokens.clone() {
            keep(&recent, number, TokenTag::for_tests(number));
        }
        for number in tokens {
            assert!(finds(&recent, number, TokenTag::for_tests(number)), "{number}");
        }
    }

    #[test]
    fn there_is_room_for_a_set_and_each_token_takes_one_place() {
        let recent = Recent::within(0);
        let taken = || recent.sets[0].places.iter().filter(|place| place.load().is_some()).count();
        for number in 0..100 {
            let tag = TokenTag::for_tests(number);
            for _ in 0..2 {
                keep(&recent, number, tag);
            }
            assert!(finds(&recent, number, tag));
            assert_eq!(taken(), WAYS.min(usize::try_from(number + 1).expect("small")));
        }
    }

    #[test]
    fn a_set_is_one_cache_line_and_there_is_always_one() {
        assert_eq!((size_of::<Set<()>>(), align_of::<Set<()>>()), (64, 64));
        assert_eq!(Recent::<()>::within(0).footprint(), 64);
        assert_eq!(Recent::<()>::within(128 * 1024).footprint(), 128 * 1024);
    }
}
