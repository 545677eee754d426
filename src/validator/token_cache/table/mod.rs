//! `Table`: a map that is bounded by weight, and that any number of threads read without a lock.

use std::time::Duration;

use super::sync::{Arc, ArcSwapOption, AtomicU8, AtomicU16, Guard, Mutex, MutexGuard, Ordering, TryLockError};

/// A set-associative table: the hash of a key selects a set of adjacent slots, and each of them may contain the key.
///
/// Readers take no lock. One thread writes at a time. A thread that finds another one writing changes nothing, since a cache
/// may lose an entry. So no thread ever waits, and the sum of the weights is exact and never greater than the bound.
///
/// The table evicts by a clock with a use count: a hand moves from slot to slot, evicts an entry without uses, and takes one
/// use from any other. A new entry has no uses, so keys that are used only once evict few others.
pub(super) struct Table<K, V> {
    slots: Box<[Slot<K, V>]>,
    writer: Mutex<Writer>,
    /// The largest sum of the weights.
    bound: u64,
}

/// A place for one entry.
///
/// # Security
///
/// While a slot changes, a reader may see the tag of one entry and read another entry. A tag only saves work: a search
/// compares the key itself.
struct Slot<K, V> {
    /// A part of the hash, or [`EMPTY`]. A search reads only slots with its own tag.
    tag: AtomicU16,
    /// The uses since the clock hand was last here, and what it left of earlier ones: at most [`MAX_USES`].
    uses: AtomicU8,
    entry: ArcSwapOption<Entry<K, V>>,
}

/// A key with its value.
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    /// The memory of the entry in bytes.
    pub(super) weight: u32,
}

/// The result of a search. It always contains an entry.
pub(super) type Found<K, V> = Guard<Option<Arc<Entry<K, V>>>>;

/// The state of the table that only a writing thread uses.
#[derive(Default)]
struct Writer {
    /// The sum of the weights of all entries.
    weight: u64,
    /// The next slot for the clock, and the next one for the search for expired entries.
    clock_hand: usize,
    sweep_hand: usize,
    /// The number of slots that this search has visited, or would have if it had been called all the time.
    swept: u128,
}

impl<K: PartialEq, V> Table<K, V> {
    /// The memory of one set in bytes, without its entries.
    pub(super) const SET_BYTES: usize = size_of::<[Slot<K, V>; WAYS]>();

    /// Creates a table of `sets` sets, whose entries together weigh at most `bound`.
    pub(super) fn new(sets: usize, bound: u64) -> Self {
        let slots = (0..sets.saturating_mul(WAYS)).map(|_| Slot::default()).collect();
        Self { slots, writer: Mutex::default(), bound }
    }

    /// Finds the entry of a key, and counts the use. Calls `key` only if a slot has the tag of the hash.
    pub(super) fn find(&self, hash: u64, key: impl FnOnce() -> Option<K>) -> Option<Found<K, V>> {
        let mut candidates = self.candidates(hash).peekable();
        candidates.peek()?;
        let key = key()?;
        candidates.find_map(|slot| {
            let found = slot.entry.load();
            let is_found = found.as_ref().is_some_and(|entry| entry.key == key);
            is_found.then(|| slot.count_use()).map(|()| found)
        })
    }

    /// Stores an entry, and removes an earlier one with the same key and [expired ones](Self::remove_expired). Returns the
    /// number of other entries that it removed.
    ///
    /// Stores nothing if the entry takes more than 1/64 of the bound, or if [`MAX_VISITS`] slots have too little to evict.
    pub(super) fn insert(
        &self,
        hash: u64,
        entry: Entry<K, V>,
        now: Duration,
        is_expired: impl Fn(&V) -> bool,
    ) -> usize {
        let weight = u64::from(entry.weight);
        if weight > self.bound / MAX_ENTRY_SHARE {
            return 0;
        }
        let Some(mut writer) = self.try_write() else { return 0 };
        self.clear_key(&mut writer, hash, &entry.key);
        let expired = self.sweep(&mut writer, now, MAX_VISITS, is_expired);
        let Some(slot) = self.set(hash).iter().min_by_key(|slot| slot.rank()) else { return expired };
        let displaced = self.displace(&mut writer, hash, slot);
        let evicted = self.make_room(&mut writer, weight);
        if self.fits(&writer, weight) {
            writer.store(slot, tag(hash), entry);
        }
        expired.saturating_add(displaced).saturating_add(evicted)
    }

    /// Removes the entry of a key.
    pub(super) fn remove(&self, hash: u64, key: &K) {
        if let Some(mut writer) = self.try_write() {
            self.clear_key(&mut writer, hash, key);
        }
    }

    /// Removes entries that `is_expired` selects, and returns their number.
    ///
    /// A hand visits all slots once in [`SWEEP_PERIOD`], if it is called that often. `now` is the time since a fixed origin.
    pub(super) fn remove_expired(&self, now: Duration, is_expired: impl Fn(&V) -> bool) -> usize {
        self.try_write().map_or(0, |mut writer| self.sweep(&mut writer, now, self.slots.len(), is_expired))
    }

    /// Returns the set of a hash.
    fn set(&self, hash: u64) -> &[Slot<K, V>] {
        let sets = u64::try_from(self.slots.len() / WAYS).unwrap_or_default();
        // The tag is in the other bits.
        let set = (hash >> u16::BITS).checked_rem(sets).and_then(|set| usize::try_from(set).ok());
        set.and_then(|set| self.slots.chunks_exact(WAYS).nth(set)).unwrap_or_default()
    }

    /// Returns the slots that may contain the entry of a hash.
    fn candidates(&self, hash: u64) -> impl Iterator<Item = &Slot<K, V>> {
        self.set(hash).iter().filter(move |slot| slot.tag.load(Ordering::Relaxed) == tag(hash))
    }

    /// Returns `None` while another thread writes.
    fn try_write(&self) -> Option<MutexGuard<'_, Writer>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            // A value panicked when it was dropped. It was removed before, so the state is consistent.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn clear_key(&self, writer: &mut Writer, hash: u64, key: &K) {
        for slot in self.candidates(hash).filter(|slot| slot.holds(|entry| entry.key == *key)) {
            writer.clear(slot);
        }
    }

    /// Removes expired entries from the slots that are due, at most `limit`, and returns their number.
    fn sweep(&self, writer: &mut Writer, now: Duration, limit: usize, is_expired: impl Fn(&V) -> bool) -> usize {
        let mut removed = 0_usize;
        for _ in 0..writer.due(now, self.slots.len(), limit) {
            let Some(slot) = advance(&mut writer.sweep_hand, &self.slots) else { break };
            if slot.rank().is_some() && slot.holds(|entry| is_expired(&entry.value)) {
                removed = removed.saturating_add(writer.clear(slot));
            }
        }
        removed
    }

    /// Evicts the entry of a slot. The clock may never reach a full set, so its other entries age here.
    fn displace(&self, writer: &mut Writer, hash: u64, slot: &Slot<K, V>) -> usize {
        let Some(uses) = slot.rank() else { return 0 };
        self.set(hash).iter().for_each(|slot| slot.take_uses(uses));
        writer.clear(slot)
    }

    /// Evicts entries by the clock until an entry of this weight fits, and returns their number.
    fn make_room(&self, writer: &mut Writer, weight: u64) -> usize {
        let mut evicted = 0_usize;
        for visit in 0..MAX_VISITS {
            if self.fits(writer, weight) {
                break;
            }
            let Some(slot) = advance(&mut writer.clock_hand, &self.slots) else { break };
            // If the first half of the visits is not enough, the second half also evicts used entries.
            let evicts_used = visit >= MAX_VISITS / 2;
            if slot.rank().is_some_and(|uses| uses == 0 || evicts_used) {
                evicted = evicted.saturating_add(writer.clear(slot));
            } else {
                slot.take_uses(1);
            }
        }
        evicted
    }

    fn fits(&self, writer: &Writer, weight: u64) -> bool {
        writer.weight.saturating_add(weight) <= self.bound
    }
}

impl Writer {
    /// Returns how many slots are due for the search for expired entries, at most `limit`. Further ones remain due.
    fn due(&mut self, now: Duration, slots: usize, limit: usize) -> usize {
        let slots = u128::try_from(slots).unwrap_or_default();
        let total = now.as_millis().saturating_mul(slots).checked_div(SWEEP_PERIOD.as_millis()).unwrap_or_default();
        let due = total.saturating_sub(self.swept).min(slots);
        let count = due.min(u128::try_from(limit).unwrap_or_default());
        self.swept = self.swept.max(total.saturating_sub(due.saturating_sub(count)));
        usize::try_from(count).unwrap_or_default()
    }

    fn store<K, V>(&mut self, slot: &Slot<K, V>, tag: u16, entry: Entry<K, V>) {
        self.weight = self.weight.saturating_add(u64::from(entry.weight));
        slot.uses.store(0, Ordering::Relaxed);
        slot.entry.store(Some(Arc::new(entry)));
        slot.tag.store(tag, Ordering::Relaxed);
    }

    /// Removes the entry of a slot, and returns the number of removed entries.
    fn clear<K, V>(&mut self, slot: &Slot<K, V>) -> usize {
        slot.tag.store(EMPTY, Ordering::Relaxed);
        let Some(entry) = slot.entry.swap(None) else { return 0 };
        self.weight = self.weight.saturating_sub(u64::from(entry.weight));
        1
    }
}

impl<K, V> Slot<K, V> {
    /// Returns the number of uses, or `None` for an empty slot. Only for the writing thread.
    fn rank(&self) -> Option<u8> {
        (self.tag.load(Ordering::Relaxed) != EMPTY).then(|| self.uses.load(Ordering::Relaxed))
    }

    /// Returns whether the slot has an entry for which `is_wanted` returns true.
    fn holds(&self, is_wanted: impl FnOnce(&Entry<K, V>) -> bool) -> bool {
        self.entry.load().as_ref().is_some_and(|entry| is_wanted(entry))
    }

    /// Counts a use. A use that another thread counts at the same time may be lost.
    fn count_use(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        // Without a write in the common case, so that threads do not contend for the slot.
        if uses < MAX_USES {
            self.uses.store(uses.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn take_uses(&self, count: u8) {
        self.uses.store(self.uses.load(Ordering::Relaxed).saturating_sub(count), Ordering::Relaxed);
    }
}

impl<K, V> Default for Slot<K, V> {
    fn default() -> Self {
        Self { tag: AtomicU16::new(EMPTY), uses: AtomicU8::new(0), entry: ArcSwapOption::default() }
    }
}

/// Returns the tag of a hash.
fn tag(hash: u64) -> u16 {
    u16::try_from(hash & u64::from(u16::MAX)).unwrap_or_default().max(EMPTY.saturating_add(1))
}

/// Returns the slot of a hand, and moves the hand to the next one.
fn advance<'s, K, V>(hand: &mut usize, slots: &'s [Slot<K, V>]) -> Option<&'s Slot<K, V>> {
    let at = *hand;
    *hand = at.saturating_add(1).checked_rem(slots.len())?;
    slots.get(at)
}

/// Slots of one set. With two slots for each entry that fits into the bound, a set of eight is seldom full before.
const WAYS: usize = 8;

/// The tag of a slot without an entry.
const EMPTY: u16 = 0;

/// The largest number of uses. In a simulation with Zipf's distribution, 3 gives a better hit rate than 1, and 7 the same as 3.
const MAX_USES: u8 = 3;

/// An entry may take one part in this many of the bound, so that one entry cannot evict most of the others.
const MAX_ENTRY_SHARE: u64 = 64;

/// Most slots that each of the two hands visits in one insertion. A large cache has millions, and a request waits for the
/// insertion. In a simulation with Zipf's distribution, the limit costs no hits.
const MAX_VISITS: usize = 1_024;

/// The time in which all slots are searched for expired entries.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
