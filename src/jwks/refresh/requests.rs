//! Requests that need other keys: for an unknown kid, an absent kid, or an invalid signature. Clients trigger them.

use std::mem;

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::jitter::Sample;
use crate::jwks::refresh::{Action, Activity, Refresh};

/// What the requests of one cause wait for: the fetch in flight, or a later one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PendingRequests {
    /// A request arrived while a fetch was in flight, whatever its cause.
    joined: bool,
    /// A request arrived too early for a fetch; one follows at the end of the cool-down, so that no second request is needed to
    /// trigger it.
    follow_up_due: bool,
    /// The last fetch that bypasses caches, which had another cause, has replaced a follow-up fetch.
    has_replaced_follow_up: bool,
}

impl PendingRequests {
    /// Records a request that arrived while a fetch is in flight.
    pub(super) fn join(&mut self) {
        self.joined = true;
    }

    /// Returns whether a request joined the fetch that has just ended, and resets that state.
    pub(super) fn take_joined(&mut self) -> bool {
        mem::take(&mut self.joined)
    }

    /// Schedules a fetch for the end of the cool-down.
    pub(super) fn schedule_follow_up(&mut self) {
        self.follow_up_due = true;
    }

    /// Replaces the follow-up fetch by a fetch that bypasses caches and starts now. `is_own` is whether that is the follow-up
    /// fetch, which is not repeated if it fails: it may fail each time although the retry succeeds.
    pub(super) fn replace_follow_up(&mut self, is_own: bool) {
        self.has_replaced_follow_up = mem::take(&mut self.follow_up_due) && !is_own;
    }

    /// Schedules the replaced follow-up fetch again, since the fetch that replaced it has failed.
    pub(super) fn restore_replaced(&mut self) {
        self.follow_up_due |= mem::take(&mut self.has_replaced_follow_up);
    }

    pub(super) fn has_follow_up(self) -> bool {
        self.follow_up_due
    }
}

impl Refresh {
    /// Processes an unknown kid. It starts a fetch only if the machine is idle. It joins a fetch in flight. During the
    /// cool-down it schedules a follow-up fetch, which finds a newly published key without another request. During a backoff
    /// it does nothing.
    pub(super) fn record_unknown_kid(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        self.unknown_kids.record_unknown_kid(now, &self.policy);
        match self.activity {
            Activity::Fetching { .. } => self.unknown_kids.pending.join(),
            Activity::Idle if now >= self.unknown_kid_fetch_from() => {
                self.start_fetch(RefreshCause::UnknownKid, now, sample, actions);
                self.unknown_kids.pending.join();
            }
            Activity::Idle => self.unknown_kids.pending.schedule_follow_up(),
            Activity::NotStarted | Activity::Backoff { .. } | Activity::Closed => {}
        }
    }

    /// Processes a kid that an earlier fetch has not found. It does not affect the cool-down for unknown kids.
    pub(super) fn record_absent_kid(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        match self.activity {
            Activity::Fetching { .. } => self.absent_kids.pending.join(),
            Activity::Idle if now >= self.absent_kid_fetch_from() => {
                self.start_fetch(RefreshCause::AbsentKid, now, sample, actions);
                self.absent_kids.is_requested = true;
            }
            Activity::Idle => self.absent_kids.pending.schedule_follow_up(),
            Activity::NotStarted | Activity::Backoff { .. } | Activity::Closed => {}
        }
    }

    /// Processes a signature that no known key verifies. Unlike an unknown kid it schedules no follow-up fetch.
    pub(super) fn record_invalid_signature(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        if now < self.invalid_signature_fetch_from() {
            return;
        }
        match self.activity {
            Activity::Fetching { .. } => self.signatures.pending.join(),
            Activity::Idle => self.start_fetch(RefreshCause::InvalidSignature, now, sample, actions),
            Activity::NotStarted | Activity::Backoff { .. } | Activity::Closed => {}
        }
    }

    /// Handles an unknown kid after a successful fetch without its key. If that fetch looked for unknown kids, a follow-up
    /// fetch is scheduled for the end of the cool-down. Otherwise the unknown kid is processed again, whether or not its
    /// request still waits: the fetch may have been answered by a cache, or it was one for an absent kid, which must not
    /// delay a new key.
    pub(super) fn retry_unknown_kid(
        &mut self,
        is_sufficient: bool,
        now: Monotonic,
        sample: Sample,
        actions: &mut Vec<Action>,
    ) {
        if is_sufficient && self.activity == Activity::Idle {
            self.unknown_kids.pending.schedule_follow_up();
        } else {
            self.record_unknown_kid(now, sample, actions);
        }
    }
}
