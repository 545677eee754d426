//! How requests wait: for the first keys, and for a key id that is not known yet.
//!
//! A waiter subscribes before it looks, so that no outcome slips in between; it owns no part of the fetch, so that it
//! may be dropped at any time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{SemaphorePermit, watch};

use crate::clock::Monotonic;
use crate::jwks::error::{KeysUnavailable, NotReady};
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
        let runs = shared.ensure_running().is_ok();
        let told = *progress.borrow_and_update();
        let now = shared.clock.monotonic();
        if let Some(snapshot) = shared.usable(now) {
            return Ok(snapshot);
        }
        shared.wake_if_late(now);
        let unavailable = KeysUnavailable { retry_after: told.retry_after(now) };
        if !runs || now >= deadline || !is_worth_waiting(&shared, told) {
            return Err(unavailable);
        }
        place = Some(place.or_else(|| Place::take(&shared)).ok_or(unavailable)?);
        change(&mut progress, &shared, deadline).await;
    }
}

/// Waits for a set that `found` is satisfied with, at most `miss_wait`, if one may be fetched now.
pub(super) async fn newer_keys(
    shared: Arc<Shared>,
    mut epoch: u64,
    found: impl Fn(&KeyTable) -> bool,
) -> Result<Miss, KeysUnavailable> {
    let deadline = shared.clock.monotonic().saturating_add(shared.policy.miss_wait);
    let mut progress = shared.progress.subscribe();
    let mut asking = Asking::default();
    let mut place = None;
    let miss = loop {
        let runs = shared.ensure_running().is_ok();
        let told = *progress.borrow_and_update();
        let now = shared.clock.monotonic();
        let Some(snapshot) = shared.usable(now) else {
            return Err(KeysUnavailable { retry_after: told.retry_after(now) });
        };
        if snapshot.epoch > epoch {
            epoch = snapshot.epoch;
            if found(&snapshot.table) {
                break Miss::Newer(snapshot);
            }
        }
        shared.wake_if_late(now);
        if !runs || now >= deadline || asking.answer(&shared, told, now) == Answer::No {
            break Miss::Unchanged;
        }
        place = place.or_else(|| Place::take(&shared));
        if place.is_none() {
            break Miss::Unchanged;
        }
        change(&mut progress, &shared, deadline).await;
    };
    telemetry::jwks_miss(shared.label(), asking.action);
    Ok(miss)
}

/// Waits until keys are usable, through any number of failures.
pub(super) async fn ready(shared: Arc<Shared>, limit: Option<Duration>) -> Result<(), NotReady> {
    let limit = limit.unwrap_or(Duration::MAX);
    let deadline = shared.clock.monotonic().saturating_add(limit);
    let mut progress = shared.progress.subscribe();
    loop {
        let runs = shared.ensure_running().is_ok();
        let told = *progress.borrow_and_update();
        let now = shared.clock.monotonic();
        if shared.usable(now).is_some() {
            return Ok(());
        }
        shared.wake_if_late(now);
        if !runs || now >= deadline || told.is_closed() {
            return Err(NotReady { last_error: told.failure(runs) });
        }
        change(&mut progress, &shared, deadline).await;
    }
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
struct Asking {
    /// The fetch that was in flight when this request last looked.
    joined: Option<(u64, Cause)>,
    /// The last fetch before this request asked for one.
    asked_after: Option<u64>,
    action: &'static str,
}

impl Default for Asking {
    fn default() -> Self {
        Self { joined: None, asked_after: None, action: "unavailable" }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Wait,
    No,
}

impl Asking {
    fn answer(&mut self, shared: &Shared, told: Progress, now: Monotonic) -> Answer {
        let has_fetched = self.asked_after.is_some_and(|generation| told.generation > generation);
        if self.has_seen_through(told) {
            // Absent from a set that was fetched for it: the fetch at the end of the cool-down will look again.
            shared.post_miss();
            return Answer::No;
        }
        match told.activity {
            Activity::Fetching { cause, .. } => {
                self.action = if has_fetched { "fetched" } else { "joined" };
                self.joined = Some((told.generation, cause));
                Answer::Wait
            }
            Activity::Idle if now < told.miss_from => {
                if !told.owes_miss_fetch {
                    shared.post_miss();
                }
                self.action = if has_fetched { "fetched" } else { "cooldown" };
                Answer::No
            }
            Activity::Idle => {
                self.asked_after = Some(told.generation);
                shared.post_miss();
                Answer::Wait
            }
            Activity::Backoff { .. } if told.task == Task::Running => {
                self.action = "backoff";
                Answer::No
            }
            Activity::Asleep | Activity::Backoff { .. } => Answer::Wait,
            Activity::Closed => Answer::No,
        }
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
    shared: &'s Shared,
    permit: Option<SemaphorePermit<'s>>,
}

impl<'s> Place<'s> {
    fn take(shared: &'s Shared) -> Option<Self> {
        let permit = shared.waiters.try_acquire().ok()?;
        let place = Self { shared, permit: Some(permit) };
        place.count();
        Some(place)
    }

    fn count(&self) {
        let taken = self.shared.policy.max_waiters.saturating_sub(self.shared.waiters.available_permits());
        telemetry::jwks_waiters(self.shared.label(), taken);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.count();
    }
}

/// Waits for news, or for the deadline.
async fn change(progress: &mut watch::Receiver<Progress>, shared: &Shared, deadline: Monotonic) {
    // The sender lives in `shared`, so this never fails.
    let _told = within(progress.changed(), shared.clock.sleep_until(deadline)).await;
}
