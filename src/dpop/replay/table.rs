//! `Table`: a set of hashes that only grows, into which any number of threads insert without a lock.

use super::sync::{Arc, ArcSwapOption, AtomicU64, AtomicUsize, Guard, OnceLock, Ordering};

/// A set of 64-bit hashes in pages. The first bits of a hash select its page.
///
/// In its page, a hash has a fixed sequence of places: from the place that its last bits select to the end of the page, then from the
/// start of the page. It is inserted into the first free place by one compare-and-swap, and a place is never freed. So all threads that
/// insert one hash meet at the same place, and exactly one of them writes it.
///
/// If the first places of the sequence are taken, the page is divided: its free places are closed, so that it does not change any more,
/// its hashes are copied to two new pages by their next bit, and it is dropped. Each thread that meets a closed place divides the page
/// too, so that no thread waits for another one. The first copy that is published counts, and all copies contain the same hashes.
pub(super) struct Table {
    /// The slots of the pages whose hashes are selected by n bits: level n has 2ⁿ slots.
    levels: [OnceLock<Box<[Slot]>>; LEVELS],
    /// The level at which a search begins.
    depth: AtomicUsize,
    /// The number of places of a page, a power of two.
    places: usize,
    /// A page is divided, if the budgets allow it, when a hash finds its first `row` places taken.
    row: usize,
    /// The bytes that the places of all pages together may take. The slots are not included.
    bound: usize,
    own: Budget,
    shared: Arc<Budget>,
    /// Takes the slot of a page that was divided.
    divided: Arc<Page>,
    entries: AtomicUsize,
}

/// The slot of a page is empty first, then it contains the page, and at last [`Table::divided`].
type Slot = ArcSwapOption<Page>;

/// The places of hashes with the same first bits. Only [`Table::divided`] has no places.
struct Page(Box<[AtomicU64]>);

/// The result of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Insertion {
    /// The hash was not in the table.
    Inserted,
    /// The hash was in the table.
    Present,
    /// The table has no place for the hash.
    Full,
}

impl Table {
    /// Creates a table whose pages have `places` places, a power of two. The table and the others with the same budget together allocate
    /// no more than the budget.
    pub(super) fn new(places: usize, row: usize, bound: usize, shared: Arc<Budget>) -> Self {
        Self {
            levels: Default::default(),
            depth: AtomicUsize::new(0),
            places,
            row,
            bound,
            own: Budget::new(bound),
            shared,
            divided: Arc::new(Page::new(0)),
            entries: AtomicUsize::new(0),
        }
    }

    /// Inserts a hash, unless it is in the table.
    pub(super) fn insert(&self, hash: u64) -> Insertion {
        let hash = marked(hash);
        loop {
            let Some((level, slot)) = self.search(hash) else {
                match self.add_first_page() {
                    true => continue,
                    false => return Insertion::Full,
                }
            };
            let Some(page) = slot.as_deref() else { return Insertion::Full };
            let insertion = match page.insert(hash, self.row) {
                Some(insertion) => insertion,
                None if self.divide(level, hash, page) => continue,
                None => page.insert(hash, self.places).unwrap_or(Insertion::Full),
            };
            if insertion == Insertion::Inserted {
                self.entries.fetch_add(1, Ordering::Relaxed);
            }
            return insertion;
        }
    }

    /// Returns whether a hash is in the table.
    pub(super) fn contains(&self, hash: u64) -> bool {
        let hash = marked(hash);
        // If the page is divided meanwhile, the hash was not in the table when its slot was read, unless it is in the page.
        self.search(hash).and_then(|(_, slot)| Some(slot.as_deref()?.contains(hash))).unwrap_or(false)
    }

    /// Returns the number of hashes.
    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Returns the bytes of the places of all pages. The slots, at most 32 bytes for each page, are not included.
    pub(super) fn bytes(&self) -> usize {
        self.bound.saturating_sub(self.own.left())
    }

    /// Returns the slot that contains the page of a hash, and its level. `None` if there are no pages yet.
    fn search(&self, hash: u64) -> Option<(usize, Guard<Option<Arc<Page>>>)> {
        let mut level = self.depth.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(level, hash).map(Slot::load);
            match slot.as_ref().and_then(|slot| slot.as_deref()) {
                Some(page) if page.is_mark() => level = level.saturating_add(1),
                Some(_) => return slot.map(|slot| (level, slot)),
                None => level = level.checked_sub(1)?,
            }
        }
    }

    fn slot(&self, level: usize, hash: u64) -> Option<&Slot> {
        self.levels.get(level)?.get()?.get(index(level, hash))
    }

    /// Returns the slots of a level. `None` if it would have more slots than pages of equal fill need under the bound.
    fn slots(&self, level: usize) -> Option<&[Slot]> {
        let slots = self.levels.get(level)?;
        if slots.get().is_none() {
            let count = u32::try_from(level).ok().and_then(|level| 1_usize.checked_shl(level))?;
            if bytes(self.places).checked_mul(count)? > self.bound.saturating_mul(2) {
                return None;
            }
            let _is_present = slots.set((0..count).map(|_| Slot::default()).collect());
        }
        slots.get().map(|slots| &**slots)
    }

    /// Returns whether there is a first page now.
    fn add_first_page(&self) -> bool {
        let Some(slot) = self.slots(0).and_then(<[Slot]>::first) else { return false };
        let is_reserved = self.reserve();
        if is_reserved && !publish(slot, Page::new(self.places)) {
            self.release();
        }
        is_reserved
    }

    /// Divides a page, unless another thread has done so. Returns whether it is divided now.
    fn divide(&self, level: usize, hash: u64, page: &Page) -> bool {
        let next = level.saturating_add(1);
        let (Some(slot), Some(slots)) = (self.slot(level, hash), self.slots(next)) else { return false };
        // The page is replaced by two.
        if !self.reserve() {
            return false;
        }
        let first = index(next, hash) & !1;
        for (slot, half) in slots.iter().skip(first).zip(page.divide(next)) {
            publish(slot, half);
        }
        let previous = slot.swap(Some(Arc::clone(&self.divided)));
        if previous.is_some_and(|page| page.is_mark()) {
            self.release();
        }
        self.depth.fetch_max(next, Ordering::Relaxed);
        true
    }

    /// Reserves the bytes of a page, if both budgets allow it.
    fn reserve(&self) -> bool {
        let bytes = bytes(self.places);
        if !self.own.reserve(bytes) {
            return false;
        }
        let is_reserved = self.shared.reserve(bytes);
        if !is_reserved {
            self.own.release(bytes);
        }
        is_reserved
    }

    fn release(&self) {
        self.own.release(bytes(self.places));
        self.shared.release(bytes(self.places));
    }
}

/// Puts a page into its slot, unless the slot has had one.
fn publish(slot: &Slot, page: Page) -> bool {
    slot.compare_and_swap(&None::<Arc<Page>>, Some(Arc::new(page))).is_none()
}

impl Drop for Table {
    fn drop(&mut self) {
        self.shared.release(self.bytes());
    }
}

impl Page {
    fn new(places: usize) -> Self {
        Self((0..places).map(|_| AtomicU64::new(0)).collect())
    }

    fn is_mark(&self) -> bool {
        self.0.is_empty()
    }

    /// Inserts a hash into the first free one of its first `most` places. `None` if all are taken or closed.
    fn insert(&self, hash: u64, most: usize) -> Option<Insertion> {
        for place in self.sequence(hash).take(most) {
            let present = match place.load(Ordering::Relaxed) {
                // The exchange returns the current value, so a stale zero is no harm.
                0 => match place.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return Some(Insertion::Inserted),
                    Err(present) => present,
                },
                present => present,
            };
            if present == hash {
                return Some(Insertion::Present);
            }
        }
        None
    }

    fn contains(&self, hash: u64) -> bool {
        let mut present = self.sequence(hash).map(|place| place.load(Ordering::Relaxed));
        present.find(|present| [0, hash].contains(present)) == Some(hash)
    }

    /// Returns the places of a hash in their order.
    fn sequence(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        let last = self.0.len().saturating_sub(1);
        let start = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & last;
        self.0.iter().skip(start).chain(self.0.iter().take(start))
    }

    /// Closes the free places, and returns the hashes in two pages by the last one of their first `bits` bits.
    fn divide(&self, bits: usize) -> [Self; 2] {
        let halves = [(); 2].map(|()| Self::new(self.0.len()));
        for place in &self.0 {
            let present = match place.load(Ordering::Relaxed) {
                0 => place.compare_exchange(0, CLOSED, Ordering::Relaxed, Ordering::Relaxed).err().unwrap_or(CLOSED),
                present => present,
            };
            if present != CLOSED {
                let [zero, one] = &halves;
                let half = if index(bits, present) & 1 == 0 { zero } else { one };
                let free = half.sequence(present).find(|place| place.load(Ordering::Relaxed) == 0);
                // A half has a place for each hash of the page.
                free.into_iter().for_each(|place| place.store(present, Ordering::Relaxed));
            }
        }
        halves
    }
}

/// The bytes that several tables together may still allocate.
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Reserves bytes, if there are as many left.
    fn reserve(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Zero marks a free place and [`CLOSED`] a closed one. The hashes 0 and 1 count as equal, and so do the two greatest ones.
fn marked(hash: u64) -> u64 {
    hash.clamp(1, CLOSED - 1)
}

/// Returns the first `bits` bits of a hash.
fn index(bits: usize, hash: u64) -> usize {
    let others = u32::try_from(bits).ok().and_then(|bits| u64::BITS.checked_sub(bits));
    others.and_then(|others| hash.checked_shr(others)).and_then(|index| usize::try_from(index).ok()).unwrap_or(0)
}

fn bytes(places: usize) -> usize {
    places.saturating_mul(size_of::<u64>())
}

const CLOSED: u64 = u64::MAX;

const LEVELS: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PLACES: usize = 512;

    const PAGE: usize = 4_096;

    const ROW: usize = 128;

    fn table(bound: usize) -> Table {
        Table::new(PLACES, ROW, bound, Arc::new(Budget::new(bound)))
    }

    /// Returns different hashes that are spread evenly.
    fn hashes(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|number| {
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        })
    }

    #[test]
    fn inserts_each_hash_once() {
        let table = table(1 << 24);
        let distinct: HashSet<u64> = hashes(100_000).collect();
        for hash in &distinct {
            assert_eq!(table.insert(*hash), Insertion::Inserted);
        }
        for hash in &distinct {
            assert_eq!(table.insert(*hash), Insertion::Present);
        }
        assert_eq!(table.entries(), distinct.len());
    }

    #[test]
    fn zero_is_a_hash_like_any_other() {
        let table = table(1 << 12);
        assert_eq!(table.insert(0), Insertion::Inserted);
        assert_eq!(table.insert(0), Insertion::Present);
    }

    #[test]
    fn takes_at_most_24_bytes_for_each_hash_once_it_has_grown() {
        let table = table(1 << 24);
        for (at, hash) in hashes(300_000).enumerate() {
            table.insert(hash);
            let (entries, bytes) = (table.entries(), table.bytes());
            assert!(at < 1_000 || bytes <= entries * 24, "{entries} entries in {bytes} bytes");
        }
    }

    #[test]
    fn refuses_a_hash_at_the_bound_and_still_finds_the_others() {
        let bound = PAGE * 256;
        let table = table(bound);
        let mut inserted = Vec::new();
        for hash in hashes(1_000_000) {
            match table.insert(hash) {
                Insertion::Inserted => inserted.push(hash),
                Insertion::Full => break,
                Insertion::Present => {}
            }
        }
        assert_eq!(table.bytes(), bound);
        assert!(inserted.len() * 13 >= bound, "{} hashes in {bound} bytes", inserted.len());
        assert!(inserted.iter().all(|hash| table.insert(*hash) == Insertion::Present && table.contains(*hash)));
        assert!(hashes(2_000_000).skip(1_000_000).all(|hash| !table.contains(hash)));
    }

    #[test]
    fn tables_share_a_budget_and_return_it() {
        let budget = Arc::new(Budget::new(3 * PAGE));
        let tables = [(); 2].map(|()| Table::new(PLACES, ROW, 1 << 20, Arc::clone(&budget)));
        let fill = |table: &Table| hashes(10_000).filter(|hash| table.insert(*hash) == Insertion::Inserted).count();
        assert!(fill(&tables[0]) > 2 * PLACES);
        assert_eq!((fill(&tables[1]), tables[0].bytes(), tables[1].bytes()), (0, 3 * PAGE, 0));
        let [first, second] = tables;
        drop(first);
        assert!(fill(&second) > 2 * PLACES);
        assert_eq!((second.bytes(), budget.left()), (3 * PAGE, 0));
        drop(second);
        assert_eq!(budget.left(), 3 * PAGE);
    }

    #[test]
    fn takes_every_place_of_a_page_that_must_not_be_divided() {
        let table = table(PAGE);
        let (inserted, rejected): (Vec<u64>, Vec<u64>) =
            hashes(1_000).partition(|hash| table.insert(*hash) == Insertion::Inserted);
        assert_eq!((inserted.len(), table.entries(), table.bytes()), (PLACES, PLACES, PAGE));
        assert!(inserted.iter().all(|hash| table.contains(*hash)));
        assert!(rejected.iter().all(|hash| !table.contains(*hash) && table.insert(*hash) == Insertion::Full));
    }

    /// Only hashes by an unknown key are evenly spread. Others fill one page, and the directory does not grow without a limit.
    #[test]
    fn hashes_with_equal_first_bits_end_at_the_last_level() {
        let table = table(1 << 16);
        let inserted = (1..10_000).filter(|hash| table.insert(*hash) == Insertion::Inserted).count();
        assert_eq!((inserted, table.bytes()), (PLACES, 6 * PAGE));
        assert!((1..=512).all(|hash| table.contains(hash)));
    }

    #[test]
    fn several_threads_insert_each_hash_exactly_once() {
        let table = table(1 << 22);
        let won: usize = std::thread::scope(|scope| {
            let insert = || hashes(50_000).filter(|hash| table.insert(*hash) == Insertion::Inserted).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(insert)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(won, hashes(50_000).collect::<HashSet<_>>().len());
    }
}
