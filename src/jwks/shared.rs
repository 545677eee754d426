//! State that requests and the driver task share.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::clock::{Clock, Moment, Monotonic};
use crate::defaults;
use crate::fetch::Fetch;
use crate::jwks::absent_kids::AbsentKids;
use crate::jwks::after_fetch::AfterFetchList;
use crate::jwks::blocked_keys::BlockedKeys;
use crate::jwks::driver_core::DriverCore;
use crate::jwks::driver_status::{DriverStatus, KidHistory, Task};
use crate::jwks::events::{Notifier, UnknownKidAction};
use crate::jwks::key_store::{KeyStore, RecordName};
use crate::jwks::mailbox::{Mailbox, Reply};
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::Refresh;
use crate::jwks::snapshot::{Snapshot, SnapshotStore};
use crate::jwks::status::KeyState;
use crate::keys::KeyTable;
use crate::telemetry::{self, SourceLabel, StaleServed};
use crate::token::Algorithm;

/// The state of a key source.
pub(super) struct Shared {
    pub(super) origin: Origin,
    pub(super) algorithms: Arc<[Algorithm]>,
    pub(super) policy: Arc<RefreshPolicy>,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) key_store: Option<Arc<dyn KeyStore>>,
    pub(super) record_name: RecordName,
    pub(super) stored_record: StoredRecord,
    pub(super) blocked: BlockedKeys,
    pub(super) published: SnapshotStore,
    pub(super) driver_status: watch::Sender<DriverStatus>,
    pub(super) mailbox: Mailbox,
    pub(super) absent_kids: AbsentKids,
    pub(super) waiters: Semaphore,
    pub(super) stale_served: StaleServed,
    pub(super) source_label: SourceLabel,
    pub(super) notifier: Notifier,
    pub(super) after_fetch: AfterFetchList,
    /// Only the driver locks it, never across an await. It is stored here so that it survives the end of the task's runtime.
    core: Mutex<DriverCore>,
    pub(super) running: AtomicBool,
    /// The time, in nanoseconds since the clock's origin, from which the driver's timer is late.
    late_from: AtomicU64,
}

/// Where keys come from besides fetches, which are blocked already, and the tenant that the issuer is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Imports {
    /// The keys that are used until the first fetch has succeeded.
    pub(crate) initial_keys: Option<KeyTable>,
    pub(crate) key_store: Option<Arc<dyn KeyStore>>,
    /// Present if the issuer is a tenant that is not known at start.
    pub(crate) tenant: Option<TenantImports>,
    pub(crate) blocked: BlockedKeys,
}

/// What a source must know if its issuer is a tenant.
#[derive(Clone, Debug)]
pub(crate) struct TenantImports {
    /// The name of the tenants in metrics.
    pub(crate) group: Arc<str>,
    /// The API of the tenant, in the name of its record.
    pub(crate) scope: Arc<str>,
    /// The `iss` of the tenant.
    pub(crate) name: Arc<str>,
    pub(crate) stored_record: StoredRecord,
}

/// Whether the key store may have the keys of another issuer with the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StoredRecord {
    #[default]
    Own,
    /// An earlier tenant with this name was removed, and its record may be left.
    MayBeForeign,
}

impl Shared {
    pub(super) fn new(
        origin: Origin,
        algorithms: &[Algorithm],
        policy: RefreshPolicy,
        fetch: Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
        imports: Imports,
    ) -> Self {
        let mut machine = Refresh::new(policy.clone());
        let published = SnapshotStore::new(imports.blocked.clone());
        let now = Moment::now(&*clock);
        let compromised = imports.blocked.compromised();
        let initial_keys = imports.initial_keys.map(|table| table.without(|_, key| compromised.contains(key)));
        if let Some(table) = initial_keys.filter(|table| table.usable() > 0)
            && let Some(times) = machine.import(Duration::ZERO, now.monotonic)
        {
            published.replace(table, None, times, now.wall);
        }
        let (source_label, record_name, stored_record) = match imports.tenant {
            Some(TenantImports { group, scope, name, stored_record }) => {
                (SourceLabel::Shared(group), RecordName::of_tenant(&scope, &name), stored_record)
            }
            None => {
                (SourceLabel::Own(Arc::from(origin.label())), RecordName::of_origin(&origin), StoredRecord::default())
            }
        };
        let driver_status = DriverStatus::new(&machine, Task::Absent);
        let max_waiters = policy.max_waiters.min(Semaphore::MAX_PERMITS);
        Self {
            core: Mutex::new(DriverCore::new(machine, &origin, &policy, now)),
            notifier: Notifier::new(origin.label(), source_label.clone(), policy.event_hook.clone()),
            origin,
            algorithms: Arc::from(algorithms),
            policy: Arc::new(policy),
            fetch,
            clock,
            key_store: imports.key_store,
            record_name,
            stored_record,
            blocked: imports.blocked,
            published,
            driver_status: watch::Sender::new(driver_status),
            mailbox: Mailbox::default(),
            absent_kids: AbsentKids::new(),
            waiters: Semaphore::new(max_waiters),
            stale_served: StaleServed::default(),
            source_label,
            after_fetch: AfterFetchList::default(),
            running: AtomicBool::new(false),
            late_from: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn label(&self) -> &str {
        self.origin.label()
    }

    pub(super) fn core(&self) -> MutexGuard<'_, DriverCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Moment {
        Moment::now(&*self.clock)
    }

    pub(super) fn take_reloads(&self) -> Vec<Reply> {
        mem::take(&mut *self.mailbox.reloads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether a task runs the state machine. All threads read this flag and [`is_closing`](Self::is_closing) in one
    /// order (`SeqCst`). If a task ends while a caller closes the source, at least one of them sees the other's flag and
    /// reports the close.
    pub(super) fn has_task(&self) -> bool {
        self.running.load(Ordering::SeqCst)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.mailbox.closing.load(Ordering::SeqCst)
    }

    /// Notifies the driver of an unknown kid.
    pub(super) fn notify_unknown_kid(&self, history: KidHistory) {
        let flag = match history {
            KidHistory::New => &self.mailbox.unknown_kid_seen,
            KidHistory::Absent => &self.mailbox.absent_kid_seen,
        };
        self.notify(flag);
    }

    /// Notifies the driver of a signature that no known key verifies.
    pub(super) fn notify_invalid_signature(&self) {
        self.notify(&self.mailbox.invalid_signature_seen);
    }

    fn notify(&self, flag: &AtomicBool) {
        if !flag.swap(true, Ordering::AcqRel) {
            self.mailbox.wake.notify_one();
        }
    }

    /// Counts a request with an unknown kid once its action is final.
    pub(super) fn count_unknown_kid(&self, action: UnknownKidAction) {
        if self.notifier.count_unknown_kid(action) {
            self.mailbox.wake.notify_one();
        }
    }

    pub(super) fn set_late_from(&self, wake_at: Option<Monotonic>) {
        let late = wake_at.map(|at| at.saturating_add(defaults::TIMER_SLACK).since_origin().as_nanos());
        let late = late.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(u64::MAX);
        self.late_from.store(late, Ordering::Release);
    }

    /// Wakes the driver if its timer is late, or if the monotonic clock has missed part of the age of `snapshot`: timers and
    /// that clock may stop while the machine is suspended.
    pub(super) fn wake_if_late(&self, snapshot: &Snapshot, now: Moment) {
        let late_from = Duration::from_nanos(self.late_from.load(Ordering::Acquire));
        let was_suspended = snapshot.clock_lag(now) >= defaults::TIMER_SLACK;
        if was_suspended || now.monotonic.since_origin() >= late_from {
            self.late_from.store(u64::MAX, Ordering::Release);
            self.mailbox.wake.notify_one();
        }
    }

    /// Closes the source: stops the task and the fetch in flight, and wakes all waiters.
    pub(super) fn close(&self) {
        if self.mailbox.closing.swap(true, Ordering::SeqCst) {
            return;
        }
        self.published.close();
        let now = self.clock.monotonic();
        self.driver_status.send_modify(|status| status.close(now));
        self.mailbox.wake.notify_one();
        self.report_closed();
        // A running task sends this event itself, after its other pending events.
        if !self.has_task() {
            self.notifier.notify_closed();
        }
    }

    /// Sets the gauges to the closed state.
    pub(super) fn report_closed(&self) {
        telemetry::jwks_state(&self.source_label, KeyState::Closed.number(), 0, None);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("origin", &self.origin).finish_non_exhaustive()
    }
}
