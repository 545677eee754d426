//! `CustomDomains`: the task that renews the custom domains of an issuer.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::clock::{Clock, Monotonic};
use crate::config::DomainList;
use crate::defaults;
use crate::fetch::{catch_panic, within};
use crate::telemetry::custom_domains;
use crate::validator::one_task::OneTask;

/// Renews the custom domains of one issuer while the validator exists.
pub(super) struct CustomDomains {
    shared: Arc<Shared>,
    task: OneTask,
}

struct Shared {
    list: DomainList,
    clock: Arc<dyn Clock>,
    /// Changes at each end of a call of the source.
    called: watch::Sender<()>,
}

impl CustomDomains {
    /// Creates the handle, and starts the task if a tokio runtime is current.
    pub(super) fn new(list: DomainList, clock: Arc<dyn Clock>) -> Self {
        list.set_clock(Arc::clone(&clock));
        let shared = Shared { list, clock, called: watch::Sender::new(()) };
        let domains = Self { shared: Arc::new(shared), task: OneTask::new() };
        domains.ensure_running();
        domains
    }

    /// Starts the task if none runs and a tokio runtime is current.
    pub(super) fn ensure_running(&self) {
        self.task.ensure_running(|| renew(Arc::clone(&self.shared)));
    }

    /// Waits until the domains are known, at most until `deadline`, and not outside a tokio runtime. Returns whether they are.
    pub(super) async fn known_before(&self, deadline: Monotonic) -> bool {
        if Handle::try_current().is_err() {
            return self.shared.list.is_known();
        }
        self.ensure_running();
        let mut called = self.shared.called.subscribe();
        let known = async {
            while !self.shared.list.is_known() {
                if called.changed().await.is_err() {
                    return;
                }
            }
        };
        let _timeout = within(known, self.shared.clock.sleep_until(deadline)).await;
        self.shared.list.is_known()
    }
}

/// Calls the source at regular intervals, and sooner after a failure.
async fn renew(shared: Arc<Shared>) {
    let mut failures = 0_u32;
    loop {
        let outcome = call_source(&shared).await;
        let pause = match outcome {
            Ok(()) => {
                failures = 0;
                defaults::CUSTOM_DOMAINS_INTERVAL
            }
            Err(_) => {
                failures = failures.saturating_add(1);
                pause_after(failures)
            }
        };
        report(&shared, outcome);
        shared.called.send_replace(());
        shared.clock.sleep_until(shared.clock.monotonic().saturating_add(pause)).await;
    }
}

/// Calls the source once. Returns the class of the failure.
async fn call_source(shared: &Shared) -> Result<(), &'static str> {
    let clock = &*shared.clock;
    let timer = clock.sleep_until(clock.monotonic().saturating_add(defaults::CUSTOM_DOMAINS_TIMEOUT));
    let result = within(catch_panic(async { shared.list.call_source().await }), timer).await;
    // The error is not logged: its text may contain the credentials of a database.
    let domains = result.ok_or("timeout")?.ok_or("panic")?.map_err(|_| "error")?;
    let renewed = shared.list.replace(&domains, clock.monotonic()).map_err(|_| "too_many")?;
    custom_domains::renewed(shared.list.name(), renewed.domains, renewed.malformed, renewed.is_changed);
    Ok(())
}

fn report(shared: &Shared, outcome: Result<(), &'static str>) {
    custom_domains::called(shared.list.name(), outcome.err());
    if outcome.is_err() && shared.list.expire(shared.clock.monotonic()) {
        custom_domains::expired(shared.list.name());
    }
}

/// Returns the pause after this number of consecutive failures.
fn pause_after(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    defaults::CUSTOM_DOMAINS_BACKOFF_MIN.saturating_mul(doubled).min(defaults::CUSTOM_DOMAINS_BACKOFF_MAX)
}
