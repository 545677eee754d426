//! `Calls`: the calls in flight. All requests with one token share one call, and the number of calls is limited.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::clock::Monotonic;
use crate::introspection::answer::Answer;
use crate::introspection::error::Unavailable;
use crate::keys::TokenFingerprint;
use crate::single_flight;

/// What is known about a token before it is introspected. A token that any client can make up waits behind all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    Unknown,
    /// The server has called the token active before.
    Known,
    /// The signature of the token is valid.
    Genuine,
}

/// The calls in flight or in the queue of one client, and the slots for them.
pub(super) struct Calls {
    by_token: Mutex<HashMap<TokenFingerprint, Arc<Call>>>,
    /// Slots for every token.
    shared: Arc<Semaphore>,
    /// Slots for known tokens only, so that a flood of unknown ones does not delay them.
    reserved: Arc<Semaphore>,
    /// The turn of the calls about unknown tokens, if there is one at a time.
    turn: Arc<Semaphore>,
}

/// One call, with its result once it has ended.
pub(super) struct Call {
    pub(super) result: single_flight::Call<CallResult>,
    sent_at: OnceLock<Monotonic>,
    /// Notified when a request joins for which the token is not unknown.
    promotion: Notify,
}

/// A request that waits for the result of a call. A call that is not sent yet ends when no request waits for it.
pub(super) struct Waiter {
    call: Arc<Call>,
    result: single_flight::Waiter<CallResult>,
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
            turn: semaphore(1),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<TokenFingerprint, Arc<Call>>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a free slot.
    pub(super) fn try_slot(&self, priority: Priority) -> Option<Slot> {
        let reserved = || match priority {
            Priority::Known | Priority::Genuine => Arc::clone(&self.reserved).try_acquire_owned().ok(),
            Priority::Unknown => None,
        };
        reserved().or_else(|| Arc::clone(&self.shared).try_acquire_owned().ok())
    }

    /// Waits for the turn of a call about an unknown token.
    pub(super) async fn turn(&self) -> Option<Slot> {
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }

    /// Waits for a slot, in the order of the calls. Returns `None` only if there are no slots any more. The future can
    /// be dropped at any time.
    pub(super) async fn slot(&self, priority: Priority) -> Option<Slot> {
        if let Some(slot) = self.try_slot(priority) {
            return Some(slot);
        }
        let semaphore = match priority {
            Priority::Known | Priority::Genuine => &self.reserved,
            Priority::Unknown => &self.shared,
        };
        // The semaphores are never closed.
        Arc::clone(semaphore).acquire_owned().await.ok()
    }
}

impl Call {
    pub(super) fn new() -> Self {
        Self { result: single_flight::Call::new(), sent_at: OnceLock::new(), promotion: Notify::new() }
    }

    /// Returns a call that has ended.
    pub(super) fn ended(result: CallResult) -> Arc<Self> {
        let call = Self::new();
        call.result.finish(result);
        Arc::new(call)
    }

    /// Adds a request that waits for the result. The token may be known for this request and unknown for the first one,
    /// because their validators have separate token caches. Then the call leaves the queue of unknown tokens.
    pub(super) fn join(self: &Arc<Self>, priority: Priority) -> Waiter {
        if priority != Priority::Unknown {
            self.promotion.notify_one();
        }
        Waiter { call: Arc::clone(self), result: self.result.join() }
    }

    /// Waits for a request for which the token is not unknown.
    pub(super) async fn promoted(&self) {
        self.promotion.notified().await;
    }

    /// Returns whether a request has joined for which the token is not unknown. Only the first call of this method or of
    /// [`promoted`](Self::promoted) returns `true`.
    pub(super) fn is_promoted(&self) -> bool {
        pin!(self.promotion.notified()).enable()
    }

    /// Records that the call is sent now. Only the first time counts.
    pub(super) fn record_sent(&self, now: Monotonic) {
        self.sent_at.get_or_init(|| now);
    }
}

impl Waiter {
    /// Waits for the result. `None` if the call ends without one.
    pub(super) async fn result(&mut self) -> Option<CallResult> {
        self.result.result().await
    }

    /// Returns the time at which the call was sent.
    pub(super) fn sent_at(&self) -> Option<Monotonic> {
        self.call.sent_at.get().copied()
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("count", &self.lock().len()).finish_non_exhaustive()
    }
}

/// One slot in this many is reserved for known tokens.
const RESERVED_SHARE: usize = 4;
