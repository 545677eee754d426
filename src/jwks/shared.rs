//! State that requests and the driver task share.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::clock::{Clock, Moment, Monotonic};
use crate::defaults;
use crate::fetch::{Endpoint, EndpointError, Fetch, Transport};
use crate::jwks::discovery::Discovery;
use crate::jwks::driver::{self, Core};
use crate::jwks::error::{KeysUnavailable, RefreshError};
use crate::jwks::events::{Notifier, UnknownKidAction};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::{Activity, Refresh};
use crate::jwks::snapshot::{Snapshot, SnapshotStore};
use crate::jwks::status::KeyState;
use crate::telemetry::{self, StaleServed};
use crate::token::Algorithm;

/// The location of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A configured JWKS URL.
    Jwks { issuer: Arc<str>, endpoint: Endpoint },
    /// The `jwks_uri` of the issuer's discovery document.
    Discovery(Discovery),
}

impl Origin {
    /// Creates the origin of an issuer with a configured JWKS URL.
    pub(crate) fn jwks(issuer: &str, endpoint: Endpoint) -> Self {
        Self::Jwks { issuer: Arc::from(issuer), endpoint }
    }

    /// Creates the origin of an issuer with a discovery document.
    pub(crate) fn discovery(issuer: &str) -> Result<Self, EndpointError> {
        Discovery::new(issuer).map(Self::Discovery)
    }

    /// Like [`discovery`](Self::discovery), but allows plain http on every host.
    ///
    /// # Security
    ///
    /// An attacker on the network path can add their own keys to the key set.
    pub(crate) fn dangerous_discovery_over_http(issuer: &str) -> Result<Self, EndpointError> {
        Discovery::dangerous_over_http(issuer).map(Self::Discovery)
    }

    /// Returns whether the first fetch needs TLS. A discovery document over plain http may name an https `jwks_uri`.
    pub(crate) fn transport(&self) -> Transport {
        let endpoint = match self {
            Self::Jwks { endpoint, .. } => endpoint,
            Self::Discovery(discovery) => discovery.openid(),
        };
        if endpoint.is_https() { Transport::Https } else { Transport::PlainHttp }
    }

    /// Returns the name in events and metrics: the issuer as configured, never a value from a token.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Jwks { issuer, .. } => issuer,
            Self::Discovery(discovery) => discovery.issuer(),
        }
    }
}

/// The status that the driver publishes to waiting requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DriverStatus {
    pub(super) task: Task,
    pub(super) activity: Activity,
    /// The generation of the fetch in flight, or of the last one.
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) last_error: Option<RefreshError>,
    pub(super) next_attempt: Option<Monotonic>,
    /// The time from which no key is usable; `None` before the first use of the source.
    unusable_from: Option<Monotonic>,
    /// The time from which an unknown kid may start a fetch.
    pub(super) unknown_kid_fetch_from: Monotonic,
    pub(super) has_follow_up_fetch: bool,
}

/// Whether a task runs the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Absent,
    Running,
}

impl DriverStatus {
    pub(super) fn new(machine: &Refresh, task: Task) -> Self {
        Self {
            task,
            activity: machine.activity(),
            generation: machine.generation(),
            failures: machine.failures(),
            last_error: machine.last_error(),
            next_attempt: machine.next_attempt(),
            unusable_from: machine.unusable_from(),
            unknown_kid_fetch_from: machine.unknown_kid_fetch_from(),
            has_follow_up_fetch: machine.has_follow_up_fetch(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.activity == Activity::Closed
    }

    /// Returns why there are no keys. `driver_runs` is whether a driver can still fetch some.
    pub(super) fn failure(&self, driver_runs: bool) -> Option<RefreshError> {
        if self.is_closed() {
            Some(RefreshError::SourceClosed)
        } else if driver_runs {
            self.last_error
        } else {
            Some(RefreshError::NoRuntime)
        }
    }

    /// Returns the error for a request without usable keys. `driver_runs` is whether a driver can still fetch some.
    pub(super) fn unavailable(&self, driver_runs: bool, now: Monotonic) -> KeysUnavailable {
        let since = self.unusable_from.map_or(Duration::ZERO, |from| now.saturating_since(from));
        KeysUnavailable { retry_after: self.retry_after(now), since, cause: self.failure(driver_runs) }
    }

    /// Marks the source as closed before the state machine has processed the event.
    fn close(&mut self, now: Monotonic) {
        self.activity = Activity::Closed;
        self.unusable_from = Some(self.unusable_from.map_or(now, |from| from.min(now)));
    }

    /// Returns the time to the next attempt, for `Retry-After`.
    fn retry_after(&self, now: Monotonic) -> Duration {
        let wait = match self.activity {
            Activity::Backoff { until, .. } => until.saturating_since(now),
            _ => Duration::ZERO,
        };
        wait.max(defaults::RETRY_AFTER_MIN)
    }
}

/// Commands from requests to the driver: flags, so that a flood takes no memory and causes at most one wakeup.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) wake: Notify,
    pub(super) unknown_kid_seen: AtomicBool,
    pub(super) closing: AtomicBool,
    pub(super) reloads: Mutex<Vec<Reply>>,
}

/// The sender of the result of a `reload()` call.
pub(super) type Reply = oneshot::Sender<Result<(), RefreshError>>;

/// The state of a key source.
pub(super) struct Shared {
    pub(super) origin: Origin,
    pub(super) algorithms: Arc<[Algorithm]>,
    pub(super) policy: Arc<RefreshPolicy>,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) published: SnapshotStore,
    pub(super) driver_status: watch::Sender<DriverStatus>,
    pub(super) mailbox: Mailbox,
    pub(super) waiters: Semaphore,
    pub(super) stale_served: StaleServed,
    pub(super) notifier: Notifier,
    /// Only the driver locks it, never across an await. It is stored here so that it survives the end of the task's runtime.
    core: Mutex<Core>,
    running: AtomicBool,
    /// The time, in nanoseconds since the clock's origin, from which the driver's timer is late.
    late_from: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        origin: Origin,
        algorithms: &[Algorithm],
        policy: RefreshPolicy,
        fetch: Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let machine = Refresh::new(policy.clone());
        let driver_status = DriverStatus::new(&machine, Task::Absent);
        let max_waiters = policy.max_waiters.min(Semaphore::MAX_PERMITS);
        Self {
            core: Mutex::new(Core::new(machine, &origin, &policy)),
            notifier: Notifier::new(origin.label(), policy.event_hook.clone()),
            origin,
            algorithms: Arc::from(algorithms),
            policy: Arc::new(policy),
            fetch,
            clock,
            published: SnapshotStore::new(),
            driver_status: watch::Sender::new(driver_status),
            mailbox: Mailbox::default(),
            waiters: Semaphore::new(max_waiters),
            stale_served: StaleServed::default(),
            running: AtomicBool::new(false),
            late_from: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn label(&self) -> &str {
        self.origin.label()
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a driver if none runs. Returns an error if none can run.
    pub(super) fn ensure_running(self: &Arc<Self>) -> Result<(), NoRuntime> {
        if self.has_task() {
            return Ok(());
        }
        if self.is_closing() {
            return Err(NoRuntime);
        }
        let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
        if !self.running.swap(true, Ordering::SeqCst) {
            // Created before the task is spawned: a runtime that is shutting down drops the task without polling it.
            let task_guard = TaskGuard(Arc::clone(self));
            drop(runtime.spawn(driver::drive(task_guard)));
        }
        Ok(())
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
    fn has_task(&self) -> bool {
        self.running.load(Ordering::SeqCst)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.mailbox.closing.load(Ordering::SeqCst)
    }

    /// Notifies the driver of an unknown kid.
    pub(super) fn notify_unknown_kid(&self) {
        if !self.mailbox.unknown_kid_seen.swap(true, Ordering::AcqRel) {
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
        telemetry::jwks_state(self.label(), KeyState::Closed.number(), 0, None);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The error of [`Shared::ensure_running`]: no tokio runtime is current, or the source is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRuntime;

/// Cleans up at the end of the task, be it a return, a panic or the end of its runtime.
pub(super) struct TaskGuard(pub(super) Arc<Shared>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let error = if std::thread::panicking() { RefreshError::Panic } else { RefreshError::Interrupted };
        // It calls tracing subscribers and the event hook. A second panic there must not leave `running` set.
        let _panic = catch_unwind(AssertUnwindSafe(|| driver::interrupt(&self.0, error)));
        self.0.running.store(false, Ordering::SeqCst);
        // Callers that arrived in between saw a running task: wake the waiters to check again, and fail the reloads.
        self.0.driver_status.send_modify(|_| {});
        driver::send_result(self.0.take_reloads(), Err(error));
        if self.0.is_closing() {
            self.0.notifier.notify_closed();
        }
    }
}
