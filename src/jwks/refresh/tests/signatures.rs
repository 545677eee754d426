//! Tests of T14: fetches for signatures that no known key verifies.

use crate::jwks::cause::RefreshCause;
use crate::jwks::jitter::Jitter;
use crate::jwks::refresh::tests::simulation::{
    DOWN, SECOND, Simulation, failed, fetch, fire, loaded, time_to_next_attempt,
};
use crate::jwks::refresh::{Change, Condition, Event, Outcome};

const INVALID_SIGNATURE: Option<RefreshCause> = Some(RefreshCause::InvalidSignature);

#[test]
fn t14_an_invalid_signature_starts_one_fetch_a_minute() {
    for (jitter, expected) in [(0, [0, 60, 120, 180, 240]), (u32::MAX, [0, 66, 132, 198, 264])] {
        let mut simulation = Simulation::loaded();
        simulation.sample.second = Jitter(jitter);
        let start = simulation.now;
        let mut started = Vec::new();
        for _ in 0..2700 {
            if fetch(&simulation.step(Event::InvalidSignature)) == INVALID_SIGNATURE {
                started.push(simulation.now.saturating_since(start).as_secs());
            }
            simulation.run(SECOND / 10, |_| Some(loaded(Change::Same)));
        }
        assert_eq!(started, expected, "{jitter}");
    }
}

#[test]
fn t14_the_fetch_bypasses_caches_and_schedules_nothing() {
    let mut simulation = Simulation::loaded();
    assert_eq!(fetch(&simulation.step(Event::InvalidSignature)), INVALID_SIGNATURE);
    assert_eq!(simulation.in_flight.map(|order| order.condition), Some(Condition::Always));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);
    assert_eq!(simulation.step(Event::InvalidSignature), []);
    let refresh_at = simulation.published.map(|times| times.refresh_at);
    assert_eq!(simulation.machine.next_attempt(), refresh_at, "only the scheduled refresh is armed");
}

/// Its budget and those of unknown and absent kids are separate.
#[test]
fn t14_does_not_affect_the_fetches_for_kids() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::InvalidSignature);
    simulation.finish(loaded(Change::Same));
    assert_eq!(fetch(&simulation.step(Event::UnknownKid)), Some(RefreshCause::UnknownKid));
    simulation.finish(loaded(Change::Same));
    fire(&mut simulation);
    simulation.finish(loaded(Change::Same));
    simulation.pass(66 * SECOND);
    assert_eq!(fetch(&simulation.step(Event::InvalidSignature)), INVALID_SIGNATURE);
}

/// A fetch for an invalid signature may have started before a new key was published.
#[test]
fn t14_an_unknown_kid_that_joined_is_fetched_again() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::InvalidSignature);
    assert_eq!(simulation.step(Event::UnknownKid), []);
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), Some(RefreshCause::UnknownKid));
}

#[test]
fn t14_fetches_after_a_fetch_that_a_cache_may_have_answered() {
    for change in [Change::Same, Change::Changed] {
        let mut simulation = Simulation::loaded();
        fire(&mut simulation);
        assert_eq!(simulation.step(Event::InvalidSignature), []);
        assert_eq!(fetch(&simulation.finish(loaded(change))), INVALID_SIGNATURE);
        assert_eq!(simulation.step(Event::InvalidSignature), []);
        assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None, "it is the same fetch");
    }
}

#[test]
fn t14_starts_no_fetch_in_a_backoff() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::InvalidSignature);
    simulation.finish(failed());
    simulation.pass(SECOND / 2);
    assert_eq!(simulation.step(Event::InvalidSignature), []);
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);
}

/// F35: everyone can send such a token.
#[test]
fn t14_retry_after_does_not_delay_the_refresh() {
    let mut simulation = Simulation::loaded();
    let refresh_at = simulation.published.expect("loaded").refresh_at;
    simulation.step(Event::InvalidSignature);
    simulation.finish(Outcome::Failed { error: DOWN, retry_after: Some(300 * SECOND) });
    assert!(simulation.machine.next_attempt() <= Some(refresh_at), "{:?}", time_to_next_attempt(&simulation));
}
