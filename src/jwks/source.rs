//! `KeySource`: the handle to an issuer's keys.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use arc_swap::Guard;
use tokio::sync::oneshot;

use crate::clock::{Clock, Monotonic};
use crate::fetch::Fetch;
use crate::jwks::after_fetch::AfterFetch;
use crate::jwks::driver::ensure_running;
use crate::jwks::error::{KeysUnavailable, NotReadyError, RefreshError};
use crate::jwks::freshness::FreshnessState;
use crate::jwks::origin::Origin;
use crate::jwks::policy::{InitialFetch, RefreshPolicy};
use crate::jwks::refresh::Activity;
use crate::jwks::replaced_keys;
use crate::jwks::shared::{Imports, Shared};
use crate::jwks::snapshot::Snapshot;
use crate::jwks::status::{KeyState, KeyStatus};
use crate::jwks::wait;
use crate::keys::{KeyTable, SkippedKey, Thumbprint};
use crate::token::Algorithm;

/// The keys of one issuer, refreshed by a background task.
///
/// A `KeySource` is cheap to clone. All clones share one key set, one task and the same rate limits. The task starts with the
/// first use of the source inside a tokio runtime, and ends when the last clone is dropped. If the runtime of the task is shut
/// down, the next use inside another runtime starts the task there.
///
/// Drop a runtime that is no longer driven, such as one that was created only for a `block_on` at start. As long as such a
/// runtime exists, the task stays in it and cannot fetch.
///
/// ```
/// use tower_bearer::jwks::KeyState;
/// use tower_bearer::testing::TestIssuer;
/// use tower_bearer::{Api, Issuer, Validator};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let issuer = TestIssuer::new();
/// let trusted = Issuer::jwks(issuer.issuer(), issuer.jwks_uri());
/// let api = Api::new("https://api.test/", trusted);
/// let validator = Validator::builder(api).with_fetch(issuer.clone()).build()?;
///
/// let (_, keys) = validator.key_sources().next().expect("one issuer");
/// keys.ready().await?;
/// assert_eq!(keys.status().state(), KeyState::Fresh);
/// keys.revoke_kid(&issuer.kid());
/// assert_eq!(keys.status().usable_keys(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeySource {
    handle: Arc<Handle>,
}

/// Closes the source when the last clone is dropped; the task owns [`Shared`] only.
struct Handle {
    shared: Arc<Shared>,
}

/// The keys that a request can use without waiting.
#[derive(Debug)]
pub(crate) enum View {
    /// The keys are usable.
    Usable(Guard<Arc<Snapshot>>),
    /// No key is usable: see [`KeySource::ready_snapshot`].
    Unavailable,
}

impl KeySource {
    /// Creates a source. The caller has validated the policy. The task starts at once if the policy requires it and a tokio
    /// runtime is current, else with the first use.
    pub(crate) fn build(
        origin: Origin,
        algorithms: &[Algorithm],
        policy: RefreshPolicy,
        fetch: Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
        imports: Imports,
    ) -> Self {
        let initial_fetch = policy.initial_fetch;
        let shared = Arc::new(Shared::new(origin, algorithms, policy, fetch, clock, imports));
        if initial_fetch == InitialFetch::Eager {
            // Without a runtime the first use starts the task.
            let _no_runtime = ensure_running(&shared);
        }
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// Returns the current keys without a lock, an allocation or waiting.
    pub(crate) fn snapshot(&self) -> View {
        let shared = &self.handle.shared;
        let _no_runtime = ensure_running(shared);
        let now = shared.now();
        let snapshot = shared.published.load();
        shared.wake_if_late(&snapshot, now);
        if !snapshot.is_usable(now) {
            return View::Unavailable;
        }
        if snapshot.freshness_state(now) == Some(FreshnessState::Stale) {
            shared.stale_served.count(&shared.source_label);
        }
        View::Usable(snapshot)
    }

    /// Waits for the first keys, at most the policy's `cold_wait`.
    pub(crate) fn ready_snapshot(
        &self,
    ) -> impl Future<Output = Result<Arc<Snapshot>, KeysUnavailable>> + Send + 'static + use<> {
        wait::first_keys(Arc::clone(&self.handle.shared))
    }

    /// Returns the error for a request that finds no usable keys and does not wait.
    pub(crate) fn unavailable(&self) -> KeysUnavailable {
        wait::unavailable(&self.handle.shared)
    }

    /// Does this work after each fetch of keys, until its owner is dropped.
    pub(crate) fn after_fetch(&self, work: Weak<dyn AfterFetch>) {
        self.handle.shared.after_fetch.add(work);
    }

    /// Returns the policy.
    pub(crate) fn policy(&self) -> &RefreshPolicy {
        &self.handle.shared.policy
    }

    /// Returns the skipped keys of the last document in which keys were found, even if its key set was rejected.
    pub(crate) fn skipped_keys(&self) -> Arc<[SkippedKey]> {
        self.handle.shared.published.skipped()
    }

    /// Returns the time since the issuer last confirmed the keys.
    pub(crate) fn age(&self) -> Option<Duration> {
        let shared = &self.handle.shared;
        shared.published.load().age(shared.now())
    }

    /// Returns the time, for [`newer_keys`](Self::newer_keys).
    pub(crate) fn now(&self) -> Monotonic {
        self.handle.shared.clock.monotonic()
    }

    /// Requests keys that are newer than `epoch`, because those of `epoch` do not include the key of a token. Waits at most the
    /// policy's `unknown_kid_wait`.
    ///
    /// `waiting_since` is the time at which the request began to wait for the first keys, if it did: both waits together take
    /// at most `cold_wait`. `kid` is that of the token; `has_key` returns whether a table has the key. Returns
    /// `None` without further waiting if no fetch can start now (cool-down, backoff, closed source), if too many requests wait,
    /// or if a fetch that bypassed caches has ended without the key. Otherwise returns it at the end of the wait.
    pub(crate) fn newer_keys<F>(
        &self,
        epoch: u64,
        waiting_since: Option<Monotonic>,
        kid: &str,
        has_key: F,
    ) -> impl Future<Output = Result<Option<Arc<Snapshot>>, KeysUnavailable>> + Send + use<F>
    where
        F: Fn(&KeyTable) -> bool + Send,
    {
        let shared = Arc::clone(&self.handle.shared);
        let kid = shared.absent_kids.hash(kid);
        wait::newer_keys(shared, epoch, waiting_since, kid, has_key)
    }

    /// Returns whether [`replaced_keys`](Self::replaced_keys) may find other keys now. This is cheap, since everyone can send
    /// tokens with an invalid signature.
    pub(crate) fn may_be_replaced(&self) -> bool {
        let shared = &self.handle.shared;
        let status = *shared.driver_status.borrow();
        replaced_keys::may_be_replaced(status, shared.clock.monotonic())
    }

    /// Waits for keys that are newer than `epoch`, because no key of `epoch` verifies the signature of a token. Waits at most
    /// the policy's `unknown_kid_wait`, and not at all between two such fetches. `is_replaced` returns whether a table has
    /// another key for the token.
    pub(crate) fn replaced_keys<F>(
        &self,
        epoch: u64,
        is_replaced: F,
    ) -> impl Future<Output = Result<Option<Arc<Snapshot>>, KeysUnavailable>> + Send + use<F>
    where
        F: Fn(&KeyTable) -> bool + Send,
    {
        replaced_keys::replaced_keys(Arc::clone(&self.handle.shared), epoch, is_replaced)
    }

    /// Returns the health of the source. The call does not wait for a fetch, but the first call inside a tokio runtime starts
    /// the source, so a readiness probe is enough to load the keys.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let shared = &self.handle.shared;
        let _no_runtime = ensure_running(shared);
        let status = *shared.driver_status.borrow();
        let now = shared.now();
        let snapshot = shared.published.load();
        shared.wake_if_late(&snapshot, now);
        let state =
            if status.is_closed() { KeyState::Closed } else { KeyState::from_freshness(snapshot.freshness_state(now)) };
        let in_flight = matches!(status.activity, Activity::Fetching { .. });
        let until = |at: Monotonic| if in_flight { Duration::ZERO } else { at.saturating_since(now.monotonic) };
        KeyStatus {
            state,
            age: snapshot.age(now),
            next_refresh: status.next_attempt.map(until),
            consecutive_failures: status.failures,
            last_error: status.last_error,
            usable_keys: snapshot.usable_keys(now),
            epoch: snapshot.epoch,
        }
    }

    /// Waits until keys are usable. A failed fetch does not end the wait.
    ///
    /// # Errors
    ///
    /// Returns a [`NotReadyError`] outside a tokio runtime and after [`close`](Self::close), because the wait would never end.
    pub fn ready(&self) -> impl Future<Output = Result<(), NotReadyError>> + Send + 'static + use<> {
        wait::ready(Arc::clone(&self.handle.shared), None)
    }

    /// Waits until keys are usable, but at most `limit`. Use it in a service that must not start without keys.
    ///
    /// # Errors
    ///
    /// Returns a [`NotReadyError`] with the error of the last fetch if no keys are usable after `limit`. Outside a tokio
    /// runtime and after [`close`](Self::close), returns it at once.
    pub fn ready_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<(), NotReadyError>> + Send + 'static + use<> {
        wait::ready(Arc::clone(&self.handle.shared), Some(limit))
    }

    /// Fetches the keys now, without HTTP caches, cool-down or backoff, and waits for the outcome, which
    /// [`status`](Self::status) then shows. Call it when you know that the issuer has changed its keys. If the fetch fails, the
    /// current keys stay in use, except those whose private keys the response contains.
    ///
    /// If a fetch is in flight already, it may have started before the change; a new fetch then starts right after it.
    ///
    /// # Errors
    ///
    /// Returns [`RefreshError`] if the fetch fails, [`RefreshError::NoRuntime`] outside a tokio runtime, and
    /// [`RefreshError::SourceClosed`] if the source is closed.
    pub async fn reload(&self) -> Result<(), RefreshError> {
        let shared = &self.handle.shared;
        let (reply, outcome) = oneshot::channel();
        shared.mailbox.reloads.lock().unwrap_or_else(PoisonError::into_inner).push(reply);
        if ensure_running(shared).is_err() {
            // No task receives the command, so it is removed: the list must not grow.
            drop(outcome);
            shared.mailbox.reloads.lock().unwrap_or_else(PoisonError::into_inner).retain(|reply| !reply.is_closed());
            return Err(if shared.is_closing() { RefreshError::SourceClosed } else { RefreshError::NoRuntime });
        }
        shared.mailbox.wake.notify_one();
        outcome.await.unwrap_or(Err(RefreshError::SourceClosed))
    }

    #[cfg(test)]
    pub(super) fn pending_reloads(&self) -> usize {
        self.handle.shared.mailbox.reloads.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Revokes a `kid` and every key that the issuer has published or will publish with it. After this call returns, no token
    /// verifies with such a key, also if the token has another `kid` or none. The revocation ends with
    /// [`unrevoke_kid`](Self::unrevoke_kid) or with the process.
    ///
    /// The source remembers the last 1,000 combinations of `kid` and key since the process started, also those of rejected key
    /// sets. An older key that returns under another `kid` is not revoked: use [`revoke_key`](Self::revoke_key). At most 1,000
    /// keys are revoked with one `kid`.
    ///
    /// A new key that the issuer publishes with the same `kid` is revoked as well. If an issuer uses one `kid` for all its
    /// keys, use [`revoke_key`](Self::revoke_key). A verification that is running during the call is not stopped.
    pub fn revoke_kid(&self, kid: &str) {
        self.handle.shared.published.deny_kid(kid);
        self.wake_driver();
    }

    /// Reverts [`revoke_kid`](Self::revoke_kid): allows the `kid` again, and the keys that were revoked with it. A key that is
    /// also revoked by its thumbprint, or with another `kid`, stays revoked.
    pub fn unrevoke_kid(&self, kid: &str) {
        self.handle.shared.published.allow_kid(kid);
        self.wake_driver();
    }

    /// Revokes a key by its thumbprint (RFC 7638), whatever its `kid`. After this call returns, no token verifies with the key,
    /// until [`unrevoke_key`](Self::unrevoke_key) is called or the process ends.
    ///
    /// ```
    /// use tower_bearer::jwks::KeySource;
    /// use tower_bearer::keys::{KeySet, Thumbprint};
    ///
    /// # fn revoke(source: &KeySource, stolen: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// source.revoke_key("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".parse()?);
    /// // The thumbprints of a key in a file:
    /// for thumbprint in KeySet::from_pem(stolen)?.thumbprints() {
    ///     source.revoke_key(thumbprint);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn revoke_key(&self, thumbprint: Thumbprint) {
        self.handle.shared.published.deny_key(thumbprint);
        self.wake_driver();
    }

    /// Reverts [`revoke_key`](Self::revoke_key). If the key was also published with a revoked `kid`, it stays revoked.
    pub fn unrevoke_key(&self, thumbprint: Thumbprint) {
        self.handle.shared.published.allow_key(thumbprint);
        self.wake_driver();
    }

    /// Wakes the driver, which sets the gauge of usable keys. A second writer could overwrite a newer count with an older one.
    fn wake_driver(&self) {
        self.handle.shared.mailbox.wake.notify_one();
    }

    /// Closes the source and all its clones: stops the task and a fetch in flight, and wakes all waiters. No key is usable
    /// from then on. Dropping the last clone has the same effect.
    pub fn close(&self) {
        self.handle.shared.close();
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.handle.shared.origin;
        f.debug_struct("KeySource").field("origin", &origin.label()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}
