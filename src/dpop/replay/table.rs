//! `Table`: a set of hashes that only grows, into which any number of threads insert without a lock.

use super::sync::{Arc, AtomicU64, AtomicUsize, OnceLock, Ordering};

/// A set of 64-bit hashes in segments, each twice as large as the one before.
///
/// A segment consists of pages of the size of the first segment. A page is allocated when a hash needs one of its places, so that no
/// insertion waits until a large segment is allocated and cleared.
///
/// A hash has a fixed sequence of places: a row of adjacent places in the first segment, then a row in the second one, and so on. It
/// is inserted into the first free place of its sequence by one compare-and-swap. A place is never freed. So all threads that insert
/// one hash meet at the same place, and exactly one of them writes it.
pub(super) struct Table {
    segments: [OnceLock<Box<[Page]>>; SEGMENTS],
    /// The number of places of the first segment and of each page, a power of two.
    first: usize,
    /// The number of places of a row, a power of two, at most `first`.
    row: usize,
    /// The bytes of the places of all segments together are at most this. The addresses of the pages are not included.
    bound: usize,
    budget: Arc<Budget>,
    entries: AtomicUsize,
}

/// The places of a part of a segment.
type Page = OnceLock<Box<[AtomicU64]>>;

/// The bytes that several tables together may still allocate.
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Reserves bytes, if there are as many left.
    fn reserve(&self, bytes: usize) -> Option<()> {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).ok().map(drop)
    }

    fn release(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

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
    /// Creates a table whose first segment and whose pages have `first` places, in rows of `row` places. Both are powers of two.
    pub(super) fn new(first: usize, row: usize, bound: usize, budget: Arc<Budget>) -> Self {
        Self { segments: Default::default(), first, row, bound, budget, entries: AtomicUsize::new(0) }
    }

    /// Inserts a hash, unless it is in the table.
    pub(super) fn insert(&self, hash: u64) -> Insertion {
        let hash = marked(hash);
        for index in 0..SEGMENTS {
            let Some(row) = self.allocated_row(index, hash) else { return Insertion::Full };
            for place in row {
                let present = place.load(Ordering::Relaxed);
                let present = match present {
                    // The exchange returns the current value, so a stale zero is no harm.
                    0 => match place.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => {
                            self.entries.fetch_add(1, Ordering::Relaxed);
                            return Insertion::Inserted;
                        }
                        Err(present) => present,
                    },
                    present => present,
                };
                if present == hash {
                    return Insertion::Present;
                }
            }
        }
        Insertion::Full
    }

    /// Returns whether a hash is in the table.
    pub(super) fn contains(&self, hash: u64) -> bool {
        let hash = marked(hash);
        for pages in self.segments.iter().map_while(OnceLock::get) {
            let row = self.position(pages, hash).and_then(|(page, at)| self.row(page.get()?, at));
            // The places of a page that is not allocated are free.
            let Some(row) = row else { return false };
            for place in row {
                match place.load(Ordering::Relaxed) {
                    0 => return false,
                    present if present == hash => return true,
                    _ => {}
                }
            }
        }
        false
    }

    /// Returns the number of hashes.
    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Returns the bytes that are reserved for the places of all segments; a page is allocated only when it is needed. The addresses of the
    /// pages, 24 bytes for each 4 KiB, are not included.
    pub(super) fn bytes(&self) -> usize {
        let pages = self.segments.iter().filter_map(OnceLock::get).map(|pages| pages.len());
        bytes(self.first.saturating_mul(pages.fold(0, usize::saturating_add)))
    }

    /// Returns the pages of a segment, and reserves its bytes if the bound allows it.
    fn segment(&self, index: usize) -> Option<&[Page]> {
        let slot = self.segments.get(index)?;
        if let Some(pages) = slot.get() {
            return Some(pages);
        }
        let pages = u32::try_from(index).ok().and_then(|index| 1_usize.checked_shl(index)).unwrap_or(usize::MAX);
        let places = pages.saturating_mul(self.first);
        // The segments before have `places - first` places.
        let total = bytes(places.saturating_mul(2).saturating_sub(self.first));
        if total > self.bound {
            return None;
        }
        // If two threads reserve them, one of both returns them.
        let is_reserved = self.budget.reserve(bytes(places)).is_some();
        if is_reserved && slot.set((0..pages).map(|_| Page::default()).collect()).is_err() {
            self.budget.release(bytes(places));
        }
        slot.get().map(|pages| &**pages)
    }

    /// Returns the row of a hash in a segment. If two threads allocate its page, one allocation is dropped.
    fn allocated_row(&self, index: usize, hash: u64) -> Option<&[AtomicU64]> {
        let (page, at) = self.position(self.segment(index)?, hash)?;
        if page.get().is_none() {
            let _is_present = page.set((0..self.first).map(|_| AtomicU64::new(0)).collect());
        }
        self.row(page.get()?, at)
    }

    /// Returns the page of a hash in a segment, and the first place of its row in the page. All numbers are powers of two.
    fn position<'p>(&self, pages: &'p [Page], hash: u64) -> Option<(&'p Page, usize)> {
        let places = u64::try_from(pages.len().saturating_mul(self.first)).ok()?;
        // The lower bits of the hash select the row.
        let start = usize::try_from(
            (hash & u64::from(u32::MAX)).checked_shl(self.row.trailing_zeros())? & places.saturating_sub(1),
        )
        .ok()?;
        let page = pages.get(start.checked_shr(self.first.trailing_zeros())?)?;
        Some((page, start & self.first.saturating_sub(1)))
    }

    fn row<'p>(&self, page: &'p [AtomicU64], start: usize) -> Option<&'p [AtomicU64]> {
        page.get(start..)?.get(..self.row)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.budget.release(self.bytes());
    }
}

/// Zero marks a free place. The hashes 0 and 1 count as equal.
fn marked(hash: u64) -> u64 {
    hash.max(1)
}

fn bytes(places: usize) -> usize {
    places.saturating_mul(size_of::<u64>())
}

/// The last segment can have 2³¹ times as many places as the first one.
const SEGMENTS: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn table(bound: usize) -> Table {
        Table::new(512, 64, bound, Arc::new(Budget::new(bound)))
    }

    /// Returns different hashes that are spread evenly.
    fn hashes(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|number| {
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1 << 63
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
        let bound = 4_096 * 255;
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
        let budget = Arc::new(Budget::new(3 * 4_096));
        let tables = [(); 2].map(|()| Table::new(512, 64, 1 << 20, Arc::clone(&budget)));
        let fill = |table: &Table| hashes(10_000).filter(|hash| table.insert(*hash) == Insertion::Inserted).count();
        assert!(fill(&tables[0]) > 700);
        assert_eq!((fill(&tables[1]), tables[0].bytes(), tables[1].bytes()), (0, 3 * 4_096, 0));
        let [first, second] = tables;
        drop(first);
        assert!(fill(&second) > 700);
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
