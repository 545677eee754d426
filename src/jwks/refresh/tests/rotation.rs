//! G3 and G4: while the issuer answers, a new key is usable within the longest cool-down and one operation of the first
//! request that needs it, and a removed one goes within a period and an operation, whatever else is asked for.

use std::time::Duration;

use proptest::prelude::*;

use crate::clock::Monotonic;
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::simulation::{SECOND, Simulation, loaded};
use crate::jwks::refresh::{Action, Change, Event};

const TICK: Duration = Duration::from_millis(100);

/// An issuer that answers each fetch after a while, with the set of the moment when it was asked.
struct Issuer {
    simulation: Simulation,
    /// How long the answers take, in turn.
    delays: Vec<u16>,
    /// The answer under way: when it lands, and whether it has the new key.
    answer: Option<(Monotonic, bool)>,
    /// When the set in use was asked for.
    asked_at: Monotonic,
    is_published: bool,
    is_known: bool,
}

impl Issuer {
    fn new(delays: Vec<u16>) -> Self {
        let simulation = Simulation::loaded();
        let asked_at = simulation.now;
        Self { simulation, delays, answer: None, asked_at, is_published: false, is_known: false }
    }

    fn miss(&mut self) {
        let last_reported = self.simulation.step(Event::UnknownKid);
        self.take(&last_reported);
    }

    fn take(&mut self, last_reported: &[Action]) {
        if last_reported.iter().any(|action| matches!(action, Action::Fetch(_))) {
            let fetches = self.simulation.begun.len();
            let delay = Duration::from_millis(u64::from(self.delays[fetches % self.delays.len()]));
            self.answer = Some((self.simulation.now.saturating_add(delay), self.is_published));
        }
    }

    /// One tick, in which timers fire and answers land at their moments.
    fn tick(&mut self) {
        let end = self.simulation.now.saturating_add(TICK);
        loop {
            let lands_at = self.answer.map(|(at, _)| at);
            let wake_at = self.simulation.machine.wake_at();
            let Some(next) = [lands_at, wake_at].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.simulation.now = self.simulation.now.max(next);
            let last_reported = match self.answer.filter(|(at, _)| *at == next) {
                Some((_, has_key)) => {
                    self.answer = None;
                    self.asked_at = self.simulation.begun.last().expect("it was begun").0;
                    let is_new = has_key && !self.is_known;
                    self.is_known |= has_key;
                    self.simulation.finish(loaded(if is_new { Change::Changed } else { Change::Same }))
                }
                None => self.simulation.step(Event::Timer),
            };
            self.take(&last_reported);
        }
        self.simulation.now = end;
    }
}

proptest! {
    #[test]
    fn a_new_key_is_usable_within_the_cool_down_and_an_operation(
        delays in proptest::collection::vec(0_u16..4900, 1..8),
        flood in proptest::collection::vec(any::<bool>(), 1..40),
        rolls in proptest::collection::vec(any::<(u32, u32)>(), 1..40),
        published_at in 0_usize..4000,
        needed_after in 0_usize..50,
        goes_on in any::<bool>(),
    ) {
        let mut issuer = Issuer::new(delays);
        let needed_at = published_at + needed_after;
        for tick in 0..needed_at + 210 {
            let (first, second) = rolls[tick % rolls.len()];
            issuer.simulation.sample = Sample { first: Jitter(first), second: Jitter(second) };
            issuer.is_published |= tick >= published_at;
            let is_needed = tick == needed_at && !issuer.is_known;
            if is_needed || flood[tick % flood.len()] && (tick < needed_at || goes_on) {
                issuer.miss();
            }
            issuer.tick();
        }
        let policy = RefreshPolicy::new();
        let promised = policy.unknown_kid_cooldown_max + policy.operation_timeout;
        prop_assert_eq!(promised + SECOND, 210 * TICK, "one second for the ticks");
        prop_assert!(issuer.is_known, "{:?}", issuer.simulation.machine);
    }

    /// G4: what is in use is what the issuer said within the last period and operation, so that what it has removed is not.
    #[test]
    fn a_removed_key_goes_within_the_period_and_an_operation(
        delays in proptest::collection::vec(0_u16..4900, 1..8),
        flood in proptest::collection::vec(any::<bool>(), 1..40),
        rolls in proptest::collection::vec(any::<(u32, u32)>(), 1..40),
    ) {
        let mut issuer = Issuer::new(delays);
        let policy = RefreshPolicy::new();
        let promised = policy.refresh_every + policy.operation_timeout;
        for tick in 0..6000 {
            let (first, second) = rolls[tick % rolls.len()];
            issuer.simulation.sample = Sample { first: Jitter(first), second: Jitter(second) };
            if flood[tick % flood.len()] {
                issuer.miss();
            }
            issuer.tick();
            let age = issuer.simulation.now.saturating_since(issuer.asked_at);
            prop_assert!(age <= promised, "{:?} at {}", age, tick);
        }
    }

    /// When all is quiet, by the very request that needs it.
    #[test]
    fn a_new_key_is_usable_after_one_fetch_when_all_is_quiet(delay in 1_u16..4900, quiet in 0_usize..1900) {
        let mut issuer = Issuer::new(vec![delay]);
        for _ in 0..quiet {
            issuer.tick();
        }
        issuer.is_published = true;
        issuer.miss();
        for _ in 0..=usize::from(delay) / 100 {
            issuer.tick();
        }
        prop_assert!(issuer.is_known);
    }
}
