//! `Table`: an immutable set of entries, sorted by digest, in buckets.

/// Until when, and for which tokens, an entry of a table counts. Times are seconds since 1970.
pub(super) trait Limit: Copy {
    /// The latest `exp` of the tokens that the entry rejects.
    fn ends_at(self) -> u32;

    /// Returns a limit that rejects every token that one of both rejects.
    fn merge(self, other: Self) -> Self;
}

/// The limit of an entry that rejects all tokens of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Until {
    pub(super) ends_at: u32,
}

/// The limit of an entry that rejects tokens that were issued in or before a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IssuedBefore {
    pub(super) ends_at: u32,
    pub(super) before: u32,
}

impl Limit for Until {
    fn ends_at(self) -> u32 {
        self.ends_at
    }

    fn merge(self, other: Self) -> Self {
        Self { ends_at: self.ends_at.max(other.ends_at) }
    }
}

impl Limit for IssuedBefore {
    fn ends_at(self) -> u32 {
        self.ends_at
    }

    fn merge(self, other: Self) -> Self {
        Self { ends_at: self.ends_at.max(other.ends_at), before: self.before.max(other.before) }
    }
}

/// Entries sorted by digest. The upper bits of a digest select its bucket, which has four to eight entries on average.
///
/// A bucket is selected by at least eight bits, so only the other 56 bits of a digest are stored, in two arrays: a look-up reads the
/// first one, and the second one for an entry that was found. An entry takes 11.5 bytes, or 15.5 with a time of issue.
#[derive(Debug)]
pub(super) struct Table<L> {
    /// The position of the first entry of each bucket, and the number of entries after the last.
    buckets: Box<[u32]>,
    /// The lower 32 bits of the digests.
    low: Box<[u32]>,
    /// The 24 bits above them.
    middle: Box<[[u8; 3]]>,
    limits: Box<[L]>,
    /// By how many bits a digest is shifted to give its bucket.
    shift: u32,
    /// The earliest end of an entry.
    earliest_end: u32,
}

impl<L: Limit> Table<L> {
    pub(super) fn empty() -> Self {
        Self::from_sorted(std::iter::empty(), 0, 0)
    }

    /// Returns the limit of the entry with this digest.
    pub(super) fn find(&self, digest: u64) -> Option<L> {
        let bucket = bucket(digest, self.shift);
        let [start, end] = *self.buckets.get(bucket..)?.first_chunk::<2>()?;
        let (start, end) = (position(start), position(end));
        let low = low(digest);
        for (within, present) in self.low.get(start..end)?.iter().enumerate() {
            if *present == low {
                let at = start.saturating_add(within);
                if self.middle.get(at) == Some(&middle(digest)) {
                    return self.limits.get(at).copied();
                }
            }
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.limits.len()
    }

    pub(super) fn earliest_end(&self) -> u32 {
        self.earliest_end
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
            .saturating_add(size_of_val(&*self.low))
            .saturating_add(size_of_val(&*self.middle))
            .saturating_add(size_of_val(&*self.limits))
    }

    /// Returns the entries, sorted by digest.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, L)> {
        let buckets = self.buckets.windows(2).enumerate().flat_map(|(bucket, limits)| {
            let count = limits.last().zip(limits.first()).map_or(0, |(end, start)| end.saturating_sub(*start));
            std::iter::repeat_n(bucket, position(count))
        });
        let parts = self.low.iter().zip(&self.middle).zip(&self.limits);
        buckets.zip(parts).map(|(bucket, ((low, middle), limit))| (self.digest(bucket, *low, *middle), *limit))
    }

    /// Returns the digest of an entry.
    fn digest(&self, bucket: usize, low: u32, [a, b, c]: [u8; 3]) -> u64 {
        let above = u64::from(u32::from_le_bytes([a, b, c, 0])) << 32;
        let bucket = u64::try_from(bucket).unwrap_or_default();
        // The lower bits of the bucket are in the middle, too.
        bucket.checked_shl(self.shift).unwrap_or_default() | above | u64::from(low)
    }

    /// Returns the entries of this table and of `others`, which is sorted by digest, without those that ended before `cutoff`.
    pub(super) fn merged(&self, others: impl Iterator<Item = (u64, L)>, cutoff: u32) -> Self {
        let capacity = self.len().saturating_add(others.size_hint().1.unwrap_or_default());
        let (mut ours, mut others) = (self.iter().peekable(), others.peekable());
        let next = || match (ours.peek(), others.peek()) {
            (Some((one, _)), Some((other, _))) if other < one => others.next(),
            (None, _) => others.next(),
            _ => ours.next(),
        };
        Self::from_sorted(std::iter::from_fn(next), capacity, cutoff)
    }

    fn from_sorted(entries: impl Iterator<Item = (u64, L)>, capacity: usize, cutoff: u32) -> Self {
        let (mut digests, mut limits) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        for (digest, limit) in entries.filter(|(_, limit)| limit.ends_at() >= cutoff) {
            match limits.last_mut() {
                Some(last) if digests.last() == Some(&digest) => *last = limit.merge(*last),
                _ => {
                    digests.push(digest);
                    limits.push(limit);
                }
            }
        }
        let bits = (digests.len() / BUCKET_ENTRIES).checked_ilog2().map_or(0, |bits| bits.saturating_add(1));
        let shift = u64::BITS.saturating_sub(bits.max(MIN_BUCKET_BITS));
        let mut at = 0;
        let starts = (0..=bucket(u64::MAX, shift).saturating_add(1)).map(|number| {
            while digests.get(at).is_some_and(|digest| bucket(*digest, shift) < number) {
                at = at.saturating_add(1);
            }
            u32::try_from(at).unwrap_or(u32::MAX)
        });
        let buckets = starts.collect();
        let earliest_end = limits.iter().map(|limit: &L| limit.ends_at()).min().unwrap_or(u32::MAX);
        let (low, middle) = (digests.iter().map(|digest| low(*digest)), digests.iter().map(|digest| middle(*digest)));
        Self { buckets, low: low.collect(), middle: middle.collect(), limits: limits.into(), shift, earliest_end }
    }
}

fn bucket(digest: u64, shift: u32) -> usize {
    usize::try_from(digest.checked_shr(shift).unwrap_or_default()).unwrap_or_default()
}

fn position(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn low(digest: u64) -> u32 {
    let [a, b, c, d, ..] = digest.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn middle(digest: u64) -> [u8; 3] {
    let [_, _, _, _, a, b, c, _] = digest.to_le_bytes();
    [a, b, c]
}

/// The largest average number of entries of a bucket: they are half a cache line.
const BUCKET_ENTRIES: usize = 8;

/// The stored part of a digest has 56 bits, so its bucket has at least eight.
const MIN_BUCKET_BITS: u32 = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn table(entries: &BTreeMap<u64, u32>) -> Table<Until> {
        let entries: Vec<_> = entries.iter().map(|(digest, ends_at)| (*digest, Until { ends_at: *ends_at })).collect();
        Table::empty().merged(entries.into_iter(), 0)
    }

    #[test]
    fn finds_every_entry_and_no_other() {
        for count in [0_u64, 1, 2, 15, 16, 17, 1_000, 20_000] {
            let digest = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let entries = (0..count).map(|number| (digest(number), u32::try_from(number).unwrap())).collect();
            let table = table(&entries);
            assert_eq!(table.len(), entries.len());
            for (digest, ends_at) in &entries {
                assert_eq!(table.find(*digest), Some(Until { ends_at: *ends_at }));
            }
            for number in count..count + 1_000 {
                assert_eq!(table.find(digest(number)), None);
            }
        }
        let extremes = BTreeMap::from([(0, 1), (u64::MAX, 2)]);
        assert_eq!(table(&extremes).find(u64::MAX), Some(Until { ends_at: 2 }));
    }

    #[test]
    fn merges_the_limits_of_one_digest() {
        let limit = |ends_at, before| IssuedBefore { ends_at, before };
        let one = Table::empty().merged([(7, limit(10, 5)), (7, limit(20, 1))].into_iter(), 0);
        assert_eq!((one.len(), one.find(7)), (1, Some(limit(20, 5))));
        let other = one.merged([(7, limit(15, 9))].into_iter(), 0);
        assert_eq!((other.len(), other.find(7)), (1, Some(limit(20, 9))));
        // An entry that has ended does not extend another one.
        assert_eq!(one.merged([(7, limit(15, 9))].into_iter(), 16).find(7), Some(limit(20, 5)));
    }

    #[test]
    fn a_million_entries_take_less_than_12_and_16_megabytes() {
        let digests = || (0..1_000_000_u64).map(|number| number << 44 | number);
        let exact: Vec<_> = digests().map(|digest| (digest, Until { ends_at: 1 })).collect();
        assert!(Table::empty().merged(exact.into_iter(), 0).bytes() < 12_000_000);
        let timed: Vec<_> = digests().map(|digest| (digest, IssuedBefore { ends_at: 1, before: 1 })).collect();
        assert!(Table::empty().merged(timed.into_iter(), 0).bytes() < 16_000_000);
    }

    proptest! {
        #[test]
        fn contains_what_has_not_ended(
            first in prop::collection::btree_map(0_u64..40, 0_u32..20, 0..40),
            second in prop::collection::btree_map(0_u64..40, 0_u32..20, 0..40),
            cutoff in 0_u32..20,
        ) {
            let (one, other) = (table(&first), table(&second));
            let entries: Vec<_> = other.iter().collect();
            let merged = one.merged(entries.into_iter(), cutoff);
            for digest in 0..40 {
                let ends = [first.get(&digest), second.get(&digest)].into_iter().flatten().copied().max();
                prop_assert_eq!(merged.find(digest).map(Limit::ends_at), ends.filter(|end| *end >= cutoff));
            }
            prop_assert_eq!(merged.earliest_end(), merged.iter().map(|(_, limit)| limit.ends_at).min().unwrap_or(u32::MAX));
        }
    }
}
