//! The two tasks of a list that processes share: one reads the log, one appends to it.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::{Clock, Monotonic};
use crate::defaults;
use crate::fetch::{catch_panic, within};
use crate::jwks::Rng;
use crate::revocation::cutoff::STEP_LASTS;
use crate::revocation::entry::Revocation;
use crate::revocation::error::RevocationsNotReadyError;
use crate::revocation::event::RevocationEventKind;
use crate::revocation::feed::{Change, Failure, Feed, Outcome};
use crate::revocation::list::{Origin, Revocations, Shared};
use crate::revocation::log::{Extent, LogAppend, LogError, LogPage, LogRead};
use crate::revocation::queue::Step;
use crate::revocation::replication::Log;
use crate::telemetry;

impl Revocations {
    /// Starts the tasks if the list has a log, they do not run, and a tokio runtime is current.
    pub(super) fn ensure_running(&self) {
        let (Some(replication), Ok(runtime)) = (&self.shared.replication, Handle::try_current()) else { return };
        let context = || Context {
            list: Arc::downgrade(&self.shared),
            log: Arc::clone(&replication.shared),
            clock: Arc::clone(&self.shared.clock),
        };
        let read = || {
            let reading = Reading(context());
            runtime.spawn(async move { reading.0.read().await }).abort_handle()
        };
        let append = || {
            let context = context();
            runtime.spawn(async move { context.append().await }).abort_handle()
        };
        replication.tasks.ensure_running(read, append);
    }

    /// Appends entries to the log, if there is one.
    pub(super) async fn append(&self, entries: Vec<Revocation>) -> Result<(), LogError> {
        let Some(replication) = &self.shared.replication else { return Ok(()) };
        if entries.is_empty() {
            return Ok(());
        }
        self.ensure_running();
        let result = replication.shared.queue().push(entries, self.shared.clock.monotonic());
        replication.shared.wake.notify_one();
        // The task ends without a result only with its runtime.
        result?.await.unwrap_or(Err(LogError::Unavailable))
    }

    /// Waits until the whole log was read once, but no longer than `limit`. Use it in a service that must not start before it knows what
    /// is revoked. Returns at once for a list without a log.
    ///
    /// # Errors
    ///
    /// Returns [`RevocationsNotReadyError`] if `limit` elapses first, or outside a tokio runtime.
    pub async fn ready_within(&self, limit: Duration) -> Result<(), RevocationsNotReadyError> {
        let Some(replication) = &self.shared.replication else { return Ok(()) };
        self.ensure_running();
        let mut state = replication.shared.subscribe();
        let error = || RevocationsNotReadyError { last_error: self.status().last_error() };
        if Handle::try_current().is_err() {
            return if self.status().is_ready() { Ok(()) } else { Err(error()) };
        }
        let clock = &*self.shared.clock;
        let timer = clock.sleep_until(clock.monotonic().saturating_add(limit));
        let ready = state.wait_for(|state| state.is_ready());
        match within(ready, timer).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(error()),
        }
    }
}

/// What a task needs. It does not keep the list alive.
struct Context {
    list: Weak<Shared>,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
}

/// The start of a read.
#[derive(Clone, Copy)]
struct Start {
    at: Monotonic,
    /// The number of entries that had left the queue.
    left: u64,
}

/// Marks the list as not read when the task that reads ends before the list, for example with its runtime.
struct Reading(Context);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.log.record_stop();
        self.0.publish();
    }
}

impl Context {
    /// Reads the log as long as the list exists.
    async fn read(&self) {
        let (mut feed, mut rng, mut steps_back) = (Feed::default(), Rng::seeded(), 0);
        self.log.restart_reading();
        loop {
            let start = Start { at: self.clock.monotonic(), left: self.log.queue().left() };
            let read = LogRead { after: feed.cursor().cloned(), limit: defaults::LOG_PAGE, wait: feed.wait() };
            let limit = read.wait.saturating_add(defaults::LOG_READ_SLACK);
            let page = self.limited(async { self.log.log.read(read).await }, limit).await;
            let Some(list) = self.list.upgrade() else { return };
            let outcome = self.apply(&list, page, start);
            let steps_before = std::mem::replace(&mut steps_back, list.steps_back());
            drop(list);
            let has_entries = matches!(outcome, Outcome::Page { entries: 1.., .. });
            let next = feed.step(outcome, rng.jitter());
            if steps_back != steps_before {
                feed.restart();
                self.log.restart_reading();
            }
            self.report(next.change, has_entries);
            if !next.pause.is_zero() {
                self.watched(pending::<()>(), self.clock.monotonic().saturating_add(next.pause)).await;
            }
        }
    }

    /// Adds the entries of a page to the list.
    fn apply(&self, list: &Shared, page: Result<LogPage, LogError>, start: Start) -> Outcome {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.log.record_failure(error);
                return Outcome::Failed(Failure::Log(error));
            }
        };
        if page.malformed > 0 {
            telemetry::revocation::malformed_entries(page.malformed);
        }
        // If an entry does not fit, the page is read again: a process that does not know an entry does not go on as if it did.
        if list.add(&page.entries, Origin::Log).is_err() {
            self.log.clear_error();
            return Outcome::Failed(Failure::ListFull);
        }
        if let Some(error) = page.failure {
            self.log.record_failure(error);
            return Outcome::Failed(Failure::Log(error));
        }
        let now = self.clock.monotonic();
        match page.extent {
            Extent::Regressed => self.log.restart_reading(),
            Extent::Partial | Extent::Complete => self.record_page(list, &page, start, now),
        }
        let elapsed = now.saturating_since(start.at);
        Outcome::Page { extent: page.extent, position: page.position, entries: page.entries.len(), elapsed }
    }

    /// Records what a page says about the log, and appends those entries of this process again that the log has lost.
    fn record_page(&self, list: &Shared, page: &LogPage, start: Start, now: Monotonic) {
        let is_end = page.extent == Extent::Complete;
        self.log.record_read(now, is_end);
        if let Some(position) = &page.position {
            let ends = page.entries.iter().map(Revocation::last_second);
            // Another version may write entries that this one cannot read. They have not ended.
            let malformed = (page.malformed > 0).then(|| list.latest_end());
            let end = ends.chain(malformed).max().unwrap_or_default();
            self.log.horizon().record(position, page.entries.len(), end);
        }
        let cutoff = list.cutoff();
        let mut queue = self.log.queue();
        queue.record_entries(&page.entries);
        if is_end && queue.record_end(start.left, now, cutoff) {
            self.log.wake.notify_one();
        }
    }

    fn report(&self, change: Change, has_entries: bool) {
        match change {
            Change::None => {
                if has_entries {
                    telemetry::revocation::log_read();
                }
                let mut queue = self.log.queue();
                if queue.is_failing() {
                    queue.retry_soon();
                    self.log.wake.notify_one();
                }
            }
            Change::Regressed => self.log.notify(RevocationEventKind::Regressed),
            Change::Failed { failure, consecutive } => {
                telemetry::revocation::log_read_failed(failure.name(), consecutive);
            }
        }
        self.publish();
    }

    /// Appends entries as long as the list exists.
    async fn append(&self) {
        let (mut rng, started) = (Rng::seeded(), self.clock.monotonic());
        loop {
            let Some(list) = self.list.upgrade() else { return };
            let cutoff = list.cutoff();
            drop(list);
            let step = self.log.queue().step(self.clock.monotonic(), cutoff);
            match step {
                Step::Idle => self.log.wake.notified().await,
                Step::Pause(until) => {
                    let _woken = within(self.log.wake.notified(), self.clock.sleep_until(until)).await;
                }
                Step::Append(entries) => {
                    // The wall clock of a server that has just started may be wrong.
                    let is_trusted = self.clock.monotonic().saturating_since(started) >= STEP_LASTS;
                    let obsolete = is_trusted.then(|| self.log.horizon().obsolete(cutoff)).flatten();
                    let count = entries.len();
                    let appending = async { self.log.log.append(LogAppend { entries, obsolete }).await };
                    let result = self.limited(appending, defaults::LOG_APPEND_LIMIT).await;
                    self.finish_append(count, result, &mut rng);
                }
            }
        }
    }

    fn finish_append(&self, count: usize, result: Result<(), LogError>, rng: &mut Rng) {
        let mut queue = self.log.queue();
        match result {
            Ok(()) => queue.record_success(count, self.clock.monotonic()),
            Err(error) => queue.record_failure(error, self.clock.monotonic(), rng.jitter()),
        }
        telemetry::revocation::appended(result.err().map(LogError::name), queue.len());
    }

    /// Waits for a result of the log, with a limit, and catches a panic.
    async fn limited<T>(
        &self,
        call: impl Future<Output = Result<T, LogError>>,
        limit: Duration,
    ) -> Result<T, LogError> {
        let deadline = self.clock.monotonic().saturating_add(limit);
        match self.watched(catch_panic(call), deadline).await {
            None => Err(LogError::TimedOut),
            Some(result) => result.unwrap_or(Err(LogError::Panic)),
        }
    }

    /// Waits for a future until a deadline, and publishes the state of the list whenever it changes.
    async fn watched<F: Future>(&self, future: F, deadline: Monotonic) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            let now = self.clock.monotonic();
            let wake_at = self.log.next_change(now).map_or(deadline, |change| change.min(deadline));
            if let Some(output) = within(future.as_mut(), self.clock.sleep_until(wake_at)).await {
                return Some(output);
            }
            self.publish();
            if self.clock.monotonic() >= deadline {
                return None;
            }
        }
    }

    /// Publishes the state of the list, unless the list is dropped: then nothing needs it.
    fn publish(&self) {
        let Some(list) = self.list.upgrade() else { return };
        self.log.publish(self.clock.monotonic(), |is_available| list.set_available(is_available));
    }
}
