//! What requests and the driver task share.

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

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The keys of an issuer at a known URL.
    Jwks { issuer: Arc<str>, endpoint: Endpoint },
    /// Where the issuer's discovery document says.
    Discovery(Discovery),
}

impl Origin {
    /// The keys of `issuer`, at a known URL.
    pub(crate) fn jwks(issuer: &str, endpoint: Endpoint) -> Self {
        Self::Jwks { issuer: Arc::from(issuer), endpoint }
    }

    /// The keys of an issuer that is asked where they are.
    pub(crate) fn discovery(issuer: &str) -> Result<Self, EndpointError> {
        Discovery::new(issuer).map(Self::Discovery)
    }

    /// The same over plain http, beyond loopback.
    ///
    /// # Security
    ///
    /// Whoever stands between can put keys of their own into the set.
    pub(crate) fn dangerous_discovery_over_http(issuer: &str) -> Result<Self, EndpointError> {
        Discovery::dangerous_over_http(issuer).map(Self::Discovery)
    }

    /// Whether the first fetch needs TLS. A discovery document over plain http may name a `jwks_uri` that does.
    pub(crate) fn transport(&self) -> Transport {
        let endpoint = match self {
            Self::Jwks { endpoint, .. } => endpoint,
            Self::Discovery(discovery) => discovery.openid(),
        };
        if endpoint.is_https() { Transport::Https } else { Transport::PlainHttp }
    }

    /// The name in events and metrics: the issuer as configured, never from a token.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Jwks { issuer, .. } => issuer,
            Self::Discovery(discovery) => discovery.issuer(),
        }
    }
}

/// What the driver tells those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) task: Task,
    pub(super) activity: Activity,
    /// The fetch in flight, or the last one.
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) last_error: Option<RefreshError>,
    pub(super) next_attempt: Option<Monotonic>,
    /// From when on no key may be used; `None` before anybody asked for one.
    unusable_from: Option<Monotonic>,
    /// From when on a miss may start a fetch.
    pub(super) unknown_kid_from: Monotonic,
    pub(super) has_follow_up_fetch: bool,
}

/// Whether somebody carries the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Absent,
    Running,
}

impl Progress {
    pub(super) fn of(machine: &Refresh, task: Task) -> Self {
        Self {
            task,
            activity: machine.activity(),
            generation: machine.generation(),
            failures: machine.failures(),
            last_error: machine.last_error(),
            next_attempt: machine.next_attempt(),
            unusable_from: machine.unusable_from(),
            unknown_kid_from: machine.unknown_kid_fetch_from(),
            has_follow_up_fetch: machine.has_follow_up_fetch(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.activity == Activity::Closed
    }

    /// What keeps keys from being there, when nothing more is to come.
    pub(super) fn failure(&self, runs: bool) -> Option<RefreshError> {
        if self.is_closed() {
            Some(RefreshError::SourceClosed)
        } else if runs {
            self.last_error
        } else {
            Some(RefreshError::NoRuntime)
        }
    }

    /// What a request is told that finds no keys; `runs` says whether more can come.
    pub(super) fn unavailable(&self, runs: bool, now: Monotonic) -> KeysUnavailable {
        let since = self.unusable_from.map_or(Duration::ZERO, |from| now.saturating_since(from));
        KeysUnavailable { retry_after: self.retry_after(now), since, cause: self.failure(runs) }
    }

    /// The end, for those who look before the machine has made its last step.
    fn close(&mut self, now: Monotonic) {
        self.activity = Activity::Closed;
        self.unusable_from = Some(self.unusable_from.map_or(now, |from| from.min(now)));
    }

    /// The time to the next attempt, as a client is told it.
    fn retry_after(&self, now: Monotonic) -> Duration {
        let wait = match self.activity {
            Activity::Backoff { until, .. } => until.saturating_since(now),
            _ => Duration::ZERO,
        };
        wait.max(defaults::RETRY_AFTER_MIN)
    }
}

/// How requests reach the driver: flags, so that a flood costs no memory and at most one wake-up.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) wake: Notify,
    pub(super) unknown_kid_seen: AtomicBool,
    pub(super) closing: AtomicBool,
    pub(super) reloads: Mutex<Vec<Reply>>,
}

/// Where the outcome of a `reload()` goes.
pub(super) type Reply = oneshot::Sender<Result<(), RefreshError>>;

/// The heart of a key source.
pub(super) struct Shared {
    pub(super) origin: Origin,
    pub(super) algorithms: Arc<[Algorithm]>,
    pub(super) policy: Arc<RefreshPolicy>,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) published: SnapshotStore,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) mailbox: Mailbox,
    pub(super) waiters: Semaphore,
    pub(super) stale_served: StaleServed,
    pub(super) notifier: Notifier,
    /// Only the driver takes it, and never across an await; it lives here to outlive a task whose runtime ends.
    core: Mutex<Core>,
    running: AtomicBool,
    /// The moment, in nanoseconds, from which on the driver's timer is late.
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
        let progress = Progress::of(&machine, Task::Absent);
        let max_waiters = policy.max_waiters.min(Semaphore::MAX_PERMITS);
        Self {
            core: Mutex::new(Core::new(machine, &origin, &policy)),
            notifier: Notifier::new(origin.label(), policy.event_hook.clone()),
            origin,
            algorithms: Arc::from(algorithms),
            policy: Arc::new(policy),
            fetch,
            clock,
            published: SnapshotStore::nothing(),
            progress: watch::Sender::new(progress),
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

    /// Makes sure that a driver runs; where none can, says so.
    pub(super) fn ensure_running(self: &Arc<Self>) -> Result<(), NoRuntime> {
        if self.runs() {
            return Ok(());
        }
        if self.is_closing() {
            return Err(NoRuntime);
        }
        let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
        if !self.running.swap(true, Ordering::SeqCst) {
            // Made before the task is spawned: a runtime that is shutting down drops the task unpolled.
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

    /// Says whether a task carries the machine. With [`is_closing`](Self::is_closing) it is asked in one order for all
    /// threads: of a task that ends and a caller that closes, at least one sees the other, and tells the end.
    fn runs(&self) -> bool {
        self.running.load(Ordering::SeqCst)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.mailbox.closing.load(Ordering::SeqCst)
    }

    /// Tells the driver of a miss.
    pub(super) fn post_unknown_kid(&self) {
        if !self.mailbox.unknown_kid_seen.swap(true, Ordering::AcqRel) {
            self.mailbox.wake.notify_one();
        }
    }

    /// Tells that a request has come to an end with its unknown key id.
    pub(super) fn count_unknown_kid(&self, action: UnknownKidAction) {
        if self.notifier.unknown_kid_seen(action) {
            self.mailbox.wake.notify_one();
        }
    }

    pub(super) fn arm(&self, wake_at: Option<Monotonic>) {
        let late = wake_at.map(|at| at.saturating_add(defaults::TIMER_SLACK).since_origin().as_nanos());
        let late = late.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(u64::MAX);
        self.late_from.store(late, Ordering::Release);
    }

    /// Wakes the driver if its timer should have fired long ago, or if the monotonic clock did not count all of the age of
    /// `snapshot`: timers and that clock may stop while the machine is suspended.
    pub(super) fn wake_if_late(&self, snapshot: &Snapshot, now: Moment) {
        let late_from = Duration::from_nanos(self.late_from.load(Ordering::Acquire));
        let was_suspended = snapshot.uncounted(now) >= defaults::TIMER_SLACK;
        if was_suspended || now.monotonic.since_origin() >= late_from {
            self.late_from.store(u64::MAX, Ordering::Release);
            self.mailbox.wake.notify_one();
        }
    }

    /// Ends the source for everybody: the task, the fetch in flight, and all who wait.
    pub(super) fn close(&self) {
        if self.mailbox.closing.swap(true, Ordering::SeqCst) {
            return;
        }
        self.published.close();
        let now = self.clock.monotonic();
        self.progress.send_modify(|progress| progress.close(now));
        self.mailbox.wake.notify_one();
        self.report_closed();
        // A task tells it after all else that it has to tell.
        if !self.runs() {
            self.notifier.notify_closed();
        }
    }

    /// Lets the gauges show the end.
    pub(super) fn report_closed(&self) {
        telemetry::jwks_state(self.label(), KeyState::Closed.number(), 0, None);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// No tokio runtime is current.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRuntime;

/// Notices the end of the task, however it comes: return, panic, or the end of its runtime.
pub(super) struct TaskGuard(pub(super) Arc<Shared>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let error = if std::thread::panicking() { RefreshError::Panic } else { RefreshError::Interrupted };
        // It tells of it, and a subscriber that panics then must not leave the source for running.
        let _twice = catch_unwind(AssertUnwindSafe(|| driver::interrupt(&self.0, error)));
        self.0.running.store(false, Ordering::SeqCst);
        // Who came in between took the task for running: a waiter looks again, a reload is answered.
        self.0.progress.send_modify(|_| {});
        driver::refuse(self.0.take_reloads(), error);
        if self.0.is_closing() {
            self.0.notifier.notify_closed();
        }
    }
}
