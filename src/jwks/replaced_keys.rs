//! Waiting for a key that the issuer has replaced, with the same `kid` or without one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::driver_status::DriverStatus;
use crate::jwks::error::KeysUnavailable;
use crate::jwks::refresh::Activity;
use crate::jwks::shared::Shared;
use crate::jwks::snapshot::Snapshot;
use crate::jwks::wait::{WaiterPermit, can_wait, load_usable, repeat_until};
use crate::keys::KeyTable;

/// Returns whether a fetch that may start now, or that is in flight, can return another key for an invalid signature.
pub(super) fn may_be_replaced(status: DriverStatus, now: Monotonic) -> bool {
    match status.activity {
        Activity::Fetching { cause: RefreshCause::InvalidSignature, .. } => true,
        Activity::Fetching { .. } | Activity::Idle => now >= status.invalid_signature_fetch_from,
        Activity::NotStarted | Activity::Backoff { .. } | Activity::Closed => false,
    }
}

/// Waits at most `unknown_kid_wait` for a key set that is newer than `epoch` and for which `is_replaced` returns true. Returns
/// `None` at once if no fetch may find one now, and an error if the keys have expired.
pub(super) fn replaced_keys<F: Fn(&KeyTable) -> bool>(
    shared: Arc<Shared>,
    epoch: u64,
    is_replaced: F,
) -> impl Future<Output = Result<Option<Arc<Snapshot>>, KeysUnavailable>> {
    let deadline = shared.clock.monotonic().saturating_add(shared.policy.unknown_kid_wait);
    let mut request = InvalidSignatureRequest { epoch, has_notified: false };
    repeat_until(shared, deadline, move |shared, receiver, deadline, permit| {
        request.check(shared, receiver, *deadline, permit, &is_replaced)
    })
}

/// The state of one request whose token has an invalid signature. It notifies the driver once.
struct InvalidSignatureRequest {
    /// The epoch of the keys that did not verify the token.
    epoch: u64,
    has_notified: bool,
}

impl InvalidSignatureRequest {
    /// Returns the result for the request; `None` if the request waits for the next change.
    fn check<'s>(
        &mut self,
        shared: &'s Arc<Shared>,
        receiver: &mut watch::Receiver<DriverStatus>,
        deadline: Monotonic,
        permit: &mut Option<WaiterPermit<'s>>,
        is_replaced: &impl Fn(&KeyTable) -> bool,
    ) -> Option<Result<Option<Arc<Snapshot>>, KeysUnavailable>> {
        let driver_runs = can_wait(shared);
        let status = *receiver.borrow_and_update();
        let (now, usable) = load_usable(shared);
        let Some(snapshot) = usable else { return Some(Err(status.unavailable(driver_runs, now))) };
        if snapshot.epoch > self.epoch && is_replaced(&snapshot.table) {
            return Some(Ok(Some(snapshot)));
        }
        if !driver_runs || !may_be_replaced(status, now) {
            return Some(Ok(None));
        }
        // The fetch does not depend on whether this request may wait.
        if !self.has_notified {
            self.has_notified = true;
            shared.notify_invalid_signature();
        }
        let may_wait = now < deadline && WaiterPermit::ensure(permit, shared);
        if may_wait { None } else { Some(Ok(None)) }
    }
}
