//! The task in which the driver runs: its start, its restart after a panic, and its end.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use crate::fetch::catch_panic;
use crate::jwks::driver::{event_of, run};
use crate::jwks::driver_status::{DriverStatus, Task};
use crate::jwks::error::RefreshError;
use crate::jwks::mailbox::{send_result, send_results};
use crate::jwks::refresh::Event;
use crate::jwks::shared::Shared;

/// Starts a driver if none runs. Returns an error if none can run.
pub(in crate::jwks) fn ensure_running(shared: &Arc<Shared>) -> Result<(), NoRuntime> {
    if shared.has_task() {
        return Ok(());
    }
    if shared.is_closing() {
        return Err(NoRuntime);
    }
    let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
    if !shared.running.swap(true, Ordering::SeqCst) {
        // Created before the task is spawned: a runtime that is shutting down drops the task without polling it.
        let task_guard = TaskGuard(Arc::clone(shared));
        drop(runtime.spawn(drive(task_guard)));
    }
    Ok(())
}

/// Runs the driver until the source is closed. Restarts it after a panic in foreign code such as a tracing subscriber or a
/// metrics recorder.
async fn drive(task_guard: TaskGuard) {
    let shared = &task_guard.0;
    while catch_panic(run(shared)).await.is_none() {
        let _panic = catch_panic(async { interrupt(shared, RefreshError::Panic) }).await;
        if shared.is_closing() {
            return;
        }
        shared.clock.sleep_until(shared.clock.monotonic().saturating_add(shared.policy.backoff_min)).await;
    }
}

/// Records the end of the task in the state machine: the fetch in flight has failed.
fn interrupt(shared: &Shared, error: RefreshError) {
    let now = shared.clock.monotonic();
    let (events, replies) = {
        let core = &mut *shared.core();
        let sample = core.rng.sample();
        let event = if shared.is_closing() { Event::Close } else { Event::Interrupted(error) };
        for action in core.machine.step(event, now, sample) {
            core.pending_events.extend(event_of(action));
        }
        let status = DriverStatus::new(&core.machine, Task::Absent);
        let error = if status.is_closed() { RefreshError::SourceClosed } else { error };
        let failed = core.in_flight_replies.drain(..).chain(core.queued_replies.drain(..)).collect();
        core.complete_replies(failed, Err(error));
        let replies = mem::take(&mut core.completed_replies);
        shared.driver_status.send_replace(status);
        (mem::take(&mut core.pending_events), replies)
    };
    send_results(replies);
    shared.notifier.notify(events);
}

/// The error of [`ensure_running`]: no tokio runtime is current, or the source is closed.
#[derive(Clone, Copy, Debug)]
pub(in crate::jwks) struct NoRuntime;

/// Cleans up at the end of the task, be it a return, a panic or the end of its runtime.
pub(super) struct TaskGuard(Arc<Shared>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let error = if std::thread::panicking() { RefreshError::Panic } else { RefreshError::Interrupted };
        // It calls tracing subscribers and the event hook. A second panic there must not leave `running` set.
        let _panic = catch_unwind(AssertUnwindSafe(|| interrupt(&self.0, error)));
        self.0.running.store(false, Ordering::SeqCst);
        // Callers that arrived in between saw a running task: wake the waiters to check again, and fail the reloads.
        self.0.driver_status.send_modify(|_| {});
        send_result(self.0.take_reloads(), Err(error));
        if self.0.is_closing() {
            self.0.notifier.notify_closed();
        }
    }
}
