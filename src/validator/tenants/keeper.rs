//! The task that calls the resolver again for the tenants in use, and removes those that are not used.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::defaults;
use crate::validator::tenants::flight::Renewal;
use crate::validator::tenants::registry::Registry;

/// Starts the task if none runs and a tokio runtime is current. It ends with `validator`.
pub(super) fn ensure_running(registry: &Arc<Registry>, validator: &watch::Sender<()>) {
    if registry.is_kept.load(Ordering::Relaxed) {
        return;
    }
    let Ok(runtime) = Handle::try_current() else { return };
    if !registry.is_kept.swap(true, Ordering::SeqCst) {
        // Created before the task is spawned: a runtime that is shutting down drops the task without polling it.
        let running = Running(Arc::clone(registry));
        drop(runtime.spawn(keep(running, validator.subscribe())));
    }
}

/// Allows another task at the end of this one.
struct Running(Arc<Registry>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_kept.store(false, Ordering::SeqCst);
    }
}

async fn keep(running: Running, mut validator: watch::Receiver<()>) {
    let registry = &running.0;
    let clock = &*registry.parts.clock;
    loop {
        registry.sweep();
        let now = clock.monotonic();
        let (due, next) = {
            let mut table = registry.table();
            let due = table.start_renewals(now, defaults::MAX_TENANT_CALLS);
            let due: Vec<_> = due.iter().filter_map(|name| table.get(name).map(Arc::clone)).collect();
            (due, table.next_renewal())
        };
        for tenant in due {
            tokio::spawn(Renewal::new(registry, tenant).run());
        }
        // A renewal that is due waits for the end of another one, which wakes this task.
        let next = next.filter(|next| *next > now);
        let latest = now.saturating_add(defaults::TENANT_CHECK_INTERVAL);
        let mut timer = clock.sleep_until(next.unwrap_or(latest).min(latest));
        let mut woken = pin!(registry.wake.notified());
        let mut ended = pin!(validator.changed());
        let is_over = poll_fn(|context| {
            if ended.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            if woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            timer.as_mut().poll(context).map(|()| false)
        });
        if is_over.await {
            return;
        }
    }
}
