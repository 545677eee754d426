//! The driver task: the only one that fetches, and the only one that tells the machine what happened.

mod flight;

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;

use crate::clock::Monotonic;
use crate::fetch::Endpoint;
use crate::jwks::discovery::Rediscovery;
use crate::jwks::driver::flight::{Flight, Landed};
use crate::jwks::error::RefreshError;
use crate::jwks::jitter::Dice;
use crate::jwks::operation::{Failure, Report};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::race::caught;
use crate::jwks::refresh::{Action, Cause, Event, Refresh};
use crate::jwks::shared::{Alive, Origin, Progress, Reply, Shared, Task};
use crate::jwks::status::KeyState;
use crate::keys::SkipReason;
use crate::telemetry;

/// What outlives a task whose runtime ends.
pub(super) struct Core {
    machine: Refresh,
    dice: Dice,
    /// Where the keys are, once that is known.
    endpoint: Option<Endpoint>,
    rediscovery: Rediscovery,
    /// Those whom the fetch in flight answers.
    answered: Vec<Reply>,
    /// Those who need one that has not begun.
    waiting: Vec<Reply>,
    /// Why keys of the last set are not used, as far as that was told.
    skipped: Vec<SkipReason>,
}

impl Core {
    pub(super) fn new(machine: Refresh, origin: &Origin, policy: &RefreshPolicy) -> Self {
        let endpoint = match origin {
            Origin::Jwks { endpoint, .. } => Some(endpoint.clone()),
            Origin::Discovery(_) => None,
        };
        Self {
            machine,
            dice: policy.seed.map_or_else(Dice::seeded, Dice::from_seed),
            endpoint,
            rediscovery: Rediscovery::new(policy.discovery_every),
            answered: Vec::new(),
            waiting: Vec::new(),
            skipped: Vec::new(),
        }
    }
}

/// Runs the machine until the source is closed, through panics of what it does not own: a subscriber, a recorder.
pub(super) async fn drive(alive: Alive) {
    let shared = &alive.0;
    while caught(run(shared)).await.is_none() {
        let _twice = caught(async { park(shared, RefreshError::Panic) }).await;
        shared.clock.sleep_until(shared.clock.monotonic().saturating_add(shared.policy.backoff_min)).await;
    }
}

async fn run(shared: &Shared) {
    let mut driver = Driver { shared, keys: None, discovery: None };
    driver.step(Event::Start, None);
    driver.step(Event::Timer, None);
    // A task before this one may have left some.
    driver.take_wishes();
    loop {
        let wake_at = driver.settle();
        match driver.next(wake_at).await {
            Happening::Keys(flight, report) => {
                // Who has come until now has waited for this fetch.
                driver.take_wishes();
                driver.landed(&flight, report);
            }
            Happening::Discovery(result) => driver.rediscovered(result),
            Happening::Woken | Happening::Timer => {}
        }
        if driver.shared.is_closing() {
            driver.step(Event::Close, None);
            // Again: this task may have told an older state since.
            return shared.tell_closed();
        }
        driver.step(Event::Timer, None);
        driver.take_wishes();
    }
}

/// Leaves the machine in order when its task dies: what was in flight has failed.
pub(super) fn park(shared: &Shared, error: RefreshError) {
    let core = &mut *shared.core();
    let roll = core.dice.roll();
    let told = core.machine.step(Event::Interrupted(error), shared.clock.monotonic(), roll);
    for action in told {
        if let Action::TellFailed { error, consecutive, next_in } = action {
            telemetry::jwks_refresh_failed(shared.label(), error.name(), consecutive, next_in);
        }
    }
    let progress = Progress::of(&core.machine, Task::Absent);
    let error = if progress.is_closed() { RefreshError::SourceClosed } else { error };
    answer(core.answered.drain(..).chain(core.waiting.drain(..)), Err(error));
    shared.progress.send_replace(progress);
}

/// Answers those who called `reload()` while the task was ending.
pub(super) fn refuse(replies: Vec<Reply>, error: RefreshError) {
    answer(replies.into_iter(), Err(error));
}

/// The task's own things; all else is shared.
struct Driver<'s> {
    shared: &'s Shared,
    keys: Option<(Flight, InFlight<Report>)>,
    discovery: Option<InFlight<Result<Endpoint, Failure>>>,
}

type InFlight<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Happening {
    Keys(Flight, Report),
    Discovery(Result<Endpoint, Failure>),
    Woken,
    Timer,
}

impl Driver<'_> {
    /// Waits for the next thing to happen.
    async fn next(&mut self, wake_at: Option<Monotonic>) -> Happening {
        let mut woken = pin!(self.shared.port.wake.notified());
        let mut timer = wake_at.map(|at| self.shared.clock.sleep_until(at));
        let (keys, discovery) = (&mut self.keys, &mut self.discovery);
        poll_fn(|context| {
            if let Some((flight, future)) = keys
                && let Poll::Ready(report) = future.as_mut().poll(context)
            {
                return Poll::Ready(Happening::Keys(flight.clone(), report));
            }
            if let Some(future) = discovery
                && let Poll::Ready(result) = future.as_mut().poll(context)
            {
                return Poll::Ready(Happening::Discovery(result));
            }
            if woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(Happening::Woken);
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(context).map(|()| Happening::Timer),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Tells everybody where things stand, starts a due rediscovery, and names the next time to wake.
    fn settle(&mut self) -> Option<Monotonic> {
        let now = self.shared.clock.monotonic();
        self.rediscover(now);
        let core = self.shared.core();
        let progress = Progress::of(&core.machine, Task::Running);
        let rediscovery_at = core.rediscovery.due().filter(|_| self.discovery.is_none());
        let wake_at = [core.machine.wake_at(), rediscovery_at].into_iter().flatten().min();
        drop(core);
        self.shared.arm(wake_at);
        self.shared.progress.send_if_modified(|told| mem::replace(told, progress) != progress);
        let snapshot = self.shared.published.load();
        let state = KeyState::from(snapshot.standing(now));
        let age = (snapshot.epoch > 0).then(|| now.saturating_since(snapshot.times.confirmed_at));
        telemetry::jwks_state(self.shared.label(), state.number(), snapshot.usable_keys(now), age);
        wake_at
    }

    /// Takes what requests have left at the port.
    fn take_wishes(&mut self) {
        if self.shared.port.missed.swap(false, Ordering::AcqRel) {
            self.step(Event::Miss, None);
        }
        let reloads = self.shared.take_reloads();
        if !reloads.is_empty() {
            telemetry::jwks_reload(self.shared.label());
            self.shared.core().waiting.extend(reloads);
            self.step(Event::Demand(Cause::Manual), None);
        }
    }

    /// Lets the machine make one step, and does what it asks for.
    fn step(&mut self, event: Event, mut landed: Option<Landed>) {
        let shared = self.shared;
        let now = shared.clock.monotonic();
        let core = &mut *shared.core();
        let roll = core.dice.roll();
        for action in core.machine.step(event, now, roll) {
            match action {
                Action::Fetch(order) => self.take_off(order, core, now),
                Action::Abort => self.abort(core, now),
                Action::Publish(times) => {
                    if let Some(landed) = landed.take() {
                        landed.publish(shared, times, &mut core.skipped);
                    }
                }
                Action::TellStale { remaining } => telemetry::jwks_stale_entered(shared.label(), remaining),
                Action::TellExpired => telemetry::jwks_expired(shared.label()),
                Action::TellRecovered => telemetry::jwks_stale_recovered(shared.label()),
                Action::TellFailed { error, consecutive, next_in } => {
                    telemetry::jwks_refresh_failed(shared.label(), error.name(), consecutive, next_in);
                    self.failed(error, core, now);
                }
                Action::Close => (self.keys, self.discovery) = (None, None),
            }
        }
    }
}

/// Answers those who called `reload()`; who has gone away does not mind.
fn answer(replies: impl Iterator<Item = Reply>, result: Result<(), RefreshError>) {
    for reply in replies {
        let _gone = reply.send(result);
    }
}
