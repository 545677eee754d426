//! Property tests of G3 and G4. While the issuer responds, a new key is usable within the longest cool-down plus one
//! operation after the first request that needs it. A removed key is dropped within a refresh interval plus one operation.

use std::time::Duration;

use proptest::prelude::*;

use crate::clock::Monotonic;
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::simulation::{SECOND, Simulation, loaded};
use crate::jwks::refresh::{Action, Change, Event};

pub(super) const TICK: Duration = Duration::from_millis(100);

/// An issuer that responds to each fetch after a delay, with the set at the time of the request.
pub(super) struct Issuer {
    pub(super) simulation: Simulation,
    /// The delays of the replies in milliseconds, in rotation.
    delays: Vec<u16>,
    /// The reply in flight: when it arrives, and whether it has the new key.
    reply: Option<(Monotonic, bool)>,
    /// When the set in use was requested.
    requested_at: Monotonic,
    pub(super) is_published: bool,
    pub(super) is_known: bool,
}

impl Issuer {
    pub(super) fn new(delays: Vec<u16>) -> Self {
        let simulation = Simulation::loaded();
        let requested_at = simulation.now;
        Self { simulation, delays, reply: None, requested_at, is_published: false, is_known: false }
    }

    fn unknown_kid(&mut self) {
        self.send(Event::UnknownKid);
    }

    pub(super) fn send(&mut self, event: Event) {
        let actions = self.simulation.step(event);
        self.perform(&actions);
    }

    fn perform(&mut self, actions: &[Action]) {
        if actions.iter().any(|action| matches!(action, Action::Fetch(_))) {
            let fetches = self.simulation.started.len();
            let delay = Duration::from_millis(u64::from(self.delays[fetches % self.delays.len()]));
            self.reply = Some((self.simulation.now.saturating_add(delay), self.is_published));
        }
    }

    /// Advances the time by a tick; timers fire and replies arrive at their exact times.
    pub(super) fn tick(&mut self) {
        let end = self.simulation.now.saturating_add(TICK);
        loop {
            let arrives_at = self.reply.map(|(at, _)| at);
            let wake_at = self.simulation.machine.wake_at();
            let Some(next) = [arrives_at, wake_at].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.simulation.now = self.simulation.now.max(next);
            let actions = match self.reply.filter(|(at, _)| *at == next) {
                Some((_, has_key)) => {
                    self.reply = None;
                    self.requested_at = self.simulation.started.last().expect("it was started").0;
                    let is_new = has_key && !self.is_known;
                    self.is_known |= has_key;
                    self.simulation.finish(loaded(if is_new { Change::Changed } else { Change::Same }))
                }
                None => self.simulation.step(Event::Timer),
            };
            self.perform(&actions);
        }
        self.simulation.now = end;
    }
}

proptest! {
    #[test]
    fn a_new_key_is_usable_within_the_cool_down_and_an_operation(
        delays in proptest::collection::vec(0_u16..4900, 1..8),
        flood in proptest::collection::vec(any::<bool>(), 1..40),
        samples in proptest::collection::vec(any::<(u32, u32)>(), 1..40),
        published_at in 0_usize..4000,
        needed_after in 0_usize..50,
        flood_continues in any::<bool>(),
    ) {
        let mut issuer = Issuer::new(delays);
        let needed_at = published_at + needed_after;
        for tick in 0..needed_at + 210 {
            let (first, second) = samples[tick % samples.len()];
            issuer.simulation.sample = Sample { first: Jitter(first), second: Jitter(second) };
            issuer.is_published |= tick >= published_at;
            let is_needed = tick == needed_at && !issuer.is_known;
            if is_needed || flood[tick % flood.len()] && (tick < needed_at || flood_continues) {
                issuer.unknown_kid();
            }
            issuer.tick();
        }
        let policy = RefreshPolicy::new();
        let limit = policy.unknown_kid_cooldown_max + policy.operation_timeout;
        prop_assert_eq!(limit + SECOND, 210 * TICK, "one second for the ticks");
        prop_assert!(issuer.is_known, "{:?}", issuer.simulation.machine);
    }

    /// G4: the set in use was requested within the last refresh interval plus one operation, so removed keys are not in it.
    #[test]
    fn drops_a_removed_key_within_the_refresh_interval_and_an_operation(
        delays in proptest::collection::vec(0_u16..4900, 1..8),
        flood in proptest::collection::vec(any::<bool>(), 1..40),
        samples in proptest::collection::vec(any::<(u32, u32)>(), 1..40),
    ) {
        let mut issuer = Issuer::new(delays);
        let policy = RefreshPolicy::new();
        let limit = policy.refresh_interval + policy.operation_timeout;
        for tick in 0..6000 {
            let (first, second) = samples[tick % samples.len()];
            issuer.simulation.sample = Sample { first: Jitter(first), second: Jitter(second) };
            if flood[tick % flood.len()] {
                issuer.unknown_kid();
            }
            issuer.tick();
            let age = issuer.simulation.now.saturating_since(issuer.requested_at);
            prop_assert!(age <= limit, "{:?} at {}", age, tick);
        }
    }

    /// Without other unknown kids, the fetch of the request itself loads the key.
    #[test]
    fn a_new_key_is_usable_after_one_fetch_without_a_flood(delay in 1_u16..4900, quiet in 0_usize..1900) {
        let mut issuer = Issuer::new(vec![delay]);
        for _ in 0..quiet {
            issuer.tick();
        }
        issuer.is_published = true;
        issuer.unknown_kid();
        for _ in 0..=usize::from(delay) / 100 {
            issuer.tick();
        }
        prop_assert!(issuer.is_known);
    }
}
