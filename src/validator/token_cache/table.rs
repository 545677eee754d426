//! `RecentTable`: recently used entries of the token cache, which a request finds without a shared write.
//!
//! The map that limits the memory of the token cache records every use, and all threads write to the same record: in a
//! benchmark, two threads were no faster than one. So a request reads the map only if this table does not have the entry, and
//! additionally at one of [`defaults::TOKEN_CACHE_RECORDED_USE`] uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use crate::keys::TokenFingerprint;
use crate::validator::token_cache::entry::CacheEntry;
use crate::validator::token_cache::slot_tag::{SlotHasher, SlotTag};

/// A set-associative table of entries, by slot tag and fingerprint. A full set replaces an arbitrary entry.
///
/// # Security
///
/// An entry that leaves the map is removed from this table, too. An entry from this table is revalidated like one from the
/// map.
pub(in crate::validator) struct RecentTable<C> {
    sets: Box<[Set<C>]>,
    slot_hasher: SlotHasher,
}

/// The slots that a slot tag selects: one cache line.
#[repr(align(64))]
struct Set<C> {
    /// The slot tag of the entry in each slot. It is written after the slot, and not cleared with it, so it may be wrong until
    /// the slot is filled again. A wrong tag costs one fingerprint, or one lookup in the map.
    tags: [AtomicU64; SLOTS_PER_SET],
    slots: [ArcSwapOption<CacheEntry<C>>; SLOTS_PER_SET],
}

impl<C> RecentTable<C> {
    /// Creates a table of at most `bytes` bytes, but at least one set.
    pub(in crate::validator) fn with_size(bytes: usize) -> Self {
        let sets = bytes.checked_div(size_of::<Set<C>>()).unwrap_or_default().max(1);
        Self { sets: (0..sets).map(|_| Set::default()).collect(), slot_hasher: SlotHasher::default() }
    }

    /// Returns the memory of the table in bytes, without the entries.
    pub(in crate::validator) fn footprint(&self) -> usize {
        size_of_val(&*self.sets)
    }

    pub(in crate::validator) fn slot_tag(&self, token: &[u8]) -> SlotTag {
        self.slot_hasher.slot_tag(token)
    }

    /// Finds the entry of a token. Calls `fingerprint` only if a slot has the same slot tag.
    pub(in crate::validator) fn find(
        &self,
        slot_tag: SlotTag,
        fingerprint: impl FnOnce() -> Option<TokenFingerprint>,
    ) -> Option<Guard<Option<Arc<CacheEntry<C>>>>> {
        let set = self.set(slot_tag)?;
        let is_equal = |tag: &AtomicU64| tag.load(Ordering::Relaxed) == slot_tag.bits();
        if !set.tags.iter().any(is_equal) {
            return None;
        }
        let fingerprint = fingerprint()?;
        let matching = set.tags.iter().zip(&set.slots).filter(|(tag, _)| is_equal(tag));
        matching.map(|(_, slot)| slot.load()).find(|found| has_fingerprint(found, fingerprint))
    }

    /// Stores an entry. It replaces another entry if the set is full.
    pub(in crate::validator) fn insert(&self, entry: Arc<CacheEntry<C>>) {
        let (slot_tag, fingerprint) = (entry.slot_tag(), entry.fingerprint());
        let Some(set) = self.set(slot_tag) else { return };
        let same = set.slots.iter().position(|slot| has_fingerprint(&slot.load(), fingerprint));
        let free = || set.slots.iter().position(|slot| slot.load().is_none());
        let any = || usize::try_from(slot_tag.bits() >> 32).unwrap_or_default() % SLOTS_PER_SET;
        let at = same.or_else(free).unwrap_or_else(any);
        if let (Some(tag), Some(slot)) = (set.tags.get(at), set.slots.get(at)) {
            slot.store(Some(entry));
            tag.store(slot_tag.bits(), Ordering::Relaxed);
        }
    }

    /// Removes all entries of a token.
    pub(in crate::validator) fn remove(&self, slot_tag: SlotTag, fingerprint: TokenFingerprint) {
        let slots = self.set(slot_tag).into_iter().flat_map(|set| &set.slots);
        for slot in slots {
            let found = slot.load();
            if has_fingerprint(&found, fingerprint) {
                clear(slot, &found);
            }
        }
    }

    fn set(&self, slot_tag: SlotTag) -> Option<&Set<C>> {
        let index = slot_tag.bits().checked_rem(u64::try_from(self.sets.len()).ok()?)?;
        self.sets.get(usize::try_from(index).ok()?)
    }
}

impl<C> Default for Set<C> {
    fn default() -> Self {
        Self { tags: Default::default(), slots: Default::default() }
    }
}

fn has_fingerprint<C>(found: &Option<Arc<CacheEntry<C>>>, fingerprint: TokenFingerprint) -> bool {
    found.as_ref().is_some_and(|entry| entry.fingerprint() == fingerprint)
}

/// Clears a slot if it still contains the entry that was found. An entry that was stored since then remains.
fn clear<C>(slot: &ArcSwapOption<CacheEntry<C>>, found: &Guard<Option<Arc<CacheEntry<C>>>>) {
    slot.compare_and_swap(found, None);
}

/// A slot and its tag take 8 bytes each, so a set takes 64 bytes.
const SLOTS_PER_SET: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::NoCustomClaims;
    use crate::validator::token_cache::entry::tests::entry;

    fn finds(table: &RecentTable<NoCustomClaims>, slot_tag: u64, fingerprint: TokenFingerprint) -> bool {
        table
            .find(SlotTag::for_tests(slot_tag), || Some(fingerprint))
            .is_some_and(|found| has_fingerprint(&found, fingerprint))
    }

    fn insert(table: &RecentTable<NoCustomClaims>, slot_tag: u64, fingerprint: TokenFingerprint) {
        table.insert(Arc::new(entry(SlotTag::for_tests(slot_tag), fingerprint, 60)));
    }

    #[test]
    fn finds_and_removes_an_entry_by_its_fingerprint() {
        let table = RecentTable::with_size(0);
        let (one, other) = (TokenFingerprint::for_tests(1), TokenFingerprint::for_tests(2));
        insert(&table, 7, one);
        assert!(!finds(&table, 7, other), "the fingerprint of another token with the same slot tag");
        table.remove(SlotTag::for_tests(7), other);
        assert!(finds(&table, 7, one));
        insert(&table, 7, other);
        assert!(finds(&table, 7, one) && finds(&table, 7, other));
        table.remove(SlotTag::for_tests(7), one);
        assert!(!finds(&table, 7, one) && finds(&table, 7, other));
    }

    /// Two threads that store an entry of the same token at once may fill two slots.
    #[test]
    fn removes_a_token_from_both_slots_that_contain_it() {
        let table = RecentTable::with_size(0);
        let (one, other) = (TokenFingerprint::for_tests(1), TokenFingerprint::for_tests(2));
        let set = &table.sets[0];
        for (at, fingerprint) in [one, other, one].into_iter().enumerate() {
            set.slots[at].store(Some(Arc::new(entry(SlotTag::for_tests(7), fingerprint, 60))));
            set.tags[at].store(7, Ordering::Relaxed);
        }
        table.remove(SlotTag::for_tests(7), one);
        assert!(!finds(&table, 7, one) && finds(&table, 7, other));
    }

    #[test]
    fn clears_a_slot_only_if_it_still_contains_the_entry_that_was_found() {
        let (one, other) = (TokenFingerprint::for_tests(1), TokenFingerprint::for_tests(2));
        for (stored, expected) in [(None, None), (Some(one), Some(one)), (Some(other), Some(other))] {
            let new = |fingerprint| Some(Arc::new(entry(SlotTag::for_tests(7), fingerprint, 60)));
            let slot = ArcSwapOption::new(new(one));
            let found = slot.load();
            if let Some(fingerprint) = stored {
                slot.store(new(fingerprint));
            }
            clear(&slot, &found);
            assert_eq!(slot.load().as_ref().map(|entry| entry.fingerprint()), expected);
        }
    }

    #[test]
    fn computes_the_fingerprint_only_if_a_slot_tag_matches() {
        let table = RecentTable::<NoCustomClaims>::with_size(0);
        let computed = std::cell::Cell::new(0);
        let find = |slot_tag| {
            let fingerprint = || {
                computed.set(computed.get() + 1);
                Some(TokenFingerprint::for_tests(1))
            };
            table.find(SlotTag::for_tests(slot_tag), fingerprint).is_some()
        };
        assert!(!find(7));
        insert(&table, 7, TokenFingerprint::for_tests(1));
        insert(&table, 7, TokenFingerprint::for_tests(2));
        assert!(!find(8));
        assert_eq!(computed.get(), 0);
        assert!(find(7));
        assert_eq!(computed.get(), 1);
    }

    #[test]
    fn stores_entries_in_every_set() {
        let table = RecentTable::with_size(16 * size_of::<Set<NoCustomClaims>>());
        let tokens = 0..16 * u64::try_from(SLOTS_PER_SET).expect("small");
        for number in tokens.clone() {
            insert(&table, number, TokenFingerprint::for_tests(number));
        }
        for number in tokens {
            assert!(finds(&table, number, TokenFingerprint::for_tests(number)), "{number}");
        }
    }

    #[test]
    fn fills_one_slot_per_token_up_to_the_size_of_the_set() {
        let table = RecentTable::with_size(0);
        let filled = || table.sets[0].slots.iter().filter(|slot| slot.load().is_some()).count();
        for number in 0..100 {
            let fingerprint = TokenFingerprint::for_tests(number);
            for _ in 0..2 {
                insert(&table, number, fingerprint);
            }
            assert!(finds(&table, number, fingerprint));
            assert_eq!(filled(), SLOTS_PER_SET.min(usize::try_from(number + 1).expect("small")));
        }
    }

    #[test]
    fn has_sets_of_one_cache_line_and_at_least_one_set() {
        assert_eq!((size_of::<Set<()>>(), align_of::<Set<()>>()), (64, 64));
        assert_eq!(RecentTable::<()>::with_size(0).footprint(), 64);
        assert_eq!(RecentTable::<()>::with_size(128 * 1024).footprint(), 128 * 1024);
    }
}
