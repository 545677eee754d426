//! Tenants that are not known at start: those in use, and the lookup of others.
//!
//! # The path of a token
//!
//! If no configured issuer has the `iss`, a request reads the published tenants without a lock ([`TenantGroup::find`]). If none has it
//! either, but the rule allows it, the request waits for the resolver ([`TenantGroup::resolve`]) and is then decided again. One
//! detached task calls the resolver for each `iss`. Another one per rule calls it again for the tenants in use ([`maintenance`]). The
//! [`Table`] decides which tenants are in use, and its callers fetch and call.

mod blocked;
pub(super) mod list;
mod maintenance;
mod negative_cache;
mod registry;
mod removed;
mod resolver_calls;
mod stored_keys;
mod table;
mod tenant;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use self::registry::Registry;
pub(super) use self::registry::TenantParts;
use self::table::Counts;
pub(super) use self::tenant::LiveTenant;
use crate::config::{ClaimedIssuer, TenantError, TenantPolicy};
use crate::fetch::within;
use crate::jwks::AfterFetch;
use crate::rejection::IssuerError;
use crate::telemetry::Label;
use crate::validator::one_task::OneTask;

/// The tenants of one rule of a validator.
pub(super) struct TenantGroup {
    /// The name of the rule: the label of all its tenants in metrics, so that tenants do not create time series.
    pub(super) label: Label,
    registry: Arc<Registry>,
    /// Renews tenants, removes unused ones, and removes stored keys.
    maintenance: OneTask,
}

/// The tenant of a claimed `iss`.
pub(super) enum Lookup {
    Known(Arc<LiveTenant>),
    /// The resolver must be called.
    Unresolved(ClaimedIssuer),
    /// The resolver has been called, and the `iss` is not that of a tenant.
    Rejected(IssuerError),
}

impl TenantGroup {
    pub(super) fn new(parts: TenantParts) -> Self {
        let label = Label::new(Cow::Owned(parts.policy.label.to_string()));
        Self { label, registry: Arc::new(Registry::new(parts)), maintenance: OneTask::new() }
    }

    pub(super) fn policy(&self) -> &TenantPolicy {
        &self.registry.parts.policy
    }

    /// Finds the tenant of a claimed `iss`; `None` if the rule does not allow it. Takes no lock if the tenant is known.
    pub(super) fn find(&self, claimed: &str) -> Option<Lookup> {
        if let Some(tenant) = self.registry.published.load().get(claimed) {
            self.ensure_running();
            return Some(Lookup::Known(Arc::clone(tenant)));
        }
        let claimed = self.policy().claimed(claimed)?;
        let now = self.registry.parts.clock.monotonic();
        Some(match self.registry.negative_cache.find(claimed.issuer(), now) {
            Some(error) => Lookup::Rejected(error),
            None => Lookup::Unresolved(claimed),
        })
    }

    /// Calls the resolver, or waits for the call for this `iss` that is in flight. The future can be dropped at any time.
    pub(super) async fn resolve(&self, claimed: &ClaimedIssuer) -> Result<(), IssuerError> {
        if Handle::try_current().is_err() {
            return Err(TenantError::NoRuntime.into());
        }
        self.ensure_running();
        resolver_calls::resolve(&self.registry, claimed).await
    }

    /// Records that the keys of a tenant have verified a signature.
    pub(super) fn prove(&self, tenant: &Arc<LiveTenant>) {
        if tenant.is_first_proof() {
            self.registry.prove(tenant);
        }
    }

    /// Does this work after each fetch of the keys of any tenant, until its owner is dropped.
    pub(super) fn after_fetch(&self, work: Weak<dyn AfterFetch>) {
        self.registry.after_fetch(work);
    }

    pub(super) fn remove(&self, name: &str) -> bool {
        // Without a runtime, the next request starts the task that removes stored keys.
        self.ensure_running();
        self.registry.remove(name)
    }

    pub(super) fn counts(&self) -> Counts {
        self.registry.table().counts()
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.registry.table().names().map(Arc::clone).collect()
    }

    /// Returns the tenant with this name, if it is in use.
    pub(super) fn live(&self, name: &str) -> Option<Arc<LiveTenant>> {
        self.registry.published.load().get(name).map(Arc::clone)
    }

    fn ensure_running(&self) {
        self.maintenance.ensure_running(|| {
            let registry = Arc::clone(&self.registry);
            async move {
                // Neither ends.
                within(maintenance::maintain(&registry), registry.stored_keys.run_removals()).await;
            }
        });
    }
}

impl fmt::Debug for TenantGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantGroup").field("label", &self.label.name()).finish_non_exhaustive()
    }
}
