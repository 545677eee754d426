//! `Set`: the entries of all kinds. It is immutable; an insertion returns a new set, which shares what did not change.

use std::sync::Arc;

use crate::revocation::kind::RevocationKind;
use crate::revocation::table::{IssuedBefore, Limit, Table, Until};

/// All entries.
#[derive(Clone, Debug)]
pub(super) struct Set {
    jwt_ids: Levels<Until>,
    sessions: Levels<Until>,
    subjects: Levels<IssuedBefore>,
    clients: Levels<IssuedBefore>,
    issuers: Levels<IssuedBefore>,
    /// The issuers that have an entry of a kind.
    concerned: Levels<Until>,
}

/// One entry. Times are seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) kind: RevocationKind,
    /// The digest of the name.
    pub(super) digest: u64,
    /// The digest of the issuer with the kind.
    pub(super) concerned: u64,
    pub(super) ends_at: u32,
    /// Ignored for kinds that reject all tokens of a name.
    pub(super) before: u32,
}

/// The set is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Set {
    pub(super) fn empty() -> Self {
        Self {
            jwt_ids: Levels::empty(),
            sessions: Levels::empty(),
            subjects: Levels::empty(),
            clients: Levels::empty(),
            issuers: Levels::empty(),
            concerned: Levels::empty(),
        }
    }

    /// Returns the set with more entries. Entries that ended before `cutoff` may be dropped, others never: if not all of the new ones
    /// fit into `max_entries`, as many as fit are inserted, and the result says so.
    pub(super) fn with(&self, mut records: Vec<Record>, cutoff: u32, max_entries: usize) -> (Self, Result<(), Full>) {
        let is_full = self.total().saturating_add(records.len()) > max_entries;
        let mut set = if is_full && self.earliest_end() < cutoff { self.compacted(cutoff) } else { self.clone() };
        let mut room = max_entries.saturating_sub(set.total());
        let count = records.len();
        records.retain(|record| {
            let is_present = set.contains(record.kind, record.digest);
            let fits = is_present || room > 0;
            room = room.saturating_sub(usize::from(!is_present));
            fits
        });
        let outcome = if records.len() == count { Ok(()) } else { Err(Full) };
        set.insert(&records, cutoff);
        (set, outcome)
    }

    fn insert(&mut self, records: &[Record], cutoff: u32) {
        let of = |kind: RevocationKind| records.iter().filter(move |record| record.kind == kind);
        let until = |kind| of(kind).map(|record| (record.digest, Until { ends_at: record.ends_at })).collect();
        let issued_before = |kind| {
            let limit = |record: &Record| IssuedBefore { ends_at: record.ends_at, before: record.before };
            of(kind).map(|record| (record.digest, limit(record))).collect()
        };
        self.jwt_ids.insert(until(RevocationKind::JwtId), cutoff);
        self.sessions.insert(until(RevocationKind::Session), cutoff);
        self.subjects.insert(issued_before(RevocationKind::Subject), cutoff);
        self.clients.insert(issued_before(RevocationKind::Client), cutoff);
        self.issuers.insert(issued_before(RevocationKind::Issuer), cutoff);
        let concerned = records.iter().map(|record| (record.concerned, Until { ends_at: record.ends_at }));
        self.concerned.insert(concerned.collect(), cutoff);
    }

    fn compacted(&self, cutoff: u32) -> Self {
        Self {
            jwt_ids: self.jwt_ids.compacted(cutoff),
            sessions: self.sessions.compacted(cutoff),
            subjects: self.subjects.compacted(cutoff),
            clients: self.clients.compacted(cutoff),
            issuers: self.issuers.compacted(cutoff),
            concerned: self.concerned.compacted(cutoff),
        }
    }

    /// Returns the end of the entry of a token or a session.
    pub(super) fn find(&self, kind: RevocationKind, digest: u64) -> Option<Until> {
        match kind {
            RevocationKind::JwtId => self.jwt_ids.find(digest),
            RevocationKind::Session => self.sessions.find(digest),
            RevocationKind::Subject | RevocationKind::Client | RevocationKind::Issuer => None,
        }
    }

    /// Returns the limits of the entry of a subject, a client or an issuer.
    pub(super) fn find_issued_before(&self, kind: RevocationKind, digest: u64) -> Option<IssuedBefore> {
        match kind {
            RevocationKind::JwtId | RevocationKind::Session => None,
            RevocationKind::Subject => self.subjects.find(digest),
            RevocationKind::Client => self.clients.find(digest),
            RevocationKind::Issuer => self.issuers.find(digest),
        }
    }

    /// Returns the latest end of the entries of a kind and an issuer.
    pub(super) fn find_concerned(&self, digest: u64) -> Option<Until> {
        self.concerned.find(digest)
    }

    /// Returns the number of entries of a kind.
    pub(super) fn len(&self, kind: RevocationKind) -> usize {
        match kind {
            RevocationKind::JwtId => self.jwt_ids.len(),
            RevocationKind::Session => self.sessions.len(),
            RevocationKind::Subject => self.subjects.len(),
            RevocationKind::Client => self.clients.len(),
            RevocationKind::Issuer => self.issuers.len(),
        }
    }

    /// Returns the bits of the kinds that have entries.
    pub(super) fn kinds(&self) -> u8 {
        RevocationKind::ALL.iter().filter(|kind| self.len(**kind) > 0).fold(0, |bits, kind| bits | kind.bit())
    }

    pub(super) fn bytes(&self) -> usize {
        [
            self.jwt_ids.bytes(),
            self.sessions.bytes(),
            self.subjects.bytes(),
            self.clients.bytes(),
            self.issuers.bytes(),
            self.concerned.bytes(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Returns whether the set rejects everything that an entry would reject.
    pub(super) fn covers(&self, record: &Record) -> bool {
        let Record { kind, digest, ends_at, before, .. } = *record;
        let timed = |entry: IssuedBefore| entry.ends_at >= ends_at && entry.before >= before;
        self.find(kind, digest).is_some_and(|entry| entry.ends_at >= ends_at)
            || self.find_issued_before(kind, digest).is_some_and(timed)
    }

    fn contains(&self, kind: RevocationKind, digest: u64) -> bool {
        self.find(kind, digest).is_some() || self.find_issued_before(kind, digest).is_some()
    }

    fn total(&self) -> usize {
        RevocationKind::ALL.iter().map(|kind| self.len(*kind)).fold(0, usize::saturating_add)
    }

    fn earliest_end(&self) -> u32 {
        let exact = self.jwt_ids.earliest_end().min(self.sessions.earliest_end());
        let timed = self.subjects.earliest_end().min(self.clients.earliest_end());
        exact.min(timed).min(self.issuers.earliest_end())
    }
}

/// The entries of one kind in two tables: a large one, and a small one to which entries are added, because each insertion copies a
/// table. A digest may be in both.
#[derive(Debug)]
struct Levels<L> {
    base: Arc<Table<L>>,
    recent: Arc<Table<L>>,
}

impl<L: Limit> Levels<L> {
    fn empty() -> Self {
        Self { base: Arc::new(Table::empty()), recent: Arc::new(Table::empty()) }
    }

    fn find(&self, digest: u64) -> Option<L> {
        let base = self.base.find(digest);
        if self.recent.len() == 0 {
            return base;
        }
        match (base, self.recent.find(digest)) {
            (Some(base), Some(recent)) => Some(base.merge(recent)),
            (base, recent) => base.or(recent),
        }
    }

    fn insert(&mut self, mut entries: Vec<(u64, L)>, cutoff: u32) {
        if entries.is_empty() {
            return;
        }
        entries.sort_unstable_by_key(|(digest, _)| *digest);
        let recent = self.recent.merged(entries.into_iter(), cutoff);
        self.recent = Arc::new(recent);
        if self.base.len() <= SMALL || self.recent.len() >= RECENT {
            *self = self.compacted(cutoff);
        }
    }

    fn compacted(&self, cutoff: u32) -> Self {
        Self { base: Arc::new(self.base.merged(self.recent.iter(), cutoff)), recent: Arc::new(Table::empty()) }
    }

    /// Counts an entry that is in both tables twice.
    fn len(&self) -> usize {
        self.base.len().saturating_add(self.recent.len())
    }

    fn bytes(&self) -> usize {
        self.base.bytes().saturating_add(self.recent.bytes())
    }

    fn earliest_end(&self) -> u32 {
        self.base.earliest_end().min(self.recent.earliest_end())
    }
}

impl<L> Clone for Levels<L> {
    fn clone(&self) -> Self {
        Self { base: Arc::clone(&self.base), recent: Arc::clone(&self.recent) }
    }
}

/// A table of this size is copied for each insertion: it takes 50 µs.
const SMALL: usize = 16_384;

/// So many entries are collected before they are merged into a larger table.
const RECENT: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn record(kind: RevocationKind, digest: u64, ends_at: u32, before: u32) -> Record {
        Record { kind, digest, concerned: 0, ends_at, before }
    }

    fn with(set: &Set, record: Record, cutoff: u32, max_entries: usize) -> Result<Set, Full> {
        let (set, outcome) = set.with(vec![record], cutoff, max_entries);
        outcome.map(|()| set)
    }

    #[test]
    fn never_drops_an_entry_that_has_not_ended() {
        let mut set = Set::empty();
        for digest in 0..10 {
            set = with(&set, record(RevocationKind::JwtId, digest, 100, 0), 0, 10).expect("room");
        }
        let another = record(RevocationKind::Subject, 10, 200, 0);
        assert_eq!(with(&set, another, 100, 10).map(drop), Err(Full));
        // An entry that is present is renewed, also if others do not fit.
        let (renewed, outcome) = set.with(vec![another, record(RevocationKind::JwtId, 3, 150, 0)], 100, 10);
        assert_eq!((outcome, renewed.find(RevocationKind::JwtId, 3)), (Err(Full), Some(Until { ends_at: 150 })));
        assert!((0..10).all(|digest| renewed.find(RevocationKind::JwtId, digest).is_some()));
        assert_eq!(renewed.len(RevocationKind::Subject), 0);
        // From then on, the other entries have ended.
        let later = with(&renewed, another, 101, 10).expect("room");
        assert_eq!((later.len(RevocationKind::JwtId), later.len(RevocationKind::Subject)), (1, 1));
        assert_eq!(later.kinds(), RevocationKind::JwtId.bit() | RevocationKind::Subject.bit());
    }

    #[test]
    fn finds_entries_of_the_large_and_of_the_small_table() {
        let jwt_id = |number: u64, ends_at| {
            record(RevocationKind::JwtId, number.wrapping_mul(0x9e37_79b9_7f4a_7c15), ends_at, 0)
        };
        let count = u64::try_from(SMALL + 100).expect("few");
        let (mut set, _) = Set::empty().with((0..count).map(|number| jwt_id(number, 10)).collect(), 0, usize::MAX);
        let find = |set: &Set, number| set.find(RevocationKind::JwtId, jwt_id(number, 0).digest);
        for number in count..count + 5_000 {
            set = with(&set, jwt_id(number, 20), 0, usize::MAX).expect("room");
            assert!(find(&set, number).is_some());
        }
        assert!(set.jwt_ids.recent.len() > 0 && set.jwt_ids.recent.len() < RECENT);
        assert!((0..count + 5_000).all(|number| find(&set, number).is_some()));
        let renewed = with(&set, jwt_id(0, 30), 0, usize::MAX).expect("room");
        assert_eq!(find(&renewed, 0), Some(Until { ends_at: 30 }));
        assert_eq!(renewed.compacted(11).len(RevocationKind::JwtId), 5_001);
    }

    fn any_kind() -> impl Strategy<Value = RevocationKind> {
        prop::sample::select(RevocationKind::ALL)
    }

    proptest! {
        /// The model keeps every entry that was ever inserted.
        #[test]
        fn rejects_what_an_entry_rejects_that_has_not_ended(
            steps in prop::collection::vec((any_kind(), 0_u64..12, 0_u32..30, 0_u32..30), 0..60),
            cutoff in 0_u32..30,
        ) {
            let mut set = Set::empty();
            let mut model: BTreeMap<(RevocationKind, u64), Vec<IssuedBefore>> = BTreeMap::new();
            for (at, (kind, digest, ends_at, before)) in steps.into_iter().enumerate() {
                // The cutoff grows with each step.
                let cutoff = cutoff.min(u32::try_from(at).expect("few"));
                match with(&set, record(kind, digest, ends_at, before), cutoff, 20) {
                    Ok(next) => {
                        set = next;
                        model.entry((kind, digest)).or_default().push(IssuedBefore { ends_at, before });
                    }
                    Err(Full) => prop_assert!(set.total() >= 20),
                }
            }
            for kind in RevocationKind::ALL {
                for digest in 0..12 {
                    let known = model.get(&(*kind, digest)).map(Vec::as_slice).unwrap_or_default();
                    let exact = set.find(*kind, digest);
                    let timed = set.find_issued_before(*kind, digest);
                    for entry in known.iter().filter(|entry| entry.ends_at >= cutoff) {
                        let covers = exact.is_some_and(|found| found.ends_at >= entry.ends_at)
                            || timed.is_some_and(|found| found.ends_at >= entry.ends_at && found.before >= entry.before);
                        prop_assert!(covers, "{kind} {digest}: {entry:?}");
                    }
                    prop_assert!(!known.is_empty() || exact.is_none() && timed.is_none());
                }
            }
        }
    }
}
