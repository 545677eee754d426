//! The driver task: the only one that fetches, and the only one that tells the machine what happened.

mod flight;

use std::collections::BTreeSet;
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
use crate::jwks::driver::flight::{Flight, Landed};
use crate::jwks::error::RefreshError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::jitter::Dice;
use crate::jwks::operation::{Failure, FlawSummary, Report};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::race::caught;
use crate::jwks::refresh::{Action, Cause, Event, Refresh};
use crate::jwks::shared::{Alive, Origin, Progress, Reply, Shared, Task};
use crate::jwks::status::KeyState;
use crate::keys::Thumbprint;
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
    /// What is wrong with keys of the last set, as far as that was told.
    told: FlawSummary,
    /// The keys whose private halves have been published: no later set brings them back.
    compromised: Arc<BTreeSet<Thumbprint>>,
    /// What has happened, until the lock is released and somebody may be told.
    untold: Vec<KeyEventKind>,
    /// When the hook last heard of misses.
    misses_told: Option<Monotonic>,
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
            told: FlawSummary::default(),
            compromised: Arc::default(),
            untold: Vec::new(),
            misses_told: None,
        }
    }
}

/// Runs the machine until the source is closed, through panics of what it does not own: a subscriber, a recorder.
pub(super) async fn drive(alive: Alive) {
    let shared = &alive.0;
    while caught(run(shared)).await.is_none() {
        let _twice = caught(async { park(shared, RefreshError::Panic) }).await;
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
    driver.step(Event::Start, None);
    driver.step(Event::Timer, None);
    // A task before this one may have left some.
    driver.take_wishes();
    loop {
        let wake_at = driver.settle();
        let happening = driver.next(wake_at).await;
        // Whatever has come, a closed source takes it in no more.
        if shared.is_closing() {
            return driver.end();
        }
        match happening {
            Happening::Keys(flight, report) => {
                // Who has come until now has waited for this fetch.
                driver.take_wishes();
                driver.landed(&flight, report);
            }
            Happening::Discovery(result) => driver.rediscovered(result),
            Happening::Woken | Happening::Timer => {}
        }
        driver.step(Event::Timer, None);
        driver.take_wishes();
    }
}

/// Leaves the machine in order when its task dies: what was in flight has failed.
pub(super) fn park(shared: &Shared, error: RefreshError) {
    let now = shared.clock.monotonic();
    let news = {
        let core = &mut *shared.core();
        let roll = core.dice.roll();
        let event = if shared.is_closing() { Event::Close } else { Event::Interrupted(error) };
        for action in core.machine.step(event, now, roll) {
            core.untold.extend(news_of(action));
        }
        let progress = Progress::of(&core.machine, Task::Absent);
        let error = if progress.is_closed() { RefreshError::SourceClosed } else { error };
        answer(core.answered.drain(..).chain(core.waiting.drain(..)), Err(error));
        shared.progress.send_replace(progress);
        mem::take(&mut core.untold)
    };
    shared.teller.tell(news);
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

    /// Tells everybody where things stand and what has happened, starts a due rediscovery, and names the next time to wake.
    fn settle(&mut self) -> Option<Monotonic> {
        let moment = self.shared.now();
        let now = moment.monotonic;
        self.rediscover(now);
        let mut core = self.shared.core();
        let progress = Progress::of(&core.machine, Task::Running);
        let rediscovery_at = core.rediscovery.due().filter(|_| self.discovery.is_none());
        let misses_at = self.hear_misses(&mut core, now);
        let wake_at = [core.machine.wake_at(), rediscovery_at, misses_at].into_iter().flatten().min();
        let news = mem::take(&mut core.untold);
        drop(core);
        self.shared.arm(wake_at);
        // Requests go on before the hook is called, however long that takes.
        self.shared.progress.send_if_modified(|told| mem::replace(told, progress) != progress);
        self.shared.teller.tell(news);
        let snapshot = self.shared.published.load();
        let state = KeyState::from(snapshot.standing(moment));
        let age = snapshot.age(moment);
        telemetry::jwks_state(self.shared.label(), state.number(), snapshot.usable_keys(moment), age);
        wake_at
    }

    /// Puts misses among the news, if there was a pause since they last were; else names its end.
    fn hear_misses(&self, core: &mut Core, now: Monotonic) -> Option<Monotonic> {
        let due = core.misses_told.map_or(now, |told| told.saturating_add(defaults::MISS_EVENT_PAUSE));
        let has_misses = self.shared.teller.has_misses();
        if has_misses && now >= due {
            core.misses_told = Some(now);
            core.untold.extend(self.shared.teller.take_misses());
            return None;
        }
        has_misses.then_some(due)
    }

    /// The source is closed: ends what is in flight. What is untold is told when the task is parked.
    fn end(mut self) {
        self.step(Event::Close, None);
        // Again: this task may have told an older state since.
        self.shared.tell_closed();
    }

    /// Takes what requests have left at the port.
    fn take_wishes(&mut self) {
        if self.shared.port.missed.swap(false, Ordering::AcqRel) {
            self.step(Event::Miss, None);
        }
        let reloads = self.shared.take_reloads();
        if !reloads.is_empty() {
            let mut core = self.shared.core();
            core.untold.push(KeyEventKind::Reload);
            core.waiting.extend(reloads);
            drop(core);
            self.step(Event::Demand(Cause::Manual), None);
        }
    }

    /// Lets the machine make one step, and does what it asks for.
    fn step(&mut self, event: Event, mut landed: Option<Landed>) {
        let shared = self.shared;
        let moment = shared.now();
        let now = moment.monotonic;
        let core = &mut *shared.core();
        if let Some(uncounted) = shared.published.count_suspension(moment) {
            core.machine.age_by(uncounted);
        }
        let roll = core.dice.roll();
        for action in core.machine.step(event, now, roll) {
            match action {
                Action::Fetch(order) => self.take_off(order, core, now),
                Action::Abort => self.abort(core, now),
                Action::Publish(times) => {
                    if let Some(landed) = landed.take() {
                        landed.publish(shared, times, moment.wall, core);
                    }
                }
                Action::TellFailed { error, .. } => {
                    core.untold.extend(news_of(action));
                    self.failed(error, core, moment);
                }
                Action::TellStale { .. } | Action::TellExpired | Action::TellRecovered => {
                    core.untold.extend(news_of(action));
                }
                Action::Close => (self.keys, self.discovery) = (None, None),
            }
        }
    }
}

/// What an action has to tell.
fn news_of(action: Action) -> Option<KeyEventKind> {
    match action {
        Action::TellStale { remaining } => Some(KeyEventKind::StaleEntered { remaining }),
        Action::TellExpired => Some(KeyEventKind::Expired),
        Action::TellRecovered => Some(KeyEventKind::StaleRecovered),
        Action::TellFailed { error, consecutive, next_in } => {
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
