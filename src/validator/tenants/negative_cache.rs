//! `NegativeCache`: the results of the resolver for `iss` values that are not those of tenants.
//!
//! It has a separate map, so that a client that names many tenants evicts none. The map evicts by use and by the machine's clock;
//! this only frees memory. Whether an entry is valid is decided by the validator's clock.

use std::fmt;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Monotonic;
use crate::config::TenantError;
use crate::defaults;
use crate::keys::{Fingerprinter, TokenFingerprint};
use crate::rejection::IssuerError;

/// The results for `iss` values that are not those of tenants, by a keyed hash.
pub(super) struct NegativeCache {
    fingerprinter: Option<Fingerprinter>,
    entries: Cache<TokenFingerprint, (Negative, Monotonic)>,
}

/// Why a name is not that of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negative {
    Unknown,
    Failed(TenantError),
}

impl NegativeCache {
    pub(super) fn new() -> Self {
        Self {
            fingerprinter: Fingerprinter::new(),
            entries: Cache::builder()
                .max_capacity(defaults::MAX_UNKNOWN_TENANTS)
                .time_to_live(defaults::UNKNOWN_TENANT_TTL)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }

    /// Returns the reason why a name is rejected, if it is known.
    pub(super) fn find(&self, name: &str, now: Monotonic) -> Option<IssuerError> {
        let (negative, at) = self.entries.get(&self.fingerprint(name)?)?;
        let ttl = match negative {
            Negative::Unknown => defaults::UNKNOWN_TENANT_TTL,
            Negative::Failed(_) => defaults::FAILED_TENANT_TTL,
        };
        (now.saturating_since(at) < ttl).then(|| IssuerError::from(negative))
    }

    pub(super) fn record(&self, name: &str, negative: Negative, now: Monotonic) {
        if let Some(fingerprint) = self.fingerprint(name) {
            self.entries.insert(fingerprint, (negative, now));
        }
    }

    pub(super) fn remove(&self, name: &str) {
        if let Some(fingerprint) = self.fingerprint(name) {
            self.entries.invalidate(&fingerprint);
        }
    }

    fn fingerprint(&self, name: &str) -> Option<TokenFingerprint> {
        self.fingerprinter.as_ref()?.fingerprint(name.as_bytes())
    }
}

impl From<Negative> for IssuerError {
    fn from(negative: Negative) -> Self {
        match negative {
            Negative::Unknown => Self::UnknownTenant,
            Negative::Failed(error) => error.into(),
        }
    }
}

impl fmt::Debug for NegativeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NegativeCache").finish_non_exhaustive()
    }
}
