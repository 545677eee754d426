//! The state machine with a simulated clock and issuer, and a record of its fetches.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::fetch::FetchError;
use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::{FreshnessState, Times};
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::{Action, Activity, Change, Event, FetchOrder, Outcome, Refresh};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) const DOWN: RefreshError = RefreshError::Network { error: FetchError::Connect };

/// A state machine under test.
pub(super) struct Simulation {
    pub(super) machine: Refresh,
    pub(super) now: Monotonic,
    pub(super) sample: Sample,
    pub(super) in_flight: Option<FetchOrder>,
    /// Every fetch that started.
    pub(super) started: Vec<(Monotonic, RefreshCause)>,
    /// Every change of the set.
    pub(super) changes: Vec<Monotonic>,
    pub(super) published: Option<Times>,
}

impl Simulation {
    pub(super) fn new() -> Self {
        Self::with(RefreshPolicy::new())
    }

    pub(super) fn with(policy: RefreshPolicy) -> Self {
        Self {
            machine: Refresh::new(policy),
            now: Monotonic::from_origin(1000 * SECOND),
            sample: Sample { first: Jitter(u32::MAX), second: Jitter(u32::MAX) },
            in_flight: None,
            started: Vec::new(),
            changes: Vec::new(),
            published: None,
        }
    }

    /// Creates a machine that has loaded its first set.
    pub(super) fn loaded() -> Self {
        Self::loaded_with(RefreshPolicy::new())
    }

    pub(super) fn loaded_with(policy: RefreshPolicy) -> Self {
        let mut simulation = Self::with(policy);
        simulation.step(Event::Begin);
        simulation.finish(loaded(Change::Changed));
        simulation
    }

    /// Performs one step, and asserts the invariants that hold after every step.
    pub(super) fn step(&mut self, event: Event) -> Vec<Action> {
        let times_before = self.machine.times;
        let actions = self.machine.step(event, self.now, self.sample);
        let mut was_published = false;
        for action in &actions {
            match action {
                Action::Fetch(order) => {
                    assert!(self.in_flight.is_none(), "two fetches at once after {event:?}: {actions:?}");
                    self.in_flight = Some(*order);
                    self.started.push((self.now, order.cause));
                }
                Action::Abort => self.in_flight = None,
                Action::Publish(times) => {
                    was_published = true;
                    self.published = Some(*times);
                    assert_eq!(times.confirmed_at, self.now);
                    assert!(times.refresh_at <= times.stale_at && times.stale_at <= times.expires_at, "{times:?}");
                }
                Action::Close => self.in_flight = None,
                _ => {}
            }
        }
        let may_change_times = was_published || event == Event::Expire;
        assert!(may_change_times || self.machine.times == times_before, "{event:?} changed the times of the keys");
        self.check_liveness();
        actions
    }

    /// G7: a fetch is in flight, or a timer is armed for the next one.
    fn check_liveness(&self) {
        let fetching = matches!(self.machine.activity(), Activity::Fetching { .. });
        assert_eq!(fetching, self.in_flight.is_some());
        match self.machine.activity() {
            Activity::NotStarted | Activity::Closed => assert_eq!(self.machine.wake_at(), None),
            _ => assert!(self.machine.wake_at() <= self.machine.next_attempt() && self.machine.wake_at().is_some()),
        }
    }

    pub(super) fn finish(&mut self, outcome: Outcome) -> Vec<Action> {
        let order = self.in_flight.take().expect("a fetch is in flight");
        if matches!(outcome, Outcome::Loaded { change: Change::Changed, .. }) {
            self.changes.push(self.now);
        }
        self.step(Event::Finished { generation: order.generation, outcome })
    }

    /// Advances the time from timer to timer. `answer` returns the outcome of each fetch, or `None` if it hangs.
    pub(super) fn run(&mut self, span: Duration, mut answer: impl FnMut(&FetchOrder) -> Option<Outcome>) {
        let end = self.now.saturating_add(span);
        loop {
            while let Some(outcome) = self.in_flight.as_ref().and_then(&mut answer) {
                self.finish(outcome);
            }
            match self.machine.wake_at().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break self.now = end,
            }
            self.step(Event::Timer);
        }
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
    }

    pub(super) fn freshness_state(&self) -> Option<FreshnessState> {
        self.published.map(|times| times.freshness_state(self.now))
    }

    /// Returns the largest number of fetches with such a cause in any window of a minute.
    pub(super) fn busiest_minute(&self, counts: impl Fn(RefreshCause) -> bool) -> usize {
        let starts: Vec<Monotonic> =
            self.started.iter().filter(|(_, cause)| counts(*cause)).map(|(at, _)| *at).collect();
        let within = |from: Monotonic| {
            starts.iter().filter(|at| **at >= from && at.saturating_since(from) < 60 * SECOND).count()
        };
        starts.iter().map(|from| within(*from)).max().unwrap_or_default()
    }
}

pub(super) fn loaded(change: Change) -> Outcome {
    Outcome::Loaded { remaining: None, change }
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed { error: DOWN, retry_after: None }
}

/// Returns the cause of the fetch among the actions.
pub(super) fn fetch(actions: &[Action]) -> Option<RefreshCause> {
    actions.iter().find_map(|action| match action {
        Action::Fetch(order) => Some(order.cause),
        _ => None,
    })
}

/// Advances the time to the armed timer, and fires it.
pub(super) fn fire(simulation: &mut Simulation) -> Vec<Action> {
    simulation.now = simulation.machine.wake_at().expect("armed");
    simulation.step(Event::Timer)
}

pub(super) fn time_to_next_attempt(simulation: &Simulation) -> Duration {
    simulation.machine.next_attempt().expect("armed").saturating_since(simulation.now)
}

pub(super) fn rounded(span: Duration) -> u64 {
    (span + SECOND / 2).as_secs()
}
