//! `StoredTenantKeys`: which stored keys tenants may use, and the removal of those of removed tenants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Monotonic};
use crate::defaults;
use crate::jwks::{KeyStoreError, StoredRecord, TenantRecords};
use crate::validator::tenants::removed::RemovedNames;

/// The stored keys of the tenants of one rule.
///
/// # Security
///
/// A client can name any tenant, so a name that the resolver does not know causes no access to the store: it is only recorded, and a
/// later tenant with this name does not load the record. The records of known tenants are removed one after the other, so a slow store
/// delays removals and nothing else.
pub(super) struct StoredTenantKeys {
    /// `None` without a key store.
    records: Option<TenantRecords>,
    clock: Arc<dyn Clock>,
    /// The names of tenants that were removed.
    removed: RemovedNames,
    /// The names of unknown tenants. They are separate, because clients can fill this list.
    unknown: RemovedNames,
    /// The names whose records are to be removed. A name leaves the queue after its removal, so that another task can continue.
    queue: Mutex<VecDeque<Arc<str>>>,
    wake: Notify,
}

impl StoredTenantKeys {
    pub(super) fn new(records: Option<TenantRecords>, max_age: Option<Duration>, clock: Arc<dyn Clock>) -> Self {
        Self {
            records,
            clock,
            removed: RemovedNames::new(max_age),
            unknown: RemovedNames::new(max_age),
            queue: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Returns whether the record of a tenant is its own. `earlier` is the result for the tenant with this name that is in the table
    /// already: it was known since then, so clients that name many unknown tenants do not change it.
    pub(super) fn stored_record(&self, name: &str, earlier: Option<StoredRecord>) -> StoredRecord {
        if earlier == Some(StoredRecord::Own) {
            return StoredRecord::Own;
        }
        let now = self.now();
        let may_be_foreign = self.removed.contains(name, now) || self.unknown.contains(name, now);
        if may_be_foreign { StoredRecord::MayBeForeign } else { StoredRecord::Own }
    }

    /// Records that the resolver does not know a name.
    pub(super) fn record_unknown(&self, name: &str) {
        if self.records.is_some() {
            self.unknown.record(name, self.now());
        }
    }

    /// Records that a tenant is removed, so that no later one with its name loads its keys.
    pub(super) fn record_removed(&self, name: &str) {
        if self.records.is_some() {
            self.removed.record(name, self.now());
        }
    }

    /// Removes the record of a removed tenant in the background. Its key source must be closed, so that it does not save the keys again.
    pub(super) fn remove_later(&self, name: &Arc<str>) {
        let Some(records) = &self.records else { return };
        let mut queue = self.queue();
        if queue.len() < defaults::MAX_REMOVED_TENANTS {
            queue.push_back(Arc::clone(name));
            drop(queue);
            self.wake.notify_one();
        } else {
            drop(queue);
            records.record(name, Err(KeyStoreError::Timeout));
        }
    }

    /// Removes the records in the queue, until the future is dropped.
    pub(super) async fn run_removals(&self) {
        loop {
            let next = self.queue().front().map(Arc::clone);
            let (Some(name), Some(records)) = (next, &self.records) else {
                self.wake.notified().await;
                continue;
            };
            let result = records.remove(&name, &*self.clock).await;
            self.queue().pop_front();
            records.record(&name, result);
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<str>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }
}
