//! The removal of the stored keys of tenants.

use std::sync::Arc;

use crate::clock::Clock;
use crate::defaults;
use crate::fetch::{catch_panic, within};
use crate::jwks::key_store::KeyStore;
use crate::jwks::key_store::record::RecordName;
use crate::jwks::key_store_error::{KeyStoreError, KeyStoreOperation};
use crate::telemetry::{self, SourceLabel};

/// The records of the tenants of one rule.
#[derive(Clone, Debug)]
pub(crate) struct TenantRecords {
    pub(crate) store: Arc<dyn KeyStore>,
    /// The API that the tenants belong to: several APIs may share a store.
    pub(crate) scope: Arc<str>,
    /// The name of the tenants in metrics.
    pub(crate) group: Arc<str>,
}

impl TenantRecords {
    /// Removes the record of the tenant with this `iss`.
    pub(crate) async fn remove(&self, issuer: &str, clock: &dyn Clock) -> Result<(), KeyStoreError> {
        let name = RecordName::of_tenant(&self.scope, issuer);
        // A store may do the work on a thread, which goes on if the future is dropped. So this waits as long as for a save.
        let timer = clock.sleep_until(clock.monotonic().saturating_add(defaults::KEY_STORE_SAVE_LIMIT));
        let removed = within(catch_panic(async { self.store.remove(name.as_str()).await }), timer).await;
        removed.unwrap_or(Some(Err(KeyStoreError::Timeout))).unwrap_or(Err(KeyStoreError::Panic))
    }

    /// Counts the outcome of a removal, and logs a failure.
    pub(crate) fn record(&self, issuer: &str, result: Result<(), KeyStoreError>) {
        let operation = KeyStoreOperation::Remove.name();
        let outcome = result.map_or_else(KeyStoreError::name, |()| "removed");
        telemetry::jwks_key_store(&SourceLabel::Shared(Arc::clone(&self.group)), operation, outcome);
        if let Err(error) = result {
            telemetry::jwks_key_store_failed(issuer, operation, error.name());
        }
    }
}
