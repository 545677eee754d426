//! `Replication`: what a list knows of its log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::clock::Monotonic;
use crate::defaults;
use crate::event_hook::EventHook;
use crate::revocation::event::{RevocationEvent, RevocationEventKind, notify};
use crate::revocation::horizon::Horizon;
use crate::revocation::log::{LogError, RevocationLog};
use crate::revocation::queue::Queue;
use crate::revocation::status::{LogStatus, RevocationState};
use crate::telemetry;

/// The log of a list, and how far it was read.
pub(super) struct Replication {
    pub(super) shared: Arc<Log>,
    /// The tasks that read and append. They end with the list.
    pub(super) tasks: Tasks,
}

/// What the list and its tasks share.
pub(super) struct Log {
    pub(super) log: Arc<dyn RevocationLog>,
    rules: LogRules,
    event_hook: Option<EventHook<RevocationEvent>>,
    progress: Mutex<Progress>,
    state: watch::Sender<RevocationState>,
    pub(super) horizon: Mutex<Horizon>,
    pub(super) queue: Mutex<Queue>,
    /// Notified when an entry is added to the queue, and when the log responds again.
    pub(super) wake: Notify,
}

/// When requests are rejected because the log is not read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogRules {
    pub(super) max_stale: Duration,
    /// Whether requests are accepted after [`max_stale`](Self::max_stale).
    pub(super) accepts_stale: bool,
    /// Whether requests are accepted before the log was read for the first time.
    pub(super) accepts_unread: bool,
}

/// How far the log was read.
#[derive(Debug, Default)]
struct Progress {
    /// Whether the log was read to its end at least once.
    is_loaded: bool,
    last_read: Option<Monotonic>,
    last_error: Option<LogError>,
    /// Whether the list had no room for an entry.
    is_full: bool,
}

/// The tasks of a list, one of each at most.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    read: Mutex<Option<AbortHandle>>,
    append: Mutex<Option<AbortHandle>>,
}

impl Replication {
    pub(super) fn new(
        log: Arc<dyn RevocationLog>,
        rules: LogRules,
        event_hook: Option<EventHook<RevocationEvent>>,
    ) -> Self {
        let shared = Log {
            log,
            rules,
            event_hook,
            progress: Mutex::default(),
            state: watch::Sender::new(RevocationState::Loading),
            horizon: Mutex::default(),
            queue: Mutex::default(),
            wake: Notify::new(),
        };
        Self { shared: Arc::new(shared), tasks: Tasks::default() }
    }

    /// Returns whether requests are accepted before the first read.
    pub(super) fn is_available(&self) -> bool {
        self.shared.rules.accepts(RevocationState::Loading)
    }

    pub(super) fn status(&self, now: Monotonic) -> LogStatus {
        let progress = self.shared.progress();
        let state = progress.state(&self.shared.rules, now);
        let lag = progress.lag(now);
        LogStatus { state, lag, last_error: progress.last_error, pending: self.shared.queue().len() }
    }
}

impl Log {
    /// Records a read that succeeded, and whether it reached the end of the log.
    pub(super) fn record_read(&self, now: Monotonic, is_end: bool) {
        let mut progress = self.progress();
        progress.last_read = Some(now);
        progress.last_error = None;
        progress.is_loaded |= is_end;
    }

    pub(super) fn record_failure(&self, error: LogError) {
        self.progress().last_error = Some(error);
    }

    /// Removes the error of the last read: the log responds, whatever becomes of what was read.
    pub(super) fn clear_error(&self) {
        self.progress().last_error = None;
    }

    /// Records that the log is read from its start again.
    pub(super) fn restart_reading(&self) {
        self.horizon().clear();
        self.queue().restart_reading();
    }

    /// Records whether the list had room for an entry.
    pub(super) fn record_full(&self, is_full: bool) {
        self.progress().is_full = is_full;
    }

    /// Records that nothing reads the log any more.
    pub(super) fn record_stop(&self) {
        self.progress().is_loaded = false;
    }

    /// Publishes the state, and passes whether requests are accepted to `set_available`.
    pub(super) fn publish(&self, now: Monotonic, set_available: impl FnOnce(bool)) {
        let progress = self.progress();
        let (state, lag) = (progress.state(&self.rules, now), progress.lag(now));
        let mut previous = state;
        self.state.send_if_modified(|current| {
            previous = std::mem::replace(current, state);
            previous != state
        });
        set_available(self.rules.accepts(state));
        // Until here, so that another task cannot overwrite a newer state with an older one.
        drop(progress);
        telemetry::revocation::lag(lag.unwrap_or_default(), state.number());
        if previous != state {
            self.notify(RevocationEventKind::of_change(previous, state));
        }
    }

    /// Sends an event. No lock is held during the call.
    pub(super) fn notify(&self, kind: RevocationEventKind) {
        notify(self.event_hook.as_ref(), kind);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<RevocationState> {
        self.state.subscribe()
    }

    /// Returns when the state changes next if no read succeeds.
    pub(super) fn next_change(&self, now: Monotonic) -> Option<Monotonic> {
        let progress = self.progress();
        let last_read = progress.last_read.filter(|_| progress.is_loaded)?;
        let limits = [defaults::REVOCATIONS_DEGRADED, self.rules.max_stale];
        let changes = limits.map(|limit| last_read.saturating_add(limit).saturating_add(TICK));
        changes.into_iter().filter(|change| *change > now).min()
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn horizon(&self) -> MutexGuard<'_, Horizon> {
        self.horizon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogRules {
    fn accepts(&self, state: RevocationState) -> bool {
        match state {
            RevocationState::Loading => self.accepts_unread,
            RevocationState::Stale => self.accepts_stale,
            RevocationState::Current | RevocationState::Degraded => true,
        }
    }
}

impl Progress {
    fn lag(&self, now: Monotonic) -> Option<Duration> {
        self.last_read.map(|last| now.saturating_since(last))
    }

    fn state(&self, rules: &LogRules, now: Monotonic) -> RevocationState {
        let Some(lag) = self.lag(now).filter(|_| self.is_loaded) else { return RevocationState::Loading };
        if lag > rules.max_stale {
            RevocationState::Stale
        } else if lag > defaults::REVOCATIONS_DEGRADED || self.is_full {
            RevocationState::Degraded
        } else {
            RevocationState::Current
        }
    }
}

impl Tasks {
    /// Starts each task that does not run.
    pub(super) fn ensure_running(&self, read: impl FnOnce() -> AbortHandle, append: impl FnOnce() -> AbortHandle) {
        fn ensure(task: &Mutex<Option<AbortHandle>>, start: impl FnOnce() -> AbortHandle) {
            let mut task = task.lock().unwrap_or_else(PoisonError::into_inner);
            if task.as_ref().is_none_or(AbortHandle::is_finished) {
                *task = Some(start());
            }
        }
        ensure(&self.read, read);
        ensure(&self.append, append);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in [&self.read, &self.append] {
            task.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(AbortHandle::abort);
        }
    }
}

/// A state changes when the lag exceeds a limit.
const TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn rules() -> LogRules {
        LogRules { max_stale: Duration::from_secs(300), accepts_stale: false, accepts_unread: false }
    }

    #[test]
    fn state_follows_the_time_since_the_last_read() {
        let progress = |last_read, is_loaded, is_full| Progress {
            is_loaded,
            last_read: Some(at(last_read)),
            last_error: None,
            is_full,
        };
        let loaded = progress(100, true, false);
        for (now, state) in [
            (100, RevocationState::Current),
            (130, RevocationState::Current),
            (131, RevocationState::Degraded),
            (400, RevocationState::Degraded),
            (401, RevocationState::Stale),
        ] {
            assert_eq!(loaded.state(&rules(), at(now)), state, "{now}");
        }
        assert_eq!(progress(100, true, true).state(&rules(), at(100)), RevocationState::Degraded, "a full list");
        assert_eq!(progress(100, false, false).state(&rules(), at(100)), RevocationState::Loading);
        assert_eq!(Progress::default().state(&rules(), at(100)), RevocationState::Loading);
        let short = LogRules { max_stale: Duration::from_secs(10), ..rules() };
        assert_eq!(loaded.state(&short, at(111)), RevocationState::Stale);
    }

    #[test]
    fn requests_are_rejected_before_the_first_read_and_long_after_the_last() {
        let accepts = |rules, now| {
            let log = Replication::new(Arc::new(crate::revocation::MemoryLog::new()), rules, None).shared;
            let publish = |now| {
                let mut accepts = None;
                log.publish(now, |is_available| accepts = Some(is_available));
                accepts.expect("called once")
            };
            let before = publish(at(100));
            log.record_read(at(100), true);
            let current = publish(at(100));
            assert_eq!(log.next_change(at(100)), Some(at(130).saturating_add(TICK)));
            assert_eq!(log.next_change(at(131)), Some(at(400).saturating_add(TICK)));
            (before, current, publish(at(now)))
        };
        assert_eq!(accepts(rules(), 400), (false, true, true));
        assert_eq!(accepts(rules(), 401), (false, true, false));
        assert_eq!(accepts(LogRules { accepts_stale: true, ..rules() }, 401), (false, true, true));
        assert_eq!(accepts(LogRules { accepts_unread: true, ..rules() }, 401), (true, true, false));
    }
}
