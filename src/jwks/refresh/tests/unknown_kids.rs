//! Tests of each transition that an unknown kid causes.

use std::collections::HashMap;

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::freshness::Times;
use crate::jwks::jitter::Jitter;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::simulation::{
    DOWN, SECOND, Simulation, failed, fetch, fire, loaded, rounded, time_to_next_attempt,
};
use crate::jwks::refresh::{Change, Condition, Event, Outcome};

#[test]
fn t7_the_first_unknown_kid_after_the_initial_load_fetches() {
    let mut simulation = Simulation::loaded();
    assert_eq!(fetch(&simulation.step(Event::UnknownKid)), Some(RefreshCause::UnknownKid));
    assert_eq!(simulation.in_flight.map(|order| order.condition), Some(Condition::Always));
}

#[test]
fn t8_schedules_a_follow_up_for_an_unknown_kid_in_the_cool_down() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    assert_eq!(simulation.step(Event::UnknownKid), []);
    assert!(simulation.machine.has_follow_up_fetch());
    assert_eq!(rounded(time_to_next_attempt(&simulation)), 1);
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::UnknownKid));
    assert!(!simulation.machine.has_follow_up_fetch());
}

#[test]
fn t10_an_unknown_kid_joins_the_fetch_in_flight() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    assert_eq!(simulation.step(Event::UnknownKid), []);
    // Still unknown: the scheduled fetch starts no cool-down, and its reply may be from a cache.
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), Some(RefreshCause::UnknownKid));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);
    assert!(simulation.machine.has_follow_up_fetch());
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::UnknownKid));
    simulation.finish(loaded(Change::Same));
    assert!(!simulation.machine.has_follow_up_fetch(), "and no more fetches");
}

#[test]
fn t10_schedules_a_follow_up_for_an_unknown_kid_that_joined() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    simulation.now = simulation.published.expect("loaded").refresh_at;
    simulation.machine.unknown_kids.record_unknown_kid(simulation.now, &RefreshPolicy::new());
    simulation.machine.unknown_kids.record_fetch(simulation.now, Jitter(u32::MAX));
    simulation.machine.unknown_kids.pending.replace_follow_up(true);
    assert_eq!(fetch(&simulation.step(Event::Timer)), Some(RefreshCause::Scheduled));
    simulation.step(Event::UnknownKid);
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None, "the cool-down runs");
    assert!(simulation.machine.has_follow_up_fetch());
}

#[test]
fn t10_schedules_no_follow_up_when_the_joined_fetch_changes_the_set() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.step(Event::UnknownKid);
    assert_eq!(fetch(&simulation.finish(loaded(Change::Changed))), None);
    assert!(!simulation.machine.has_follow_up_fetch());
}

/// The `kid` of another token is not in the new set either. Its request may have ended.
#[test]
fn t10_schedules_a_follow_up_when_the_joined_fetch_changes_the_set_without_the_kid() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.step(Event::UnknownKid);
    assert_eq!(fetch(&simulation.finish(loaded(Change::ChangedWithoutKid))), None);
    assert!(simulation.machine.has_follow_up_fetch());
    assert_eq!(rounded(time_to_next_attempt(&simulation)), 1);
}

/// The follow-up fetch is due again if the fetch that replaced it fails, and not if it succeeds.
#[test]
fn t8_restores_the_follow_up_after_a_failed_fetch_of_another_cause() {
    for (event, cause) in [
        (Event::InvalidSignature, RefreshCause::InvalidSignature),
        (Event::FetchNow(RefreshCause::Reload), RefreshCause::Reload),
    ] {
        for (outcome, is_due) in [(failed(), true), (loaded(Change::Same), false)] {
            let mut simulation = Simulation::loaded();
            simulation.step(Event::UnknownKid);
            simulation.finish(loaded(Change::Same));
            simulation.step(Event::UnknownKid);
            assert!(simulation.machine.has_follow_up_fetch());
            assert_eq!(fetch(&simulation.step(event)), Some(cause));
            assert!(!simulation.machine.has_follow_up_fetch());
            simulation.finish(outcome);
            assert_eq!(simulation.machine.has_follow_up_fetch(), is_due, "{cause} {outcome:?}");
        }
    }
}

/// F24: a scheduled fetch in between, which a cache may answer, does not replace the follow-up fetch.
#[test]
fn t8_a_scheduled_fetch_keeps_the_follow_up() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    let due = simulation.machine.next_attempt();
    simulation.machine.times = simulation.machine.times.map(|times| Times { refresh_at: simulation.now, ..times });
    assert_eq!(fetch(&simulation.step(Event::Timer)), Some(RefreshCause::Scheduled));
    simulation.finish(Outcome::NotModified { remaining: None });
    assert_eq!((simulation.machine.has_follow_up_fetch(), simulation.machine.next_attempt()), (true, due));
}

/// F24: after a failed fetch for an unknown kid, a retry, which a cache may answer, is not enough: one follow-up fetch is
/// scheduled, and no more.
#[test]
fn t11_schedules_one_follow_up_after_a_failed_fetch_for_an_unknown_kid() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(failed());
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::UnknownKid));
    simulation.finish(failed());
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
    simulation.finish(loaded(Change::Same));
    assert!(!simulation.machine.has_follow_up_fetch());
}

/// Returns a machine with a fetch in flight: the scheduled one, or one for an unknown kid `ahead` seconds before it.
fn fetching(cause: RefreshCause, ahead: u32) -> Simulation {
    let mut simulation = Simulation::loaded_with(RefreshPolicy::new().with_strict_freshness());
    let refresh_at = simulation.published.expect("loaded").refresh_at;
    if cause == RefreshCause::UnknownKid {
        simulation.now = Monotonic::from_origin(refresh_at.since_origin() - ahead * SECOND);
        simulation.step(Event::UnknownKid);
    } else {
        fire(&mut simulation);
    }
    simulation
}

/// F35: `Retry-After` on a fetch for an unknown kid does not delay the scheduled fetch.
#[test]
fn t11_retry_after_for_an_unknown_kid_does_not_delay_the_refresh() {
    for (cause, longest) in [(RefreshCause::UnknownKid, 11), (RefreshCause::Scheduled, 300)] {
        let mut simulation = fetching(cause, 10);
        simulation.finish(Outcome::Failed { error: DOWN, retry_after: Some(300 * SECOND) });
        assert!(
            time_to_next_attempt(&simulation) <= longest * SECOND && time_to_next_attempt(&simulation) >= 10 * SECOND,
            "{cause:?}"
        );
    }
}

/// F35: the same for the retry of such a fetch. `Retry-After` on the retry of a refresh is honored.
#[test]
fn t11_retry_after_for_a_retry_of_it_does_not_delay_the_refresh() {
    for (cause, expected) in [(RefreshCause::UnknownKid, 100), (RefreshCause::Scheduled, 300)] {
        let mut simulation = fetching(cause, 101);
        simulation.finish(failed());
        assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
        simulation.finish(Outcome::Failed { error: DOWN, retry_after: Some(300 * SECOND) });
        assert_eq!(rounded(time_to_next_attempt(&simulation)), expected, "{cause:?}");
    }
}

/// F40d: the set differs at every fetch, for example if several servers have different sets.
#[test]
fn t13_limits_fetches_when_the_set_changes_at_every_fetch() {
    let mut simulation = Simulation::loaded();
    for _ in 0..3000 {
        simulation.step(Event::UnknownKid);
        simulation.run(SECOND / 10, |_| Some(loaded(Change::Changed)));
    }
    assert!(simulation.busiest_minute(|cause| cause == RefreshCause::UnknownKid) <= 8, "{:?}", simulation.started);
}

#[test]
fn t11_an_unknown_kid_during_the_backoff_starts_no_fetch() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.finish(failed());
    let armed = simulation.machine.wake_at();
    assert_eq!(simulation.step(Event::UnknownKid), []);
    assert_eq!((simulation.machine.wake_at(), simulation.machine.has_follow_up_fetch()), (armed, false));
}

#[test]
fn t12_the_cool_down_grows_with_each_unchanged_fetch() {
    let mut simulation = Simulation::loaded();
    let start = simulation.now;
    simulation.step(Event::UnknownKid);
    let mut at = Vec::new();
    for _ in 0..8 {
        at.push(rounded(simulation.now.saturating_since(start)));
        simulation.finish(loaded(Change::Same));
        simulation.step(Event::UnknownKid);
        fire(&mut simulation);
    }
    assert_eq!(at, [0, 1, 3, 7, 15, 30, 45, 60]);
}

#[test]
fn t12_the_cool_down_is_shortened_at_random() {
    for (jitter, expected) in [(0, 900), (u32::MAX / 2, 949), (u32::MAX, 999)] {
        let mut simulation = Simulation::loaded();
        simulation.sample.second = Jitter(jitter);
        simulation.step(Event::UnknownKid);
        simulation.finish(loaded(Change::Same));
        simulation.step(Event::UnknownKid);
        assert_eq!(time_to_next_attempt(&simulation).as_millis(), expected, "{jitter}");
    }
}

#[test]
fn t12_failed_fetches_for_unknown_kids_start_at_most_once_a_minute() {
    let mut simulation = Simulation::loaded();
    let start = simulation.now;
    let mut starts = HashMap::<_, Vec<_>>::new();
    for _ in 0..1000 {
        simulation.step(Event::UnknownKid);
        // The fetches for unknown kids fail, and the retries succeed.
        simulation.run(SECOND / 4, |order| {
            Some(if order.cause == RefreshCause::Retry { loaded(Change::Same) } else { failed() })
        });
    }
    for (at, cause) in &simulation.started {
        let second = at.saturating_since(start).as_secs();
        starts.entry(*cause).or_default().push(second);
    }
    assert_eq!(starts[&RefreshCause::UnknownKid], [0, 15, 75, 135, 195]);
    assert_eq!(starts[&RefreshCause::Retry], [0, 15, 75, 135, 195], "each one that failed has one retry");
}

#[test]
fn t13_a_change_or_a_quiet_minute_resets_the_cool_down() {
    let unchanged_fetches = || {
        let mut simulation = Simulation::loaded();
        simulation.step(Event::UnknownKid);
        for _ in 0..4 {
            simulation.finish(loaded(Change::Same));
            simulation.step(Event::UnknownKid);
            fire(&mut simulation);
        }
        simulation
    };
    let cooldown = |simulation: &Simulation| rounded(simulation.machine.unknown_kids.cooldown(&RefreshPolicy::new()));

    let mut changed = unchanged_fetches();
    changed.finish(loaded(Change::Changed));
    assert_eq!(cooldown(&changed), 1);

    let mut quiet = unchanged_fetches();
    quiet.finish(loaded(Change::Same));
    quiet.step(Event::UnknownKid);
    assert_eq!(cooldown(&quiet), 15);
    quiet.pass(59 * SECOND);
    quiet.step(Event::UnknownKid);
    quiet.finish(loaded(Change::Same));
    assert_eq!(cooldown(&quiet), 15);
    quiet.pass(60 * SECOND);
    quiet.step(Event::UnknownKid);
    assert_eq!(cooldown(&quiet), 1);
}
