//! Waiting for keys: for the first key set, and for the key of an unknown `kid`.
//!
//! A waiter subscribes before it reads the state, so no change is lost. It owns no part of the fetch, so it can be dropped
//! at any time.

use std::mem;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch::error::RecvError;
use tokio::sync::{SemaphorePermit, watch};

use crate::clock::Monotonic;
use crate::fetch::within;
use crate::jwks::absent_kids::KidHash;
use crate::jwks::cause::RefreshCause;
use crate::jwks::driver::ensure_running;
use crate::jwks::driver_status::{DriverStatus, KidHistory, Task};
use crate::jwks::error::{KeysUnavailable, NotReadyError};
use crate::jwks::events::UnknownKidAction;
use crate::jwks::refresh::Activity;
use crate::jwks::shared::Shared;
use crate::jwks::snapshot::Snapshot;
use crate::keys::KeyTable;
use crate::telemetry;

/// Waits for the first keys, at most `cold_wait`. Returns at once if the last fetch failed and its backoff has not ended.
///
/// Like [`newer_keys`] this is not an `async fn`, which would store its arguments twice in the future. The decision is a
/// synchronous function, so its locals take no memory in a waiting request.
pub(super) fn first_keys(shared: Arc<Shared>) -> impl Future<Output = Result<Arc<Snapshot>, KeysUnavailable>> {
    let deadline = shared.clock.monotonic().saturating_add(shared.policy.cold_wait);
    repeat_until(shared, deadline, |shared, receiver, deadline, permit| {
        check_first_keys(shared, receiver, *deadline, permit)
    })
}

/// Calls `check` now and after each change of the driver's status, until it returns a result. `check` must return one after the
/// deadline, which it may change.
pub(super) fn repeat_until<T>(
    shared: Arc<Shared>,
    mut deadline: Monotonic,
    mut check: impl for<'s> FnMut(
        &'s Arc<Shared>,
        &mut watch::Receiver<DriverStatus>,
        &mut Monotonic,
        &mut Option<WaiterPermit<'s>>,
    ) -> Option<T>,
) -> impl Future<Output = T> {
    let mut receiver = shared.driver_status.subscribe();
    async move {
        let mut permit = None;
        loop {
            if let Some(result) = check(&shared, &mut receiver, &mut deadline, &mut permit) {
                return result;
            }
            let _result = next_change(&mut receiver, &shared, deadline).await;
        }
    }
}

/// Returns the error for a request that finds no usable keys and does not wait.
pub(super) fn unavailable(shared: &Arc<Shared>) -> KeysUnavailable {
    let driver_runs = can_wait(shared);
    shared.driver_status.borrow().unavailable(driver_runs, shared.clock.monotonic())
}

/// Returns the result for a request without keys; `None` if the request waits for the next change.
fn check_first_keys<'s>(
    shared: &'s Arc<Shared>,
    receiver: &mut watch::Receiver<DriverStatus>,
    deadline: Monotonic,
    permit: &mut Option<WaiterPermit<'s>>,
) -> Option<Result<Arc<Snapshot>, KeysUnavailable>> {
    let driver_runs = can_wait(shared);
    let status = *receiver.borrow_and_update();
    let (now, usable) = load_usable(shared);
    if let Some(snapshot) = usable {
        return Some(Ok(snapshot));
    }
    let may_wait =
        driver_runs && now < deadline && may_become_usable(shared, status) && WaiterPermit::ensure(permit, shared);
    if may_wait { None } else { Some(Err(status.unavailable(driver_runs, now))) }
}

/// Waits at most `unknown_kid_wait` for a key set for which `has_key` returns true. Returns `None` if no key set that may be fetched
/// now has the key.
///
/// If a fetch is in flight that may have started before the key was published, the request may have to wait for a second one.
/// The wait for this one also takes at most `unknown_kid_wait`, and both together at most `cold_wait`. `waiting_since` is the time
/// at which the request began to wait for the first keys, if it did: this wait is included.
pub(super) fn newer_keys<F: Fn(&KeyTable) -> bool>(
    shared: Arc<Shared>,
    epoch: u64,
    waiting_since: Option<Monotonic>,
    kid: KidHash,
    has_key: F,
) -> impl Future<Output = Result<Option<Arc<Snapshot>>, KeysUnavailable>> {
    let now = shared.clock.monotonic();
    let last_deadline = waiting_since.unwrap_or(now).saturating_add(shared.policy.cold_wait);
    let deadline = now.saturating_add(shared.policy.unknown_kid_wait);
    let deadline = if waiting_since.is_some() { deadline.min(last_deadline) } else { deadline };
    let mut request = UnknownKidRequest::new(kid, epoch, last_deadline);
    repeat_until(shared, deadline, move |shared, receiver, deadline, permit| {
        request.check(shared, receiver, deadline, permit, &has_key)
    })
}

/// Waits until keys are usable, across any number of failed fetches.
pub(super) async fn ready(shared: Arc<Shared>, limit: Option<Duration>) -> Result<(), NotReadyError> {
    let limit = limit.unwrap_or(Duration::MAX);
    let deadline = shared.clock.monotonic().saturating_add(limit);
    let mut receiver = shared.driver_status.subscribe();
    loop {
        let driver_runs = can_wait(&shared);
        let status = *receiver.borrow_and_update();
        let (now, usable) = load_usable(&shared);
        if usable.is_some() {
            return Ok(());
        }
        if !driver_runs || now >= deadline || status.is_closed() {
            return Err(NotReadyError { last_error: status.failure(driver_runs) });
        }
        let _result = next_change(&mut receiver, &shared, deadline).await;
    }
}

/// Returns the time, and the snapshot if its keys are usable. Wakes the driver if its timer is late.
pub(super) fn load_usable(shared: &Shared) -> (Monotonic, Option<Arc<Snapshot>>) {
    let now = shared.now();
    let snapshot = shared.published.load_full();
    shared.wake_if_late(&snapshot, now);
    (now.monotonic, Some(snapshot).filter(|snapshot| snapshot.is_usable(now)))
}

/// Starts a driver if none runs. Returns whether the caller can wait for its notifications: timers need a runtime here, too.
pub(super) fn can_wait(shared: &Arc<Shared>) -> bool {
    ensure_running(shared).is_ok() && Handle::try_current().is_ok()
}

/// Returns whether keys may be usable after the next change. All waiters share a failed fetch; requests that arrive after it do
/// not wait for the next one.
fn may_become_usable(shared: &Shared, status: DriverStatus) -> bool {
    let had_keys = shared.published.load().epoch > 0;
    match status.activity {
        Activity::NotStarted => true,
        Activity::Fetching { .. } => !(had_keys && status.failures > 0),
        Activity::Backoff { .. } => status.task == Task::Absent,
        // The keys expired without a failed fetch: the machine was suspended, and the driver's timer has not fired yet.
        Activity::Idle => {
            shared.mailbox.wake.notify_one();
            true
        }
        Activity::Closed => false,
    }
}

/// The state of one request that waits for an unknown `kid`.
///
/// It notifies the driver once at its first check, and once for each new key set without its key. The fetch that follows does
/// not depend on how long the request waits.
struct UnknownKidRequest {
    kid: KidHash,
    /// Whether a fetch has looked for the kid, as of the first check of the newest key set.
    history: Option<KidHistory>,
    /// The epoch of the newest key set that this request has checked.
    epoch: u64,
    /// The fetch that was in flight at the last check.
    joined: Option<(u64, RefreshCause)>,
    /// The generation of the fetch that this request requested, or of a later one.
    requested: Option<NonZeroU64>,
    /// Whether the driver knows that the key is not in that key set.
    has_notified: bool,
    /// When the request stops waiting, whatever it waits for.
    last_deadline: Monotonic,
    action: Option<UnknownKidAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextStep {
    Wait,
    Return,
}

impl UnknownKidRequest {
    fn new(kid: KidHash, epoch: u64, last_deadline: Monotonic) -> Self {
        let (history, joined, requested, action) = (None, None, None, None);
        Self { kid, history, epoch, joined, requested, has_notified: false, last_deadline, action }
    }

    /// Returns the result for the request; `None` if the request waits for the next change.
    fn check<'s>(
        &mut self,
        shared: &'s Arc<Shared>,
        receiver: &mut watch::Receiver<DriverStatus>,
        deadline: &mut Monotonic,
        permit: &mut Option<WaiterPermit<'s>>,
        has_key: &impl Fn(&KeyTable) -> bool,
    ) -> Option<Result<Option<Arc<Snapshot>>, KeysUnavailable>> {
        let driver_runs = can_wait(shared);
        let status = *receiver.borrow_and_update();
        let (now, usable) = load_usable(shared);
        let Some(snapshot) = usable else {
            return Some(Err(status.unavailable(driver_runs, now)));
        };
        if self.has_joined_before(status) {
            let second_deadline = now.saturating_add(shared.policy.unknown_kid_wait).min(self.last_deadline);
            *deadline = second_deadline.max(*deadline);
        }
        let is_newer = snapshot.epoch > self.epoch;
        if is_newer {
            self.epoch = snapshot.epoch;
            self.has_notified = false;
            self.history = None;
        }
        let result = if is_newer && has_key(&snapshot.table) {
            self.record_found();
            Some(snapshot)
        } else {
            // This call precedes the check of the deadline: it notifies the driver of the unknown kid even if this request
            // must not wait.
            let may_wait = self.next_step(shared, status, now) == NextStep::Wait && driver_runs;
            if may_wait && now >= *deadline {
                self.action = Some(UnknownKidAction::TimedOut);
            } else if may_wait && WaiterPermit::ensure(permit, shared) {
                return None;
            }
            None
        };
        shared.count_unknown_kid(self.action.unwrap_or(UnknownKidAction::Unavailable));
        Some(Ok(result))
    }

    fn next_step(&mut self, shared: &Shared, status: DriverStatus, now: Monotonic) -> NextStep {
        let history = self.history(shared, status);
        let has_fetched = self.requested.is_some_and(|generation| status.generation >= generation.get());
        let action = if has_fetched { UnknownKidAction::Fetched } else { UnknownKidAction::Joined };
        match status.activity {
            Activity::Fetching { cause, .. } if !self.has_completed(status) => {
                self.notify(shared, history);
                self.action = Some(action);
                self.joined = Some((status.generation, cause));
                NextStep::Wait
            }
            Activity::Fetching { .. } => {
                self.notify(shared, history);
                NextStep::Return
            }
            Activity::Idle if self.has_completed(status) || now < status.fetch_from(history) => {
                if !status.has_follow_up(history) {
                    self.notify(shared, history);
                }
                let has_waited = has_fetched || self.joined.is_some();
                self.action = Some(match history {
                    _ if has_waited => action,
                    KidHistory::New => UnknownKidAction::Cooldown,
                    KidHistory::Absent => UnknownKidAction::Absent,
                });
                NextStep::Return
            }
            Activity::Idle => {
                self.requested = Some(NonZeroU64::MIN.saturating_add(status.generation));
                self.notify(shared, history);
                NextStep::Wait
            }
            Activity::Backoff { .. } if status.task == Task::Running => {
                self.action = Some(UnknownKidAction::Backoff);
                NextStep::Return
            }
            Activity::NotStarted | Activity::Backoff { .. } => NextStep::Wait,
            Activity::Closed => NextStep::Return,
        }
    }

    fn history(&mut self, shared: &Shared, status: DriverStatus) -> KidHistory {
        *self.history.get_or_insert_with(|| shared.absent_kids.check(self.kid, status))
    }

    fn notify(&mut self, shared: &Shared, history: KidHistory) {
        if !mem::replace(&mut self.has_notified, true) {
            shared.notify_unknown_kid(history);
        }
    }

    /// Records that a newer key set has the key: one that was fetched for this request, one whose fetch it joined, or one
    /// that was already published.
    fn record_found(&mut self) {
        let action = if self.requested.is_some() { UnknownKidAction::Fetched } else { UnknownKidAction::Renewed };
        self.action = self.action.or(Some(action));
    }

    /// Returns whether the fetch in flight is not the one that this request has joined.
    fn has_joined_before(&self, status: DriverStatus) -> bool {
        let is_fetching = matches!(status.activity, Activity::Fetching { .. });
        is_fetching && self.joined.is_some_and(|(generation, _)| generation < status.generation)
    }

    /// Returns whether a fetch has ended since this request joined it, after whose result the kid counts as not published.
    fn has_completed(&self, status: DriverStatus) -> bool {
        self.joined.is_some_and(|(generation, cause)| {
            let is_over = status.generation > generation || matches!(status.activity, Activity::Idle);
            is_over
                && match self.history {
                    Some(KidHistory::Absent) => cause.bypasses_caches(),
                    Some(KidHistory::New) | None => cause.is_sufficient_for_unknown_kids(),
                }
        })
    }
}

/// A permit to wait; `max_waiters` limits their number.
pub(super) struct WaiterPermit<'s> {
    shared: &'s Shared,
    _permit: SemaphorePermit<'s>,
}

impl<'s> WaiterPermit<'s> {
    /// Acquires a permit if there is none yet. Returns whether there is one now.
    pub(super) fn ensure(permit: &mut Option<Self>, shared: &'s Shared) -> bool {
        if permit.is_none() {
            *permit = Self::try_acquire(shared);
        }
        permit.is_some()
    }

    fn try_acquire(shared: &'s Shared) -> Option<Self> {
        let permit = shared.waiters.try_acquire().ok()?;
        telemetry::jwks_waiter_added(&shared.source_label);
        Some(Self { shared, _permit: permit })
    }
}

impl Drop for WaiterPermit<'_> {
    fn drop(&mut self) {
        telemetry::jwks_waiter_removed(&self.shared.source_label);
    }
}

/// Waits for a change of the driver's status, or for the deadline. `shared` owns the sender, so the receiver never fails.
pub(super) fn next_change(
    receiver: &mut watch::Receiver<DriverStatus>,
    shared: &Shared,
    deadline: Monotonic,
) -> impl Future<Output = Option<Result<(), RecvError>>> {
    within(receiver.changed(), shared.clock.sleep_until(deadline))
}
