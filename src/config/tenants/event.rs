//! `TenantEvent`: the additions and removals of tenants, for the log and for the event hook.

use std::sync::Arc;

use crate::config::tenants::error::TenantError;

/// An event of a tenant: see [`Tenants::with_event_hook`](crate::config::Tenants::with_event_hook).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantEvent {
    issuer: Arc<str>,
    kind: TenantEventKind,
}

/// The kind of a [`TenantEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TenantEventKind {
    /// The resolver returned the issuer, and its keys are fetched.
    Added,
    /// The keys have verified the first token.
    Proven,
    /// The resolver returned other settings than before. The keys are fetched again, and cached tokens are verified again.
    Replaced,
    /// The resolver no longer returns the issuer, or [`remove`](crate::TenantList::remove) was called.
    Removed,
    /// The tenant was evicted, because another one needed its room. It is looked up again at its next token.
    Displaced,
    /// No request had a token of this tenant for one hour, so its keys are no longer fetched.
    Idle,
    /// The resolver failed for a tenant that is in use. It stays in use for at most one hour after the last success.
    #[non_exhaustive]
    RenewalFailed {
        /// The error.
        error: TenantError,
    },
    /// The resolver failed for one hour. The tenant is looked up again at its next token.
    Expired,
}

impl TenantEvent {
    pub(crate) fn new(issuer: Arc<str>, kind: TenantEventKind) -> Self {
        Self { issuer, kind }
    }

    /// Returns the `iss` of the tenant.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the kind of the event.
    #[must_use]
    pub fn kind(&self) -> TenantEventKind {
        self.kind
    }
}

impl TenantEventKind {
    /// Returns a stable snake_case name, for a log line or a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Proven => "proven",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
            Self::Displaced => "displaced",
            Self::Idle => "idle",
            Self::RenewalFailed { .. } => "renewal_failed",
            Self::Expired => "expired",
        }
    }
}
