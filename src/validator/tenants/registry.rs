//! `Registry`: the tenants of one rule, shared by requests, calls of the resolver, and the keeper.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use crate::clock::Clock;
use crate::config::{
    ClaimedIssuer, IssuerKeys, ResolvedTenant, Tenant, TenantError, TenantEvent, TenantEventKind, TenantPolicy,
};
use crate::defaults;
use crate::fetch::Fetch;
use crate::jwks::{
    self, AfterFetch, Imports, Jitter, KeyRing, KeySource, KeyStore, KeyStoreError, KeyStoreOperation, RefreshPolicy,
    Rng, StoredRecord, TenantImports,
};
use crate::keys::KeyTable;
use crate::rejection::IssuerError;
use crate::single_flight::Call;
use crate::telemetry::{self, tenants as events};
use crate::validator::IssuerState;
use crate::validator::log_limit::LogLimit;
use crate::validator::tenants::blocked::BlockedLists;
use crate::validator::tenants::memory::{Memory, Negative};
use crate::validator::tenants::removed::RemovedNames;
use crate::validator::tenants::table::{Counts, Gone, GoneReason, Limits, Table, TooManyTenants};
use crate::validator::tenants::tenant::{End, LiveTenant};

/// The settings of the tenants of one rule, and what their key sources need.
pub(in crate::validator) struct TenantParts {
    /// The position of the rule in the configuration.
    pub(in crate::validator) group: usize,
    pub(in crate::validator) policy: TenantPolicy,
    pub(in crate::validator) refresh: RefreshPolicy,
    pub(in crate::validator) fetch: Arc<dyn Fetch>,
    pub(in crate::validator) clock: Arc<dyn Clock>,
    pub(in crate::validator) key_store: Option<Arc<dyn KeyStore>>,
}

pub(super) struct Registry {
    pub(super) parts: TenantParts,
    /// A copy of the tenants in the table that are in use, for requests.
    pub(super) published: ArcSwap<Published>,
    table: Mutex<Table<Arc<LiveTenant>>>,
    pub(super) memory: Memory,
    blocked: BlockedLists,
    removed: RemovedNames,
    /// The calls of the resolver for unknown names that are in flight.
    pub(super) calls: Mutex<Calls>,
    pub(super) waiters: Semaphore,
    /// The runtime of the first keeper.
    pub(super) runtime: OnceLock<Handle>,
    /// Wakes the keeper.
    pub(super) wake: Notify,
    after_fetch: Mutex<Vec<Weak<dyn AfterFetch>>>,
    rng: Mutex<Rng>,
    counted: Mutex<Counts>,
    failure_log: LogLimit,
    fault_log: LogLimit,
}

pub(super) type Published = HashMap<Arc<str>, Arc<LiveTenant>>;

pub(super) type Calls = HashMap<Arc<str>, Arc<Call<Result<(), IssuerError>>>>;

impl Registry {
    pub(super) fn new(parts: TenantParts) -> Self {
        let limits = Limits::new(parts.policy.max, parts.policy.new_per_second);
        let removed = RemovedNames::new(parts.refresh.max_stale());
        Self {
            removed,
            parts,
            published: ArcSwap::default(),
            table: Mutex::new(Table::new(limits)),
            memory: Memory::new(),
            blocked: BlockedLists::default(),
            calls: Mutex::default(),
            waiters: Semaphore::new(defaults::MAX_WAITERS),
            runtime: OnceLock::new(),
            wake: Notify::new(),
            after_fetch: Mutex::default(),
            rng: Mutex::new(Rng::seeded()),
            counted: Mutex::default(),
            failure_log: LogLimit::default(),
            fault_log: LogLimit::default(),
        }
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table<Arc<LiveTenant>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the result of a call for an unknown name, unless it is no longer wanted.
    pub(super) fn finish(
        &self,
        claimed: &ClaimedIssuer,
        result: Result<Option<Tenant>, TenantError>,
        is_wanted: impl Fn(&Calls) -> bool,
    ) -> Result<(), IssuerError> {
        let outcome = match self.checked(claimed, result) {
            Ok(Some(settings)) => self.add(claimed, settings, |_| is_wanted(&self.calls())),
            Ok(None) => Err(Negative::Unknown),
            Err(error) => Err(Negative::Failed(error)),
        };
        self.record_outcome(outcome);
        if outcome == Err(Negative::Unknown) {
            // The tenant may have left while no process ran. Anyone can cause this, so a failure is counted, and not logged.
            self.remove_stored_keys(claimed.shared_issuer(), |_| {});
        }
        if let Err(negative) = outcome {
            // Locked, so that a removal forgets the result.
            let calls = self.calls();
            if is_wanted(&calls) {
                self.memory.record(claimed.issuer(), negative, self.parts.clock.monotonic());
            }
        }
        outcome.map_err(IssuerError::from)
    }

    /// Records the result of a call for a tenant in use.
    pub(super) fn finish_renewal(&self, tenant: &Arc<LiveTenant>, result: Result<Option<Tenant>, TenantError>) {
        let name = tenant.name();
        let is_same = |other: &Arc<LiveTenant>| Arc::ptr_eq(other, tenant);
        let now = self.parts.clock.monotonic();
        let outcome = match self.checked(&tenant.claimed, result) {
            Ok(Some(settings)) if settings.is_same(&tenant.settings) => {
                let jitter = self.jitter();
                self.table().confirm(name, is_same, now, jitter);
                Ok(())
            }
            Ok(Some(settings)) => self.add(&tenant.claimed, settings, |table| table.is_current(name, is_same)),
            Ok(None) => {
                if self.remove_if(name, is_same) {
                    self.forget_stored_keys(tenant.claimed.shared_issuer());
                }
                Err(Negative::Unknown)
            }
            Err(error) => Err(Negative::Failed(error)),
        };
        self.record_outcome(outcome);
        if let Err(Negative::Failed(error)) = outcome {
            let is_known = self.table().fail(name, is_same, now);
            if is_known {
                self.notify(tenant.claimed.shared_issuer(), TenantEventKind::RenewalFailed { error });
            }
        }
        self.wake.notify_one();
    }

    /// Removes a tenant at once, and forgets what is known about the name. Returns whether the tenant was in use, idle, or looked up.
    pub(super) fn remove(&self, name: &str) -> bool {
        // A call in flight continues for the requests that wait for it, and its result is not used.
        let mut calls = self.calls();
        let is_looked_up = calls.remove(name).is_some();
        self.memory.forget(name);
        drop(calls);
        if self.parts.policy.allows(name) {
            self.forget_stored_keys(&Arc::from(name));
        }
        self.remove_if(name, |_| true) || is_looked_up
    }

    /// Removes what was not used or confirmed for too long.
    pub(super) fn sweep(&self) {
        let mut table = self.table();
        let gone = table.sweep(self.parts.clock.monotonic());
        self.publish(tenants(&gone), None);
        drop(table);
        self.record_counts();
        self.end(gone);
    }

    pub(super) fn prove(&self, tenant: &Arc<LiveTenant>) {
        let mut table = self.table();
        let Some(gone) = table.prove(tenant.name(), |other| Arc::ptr_eq(other, tenant)) else { return };
        self.publish(tenants(&gone), None);
        drop(table);
        self.record_counts();
        self.notify(tenant.claimed.shared_issuer(), TenantEventKind::Proven);
        self.end(gone);
    }

    pub(super) fn after_fetch(&self, work: Weak<dyn AfterFetch>) {
        let mut list = self.after_fetch.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|work| work.strong_count() > 0);
        list.push(work);
    }

    /// Checks what the resolver has returned.
    fn checked(
        &self,
        claimed: &ClaimedIssuer,
        result: Result<Option<Tenant>, TenantError>,
    ) -> Result<Option<ResolvedTenant>, TenantError> {
        let Some(tenant) = result? else { return Ok(None) };
        let checked = self.parts.policy.check(claimed, &tenant);
        checked.map(Some).map_err(|fault| {
            if self.fault_log.admits(self.parts.clock.monotonic()) {
                events::misconfigured(&self.parts.policy.label, claimed.issuer(), &fault);
            }
            TenantError::Misconfigured
        })
    }

    /// Adds a tenant, or replaces the one with this name, if there are not too many new ones. `is_wanted` is called while no tenant can
    /// be removed.
    fn add(
        &self,
        claimed: &ClaimedIssuer,
        settings: ResolvedTenant,
        is_wanted: impl FnOnce(&Table<Arc<LiveTenant>>) -> bool,
    ) -> Result<(), Negative> {
        let (now, jitter) = (self.parts.clock.monotonic(), self.jitter());
        let mut table = self.table();
        if !is_wanted(&table) {
            return Err(Negative::Failed(TenantError::NotResolved));
        }
        let admitted = table.admit(claimed.issuer(), now);
        admitted.map_err(|TooManyTenants| Negative::Failed(TenantError::TooManyTenants))?;
        let tenant = self.start(claimed, settings);
        let gone = table.add(Arc::clone(claimed.shared_issuer()), Arc::clone(&tenant), now, jitter);
        self.publish(tenants(&gone), Some(&tenant));
        drop(table);
        self.record_counts();
        let is_replaced = gone.iter().any(|gone| gone.reason == GoneReason::Replaced);
        let kind = if is_replaced { TenantEventKind::Replaced } else { TenantEventKind::Added };
        self.notify(claimed.shared_issuer(), kind);
        self.end(gone);
        Ok(())
    }

    /// Removes a tenant, because the application says that it is none.
    fn remove_if(&self, name: &str, is_same: impl Fn(&Arc<LiveTenant>) -> bool) -> bool {
        let mut table = self.table();
        if table.get(name).is_some_and(|tenant| !is_same(tenant)) {
            return false;
        }
        let Some(removed) = table.remove(name) else { return false };
        self.publish(removed.iter(), None);
        drop(table);
        self.record_counts();
        removed.iter().for_each(|tenant| tenant.end(End::Removed));
        self.notify(&Arc::from(name), TenantEventKind::Removed);
        true
    }

    /// Starts to fetch the keys of a tenant.
    fn start(&self, claimed: &ClaimedIssuer, settings: ResolvedTenant) -> Arc<LiveTenant> {
        let parts = &self.parts;
        let keys = match settings.issuer.keys.clone() {
            IssuerKeys::Static(table) => KeyRing::fixed(table),
            IssuerKeys::SecretSource(secrets) => KeyRing::secrets(secrets),
            IssuerKeys::Remote { origin, initial_keys } => {
                let imports = self.imports(claimed, initial_keys);
                let (refresh, fetch, clock) =
                    (parts.refresh.clone(), Arc::clone(&parts.fetch), Arc::clone(&parts.clock));
                let source = KeySource::build(origin, &settings.issuer.algorithms, refresh, fetch, clock, imports);
                let list = self.after_fetch.lock().unwrap_or_else(PoisonError::into_inner);
                list.iter().for_each(|work| source.after_fetch(Weak::clone(work)));
                KeyRing::fetched(source)
            }
        };
        let issuer = IssuerState {
            name: Box::from(claimed.issuer()),
            algorithms: settings.issuer.algorithms.clone(),
            is_auth0: settings.issuer.is_auth0,
            entra: None,
            keys,
            introspection: None,
            shared_source: None,
        };
        Arc::new(LiveTenant::new(parts.group, claimed.clone(), settings, issuer, parts.clock.monotonic()))
    }

    fn imports(&self, claimed: &ClaimedIssuer, initial_keys: Option<KeyTable>) -> Imports {
        let is_removed = self.removed.contains(claimed.issuer(), self.parts.clock.monotonic());
        Imports {
            initial_keys,
            key_store: self.parts.key_store.clone(),
            tenant: Some(TenantImports {
                group: Arc::from(&*self.parts.policy.label),
                name: Arc::clone(claimed.shared_issuer()),
                stored_record: if is_removed { StoredRecord::MayBeForeign } else { StoredRecord::Own },
            }),
            blocked: self.blocked.of(claimed.shared_issuer()),
        }
    }

    /// Ends the use of the stored keys of a tenant that was removed: the next one with its name may be another one.
    fn forget_stored_keys(&self, name: &Arc<str>) {
        if self.parts.key_store.is_some() {
            self.removed.record(name, self.parts.clock.monotonic());
            let issuer = Arc::clone(name);
            self.remove_stored_keys(name, move |error| {
                telemetry::jwks_key_store_failed(&issuer, KeyStoreOperation::Remove.name(), error.name());
            });
        }
    }

    fn remove_stored_keys(&self, name: &Arc<str>, on_error: impl FnOnce(KeyStoreError) + Send + 'static) {
        let Some(store) = self.parts.key_store.clone() else { return };
        let runtime = Handle::try_current().ok().or_else(|| self.runtime.get().cloned());
        let Some(runtime) = runtime else { return };
        let (group, name, clock) =
            (Arc::from(&*self.parts.policy.label), Arc::clone(name), Arc::clone(&self.parts.clock));
        runtime.spawn(async move {
            jwks::remove_tenant(&*store, &name, group, &*clock).await.unwrap_or_else(on_error);
        });
    }

    /// Publishes the tenants in use to requests. The caller holds the lock of the table, so that no other change is lost.
    fn publish<'t>(&self, removed: impl Iterator<Item = &'t Arc<LiveTenant>>, added: Option<&Arc<LiveTenant>>) {
        let mut removed = removed.peekable();
        if removed.peek().is_some() || added.is_some() {
            let mut published = Published::clone(&self.published.load());
            removed.for_each(|tenant| drop(published.remove(tenant.name())));
            if let Some(tenant) = added {
                published.insert(Arc::clone(tenant.claimed.shared_issuer()), Arc::clone(tenant));
            }
            self.published.store(Arc::new(published));
        }
    }

    /// Ends the use of tenants that are no longer in the table.
    fn end(&self, gone: Vec<Gone<Arc<LiveTenant>>>) {
        for Gone { tenant, reason } in gone {
            tenant.end(End::Dropped);
            let kind = match reason {
                GoneReason::Displaced => TenantEventKind::Displaced,
                GoneReason::Idle => TenantEventKind::Idle,
                GoneReason::Expired => TenantEventKind::Expired,
                // The addition is reported.
                GoneReason::Replaced => continue,
            };
            self.notify(tenant.claimed.shared_issuer(), kind);
        }
    }

    /// Reports an event. The table is not locked, since the hook is foreign code.
    fn notify(&self, issuer: &Arc<str>, kind: TenantEventKind) {
        let policy = &self.parts.policy;
        events::changed(&policy.label, issuer, kind.name());
        if let Some(hook) = &policy.event_hook
            && !hook.call(&TenantEvent::new(Arc::clone(issuer), kind))
        {
            events::hook_panicked(&policy.label);
        }
    }

    fn record_outcome(&self, outcome: Result<(), Negative>) {
        let (name, is_failure) = match outcome {
            Ok(()) => ("known", false),
            Err(Negative::Unknown) => ("unknown", false),
            Err(Negative::Failed(error)) => (error.name(), self.failure_log.admits(self.parts.clock.monotonic())),
        };
        events::resolved(&self.parts.policy.label, name, is_failure);
    }

    fn record_counts(&self) {
        let (before, now) = {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.table().counts();
            (mem::replace(&mut *counted, now), now)
        };
        self.count(before, now);
    }

    /// Updates the gauges by the differences, so that the order of two updates does not matter.
    fn count(&self, before: Counts, now: Counts) {
        let label = &self.parts.policy.label;
        events::counted(label, "proven", before.proven, now.proven);
        events::counted(label, "unproven", before.unproven, now.unproven);
        events::counted(label, "idle", before.idle, now.idle);
    }

    fn jitter(&self) -> Jitter {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).jitter()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let counted = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        self.count(counted, Counts::default());
    }
}

fn tenants(gone: &[Gone<Arc<LiveTenant>>]) -> impl Iterator<Item = &Arc<LiveTenant>> {
    gone.iter().map(|gone| &gone.tenant)
}
