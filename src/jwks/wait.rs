//! How requests wait: for the first keys, and for a key id that is not known yet.
//!
//! A waiter subscribes before it looks, so that no outcome slips in between; it owns no part of the fetch, so that it
//! may be dropped at any time.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch::error::RecvError;
use tokio::sync::{SemaphorePermit, watch};

use crate::clock::Monotonic;
use crate::jwks::error::{KeysUnavailable, NotReadyError};
use crate::jwks::events::UnknownKidAction;
use crate::jwks::refresh::{Activity, Cause};
use crate::jwks::shared::{Progress, Shared, Task};
use crate::jwks::snapshot::Snapshot;
use crate::jwks::timeout::within;
use crate::keys::KeyTable;
use crate::telemetry;

/// What became of an unknown key id.
#[derive(Debug)]
pub(crate) enum UnknownKid {
    /// A newer set has it.
    Newer(Arc<Snapshot>),
    /// It is in no set that may be fetched now.
    Unchanged,
}

/// Waits for the first keys, at most `cold_wait`; not at all while a failure keeps everybody waiting.
///
/// Like [`newer_keys`] it is no `async fn`, which takes memory for its arguments twice, and decides in a synchronous function,
/// whose locals the waiting request does not hold.
pub(super) fn first_keys(shared: Arc<Shared>) -> impl Future<Output = Result<Arc<Snapshot>, KeysUnavailable>> {
    let deadline = shared.clock.monotonic().saturating_add(shared.policy.cold_wait);
    let mut progress = shared.progress.subscribe();
    async move {
        let mut permit = None;
        loop {
            if let Some(outcome) = look_for_first(&shared, &mut progress, deadline, &mut permit) {
                return outcome;
            }
            let _told = change(&mut progress, &shared, deadline).await;
        }
    }
}

/// Decides on a request without keys; `None` if it waits for the next change.
fn look_for_first<'s>(
    shared: &'s Arc<Shared>,
    progress: &mut watch::Receiver<Progress>,
    deadline: Monotonic,
    permit: &mut Option<WaiterPermit<'s>>,
) -> Option<Result<Arc<Snapshot>, KeysUnavailable>> {
    let runs = can_wait(shared);
    let status = *progress.borrow_and_update();
    let (now, usable) = look(shared);
    if let Some(snapshot) = usable {
        return Some(Ok(snapshot));
    }
    let may_wait =
        runs && now < deadline && is_worth_waiting_for(shared, status) && WaiterPermit::ensure(permit, shared);
    if may_wait { None } else { Some(Err(status.unavailable(runs, now))) }
}

/// Waits for a set that `found` is satisfied with, at most `unknown_kid_wait`, if one may be fetched now; `since` is when the
/// request began to wait for the first keys, if it had to, since it waits no longer than `cold_wait` for both.
pub(super) fn newer_keys<F: Fn(&KeyTable) -> bool>(
    shared: Arc<Shared>,
    epoch: u64,
    since: Option<Monotonic>,
    found: F,
) -> impl Future<Output = Result<UnknownKid, KeysUnavailable>> {
    let deadline = shared.clock.monotonic().saturating_add(shared.policy.unknown_kid_wait);
    let deadline = since.map_or(deadline, |since| deadline.min(since.saturating_add(shared.policy.cold_wait)));
    let mut progress = shared.progress.subscribe();
    let mut request = KidRequest::new(epoch);
    async move {
        let mut permit = None;
        loop {
            if let Some(outcome) = request.look(&shared, &mut progress, deadline, &mut permit, &found) {
                return outcome;
            }
            let _told = change(&mut progress, &shared, deadline).await;
        }
    }
}

/// Waits until keys are usable, through any number of failures.
pub(super) async fn ready(shared: Arc<Shared>, limit: Option<Duration>) -> Result<(), NotReadyError> {
    let limit = limit.unwrap_or(Duration::MAX);
    let deadline = shared.clock.monotonic().saturating_add(limit);
    let mut progress = shared.progress.subscribe();
    loop {
        let runs = can_wait(&shared);
        let status = *progress.borrow_and_update();
        let (now, usable) = look(&shared);
        if usable.is_some() {
            return Ok(());
        }
        if !runs || now >= deadline || status.is_closed() {
            return Err(NotReadyError { last_error: status.failure(runs) });
        }
        let _told = change(&mut progress, &shared, deadline).await;
    }
}

/// The time, and the keys if they may be used; wakes a driver whose timer is late.
fn look(shared: &Shared) -> (Monotonic, Option<Arc<Snapshot>>) {
    let now = shared.now();
    let snapshot = shared.published.load_full();
    shared.wake_if_late(&snapshot, now);
    (now.monotonic, Some(snapshot).filter(|snapshot| snapshot.is_usable(now)))
}

/// Makes sure that a driver runs, and says whether its news can be waited for: timers need a runtime here, too.
fn can_wait(shared: &Arc<Shared>) -> bool {
    shared.ensure_running().is_ok() && Handle::try_current().is_ok()
}

/// Says whether the next change may bring usable keys. A failure is shared by all who waited for it, and those who come
/// after it do not queue up for the next.
fn is_worth_waiting_for(shared: &Shared, status: Progress) -> bool {
    let had_keys = shared.published.load().epoch > 0;
    match status.activity {
        Activity::NotStarted => true,
        Activity::Fetching { .. } => !(had_keys && status.failures > 0),
        Activity::Backoff { .. } => status.task == Task::Absent,
        // Keys expired without a failure: the machine was suspended, and its timer has not noticed yet.
        Activity::Idle => {
            shared.mailbox.wake.notify_one();
            true
        }
        Activity::Closed => false,
    }
}

/// One request's dealings with the budget for unknown key ids.
///
/// It tells the driver once, as soon as it looks, and once more for each set that came without its key: what is fetched
/// for it does not hang on how long it waits.
struct KidRequest {
    /// The newest set that this request has looked at.
    epoch: u64,
    /// The fetch that was in flight when this request last looked.
    joined: Option<(u64, Cause)>,
    /// The last fetch before this request asked for one.
    requested_after: Option<u64>,
    /// It told the driver that its key is not in that set.
    has_told: bool,
    action: Option<UnknownKidAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Wait,
    No,
}

impl KidRequest {
    fn new(epoch: u64) -> Self {
        Self { epoch, joined: None, requested_after: None, has_told: false, action: None }
    }

    /// Decides on the request; `None` if it waits for the next change.
    fn look<'s>(
        &mut self,
        shared: &'s Arc<Shared>,
        progress: &mut watch::Receiver<Progress>,
        deadline: Monotonic,
        permit: &mut Option<WaiterPermit<'s>>,
        found: &impl Fn(&KeyTable) -> bool,
    ) -> Option<Result<UnknownKid, KeysUnavailable>> {
        let runs = can_wait(shared);
        let status = *progress.borrow_and_update();
        let (now, usable) = look(shared);
        let Some(snapshot) = usable else {
            return Some(Err(status.unavailable(runs, now)));
        };
        let is_newer = snapshot.epoch > self.epoch;
        if is_newer {
            self.epoch = snapshot.epoch;
            self.has_told = false;
        }
        let miss = if is_newer && found(&snapshot.table) {
            self.is_served();
            UnknownKid::Newer(snapshot)
        } else {
            // Asked before the time is looked at: who may not wait wants the key for those who come after it.
            let may_wait = self.answer(shared, status, now) == Answer::Wait && runs && now < deadline;
            if may_wait && WaiterPermit::ensure(permit, shared) {
                return None;
            }
            UnknownKid::Unchanged
        };
        shared.count_unknown_kid(self.action.unwrap_or(UnknownKidAction::Unavailable));
        Some(Ok(miss))
    }

    fn answer(&mut self, shared: &Shared, status: Progress, now: Monotonic) -> Answer {
        let has_fetched = self.requested_after.is_some_and(|generation| status.generation > generation);
        let action = if has_fetched { UnknownKidAction::Fetched } else { UnknownKidAction::Joined };
        match status.activity {
            Activity::Fetching { cause, .. } if !self.has_completed(status) => {
                self.notify(shared);
                self.action = Some(action);
                self.joined = Some((status.generation, cause));
                Answer::Wait
            }
            Activity::Fetching { .. } => {
                self.notify(shared);
                Answer::No
            }
            Activity::Idle if self.has_completed(status) || now < status.unknown_kid_from => {
                if !status.has_follow_up_fetch {
                    self.notify(shared);
                }
                let has_waited = has_fetched || self.joined.is_some();
                self.action = Some(if has_waited { action } else { UnknownKidAction::Cooldown });
                Answer::No
            }
            Activity::Idle => {
                self.requested_after = Some(status.generation);
                self.notify(shared);
                Answer::Wait
            }
            Activity::Backoff { .. } if status.task == Task::Running => {
                self.action = Some(UnknownKidAction::Backoff);
                Answer::No
            }
            Activity::NotStarted | Activity::Backoff { .. } => Answer::Wait,
            Activity::Closed => Answer::No,
        }
    }

    fn notify(&mut self, shared: &Shared) {
        if !mem::replace(&mut self.has_told, true) {
            shared.post_unknown_kid();
        }
    }

    /// A newer set has the key: that of a fetch for this request, of one that it joined, or one that was there already.
    fn is_served(&mut self) {
        let action = if self.requested_after.is_some() { UnknownKidAction::Fetched } else { UnknownKidAction::Renewed };
        self.action = self.action.or(Some(action));
    }

    /// Says whether a fetch past all caches has ended since this request joined it.
    fn has_completed(&self, status: Progress) -> bool {
        self.joined.is_some_and(|(generation, cause)| {
            let is_over = status.generation > generation || matches!(status.activity, Activity::Idle);
            is_over && cause.is_fresh()
        })
    }
}

/// A place among those who wait; there is a limit to them.
struct WaiterPermit<'s> {
    shared: &'s Shared,
    _permit: SemaphorePermit<'s>,
}

impl<'s> WaiterPermit<'s> {
    /// Takes a place, unless there is one already; says whether there is one now.
    fn ensure(permit: &mut Option<Self>, shared: &'s Shared) -> bool {
        if permit.is_none() {
            *permit = Self::take(shared);
        }
        permit.is_some()
    }

    fn take(shared: &'s Shared) -> Option<Self> {
        let permit = shared.waiters.try_acquire().ok()?;
        telemetry::jwks_waiter_added(shared.label());
        Some(Self { shared, _permit: permit })
    }
}

impl Drop for WaiterPermit<'_> {
    fn drop(&mut self) {
        telemetry::jwks_waiter_removed(self.shared.label());
    }
}

/// Waits for news, or for the deadline. The sender lives in `shared`, so it never fails.
fn change(
    progress: &mut watch::Receiver<Progress>,
    shared: &Shared,
    deadline: Monotonic,
) -> impl Future<Output = Option<Result<(), RecvError>>> {
    within(progress.changed(), shared.clock.sleep_until(deadline))
}
