//! `LiveTenant`: a tenant that is in use, with its keys.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::config::{ClaimedIssuer, ResolvedTenant};
use crate::jwks::StoredRecord;
use crate::request::Host;
use crate::validator::IssuerState;
use crate::validator::tenants::table::TableTenant;

/// A tenant with its keys. The token cache and waiting requests share it.
///
/// # Security
///
/// It is never used for another issuer, and never becomes trusted again once it is gone. So a cached token, which contains its tenant,
/// cannot be taken for one of another issuer.
pub(in crate::validator) struct LiveTenant {
    /// The position of the rule in the configuration.
    pub(super) group: usize,
    pub(super) claimed: ClaimedIssuer,
    pub(super) settings: ResolvedTenant,
    pub(super) issuer: IssuerState,
    stored_record: StoredRecord,
    /// [`IN_USE`], or how the use has ended.
    state: AtomicU8,
    is_proven: AtomicBool,
    /// Seconds of the monotonic clock.
    last_use: AtomicU64,
}

/// How the use of a tenant ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The application says that it is no tenant.
    Removed,
    /// It may be looked up again.
    Dropped,
}

impl LiveTenant {
    pub(super) fn new(
        group: usize,
        claimed: ClaimedIssuer,
        settings: ResolvedTenant,
        issuer: IssuerState,
        stored_record: StoredRecord,
        now: Monotonic,
    ) -> Self {
        Self {
            group,
            claimed,
            settings,
            issuer,
            stored_record,
            state: AtomicU8::new(IN_USE),
            is_proven: AtomicBool::new(false),
            last_use: AtomicU64::new(now.since_origin().as_secs()),
        }
    }

    /// Returns the `iss`.
    pub(in crate::validator) fn name(&self) -> &str {
        self.claimed.issuer()
    }

    pub(in crate::validator) fn group(&self) -> usize {
        self.group
    }

    pub(in crate::validator) fn issuer(&self) -> &IssuerState {
        &self.issuer
    }

    /// Returns the host of the requests that may have tokens of this tenant, if it is bound to one.
    pub(in crate::validator) fn host(&self) -> Option<&Host> {
        self.settings.host.as_ref()
    }

    pub(in crate::validator) fn is_trusted(&self) -> bool {
        self.state.load(Ordering::Acquire) == IN_USE
    }

    /// Returns whether the application says that it is no tenant.
    pub(in crate::validator) fn is_removed(&self) -> bool {
        self.state.load(Ordering::Acquire) == REMOVED
    }

    /// Records that a request has a token of this tenant.
    pub(in crate::validator) fn record_use(&self, now: Monotonic) {
        let now = now.since_origin().as_secs();
        // Threads share the value, so it is not written more than once a second.
        if self.last_use.load(Ordering::Relaxed) != now {
            self.last_use.store(now, Ordering::Relaxed);
        }
    }

    /// Returns whether this is the first token that the keys have verified.
    pub(super) fn is_first_proof(&self) -> bool {
        !self.is_proven.load(Ordering::Relaxed) && !self.is_proven.swap(true, Ordering::Relaxed)
    }

    /// Ends the use: cached tokens are no longer accepted, and no more keys are fetched.
    pub(super) fn end(&self, end: End) {
        let state = match end {
            End::Removed => REMOVED,
            End::Dropped => DROPPED,
        };
        self.state.store(state, Ordering::Release);
        if let Some(source) = self.issuer.keys.source() {
            source.close();
        }
    }
}

impl TableTenant for Arc<LiveTenant> {
    fn last_use(&self) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(self.last_use.load(Ordering::Relaxed)))
    }

    fn stored_record(&self) -> StoredRecord {
        self.stored_record
    }
}

impl fmt::Debug for LiveTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTenant").field("name", &self.name()).finish_non_exhaustive()
    }
}

const IN_USE: u8 = 0;
const REMOVED: u8 = 1;
const DROPPED: u8 = 2;
