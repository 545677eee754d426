//! `Table`: a set of hashes that only grows, into which any number of threads insert without a lock.

use super::sync::{Arc, ArcSwapOption, AtomicU64, AtomicUsize, Guard, Ordering};

/// A set of 64-bit hashes in pages. The first bits of a hash select its page.
///
/// In its page, a hash has a fixed sequence of places: from the place that its last bits select to the end of the page, then from the
/// start of the page. It is inserted into the first free place by one compare-and-swap, and a place is never freed. So all threads that
/// insert one hash meet at the same place, and exactly one of them writes it.
///
/// If the first places of the sequence are taken, the page is divided: its free places are closed, so that it does not change any more,
/// its hashes are copied to two new pages by their next bit, and it is dropped. A thread that finds closed places divides the page as well, so
/// that it does not wait for the first one. The first copy that is published counts, and all copies contain the same hashes.
pub(super) struct Table {
    /// The slots of the pages whose hashes are selected by no bit, then those by one bit, and so on. The last level has one slot for each
    /// page that the table may have, so its pages are not divided.
    slots: Box<[Slot]>,
    /// The level at which a search begins.
    depth: AtomicUsize,
    /// The number of places of a page.
    places: usize,
    /// A page is divided when a hash finds its first `row` places taken, if there is room for another page.
    row: usize,
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
    /// Creates a table of at most `pages` pages, a power of two, with `places` places each. The pages of all tables with the same budget
    /// take at most its bytes. If several threads divide pages at the same time, each of them can exceed a limit by one page.
    pub(super) fn new(pages: usize, places: usize, row: usize, shared: Arc<Budget>) -> Self {
        Self {
            slots: (1..pages.saturating_mul(2)).map(|_| Slot::default()).collect(),
            depth: AtomicUsize::new(0),
            places,
            row,
            own: Budget::new(bytes(places).saturating_mul(pages)),
            shared,
            divided: Arc::new(Page::new(0)),
            entries: AtomicUsize::new(0),
        }
    }

    /// Inserts a hash, unless it is in the table.
    pub(super) fn insert(&self, hash: u64) -> Insertion {
        let hash = marked(hash);
        let insertion = loop {
            let found = self.search(hash);
            let Some((level, page)) = found.as_ref().and_then(|(level, slot)| Some((*level, slot.as_deref()?))) else {
                match self.add_first_page() {
                    true => continue,
                    false => break Insertion::Full,
                }
            };
            match page.insert(hash, self.row) {
                Some(insertion) => break insertion,
                None if self.may_divide(level) => self.divide(level, hash, page),
                // There is no room for another page, but this page may have a place.
                None => match page.insert(hash, self.places) {
                    Some(insertion) => break insertion,
                    // Another thread has divided the page, so there was room until then.
                    None if self.is_divided(level, hash) => {}
                    None => break Insertion::Full,
                },
            }
        };
        if insertion == Insertion::Inserted {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        insertion
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

    /// Returns the bytes of the places of all pages.
    pub(super) fn bytes(&self) -> usize {
        self.own.used()
    }

    /// Returns the slot that contains the page of a hash, and its level. `None` if there are no pages yet.
    fn search(&self, hash: u64) -> Option<(usize, Guard<Option<Arc<Page>>>)> {
        let mut level = self.depth.load(Ordering::Relaxed);
        loop {
            let slot = self.slots.get(position(level, hash)).map(Slot::load);
            match slot.as_ref().and_then(|slot| slot.as_deref()) {
                Some(page) if page.is_mark() => level = level.saturating_add(1),
                Some(_) => return slot.map(|slot| (level, slot)),
                None => level = level.checked_sub(1)?,
            }
        }
    }

    /// Returns whether there is a first page now.
    fn add_first_page(&self) -> bool {
        let Some(slot) = self.slots.first() else { return false };
        if !self.has_room() {
            return slot.load().is_some();
        }
        if publish(slot, Page::new(self.places)) {
            self.count_page();
        }
        true
    }

    fn may_divide(&self, level: usize) -> bool {
        position(level.saturating_add(1), 0) < self.slots.len() && self.has_room()
    }

    fn is_divided(&self, level: usize, hash: u64) -> bool {
        self.slots.get(position(level, hash)).is_some_and(|slot| slot.load().as_deref().is_some_and(Page::is_mark))
    }

    /// Divides a page, unless another thread has done so.
    fn divide(&self, level: usize, hash: u64, page: &Page) {
        let next = level.saturating_add(1);
        let first = position(next, hash).saturating_sub(first_bits(next, hash) & 1);
        for (slot, half) in self.slots.iter().skip(first).zip(page.divide(next)) {
            publish(slot, half);
        }
        let slot = self.slots.get(position(level, hash));
        let previous = slot.and_then(|slot| slot.swap(Some(Arc::clone(&self.divided))));
        if previous.is_some_and(|page| !page.is_mark()) {
            // Two pages replace one.
            self.count_page();
        }
        self.depth.fetch_max(next, Ordering::Relaxed);
    }

    fn has_room(&self) -> bool {
        self.own.has(bytes(self.places)) && self.shared.has(bytes(self.places))
    }

    fn count_page(&self) {
        self.own.take(bytes(self.places));
        self.shared.take(bytes(self.places));
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.shared.give_back(self.bytes());
    }
}

/// Puts a page into its slot, unless the slot has had one.
fn publish(slot: &Slot, page: Page) -> bool {
    slot.compare_and_swap(&None::<Arc<Page>>, Some(Arc::new(page))).is_none()
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
        let places = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        let start = (hash & u64::from(u32::MAX)).saturating_mul(places) >> u32::BITS;
        let start = usize::try_from(start).unwrap_or(0);
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
                let half = if first_bits(bits, present) & 1 == 0 { zero } else { one };
                let free = half.sequence(present).find(|place| place.load(Ordering::Relaxed) == 0);
                // A half has a place for each hash of the page.
                free.into_iter().for_each(|place| place.store(present, Ordering::Relaxed));
            }
        }
        halves
    }
}

/// Bytes that were allocated, and their limit.
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    fn has(&self, bytes: usize) -> bool {
        self.used().checked_add(bytes).is_some_and(|used| used <= self.limit)
    }

    /// A thread that sees the bytes used also sees the page that took them.
    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Zero marks a free place and [`CLOSED`] a closed one. The hashes 0 and 1 count as equal, and so do the two greatest ones.
fn marked(hash: u64) -> u64 {
    hash.clamp(1, CLOSED - 1)
}

/// Returns the position of the slot of a hash at a level. The levels before have 2ⁿ − 1 slots.
fn position(level: usize, hash: u64) -> usize {
    let before = u32::try_from(level).ok().and_then(|level| 1_usize.checked_shl(level)).unwrap_or(usize::MAX);
    before.saturating_sub(1).saturating_add(first_bits(level, hash))
}

fn first_bits(bits: usize, hash: u64) -> usize {
    let others = u32::try_from(bits).ok().and_then(|bits| u64::BITS.checked_sub(bits));
    others.and_then(|others| hash.checked_shr(others)).and_then(|first| usize::try_from(first).ok()).unwrap_or(0)
}

fn bytes(places: usize) -> usize {
    places.saturating_mul(size_of::<u64>())
}

const CLOSED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PLACES: usize = 512;

    const PAGE: usize = 4_096;

    const ROW: usize = 128;

    fn table(bound: usize) -> Table {
        Table::new(bound / PAGE, PLACES, ROW, Arc::new(Budget::new(bound)))
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
        assert!(inserted.len() * 10 >= bound, "{} hashes in {bound} bytes", inserted.len());
        assert!(inserted.iter().all(|hash| table.insert(*hash) == Insertion::Present && table.contains(*hash)));
        assert!(hashes(2_000_000).skip(1_000_000).all(|hash| !table.contains(hash)));
    }

    #[test]
    fn tables_share_a_budget_and_return_it() {
        let budget = Arc::new(Budget::new(3 * PAGE));
        let tables = [(); 2].map(|()| Table::new(256, PLACES, ROW, Arc::clone(&budget)));
        let fill = |table: &Table| hashes(10_000).filter(|hash| table.insert(*hash) == Insertion::Inserted).count();
        assert!(fill(&tables[0]) > 2 * PLACES);
        assert_eq!((fill(&tables[1]), tables[0].bytes(), tables[1].bytes()), (0, 3 * PAGE, 0));
        let [first, second] = tables;
        drop(first);
        assert!(fill(&second) > 2 * PLACES);
        assert_eq!((second.bytes(), budget.used()), (3 * PAGE, 3 * PAGE));
        drop(second);
        assert_eq!(budget.used(), 0);
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
        let inserted = (1..1_000).filter(|hash| table.insert(*hash) == Insertion::Inserted).count();
        assert_eq!((inserted, table.bytes()), (PLACES, 5 * PAGE));
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
