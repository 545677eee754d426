//! The calls of the resolver, each in a separate task.

use std::sync::Arc;

use crate::config::{ClaimedIssuer, Tenant, TenantError};
use crate::defaults;
use crate::fetch::{catch_panic, within};
use crate::rejection::IssuerError;
use crate::single_flight::Call;
use crate::validator::tenants::registry::{Calls, Registry};
use crate::validator::tenants::tenant::LiveTenant;

type Outcome = Result<(), IssuerError>;

/// Calls the resolver for an unknown name, or waits for the call that is in flight.
pub(super) async fn resolve(registry: &Arc<Registry>, claimed: &ClaimedIssuer) -> Outcome {
    let Ok(_permit) = registry.waiters.try_acquire() else { return Err(TenantError::TooManyCalls.into()) };
    let call = match start_or_join(registry, claimed) {
        Joined::Call(call) => call,
        Joined::Ended(outcome) => return outcome,
    };
    call.join().result().await.unwrap_or(Err(TenantError::NoRuntime.into()))
}

enum Joined {
    Call(Arc<Call<Outcome>>),
    /// There is nothing to wait for.
    Ended(Outcome),
}

fn start_or_join(registry: &Arc<Registry>, claimed: &ClaimedIssuer) -> Joined {
    let mut calls = registry.calls();
    if let Some(call) = calls.get(claimed.issuer()) {
        // Each request that waits has a clone.
        if Arc::strong_count(call) > defaults::MAX_TENANT_CALL_WAITERS {
            return Joined::Ended(Err(TenantError::TooManyCalls.into()));
        }
        return Joined::Call(Arc::clone(call));
    }
    // A call may have ended since the caller has looked.
    if registry.published.load().contains_key(claimed.issuer()) {
        return Joined::Ended(Ok(()));
    }
    if let Some(error) = registry.negative_cache.find(claimed.issuer(), registry.parts.clock.monotonic()) {
        return Joined::Ended(Err(error));
    }
    if calls.len() >= defaults::MAX_TENANT_CALLS {
        return Joined::Ended(Err(TenantError::TooManyCalls.into()));
    }
    let call = Arc::new(Call::new());
    calls.insert(Arc::clone(claimed.shared_issuer()), Arc::clone(&call));
    drop(calls);
    let resolving = Resolving { registry: Arc::clone(registry), claimed: claimed.clone(), call: Arc::clone(&call) };
    tokio::spawn(resolving.run());
    Joined::Call(call)
}

/// A call for an unknown name. If it is dropped before its end, because its runtime ends, the waiting requests fail.
struct Resolving {
    registry: Arc<Registry>,
    claimed: ClaimedIssuer,
    call: Arc<Call<Outcome>>,
}

impl Resolving {
    async fn run(self) {
        let result = call(&self.registry, &self.claimed).await;
        let outcome = self.registry.finish(&self.claimed, result, |calls| self.is_wanted(calls));
        self.end(outcome);
    }

    /// Returns whether the name was not removed since the call began.
    fn is_wanted(&self, calls: &Calls) -> bool {
        calls.get(self.claimed.issuer()).is_some_and(|call| Arc::ptr_eq(call, &self.call))
    }

    fn end(&self, outcome: Outcome) {
        let mut calls = self.registry.calls();
        if self.is_wanted(&calls) {
            calls.remove(self.claimed.issuer());
        }
        drop(calls);
        self.call.finish(outcome);
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        // Has no effect after the result.
        self.end(Err(TenantError::NoRuntime.into()));
    }
}

/// Calls the resolver again for a tenant in use.
pub(super) struct Renewal {
    registry: Arc<Registry>,
    tenant: Arc<LiveTenant>,
    is_finished: bool,
}

impl Renewal {
    pub(super) fn new(registry: &Arc<Registry>, tenant: Arc<LiveTenant>) -> Self {
        Self { registry: Arc::clone(registry), tenant, is_finished: false }
    }

    pub(super) async fn run(mut self) {
        // The predicate of the application may allow fewer names than before.
        let is_allowed = self.registry.parts.policy.allows(self.tenant.name());
        let result = if is_allowed { call(&self.registry, &self.tenant.claimed).await } else { Ok(None) };
        self.is_finished = true;
        self.registry.finish_renewal(&self.tenant, result);
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if !self.is_finished {
            self.registry.finish_renewal(&self.tenant, Err(TenantError::NoRuntime));
        }
    }
}

/// Calls the resolver once.
async fn call(registry: &Registry, claimed: &ClaimedIssuer) -> Result<Option<Tenant>, TenantError> {
    let clock = &*registry.parts.clock;
    let timer = clock.sleep_until(clock.monotonic().saturating_add(defaults::TENANT_TIMEOUT));
    let resolver = &registry.parts.policy.resolver;
    let called = within(catch_panic(async { resolver.call(claimed.clone()).await }), timer).await;
    // The error is not logged: its text may contain the credentials of a database.
    called.ok_or(TenantError::Timeout)?.ok_or(TenantError::Panic)?.map_err(|_| TenantError::Resolver)
}
