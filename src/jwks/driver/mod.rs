//! The driver task: the only one that fetches, and the only one that tells the machine what happened.

mod in_flight;

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use crate::clock::Monotonic;
use crate::defaults;
use crate::fetch::Endpoint;
use crate::jwks::discovery::Rediscovery;
use crate::jwks::driver::in_flight::{Completed, InFlight};
use crate::jwks::error::RefreshError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::jitter::Rng;
use crate::jwks::operation::{CompromisedKeys, Failure, FlawSummary, Report};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::{Action, Cause, Event, Refresh};
use crate::jwks::shared::{Origin, Progress, Reply, Shared, Task, TaskGuard};
use crate::jwks::status::KeyState;
use crate::jwks::timeout::catch_panic;
use crate::telemetry;

/// What outlives a task whose runtime ends.
pub(super) struct Core {
    machine: Refresh,
    rng: Rng,
    /// Where the keys are, once that is known.
    endpoint: Option<Endpoint>,
    rediscovery: Rediscovery,
    /// Those whom the fetch in flight answers.
    answered: Vec<Reply>,
    /// Those who need one that has not begun.
    waiting: Vec<Reply>,
    /// What was wrong with keys of the last set when it was reported, and whether that set was refused.
    last_reported: (FlawSummary, bool),
    /// The keys whose private halves have been published: no later set brings them back.
    compromised: Arc<CompromisedKeys>,
    /// What has happened, until the lock is released and somebody may be told.
    pending_events: Vec<KeyEventKind>,
    /// When the hook last heard of misses.
    unknown_kids_reported_at: Option<Monotonic>,
}

impl Core {
    pub(super) fn new(machine: Refresh, origin: &Origin, policy: &RefreshPolicy) -> Self {
        let endpoint = match origin {
            Origin::Jwks { endpoint, .. } => Some(endpoint.clone()),
            Origin::Discovery(_) => None,
        };
        Self {
            machine,
            rng: policy.seed.map_or_else(Rng::seeded, Rng::from_seed),
            endpoint,
            rediscovery: Rediscovery::new(policy.discovery_every),
            answered: Vec::new(),
            waiting: Vec::new(),
            last_reported: Default::default(),
            compromised: Arc::default(),
            pending_events: Vec::new(),
            unknown_kids_reported_at: None,
        }
    }
}

/// Runs the machine until the source is closed, through panics of what it does not own: a subscriber, a recorder.
pub(super) async fn drive(task_guard: TaskGuard) {
    let shared = &task_guard.0;
    while catch_panic(run(shared)).await.is_none() {
        let _twice = catch_panic(async { interrupt(shared, RefreshError::Panic) }).await;
        if shared.is_closing() {
            return;
        }
        shared.clock.sleep_until(shared.clock.monotonic().saturating_add(shared.policy.backoff_min)).await;
    }
}

async fn run(shared: &Shared) {
    let mut driver = Driver { shared, keys: None, discovery: None };
    if shared.is_closing() {
        return driver.end();
    }
    driver.step(Event::Begin, None);
    driver.step(Event::Timer, None);
    // A task before this one may have left some.
    driver.take_commands();
    loop {
        let wake_at = driver.settle();
        let wakeup = driver.next(wake_at).await;
        // Whatever has come, a closed source takes it in no more.
        if shared.is_closing() {
            return driver.end();
        }
        match wakeup {
            Wakeup::Keys(in_flight, report) => {
                // Who has come until now has waited for this fetch.
                driver.take_commands();
                driver.completed(&in_flight, report);
            }
            Wakeup::Discovery(result) => driver.rediscovered(result),
            Wakeup::Woken | Wakeup::Timer => {}
        }
        driver.step(Event::Timer, None);
        driver.take_commands();
    }
}

/// Leaves the machine in order when its task dies: what was in flight has failed.
pub(super) fn interrupt(shared: &Shared, error: RefreshError) {
    let now = shared.clock.monotonic();
    let events = {
        let core = &mut *shared.core();
        let sample = core.rng.sample();
        let event = if shared.is_closing() { Event::Close } else { Event::Interrupted(error) };
        for action in core.machine.step(event, now, sample) {
            core.pending_events.extend(event_of(action));
        }
        let progress = Progress::of(&core.machine, Task::Absent);
        let error = if progress.is_closed() { RefreshError::SourceClosed } else { error };
        answer(core.answered.drain(..).chain(core.waiting.drain(..)), Err(error));
        shared.progress.send_replace(progress);
        mem::take(&mut core.pending_events)
    };
    shared.notifier.notify(events);
}

/// Answers those who called `reload()` while the task was ending.
pub(super) fn refuse(replies: Vec<Reply>, error: RefreshError) {
    answer(replies.into_iter(), Err(error));
}

/// The task's own things; all else is shared.
struct Driver<'s> {
    shared: &'s Shared,
    keys: Option<(InFlight, Pending<Report>)>,
    discovery: Option<Pending<Result<Endpoint, Failure>>>,
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Wakeup {
    Keys(InFlight, Report),
    Discovery(Result<Endpoint, Failure>),
    Woken,
    Timer,
}

impl Driver<'_> {
    /// Waits for the next thing to happen.
    async fn next(&mut self, wake_at: Option<Monotonic>) -> Wakeup {
        let mut woken = pin!(self.shared.mailbox.wake.notified());
        let mut timer = wake_at.map(|at| self.shared.clock.sleep_until(at));
        let (keys, discovery) = (&mut self.keys, &mut self.discovery);
        poll_fn(|context| {
            if let Some((in_flight, future)) = keys
                && let Poll::Ready(report) = future.as_mut().poll(context)
            {
                return Poll::Ready(Wakeup::Keys(in_flight.clone(), report));
            }
            if let Some(future) = discovery
                && let Poll::Ready(result) = future.as_mut().poll(context)
            {
                return Poll::Ready(Wakeup::Discovery(result));
            }
            if woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wakeup::Woken);
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(context).map(|()| Wakeup::Timer),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Tells everybody where things stand and what has happened, starts a due rediscovery, and names the next time to wake.
    fn settle(&mut self) -> Option<Monotonic> {
        let moment = self.shared.now();
        let now = moment.monotonic;
        self.rediscover(now);
        let mut core = self.shared.core();
        let progress = Progress::of(&core.machine, Task::Running);
        let rediscovery_at = core.rediscovery.due().filter(|_| self.discovery.is_none());
        let unknown_kids_at = self.report_unknown_kids(&mut core, now);
        let wake_at = [core.machine.wake_at(), rediscovery_at, unknown_kids_at].into_iter().flatten().min();
        let events = mem::take(&mut core.pending_events);
        drop(core);
        self.shared.arm(wake_at);
        // Requests go on before the hook is called, however long that takes.
        self.shared.progress.send_if_modified(|last_reported| mem::replace(last_reported, progress) != progress);
        self.shared.notifier.notify(events);
        let snapshot = self.shared.published.load();
        let state = KeyState::from(snapshot.freshness_state(moment));
        let age = snapshot.age(moment);
        telemetry::jwks_state(self.shared.label(), state.number(), snapshot.usable_keys(moment), age);
        wake_at
    }

    /// Puts misses among the news, if there was a pause since they last were; else names its end.
    fn report_unknown_kids(&self, core: &mut Core, now: Monotonic) -> Option<Monotonic> {
        let due = core
            .unknown_kids_reported_at
            .map_or(now, |last_reported| last_reported.saturating_add(defaults::UNKNOWN_KID_EVENT_INTERVAL));
        let has_unknown_kids = self.shared.notifier.has_unknown_kids();
        if has_unknown_kids && now >= due {
            core.unknown_kids_reported_at = Some(now);
            core.pending_events.extend(self.shared.notifier.take_unknown_kids());
            return None;
        }
        has_unknown_kids.then_some(due)
    }

    /// The source is closed: ends what is in flight. What is untold is told when the task is parked.
    fn end(mut self) {
        self.step(Event::Close, None);
        // Again: this task may have told an older state since.
        self.shared.report_closed();
    }

    /// Takes what requests have left at the port.
    fn take_commands(&mut self) {
        if self.shared.mailbox.unknown_kid_seen.swap(false, Ordering::AcqRel) {
            self.step(Event::UnknownKid, None);
        }
        let reloads = self.shared.take_reloads();
        if !reloads.is_empty() {
            let mut core = self.shared.core();
            core.pending_events.push(KeyEventKind::Reload);
            core.waiting.extend(reloads);
            drop(core);
            self.step(Event::FetchNow(Cause::Manual), None);
        }
    }

    /// Lets the machine make one step, and does what it asks for.
    fn step(&mut self, event: Event, mut completed: Option<Completed>) {
        let shared = self.shared;
        let moment = shared.now();
        let now = moment.monotonic;
        let core = &mut *shared.core();
        if let Some(uncounted) = shared.published.count_suspension(moment) {
            core.machine.age_by(uncounted);
        }
        let sample = core.rng.sample();
        for action in core.machine.step(event, now, sample) {
            match action {
                Action::Fetch(order) => self.start_fetch(order, core, now),
                Action::Abort => self.abort(core, now),
                Action::Publish(times) => {
                    if let Some(completed) = completed.take() {
                        completed.publish(shared, times, moment.wall, core);
                    }
                }
                Action::NotifyFailed { error, .. } => {
                    core.pending_events.extend(event_of(action));
                    self.failed(error, core, moment);
                }
                Action::NotifyStale { .. } | Action::NotifyExpired | Action::NotifyRecovered => {
                    core.pending_events.extend(event_of(action));
                }
                Action::Close => (self.keys, self.discovery) = (None, None),
            }
        }
    }
}

/// What an action has to tell.
fn event_of(action: Action) -> Option<KeyEventKind> {
    match action {
        Action::NotifyStale { remaining } => Some(KeyEventKind::StaleEntered { remaining }),
        Action::NotifyExpired => Some(KeyEventKind::Expired),
        Action::NotifyRecovered => Some(KeyEventKind::StaleRecovered),
        Action::NotifyFailed { error, consecutive, next_in } => {
            Some(KeyEventKind::RefreshFailed { error, consecutive, next_in })
        }
        Action::Fetch(_) | Action::Abort | Action::Publish(_) | Action::Close => None,
    }
}

/// Answers those who called `reload()`; who has gone away does not mind.
fn answer(replies: impl Iterator<Item = Reply>, result: Result<(), RefreshError>) {
    for reply in replies {
        let _gone = reply.send(result);
    }
}
