//! `Table`: a map with a limited weight, that any number of threads read without a lock.

use super::sync::{Arc, ArcSwapOption, AtomicU8, AtomicU16, Guard, Mutex, MutexGuard, Ordering, PoisonError};

/// A set-associative table: the hash of a key selects a set of adjacent slots, and each of them may contain the key.
///
/// Readers take no lock. One thread writes at a time, so the sum of the weights is exact and never greater than the limit. A thread
/// that finds another one writing stores nothing; only a removal or a sweep waits. The lock is held for a bounded number of slots,
/// and no value is dropped under it: every write returns the entries that it leaves out of the table.
///
/// An entry leaves the table in one of four ways. It is removed with its key ([`remove`](Self::remove)), replaced under its key,
/// swept when it has expired, or evicted for another entry. Entries are evicted by the clock algorithm with a count of uses: a hand
/// moves from slot to slot, evicts an entry without uses, and takes one use from any other. A new entry has no uses, so keys that
/// are used only once evict few others.
pub(super) struct Table<K, V> {
    slots: Box<[Slot<K, V>]>,
    /// The largest sum of the weights.
    max_weight: u64,
    writer: Mutex<Writer>,
}

/// The memory of one entry or none, 16 bytes.
///
/// # Security
///
/// While a slot changes, a reader may see the tag of one entry and read another entry. A tag only saves work: a search
/// compares the key itself.
struct Slot<K, V> {
    /// A part of the hash, or [`EMPTY`]. A search reads only slots with its own tag.
    tag: AtomicU16,
    /// The uses since the eviction hand was last here, and what it left of earlier ones: at most [`MAX_USES`].
    uses: AtomicU8,
    entry: ArcSwapOption<Entry<K, V>>,
}

/// A key with its value.
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: V,
}

/// A value that knows its weight.
pub(super) trait Weigh {
    /// Returns the memory of the value and its key in bytes. It never changes.
    fn weight(&self) -> u32;
}

/// The entry that a search has found; never `None`.
pub(super) type FoundEntry<K, V> = Guard<Option<Arc<Entry<K, V>>>>;

/// Entries that are not in the table after a write. The caller drops them, so that no lock is held then.
pub(super) type Removed<K, V> = Vec<Arc<Entry<K, V>>>;

/// The state of the table that only a writing thread uses. The alignment keeps it out of the cache lines that readers use.
#[derive(Default)]
#[repr(align(128))]
struct Writer {
    /// The sum of the weights of all entries.
    weight: u64,
    /// The next slot that an eviction visits.
    eviction_hand: usize,
    /// The next slot that is searched for an expired entry.
    sweep_hand: usize,
}

impl<K: PartialEq, V: Weigh> Table<K, V> {
    /// The memory of one set in bytes, without its entries.
    pub(super) const SET_BYTES: usize = size_of::<[Slot<K, V>; WAYS]>();

    /// Creates a table of `sets` sets, whose entries together weigh at most `max_weight`.
    pub(super) fn new(sets: usize, max_weight: u64) -> Self {
        let slots = (0..sets.saturating_mul(WAYS)).map(|_| Slot::default()).collect();
        Self { slots, max_weight, writer: Mutex::default() }
    }

    /// Returns the number of slots.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Finds the entry of a key, and counts the use. Calls `key` only if a slot has the tag of the hash.
    pub(super) fn find(&self, hash: u64, key: impl FnOnce() -> Option<K>) -> Option<FoundEntry<K, V>> {
        let mut candidates = self.candidates(hash).peekable();
        candidates.peek()?;
        let key = key()?;
        for slot in candidates {
            let found = slot.entry.load();
            if found.as_ref().is_some_and(|entry| entry.key == key) {
                slot.count_use();
                return Some(found);
            }
        }
        None
    }

    /// Stores a value under a key. Returns the entries that are not in the table afterwards: the earlier one of the key, expired
    /// ones from [`SLOTS_SWEPT`] slots, evicted ones, and the new one if it is not stored.
    ///
    /// It is not stored if it has expired, if it takes more than 1/64 of the limit, if another thread writes, or if [`MAX_VISITS`]
    /// slots have too little to evict.
    pub(super) fn insert(&self, hash: u64, key: K, value: V, is_expired: impl Fn(&V) -> bool) -> Removed<K, V> {
        let weight = u64::from(value.weight());
        let is_storable = weight <= self.max_weight / MAX_ENTRY_SHARE && !is_expired(&value);
        let entry = Arc::new(Entry { key, value });
        let Some(mut writer) = is_storable.then(|| self.try_write()).flatten() else { return vec![entry] };
        let mut removed = self.sweep_slots(&mut writer, SLOTS_SWEPT, is_expired);
        let slot = self.slot_for(hash, &entry.key);
        removed.extend(slot.and_then(|slot| writer.clear(slot)));
        self.evict_until_fits(&mut writer, weight, &mut removed);
        match slot {
            Some(slot) if self.fits(&writer, weight) => writer.store(slot, tag(hash), entry),
            _ => removed.push(entry),
        }
        removed
    }

    /// Removes and returns the entry of a key. Waits for another thread that writes.
    pub(super) fn remove(&self, hash: u64, key: &K) -> Option<Arc<Entry<K, V>>> {
        let mut writer = self.write();
        writer.clear(self.slot_of(hash, key)?)
    }

    /// Removes and returns the expired entries of the next `count` slots. So `slots() / count` calls visit all slots. Waits for
    /// another thread that writes.
    pub(super) fn sweep(&self, count: usize, is_expired: impl Fn(&V) -> bool) -> Removed<K, V> {
        self.sweep_slots(&mut self.write(), count, is_expired)
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

    /// Returns the slot that contains the entry of a key. Only for a writing thread.
    fn slot_of(&self, hash: u64, key: &K) -> Option<&Slot<K, V>> {
        self.candidates(hash).find(|slot| slot.contains(|entry| entry.key == *key))
    }

    /// Returns the slot in which an entry is stored: that of its key, else an empty one, else the one with the fewest uses.
    fn slot_for(&self, hash: u64, key: &K) -> Option<&Slot<K, V>> {
        self.slot_of(hash, key).or_else(|| {
            let set = self.set(hash);
            let slot = set.iter().min_by_key(|slot| slot.uses())?;
            if let Some(uses @ 1..) = slot.uses() {
                // Far from the limit, the eviction hand takes no uses from this full set. So its other entries lose as many here, and
                // an old one can be replaced later.
                set.iter().for_each(|slot| slot.reduce_uses(uses));
            }
            Some(slot)
        })
    }

    fn write(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `None` while another thread writes, and after a panic under the lock. No code of a caller that may panic runs under it.
    fn try_write(&self) -> Option<MutexGuard<'_, Writer>> {
        self.writer.try_lock().ok()
    }

    /// Removes expired entries from the next `count` slots.
    fn sweep_slots(&self, writer: &mut Writer, count: usize, is_expired: impl Fn(&V) -> bool) -> Removed<K, V> {
        let mut removed = Vec::new();
        for _ in 0..count.min(self.slots.len()) {
            let Some(slot) = advance(&mut writer.sweep_hand, &self.slots) else { break };
            if slot.contains(|entry| is_expired(&entry.value)) {
                removed.extend(writer.clear(slot));
            }
        }
        removed
    }

    /// Evicts entries until an entry of this weight fits.
    fn evict_until_fits(&self, writer: &mut Writer, weight: u64, removed: &mut Removed<K, V>) {
        for visit in 0..MAX_VISITS {
            if self.fits(writer, weight) {
                break;
            }
            let Some(slot) = advance(&mut writer.eviction_hand, &self.slots) else { break };
            // If the first half of the visits is not enough, the second half also evicts used entries.
            let evicts_used = visit >= MAX_VISITS / 2;
            match slot.uses() {
                Some(uses) if uses == 0 || evicts_used => removed.extend(writer.clear(slot)),
                Some(_) => slot.reduce_uses(1),
                None => {}
            }
        }
    }

    fn fits(&self, writer: &Writer, weight: u64) -> bool {
        writer.weight.saturating_add(weight) <= self.max_weight
    }
}

impl Writer {
    /// Stores an entry in an empty slot.
    fn store<K, V: Weigh>(&mut self, slot: &Slot<K, V>, tag: u16, entry: Arc<Entry<K, V>>) {
        self.weight = self.weight.saturating_add(u64::from(entry.value.weight()));
        slot.uses.store(0, Ordering::Relaxed);
        slot.entry.store(Some(entry));
        slot.tag.store(tag, Ordering::Relaxed);
    }

    /// Removes and returns the entry of a slot, if it has one.
    fn clear<K, V: Weigh>(&mut self, slot: &Slot<K, V>) -> Option<Arc<Entry<K, V>>> {
        // A write of an empty slot would cost as much as one of a full slot.
        slot.uses()?;
        slot.tag.store(EMPTY, Ordering::Relaxed);
        let entry = slot.entry.swap(None)?;
        self.weight = self.weight.saturating_sub(u64::from(entry.value.weight()));
        Some(entry)
    }
}

impl<K, V> Slot<K, V> {
    /// Returns the number of uses; `None`, which is less than any number, for an empty slot. Only for a writing thread.
    fn uses(&self) -> Option<u8> {
        (self.tag.load(Ordering::Relaxed) != EMPTY).then(|| self.uses.load(Ordering::Relaxed))
    }

    /// Returns whether the slot has an entry for which `is_wanted` returns true. Only for a writing thread.
    fn contains(&self, is_wanted: impl FnOnce(&Entry<K, V>) -> bool) -> bool {
        self.uses().is_some() && self.entry.load().as_ref().is_some_and(|entry| is_wanted(entry))
    }

    /// Counts a use. A use that another thread counts at the same time may be lost.
    fn count_use(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        // Without a write in the common case, so that threads do not contend for the slot.
        if uses < MAX_USES {
            self.uses.store(uses.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn reduce_uses(&self, count: u8) {
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

/// Slots of one set. With two slots for each entry that fits into the limit, a set of eight is seldom full before.
const WAYS: usize = 8;

/// The tag of a slot without an entry.
const EMPTY: u16 = 0;

/// The largest number of uses. The bench `hit_rate` shows the reason: 3 gives a better hit rate than 1, and 7 the same as 3.
const MAX_USES: u8 = 3;

/// An entry may take one part in this many of the limit, so that one entry cannot evict most of the others.
const MAX_ENTRY_SHARE: u64 = 64;

/// Slots that one insertion searches for expired entries. In a full table they contain about four, so expired entries leave it
/// faster than new ones arrive.
const SLOTS_SWEPT: usize = 8;

/// Most slots that the evictions of one insertion visit, since a request waits for it. Without an eviction, a visit reads only
/// the slot: 1,024 visits take a few microseconds.
const MAX_VISITS: usize = 1_024;

#[cfg(test)]
mod tests;
