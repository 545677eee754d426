//! Verdicts that were used lately, where a request finds them without a write that others would have to wait for.
//!
//! The map that bounds the memo notes every use, and all threads write to the same notes: two threads together got no
//! further with it than one alone. So it is asked only for what is not here, and now and then for what is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use crate::keys::TokenFingerprint;
use crate::validator::token_cache::entry::CacheEntry;
use crate::validator::token_cache::slot_tag::{SlotHasher, SlotTag};

/// A bounded number of verdicts, by mark and tag; which one has to make room for another is left to chance.
///
/// # Security
///
/// It holds nothing of a token of which the map holds nothing: whatever leaves the map is released here, too. A verdict that
/// is found here is judged as one from the map.
pub(in crate::validator) struct RecentTable<C> {
    sets: Box<[Set<C>]>,
    slot_hasher: SlotHasher,
}

/// The places where a mark can be: one cache line.
#[repr(align(64))]
struct Set<C> {
    /// The mark at each place, so that looking there is worth it. It is written after the place and not taken back with it,
    /// so it may be wrong until the place is filled again: that costs a tag, or a look into the map.
    marks: [AtomicU64; WAYS],
    places: [ArcSwapOption<CacheEntry<C>>; WAYS],
}

impl<C> RecentTable<C> {
    /// Takes as many octets as may be, at least those of one set.
    pub(in crate::validator) fn within(bytes: usize) -> Self {
        let sets = bytes.checked_div(size_of::<Set<C>>()).unwrap_or_default().max(1);
        Self { sets: (0..sets).map(|_| Set::default()).collect(), slot_hasher: SlotHasher::default() }
    }

    /// The octets that it takes itself.
    pub(in crate::validator) fn footprint(&self) -> usize {
        size_of_val(&*self.sets)
    }

    pub(in crate::validator) fn slot_tag(&self, token: &[u8]) -> SlotTag {
        self.slot_hasher.slot_tag(token)
    }

    /// Finds a token's verdict; its tag is made only where a verdict has its mark.
    pub(in crate::validator) fn find(
        &self,
        slot_tag: SlotTag,
        fingerprint: impl FnOnce() -> Option<TokenFingerprint>,
    ) -> Option<Guard<Option<Arc<CacheEntry<C>>>>> {
        let set = self.set(slot_tag)?;
        let is_marked = |route_index: &AtomicU64| route_index.load(Ordering::Relaxed) == slot_tag.bits();
        if !set.marks.iter().any(is_marked) {
            return None;
        }
        let fingerprint = fingerprint()?;
        let marked = set.marks.iter().zip(&set.places).filter(|(route_index, _)| is_marked(route_index));
        marked.map(|(_, route_index)| route_index.load()).find(|found| is_of(found, fingerprint))
    }

    /// Takes in a verdict, in place of another if there is no room.
    pub(in crate::validator) fn insert(&self, entry: Arc<CacheEntry<C>>) {
        let (slot_tag, fingerprint) = (entry.slot_tag(), entry.fingerprint());
        let Some(set) = self.set(slot_tag) else { return };
        let own = set.places.iter().position(|route_index| is_of(&route_index.load(), fingerprint));
        let free = || set.places.iter().position(|route_index| route_index.load().is_none());
        let any = || usize::try_from(slot_tag.bits() >> 32).unwrap_or_default() % WAYS;
        let at = own.or_else(free).unwrap_or_else(any);
        if let (Some(marked), Some(route_index)) = (set.marks.get(at), set.places.get(at)) {
            route_index.store(Some(entry));
            marked.store(slot_tag.bits(), Ordering::Relaxed);
        }
    }

    /// Lets go of a verdict, or of another one of the same token.
    pub(in crate::validator) fn remove(&self, slot_tag: SlotTag, fingerprint: TokenFingerprint) {
        let places = self.set(slot_tag).into_iter().flat_map(|set| &set.places);
        for route_index in places {
            let found = route_index.load();
            if is_of(&found, fingerprint) {
                clear(route_index, &found);
            }
        }
    }

    fn set(&self, slot_tag: SlotTag) -> Option<&Set<C>> {
        let route_index = slot_tag.bits().checked_rem(u64::try_from(self.sets.len()).ok()?)?;
        self.sets.get(usize::try_from(route_index).ok()?)
    }
}

impl<C> Default for Set<C> {
    fn default() -> Self {
        Self { marks: Default::default(), places: Default::default() }
    }
}

fn is_of<C>(found: &Option<Arc<CacheEntry<C>>>, fingerprint: TokenFingerprint) -> bool {
    found.as_ref().is_some_and(|entry| entry.fingerprint() == fingerprint)
}

/// Empties a place that still holds what was found there; a verdict that was stored since then stays.
fn clear<C>(route_index: &ArcSwapOption<CacheEntry<C>>, found: &Guard<Option<Arc<CacheEntry<C>>>>) {
    route_index.compare_and_swap(found, None);
}

/// Eight octets for each mark and each place: 64 octets.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::validator::token_cache::entry::tests::entry;

    fn finds(table: &RecentTable<NoCustomClaims>, slot_tag: u64, fingerprint: TokenFingerprint) -> bool {
        table.find(SlotTag::for_tests(slot_tag), || Some(fingerprint)).is_some_and(|found| is_of(&found, fingerprint))
    }

    fn insert(table: &RecentTable<NoCustomClaims>, slot_tag: u64, fingerprint: TokenFingerprint) {
        table.insert(Arc::new(entry(SlotTag::for_tests(slot_tag), fingerprint, 60)));
    }

    #[test]
    fn a_verdict_is_found_and_released_by_its_whole_tag() {
        let table = RecentTable::within(0);
        let (one, other) = (TokenFingerprint::for_tests(1), TokenFingerprint::for_tests(2));
        insert(&table, 7, one);
        assert!(!finds(&table, 7, other), "of another token with the same mark");
        table.remove(SlotTag::for_tests(7), other);
        assert!(finds(&table, 7, one));
        insert(&table, 7, other);
        assert!(finds(&table, 7, one) && finds(&table, 7, other));
        table.remove(SlotTag::for_tests(7), one);
        assert!(!finds(&table, 7, one) && finds(&table, 7, other));
    }

    /// Two threads that keep a verdict at once may take two places for it.
    #[test]
    fn a_token_that_has_come_to_two_places_is_released_from_both() {
        let table = RecentTable::within(0);
        let (one, other) = (TokenFingerprint::for_tests(1), TokenFingerprint::for_tests(2));
        let set = &table.sets[0];
        for (at, fingerprint) in [one, other, one].into_iter().enumerate() {
            set.places[at].store(Some(Arc::new(entry(SlotTag::for_tests(7), fingerprint, 60))));
            set.marks[at].store(7, Ordering::Relaxed);
        }
        table.remove(SlotTag::for_tests(7), one);
        assert!(!finds(&table, 7, one) && finds(&table, 7, other));
    }

    #[test]
    fn clears_a_place_only_while_it_holds_what_was_found_there() {
        let (one, other) = (TokenFingerprint::for_tests(1), TokenFingerprint::for_tests(2));
        for (stored, expected) in [(None, None), (Some(one), Some(one)), (Some(other), Some(other))] {
            let new = |fingerprint| Some(Arc::new(entry(SlotTag::for_tests(7), fingerprint, 60)));
            let route_index = ArcSwapOption::new(new(one));
            let found = route_index.load();
            if let Some(fingerprint) = stored {
                route_index.store(new(fingerprint));
            }
            clear(&route_index, &found);
            assert_eq!(route_index.load().as_ref().map(|entry| entry.fingerprint()), expected);
        }
    }

    #[test]
    fn a_tag_is_made_only_where_the_mark_is_known() {
        let table = RecentTable::<NoCustomClaims>::within(0);
        let made = std::cell::Cell::new(0);
        let find = |slot_tag| {
            let fingerprint = || {
                made.set(made.get() + 1);
                Some(TokenFingerprint::for_tests(1))
            };
            table.find(SlotTag::for_tests(slot_tag), fingerprint).is_some()
        };
        assert!(!find(7));
        insert(&table, 7, TokenFingerprint::for_tests(1));
        insert(&table, 7, TokenFingerprint::for_tests(2));
        assert!(!find(8));
        assert_eq!(made.get(), 0);
        assert!(find(7));
        assert_eq!(made.get(), 1);
    }

    #[test]
    fn each_set_has_places_of_its_own() {
        let table = RecentTable::within(16 * size_of::<Set<NoCustomClaims>>());
        let tokens = 0..16 * u64::try_from(WAYS).expect("small");
        for number in tokens.clone() {
            insert(&table, number, TokenFingerprint::for_tests(number));
        }
        for number in tokens {
            assert!(finds(&table, number, TokenFingerprint::for_tests(number)), "{number}");
        }
    }

    #[test]
    fn there_is_room_for_a_set_and_each_token_takes_one_place() {
        let table = RecentTable::within(0);
        let taken = || table.sets[0].places.iter().filter(|route_index| route_index.load().is_some()).count();
        for number in 0..100 {
            let fingerprint = TokenFingerprint::for_tests(number);
            for _ in 0..2 {
                insert(&table, number, fingerprint);
            }
            assert!(finds(&table, number, fingerprint));
            assert_eq!(taken(), WAYS.min(usize::try_from(number + 1).expect("small")));
        }
    }

    #[test]
    fn a_set_is_one_cache_line_and_there_is_always_one() {
        assert_eq!((size_of::<Set<()>>(), align_of::<Set<()>>()), (64, 64));
        assert_eq!(RecentTable::<()>::within(0).footprint(), 64);
        assert_eq!(RecentTable::<()>::within(128 * 1024).footprint(), 128 * 1024);
    }
}
