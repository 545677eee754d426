//! The state machine of the key source: `step(event, now, sample) → actions`. No input or output, no task, no clock.
//!
//! The data are empty, or fresh, aging, stale, expired by their [`Times`]; the activity is idle, fetching or backing
//! off. Whatever happens, either a fetch is in flight or a time is armed, until the source is closed.

mod event;
mod unknown_kids;

use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::{FreshnessState, Phase, Times};
use crate::jwks::jitter::{self, Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::unknown_kids::UnknownKidLimiter;

pub use self::event::RefreshCause;
pub(super) use self::event::{Action, Change, Condition, Event, FetchOrder, Outcome, RefreshCause as Cause};

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct Refresh {
    policy: RefreshPolicy,
    activity: Activity,
    generation: u64,
    times: Option<Times>,
    /// From when on no key may be used; `None` before anybody asked for one.
    unusable_from: Option<Monotonic>,
    /// The last standing that was told.
    last_reported: Option<FreshnessState>,
    failures: u32,
    last_error: Option<RefreshError>,
    demand: Option<Cause>,
    unknown_kids: UnknownKidLimiter,
    /// A runtime ended with a fetch in flight, and none has brought keys since.
    was_interrupted: bool,
}

/// What the machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nobody has asked for keys yet.
    NotStarted,
    /// Waiting for the next refresh.
    Idle,
    /// A fetch is in flight.
    Fetching { cause: Cause, deadline: Monotonic },
    /// Waiting after a failure; `last_reported` by the server, or by our own reckoning.
    Backoff { until: Monotonic, ruled_by: Pause },
    /// The end.
    Closed,
}

/// Who set the length of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Us,
    Server,
}

impl Refresh {
    pub(super) fn new(policy: RefreshPolicy) -> Self {
        Self {
            policy,
            activity: Activity::NotStarted,
            generation: 0,
            times: None,
            unusable_from: None,
            last_reported: None,
            failures: 0,
            last_error: None,
            demand: None,
            unknown_kids: UnknownKidLimiter::default(),
            was_interrupted: false,
        }
    }

    pub(super) fn step(&mut self, event: Event, now: Monotonic, sample: Sample) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.activity == Activity::Closed {
            return actions;
        }
        self.tell_standing(now, sample, &mut actions);
        match event {
            Event::Begin if self.activity == Activity::NotStarted => {
                self.unusable_from = Some(now);
                self.fetch(Cause::Initial, now, sample, &mut actions);
            }
            Event::Begin => {}
            Event::Timer => self.timer(now, sample, &mut actions),
            Event::UnknownKid => self.miss(now, sample, &mut actions),
            Event::FetchNow(cause) => self.fetch_requested(cause, now, sample, &mut actions),
            Event::Finished { generation, outcome } => self.finished(generation, outcome, now, sample, &mut actions),
            Event::Expire => self.expire(now, sample, &mut actions),
            Event::Interrupted(error) => self.interrupted(error, now, sample, &mut actions),
            Event::Close => {
                self.activity = Activity::Closed;
                self.unusable_from = Some(self.unusable_from.map_or(now, |from| from.min(now)));
                actions.push(Action::Close);
            }
        }
        actions
    }

    /// Makes the keys at hand older by `span`, which the monotonic clock did not count.
    pub(super) fn age_by(&mut self, span: Duration) {
        self.times = self.times.map(|times| times.older_by(span));
        self.unusable_from = self.times.map_or(self.unusable_from, |times| Some(times.expires_at));
    }

    /// When [`Event::Timer`] is due; `None` only before the start and after the end.
    pub(super) fn wake_at(&self) -> Option<Monotonic> {
        let due = match self.activity {
            Activity::NotStarted | Activity::Closed => return None,
            _ => self.next_attempt()?,
        };
        let next_standing = self.times.and_then(|times| match self.last_reported {
            None | Some(FreshnessState::Expired) => None,
            Some(FreshnessState::Stale) => Some(times.expires_at),
            Some(FreshnessState::Fresh | FreshnessState::Aging) => Some(times.stale_at),
        });
        Some(next_standing.map_or(due, |freshness_state| freshness_state.min(due)))
    }

    /// When the next fetch starts, or the one in flight must be over.
    pub(super) fn next_attempt(&self) -> Option<Monotonic> {
        match self.activity {
            Activity::NotStarted | Activity::Closed => None,
            Activity::Fetching { deadline, .. } => Some(deadline),
            Activity::Backoff { until, .. } => Some(until),
            Activity::Idle => {
                let scheduled = self.times.unwrap_or(Times::NEVER).refresh_at;
                Some(if self.unknown_kids.has_follow_up() {
                    scheduled.min(self.unknown_kid_fetch_from())
                } else {
                    scheduled
                })
            }
        }
    }

    /// From when on a miss may start a fetch.
    pub(super) fn unknown_kid_fetch_from(&self) -> Monotonic {
        self.unknown_kids.fetch_from(&self.policy)
    }

    pub(super) fn has_follow_up_fetch(&self) -> bool {
        self.unknown_kids.has_follow_up()
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

    /// From when on no key may be used, be it past or to come; `None` before anybody asked for one.
    pub(super) fn unusable_from(&self) -> Option<Monotonic> {
        self.unusable_from
    }

    pub(super) fn last_error(&self) -> Option<RefreshError> {
        self.last_error
    }

    /// Notices that time has moved the data from one standing to another.
    fn tell_standing(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        let (Some(times), Some(last_reported)) = (self.times, self.last_reported) else { return };
        let freshness_state = times.freshness_state(now);
        if freshness_state == FreshnessState::Stale && last_reported < FreshnessState::Stale {
            actions.push(Action::NotifyStale { remaining: times.expires_at.saturating_since(now) });
        }
        if freshness_state == FreshnessState::Expired && last_reported < FreshnessState::Expired {
            actions.push(Action::NotifyExpired);
            self.bring_forward(now, sample.first);
        }
        self.last_reported = Some(last_reported.max(freshness_state));
    }

    fn expire(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        let Some(times) = self.times.map(|times| times.ended(now)) else { return };
        self.times = Some(times);
        self.unusable_from = Some(times.expires_at);
        self.tell_standing(now, sample, actions);
    }

    /// The service is down from now on: a long pause that began before is cut short, unless the server asked for it.
    fn bring_forward(&mut self, now: Monotonic, jitter: Jitter) {
        if let Activity::Backoff { until, ruled_by: Pause::Us } = &mut self.activity {
            let longest = equal_jitter(self.policy.backoff_max_unavailable, jitter);
            *until = (*until).min(now.saturating_add(longest));
        }
    }

    fn timer(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        match self.activity {
            Activity::NotStarted | Activity::Closed => {}
            Activity::Idle if self.unknown_kids.has_follow_up() && now >= self.unknown_kid_fetch_from() => {
                self.fetch(Cause::UnknownKid, now, sample, actions);
            }
            Activity::Idle if now >= self.times.unwrap_or(Times::NEVER).refresh_at => {
                self.fetch(Cause::Scheduled, now, sample, actions);
            }
            Activity::Backoff { until, .. } if now >= until => self.fetch(Cause::Retry, now, sample, actions),
            Activity::Fetching { deadline, .. } if now >= deadline => {
                actions.push(Action::Abort);
                self.failed(RefreshError::Timeout, None, now, sample, actions);
            }
            Activity::Idle | Activity::Backoff { .. } | Activity::Fetching { .. } => {}
        }
    }

    /// A miss starts a fetch only from rest: in flight it is joined, after a failure the backoff rules, and within the
    /// cool-down it is owed one at the end, so that a published key is found without another request.
    fn miss(&mut self, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        self.unknown_kids.seen(now, &self.policy);
        match self.activity {
            Activity::Fetching { .. } => self.unknown_kids.join(),
            Activity::Idle if now >= self.unknown_kid_fetch_from() => {
                self.fetch(Cause::UnknownKid, now, sample, actions);
                self.unknown_kids.join();
            }
            Activity::Idle => self.unknown_kids.schedule_follow_up(),
            Activity::NotStarted | Activity::Backoff { .. } | Activity::Closed => {}
        }
    }

    /// A fetch brought nothing new to a miss that waited for it. One past all caches is followed by another at the end of
    /// the cool-down, any other by one of the miss's own, whether or not anybody still waits.
    fn unknown_kid_seen(&mut self, was_fresh: bool, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        if was_fresh && self.activity == Activity::Idle {
            self.unknown_kids.schedule_follow_up();
        } else {
            self.miss(now, sample, actions);
        }
    }

    /// A fetch in flight may have begun before the change that the caller knows of: it gets its own after that one.
    fn fetch_requested(&mut self, cause: Cause, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        match self.activity {
            Activity::Fetching { .. } => self.demand = Some(cause),
            _ => self.fetch(cause, now, sample, actions),
        }
    }

    fn finished(
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
            Outcome::Loaded { remaining, change } => self.confirmed(remaining, change, now, sample, actions),
            Outcome::NotModified { remaining } => self.confirmed(remaining, Change::Same, now, sample, actions),
            Outcome::Failed { error, retry_after } => self.failed(error, retry_after, now, sample, actions),
        }
    }

    fn in_flight(&self) -> Option<Cause> {
        match self.activity {
            Activity::Fetching { cause, .. } => Some(cause),
            _ => None,
        }
    }

    fn interrupted(&mut self, error: RefreshError, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        match self.activity {
            // Not the issuer's failure: the next task, on another runtime, fetches at once. If that one dies as well,
            // runtimes come and go faster than the issuer answers, and must not ask it each time.
            Activity::Fetching { .. } if error == RefreshError::Interrupted && !self.was_interrupted => {
                self.was_interrupted = true;
                self.activity = Activity::Backoff { until: now, ruled_by: Pause::Us };
            }
            Activity::Fetching { .. } => {
                // Nobody is left to carry a fetch: one that was demanded comes after the next.
                let demand = self.demand.take();
                self.failed(error, None, now, sample, actions);
                self.demand = demand;
            }
            _ => {}
        }
    }

    fn confirmed(
        &mut self,
        remaining: Option<Duration>,
        change: Change,
        now: Monotonic,
        sample: Sample,
        actions: &mut Vec<Action>,
    ) {
        let was_fresh = self.in_flight().is_some_and(Cause::is_fresh);
        let phase = if self.times.is_none() { Phase::First } else { Phase::Later };
        let times = Times::new(remaining, &self.policy, phase, now, sample);
        actions.push(Action::Publish(times));
        if self.last_reported >= Some(FreshnessState::Stale) {
            actions.push(Action::NotifyRecovered);
        }
        self.times = Some(times);
        self.unusable_from = Some(times.expires_at);
        self.last_reported = Some(FreshnessState::Fresh);
        self.failures = 0;
        self.last_error = None;
        self.was_interrupted = false;
        if change == Change::Changed {
            self.unknown_kids.record_change(now, &self.policy);
        }
        let joined = self.unknown_kids.take_joined();
        self.set_activity(Activity::Idle, now, sample, actions);
        // Who does not find its key in a set that changed asks again.
        if joined && change == Change::Same {
            self.unknown_kid_seen(was_fresh, now, sample, actions);
        }
    }

    /// The keys at hand stay as they are; a failure moves none of their times.
    fn failed(
        &mut self,
        error: RefreshError,
        retry_after: Option<Duration>,
        now: Monotonic,
        sample: Sample,
        actions: &mut Vec<Action>,
    ) {
        let own = self.backoff(now, sample.first);
        let longest = self.longest_backoff(own, now);
        let asked = retry_after.map(|asked| asked.min(longest)).filter(|asked| *asked > own);
        let pause = asked.unwrap_or(own);
        let ruled_by = if asked.is_some() { Pause::Server } else { Pause::Us };
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error);
        // The retry may be answered by a cache; a miss that waited for less than that waits for the retry.
        if self.in_flight().is_some_and(Cause::is_fresh) && self.unknown_kids.take_joined() {
            self.unknown_kids.schedule_follow_up();
        }
        actions.push(Action::NotifyFailed { error, consecutive: self.failures, next_in: pause });
        self.set_activity(Activity::Backoff { until: now.saturating_add(pause), ruled_by }, now, sample, actions);
    }

    /// Enters a pause, unless somebody is waiting for a fetch of its own.
    fn set_activity(&mut self, activity: Activity, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        self.activity = activity;
        if let Some(cause) = self.demand.take() {
            self.fetch(cause, now, sample, actions);
        }
    }

    fn fetch(&mut self, cause: Cause, now: Monotonic, sample: Sample, actions: &mut Vec<Action>) {
        use RefreshError::{Redirect, Status, UnexpectedNotModified};
        let deadline = now.saturating_add(self.policy.operation_timeout);
        let conditional = match cause {
            Cause::Scheduled => true,
            // It may have been the validator that the server, or something on the way, did not like.
            Cause::Retry => !matches!(self.last_error, Some(Status { .. } | Redirect | UnexpectedNotModified)),
            _ => false,
        };
        let condition = if conditional { Condition::IfNoneMatch } else { Condition::Always };
        self.generation = self.generation.saturating_add(1);
        self.activity = Activity::Fetching { cause, deadline };
        if cause == Cause::UnknownKid {
            self.unknown_kids.record_fetch(now, sample.second);
        }
        if cause.is_fresh() {
            self.unknown_kids.clear_follow_up();
        }
        actions.push(Action::Fetch(FetchOrder { generation: self.generation, cause, condition, deadline }));
    }

    /// How long a server may tell us to stay away. What it tells a fetch that a stranger caused, or the retry of one, does not
    /// put off the scheduled refresh, which may be answered otherwise.
    fn longest_backoff(&self, own: Duration, now: Monotonic) -> Duration {
        let longest = self.policy.retry_after_max;
        let Some(times) = self.times else { return longest };
        match self.in_flight() {
            Some(Cause::UnknownKid) => {}
            Some(Cause::Retry) if now < times.refresh_at => {}
            _ => return longest,
        }
        longest.min(times.refresh_at.saturating_since(now).max(own))
    }

    fn backoff(&self, now: Monotonic, jitter: Jitter) -> Duration {
        let usable = self.times.is_some_and(|times| times.freshness_state(now) < FreshnessState::Expired);
        let longest = if usable { self.policy.backoff_max } else { self.policy.backoff_max_unavailable };
        equal_jitter(doubled(self.policy.backoff_min, self.failures).min(longest), jitter)
    }
}

/// Half of the pause is certain, so that the number of attempts has a hard bound, which full jitter has not.
fn equal_jitter(pause: Duration, jitter: Jitter) -> Duration {
    jitter.between(jitter::percent(pause, 50), pause)
}

fn doubled(span: Duration, times: u32) -> Duration {
    span.saturating_mul(2_u32.saturating_pow(times))
}

#[cfg(test)]
mod tests;
