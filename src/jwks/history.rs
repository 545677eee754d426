//! `History`: the entries of the documents of one issuer, limited in number.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// The entries of the documents that were read. If there are more than `LIMIT`, the least recently seen are evicted, but never
/// those of the latest document.
#[derive(Clone, Debug)]
pub(super) struct History<E, const LIMIT: usize> {
    /// Each entry with the number of the last document that contained it.
    entries: BTreeMap<E, u64>,
    documents: u64,
}

impl<E: Ord + Clone, const LIMIT: usize> History<E, LIMIT> {
    /// Records the entries of one document.
    pub(super) fn record(&mut self, entries: impl IntoIterator<Item = E>) {
        self.documents = self.documents.saturating_add(1);
        let latest = self.documents;
        self.entries.extend(entries.into_iter().map(|entry| (entry, latest)));
        let excess = self.entries.len().saturating_sub(LIMIT);
        if excess > 0 {
            let older = self.entries.iter().filter(|(_, document)| **document < latest);
            let mut older: Vec<(u64, E)> = older.map(|(entry, document)| (*document, entry.clone())).collect();
            older.sort_unstable();
            for (_, entry) in older.into_iter().take(excess) {
                self.entries.remove(&entry);
            }
        }
    }

    pub(super) fn contains<Q: Ord + ?Sized>(&self, entry: &Q) -> bool
    where
        E: Borrow<Q>,
    {
        self.entries.contains_key(entry)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.entries.keys()
    }
}

impl<E, const LIMIT: usize> Default for History<E, LIMIT> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), documents: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(history: &History<u32, 4>) -> Vec<u32> {
        history.iter().copied().collect()
    }

    #[test]
    fn evicts_the_oldest_entries_first() {
        let mut history = History::<u32, 4>::default();
        history.record([1, 2]);
        history.record([3, 4]);
        history.record([1]);
        assert_eq!(all(&history), [1, 2, 3, 4]);
        history.record([5]);
        assert_eq!(all(&history), [1, 3, 4, 5], "1 was seen again, 2 was not");
        history.record([6, 7]);
        assert_eq!(all(&history), [1, 5, 6, 7]);
        assert!(history.contains(&1) && !history.contains(&2));
    }

    #[test]
    fn keeps_all_entries_of_the_latest_document() {
        let mut history = History::<u32, 4>::default();
        history.record([9]);
        history.record(0..6);
        assert_eq!(all(&history), [0, 1, 2, 3, 4, 5]);
        history.record([5]);
        assert_eq!(all(&history), [2, 3, 4, 5]);
    }
}
