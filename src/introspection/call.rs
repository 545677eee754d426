//! `Calls`: the calls in flight. All requests with one token share one call, and the number of calls is limited.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::defaults;
use crate::introspection::answer::Answer;
use crate::introspection::error::Unavailable;
use crate::keys::TokenFingerprint;

/// Whether the server has called a token active before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    Unknown,
    Known,
}

/// The calls in flight of one client, and the slots for them.
pub(super) struct Calls {
    by_token: Mutex<HashMap<TokenFingerprint, Arc<Call>>>,
    /// Slots for every token.
    shared: Arc<Semaphore>,
    /// Slots for known tokens only, so that a flood of unknown ones does not delay them.
    reserved: Arc<Semaphore>,
    /// Permits for requests with unknown tokens to wait for a slot, so that a flood leaves room for other waiting requests.
    queue: Semaphore,
}

/// One call, with its result once it has ended.
pub(super) struct Call {
    result: watch::Sender<Option<CallResult>>,
}

pub(super) type CallResult = Result<Answer, Unavailable>;

/// A permit for one call.
pub(super) type Slot = OwnedSemaphorePermit;

impl Calls {
    pub(super) fn new(max_calls: usize) -> Self {
        let reserved = max_calls.div_ceil(RESERVED_SHARE);
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            by_token: Mutex::default(),
            shared: semaphore(max_calls.saturating_sub(reserved)),
            reserved: semaphore(reserved),
            queue: Semaphore::new(defaults::MAX_WAITERS.saturating_sub(defaults::MAX_WAITERS.div_ceil(RESERVED_SHARE))),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<TokenFingerprint, Arc<Call>>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a free slot.
    pub(super) fn try_slot(&self, priority: Priority) -> Option<Slot> {
        let reserved = || match priority {
            Priority::Known => Arc::clone(&self.reserved).try_acquire_owned().ok(),
            Priority::Unknown => None,
        };
        reserved().or_else(|| Arc::clone(&self.shared).try_acquire_owned().ok())
    }

    /// Waits for a slot, in the order of the requests. Returns `None` if too many requests with unknown tokens wait. The future can be
    /// dropped at any time.
    pub(super) async fn slot(&self, priority: Priority) -> Option<Slot> {
        if let Some(slot) = self.try_slot(priority) {
            return Some(slot);
        }
        let (semaphore, _queued) = match priority {
            Priority::Known => (&self.reserved, None),
            Priority::Unknown => (&self.shared, Some(self.queue.try_acquire().ok()?)),
        };
        // The semaphores are never closed.
        Arc::clone(semaphore).acquire_owned().await.ok()
    }
}

impl Call {
    pub(super) fn new() -> Self {
        Self { result: watch::Sender::new(None) }
    }

    /// Sends the result to all requests that wait for it. Only the first result counts.
    pub(super) fn finish(&self, result: CallResult) {
        self.result.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(result);
            }
            is_first
        });
    }

    /// Waits for the result.
    pub(super) async fn result(&self) -> Option<CallResult> {
        let mut receiver = self.result.subscribe();
        let result = receiver.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("in_flight", &self.lock().len()).finish_non_exhaustive()
    }
}

/// One slot in this many, and one place of a waiting request, is reserved for known tokens.
const RESERVED_SHARE: usize = 4;
