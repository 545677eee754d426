//! Each transition that an unknown key id makes.

use crate::clock::Monotonic;
use crate::jwks::freshness::Times;
use crate::jwks::jitter::Jitter;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::simulation::{
    DOWN, SECOND, Simulation, failed, fetch, fire, loaded, rounded, wait_of,
};
use crate::jwks::refresh::{Cause, Change, Condition, Event, Outcome};

#[test]
fn t7_the_first_miss_after_the_initial_load_fetches() {
    let mut simulation = Simulation::loaded();
    assert_eq!(fetch(&simulation.step(Event::UnknownKid)), Some(Cause::UnknownKid));
    assert_eq!(simulation.in_flight.map(|order| order.condition), Some(Condition::Always));
}

#[test]
fn t8_a_miss_within_the_cool_down_is_owed_a_fetch() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    assert_eq!(simulation.step(Event::UnknownKid), []);
    assert!(simulation.machine.has_follow_up_fetch());
    assert_eq!(rounded(wait_of(&simulation)), 1);
    assert_eq!(fetch(&fire(&mut simulation)), Some(Cause::UnknownKid));
    assert!(!simulation.machine.has_follow_up_fetch());
}

#[test]
fn t10_a_miss_joins_the_fetch_in_flight() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    assert_eq!(simulation.step(Event::UnknownKid), []);
    // Still absent: the scheduled fetch has not spent the budget for misses, and may have been answered by a cache.
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), Some(Cause::UnknownKid));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);
    assert!(simulation.machine.has_follow_up_fetch());
    assert_eq!(fetch(&fire(&mut simulation)), Some(Cause::UnknownKid));
    simulation.finish(loaded(Change::Same));
    assert!(!simulation.machine.has_follow_up_fetch(), "and then no more");
}

#[test]
fn t10_a_miss_that_joined_is_owed_what_the_budget_allows() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    simulation.now = simulation.published.expect("loaded").refresh_at;
    simulation.machine.unknown_kids.record_fetch(simulation.now, Jitter(u32::MAX));
    simulation.machine.unknown_kids.clear_follow_up();
    assert_eq!(fetch(&simulation.step(Event::Timer)), Some(Cause::Scheduled));
    simulation.step(Event::UnknownKid);
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None, "the cool-down runs");
    assert!(simulation.machine.has_follow_up_fetch());
}

#[test]
fn t10_whoever_joins_a_fetch_that_changes_the_set_asks_again() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.step(Event::UnknownKid);
    assert_eq!(fetch(&simulation.finish(loaded(Change::Changed))), None);
    assert!(!simulation.machine.has_follow_up_fetch());
}

/// F24: what a cache confirms in between does not pay what is owed.
#[test]
fn t8_a_scheduled_fetch_pays_no_debt() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    let due = simulation.machine.next_attempt();
    simulation.machine.times = simulation.machine.times.map(|times| Times { refresh_at: simulation.now, ..times });
    assert_eq!(fetch(&simulation.step(Event::Timer)), Some(Cause::Scheduled));
    simulation.finish(Outcome::NotModified { remaining: None });
    assert_eq!((simulation.machine.has_follow_up_fetch(), simulation.machine.next_attempt()), (true, due));
}

/// F24: a miss whose fetch failed is not satisfied by a retry, which a cache may answer; nor does it try for ever.
#[test]
fn t11_a_miss_whose_fetch_failed_is_owed_one_more() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(failed());
    assert_eq!(fetch(&fire(&mut simulation)), Some(Cause::Retry));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);
    assert_eq!(fetch(&fire(&mut simulation)), Some(Cause::UnknownKid));
    simulation.finish(failed());
    assert_eq!(fetch(&fire(&mut simulation)), Some(Cause::Retry));
    simulation.finish(loaded(Change::Same));
    assert!(!simulation.machine.has_follow_up_fetch());
}

/// A fetch is under way: the scheduled one, or a stranger's so many seconds before it.
fn fetching(cause: Cause, ahead: u32) -> Simulation {
    let mut simulation = Simulation::loaded_with(RefreshPolicy::new().strict_freshness());
    let refresh_at = simulation.published.expect("loaded").refresh_at;
    if cause == Cause::UnknownKid {
        simulation.now = Monotonic::from_origin(refresh_at.since_origin() - ahead * SECOND);
        simulation.step(Event::UnknownKid);
    } else {
        fire(&mut simulation);
    }
    simulation
}

/// F35: what a server tells a stranger's fetch does not put off the scheduled one.
#[test]
fn t11_a_stranger_does_not_put_off_the_refresh() {
    for (cause, longest) in [(Cause::UnknownKid, 11), (Cause::Scheduled, 300)] {
        let mut simulation = fetching(cause, 10);
        simulation.finish(Outcome::Failed { error: DOWN, retry_after: Some(300 * SECOND) });
        assert!(wait_of(&simulation) <= longest * SECOND && wait_of(&simulation) >= 10 * SECOND, "{cause:?}");
    }
}

/// F35: nor does what it tells the retry of such a fetch, which nobody else has caused either; that of a refresh stays away.
#[test]
fn t11_the_retry_of_a_strangers_fetch_does_not_put_off_the_refresh() {
    for (cause, expected) in [(Cause::UnknownKid, 100), (Cause::Scheduled, 300)] {
        let mut simulation = fetching(cause, 101);
        simulation.finish(failed());
        assert_eq!(fetch(&fire(&mut simulation)), Some(Cause::Retry));
        simulation.finish(Outcome::Failed { error: DOWN, retry_after: Some(300 * SECOND) });
        assert_eq!(rounded(wait_of(&simulation)), expected, "{cause:?}");
    }
}

/// F40d: an issuer whose set differs at every fetch, as several servers with sets of their own make it.
#[test]
fn t13_a_set_that_always_changes_does_not_take_the_budget_away() {
    let mut simulation = Simulation::loaded();
    for _ in 0..3000 {
        simulation.step(Event::UnknownKid);
        simulation.run(SECOND / 10, |_| Some(loaded(Change::Changed)));
    }
    assert!(simulation.busiest_minute(|cause| cause == Cause::UnknownKid) <= 12, "{:?}", simulation.begun);
}

#[test]
fn t11_after_a_failure_a_miss_fetches_nothing() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.finish(failed());
    let armed = simulation.machine.wake_at();
    assert_eq!(simulation.step(Event::UnknownKid), []);
    assert_eq!((simulation.machine.wake_at(), simulation.machine.has_follow_up_fetch()), (armed, false));
}

#[test]
fn t12_fruitless_misses_are_spaced_ever_wider() {
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
        assert_eq!(wait_of(&simulation).as_millis(), expected, "{jitter}");
    }
}

#[test]
fn t12_a_miss_fetch_that_fails_is_fruitless_too() {
    let mut simulation = Simulation::loaded();
    let start = simulation.now;
    let mut at = Vec::new();
    for _ in 0..1000 {
        if fetch(&simulation.step(Event::UnknownKid)) == Some(Cause::UnknownKid) {
            at.push(simulation.now.saturating_since(start).as_secs());
        }
        // The fetches for misses fail, and the retries succeed.
        simulation
            .run(SECOND / 10, |order| Some(if order.cause == Cause::Retry { loaded(Change::Same) } else { failed() }));
    }
    assert!(at.iter().filter(|second| **second < 60).count() <= 8, "{at:?}");
    assert!(simulation.busiest_minute(|cause| cause == Cause::UnknownKid) <= 8);
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
