//! The driver task: the only task that fetches keys and passes events to the state machine.

mod in_flight;
mod stored;
mod task;

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;

use crate::clock::Monotonic;
use crate::defaults;
use crate::fetch::Endpoint;
use crate::jwks::cause::RefreshCause;
use crate::jwks::driver::in_flight::{Completed, InFlight};
use crate::jwks::driver::stored::Saving;
use crate::jwks::driver_core::DriverCore;
use crate::jwks::driver_status::{DriverStatus, Task};
use crate::jwks::events::KeyEventKind;
use crate::jwks::key_store::StoredKeys;
use crate::jwks::key_store_error::KeyStoreError;
use crate::jwks::mailbox::send_results;
use crate::jwks::operation::{Failure, Report};
use crate::jwks::refresh::{Action, Event};
use crate::jwks::shared::Shared;
use crate::jwks::status::KeyState;
use crate::telemetry;

pub(super) use self::task::ensure_running;

/// The state of one driver task. Everything else is in [`Shared`].
struct Driver<'s> {
    shared: &'s Shared,
    keys: Option<(InFlight, Pending<Report>)>,
    discovery: Option<Pending<Result<Endpoint, Failure>>>,
    /// The load of stored keys, at start.
    load: Option<Pending<Loaded>>,
    /// A failed fetch that ended during the load. It is processed after it: requests that wait for the first keys must not fail
    /// before it is known whether there are stored ones. A document with private keys is processed at once, since initial keys
    /// may be in use.
    failed_during_load: Option<(InFlight, Box<Report>)>,
    save: Option<Saving>,
    /// The work of other modules after the last fetch.
    after_fetch: Option<Pending<()>>,
}

type Loaded = Result<Option<StoredKeys>, KeyStoreError>;

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Wakeup {
    Keys(InFlight, Box<Report>),
    Discovery(Result<Endpoint, Failure>),
    Loaded(Box<Loaded>),
    Saved(Result<(), KeyStoreError>),
    Notified,
    Timer,
}

/// Runs the state machine until the source is closed.
async fn run(shared: &Shared) {
    let mut driver = Driver {
        shared,
        keys: None,
        discovery: None,
        load: None,
        failed_during_load: None,
        save: None,
        after_fetch: None,
    };
    if shared.is_closing() {
        return driver.close();
    }
    driver.start_load();
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
                // A fetch that ends during this work does not start it again, so that all portions run.
                driver.after_fetch.get_or_insert_with(|| Box::pin(shared.after_fetch.run()));
            }
            Wakeup::Discovery(result) => driver.finish_rediscovery(result),
            Wakeup::Loaded(loaded) => driver.finish_load(*loaded),
            Wakeup::Saved(result) => driver.finish_save(result),
            Wakeup::Notified | Wakeup::Timer => {}
        }
        driver.step(Event::Timer, None);
        driver.receive_commands();
    }
}

impl Driver<'_> {
    /// Waits for the next wakeup.
    async fn next_wakeup(&mut self, wake_at: Option<Monotonic>) -> Wakeup {
        let mut notified = pin!(self.shared.mailbox.wake.notified());
        let mut timer = wake_at.map(|at| self.shared.clock.sleep_until(at));
        let Self { shared, keys, discovery, load, failed_during_load, save, after_fetch } = self;
        poll_fn(|context| {
            if let Some(future) = load
                && let Poll::Ready(loaded) = future.as_mut().poll(context)
            {
                return Poll::Ready(Wakeup::Loaded(Box::new(loaded)));
            }
            if load.is_none()
                && let Some((in_flight, report)) = failed_during_load.take()
            {
                return Poll::Ready(Wakeup::Keys(in_flight, report));
            }
            if let Some((in_flight, future)) = keys
                && failed_during_load.is_none()
                && let Poll::Ready(report) = future.as_mut().poll(context)
            {
                let (in_flight, report) = (in_flight.clone(), Box::new(report));
                let withdraws_keys = report.discloses_keys() && shared.published.load().epoch > 0;
                if load.is_none() || report.result.is_ok() || withdraws_keys {
                    return Poll::Ready(Wakeup::Keys(in_flight, report));
                }
                *failed_during_load = Some((in_flight, report));
            }
            if let Some(saving) = save
                && let Poll::Ready(result) = saving.poll(context)
            {
                return Poll::Ready(Wakeup::Saved(result));
            }
            if let Some(future) = discovery
                && let Poll::Ready(result) = future.as_mut().poll(context)
            {
                return Poll::Ready(Wakeup::Discovery(result));
            }
            if notified.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wakeup::Notified);
            }
            if let Some(work) = after_fetch
                && work.as_mut().poll(context).is_ready()
            {
                *after_fetch = None;
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
        self.start_due_save(moment);
        let save_late_at = self.save.as_ref().and_then(|saving| saving.late_at);
        let mut core = self.shared.core();
        let status = DriverStatus::new(&core.machine, Task::Running);
        let rediscovery_at = core.rediscovery.due().filter(|_| self.discovery.is_none());
        let unknown_kids_at = self.report_unknown_kids(&mut core, now);
        let due = [core.machine.wake_at(), rediscovery_at, unknown_kids_at, save_late_at];
        let wake_at = due.into_iter().flatten().min();
        let events = mem::take(&mut core.pending_events);
        let replies = mem::take(&mut core.completed_replies);
        drop(core);
        self.shared.set_late_from(wake_at);
        // Waiting requests continue before the hook is called, which may take any time.
        self.shared.driver_status.send_if_modified(|last_reported| mem::replace(last_reported, status) != status);
        // When `reload()` returns, the key set is in use and `status()` shows the result.
        send_results(replies);
        self.shared.notifier.notify(events);
        let snapshot = self.shared.published.load();
        let state = KeyState::from_freshness(snapshot.freshness_state(moment));
        let age = snapshot.age(moment);
        telemetry::jwks_state(&self.shared.source_label, state.number(), snapshot.usable_keys(moment), age);
        wake_at
    }

    /// Adds the counts of unknown kids to the pending events, at most once per interval. Returns the end of the interval if
    /// it has not passed.
    fn report_unknown_kids(&self, core: &mut DriverCore, now: Monotonic) -> Option<Monotonic> {
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

    /// Stops the fetches of a closed source. Pending events are sent when [`TaskGuard`](task::TaskGuard) is dropped.
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
        if self.shared.mailbox.absent_kid_seen.swap(false, Ordering::AcqRel) {
            self.step(Event::AbsentKid, None);
        }
        if self.shared.mailbox.invalid_signature_seen.swap(false, Ordering::AcqRel) {
            self.step(Event::InvalidSignature, None);
        }
        let reloads = self.shared.take_reloads();
        if !reloads.is_empty() {
            let mut core = self.shared.core();
            core.pending_events.push(KeyEventKind::Reload);
            core.queued_replies.extend(reloads);
            drop(core);
            self.step(Event::FetchNow(RefreshCause::Reload), None);
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
                Action::Close => {
                    (self.keys, self.discovery, self.load, self.save) = (None, None, None, None);
                    self.failed_during_load = None;
                }
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
