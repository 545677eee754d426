//! `TenantList`: the tenants of a validator, for the application.

use std::fmt;
use std::sync::Arc;

use crate::jwks::KeySource;
use crate::validator::tenants::table::Counts;
use crate::validator::{Core, Validator};

/// The [tenants](crate::config::Tenants) of a validator that are known now. A clone is cheap and shares them.
#[derive(Clone)]
pub struct TenantList {
    core: Arc<Core>,
}

/// The numbers of tenants of a validator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantCounts {
    counts: Counts,
}

impl<C> Validator<C> {
    /// Returns the tenants that are not known at start. Without [`Tenants`](crate::config::Tenants), the list is empty.
    #[must_use]
    pub fn tenants(&self) -> TenantList {
        TenantList { core: Arc::clone(&self.core) }
    }
}

impl TenantList {
    /// Removes the tenant with this `iss`, and forgets whether the resolver knew it. Returns whether there was anything to remove.
    ///
    /// From the next request on, also a token in the token cache needs a call of the resolver. Let the resolver return `None` before
    /// this is called. If it still returns the issuer, the tenant is added again. This has no effect on other processes.
    ///
    /// It can also be called for a new customer whose `iss` the resolver did not know a moment ago: otherwise this is remembered for
    /// 60 s.
    #[expect(clippy::must_use_candidate, reason = "most callers need no answer")]
    pub fn remove(&self, issuer: &str) -> bool {
        // `count` removes it from every group.
        self.core.tenants.iter().filter(|group| group.remove(issuer)).count() > 0
    }

    /// Returns the numbers of tenants.
    #[must_use]
    pub fn counts(&self) -> TenantCounts {
        let mut counts = Counts::default();
        for group in &self.core.tenants {
            let Counts { proven, unproven, idle } = group.counts();
            counts.proven = counts.proven.saturating_add(proven);
            counts.unproven = counts.unproven.saturating_add(unproven);
            counts.idle = counts.idle.saturating_add(idle);
        }
        TenantCounts { counts }
    }

    /// Returns the `iss` of each tenant in use, in no order.
    #[must_use]
    pub fn issuers(&self) -> Vec<Arc<str>> {
        self.core.tenants.iter().flat_map(|group| group.names()).collect()
    }

    /// Returns the keys of a tenant in use, for status, reload and revocation; `None` if there is none with this `iss`, or if its keys
    /// are not fetched.
    ///
    /// The source is closed when the tenant is removed, evicted or idle. Keys that were revoked stay revoked for this `iss` when the
    /// tenant is looked up again, until they are allowed again or the process ends.
    #[must_use]
    pub fn key_source(&self, issuer: &str) -> Option<KeySource> {
        self.core.tenants.iter().find_map(|group| group.live(issuer))?.issuer().keys.source().cloned()
    }
}

impl TenantCounts {
    /// Returns the number of tenants in use whose keys have verified a token.
    #[must_use]
    pub fn proven(&self) -> usize {
        self.counts.proven
    }

    /// Returns the number of tenants whose keys have verified no token yet.
    #[must_use]
    pub fn unproven(&self) -> usize {
        self.counts.unproven
    }

    /// Returns the number of proven tenants that had no request for an hour. Their keys are not fetched.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.counts.idle
    }
}

impl fmt::Debug for TenantList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantList").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
