//! Events of tenants that are looked up by the application.

use std::fmt::Display;

/// A tenant was added, removed, or changed otherwise.
pub(crate) fn changed(tenants: &str, issuer: &str, event: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_bearer::validation", tenants, issuer, event, "a tenant changed");
    #[cfg(feature = "metrics")]
    metrics::counter!("jwt_tenant_events_total", "issuer" => tenants.to_owned(), "event" => event).increment(1);
}

/// A call of the resolver ended. `outcome` is `known`, `unknown`, or the class of the failure.
pub(crate) fn resolved(tenants: &str, outcome: &'static str, is_failure: bool) {
    #[cfg(feature = "tracing")]
    if is_failure {
        tracing::warn!(target: "tower_bearer::validation", tenants, class = outcome, "could not look a tenant up");
    }
    #[cfg(feature = "metrics")]
    metrics::counter!("jwt_tenant_resolution_total", "issuer" => tenants.to_owned(), "outcome" => outcome).increment(1);
}

/// The resolver returned an issuer that cannot be used. `reason` names settings and never contains a secret.
pub(crate) fn misconfigured(tenants: &str, issuer: &str, reason: &dyn Display) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        target: "tower_bearer::validation",
        tenants,
        issuer,
        reason = %reason,
        "the resolver returned an issuer that cannot be used; requests are rejected"
    );
}

/// The application's event hook panicked.
pub(crate) fn hook_panicked(tenants: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_bearer::validation", tenants, "an event hook of tenants panicked");
}

/// The numbers of tenants of one validator changed. The gauge is the total over all validators of the process.
pub(crate) fn counted(tenants: &str, state: &'static str, before: usize, now: usize) {
    #[cfg(feature = "metrics")]
    if before != now {
        let gauge = metrics::gauge!("jwt_tenants", "issuer" => tenants.to_owned(), "state" => state);
        gauge.increment(crate::telemetry::gauge(now) - crate::telemetry::gauge(before));
    }
}
