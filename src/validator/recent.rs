//! Verdicts that were used lately, where a request finds them without a write that others would have to wait for.
//!
//! The map that bounds the memo notes every use, and all threads write to the same notes: two threads together got no
//! further with it than one alone. So it is asked only for what is not here, and now and then for what is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use crate::keys::TokenTag;
use crate::validator::memo::Verdict;

/// A bounded number of verdicts, by tag; which one has to make room for another is left to chance.
///
/// # Security
///
/// It holds nothing of a token of which the map holds nothing: whatever leaves the map is released here, too. A verdict that
/// is found here is judged as one from the map.
pub(super) struct Recent<C> {
    sets: Box<[Set<C>]>,
}

/// The places where a tag can be: one cache line.
struct Set<C> {
    /// A part of the tag at each place, so that looking there is worth it. Written after the place, so it may be wrong for
    /// a moment; nothing depends on it.
    marks: [AtomicU64; WAYS],
    places: [ArcSwapOption<Verdict<C>>; WAYS],
}

impl<C> Recent<C> {
    /// Takes as many octets as may be, at least those of one set.
    pub(super) fn within(bytes: usize) -> Self {
        let sets = bytes.checked_div(size_of::<Set<C>>()).unwrap_or_default().max(1);
        Self { sets: (0..sets).map(|_| Set::default()).collect() }
    }

    /// The octets that it takes itself.
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.sets)
    }

    pub(super) fn find(&self, tag: TokenTag) -> Option<Guard<Option<Arc<Verdict<C>>>>> {
        let set = self.set(tag)?;
        let marked = set.marks.iter().zip(&set.places).filter(|(mark, _)| mark.load(Ordering::Relaxed) == tag.mark());
        marked.map(|(_, place)| place.load()).find(|found| is_of(found, tag))
    }

    /// Takes in a verdict, in place of another if there is no room.
    pub(super) fn keep(&self, verdict: Arc<Verdict<C>>) {
        let tag = verdict.tag();
        let Some(set) = self.set(tag) else { return };
        let own = set.places.iter().position(|place| is_of(&place.load(), tag));
        let free = || set.places.iter().position(|place| place.load().is_none());
        let any = || usize::try_from(tag.mark()).unwrap_or_default() % WAYS;
        let at = own.or_else(free).unwrap_or_else(any);
        if let (Some(mark), Some(place)) = (set.marks.get(at), set.places.get(at)) {
            place.store(Some(verdict));
            mark.store(tag.mark(), Ordering::Relaxed);
        }
    }

    /// Lets go of a token's verdict.
    pub(super) fn release(&self, tag: TokenTag) {
        let places = self.set(tag).into_iter().flat_map(|set| &set.places);
        for place in places {
            let found = place.load();
            if is_of(&found, tag) {
                // Another verdict that has come there in the meantime stays.
                place.compare_and_swap(&found, None);
            }
        }
    }

    fn set(&self, tag: TokenTag) -> Option<&Set<C>> {
        let place = tag.place().checked_rem(u64::try_from(self.sets.len()).ok()?)?;
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

/// Eight octets for each mark and each place: 64 octets.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::validator::memo::tests::verdict;

    fn finds(recent: &Recent<NoCustomClaims>, tag: TokenTag) -> bool {
        recent.find(tag).is_some_and(|found| is_of(&found, tag))
    }

    #[test]
    fn a_verdict_is_found_and_released_by_its_whole_tag() {
        let recent = Recent::within(0);
        let (one, other) = (TokenTag::for_tests(1, 7), TokenTag::for_tests(2, 7));
        recent.keep(Arc::new(verdict(one, 60)));
        assert!(recent.find(other).is_none(), "of another token, in the same set and with the same mark");
        recent.release(other);
        assert!(finds(&recent, one));
        recent.keep(Arc::new(verdict(other, 60)));
        assert!(finds(&recent, one) && finds(&recent, other));
        recent.release(one);
        assert!(recent.find(one).is_none() && finds(&recent, other));
    }

    #[test]
    fn there_is_room_for_a_set_and_each_token_takes_one_place() {
        let recent = Recent::within(0);
        let taken = || recent.sets[0].places.iter().filter(|place| place.load().is_some()).count();
        for number in 0..100 {
            let tag = TokenTag::for_tests(number, number);
            for _ in 0..2 {
                recent.keep(Arc::new(verdict(tag, 60)));
            }
            assert!(finds(&recent, tag));
            assert_eq!(taken(), WAYS.min(usize::try_from(number + 1).expect("small")));
        }
    }

    #[test]
    fn a_set_is_one_cache_line_and_there_is_always_one() {
        assert_eq!(size_of::<Set<()>>(), 64);
        assert_eq!(Recent::<()>::within(0).footprint(), 64);
        assert_eq!(Recent::<()>::within(128 * 1024).footprint(), 128 * 1024);
    }
}
