//! The task that calls the resolver again for the tenants in use, and removes those that are not used.

use std::sync::Arc;

use crate::defaults;
use crate::fetch::within;
use crate::validator::tenants::registry::Registry;
use crate::validator::tenants::resolver_calls::Renewal;

/// Does this until the validator is dropped.
pub(super) async fn maintain(registry: &Arc<Registry>) {
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
        let timer = clock.sleep_until(next.unwrap_or(latest).min(latest));
        let _woken_or_late = within(registry.wake.notified(), timer).await;
    }
}
