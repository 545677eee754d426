//! Stored keys: loading them at start, and saving them after each fetch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::clock::{Moment, Monotonic};
use crate::defaults;
use crate::fetch::{catch_panic, within};
use crate::jwks::driver::{Driver, Loaded, Pending};
use crate::jwks::driver_core::{DriverCore, SaveState};
use crate::jwks::events::KeyEventKind;
use crate::jwks::key_store::{Record, StoredKeys};
use crate::jwks::key_store_error::{KeyStoreError, KeyStoreOperation};
use crate::jwks::operation::CompromisedKeys;
use crate::jwks::policy::Staleness;
use crate::jwks::shared::{Shared, StoredRecord};
use crate::keys;
use crate::telemetry;

/// A save that has not ended. No other save starts before it ends, so that none overtakes it, unless it takes longer than
/// [`defaults::KEY_STORE_SAVE_LIMIT`].
pub(super) struct Saving {
    future: Pending<Result<(), KeyStoreError>>,
    dropped_at: Monotonic,
    /// When it counts as failed; `None` if that has been reported.
    pub(super) late_at: Option<Monotonic>,
}

impl Saving {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), KeyStoreError>> {
        self.future.as_mut().poll(context)
    }
}

impl Driver<'_> {
    /// Starts to load the stored keys, unless a fetch has succeeded already. Keys that are stale from the start are of no use if
    /// the policy allows no stale keys.
    pub(super) fn start_load(&mut self) {
        let shared = self.shared;
        let Some(store) = shared.key_store.clone().filter(|_| shared.policy.staleness != Staleness::Strict) else {
            return;
        };
        if shared.core().machine.has_fetched() || shared.stored_record == StoredRecord::MayBeForeign {
            return;
        }
        let name = shared.record_name.clone();
        let (origin, policy, algorithms) =
            (shared.origin.clone(), Arc::clone(&shared.policy), Arc::clone(&shared.algorithms));
        // A load that outlasts the first fetch would be of no use to the requests that wait.
        let timeout = defaults::KEY_STORE_TIMEOUT.min(shared.policy.operation_timeout);
        let deadline = shared.clock.monotonic().saturating_add(timeout);
        let deadline = shared.clock.sleep_until(deadline);
        let limit = max_record_bytes(shared);
        self.load = Some(Box::pin(async move {
            let load = async move {
                let Some(record) = store.load(name.as_str(), limit).await? else { return Ok(None) };
                if record.len() > limit {
                    return Err(KeyStoreError::TooLarge);
                }
                let length = record.len();
                let read = move || StoredKeys::read(&record, &origin, &policy, &algorithms).map(Some);
                if length <= defaults::PARSE_INLINE_BYTES {
                    return read();
                }
                tokio::task::spawn_blocking(read).await.unwrap_or(Err(KeyStoreError::Panic))
            };
            let loaded = within(catch_panic(load), deadline).await;
            loaded.unwrap_or(Some(Err(KeyStoreError::Timeout))).unwrap_or(Err(KeyStoreError::Panic))
        }));
    }

    pub(super) fn finish_load(&mut self, loaded: Loaded) {
        self.load = None;
        let core = &mut *self.shared.core();
        if core.machine.has_fetched() {
            return;
        }
        let outcome = loaded.and_then(|stored| match stored {
            None => Ok("absent"),
            Some(stored) => import(self.shared, stored, core).map(|()| "loaded"),
        });
        record(self.shared, core, KeyStoreOperation::Load, outcome);
    }

    /// Saves the current keys if they have changed or were confirmed since the last save, and none is in progress.
    pub(super) fn start_due_save(&mut self, now: Moment) {
        let shared = self.shared;
        let Some(store) = &shared.key_store else { return };
        let core = &mut *shared.core();
        if let Some(saving) = &mut self.save {
            if saving.late_at.is_some_and(|late_at| now.monotonic >= late_at) {
                saving.late_at = None;
                record(shared, core, KeyStoreOperation::Save, Err(KeyStoreError::Timeout));
            }
            if now.monotonic < saving.dropped_at {
                return;
            }
            self.save = None;
            core.save_state = SaveState::Due;
        }
        // A closed source may be that of a removed tenant, whose record is removed.
        if core.save_state != SaveState::Due || shared.is_closing() {
            return;
        }
        let Some((document, endpoint)) = core.document.clone().zip(core.endpoint.as_ref()) else { return };
        core.save_state = SaveState::Started;
        let confirmed_at = shared.published.load().confirmed_at(now);
        let record = Record { jwks_uri: endpoint.as_str().into(), confirmed_at, document };
        let record = record.to_bytes(&shared.origin).and_then(|record| match record.len() {
            length if length > max_record_bytes(shared) => Err(KeyStoreError::TooLarge),
            _ => Ok(record),
        });
        let (store, name) = (Arc::clone(store), shared.record_name.clone());
        let closing = Arc::clone(&shared.mailbox.closing);
        let save = async move {
            let record = record?;
            // The source may have been closed on another thread, and the removal of the record may have started.
            if closing.load(Ordering::SeqCst) { Ok(()) } else { store.save(name.as_str(), record).await }
        };
        let future = Box::pin(async move { catch_panic(save).await.unwrap_or(Err(KeyStoreError::Panic)) });
        let late_at = Some(now.monotonic.saturating_add(defaults::KEY_STORE_TIMEOUT));
        let dropped_at = now.monotonic.saturating_add(defaults::KEY_STORE_SAVE_LIMIT);
        self.save = Some(Saving { future, dropped_at, late_at });
    }

    pub(super) fn finish_save(&mut self, result: Result<(), KeyStoreError>) {
        let core = &mut *self.shared.core();
        if result.is_ok() && core.save_state == SaveState::Started {
            core.save_state = SaveState::Saved;
        }
        let was_reported = self.save.take().is_none_or(|saving| saving.late_at.is_none());
        if !was_reported {
            record(self.shared, core, KeyStoreOperation::Save, result.map(|()| "saved"));
        }
    }

    /// Removes compromised keys from the stored set, so that they are not used after a restart.
    pub(super) fn remove_compromised_from_store(&self) {
        if self.shared.key_store.is_some() {
            remove_compromised(&mut self.shared.core(), &self.shared.blocked.compromised());
        }
    }
}

/// Removes compromised keys from the set to store. If no set is known, the store may still have one with these keys, so an
/// empty set replaces it.
fn remove_compromised(core: &mut DriverCore, compromised: &CompromisedKeys) {
    if compromised.len() == 0 {
        return;
    }
    let document = core.document.as_deref().unwrap_or_default();
    let rest = keys::public_jwks(document.as_bytes(), |thumbprint| !compromised.contains(thumbprint));
    let rest = rest.unwrap_or_else(|| EMPTY_SET.to_owned());
    if rest != document {
        core.document = Some(Arc::from(rest));
        core.save_state = SaveState::Due;
    }
}

/// Uses stored keys until a fetch has succeeded.
fn import(shared: &Shared, stored: StoredKeys, core: &mut DriverCore) -> Result<(), KeyStoreError> {
    let StoredKeys { record, table } = stored;
    let now = shared.now();
    // The wall clock may have been set back since an earlier task loaded the record.
    let running_for = now.monotonic.saturating_since(core.created.monotonic);
    let wall = now.wall.max(core.created.wall.saturating_add(running_for));
    if record.confirmed_at > wall {
        return Err(KeyStoreError::FromFuture);
    }
    let compromised = shared.blocked.compromised();
    let table = table.without(|_, thumbprint| compromised.contains(thumbprint));
    if table.usable() == 0 {
        return Err(KeyStoreError::NoUsableKeys);
    }
    let age = wall.saturating_since(record.confirmed_at);
    let times = core.machine.import(age, now.monotonic).ok_or(KeyStoreError::TooOld)?;
    let usable = table.usable();
    shared.published.replace(table, None, times, record.confirmed_at);
    core.document = Some(record.document);
    remove_compromised(core, &compromised);
    core.pending_events.push(KeyEventKind::StoredKeysLoaded { usable, age });
    Ok(())
}

/// Counts the outcome of a load or a save, and reports a failure.
fn record(
    shared: &Shared,
    core: &mut DriverCore,
    operation: KeyStoreOperation,
    outcome: Result<&'static str, KeyStoreError>,
) {
    if let Err(error) = outcome {
        core.pending_events.push(KeyEventKind::KeyStoreFailed { operation, error });
    }
    telemetry::jwks_key_store(&shared.source_label, operation.name(), outcome.unwrap_or_else(KeyStoreError::name));
}

fn max_record_bytes(shared: &Shared) -> usize {
    shared.policy.max_document_bytes.saturating_add(defaults::RECORD_OVERHEAD_BYTES)
}

const EMPTY_SET: &str = r#"{"keys":[]}"#;
