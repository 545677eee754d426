//! `Table`: a set of hashes that only grows, into which any number of threads insert without a lock.

use super::sync::{Arc, AtomicU64, AtomicUsize, OnceLock, Ordering};

/// A set of 64-bit hashes in segments, each twice as large as the one before.
///
/// A hash has a fixed sequence of places: a row of adjacent places in the first segment, then a row in the second one, and so on. It
/// is inserted into the first free place of its sequence by one compare-and-swap. A place is never freed. So all threads that insert
/// one hash meet at the same place, and exactly one of them writes it.
pub(super) struct Table {
    segments: [OnceLock<Box<[AtomicU64]>>; SEGMENTS],
    /// The number of places of the first segment, a power of two.
    first: usize,
    /// The number of places of a row, a power of two, at most `first`.
    row: usize,
    /// The bytes of all segments together are at most this.
    bound: usize,
    budget: Arc<Budget>,
    entries: AtomicUsize,
}

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
    /// Creates a table whose first segment has `first` places, in rows of `row` places. Both are powers of two.
    pub(super) fn new(first: usize, row: usize, bound: usize, budget: Arc<Budget>) -> Self {
        Self { segments: Default::default(), first, row, bound, budget, entries: AtomicUsize::new(0) }
    }

    /// Inserts a hash, unless it is in the table.
    pub(super) fn insert(&self, hash: u64) -> Insertion {
        let hash = marked(hash);
        for index in 0..SEGMENTS {
            let Some(segment) = self.segment(index) else { return Insertion::Full };
            for place in self.row_of(segment, hash) {
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
        for segment in self.segments.iter().map_while(OnceLock::get) {
            for place in self.row_of(segment, hash) {
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

    /// Returns the bytes of all segments.
    pub(super) fn bytes(&self) -> usize {
        self.segments
            .iter()
            .filter_map(OnceLock::get)
            .map(|segment| bytes(segment.len()))
            .fold(0, usize::saturating_add)
    }

    /// Returns a segment, and allocates it if the bound allows it. If two threads allocate it, one allocation is dropped.
    fn segment(&self, index: usize) -> Option<&[AtomicU64]> {
        let slot = self.segments.get(index)?;
        if let Some(segment) = slot.get() {
            return Some(segment);
        }
        let places = self.places(index);
        // The segments before have `places - first` places.
        let total = bytes(places.saturating_mul(2).saturating_sub(self.first));
        if total > self.bound {
            return None;
        }
        if self.budget.reserve(bytes(places)).is_some() {
            let segment = (0..places).map(|_| AtomicU64::new(0)).collect();
            if slot.set(segment).is_err() {
                self.budget.release(bytes(places));
            }
        }
        slot.get().map(|segment| &**segment)
    }

    fn places(&self, index: usize) -> usize {
        u32::try_from(index).ok().and_then(|index| self.first.checked_shl(index)).unwrap_or(usize::MAX)
    }

    /// Returns the places of a hash in a segment.
    fn row_of<'s>(&self, segment: &'s [AtomicU64], hash: u64) -> &'s [AtomicU64] {
        let rows = segment.len().checked_div(self.row).unwrap_or_default();
        let row = u64::try_from(rows).ok().and_then(|rows| hash.checked_rem(rows)).unwrap_or_default();
        usize::try_from(row).ok().and_then(|row| segment.chunks_exact(self.row).nth(row)).unwrap_or_default()
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
