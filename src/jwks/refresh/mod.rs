//! The state machine of the key source: `step(event, now, sample) → actions`. It has no I/O, no task and no clock.
//!
//! The keys are empty or, by their [`Times`], fresh, aging, stale or expired. The driver is idle, fetching or in backoff. From
//! the first use until the source is closed, either a fetch is in flight or a timer is armed.

mod absent_kids;
mod activity;
mod event;
mod kid_fetches;
mod requests;
mod signatures;
mod token_failures;
mod unknown_kids;

use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::{FreshnessState, Phase, Times};
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::absent_kids::AbsentKidLimiter;
use crate::jwks::refresh::kid_fetches::KidFetches;
use crate::jwks::refresh::signatures::InvalidSignatureLimiter;
use crate::jwks::refresh::token_failures::TokenFetchFailures;
use crate::jwks::refresh::unknown_kids::UnknownKidLimiter;

pub(super) use self::activity::{Activity, BackoffSource};
pub(super) use self::event::{Action, Change, Condition, Event, FetchOrder, Outcome};

/// The state machine of one key source.
#[derive(Clone, Debug)]
pub(super) struct Refresh {
    policy: RefreshPolicy,
    activity: Activity,
    generation: u64,
    times: Option<Times>,
    /// Whether a fetch has succeeded. Imported keys do not count.
    phase: Phase,
    /// The time from which no key is usable; `None` before the first use of the source.
    unusable_from: Option<Monotonic>,
    /// The last freshness state that was reported.
    last_reported: Option<FreshnessState>,
    failures: u32,
    last_error: Option<RefreshError>,
    queued_cause: Option<RefreshCause>,
    unknown_kids: UnknownKidLimiter,
    absent_kids: AbsentKidLimiter,
    kid_fetches: KidFetches,
    signatures: InvalidSignatureLimiter,
    token_failures: TokenFetchFailures,
    /// The generation of the last successful fetch that bypassed caches.
    confirmed_generation: u64,
    /// Whether a runtime ended with a fetch in flight and no fetch has succeeded since.
    was_interrupted: bool,
}

impl Refresh {
    pub(super) fn new(policy: RefreshPolicy) -> Self {
        Self {
            policy,
            activity: Activity::NotStarted,
            generation: 0,
            times: None,
            phase: Phase::First,
            unusable_from: None,
            last_reported: None,
            failures: 0,
            last_error: None,
            queued_cause: None,
            unknown_kids: UnknownKidLimiter::default(),
            absent_kids: AbsentKidLimiter::default(),
            kid_fetches: KidFetches::default(),
            signatures: InvalidSignatureLimiter::default(),
            token_failures: TokenFetchFailures::default(),
            confirmed_generation: 0,
            was_interrupted: false,
        }
    }

    pub(super) fn step(&mut self, event: Event, now: Monotonic, sample: Sample) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.activity == Activity::Closed {
            return actions;
        }
        self.report_state_change(now, sample, &mut actions);
        match event {
            Event::Begin if self.activity == Activity::NotStarted => {
                self.unusable_from = self.unusable_from.or(Some(now));
                self.start_fetch(RefreshCause::Initial, now, sample, &mut actions);
            }
            Event::Begin => {}
            Event::Timer => self.timer_fired(now, sample, &mut actions),
            Event::UnknownKid => self.record_unknown_kid(now, sample, &mut actions),
            Event::AbsentKid => self.record_absent_kid(now, sample, &mut actions),
            Event::InvalidSignature => self.record_invalid_signature(now, sample, &mut actions),
            Event::FetchNow(cause) => self.fetch_now(cause, now, sample, &mut actions),
            Event::Finished { generation, outcome } => {
                self.finish_fetch(generation, outcome, now, sample, &mut actions)
            }
            Event::Expire => self.expire(now, sample, &mut actions),
            Event::Interrupted(error) => self.record_interruption(error, now, sample, &mut actions),
            Event::Close => {
                self.activity = Activity::Closed;
                self.unusable_from = Some(self.unusable_from.map_or(now, |from| from.min(now)));
                actions.push(Action::Close);
            }
        }
        actions
    }

    /// Imports keys that were not fetched and that the issuer confirmed `age` before `now`. They are stale until a fetch has
    /// succeeded. Returns their times; `None` if they have expired, or if a fetch has succeeded already.
    pub(super) fn import(&mut self, age: Duration, now: Monotonic) -> Option<Times> {
        if self.phase == Phase::Later || self.activity == Activity::Closed {
            return None;
        }
        let times = Times::imported(age, &self.policy, now)?;
        self.times = Some(times);
        self.unusable_from = Some(times.expires_at);
        self.last_reported = Some(FreshnessState::Stale);
        Some(times)
    }

    /// Returns whether a fetch has succeeded.
    pub(super) fn has_fetched(&self) -> bool {
        self.phase == Phase::Later
    }

    /// Adds `span`, which the monotonic clock has missed, to the age of the current keys.
    pub(super) fn age_by(&mut self, span: Duration) {
        self.times = self.times.map(|times| times.older_by(span));
        self.unusable_from = self.times.map_or(self.unusable_from, |times| Some(times.expires_at));
    }

    /// Returns when [`Event::Timer`] is due; `None` only before the first use and after the close.
    pub(super) fn wake_at(&self) -> Option<Monotonic> {
        let due = match self.activity {
            Activity::NotStarted | Activity::Closed => return None,
            _ => self.next_attempt()?,
        };
        let next_change = self.times.and_then(|times| match self.last_reported {
            None | Some(FreshnessState::Expired) => None,
            Some(FreshnessState::Stale) => Some(times.expires_at),
            Some(FreshnessState::Fresh | FreshnessState::Aging) => Some(times.stale_at),
        });
        Some(next_change.map_or(due, |at| at.min(due)))
    }

    /// Returns when the next fetch starts, or the deadline of the one in flight.
    pub(super) fn next_attempt(&self) -> Option<Monotonic> {
        match self.activity {
            Activity::NotStarted | Activity::Closed => None,
            Activity::Fetching { deadline, .. } => Some(deadline),
            Activity::Backoff { until, .. } => Some(until),
            Activity::Idle => {
                let scheduled = Some(self.times.unwrap_or(Times::NEVER).refresh_at);
                let for_unknown = self.unknown_kids.pending.has_follow_up().then(|| self.unknown_kid_fetch_from());
                let for_absent = self.absent_kids.pending.has_follow_up().then(|| self.absent_kid_fetch_from());
                [scheduled, for_unknown, for_absent].into_iter().flatten().min()
            }
        }
    }

    /// Returns the time from which an unknown kid may start a fetch.
    pub(super) fn unknown_kid_fetch_from(&self) -> Monotonic {
        let early_from = self.kid_fetches.early_from(&self.policy);
        let limited = early_from.min(self.absent_kid_fetch_from());
        self.unknown_kids.fetch_from(&self.policy).max(limited).max(self.token_failures.fetch_from(&self.policy))
    }

    /// Returns the time from which an absent kid may start a fetch.
    pub(super) fn absent_kid_fetch_from(&self) -> Monotonic {
        self.absent_kids.fetch_from(&self.policy).max(self.token_failures.fetch_from(&self.policy))
    }

    /// Returns the time from which an invalid signature may start a fetch.
    pub(super) fn invalid_signature_fetch_from(&self) -> Monotonic {
        self.signatures.fetch_from(&self.policy).max(self.token_failures.fetch_from(&self.policy))
    }

    /// Returns whether a follow-up fetch for an unknown kid is scheduled.
    pub(super) fn has_follow_up_fetch(&self) -> bool {
        self.unknown_kids.pending.has_follow_up()
    }

    /// Returns whether a follow-up fetch for an absent kid is scheduled.
    pub(super) fn has_absent_kid_follow_up(&self) -> bool {
        self.absent_kids.pending.has_follow_up()
    }

    pub(super) fn confirmed_generation(&self) -> u64 {
        self.confirmed_generation
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the time, past or future, from which no key is usable; `None` before the first use of the source.
    pub(super) fn unusable_from(&self) -> Option<Monotonic> {
        self.unusable_from
    }

    pub(super) fn last_error(&self) -> Option<RefreshError> {
        self.last_error
    }

    /// Reports that the keys have become stale or have expired since the last step.
    fn report_state_change(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        let (Some(times), Some(last_reported)) = (self.times, self.last_reported) else { return };
        let freshness_state = times.freshness_state(now);
        if freshness_state == FreshnessState::Stale && last_reported < FreshnessState::Stale {
            actions.push(Action::NotifyStale { remaining: times.expires_at.saturating_since(now) });
        }
        if freshness_state == FreshnessState::Expired && last_reported < FreshnessState::Expired {
            actions.push(Action::NotifyExpired);
            self.shorten_backoff(now, sample.first);
        }
        self.last_reported = Some(last_reported.max(freshness_state));
    }

    fn expire(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        let Some(times) = self.times.map(|times| times.expired_at(now)) else { return };
        self.times = Some(times);
        self.unusable_from = Some(times.expires_at);
        self.report_state_change(now, sample, actions);
    }

    /// Shortens a running backoff when the keys expire, since every request fails from then on. A `Retry-After` of the server
    /// stays.
    fn shorten_backoff(&mut self, now: Monotonic, jitter: Jitter) {
        if let Activity::Backoff { until, set_by: BackoffSource::Policy } = &mut self.activity {
            let longest = jitter.at_least_half(self.policy.backoff_max_unavailable);
            *until = (*until).min(now.saturating_add(longest));
        }
    }

    fn timer_fired(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        match self.activity {
            Activity::NotStarted | Activity::Closed => {}
            Activity::Idle if self.unknown_kids.pending.has_follow_up() && now >= self.unknown_kid_fetch_from() => {
                self.start_fetch(RefreshCause::UnknownKid, now, sample, actions);
            }
            Activity::Idle if self.absent_kids.pending.has_follow_up() && now >= self.absent_kid_fetch_from() => {
                self.start_fetch(RefreshCause::AbsentKid, now, sample, actions);
            }
            Activity::Idle if now >= self.times.unwrap_or(Times::NEVER).refresh_at => {
                self.start_fetch(RefreshCause::Scheduled, now, sample, actions);
            }
            Activity::Backoff { until, .. } if now >= until => {
                self.start_fetch(RefreshCause::Retry, now, sample, actions)
            }
            Activity::Fetching { deadline, .. } if now >= deadline => {
                actions.push(Action::Abort);
                self.record_failure(RefreshError::Timeout, None, now, sample, actions);
            }
            Activity::Idle | Activity::Backoff { .. } | Activity::Fetching { .. } => {}
        }
    }

    /// Fetches now, or right after the fetch in flight, which may have started before the change that the caller knows of.
    fn fetch_now(&mut self, cause: RefreshCause, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        match self.activity {
            Activity::Fetching { .. } => self.queued_cause = Some(cause),
            _ => self.start_fetch(cause, now, sample, actions),
        }
    }

    fn finish_fetch(
        &mut self,
        generation: u64,
        outcome: Outcome,
        now: Monotonic,
        sample: Sample,
        actions: &mut Vec<Action>,
    ) {
        if self.in_flight().is_none() || generation != self.generation {
            return;
        }
        match outcome {
            Outcome::Loaded { remaining, change } => self.record_success(remaining, change, now, sample, actions),
            Outcome::NotModified { remaining } => self.record_success(remaining, Change::Same, now, sample, actions),
            Outcome::Failed { error, retry_after } => self.record_failure(error, retry_after, now, sample, actions),
        }
    }

    fn in_flight(&self) -> Option<RefreshCause> {
        match self.activity {
            Activity::Fetching { cause, .. } => Some(cause),
            _ => None,
        }
    }

    fn record_interruption(&mut self, error: RefreshError, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        match self.activity {
            // The issuer has not failed, so the next task, on another runtime, fetches at once. If that one ends as well,
            // runtimes end faster than the issuer responds, and the backoff applies.
            Activity::Fetching { .. } if error == RefreshError::Interrupted && !self.was_interrupted => {
                self.was_interrupted = true;
                self.activity = Activity::Backoff { until: now, set_by: BackoffSource::Policy };
            }
            Activity::Fetching { .. } => {
                // No task is left to run a fetch: a queued one follows the next fetch.
                let queued_cause = self.queued_cause.take();
                self.record_failure(error, None, now, sample, actions);
                self.queued_cause = queued_cause;
            }
            _ => {}
        }
    }

    fn record_success(
        &mut self,
        remaining: Option<Duration>,
        change: Change,
        now: Monotonic,
        sample: Sample,
        actions: &mut Vec<Action>,
    ) {
        let is_sufficient = self.in_flight().is_some_and(RefreshCause::is_sufficient_for_unknown_kids);
        if self.in_flight().is_some_and(RefreshCause::bypasses_caches) {
            self.confirmed_generation = self.generation;
            self.token_failures = TokenFetchFailures::default();
        }
        let times = Times::new(remaining, &self.policy, self.phase, now, sample);
        actions.push(Action::Publish(times));
        // Imported keys are stale from the start, which is no incident unless a fetch fails.
        let was_reported = self.phase == Phase::Later || self.failures > 0;
        self.phase = Phase::Later;
        if was_reported && self.last_reported >= Some(FreshnessState::Stale) {
            actions.push(Action::NotifyRecovered);
        }
        self.times = Some(times);
        self.unusable_from = Some(times.expires_at);
        self.last_reported = Some(FreshnessState::Fresh);
        self.failures = 0;
        self.last_error = None;
        self.was_interrupted = false;
        if change != Change::Same {
            self.unknown_kids.record_change(now, &self.policy);
        }
        let (joined, absent_joined) = (self.unknown_kids.pending.take_joined(), self.absent_kids.pending.take_joined());
        let signature_joined = self.signatures.pending.take_joined();
        self.set_activity(Activity::Idle, now, sample, actions);
        if joined && change != Change::Changed {
            self.retry_unknown_kid(is_sufficient, now, sample, actions);
        }
        // A fetch that has just started looks for absent kids, too.
        if absent_joined && self.activity == Activity::Idle {
            self.record_absent_kid(now, sample, actions);
        }
        if signature_joined {
            self.record_invalid_signature(now, sample, actions);
        }
    }

    /// Processes a failed fetch. The current keys and their times do not change.
    fn record_failure(
        &mut self,
        error: RefreshError,
        retry_after: Option<Duration>,
        now: Monotonic,
        sample: Sample,
        actions: &mut Vec<Action>,
    ) {
        let own = self.next_backoff(now, sample.first);
        let longest = self.retry_after_limit(own, now);
        let requested = retry_after.map(|span| span.min(longest)).filter(|span| *span > own);
        let pause = requested.unwrap_or(own);
        let set_by = if requested.is_some() { BackoffSource::RetryAfter } else { BackoffSource::Policy };
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error);
        // The retry may get its response from an HTTP cache. A kid that needs a fetch that bypasses caches therefore schedules
        // another one, but not again if that one fails: it may fail each time although the retry succeeds.
        if self.in_flight().is_some_and(RefreshCause::bypasses_caches) {
            self.unknown_kids.pending.restore_replaced();
            self.absent_kids.pending.restore_replaced();
            if self.unknown_kids.pending.take_joined() {
                self.unknown_kids.pending.schedule_follow_up();
            }
        }
        if self.in_flight().is_some_and(RefreshCause::is_triggered_by_token) {
            self.token_failures.record_failure(now, &self.policy);
        }
        if self.in_flight() == Some(RefreshCause::AbsentKid) && self.absent_kids.is_requested {
            self.absent_kids.pending.schedule_follow_up();
        }
        actions.push(Action::NotifyFailed { error, consecutive: self.failures, next_in: pause });
        self.set_activity(Activity::Backoff { until: now.saturating_add(pause), set_by }, now, sample, actions);
    }

    /// Sets the activity after a fetch, or starts the queued fetch if there is one.
    fn set_activity(&mut self, activity: Activity, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        self.activity = activity;
        if let Some(cause) = self.queued_cause.take() {
            self.start_fetch(cause, now, sample, actions);
        }
    }

    fn start_fetch(&mut self, cause: RefreshCause, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        use RefreshError::{Redirect, Status, UnexpectedNotModified};
        let deadline = now.saturating_add(self.policy.operation_timeout);
        let conditional = match cause {
            RefreshCause::Scheduled => true,
            // The server, or something on the path, may have rejected the conditional request.
            RefreshCause::Retry => !matches!(self.last_error, Some(Status { .. } | Redirect | UnexpectedNotModified)),
            _ => false,
        };
        let condition = if conditional { Condition::IfNoneMatch } else { Condition::Always };
        self.generation = self.generation.saturating_add(1);
        self.activity = Activity::Fetching { cause, deadline };
        match cause {
            RefreshCause::UnknownKid => self.unknown_kids.record_fetch(now, sample.second),
            RefreshCause::InvalidSignature => self.signatures.record_fetch(now, sample.second),
            _ => {}
        }
        if matches!(cause, RefreshCause::UnknownKid | RefreshCause::AbsentKid) {
            self.kid_fetches.record(now);
        }
        if cause.bypasses_caches() {
            self.unknown_kids.pending.replace_follow_up(cause == RefreshCause::UnknownKid);
            self.absent_kids.record_bypass(cause, now);
        }
        actions.push(Action::Fetch(FetchOrder { generation: self.generation, cause, condition, deadline }));
    }

    /// Returns the longest `Retry-After` that is accepted. A response to a fetch that a token triggered, or to the retry of one,
    /// does not delay the scheduled refresh: clients can trigger such fetches, and the scheduled request may be answered
    /// differently.
    fn retry_after_limit(&self, own: Duration, now: Monotonic) -> Duration {
        let longest = self.policy.retry_after_max;
        let Some(times) = self.times else { return longest };
        match self.in_flight() {
            Some(cause) if cause.is_triggered_by_token() => {}
            Some(RefreshCause::Retry) if now < times.refresh_at => {}
            _ => return longest,
        }
        longest.min(times.refresh_at.saturating_since(now).max(own))
    }

    fn next_backoff(&self, now: Monotonic, jitter: Jitter) -> Duration {
        let usable = self.times.is_some_and(|times| times.freshness_state(now) < FreshnessState::Expired);
        let longest = if usable { self.policy.backoff_max } else { self.policy.backoff_max_unavailable };
        jitter.backoff(self.policy.backoff_min, longest, self.failures)
    }
}

#[cfg(test)]
mod tests;
