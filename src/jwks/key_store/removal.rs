//! The removal of the stored keys of tenants.

use std::sync::Arc;

use crate::clock::Clock;
use crate::defaults;
use crate::fetch::{catch_panic, within};
use crate::jwks::key_store::KeyStore;
use crate::jwks::key_store::record::RecordName;
use crate::jwks::key_store_error::{KeyStoreError, KeyStoreOperation};
use crate::telemetry::{self, SourceLabel};

/// Removes the stored keys of the tenant with this `iss`, and counts the outcome under the name of the tenants.
pub(crate) async fn remove_tenant(
    store: &dyn KeyStore,
    issuer: &str,
    group: Arc<str>,
    clock: &dyn Clock,
) -> Result<(), KeyStoreError> {
    let name = RecordName::of_tenant(issuer);
    let timer = clock.sleep_until(clock.monotonic().saturating_add(defaults::KEY_STORE_TIMEOUT));
    let removed = within(catch_panic(async { store.remove(name.as_str()).await }), timer).await;
    let removed = removed.unwrap_or(Some(Err(KeyStoreError::Timeout))).unwrap_or(Err(KeyStoreError::Panic));
    let outcome = removed.map_or_else(KeyStoreError::name, |()| "removed");
    telemetry::jwks_key_store(&SourceLabel::Shared(group), KeyStoreOperation::Remove.name(), outcome);
    removed
}
