//! Verdicts that were used lately, where a request finds them without a write that others would have to wait for.
//!
//! The map that bounds the memo notes every use, and all threads write to the same notes: two threads together got no
//! further with it than one alone. So it is asked only for what is not here, and now and then for what is.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use crate::keys::TokenTag;
use crate::validator::verdict::Verdict;

/// A bounded number of verdicts, by mark and tag; which one has to make room for another is left to chance.
///
/// # Security
///
/// It holds nothing of a token of which the map holds nothing: whatever leaves the map is released here, too. A verdict that
/// is found here is judged as one from the map.
pub(super) struct Recent<C> {
    sets: Box<[Set<C>]>,
    /// What makes of a token's end a mark that nobody outside can choose.
    secrets: [u64; 2],
}

/// What a token is looked for by before its tag is made, which takes longer than all else that a hit needs: a keyed hash
/// of its last sixteen octets, which are the signature's and differ from token to token.
///
/// # Security
///
/// Tokens may share it, and nothing rests on it. All sixteen octets have to be right for it to be found, so the time that a
/// tag takes tells nobody of a signature bit by bit. Whoever can watch the caches of this processor may learn which texts
/// lead to one line, and from many of them the secrets: that makes texts which share a mark, each of which costs a tag, or
/// takes a place in the table from verdicts that are then found in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u64);

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
        Self {
            sets: (0..sets).map(|_| Set::default()).collect(),
            secrets: [0, 1].map(|number| RandomState::new().hash_one(number)),
        }
    }

    /// The octets that it takes itself.
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.sets)
    }

    pub(super) fn mark(&self, token: &[u8]) -> Mark {
        Mark::of(token, self.secrets)
    }

    /// Finds a token's verdict; its tag is made only where a verdict has its mark.
    pub(super) fn find(
        &self,
        mark: Mark,
        tag: impl FnOnce() -> Option<TokenTag>,
    ) -> Option<Guard<Option<Arc<Verdict<C>>>>> {
        let set = self.set(mark)?;
        let is_marked = |place: &AtomicU64| place.load(Ordering::Relaxed) == mark.0;
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
        let any = || usize::try_from(mark.0 >> 32).unwrap_or_default() % WAYS;
        let at = own.or_else(free).unwrap_or_else(any);
        if let (Some(marked), Some(place)) = (set.marks.get(at), set.places.get(at)) {
            place.store(Some(verdict));
            marked.store(mark.0, Ordering::Relaxed);
        }
    }

    /// Lets go of a verdict, or of another one of the same token.
    pub(super) fn release(&self, mark: Mark, tag: TokenTag) {
        let places = self.set(mark).into_iter().flat_map(|set| &set.places);
        for place in places {
            let found = place.load();
            if is_of(&found, tag) {
                // Another verdict that has come there in the meantime stays.
                place.compare_and_swap(&found, None);
            }
        }
    }

    fn set(&self, mark: Mark) -> Option<&Set<C>> {
        let place = mark.0.checked_rem(u64::try_from(self.sets.len()).ok()?)?;
        self.sets.get(usize::try_from(place).ok()?)
    }
}

impl Mark {
    fn of(token: &[u8], [one, other]: [u64; 2]) -> Self {
        let (rest, last) = token.split_last_chunk().unwrap_or((token, &[0; 8]));
        let before = rest.last_chunk().unwrap_or(&[0; 8]);
        let (last, before) = (u64::from_le_bytes(*last) ^ one, u64::from_le_bytes(*before) ^ other);
        // Each half of the product depends on every octet.
        let product = u128::from(last).wrapping_mul(u128::from(before));
        let half = |octets: u128| u64::try_from(octets & u128::from(u64::MAX)).unwrap_or_default();
        Self(half(product) ^ half(product >> 64))
    }
}

#[cfg(test)]
impl Mark {
    pub(super) fn for_tests(number: u64) -> Self {
        Self(number)
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
    use crate::validator::verdict::tests::verdict;

    fn finds(recent: &Recent<NoCustomClaims>, mark: u64, tag: TokenTag) -> bool {
        recent.find(Mark(mark), || Some(tag)).is_some_and(|found| is_of(&found, tag))
    }

    fn keep(recent: &Recent<NoCustomClaims>, mark: u64, tag: TokenTag) {
        recent.keep(Arc::new(verdict(Mark(mark), tag, 60)));
    }

    #[test]
    fn a_verdict_is_found_and_released_by_its_whole_tag() {
        let recent = Recent::within(0);
        let (one, other) = (TokenTag::for_tests(1), TokenTag::for_tests(2));
        keep(&recent, 7, one);
        assert!(!finds(&recent, 7, other), "of another token with the same mark");
        recent.release(Mark(7), other);
        assert!(finds(&recent, 7, one));
        keep(&recent, 7, other);
        assert!(finds(&recent, 7, one) && finds(&recent, 7, other));
        recent.release(Mark(7), one);
        assert!(!finds(&recent, 7, one) && finds(&recent, 7, other));
    }

    /// Two threads that keep a verdict at once may take two places for it.
    #[test]
    fn a_token_that_has_come_to_two_places_is_released_from_both() {
        let recent = Recent::within(0);
        let (one, other) = (TokenTag::for_tests(1), TokenTag::for_tests(2));
        let set = &recent.sets[0];
        for (at, tag) in [one, other, one].into_iter().enumerate() {
            set.places[at].store(Some(Arc::new(verdict(Mark(7), tag, 60))));
            set.marks[at].store(7, Ordering::Relaxed);
        }
        recent.release(Mark(7), one);
        assert!(!finds(&recent, 7, one) && finds(&recent, 7, other));
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
            recent.find(Mark(mark), tag).is_some()
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
    fn a_mark_is_made_of_the_last_octets_and_of_a_secret() {
        let (recent, other) = (Recent::<()>::within(0), Recent::<()>::within(0));
        let token = b"header.payload.signature-of-this-token";
        assert_eq!(recent.mark(token), recent.mark(b"x.y.signature-of-this-token"));
        for at in token.len() - 16..token.len() {
            let mut changed = *token;
            changed[at] ^= 1;
            assert_ne!(recent.mark(token), recent.mark(&changed), "{at}");
        }
        assert_ne!(recent.mark(token), other.mark(token));
        assert_eq!(recent.mark(b"short"), recent.mark(b""));
        assert_ne!(recent.mark(b"not short"), recent.mark(b""));
    }

    #[test]
    fn each_of_those_octets_chooses_the_set() {
        let recent = Recent::<()>::within(0);
        let token = b"header.payload.signature-of-this-token";
        for at in token.len() - 16..token.len() {
            let places = (b'0'..=b'z').map(|octet| {
                let mut changed = *token;
                changed[at] = octet;
                recent.mark(&changed).0 % 4_096
            });
            let places: std::collections::HashSet<u64> = places.collect();
            assert!(places.len() > 16, "{at}: {places:?}");
        }
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
