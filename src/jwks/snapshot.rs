//! The keys in use: every request reads them without a lock, and a mutex serializes the writers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::clock::{Moment, Monotonic, Timestamp};
use crate::defaults;
use crate::jwks::blocked_keys::BlockedKeys;
use crate::jwks::deny_list::DenyList;
use crate::jwks::freshness::{FreshnessState, StoredResponse, Times};
use crate::jwks::operation::CompromisedKeys;
use crate::keys::{KeyTable, NamedKey, SkippedKey, Thumbprint};

/// The usable keys at one point in time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The keys that verify tokens.
    pub(crate) table: KeyTable,
    /// The number of changes of `table`; 0 before the first keys.
    pub(crate) epoch: u64,
    pub(super) times: Times,
    /// The wall-clock time at which the issuer last confirmed the keys.
    confirmed_wall: Timestamp,
}

impl Snapshot {
    /// Returns whether the keys may be used.
    pub(super) fn is_usable(&self, now: Moment) -> bool {
        self.adjusted(now) < self.times.expires_at
    }

    /// Returns the number of usable keys.
    pub(super) fn usable_keys(&self, now: Moment) -> usize {
        if self.is_usable(now) { self.table.usable() } else { 0 }
    }

    /// Returns the time since the issuer last confirmed the keys, by the clock that shows the longer time; `None` before the
    /// first keys.
    pub(super) fn age(&self, now: Moment) -> Option<Duration> {
        (self.epoch > 0).then(|| self.times.age(self.adjusted(now)))
    }

    /// Returns the wall-clock time at which the issuer last confirmed the keys, by the clock that shows the longer age.
    pub(super) fn confirmed_at(&self, now: Moment) -> Timestamp {
        let by_age = self.age(now).map(|age| now.wall.saturating_sub(age));
        by_age.map_or(self.confirmed_wall, |at| at.min(self.confirmed_wall))
    }

    /// Returns the freshness of the keys; `None` before the first keys.
    pub(super) fn freshness_state(&self, now: Moment) -> Option<FreshnessState> {
        (self.epoch > 0).then(|| self.times.freshness_state(self.adjusted(now)))
    }

    /// Returns by how much the keys are older by the wall clock than by the monotonic clock; zero if they are not, and before
    /// the first keys.
    pub(super) fn clock_lag(&self, now: Moment) -> Duration {
        let by_wall = if self.epoch > 0 { now.wall.saturating_since(self.confirmed_wall) } else { Duration::ZERO };
        by_wall.saturating_sub(self.times.age(now.monotonic))
    }

    /// Returns the time of the monotonic clock plus the time that only the wall clock has counted.
    fn adjusted(&self, now: Moment) -> Monotonic {
        now.monotonic.saturating_add(self.clock_lag(now))
    }
}

/// The current snapshot, and the data from which the next one is built.
pub(super) struct SnapshotStore {
    current: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
}

struct Writer {
    /// The key set as the issuer published it, denied keys included.
    published: KeyTable,
    /// The deny list in it is locked only while the writer is locked.
    blocked: BlockedKeys,
    stored: Option<StoredResponse>,
    skipped: Arc<[SkippedKey]>,
    closed: bool,
}

/// Whether a key set has usable keys after keys were removed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    None,
    Some,
}

impl SnapshotStore {
    /// Creates a store with an empty snapshot, which is never usable.
    pub(super) fn new(blocked: BlockedKeys) -> Self {
        let published = KeyTable::from_secrets(Vec::new());
        let empty =
            Snapshot { table: published.clone(), epoch: 0, times: Times::NEVER, confirmed_wall: Timestamp::UNIX_EPOCH };
        let skipped = Arc::default();
        let writer = Writer { published, blocked, stored: None, skipped, closed: false };
        Self { current: ArcSwap::from_pointee(empty), writer: Mutex::new(writer) }
    }

    /// Returns the current snapshot without a lock or an allocation.
    pub(super) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    pub(super) fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Returns the key set that the issuer published last, denied keys included.
    pub(super) fn published_table(&self) -> KeyTable {
        self.writer().published.clone()
    }

    /// Returns the stored response of that key set, which a 304 may confirm.
    pub(super) fn stored(&self) -> Option<StoredResponse> {
        self.writer().stored.clone()
    }

    /// Returns the skipped keys of the last document in which keys were found, even if its key set was rejected.
    pub(super) fn skipped(&self) -> Arc<[SkippedKey]> {
        Arc::clone(&self.writer().skipped)
    }

    pub(super) fn set_skipped(&self, skipped: Arc<[SkippedKey]>) {
        self.writer().skipped = skipped;
    }

    /// Removes compromised keys from the current key set. If no usable key remains, the key set expires at `now`.
    pub(super) fn remove_compromised(&self, compromised: &CompromisedKeys, now: Monotonic) -> Remaining {
        let mut writer = self.writer();
        let rest = writer.published.without(|_, thumbprint| compromised.contains(thumbprint));
        if rest.usable() == writer.published.usable() {
            return Remaining::Some;
        }
        let remaining = if rest.usable() == 0 { Remaining::None } else { Remaining::Some };
        writer.published = rest;
        // A 304 would confirm the document with the removed keys.
        writer.stored = None;
        let current = self.load();
        let times = if remaining == Remaining::None { current.times.expired_at(now) } else { current.times };
        self.publish(&writer, times, current.confirmed_wall);
        remaining
    }

    /// Publishes a newly loaded key set.
    pub(super) fn replace(&self, table: KeyTable, stored: Option<StoredResponse>, times: Times, wall: Timestamp) {
        let mut writer = self.writer();
        writer.blocked.denied().record(table.named_keys());
        writer.published = table;
        writer.stored = stored;
        self.publish(&writer, times, wall);
    }

    /// Records the keys of a rejected key set. A current key that this set publishes with a denied `kid` is denied.
    pub(super) fn record_rejected(&self, keys: Vec<NamedKey>) {
        if !keys.is_empty() {
            let writer = self.writer();
            writer.blocked.denied().record(keys);
            self.republish(&writer);
        }
    }

    /// Sets the times of the current key set after the issuer has confirmed it.
    pub(super) fn confirm(&self, stored: Option<StoredResponse>, times: Times, wall: Timestamp) {
        let mut writer = self.writer();
        writer.stored = stored;
        self.publish(&writer, times, wall);
    }

    /// Adds to the age of the key set the time that only the wall clock has counted, and returns it; `None` if there is none.
    /// The key set then does not become younger if the wall clock is set back later.
    pub(super) fn count_suspension(&self, now: Moment) -> Option<Duration> {
        let writer = self.writer();
        let current = self.load();
        let clock_lag = current.clock_lag(now);
        if clock_lag < defaults::TIMER_SLACK {
            return None;
        }
        self.publish(&writer, current.times.older_by(clock_lag), current.confirmed_wall);
        Some(clock_lag)
    }

    /// Denies a `kid` and the keys that were published with it, now and in every later key set.
    pub(super) fn deny_kid(&self, kid: &str) {
        let writer = self.writer();
        let is_new = writer.blocked.denied().deny_kid(kid, &writer.published.named_keys());
        if is_new {
            self.republish(&writer);
        }
    }

    /// Reverts [`deny_kid`](Self::deny_kid).
    pub(super) fn allow_kid(&self, kid: &str) {
        self.update_denied(|denied| denied.allow_kid(kid));
    }

    /// Denies a key, now and in every later key set.
    pub(super) fn deny_key(&self, thumbprint: Thumbprint) {
        self.update_denied(|denied| denied.deny_key(thumbprint));
    }

    /// Reverts [`deny_key`](Self::deny_key).
    pub(super) fn allow_key(&self, thumbprint: Thumbprint) {
        self.update_denied(|denied| denied.allow_key(thumbprint));
    }

    fn update_denied(&self, update: impl FnOnce(&mut DenyList) -> bool) {
        let writer = self.writer();
        let is_changed = update(&mut writer.blocked.denied());
        if is_changed {
            self.republish(&writer);
        }
    }

    /// Makes all keys unusable permanently, even if a fetch in flight succeeds.
    pub(super) fn close(&self) {
        let mut writer = self.writer();
        writer.closed = true;
        self.republish(&writer);
    }

    fn republish(&self, writer: &Writer) {
        let current = self.load();
        self.publish(writer, current.times, current.confirmed_wall);
    }

    /// Stores a new snapshot. The epoch increases exactly when the usable keys change, so that cached tokens stay valid
    /// otherwise.
    fn publish(&self, writer: &Writer, times: Times, confirmed_wall: Timestamp) {
        let before = self.load();
        let times = if writer.closed { Times::NEVER } else { times };
        let table = writer.blocked.denied().allowed(&writer.published);
        let is_first = before.epoch == 0 && times != Times::NEVER;
        let (table, epoch) = if is_first || table.digest() != before.table.digest() {
            (table, before.epoch.saturating_add(1))
        } else {
            (before.table.clone(), before.epoch)
        };
        self.current.store(Arc::new(Snapshot { table, epoch, times, confirmed_wall }));
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::jwks::freshness::Phase;
    use crate::jwks::jitter::Sample;
    use crate::jwks::policy::RefreshPolicy;
    use crate::jwks::tests::kit::{jwks, table};
    use crate::keys::Found;
    use crate::token::Algorithm;

    use super::*;

    const WALL: Timestamp = Timestamp::from_secs(1_000_000);
    const START: Moment = Moment { wall: WALL, monotonic: Monotonic::from_origin(Duration::ZERO) };

    fn times(second: u64) -> Times {
        let now = Monotonic::from_origin(Duration::from_secs(second));
        Times::new(None, &RefreshPolicy::new(), Phase::Later, now, Sample::default())
    }

    fn knows(published: &SnapshotStore, kid: &str) -> bool {
        matches!(published.load().table.find(Some(kid), Algorithm::ES256), Found::Keys(_))
    }

    #[test]
    fn epoch_increases_exactly_when_the_keys_change() {
        let published = SnapshotStore::new(BlockedKeys::default());
        assert_eq!(published.load().epoch, 0);
        published.replace(table(&jwks(&["a"])), None, times(1), WALL);
        assert_eq!(published.load().epoch, 1);
        published.replace(table(&jwks(&["a"])), None, times(2), WALL);
        published.confirm(None, times(3), WALL);
        assert_eq!((published.load().epoch, published.load().times), (1, times(3)));
        published.replace(table(&jwks(&["a", "b"])), None, times(4), WALL);
        assert_eq!(published.load().epoch, 2);
    }

    #[test]
    fn denied_key_is_unusable_until_it_is_allowed() {
        let published = SnapshotStore::new(BlockedKeys::default());
        published.replace(table(&jwks(&["a", "b"])), None, times(1), WALL);
        published.deny_kid("a");
        assert!(!knows(&published, "a") && knows(&published, "b"));
        assert_eq!((published.load().epoch, published.load().times), (2, times(1)));
        published.replace(table(&jwks(&["a", "b", "c"])), None, times(2), WALL);
        assert!(!knows(&published, "a") && knows(&published, "c"));
        published.allow_kid("a");
        assert!(knows(&published, "a"));
        assert_eq!(published.load().epoch, 4);
    }

    #[test]
    fn denies_a_kid_before_the_first_keys() {
        let published = SnapshotStore::new(BlockedKeys::default());
        published.deny_kid("a");
        assert_eq!(published.load().epoch, 0);
        published.replace(table(&jwks(&["a", "b"])), None, times(1), WALL);
        assert!(!knows(&published, "a") && knows(&published, "b"));
    }

    #[test]
    fn accepted_empty_set_is_the_first_epoch() {
        let published = SnapshotStore::new(BlockedKeys::default());
        published.replace(SnapshotStore::new(BlockedKeys::default()).published_table(), None, times(1), WALL);
        assert_eq!(published.load().epoch, 1);
    }

    #[test]
    fn keys_are_unusable_after_close() {
        let published = SnapshotStore::new(BlockedKeys::default());
        published.replace(table(&jwks(&["a"])), None, times(1), WALL);
        assert!(published.load().is_usable(START));
        published.close();
        published.replace(table(&jwks(&["a"])), None, times(2), WALL);
        assert!(!published.load().is_usable(START));
    }

    fn after(start: Timestamp, wall_seconds: u64, seconds: u64) -> Moment {
        let wall = start.saturating_add(Duration::from_secs(wall_seconds));
        Moment { wall, monotonic: Monotonic::from_origin(Duration::from_secs(seconds)) }
    }

    #[test]
    fn age_is_the_larger_of_both_clocks() {
        let published = SnapshotStore::new(BlockedKeys::default());
        published.replace(table(&jwks(&["a"])), None, times(0), WALL);
        let age = |now| published.load().age(now);
        let hours = |hours: u64| hours * 3600;
        for (now, expected) in [
            (after(WALL, 0, 0), 0),
            (after(WALL, 10, 10), 10),
            (after(WALL, hours(2), 10), hours(2)),
            (after(WALL, 10, 20), 20),
            (after(Timestamp::UNIX_EPOCH, 0, 20), 20),
        ] {
            assert_eq!(age(now), Some(Duration::from_secs(expected)), "{now:?}");
        }
        assert!(published.load().is_usable(after(WALL, hours(1) - 1, 10)));
        assert!(!published.load().is_usable(after(WALL, hours(1), 10)));
    }

    #[test]
    fn counted_suspension_stays_when_the_wall_clock_is_set_back() {
        let published = SnapshotStore::new(BlockedKeys::default());
        assert_eq!(published.count_suspension(after(WALL, 100, 0)), None, "there are no keys yet");
        published.replace(table(&jwks(&["a"])), None, times(0), WALL);
        assert_eq!(published.count_suspension(after(WALL, 10, 10)), None);
        let hidden = Duration::from_secs(600);
        assert_eq!(published.count_suspension(after(WALL, 610, 10)), Some(hidden));
        assert_eq!(published.count_suspension(after(WALL, 610, 10)), None, "it is counted once");
        for now in [after(WALL, 620, 20), after(WALL, 20, 20), after(Timestamp::UNIX_EPOCH, 0, 20)] {
            assert_eq!(published.load().age(now), Some(hidden + Duration::from_secs(20)), "{now:?}");
        }
        published.deny_kid("a");
        assert_eq!(published.load().age(after(WALL, 20, 20)), Some(hidden + Duration::from_secs(20)));
        published.confirm(None, times(30), WALL);
        assert_eq!(published.load().age(after(WALL, 10, 40)), Some(Duration::from_secs(10)));
        assert_eq!(published.load().epoch, 2, "only the denied key has changed");
    }
}
