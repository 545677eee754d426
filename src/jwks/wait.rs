//! How requests wait: for the first keys, and for a key id that is not known yet.
//!
//! A waiter subscribes before it looks, so that no outcome slips in between; it owns no part of the fetch, so that it
//! may be dropped at any time.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{SemaphorePermit, watch};

use crate::clock::Monotonic;
use crate::jwks::error::{KeysUnavailable, NotReady};
use crate::jwks::events::MissAction;
use crate::jwks::race::within;
use crate::jwks::refresh::{Activity, Cause};
use crate::jwks::shared::{Progress, Shared, Task};
use crate::jwks::snapshot::Snapshot;
use crate::keys::KeyTable;
use crate::telemetry;

/// What became of an unknown key id.
#[derive(Debug)]
pub(crate) enum Miss {
    /// A newer set has it.
    Newer(Arc<Snapshot>),
    /// It is in no set that may be fetched now.
    Unchanged,
}

/// Waits for the first keys, at most `cold_wait`; not at all while a failure keeps everybody waiting.
pub(super) async fn first_keys(shared: Arc<Shared>) -> Result<Arc<Snapshot>, KeysUnavailable> {
    let deadline = shared.clock.monotonic().saturating_add(shared.policy.cold_wait);
    let mut progress = shared.progress.subscribe();
    let mut place = None;
    loop {
        let runs = can_wait(&shared);
        let told = *progress.borrow_and_update();
        let (now, usable) = look(&shared);
        if let Some(snapshot) = usable {
            return Ok(snapshot);
        }
        let unavailable = told.unavailable(runs, now);
        if !runs || now >= deadline || !is_worth_waiting(&shared, told) {
            return Err(unavailable);
        }
        place = Some(place.or_else(|| Place::take(&shared)).ok_or(unavailable)?);
        change(&mut progress, &shared, deadline).await;
    }
}

/// Waits for a set that `found` is satisfied with, at most `miss_wait`, if one may be fetched now; `since` is when the
/// request began to wait for the first keys, if it had to, since it waits no longer than `cold_wait` for both.
pub(super) async fn newer_keys(
    shared: Arc<Shared>,
    mut epoch: u64,
    since: Option<Monotonic>,
    found: impl Fn(&KeyTable) -> bool,
) -> Result<Miss, KeysUnavailable> {
    let deadline = shared.clock.monotonic().saturating_add(shared.policy.miss_wait);
    let deadline = since.map_or(deadline, |since| deadline.min(since.saturating_add(shared.policy.cold_wait)));
    let mut progress = shared.progress.subscribe();
    let mut asking = Asking::default();
    let mut place = None;
    let miss = loop {
        let runs = can_wait(&shared);
        let told = *progress.borrow_and_update();
        let (now, usable) = look(&shared);
        let Some(snapshot) = usable else {
            return Err(told.unavailable(runs, now));
        };
        if snapshot.epoch > epoch {
            epoch = snapshot.epoch;
            if found(&snapshot.table) {
                asking.is_served();
                break Miss::Newer(snapshot);
            }
        }
        // Asked before the time is looked at: who may not wait wants the key for those who come after it.
        if asking.answer(&shared, told, epoch, now) == Answer::No || !runs || now >= deadline {
            break Miss::Unchanged;
        }
        place = place.or_else(|| Place::take(&shared));
        if place.is_none() {
            break Miss::Unchanged;
        }
        change(&mut progress, &shared, deadline).await;
    };
    shared.tell_miss(asking.action.unwrap_or(MissAction::Unavailable));
    Ok(miss)
}

/// Waits until keys are usable, through any number of failures.
pub(super) async fn ready(shared: Arc<Shared>, limit: Option<Duration>) -> Result<(), NotReady> {
    let limit = limit.unwrap_or(Duration::MAX);
    let deadline = shared.clock.monotonic().saturating_add(limit);
    let mut progress = shared.progress.subscribe();
    loop {
        let runs = can_wait(&shared);
        let told = *progress.borrow_and_update();
        let (now, usable) = look(&shared);
        if usable.is_some() {
            return Ok(());
        }
        if !runs || now >= deadline || told.is_closed() {
            return Err(NotReady { last_error: told.failure(runs) });
        }
        change(&mut progress, &shared, deadline).await;
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
fn is_worth_waiting(shared: &Shared, told: Progress) -> bool {
    let had_keys = shared.published.load().epoch > 0;
    match told.activity {
        Activity::Asleep => true,
        Activity::Fetching { .. } => !(had_keys && told.failures > 0),
        Activity::Backoff { .. } => told.task == Task::Absent,
        // Keys expired without a failure: the machine was suspended, and its timer has not noticed yet.
        Activity::Idle => {
            shared.port.wake.notify_one();
            true
        }
        Activity::Closed => false,
    }
}

/// One request's dealings with the budget for unknown key ids.
///
/// It tells the driver once, as soon as it looks, and once more for each set that came without its key: what is fetched
/// for it does not hang on how long it waits.
#[derive(Default)]
struct Asking {
    /// The fetch that was in flight when this request last looked.
    joined: Option<(u64, Cause)>,
    /// The last fetch before this request asked for one.
    asked_after: Option<u64>,
    /// The epoch of the set that it told the driver of.
    told_of: Option<u64>,
    action: Option<MissAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Wait,
    No,
}

impl Asking {
    fn answer(&mut self, shared: &Shared, told: Progress, epoch: u64, now: Monotonic) -> Answer {
        let has_fetched = self.asked_after.is_some_and(|generation| told.generation > generation);
        let action = if has_fetched { MissAction::Fetched } else { MissAction::Joined };
        match told.activity {
            Activity::Fetching { cause, .. } if !self.has_seen_through(told) => {
                self.tell(shared, epoch);
                self.action = Some(action);
                self.joined = Some((told.generation, cause));
                Answer::Wait
            }
            Activity::Fetching { .. } => {
                self.tell(shared, epoch);
                Answer::No
            }
            Activity::Idle if self.has_seen_through(told) || now < told.miss_from => {
                if !told.owes_miss_fetch {
                    self.tell(shared, epoch);
                }
                let has_waited = has_fetched || self.joined.is_some();
                self.action = Some(if has_waited { action } else { MissAction::Cooldown });
                Answer::No
            }
            Activity::Idle => {
                self.asked_after = Some(told.generation);
                self.tell(shared, epoch);
                Answer::Wait
            }
            Activity::Backoff { .. } if told.task == Task::Running => {
                self.action = Some(MissAction::Backoff);
                Answer::No
            }
            Activity::Asleep | Activity::Backoff { .. } => Answer::Wait,
            Activity::Closed => Answer::No,
        }
    }

    fn tell(&mut self, shared: &Shared, epoch: u64) {
        if self.told_of != Some(epoch) {
            self.told_of = Some(epoch);
            shared.post_miss();
        }
    }

    /// A newer set has the key: that of a fetch for this request, of one that it joined, or one that was there already.
    fn is_served(&mut self) {
        let action = if self.asked_after.is_some() { MissAction::Fetched } else { MissAction::Renewed };
        self.action = self.action.or(Some(action));
    }

    /// Says whether a fetch past all caches has ended since this request joined it.
    fn has_seen_through(&self, told: Progress) -> bool {
        self.joined.is_some_and(|(generation, cause)| {
            let is_over = told.generation > generation || matches!(told.activity, Activity::Idle);
            is_over && cause.is_fresh()
        })
    }
}

/// A place among those who wait; there is a limit to them.
struct Place<'s> {
    issuer: &'s str,
    _permit: SemaphorePermit<'s>,
}

impl<'s> Place<'s> {
    fn take(shared: &'s Shared) -> Option<Self> {
        let permit = shared.waiters.try_acquire().ok()?;
        telemetry::jwks_waiter_came(shared.label());
        Some(Self { issuer: shared.label(), _permit: permit })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        telemetry::jwks_waiter_left(self.issuer);
    }
}

/// Waits for news, or for the deadline.
async fn change(progress: &mut watch::Receiver<Progress>, shared: &Shared, deadline: Monotonic) {
    // The sender lives in `shared`, so this never fails.
    let _told = within(progress.changed(), shared.clock.sleep_until(deadline)).await;
}
