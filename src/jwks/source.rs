//! `KeySource`: the handle that validators hold.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::Guard;
use tokio::sync::oneshot;

use crate::clock::{Clock, Monotonic};
use crate::fetch::Fetch;
use crate::jwks::error::{KeysUnavailable, NotReadyError, RefreshError};
use crate::jwks::freshness::FreshnessState;
use crate::jwks::policy::{InitialFetch, RefreshPolicy};
use crate::jwks::refresh::Activity;
use crate::jwks::shared::{Origin, Shared};
use crate::jwks::snapshot::Snapshot;
use crate::jwks::status::{KeyState, KeyStatus};
use crate::jwks::wait::{self, UnknownKid};
use crate::keys::{KeyTable, SkippedKey, Thumbprint};
use crate::token::Algorithm;

/// The keys of one issuer, kept fresh by a task in the background.
///
/// Cheap to clone; all clones share one key set, one task and one budget of fetches. The task starts with the first use
/// inside a tokio runtime, moves to another runtime if its own ends, and ends with the last clone. A runtime that is kept
/// but not run, as one that was only made to `block_on` something at start, keeps the task from working: drop it.
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
/// let validator = Validator::builder(api).with_fetch(issuer.fetcher()).build()?;
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

/// Ends the task when the last clone is gone; the task holds [`Shared`] only.
struct Handle {
    shared: Arc<Shared>,
}

/// What a request sees without waiting.
#[derive(Debug)]
pub(crate) enum View {
    /// Verify with these.
    Usable(Guard<Arc<Snapshot>>),
    /// There are none that may be used: see [`KeySource::ready_snapshot`].
    Unavailable,
}

impl KeySource {
    /// Makes a source; the policy has been validated. It starts at once if the policy says so and a tokio runtime is
    /// current, else with its first use.
    pub(crate) fn build(
        origin: Origin,
        algorithms: &[Algorithm],
        policy: RefreshPolicy,
        fetch: Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let start = policy.initial_fetch;
        let shared = Arc::new(Shared::new(origin, algorithms, policy, fetch, clock));
        if start == InitialFetch::Eager {
            // Without a runtime the first use starts it.
            let _later = shared.ensure_running();
        }
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// The keys of this moment: no lock, no allocation, no waiting.
    pub(crate) fn snapshot(&self) -> View {
        let shared = &self.handle.shared;
        let _later = shared.ensure_running();
        let now = shared.now();
        let snapshot = shared.published.load();
        shared.wake_if_late(&snapshot, now);
        if !snapshot.is_usable(now) {
            return View::Unavailable;
        }
        if snapshot.freshness_state(now) == Some(FreshnessState::Stale) {
            shared.stale_served.count(shared.label());
        }
        View::Usable(snapshot)
    }

    /// Waits for the first keys, at most as long as the policy's `cold_wait`.
    pub(crate) fn ready_snapshot(
        &self,
    ) -> impl Future<Output = Result<Arc<Snapshot>, KeysUnavailable>> + Send + 'static + use<> {
        wait::first_keys(Arc::clone(&self.handle.shared))
    }

    /// The policy by which keys are fetched.
    pub(crate) fn policy(&self) -> &RefreshPolicy {
        &self.handle.shared.policy
    }

    /// The keys of the last document that may not verify, whether or not its set was refused.
    pub(crate) fn skipped_keys(&self) -> Arc<[SkippedKey]> {
        self.handle.shared.published.skipped()
    }

    /// The time since the issuer last confirmed the keys.
    pub(crate) fn age(&self) -> Option<Duration> {
        let shared = &self.handle.shared;
        shared.published.load().age(shared.now())
    }

    /// The time, for [`newer_keys`](Self::newer_keys).
    pub(crate) fn now(&self) -> Monotonic {
        self.handle.shared.clock.monotonic()
    }

    /// Asks for keys newer than `epoch` because a token's key is not among them, and waits for them at most as long as
    /// the policy's `unknown_kid_wait`; a request that has waited for the first keys `since` then, for both at most as long as
    /// `cold_wait`. `found` says whether a table has the key: an answer is only given up once no fetch that the budget
    /// allows can bring it.
    pub(crate) fn newer_keys<F>(
        &self,
        epoch: u64,
        since: Option<Monotonic>,
        found: F,
    ) -> impl Future<Output = Result<UnknownKid, KeysUnavailable>> + Send + use<F>
    where
        F: Fn(&KeyTable) -> bool + Send,
    {
        wait::newer_keys(Arc::clone(&self.handle.shared), epoch, since, found)
    }

    /// Tells how the source is doing. It fetches nothing, but the first call inside a tokio runtime starts the source, so
    /// that a readiness probe alone warms it.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let shared = &self.handle.shared;
        let _later = shared.ensure_running();
        let status = *shared.progress.borrow();
        let now = shared.now();
        let snapshot = shared.published.load();
        shared.wake_if_late(&snapshot, now);
        let state = if status.is_closed() { KeyState::Closed } else { KeyState::from(snapshot.freshness_state(now)) };
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

    /// Waits until keys are usable, however often fetching them fails.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`] outside a tokio runtime and after [`close`](Self::close), where waiting would never end.
    pub fn ready(&self) -> impl Future<Output = Result<(), NotReadyError>> + Send + 'static + use<> {
        wait::ready(Arc::clone(&self.handle.shared), None)
    }

    /// Waits until keys are usable, but no longer than `limit`: for services that must not start without.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`], with what the last attempt failed of.
    pub fn ready_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<(), NotReadyError>> + Send + 'static + use<> {
        wait::ready(Arc::clone(&self.handle.shared), Some(limit))
    }

    /// Fetches now, past every cache and whatever the cool-down says, and waits for the outcome: for the moment when you
    /// know that the issuer has changed its keys. The keys in use stay in use if it fails.
    ///
    /// A fetch that is in flight already may have begun before the change; this one starts right after it.
    ///
    /// # Errors
    ///
    /// Why the fetch failed.
    pub async fn reload(&self) -> Result<(), RefreshError> {
        let shared = &self.handle.shared;
        let (reply, outcome) = oneshot::channel();
        shared.mailbox.reloads.lock().unwrap_or_else(PoisonError::into_inner).push(reply);
        if shared.ensure_running().is_err() {
            // Nobody will take it, and the list must not grow.
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

    /// Revokes a key id and every key that this source has read, or reads from now on, under it: no token verifies with such
    /// a key after this call returns, under any other id or without one, until [`unrevoke_kid`](Self::unrevoke_kid) or the
    /// end of the process.
    ///
    /// A source knows the keys of the current set, and of the earlier ones the latest 1,000 pairs of id and key. The keys of
    /// a set that is refused count as well, if their id and their public members can be read. A revoked id stands for 1,000
    /// keys at most. A key that was published under the id only longer ago, or before this process started, and is now
    /// published under another, is not known by it: revoke it with [`revoke_key`](Self::revoke_key).
    pub fn revoke_kid(&self, kid: &str) {
        self.handle.shared.published.deny_kid(kid);
        self.tell_driver();
    }

    /// Undoes [`revoke_kid`](Self::revoke_kid): allows the id, and the keys that were revoked with it. A key that is also
    /// revoked by its thumbprint, or with another id, stays revoked.
    pub fn unrevoke_kid(&self, kid: &str) {
        self.handle.shared.published.allow_kid(kid);
        self.tell_driver();
    }

    /// Revokes a key by its thumbprint (RFC 7638), under whatever id the issuer publishes it, or without one: no token
    /// verifies with it after this call returns, until [`unrevoke_key`](Self::unrevoke_key) or the end of the process.
    ///
    /// ```
    /// use tower_bearer::jwks::KeySource;
    /// use tower_bearer::keys::{KeySet, Thumbprint};
    ///
    /// # fn revoke(source: &KeySource, stolen: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// source.revoke_key("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".parse()?);
    /// // Of a key in a file:
    /// for thumbprint in KeySet::from_pem(stolen)?.thumbprints() {
    ///     source.revoke_key(thumbprint);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn revoke_key(&self, thumbprint: Thumbprint) {
        self.handle.shared.published.deny_key(thumbprint);
        self.tell_driver();
    }

    /// Undoes [`revoke_key`](Self::revoke_key). A key that was found under a revoked id stays revoked.
    pub fn unrevoke_key(&self, thumbprint: Thumbprint) {
        self.handle.shared.published.allow_key(thumbprint);
        self.tell_driver();
    }

    /// The gauge of usable keys has one hand that sets it, so that none writes an older count over a newer.
    fn tell_driver(&self) {
        self.handle.shared.mailbox.wake.notify_one();
    }

    /// Ends the source and all its clones: the task, a fetch in flight and everybody who waits. No key is usable from
    /// then on. Dropping the last clone does the same.
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
