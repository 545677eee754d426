//! `Registry`: the tenants of one rule, shared by requests, calls of the resolver, and the maintenance task.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};

use crate::clock::Clock;
use crate::config::{
    ClaimedIssuer, IssuerKeys, ResolvedTenant, Tenant, TenantError, TenantEvent, TenantEventKind, TenantPolicy,
};
use crate::defaults;
use crate::fetch::Fetch;
use crate::jwks::{
    AfterFetch, Imports, Jitter, KeyRing, KeySource, KeyStore, RefreshPolicy, Rng, StoredRecord, TenantImports,
    TenantRecords,
};
use crate::keys::KeyTable;
use crate::rejection::IssuerError;
use crate::single_flight::Call;
use crate::telemetry::tenants as events;
use crate::validator::IssuerState;
use crate::validator::log_limit::LogLimit;
use crate::validator::tenants::blocked::BlockedLists;
use crate::validator::tenants::negative_cache::{Negative, NegativeCache};
use crate::validator::tenants::stored_keys::StoredTenantKeys;
use crate::validator::tenants::table::{Counts, Evicted, EvictionReason, Limits, Table, TooManyTenants};
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
    /// The API, in the names of stored records.
    pub(in crate::validator) scope: Arc<str>,
}

pub(super) struct Registry {
    pub(super) parts: TenantParts,
    /// A copy of the tenants in the table that are in use, for requests.
    pub(super) published: ArcSwap<Published>,
    table: Mutex<Table<Arc<LiveTenant>>>,
    pub(super) negative_cache: NegativeCache,
    blocked: BlockedLists,
    pub(super) stored_keys: StoredTenantKeys,
    /// The calls of the resolver for unknown names that are in flight.
    pub(super) calls: Mutex<Calls>,
    pub(super) waiters: Semaphore,
    /// Wakes the maintenance task.
    pub(super) wake: Notify,
    after_fetch: Mutex<Vec<Weak<dyn AfterFetch>>>,
    rng: Mutex<Rng>,
    counted: Mutex<Counts>,
    failure_log: LogLimit,
    misconfigured_log: LogLimit,
}

pub(super) type Published = HashMap<Arc<str>, Arc<LiveTenant>>;

pub(super) type Calls = HashMap<Arc<str>, Arc<Call<Result<(), IssuerError>>>>;

impl Registry {
    pub(super) fn new(parts: TenantParts) -> Self {
        let limits = Limits::new(parts.policy.max, parts.policy.new_per_second);
        let records = parts.key_store.clone().map(|store| TenantRecords {
            store,
            scope: Arc::clone(&parts.scope),
            group: Arc::from(&*parts.policy.label),
        });
        Self {
            stored_keys: StoredTenantKeys::new(records, parts.refresh.max_stale(), Arc::clone(&parts.clock)),
            parts,
            published: ArcSwap::default(),
            table: Mutex::new(Table::new(limits)),
            negative_cache: NegativeCache::new(),
            blocked: BlockedLists::default(),
            calls: Mutex::default(),
            waiters: Semaphore::new(defaults::MAX_WAITERS),
            wake: Notify::new(),
            after_fetch: Mutex::default(),
            rng: Mutex::new(Rng::seeded()),
            counted: Mutex::default(),
            failure_log: LogLimit::default(),
            misconfigured_log: LogLimit::default(),
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
            Ok(None) => {
                // A tenant that is in use was added after this call began.
                if self.remove_if(claimed.issuer(), |_| false) {
                    self.stored_keys.remove_later(claimed.shared_issuer());
                } else {
                    self.stored_keys.record_unknown(claimed.issuer());
                }
                Err(Negative::Unknown)
            }
            Err(error) => Err(Negative::Failed(error)),
        };
        self.record_outcome(outcome);
        if let Err(negative) = outcome {
            // Locked, so that a removal discards the result.
            let calls = self.calls();
            if is_wanted(&calls) {
                self.negative_cache.record(claimed.issuer(), negative, self.parts.clock.monotonic());
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
                    self.stored_keys.remove_later(tenant.claimed.shared_issuer());
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

    /// Removes a tenant at once, and its name from the negative cache. Returns whether the tenant was in use, idle, or looked up.
    pub(super) fn remove(&self, name: &str) -> bool {
        let may_be_stored = self.parts.policy.may_have_allowed(name);
        if may_be_stored {
            self.stored_keys.record_removed(name);
        }
        // A call in flight continues for the requests that wait for it, and its result is not used.
        let mut calls = self.calls();
        let is_looked_up = calls.remove(name).is_some();
        self.negative_cache.remove(name);
        drop(calls);
        let is_removed = self.remove_if(name, |_| true);
        if may_be_stored {
            self.stored_keys.remove_later(&Arc::from(name));
        }
        is_removed || is_looked_up
    }

    /// Removes what was not used or confirmed for too long.
    pub(super) fn sweep(&self) {
        let mut table = self.table();
        let evicted = table.sweep(self.parts.clock.monotonic());
        self.publish(tenants(&evicted), None);
        drop(table);
        self.record_counts();
        self.end(evicted);
    }

    pub(super) fn prove(&self, tenant: &Arc<LiveTenant>) {
        let mut table = self.table();
        let Some(evicted) = table.prove(tenant.name(), |other| Arc::ptr_eq(other, tenant)) else { return };
        self.publish(tenants(&evicted), None);
        drop(table);
        self.record_counts();
        self.notify(tenant.claimed.shared_issuer(), TenantEventKind::Proven);
        self.end(evicted);
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
        checked.map(Some).map_err(|error| {
            if self.misconfigured_log.admits(self.parts.clock.monotonic()) {
                events::misconfigured(&self.parts.policy.label, claimed.issuer(), &error);
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
        let earlier = table.stored_record(claimed.issuer());
        let tenant = self.start(claimed, settings, earlier);
        let evicted = table.add(Arc::clone(claimed.shared_issuer()), Arc::clone(&tenant), now, jitter);
        self.publish(tenants(&evicted), Some(&tenant));
        drop(table);
        self.record_counts();
        let is_replaced = evicted.iter().any(|evicted| evicted.reason == EvictionReason::Replaced);
        let kind = if is_replaced { TenantEventKind::Replaced } else { TenantEventKind::Added };
        self.notify(claimed.shared_issuer(), kind);
        self.end(evicted);
        Ok(())
    }

    /// Removes a tenant, because the application says that it is none. The caller then removes its stored keys: its key source, which could
    /// save them again, is closed.
    fn remove_if(&self, name: &str, is_same: impl Fn(&Arc<LiveTenant>) -> bool) -> bool {
        let mut table = self.table();
        if table.get(name).is_some_and(|tenant| !is_same(tenant)) {
            return false;
        }
        let Some(removed) = table.remove(name) else { return false };
        self.stored_keys.record_removed(name);
        self.publish(removed.iter(), None);
        drop(table);
        self.record_counts();
        removed.iter().for_each(|tenant| tenant.end(End::Removed));
        self.notify(&Arc::from(name), TenantEventKind::Removed);
        true
    }

    /// Starts to fetch the keys of a tenant.
    fn start(
        &self,
        claimed: &ClaimedIssuer,
        settings: ResolvedTenant,
        earlier: Option<StoredRecord>,
    ) -> Arc<LiveTenant> {
        let parts = &self.parts;
        let stored_record = self.stored_keys.stored_record(claimed.issuer(), earlier);
        let keys = match settings.issuer.keys.clone() {
            IssuerKeys::Static(table) => KeyRing::fixed(table),
            IssuerKeys::SecretSource(secrets) => KeyRing::secrets(secrets),
            IssuerKeys::Remote { origin, initial_keys } => {
                let imports = self.imports(claimed, initial_keys, stored_record);
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
        Arc::new(LiveTenant::new(
            parts.group,
            claimed.clone(),
            settings,
            issuer,
            stored_record,
            parts.clock.monotonic(),
        ))
    }

    fn imports(&self, claimed: &ClaimedIssuer, initial_keys: Option<KeyTable>, stored_record: StoredRecord) -> Imports {
        let (name, parts) = (claimed.shared_issuer(), &self.parts);
        Imports {
            initial_keys,
            key_store: parts.key_store.clone(),
            tenant: Some(TenantImports {
                group: Arc::from(&*parts.policy.label),
                scope: Arc::clone(&parts.scope),
                name: Arc::clone(name),
                stored_record,
            }),
            blocked: self.blocked.of(name),
        }
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
    fn end(&self, evicted: Vec<Evicted<Arc<LiveTenant>>>) {
        for Evicted { tenant, reason } in evicted {
            tenant.end(End::Dropped);
            let kind = match reason {
                EvictionReason::Displaced => TenantEventKind::Displaced,
                EvictionReason::Idle => TenantEventKind::Idle,
                EvictionReason::Expired => TenantEventKind::Expired,
                // The addition is reported.
                EvictionReason::Replaced => continue,
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

fn tenants(evicted: &[Evicted<Arc<LiveTenant>>]) -> impl Iterator<Item = &Arc<LiveTenant>> {
    evicted.iter().map(|evicted| &evicted.tenant)
}
