//! The driver task: the only task that fetches keys and passes events to the state machine.

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
use crate::jwks::operation::{CompromisedKeys, Failure, KeySummary, Report};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::{Action, Cause, Event, Refresh};
use crate::jwks::shared::{DriverStatus, Origin, Reply, Shared, Task, TaskGuard};
use crate::jwks::status::KeyState;
use crate::jwks::timeout::catch_panic;
use crate::telemetry;

/// The part of the driver's state that survives the end of the task's runtime.
pub(super) struct Core {
    machine: Refresh,
    rng: Rng,
    /// The `jwks_uri`, once it is known.
    endpoint: Option<Endpoint>,
    rediscovery: Rediscovery,
    /// The `reload()` calls that the fetch in flight completes.
    in_flight_replies: Vec<Reply>,
    /// The `reload()` calls that wait for a fetch that has not started.
    queued_replies: Vec<Reply>,
    /// The skipped keys of the last key set as last reported, and whether that set was rejected.
    reported_skips: (KeySummary, bool),
    /// Keys whose private key has been published. Later key sets are used without them.
    compromised: Arc<CompromisedKeys>,
    /// Events that are sent after the lock is released.
    pending_events: Vec<KeyEventKind>,
    /// The time of the last `unknown_kid` events.
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
            in_flight_replies: Vec::new(),
            queued_replies: Vec::new(),
            reported_skips: Default::default(),
            compromised: Arc::default(),
            pending_events: Vec::new(),
            unknown_kids_reported_at: None,
        }
    }
}

/// Runs the driver until the source is closed. Restarts it after a panic in foreign code such as a tracing subscriber or a
/// metrics recorder.
pub(super) async fn drive(task_guard: TaskGuard) {
    let shared = &task_guard.0;
    while catch_panic(run(shared)).await.is_none() {
        let _panic = catch_panic(async { interrupt(shared, RefreshError::Panic) }).await;
        if shared.is_closing() {
            return;
        }
        shared.clock.sleep_until(shared.clock.monotonic().saturating_add(shared.policy.backoff_min)).await;
    }
}

async fn run(shared: &Shared) {
    let mut driver = Driver { shared, keys: None, discovery: None };
    if shared.is_closing() {
        return driver.close();
    }
    driver.step(Event::Begin, None);
    driver.step(Event::Timer, None);
    // An earlier task may have left commands in the mailbox.
    driver.receive_commands();
    loop {
        let wake_at = driver.publish_status();
        let wakeup = driver.next_wakeup(wake_at).await;
        // A closed source publishes nothing more.
        if shared.is_closing() {
            return driver.close();
        }
        match wakeup {
            Wakeup::Keys(in_flight, report) => {
                // Requests that arrived before this point have waited for this fetch.
                driver.receive_commands();
                driver.finish_fetch(&in_flight, *report);
            }
            Wakeup::Discovery(result) => driver.finish_rediscovery(result),
            Wakeup::Notified | Wakeup::Timer => {}
        }
        driver.step(Event::Timer, None);
        driver.receive_commands();
    }
}

/// Records the end of the task in the state machine: the fetch in flight has failed.
pub(super) fn interrupt(shared: &Shared, error: RefreshError) {
    let now = shared.clock.monotonic();
    let events = {
        let core = &mut *shared.core();
        let sample = core.rng.sample();
        let event = if shared.is_closing() { Event::Close } else { Event::Interrupted(error) };
        for action in core.machine.step(event, now, sample) {
            core.pending_events.extend(event_of(action));
        }
        let status = DriverStatus::new(&core.machine, Task::Absent);
        let error = if status.is_closed() { RefreshError::SourceClosed } else { error };
        send_result(core.in_flight_replies.drain(..).chain(core.queued_replies.drain(..)), Err(error));
        shared.driver_status.send_replace(status);
        mem::take(&mut core.pending_events)
    };
    shared.notifier.notify(events);
}

/// The state of one driver task. Everything else is in [`Shared`].
struct Driver<'s> {
    shared: &'s Shared,
    keys: Option<(InFlight, Pending<Report>)>,
    discovery: Option<Pending<Result<Endpoint, Failure>>>,
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Wakeup {
    Keys(InFlight, Box<Report>),
    Discovery(Result<Endpoint, Failure>),
    Notified,
    Timer,
}

impl Driver<'_> {
    /// Waits for the next wakeup.
    async fn next_wakeup(&mut self, wake_at: Option<Monotonic>) -> Wakeup {
        let mut notified = pin!(self.shared.mailbox.wake.notified());
        let mut timer = wake_at.map(|at| self.shared.clock.sleep_until(at));
        let (keys, discovery) = (&mut self.keys, &mut self.discovery);
        poll_fn(|context| {
            if let Some((in_flight, future)) = keys
                && let Poll::Ready(report) = future.as_mut().poll(context)
            {
                return Poll::Ready(Wakeup::Keys(in_flight.clone(), Box::new(report)));
            }
            if let Some(future) = discovery
                && let Poll::Ready(result) = future.as_mut().poll(context)
            {
                return Poll::Ready(Wakeup::Discovery(result));
            }
            if notified.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wakeup::Notified);
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(context).map(|()| Wakeup::Timer),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Starts a due rediscovery, publishes the driver's status, sends the pending events and updates the gauges. Returns the
    /// next time to wake.
    fn publish_status(&mut self) -> Option<Monotonic> {
        let moment = self.shared.now();
        let now = moment.monotonic;
        self.start_due_rediscovery(now);
        let mut core = self.shared.core();
        let status = DriverStatus::new(&core.machine, Task::Running);
        let rediscovery_at = core.rediscovery.due().filter(|_| self.discovery.is_none());
        let unknown_kids_at = self.report_unknown_kids(&mut core, now);
        let wake_at = [core.machine.wake_at(), rediscovery_at, unknown_kids_at].into_iter().flatten().min();
        let events = mem::take(&mut core.pending_events);
        drop(core);
        self.shared.set_late_from(wake_at);
        // Waiting requests continue before the hook is called, which may take any time.
        self.shared.driver_status.send_if_modified(|last_reported| mem::replace(last_reported, status) != status);
        self.shared.notifier.notify(events);
        let snapshot = self.shared.published.load();
        let state = KeyState::from(snapshot.freshness_state(moment));
        let age = snapshot.age(moment);
        telemetry::jwks_state(self.shared.label(), state.number(), snapshot.usable_keys(moment), age);
        wake_at
    }

    /// Adds the counts of unknown kids to the pending events, at most once per interval. Returns the end of the interval if
    /// it has not passed.
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

    /// Stops the fetches of a closed source. Pending events are sent when [`TaskGuard`] is dropped.
    fn close(mut self) {
        self.step(Event::Close, None);
        // `Shared::close` has done so already, but this task may have set the gauges since.
        self.shared.report_closed();
    }

    /// Receives the commands in the mailbox.
    fn receive_commands(&mut self) {
        if self.shared.mailbox.unknown_kid_seen.swap(false, Ordering::AcqRel) {
            self.step(Event::UnknownKid, None);
        }
        let reloads = self.shared.take_reloads();
        if !reloads.is_empty() {
            let mut core = self.shared.core();
            core.pending_events.push(KeyEventKind::Reload);
            core.queued_replies.extend(reloads);
            drop(core);
            self.step(Event::FetchNow(Cause::Manual), None);
        }
    }

    /// Passes an event to the state machine and executes the actions that it returns.
    fn step(&mut self, event: Event, mut completed: Option<Completed>) {
        let shared = self.shared;
        let moment = shared.now();
        let now = moment.monotonic;
        let core = &mut *shared.core();
        if let Some(clock_lag) = shared.published.count_suspension(moment) {
            core.machine.age_by(clock_lag);
        }
        let sample = core.rng.sample();
        for action in core.machine.step(event, now, sample) {
            match action {
                Action::Fetch(order) => self.start_fetch(order, core, moment),
                Action::Abort => self.abort(core, now),
                Action::Publish(times) => {
                    if let Some(completed) = completed.take() {
                        completed.publish(shared, times, moment, core);
                    }
                }
                Action::NotifyFailed { error, .. } => {
                    core.pending_events.extend(event_of(action));
                    self.record_failure(error, core, moment);
                }
                Action::NotifyStale { .. } | Action::NotifyExpired | Action::NotifyRecovered => {
                    core.pending_events.extend(event_of(action));
                }
                Action::Close => (self.keys, self.discovery) = (None, None),
            }
        }
    }
}

/// Returns the event that reports an action.
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

/// Sends `result` to the callers of `reload()`. A caller that has dropped its future is ignored.
pub(super) fn send_result(replies: impl IntoIterator<Item = Reply>, result: Result<(), RefreshError>) {
    for reply in replies {
        let _receiver_gone = reply.send(result);
    }
}
